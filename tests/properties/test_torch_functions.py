"""Property 7: stock torch functions act on events as on the dense twin, or say what to do."""

from unittest import mock

import event_strategies as es
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns
from neurosparse.kernels import event_linear as linear_kernel

MODES = st.sampled_from([True, False])  # the event kernel at any density, or the dense product at any


def forced(pays: bool):
    return mock.patch.object(linear_kernel, "event_driven_pays", lambda *_: pays)


@st.composite
def linear_cases(draw: st.DrawFn):
    events = draw(es.grid_events((*draw(es.shapes(1))[:2], draw(st.integers(1, 9))), dtype="float64"))
    seed, bias = draw(st.integers(0, 2**31)), draw(st.booleans())
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(draw(st.integers(1, 5)), events.shape[2], dtype=torch.float64, generator=generator)
    offset = torch.randn(weight.shape[0], dtype=torch.float64, generator=generator) if bias else None
    return events, weight, offset


@given(linear_cases(), MODES)
def test_linear_on_events_equals_linear_on_dense(case, pays):
    events, weight, bias = case
    found = []
    for x in (events, events.dense().double()):
        w, b = (None if p is None else p.clone().requires_grad_() for p in (weight, bias))
        with forced(pays):
            out = F.linear(x, w, b)
            out = ns.events.dense_of(out)
            (out**2).sum().backward()
        found.append((out.detach(), w.grad, w.grad if b is None else b.grad))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert out.shape == (*events.shape[:2], weight.shape[0])


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 5), st.booleans(), st.integers(0, 2**31))
def test_rows_full_of_spikes(rows, n_in, n_out, graded, seed):
    """Up to forty events in a row, so that every stride of the event kernel is used."""
    torch.manual_seed(seed)
    x = (torch.rand(rows, 1, n_in) < 0.7).double() * (torch.randn(n_in).double() if graded else 1.0)
    weight = torch.randn(n_out, n_in, dtype=torch.float64)
    events = es.as_events(ns.EventTensor.from_dense(x, spikes=not graded))
    with forced(True):
        torch.testing.assert_close(F.linear(events, weight), x @ weight.T, rtol=1e-10, atol=1e-10)


@given(linear_cases(), MODES, st.integers(1, 2))
def test_gradient_to_a_carrier(case, pays, threads):
    """Events with a carrier: the input gradient is that of the dense product; one torch thread and two agree."""
    events, weight, bias = case
    current = (events.dense().double() * 2).requires_grad_()
    twin = current.detach().clone().requires_grad_()
    torch.set_num_threads(threads)
    try:
        with forced(pays):
            F.linear(ns.LIF(beta=0.5)(current), weight, bias).square().sum().backward()
    finally:
        torch.set_num_threads(1)
    F.linear(ns.LIF(beta=0.5, reference=True)(twin).dense(), weight, bias).square().sum().backward()
    torch.testing.assert_close(current.grad, twin.grad, rtol=1e-10, atol=1e-10)


@given(linear_cases(), MODES)
def test_float32_agrees_to_rounding(case, pays):
    events, weight, bias = case
    x = events.dense().float()
    spikes = es.as_events(ns.EventTensor.from_dense(x))
    with forced(pays):
        out = F.linear(spikes, weight.float(), None if bias is None else bias.float())
    exact = F.linear(x.double(), weight, bias)
    torch.testing.assert_close(out.double(), exact, rtol=1e-5, atol=1e-5)


@given(es.grid_events(low=1, dtype="float64"), es.finite(), st.sampled_from(["+", "-", "r-", "*", "/", "neg"]))
def test_scalar_arithmetic(events, scalar, operator):
    acts = {
        "+": lambda x: x + scalar,
        "-": lambda x: x - scalar,
        "r-": lambda x: scalar - x,
        "*": lambda x: scalar * x,
        "/": lambda x: x / (scalar or 1.0),
        "neg": lambda x: -x,
    }
    x = events.dense() if events.dtype != torch.bool else events.dense().double()
    events = events if events.dtype != torch.bool else events * 1.0
    result = acts[operator](events)
    assert isinstance(result, ns.EventTensor) and not result.binary
    expected = es.silence_beyond(acts[operator](x).double(), events.lengths)
    assert torch.equal(result.dense().double(), expected)
    assert (result.dt, result.t0, result.axis) == (events.dt, events.t0, events.axis)


def test_scalars_that_would_make_silence_a_number_are_refused():
    events = ns.EventTensor.from_dense(torch.eye(2)[:, None])
    for act in (lambda: events * float("inf"), lambda: events / 0, lambda: events + float("nan")):
        with pytest.raises(ns.InputError, match="the scalar"):
            act()


def test_a_learned_scale_gets_its_gradient():
    scale = torch.tensor(2.0, requires_grad=True)
    events = es.as_events(ns.EventTensor.from_dense(torch.eye(3)[:, None]))
    (events * scale).dense().sum().backward()
    assert scale.grad.item() == 3.0


@given(es.grid_events(low=1, dtype="float64"))
def test_an_unknown_function_acts_on_the_dense_twin(events):
    x = events.dense().double()
    events = ns.EventTensor.from_dense(x, dt=1e-3)
    for function in (torch.relu, torch.sigmoid, lambda e: torch.sum(e, 0), lambda e: F.softmax(e, -1)):
        result = function(events)
        assert isinstance(result, torch.Tensor) and torch.equal(result, function(x))
    assert torch.relu(events).timing.dt == 1e-3  # so the next layer of ours knows its step
    layer = nn.LayerNorm(x.shape[2:], dtype=torch.float64)
    assert torch.equal(layer(events), layer(x))


def test_a_caller_s_tensor_is_never_marked():
    x = torch.ones(2, 1, 3)
    nn.Dropout(0.5).eval()(ns.EventTensor.from_dense(x, dt=1e-3))
    assert not hasattr(x, "timing")


def test_torch_cat_joins_events_along_its_own_default():
    a = ns.EventTensor.from_dense(torch.ones(2, 1, 3))
    assert torch.cat([a, a]).shape == (4, 1, 3) and torch.cat([a, a], dim=1).shape == (2, 2, 3)
    assert ns.cat([a, a]).shape == (2, 2, 3)


IMAGES = [
    nn.Conv2d(2, 1, 3), nn.ConvTranspose2d(2, 1, 3), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveMaxPool2d(1), nn.BatchNorm2d(2), nn.BatchNorm2d(2).eval(), nn.InstanceNorm2d(2), nn.GroupNorm(1, 2),
    nn.Flatten(), nn.Upsample(scale_factor=2),
]  # fmt: skip
LINES = [nn.Conv1d(2, 1, 1), nn.BatchNorm1d(2), nn.MaxPool1d(1), nn.AvgPool1d(1)]


@pytest.mark.parametrize("module", [*IMAGES, *LINES], ids=lambda m: type(m).__name__)
def test_a_module_for_rows_says_that_it_wants_a_fold(module):
    units = (2, 4, 4) if module in IMAGES else (2,)
    with pytest.raises(ns.InputError, match=r"ns\.fold"):
        module(ns.EventTensor.from_dense(torch.ones(3, 2, *units)))


def test_linear_says_what_does_not_fit():
    events = ns.EventTensor.from_dense(torch.ones(3, 2, 2, 4))
    with pytest.raises(ns.InputError, match=r"units \(2, 4\); expected 8 units\. Flatten .*ns\.fold"):
        nn.Linear(8, 2)(events)
    with pytest.raises(ns.InputError, match="expected 5 units"):
        nn.Linear(5, 2)(ns.EventTensor.from_dense(torch.ones(3, 2, 4)))
    with pytest.raises(ns.InputError, match=r"values of torch.float64; expected torch.float32"):
        nn.Linear(4, 2)(ns.EventTensor.from_dense(torch.ones(3, 2, 4).double()))
    recording = ns.EventTensor.from_times([1e-4, 2e-4], [0, 0], n_units=4, dt=1e-3)
    with pytest.raises(ns.InputError, match="sub-step times"):
        nn.Linear(4, 2)(recording)


def test_a_constant_current_is_computed_once():
    x = torch.rand(2, 5)
    current = ns.constant_current(x, steps=100)
    layer = nn.Linear(5, 3)
    out = layer(current)
    assert out.shape == (100, 2, 3) and out.stride(0) == 0
    torch.testing.assert_close(out[7], layer(x))
    out.sum().backward()
    torch.testing.assert_close(layer.weight.grad, (100 * x.sum(0)).expand(3, 5))
    calls = []
    counting = nn.Linear(5, 3)
    counting.register_forward_hook(lambda _, args, __: calls.append(tuple(args[0].shape)))
    assert ns.fold(counting)(current).stride(0) == 0 and calls == [(2, 5)]


def test_a_sequence_of_stock_and_own_layers_is_a_network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 6), ns.LIF(beta=0.9), nn.Linear(6, 4), ns.LIF(beta=0.9))
    out = net(ns.poisson(torch.rand(3, 8), steps=5, dt=1e-3))
    assert isinstance(out, ns.EventTensor) and out.shape == (5, 3, 4) and out.dt == 1e-3
