"""Associative memory beside its theory: crosstalk, the mean-field equations, the Hopfield model's capacity."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

import neurosparse as ns
from neurosparse.coding import capacity, covariance_weights, mean_field, overlap, recall, sparse_patterns


def test_half_active_units_are_the_hopfield_model() -> None:
    """Amit, Gutfreund & Sompolinsky 1987: 0.138 patterns a unit, retrieved with an overlap of 0.967."""
    found = capacity(0.5)
    assert found.load == pytest.approx(0.1379, abs=5e-5) and found.overlap == pytest.approx(0.967, abs=5e-4)


@pytest.mark.parametrize("activity", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_mean_field_state_solves_its_equations(activity: float, share: float) -> None:
    """Every average over the crosstalk by quadrature: ``field = (pattern - f) m + noise x``, fires above u."""
    load = share * capacity(activity).load
    found = mean_field(activity, load)

    def average(fires, pattern: int) -> float:
        middle = (pattern - activity) * found.overlap
        edge = (found.threshold - middle) / found.noise
        return quad(lambda x: fires(x) * norm.pdf(x), max(edge, -12), 12, epsabs=1e-12)[0] if edge < 12 else 0.0

    hits, false_alarms = (average(lambda x: 1.0, pattern) for pattern in (1, 0))
    assert (found.hits, found.false_alarms) == pytest.approx((hits, false_alarms), abs=1e-9)
    assert activity * hits + (1 - activity) * false_alarms == pytest.approx(activity, rel=1e-8)
    # By parts, the mean change of activity with its field is <x s> / noise.
    lean = sum(p * average(lambda x: x, pattern) for p, pattern in ((activity, 1), (1 - activity, 0)))
    assert found.susceptibility == pytest.approx(lean / found.noise, rel=1e-6)
    expected = math.sqrt(load * activity * (1 - activity)) / (1 - found.susceptibility)
    assert found.noise == pytest.approx(expected, rel=1e-6)


def test_the_best_state_is_the_one_that_damped_iteration_from_the_pattern_finds() -> None:
    f, load = 0.1, 0.4
    m, noise = 1.0, math.sqrt(load * f * (1 - f))
    for _ in range(3000):
        low, high = -5.0, 5.0
        for _ in range(60):
            u = (low + high) / 2
            hits, false_alarms = norm.cdf([((1 - f) * m - u) / noise, (-f * m - u) / noise])
            low, high = (u, high) if f * hits + (1 - f) * false_alarms > f else (low, u)
        c = (norm.pdf([((1 - f) * m - u) / noise, (-f * m - u) / noise]) @ [f, 1 - f]) / noise
        new = hits - false_alarms, math.sqrt(load * f * (1 - f)) / (1 - c)
        done = abs(new[0] - m) + abs(new[1] - noise) < 1e-12
        m, noise = (m + new[0]) / 2, (noise + new[1]) / 2
        if done:
            break
    assert mean_field(f, load).overlap == pytest.approx(m, abs=1e-8)


def test_the_asymptote_is_far_away_and_there_is_nothing_beyond_capacity() -> None:
    shares = [capacity(f).load * 2 * f * abs(math.log(f)) for f in (0.1, 0.01, 0.001)]
    assert shares == sorted(shares) and shares[-1] < 0.6, "convergence is slow (Feng & Brunel 2021)"
    for f in (0.5, 0.05):
        most = capacity(f)
        assert math.isnan(mean_field(f, 1.001 * most.load).overlap)
        assert mean_field(f, most.load).overlap == pytest.approx(most.overlap, abs=1e-3)
    assert mean_field(0.05, 0.0).overlap == 1 and mean_field(0.05, 1e-6).overlap == pytest.approx(1)


def test_crosstalk_has_the_variance_of_the_theory_before_it_is_fed_back() -> None:
    """Patterns of equal activity shun each other a little: the field of all units is lower by ``load f``."""
    f, units, patterns = 0.1, 2000, 600
    stored = sparse_patterns(patterns, units, f, 3)
    weights = covariance_weights(stored)
    field = stored[:50] @ weights.t()
    for pattern in (0, 1):
        some = field[stored[:50] == pattern]
        assert some.mean() == pytest.approx(pattern - f - patterns / units * f, abs=0.005)
        assert some.var() == pytest.approx(patterns / units * f * (1 - f), rel=0.03)


@pytest.mark.parametrize(("activity", "units"), [(0.5, 500), (0.05, 800)])
def test_recall_agrees_with_the_mean_field_below_capacity_and_fails_above(activity: float, units: int) -> None:
    def recalled(share: float) -> tuple[float, float]:
        patterns = round(share * capacity(activity).load * units)
        found = []
        for seed in range(2):
            stored = sparse_patterns(patterns, units, activity, seed)
            end = recall(covariance_weights(stored), stored[:40], round(activity * units), steps=20)
            found.append(float(overlap(end.state, stored[:40]).mean()))
        return float(np.mean(found)), mean_field(activity, patterns / units).overlap

    simulated, theory = recalled(0.8)
    assert simulated == pytest.approx(theory, abs=0.015)
    assert recalled(2.0)[0] < 0.6


def test_a_part_recalls_the_whole_and_each_event_costs_its_targets() -> None:
    stored = sparse_patterns(30, 500, 0.04)
    weights = covariance_weights(stored)
    cue = stored.clone()
    for pattern, place in zip(cue, stored.argmax(1), strict=True):
        pattern[place : place + 200] = 0  # half of it, and more, forgotten
    found = recall(weights, cue, 20)
    assert torch.equal(found.state, stored) and found.settled.all()
    torch.testing.assert_close(overlap(found.state, stored), torch.ones(30))
    sent = found.events
    assert torch.equal(sent.dense()[0], cue) and sent.axis == "iteration" and sent.binary
    # The cue, then the pattern, which comes back: two steps, unless nothing was forgotten.
    assert sent.n_events == int(cue.sum() + 20 * (sent.lengths == 2).sum())


def test_a_recall_ends_when_it_may_not_go_on() -> None:
    stored = sparse_patterns(300, 100, 0.1)
    found = recall(covariance_weights(stored), stored, 10, steps=1)
    assert found.events.shape[0] == 1 and torch.equal(found.events.dense()[0], stored) and not found.settled.all()


def test_silence_stays_silence() -> None:
    found = recall(covariance_weights(sparse_patterns(5, 50, 0.1)), torch.zeros(2, 50), 5)
    assert not found.state.any() and found.settled.all() and found.events.n_events == 0


STORED = sparse_patterns(4, 20, 0.2)
BAD = {
    "nothing active": lambda: sparse_patterns(2, 10, 0.01),
    "all active": lambda: sparse_patterns(2, 10, 1.0),
    "graded patterns": lambda: covariance_weights(torch.rand(3, 4)),
    "no contrast": lambda: covariance_weights(torch.ones(3, 4)),
    "a cue of another width": lambda: recall(covariance_weights(STORED), STORED[:, :5], 4),
    "no step": lambda: recall(covariance_weights(STORED), STORED, 4, steps=0),
    "too many winners": lambda: recall(covariance_weights(STORED), STORED, 21),
    "graded cue": lambda: recall(covariance_weights(STORED), torch.rand(2, 20), 4),
    "two shapes": lambda: overlap(STORED, STORED[:2]),
    "an activity of 0": lambda: capacity(0.0),
    "a negative load": lambda: mean_field(0.1, -1.0),
    "a load of NaN": lambda: mean_field(0.1, math.nan),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case: str) -> None:
    with pytest.raises(ns.InputError, match="got .*; expected"):
        BAD[case]()
