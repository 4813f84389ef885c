"""Property 7, images: a fold of stock modules equals the same modules on dense rows, values and gradients."""

from unittest import mock

import event_strategies as es
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns
from neurosparse.kernels import event_conv, event_linear


def forced(pays: bool):
    decide = mock.Mock(return_value=pays)
    return mock.patch.multiple(event_conv, event_driven_pays=decide), mock.patch.multiple(
        event_linear, event_driven_pays=decide
    )


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Conv2d, ns.EventTensor]:
    groups = draw(st.integers(1, 2))
    channels, out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)) | st.integers(0, 2))
    size = draw(st.integers(5, 7)), draw(st.integers(5, 7))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    torch.manual_seed(draw(st.integers(0, 2**31)))
    layer = nn.Conv2d(channels, out, kernel, bias=draw(st.booleans()), dtype=torch.float64, **options)
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 2)), channels, *size)
    x = torch.randn(shape, dtype=torch.float64) * (torch.rand(shape) < draw(st.sampled_from([0.0, 0.1, 0.5])))
    if draw(st.booleans()):
        x = (x > 0).double()
    return layer, x


def compare(module: nn.Module, x: torch.Tensor, pays: bool) -> None:
    """Graded events without a graph: value, weight and bias gradients of a fold against dense rows."""
    found = []
    for run in ("fold", "rows"):
        module.zero_grad()
        if run == "fold":
            conv, linear = forced(pays)
            with conv, linear:
                out = ns.fold(module)(es.as_events(ns.EventTensor.from_dense(x)))
                out.square().sum().backward()
        else:
            out = module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            out.square().sum().backward()
        found.append([out.detach(), *(p.grad.clone() for p in module.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@given(convolutions(), st.booleans())
def test_convolution(case, pays):
    compare(*case, pays)


@given(convolutions(), st.booleans())
def test_gradient_to_a_carrier(case, pays):
    layer, x = case
    grads = []
    for reference in (False, True):
        current = (2 * x).clone().requires_grad_()
        conv, linear = forced(pays)
        with conv, linear:
            ns.fold(layer)(ns.LIF(beta=0.5, reference=reference)(current)).square().sum().backward()
        grads.append(current.grad)
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


STACKS = {
    "flatten, linear": lambda: [nn.Flatten(), nn.Linear(50, 3)],
    "convolution, pool, flatten, linear": lambda: [nn.Conv2d(2, 3, 2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)],
    "max pool": lambda: [nn.MaxPool2d(2)],
    "batch norm, training": lambda: [nn.BatchNorm2d(2)],
    "batch norm, eval": lambda: [nn.BatchNorm2d(2).eval()],
    "same padding": lambda: [nn.Conv2d(2, 3, 3, padding="same")],
    "reflected padding": lambda: [nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")],
    "transposed convolution": lambda: [nn.ConvTranspose2d(2, 3, 2)],
    "unflatten": lambda: [nn.Flatten(), nn.Unflatten(1, (10, 5))],
    "relu, adaptive pool": lambda: [nn.ReLU(), nn.AdaptiveAvgPool2d(1)],
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("pays", [True, False])
def test_stacks_of_stock_modules(stack, pays):
    module = nn.Sequential(*STACKS[stack]()).double()
    x = torch.randn(3, 2, 2, 5, 5, dtype=torch.float64) * (torch.rand(3, 2, 2, 5, 5) < 0.3)
    if list(module.parameters()):
        compare(module, x, pays)
    rows = module(x.flatten(0, 1)).unflatten(0, (3, 2))
    torch.testing.assert_close(ns.fold(*module)(ns.EventTensor.from_dense(x)), rows)
    torch.testing.assert_close(ns.fold(*module)(x), rows)  # a plain tensor folds too


@settings(max_examples=20)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=3), st.booleans())
def test_no_module_ever_sees_padding(lengths, dense):
    assume(sum(lengths) > 1)
    x = es.silence_beyond(torch.randn(4, len(lengths), 2, 3, 3, dtype=torch.float64) + 5, torch.tensor(lengths))
    events = ns.EventTensor.from_dense(x, lengths=torch.tensor(lengths), dt=1e-3)
    events = events if dense else es.as_events(events)
    norm = nn.BatchNorm2d(2, dtype=torch.float64)
    out = ns.fold(norm)(events)
    dense = out.dense()
    data = torch.cat([x[:n, s] for s, n in enumerate(lengths)])
    torch.testing.assert_close(norm.running_mean, 0.1 * data.mean((0, 2, 3)))
    assert out.timing.lengths.tolist() == lengths and out.timing.dt == 1e-3
    for sample, length in enumerate(lengths):
        assert bool((dense[length:, sample] == 0).all())


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=4), st.sampled_from(["linear", "conv"]))
def test_ragged_spikes_stay_events_with_the_gradients_of_their_dense_twin(lengths, kind):
    assume(sum(lengths) > 1)
    torch.manual_seed(0)
    x = es.silence_beyond(torch.randn(5, len(lengths), 2, 4, 4, dtype=torch.float64), torch.tensor(lengths))
    first = nn.Conv2d(2, 3, 3) if kind == "conv" else nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
    norm = nn.BatchNorm2d(3) if kind == "conv" else nn.BatchNorm1d(3)
    layer, found = ns.fold(first, norm).double(), []
    weights = torch.randn_like(layer(x))
    for reference in (False, True):
        layer.zero_grad()
        current = x.clone().requires_grad_()
        spikes = ns.LIF(beta=0.5, reference=reference)(
            ns.EventTensor.from_dense(current, lengths=torch.tensor(lengths))
        )
        assert spikes.is_dense == reference, "both ways are compared"
        out = layer(spikes)
        (out * weights).dense().sum().backward()
        found.append([out.detach(), current.grad, *(parameter.grad for parameter in layer.parameters())])
    torch.testing.assert_close(*found)


def test_what_a_fold_refuses():
    with pytest.raises(ns.InputError, match=r"expected \(steps, samples, \*units\)"):
        ns.fold(nn.Flatten())(torch.ones(3, 2))
    events = es.as_events(ns.EventTensor.from_dense(torch.ones(2, 1, 3, 5, 5)))
    with pytest.raises(ns.InputError, match="input channels"):
        ns.fold(nn.Conv2d(2, 1, 3))(events)
    with pytest.raises(ns.InputError, match=r"expected \(out, 75\)"):
        ns.fold(nn.Flatten(), nn.Linear(70, 2))(events)
    recording = ns.EventTensor.from_times([1e-4], [0], n_units=4, dt=1e-3)
    with pytest.raises(ns.InputError, match="sub-step times"):
        ns.fold(nn.Linear(4, 2))(recording)


def test_two_threads_give_what_one_gives():
    torch.manual_seed(0)
    x = torch.randn(6, 4, 2, 8, 8, dtype=torch.float64) * (torch.rand(6, 4, 2, 8, 8) < 0.1)
    layer = nn.Conv2d(2, 4, 3, dtype=torch.float64)
    torch.set_num_threads(2)
    try:
        compare(layer, x, pays=True)
    finally:
        torch.set_num_threads(1)
