"""LIF's relatives by hand: delayed resets, waiting, synaptic currents, adaptation, the leaky readout."""

import math

import pytest
import torch
from torch import nn

import neurosparse as ns


def pulse(*values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


def test_a_delayed_reset_lands_one_step_later_and_after_the_leak():
    """u = 1.6; then 0.5 * 1.6 + 0.4 - 1 = 0.2; then 0.5 * 0.2 + 0.4 = 0.5."""
    trace = ns.LIF(beta=0.5, delayed_reset=True).trace(pulse(1.6, 0.4, 0.4))
    assert trace.membrane.flatten().tolist() == pytest.approx([1.6, 0.2, 0.5])
    assert trace.events.dense().flatten().tolist() == [1, 0, 0]


def test_a_delayed_reset_to_zero_swallows_the_current_of_its_step():
    """u = 1.6; then 0 whatever comes; then 0.5 * 0 + 0.4."""
    trace = ns.LIF(beta=0.5, reset="zero", delayed_reset=True).trace(pulse(1.6, 5.0, 0.4))
    assert trace.membrane.flatten().tolist() == pytest.approx([1.6, 0.0, 0.4])


@pytest.mark.parametrize("waiting", [0, 1, 3])
def test_a_refractory_time_sets_the_fastest_rate(waiting):
    """A current above threshold fires once every ``waiting + 1`` steps, and what comes while waiting is lost."""
    lif = ns.LIF(beta=1.0, reset="zero", refractory=waiting)
    assert lif(torch.full((12, 1, 1), 1.5)).dense().flatten().tolist() == ([1.0] + [0.0] * waiting) * (
        12 // (waiting + 1)
    )


def test_a_synaptic_current_is_the_sum_of_decayed_inputs():
    """After a pulse i[t] = alpha^t; filtered once more, with beta = alpha, u[t] = (t + 1) alpha^t."""
    alpha = 0.7
    lif = ns.LIF(beta=alpha, threshold=100.0, dynamics=ns.neurons.current_based(alpha))
    _, state = lif.run(pulse(1.0, *[0.0] * 9))
    assert state.membrane.item() == pytest.approx(10 * alpha**9)
    assert state.hidden[0].item() == pytest.approx(alpha**9)


def test_adaptation_slows_a_constant_drive_down_to_the_rate_where_it_balances():
    """Without leak and adaptation's decay, spike n needs a membrane above 1 + n strength: intervals grow for ever."""
    lif = ns.neurons.IF(reset="zero", dynamics=ns.neurons.adaptive(1.0, 0.5))
    fired = lif(torch.full((40, 1, 1), 0.26, dtype=torch.float64)).dense().flatten().nonzero().flatten().tolist()
    # From zero a membrane exceeds 1 + n/2 after floor((1 + n/2) / 0.26) + 1 steps.
    steps = [math.floor((1 + n / 2) / 0.26) + 1 for n in range(len(fired))]
    assert fired == [sum(steps[: n + 1]) - 1 for n in range(len(fired))] and len(fired) >= 4


def test_the_readout_is_a_geometric_sum_and_ends_with_its_sample():
    readout = ns.neurons.Readout(beta=0.5)
    assert readout(pulse(1.0, 0.0, 1.0)).flatten().tolist() == [1.0, 0.5, 1.25]
    events = ns.EventTensor.from_dense(
        torch.ones(3, 2, 1) * torch.tensor([[[1.0], [1.0]], [[1.0], [0.0]], [[1.0], [0.0]]]),
        lengths=torch.tensor([3, 1]),
    )
    assert readout(events).dense()[:, 1].flatten().tolist() == [1.0, 0.0, 0.0]


def test_learned_time_constants_get_the_gradient_of_theory():
    """Without spikes u[2] = beta^2 I0 + beta I1 + I2, so d u[2] / d beta = 2 beta I0 + I1."""
    beta = nn.Parameter(torch.tensor(0.6, dtype=torch.float64))
    membrane = ns.LIF(beta=beta, threshold=100.0).trace(pulse(0.3, 0.2, 0.1)).membrane
    membrane[2].sum().backward()
    assert beta.grad is not None and beta.grad.item() == pytest.approx(2 * 0.6 * 0.3 + 0.2)
    alpha = nn.Parameter(torch.tensor(0.6, dtype=torch.float64))
    synaptic = ns.LIF(beta=0.0, threshold=100.0, dynamics=ns.neurons.current_based(alpha))
    synaptic.trace(pulse(0.3, 0.2, 0.1)).membrane[2].sum().backward()
    assert alpha.grad is not None and alpha.grad.item() == pytest.approx(2 * 0.6 * 0.3 + 0.2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ns.LIF(beta=0.9, refractory=-1), "refractory=-1; expected a whole number"),
        (lambda: ns.LIF(beta=0.9, refractory=1, delayed_reset=True), "cannot be reset"),
        (lambda: ns.LIF(beta=0.9, dynamics=ns.neurons.current_based), "Call it"),
        (lambda: ns.LIF(beta=0.9, surrogate=ns.atan), "Call it"),
        (lambda: ns.neurons.current_based(1.5), "0 <= alpha <= 1"),
        (lambda: ns.neurons.Readout(beta=2.0), "0 <= beta <= 1"),
        (lambda: ns.neurons.Readout()(torch.ones(3, 2)), "Time comes first"),
    ],
)
def test_slips_are_refused_with_advice(build, message):
    with pytest.raises(ns.InputError, match=message):
        build()
