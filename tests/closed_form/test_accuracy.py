"""Bounds of a difference of paired accuracies: known cases, and coverage by enumeration of all outcomes."""

import numpy as np
import pytest
from scipy.special import gammaln, xlogy
from scipy.stats import beta, binom

from neurosparse.energy.accuracy import accuracy_difference, lower_bound


def outcome(up: int, down: int, same: int) -> np.ndarray:
    return np.repeat([1.0, -1.0, 0.0], [up, down, same])


@pytest.mark.parametrize("samples", [1, 2, 3, 10, 299, 10_000])
@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.999])
def test_equal_predictions_have_the_exact_bound(samples, confidence):
    """The largest loss p for which n samples without a loss have the probability ``(1 - p) ** n = 1 - confidence``."""
    expected = -(1 - (1 - confidence) ** (1 / samples))
    assert lower_bound(np.zeros(samples), confidence) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("samples", "up"), [(1, 1), (5, 3), (100, 40), (10_000, 9_999), (10_000, 5_000)])
def test_two_values_have_the_bound_of_clopper_and_pearson(samples, up):
    found = lower_bound(outcome(up, samples - up, 0))
    assert found == pytest.approx(2 * beta.ppf(0.05, up, samples - up + 1) - 1, abs=1e-10)
    assert binom.sf(up - 1, samples, (1 + found) / 2) == pytest.approx(0.05, abs=1e-8)


def test_only_losses_have_the_lowest_bound():
    assert lower_bound(-np.ones(5)) == -1
    assert lower_bound(np.ones(5)) == pytest.approx(2 * 0.05 ** (1 / 5) - 1)


def test_many_samples_have_the_bound_of_the_normal_distribution():
    values = outcome(3_000, 2_800, 94_200)
    expected = values.mean() - 1.645 * values.std() / np.sqrt(len(values))
    assert lower_bound(values) == pytest.approx(expected, abs=2e-5)


def test_the_bound_is_the_quantile_of_weighted_means():
    """Drawn weights on the simplex, as the definition says."""
    values = np.round(np.random.default_rng(0).uniform(-1, 1, 40), 1)
    weights = np.random.default_rng(1).standard_exponential((40_000, 41))
    drawn = (weights / weights.sum(1, keepdims=True)) @ np.append(values, -1)
    assert lower_bound(values) == pytest.approx(np.quantile(drawn, 0.05), abs=0.005)


@pytest.mark.parametrize("samples", [1, 2, 5, 9, 14])
@pytest.mark.parametrize("confidence", [0.6, 0.95])
def test_coverage_of_one_seed_by_enumeration(samples, confidence):
    """Sum of the probabilities of all outcomes whose bound holds, on a grid of the two probabilities."""
    counts = np.array([(up, down) for up in range(samples + 1) for down in range(samples + 1 - up)])
    up, down = counts.T
    same = samples - up - down
    bounds = np.array([lower_bound(outcome(*row), confidence) for row in zip(up, down, same, strict=True)])
    ways = gammaln(samples + 1) - gammaln(up + 1) - gammaln(down + 1) - gammaln(same + 1)
    for p in np.linspace(0, 1, 41):
        for q in np.linspace(0, 1 - p, 21):
            chance = np.exp(ways + xlogy(up, p) + xlogy(down, q) + xlogy(same, max(1 - p - q, 0)))
            assert chance[bounds <= p - q + 1e-9].sum() >= confidence - 1e-9


@pytest.mark.parametrize("kind", ["every seed by itself", "hard samples"])
def test_coverage_of_three_seeds_by_simulation(kind):
    """400 draws of 60 samples whose models differ on 8 % of them, as often in favour of each."""
    generator, held, known = np.random.default_rng(0), 0, {}
    for _ in range(400):
        drawn = generator.random((3, 60))
        if kind == "hard samples":
            drawn[:] = drawn[0]
        values = np.sort(((drawn < 0.04) * 1.0 - (drawn > 0.96)).mean(0).round(12))
        bound = known.setdefault(values.tobytes(), None) or lower_bound(values)
        known[values.tobytes()] = bound
        held += bound <= 0
    assert held / 400 >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)


def test_the_sample_is_the_unit():
    """A seed trained twice over adds nothing, nor does the order of the samples."""
    generator = np.random.default_rng(3)
    a, b = generator.random((2, 3, 400)) < 0.9
    found = accuracy_difference(a, b)
    assert accuracy_difference(np.repeat(a, 2, axis=0), np.repeat(b, 2, axis=0)) == found
    order = generator.permutation(400)
    assert accuracy_difference(a[:, order], b[:, order]) == found
