"""The fused scan against the reference: identical spikes for identical currents, gradients to rounding."""

from itertools import pairwise

import event_strategies as es
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.kernels.scan.reference import LIFState, scan_reference
from neurosparse.kernels.scan.step import RESETS

SURROGATES = [ns.atan(), ns.atan(5.0), ns.fast_sigmoid(), ns.fast_sigmoid(3.0), ns.triangle(), ns.triangle(0.3)]
SURROGATES += [ns.boxcar(), ns.boxcar(0.5)]
NAMES = [s.name for s in SURROGATES]


@st.composite
def scans(draw: st.DrawFn):
    """Currents, decay and threshold (one for all or one per unit), ragged lengths and a state to start from."""
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 4)), *draw(st.sampled_from([(1,), (9,), (2, 3)])))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def uniform(*size):
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    current = uniform(*shape) * 2.5 - 0.5
    beta, threshold = uniform(*shape[2:]), uniform(*shape[2:]) + 0.5
    if draw(st.booleans()):
        beta, threshold = float(uniform(1)), float(uniform(1)) + 0.5
    options = {"beta": beta, "threshold": threshold, "reset": draw(st.sampled_from(RESETS))}
    options["surrogate"] = draw(st.sampled_from(SURROGATES))
    options["delayed_reset"] = draw(st.booleans())
    start = draw(st.sampled_from([None, uniform(*shape[1:]) * 2 - 1]))
    return current, options, draw(es.lengths_for(shape)), start


def run(scan, dtype, *, reference, threads=1):
    current, options, lengths, start = scan
    leaf = es.silence_beyond(current, lengths).to(dtype).requires_grad_()
    events = ns.EventTensor.from_dense(leaf, lengths=lengths)
    state = None if start is None else (ns.neurons.LIFState(start.to(dtype)))
    torch.set_num_threads(threads)
    try:
        spikes, after = ns.LIF(**options, reference=reference).run(events, state)
        spikes.dense().mul(torch.arange(1.0, leaf.numel() + 1, dtype=dtype).view(leaf.shape)).sum().backward()
    finally:
        torch.set_num_threads(1)
    return spikes.dense().detach(), after.membrane, leaf.grad


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("threads", [1, 2])
@given(scan=scans())
def test_fused_equals_the_law(dtype, tolerance, threads, scan):
    fused = run(scan, dtype, reference=False, threads=threads)
    reference = run(scan, dtype, reference=True)
    assert torch.equal(fused[0], reference[0])
    assert torch.equal(fused[1], reference[1])  # same operations in the same order: the same bits
    torch.testing.assert_close(fused[2], reference[2], rtol=tolerance, atol=tolerance * float(reference[2].abs().max()))


@given(scans(), st.lists(st.integers(0, 12), max_size=3))
def test_chunks_with_a_carried_state_equal_the_whole(scan, cuts):
    current, options, lengths, _ = scan
    if lengths is not None:  # the state of a sample that has ended stays what it was
        current = es.silence_beyond(current, lengths)
    events = ns.EventTensor.from_dense(current, lengths=lengths)
    whole, last = ns.LIF(**options).run(events)
    for reference in (False, True):
        lif, state, parts = ns.LIF(**options, reference=reference), None, []
        bounds = [0, *sorted(min(c, len(current)) for c in cuts), len(current)]
        for start, stop in pairwise(bounds):
            spikes, state = lif.run(events.steps(start, stop), state)
            parts.append(spikes.dense())
        assert torch.equal(torch.cat(parts), whole.dense())
        assert torch.equal(state.membrane, last.membrane)


@given(scans())
def test_trace_shows_the_membrane_that_made_the_spikes(scan):
    current, options, _, _ = scan
    trace = ns.LIF(**options).trace(current)
    threshold = torch.as_tensor(options["threshold"], dtype=torch.float64)
    assert torch.equal(trace.events.dense(), (trace.membrane > threshold).double())
    assert torch.equal(trace.events.dense(), ns.LIF(**options)(current).dense())


@given(scans(), st.integers(1, 5))
def test_silence_before_the_signal_delays_the_spikes(scan, delay):
    current, options, _, _ = scan
    late = torch.cat([torch.zeros(delay, *current.shape[1:], dtype=current.dtype), current])
    spikes, shifted = (ns.LIF(**options)(x).dense() for x in (current, late))
    assert torch.equal(shifted[delay:], spikes) and not bool(shifted[:delay].any())


@given(scans(), st.data())
def test_order_of_samples_changes_nothing(scan, data):
    current, options, _, _ = scan
    order = data.draw(st.permutations(range(current.shape[1])))
    lif = ns.LIF(**options)
    assert torch.equal(lif(current[:, order]).dense(), lif(current).dense()[:, order])


@pytest.mark.parametrize("surrogate", SURROGATES, ids=NAMES)
def test_the_smooth_step_has_the_surrogate_as_its_derivative(surrogate):
    kinks = torch.tensor([0.0, 0.15, 0.25, 0.3, 0.5, 1.0], dtype=torch.float64)
    x = torch.linspace(-2, 2, 801, dtype=torch.float64)
    x = x[(x.abs()[:, None] - kinks).abs().amin(1) > 1e-3].requires_grad_()
    (slope,) = torch.autograd.grad(surrogate.smooth(x).sum(), x)
    torch.testing.assert_close(slope, surrogate.derivative(x.detach()), rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(surrogate.smooth, (x[::40].detach().requires_grad_(),))
    assert float(surrogate.derivative(torch.zeros(1))) > 0
    assert torch.equal(surrogate.derivative(x.detach()), surrogate.derivative(-x.detach()))


@pytest.mark.parametrize("surrogate", SURROGATES, ids=NAMES)
def test_the_law_passes_gradcheck_with_smooth_spikes(surrogate):
    """With the smooth step in place of the spike the whole scan is differentiable, and its gradient is the true one."""
    generator = torch.Generator().manual_seed(3)
    current = torch.rand(5, 2, 3, dtype=torch.float64, generator=generator).mul(2).requires_grad_()
    beta = torch.rand(3, dtype=torch.float64, generator=generator).requires_grad_()
    threshold = torch.ones(3, dtype=torch.float64, requires_grad=True)
    start = torch.rand(2, 3, dtype=torch.float64, generator=generator).requires_grad_()

    def smooth(distance, _):
        return surrogate.smooth(distance)

    def scan(current, beta, threshold, start):
        return scan_reference(current, beta, threshold, LIFState(start), "none", surrogate.derivative, spike=smooth)[:2]

    assert torch.autograd.gradcheck(scan, (current, beta, threshold, start))
    # The spiking scan uses that very gradient at the same membranes.
    grad = torch.rand(5, 2, 3, dtype=torch.float64, generator=generator)
    true = torch.autograd.grad((scan(current, beta, threshold, start)[0] * grad).sum(), (current, beta, threshold))
    spiking = scan_reference(current, beta, threshold, LIFState(start), "none", surrogate.derivative)[0]
    used = torch.autograd.grad((spiking * grad).sum(), (current, beta, threshold))
    for a, b in zip(used, true, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_reset_is_a_constant_for_the_gradient():
    """By hand, two steps, one unit: u0 = I0; v0 = u0 - s0; u1 = b v0 + I1. d u1 / d I0 = b, not b (1 - ds0/du0)."""
    current = torch.tensor([1.5, 0.2], dtype=torch.float64).view(2, 1, 1).requires_grad_()
    surrogate, beta = ns.fast_sigmoid(1.0), 0.5
    spikes = ns.LIF(beta=beta, surrogate=surrogate)(current)
    spikes.dense()[1].sum().backward()
    u1 = beta * 0.5 + 0.2
    slope = 1 / (1 + abs(u1 - 1)) ** 2
    torch.testing.assert_close(current.grad.flatten().tolist(), [beta * slope, slope], rtol=1e-12, atol=0)
    current.grad = None
    ns.LIF(beta=beta, surrogate=surrogate, reset="zero")(current).dense()[1].sum().backward()
    assert current.grad[0].item() == 0  # a reset to zero cuts the past of a neuron that fired


def test_trained_decay_and_threshold_get_gradients():
    beta, threshold = (torch.nn.Parameter(torch.full((3,), v)) for v in (0.8, 1.0))
    lif = ns.LIF(beta=beta, threshold=threshold)
    assert {name for name, _ in lif.named_parameters()} == {"beta", "threshold"}
    lif(torch.rand(6, 2, 3) * 2).counts().sum().backward()
    assert bool((beta.grad != 0).all()) and bool((threshold.grad != 0).all())
