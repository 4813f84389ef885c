"""Event-driven convolution against torch's on dense images: outputs, all gradients, threads, and counted pairs."""

from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import neurosparse as ns
from neurosparse.errors import InputError
from neurosparse.kernels import event_conv
from neurosparse.kernels.rows import compress

KERNELS = mock.patch.object(event_conv, "event_driven_pays", return_value=True)


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """Images, a weight and a geometry that torch accepts; dilated and grouped ones are torch's own."""
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel, stride = draw(pair), draw(pair)
    dilation, groups = draw(st.sampled_from([((1, 1), 1)] * 4 + [((2, 1), 1), ((1, 1), 2)]))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    reach = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    size = [max(draw(st.integers(1, 7)), least) for least in reach]
    channels, out = groups * draw(st.integers(1, 6)), groups * draw(st.sampled_from([1, 3, 8, 33]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(0, 5)), channels, *size)
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    x = (torch.rand(shape, generator=generator) < density).to(dtype)
    if draw(st.booleans()):
        x = x * torch.randn(shape, generator=generator, dtype=dtype)
    weight = torch.randn(out, channels // groups, *kernel, generator=generator, dtype=dtype)
    bias = torch.randn(out, generator=generator, dtype=dtype) if draw(st.booleans()) else None
    support = (torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.2, 1.0]))).to(torch.uint8)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    found = {"x": x, "weight": weight, "bias": bias, "support": support if draw(st.booleans()) else None, "how": how}
    return found | {"seed": draw(st.integers(0, 2**31))}


def by_kernels(case: dict[str, Any], threads: int) -> list[Tensor]:
    """Output and the gradients of input, weight and bias."""
    x, support = case["x"], case["support"]
    row, index = x.flatten(1).nonzero().unbind(1)
    value = None if bool(((x == 0) | (x == 1)).all()) else x.flatten(1)[row, index]
    leaves = [
        part.clone().requires_grad_()
        for part in (torch.zeros_like(x), case["weight"], case["bias"])
        if part is not None
    ]
    carrier, weight, *bias = leaves
    codes = None if support is None else support.flatten(1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with KERNELS:
            events = (compress(row, len(x)), index.int(), value)
            out = event_conv.event_conv2d(
                carrier, *events, codes, tuple(x.shape[1:]), weight, bias[0] if bias else None, **case["how"]
            )
            return [out.detach(), *torch.autograd.grad((out * sent_to(out, case)).sum(), leaves)]
    finally:
        torch.set_num_threads(before)


def by_torch(case: dict[str, Any]) -> list[Tensor]:
    leaves = [part.double().requires_grad_() for part in (case["x"], case["weight"], case["bias"]) if part is not None]
    out = F.conv2d(*leaves, **case["how"])
    to_input, *others = torch.autograd.grad((out * sent_to(out, case)).sum(), leaves)
    return [out.detach(), to_input if case["support"] is None else to_input * case["support"], *others]


def sent_to(out: Tensor, case: dict[str, Any]) -> Tensor:
    generator = torch.Generator().manual_seed(case["seed"])
    return torch.randn(out.shape, generator=generator).to(out.dtype)


def check(case: dict[str, Any]) -> None:
    found, threaded, expected = by_kernels(case, 1), by_kernels(case, 2), by_torch(case)
    assert torch.equal(found[0], threaded[0]), "an image is the work of one thread"
    if case["support"] is not None:  # dense gradients are not restricted to the support
        found[1], threaded[1] = found[1] * case["support"], threaded[1] * case["support"]
    close = {"rtol": 1e-4, "atol": 1e-3} if case["x"].dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    for one, two, right in zip(found, threaded, expected, strict=True):
        torch.testing.assert_close(one.double(), right, **close)
        torch.testing.assert_close(one, two, **close)


@settings(max_examples=60)
@given(convolutions())
def test_outputs_and_gradients(case: dict[str, Any]) -> None:
    check(case)


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([1, 2]))
def test_gradients_reach_the_neurons_below(seed: int, stride: int) -> None:
    """Through boxcar neurons the gradient at their current is that of the plain reference."""
    torch.manual_seed(seed)
    layer = ns.fold(nn.Conv2d(2, 5, 3, stride, padding=1)).double()
    current, found = torch.randn(4, 3, 2, 6, 5, dtype=torch.float64), []
    for reference in (False, True):
        layer.zero_grad()
        leaf = current.clone().requires_grad_()
        with KERNELS:
            out = layer(ns.LIF(beta=0.7, surrogate=ns.boxcar(), reference=reference)(leaf))
            out.square().sum().backward()
        found.append([out.detach(), leaf.grad, *(part.grad.clone() for part in layer.parameters())])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("kernels", [True, False])
def test_counted_pairs_of_a_backward_pass(kernels: bool) -> None:
    """Of gradients and non-zero weights inside the support, and of events and gradients, whichever kernel runs."""
    torch.manual_seed(0)
    conv, neurons = nn.Conv2d(2, 3, 3, padding=1), ns.LIF(beta=0.5, surrogate=ns.boxcar())
    with torch.no_grad():
        conv.weight[:, :, 0] = 0
    spikes = neurons(torch.rand(2, 3, 2, 5, 5).mul(2).requires_grad_())
    inside, dense = (spikes.support & 1).view(6, 2, 5, 5).double(), spikes.detach().dense().flatten(0, 1).double()
    sent = (torch.rand(6, 3, 5, 5) < 0.3).double()
    ones = [part.requires_grad_() for part in (dense, (conv.weight.detach() != 0).double())]
    reached, taps = torch.autograd.grad((F.conv2d(*ones, padding=1) * sent).sum(), ones)
    expected = int((reached * inside).sum()), int(taps.sum())
    with mock.patch.object(event_conv, "event_driven_pays", return_value=kernels):
        layer = ns.fold(conv)
        with ns.record(layer, backward=True) as tape:
            layer(spikes).dense().flatten(0, 1).backward(sent.float())
    rows = [row for row in ns.count(tape, strict=True).rows if row["phase"] == "backward"]
    assert sum(row["effective_macs"] + row["effective_acs"] for row in rows) == sum(expected)


@pytest.mark.parametrize("padding", [(0, 0), (0, 1), (1, 0)])
def test_a_kernel_larger_than_the_padded_image_is_refused_at_every_density(padding: tuple[int, int]) -> None:
    for density in (0.02, 0.9):
        x = ns.EventTensor.from_dense((torch.rand(2, 3, 1, 1, 4) < density).float(), spikes=True)
        with pytest.raises(InputError, match="a kernel that spans"):
            ns.fold(nn.Conv2d(1, 2, (4, 3), stride=(2, 1), padding=padding))(x)
