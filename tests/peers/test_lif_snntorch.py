"""snnTorch's Leaky and our LIF on identical currents: the same spikes and membranes, step by step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns

snntorch = pytest.importorskip("snntorch")
surrogate = pytest.importorskip("snntorch.surrogate")


def leaky(current, beta, threshold, reset, spike_grad=None):
    """snnTorch with an immediate reset (reset_delay=False), as ours is; spikes and membranes after reset."""
    options = {"beta": beta, "threshold": threshold, "reset_mechanism": reset, "reset_delay": False}
    layer = snntorch.Leaky(**options, spike_grad=spike_grad)
    mem, spikes, membranes = layer.reset_mem(), [], []
    for drive in current:
        spike, mem = layer(drive, mem)
        spikes.append(spike)
        membranes.append(mem)
    return torch.stack(spikes), torch.stack(membranes)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(0.0, 1.0), st.sampled_from(["subtract", "zero", "none"]), st.floats(0.5, 2.0))
def test_identical_spikes_for_identical_currents(seed, beta, reset, threshold):
    generator = torch.Generator().manual_seed(seed)
    # A kick of at most one threshold leaves at most one threshold after a subtraction. What snnTorch does with more is
    # another neuron: it subtracts again in the next step, before it compares.
    current = (torch.rand(40, 5, 20, generator=generator) * 1.2 - 0.2) * threshold
    theirs, membranes = leaky(current, beta, threshold, reset)
    ours, state = ns.LIF(beta=beta, threshold=threshold, reset=reset).run(current)
    assert torch.equal(ours.dense(), theirs)
    assert ours.n_events > 0 or beta < 0.2
    torch.testing.assert_close(state.membrane, membranes[-1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: ns.atan(2.0), lambda: surrogate.atan(alpha=2.0)),
        (lambda: ns.fast_sigmoid(25.0), lambda: surrogate.fast_sigmoid(slope=25)),
    ],
    ids=["atan", "fast sigmoid"],
)
def test_surrogate_derivatives(ours, theirs):
    x = torch.linspace(-2, 2, 101).requires_grad_()
    theirs()(x).sum().backward()
    torch.testing.assert_close(ours().derivative(x.detach()), x.grad)


def test_gradients_where_their_reset_is_detached_too():
    """reset="none" leaves no reset in either graph: the gradients are the same."""
    current = torch.rand(10, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    leaves = [current.clone().requires_grad_() for _ in range(2)]
    weights = torch.arange(1.0, current.numel() + 1, dtype=torch.float64).view(current.shape)
    (leaky(leaves[0], 0.9, 1.0, "none", surrogate.atan(alpha=2.0))[0] * weights).sum().backward()
    (ns.LIF(beta=0.9, reset="none")(leaves[1]).dense() * weights).sum().backward()
    torch.testing.assert_close(leaves[1].grad, leaves[0].grad, rtol=1e-6, atol=1e-6)
