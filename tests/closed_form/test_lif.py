"""LIF under constant current: the membrane is a geometric series, so every spike time is worked out with a pencil."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns


def membrane(current: float, beta: float, steps: int, start: float = 0.0) -> float:
    """After n steps without a spike: beta^n v + I (1 - beta^n) / (1 - beta)."""
    return beta**steps * start + current * (1 - beta**steps) / (1 - beta)


def first_crossing(current: float, beta: float, threshold: float, start: float = 0.0) -> int | None:
    """The smallest n with membrane(n) > threshold, by solving for beta^n."""
    limit = current / (1 - beta)
    if limit <= threshold:
        return None
    n = math.log((limit - threshold) / (limit - start)) / math.log(beta)
    return max(1, math.floor(n) + 1)


def spike_steps(current: float, beta: float, steps: int, **options) -> list[int]:
    spikes = ns.LIF(beta=beta, **options)(torch.full((steps, 1, 1), current, dtype=torch.float64))
    return spikes.aer().step.tolist()


def off_the_edge(current: float, beta: float, threshold: float, start: float, n: int | None) -> bool:
    """Whether no membrane near the crossing is within rounding of the threshold."""
    near = range(max(1, (n or 1) - 1), (n or 1) + 2)
    return all(abs(membrane(current, beta, k, start) - threshold) > 1e-9 for k in near)


CURRENTS, BETAS, THRESHOLDS = st.floats(0.01, 5.0), st.floats(0.05, 0.99), st.floats(0.2, 3.0)


@given(CURRENTS, BETAS, THRESHOLDS)
def test_reset_to_zero_fires_with_a_constant_period(current, beta, threshold):
    n = first_crossing(current, beta, threshold)
    if not off_the_edge(current, beta, threshold, 0.0, n):
        return
    expected = [] if n is None else list(range(n - 1, 200, n))
    assert spike_steps(current, beta, 200, threshold=threshold, reset="zero") == expected


@given(CURRENTS, BETAS, THRESHOLDS)
def test_reset_by_subtraction_starts_again_from_the_rest(current, beta, threshold):
    expected, start, at = [], 0.0, -1
    while at < 60:
        n = first_crossing(current, beta, threshold, start) if start <= threshold else None
        if start > threshold:  # fires at once while beta v + I stays above
            n = 1 if beta * start + current > threshold else first_crossing(current, beta, threshold, start)
        if not off_the_edge(current, beta, threshold, start, n):
            return
        if n is None or at + n >= 60:
            break
        at += n
        expected.append(at)
        start = membrane(current, beta, n, start) - threshold
    assert spike_steps(current, beta, 60, threshold=threshold, reset="subtract") == expected


@given(CURRENTS, BETAS, THRESHOLDS)
def test_without_reset_it_stays_above(current, beta, threshold):
    n = first_crossing(current, beta, threshold)
    if off_the_edge(current, beta, threshold, 0.0, n):
        expected = [] if n is None else list(range(n - 1, 100))
        assert spike_steps(current, beta, 100, threshold=threshold, reset="none") == expected


@given(CURRENTS, BETAS)
def test_trace_is_the_geometric_series(current, beta):
    trace = ns.LIF(beta=beta, threshold=1e9).trace(torch.full((30, 1, 1), current, dtype=torch.float64))
    series = [membrane(current, beta, n) for n in range(1, 31)]
    assert trace.membrane.flatten().tolist() == pytest.approx(series, rel=1e-10)
    assert trace.events.n_events == 0


@pytest.mark.parametrize(("tau", "dt"), [(0.02, 1e-3), (0.005, 1e-4), (1.0, 0.5)])
def test_time_constant_and_step_give_the_exact_decay(tau, dt):
    """A single kick decays to 1/e after tau seconds, however long a step is."""
    x = torch.zeros(round(tau / dt) + 1, 1, 1, dtype=torch.float64)
    x[0] = 0.5
    trace = ns.LIF(tau=tau).trace(ns.EventTensor.from_dense(x, dt=dt))
    assert trace.membrane[-1].item() == pytest.approx(0.5 / math.e, rel=1e-12)
    assert trace.events.dt == dt


def test_rate_of_a_perfect_integrator_is_the_current():
    """beta = 1 and subtraction: no charge is lost, so spikes = floor(charge), here with dyadic currents."""
    current = torch.tensor([[0.125, 0.5, 0.75, 1.0]], dtype=torch.float64)
    spikes = ns.LIF(beta=1.0)(ns.constant_current(current, steps=64, dt=1e-3))
    # Exactly at threshold a neuron stays silent; the last spike of each waits for a little more.
    assert spikes.counts().tolist() == [[math.ceil(64 * i) - 1 for i in current[0].tolist()]]


def test_a_spike_needs_more_than_the_threshold():
    x = torch.tensor([1.0, 0.0, math.nextafter(1.0, 2)], dtype=torch.float64).view(3, 1, 1)
    assert ns.LIF(beta=0.0)(x).aer().step.tolist() == [2]
