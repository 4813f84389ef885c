"""Spikes of a scan with gradients: a dense tensor in the graph, events, or events with a gradient carrier."""

import event_strategies as es
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns

RESETS = ("subtract", "zero", "none")


@st.composite
def currents(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(es.shapes(1, steps=7))
    return draw(es.arrays(shape, "float64", es.finite())) / 2


def both(current, **options):
    """The fused scan, whose output is events with a carrier, and the reference in torch, whose output is dense."""
    leaves = [current.clone().requires_grad_() for _ in range(2)]
    fused = ns.LIF(**options)(leaves[0])
    reference = ns.LIF(**options, reference=True)(leaves[1])
    return leaves, fused, reference


def test_a_scan_emits_events_and_a_carrier_that_stores_nothing():
    current = torch.rand(5, 2, 3, requires_grad=True)
    spikes = ns.LIF(beta=0.9)(current)
    assert not spikes.is_dense and spikes.requires_grad and spikes.binary
    assert spikes.carrier.shape == (5, 2, 3) and spikes.carrier.stride() == (0, 0, 0)
    assert spikes.carrier.untyped_storage().nbytes() == spikes.carrier.element_size()
    assert not ns.LIF(beta=0.9)(current.detach()).requires_grad
    with torch.no_grad():
        assert not ns.LIF(beta=0.9)(current).requires_grad
    assert not spikes.detach().requires_grad


@given(currents(), st.sampled_from(RESETS), st.integers(0, 2**31))
def test_gradients_through_dense_equal_those_of_the_reference(current, reset, seed):
    leaves, fused, reference = both(current, beta=0.75, reset=reset)
    assert torch.equal(fused.dense(), reference.dense())
    grad = torch.randn(current.shape, dtype=current.dtype, generator=torch.Generator().manual_seed(seed))
    for spikes in (fused, reference):
        spikes.dense().backward(grad)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-12, atol=1e-12)


@given(currents(), st.sampled_from(RESETS))
def test_gradients_through_counts_and_rates(current, reset):
    leaves, fused, reference = both(current, beta=0.75, reset=reset)
    named = ns.EventTensor.from_dense(reference.dense(), dt=1e-3, spikes=True)
    (fused.counts() ** 2).sum().backward()
    ((named.rates() * (current.shape[0] * 1e-3)) ** 2).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-9, atol=1e-9)


@given(currents(), st.integers(0, 2**31))
def test_gradients_through_a_linear_layer(current, seed):
    if current.dim() > 3:
        current = current.flatten(2)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, current.shape[2], dtype=torch.float64, generator=generator)
    leaves, fused, reference = both(current, beta=0.75)
    found = []
    for spikes in (fused, reference):
        w = weight.clone().requires_grad_()
        out = torch.nn.functional.linear(spikes, w)
        (out**2).sum().backward()
        found.append((out.detach(), w.grad))
    for a, b in (*zip(*found, strict=True), (leaves[0].grad, leaves[1].grad)):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@given(currents(), st.data())
def test_slices_and_joins_keep_the_graph(current, data):
    at = data.draw(st.integers(0, current.shape[0]))
    leaves, fused, reference = both(current, beta=0.75)
    joined = ns.cat([fused.steps(0, at), fused.steps(at, current.shape[0])], dim=0)
    weights = torch.arange(1.0, current.numel() + 1, dtype=torch.float64).view(current.shape)
    first = fused.samples([0]).dense() * weights[:, :1]
    ((joined.dense() * weights).sum() + first.sum()).backward()
    ((reference.dense() * weights).sum() + (reference.dense() * weights)[:, :1].sum()).backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-12, atol=1e-12)


def test_gradients_reach_values_of_events():
    layer = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    layer.weight.data = torch.tensor([[5.0, 7.0]], dtype=torch.float64)
    for act in (layer, ns.fold(layer)):
        value = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
        at = torch.arange(2)
        events = ns.EventTensor.from_aer(at, at * 0, at, value, shape=(2, 1, 2))
        (act(events).sum() + events.dense().sum()).backward()
        assert value.grad.tolist() == [6.0, 8.0]


def test_the_gradient_after_the_end_of_a_sample_is_zero():
    x = torch.zeros(3, 2, 1, dtype=torch.float64)
    x[:2] = 1.0
    leaf = x.requires_grad_()
    events = ns.EventTensor.from_dense(leaf, lengths=torch.tensor([2, 3]))
    events.counts().sum().backward()
    assert leaf.grad.flatten(1).tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]


def test_binning_with_a_gradient_is_refused():
    spikes = ns.LIF(beta=0.9)(torch.ones(4, 1, 1, requires_grad=True) * 2)
    with pytest.raises(ns.InputError, match="Detach"):
        spikes.bin(2, on_collision="sum")
    assert spikes.detach().bin(2, on_collision="sum").dense().flatten().tolist() == [2.0, 2.0]
