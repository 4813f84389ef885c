"""Sparsity statistics where the answer is known, and what must not change them."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kurtosis, norm

from neurosparse.analysis.sparsity import sparsity
from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor

NAMES = ("treves_rolls", "vinje_gallant", "hoyer", "gini", "kurtosis", "active_fraction")
SIDES = ("lifetime", "population")
# Levels of an eighth: sums and scaling by powers of two are exact.
responses = arrays(
    float, st.tuples(st.integers(2, 7), st.integers(2, 7)), elements=st.integers(-40, 40).map(lambda n: n / 8)
)


def values(s):
    return {(name, side): getattr(getattr(s, name), side) for name in NAMES for side in SIDES}


@pytest.mark.parametrize("n", [2, 3, 10, 101])
@pytest.mark.parametrize("size", [1.0, 0.1, 1e-200, 1e200])
def test_one_hot(n, size):
    for side in SIDES:
        for name, expected in {
            "treves_rolls": 1 / n,
            "vinje_gallant": 1,
            "hoyer": 1,
            "gini": 1 - 1 / n,
            # p = 1/n: m2 = p (1 - p), m4 = p (1 - p) (1 - 3 p (1 - p))
            "kurtosis": (1 - 3 / n * (1 - 1 / n)) / (1 / n * (1 - 1 / n)) - 3,
            "active_fraction": 1 / n,
        }.items():
            got = getattr(getattr(sparsity(size * np.eye(n)), name), side)
            np.testing.assert_allclose(got, np.full(n, expected), rtol=1e-12, err_msg=f"{name}.{side}")


@pytest.mark.parametrize("size", [1.0, 0.1, 1e-200, -3.3])
def test_constant(size):
    s = sparsity(np.full((7, 5), size))
    for name, expected in {"treves_rolls": 1, "vinje_gallant": 0, "hoyer": 0, "gini": 0, "active_fraction": 1}.items():
        np.testing.assert_allclose(getattr(s, name).lifetime, np.full(5, expected), atol=1e-14, err_msg=name)
        np.testing.assert_allclose(getattr(s, name).population, np.full(7, expected), atol=1e-14, err_msg=name)
    assert np.isnan(s.kurtosis.mean()).all()  # no variance to divide by


LEVELS = (np.arange(200_000) + 0.5) / 200_000
# Quantiles of a distribution, and in closed form a = E[r]^2 / E[r^2], the Gini coefficient and the excess kurtosis.
DISTRIBUTIONS = {
    "uniform": (LEVELS, 3 / 4, 1 / 3, -6 / 5),
    "exponential": (-np.log1p(-LEVELS), 1 / 2, 1 / 2, 6),
    "half normal": (norm.ppf((1 + LEVELS) / 2), 2 / np.pi, np.sqrt(2) - 1, 8 * (np.pi - 3) / (np.pi - 2) ** 2),
    "half of it silent": (np.maximum(2 * LEVELS - 1, 0), 3 / 8, 2 / 3, None),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions_in_closed_form(name):
    r, a, gini, excess = DISTRIBUTIONS[name]
    s = sparsity(r[:, None])
    hoyer = (np.sqrt(len(r)) - np.sqrt(len(r) * a)) / (np.sqrt(len(r)) - 1)
    for measure, expected in {
        "treves_rolls": a,
        "vinje_gallant": (1 - a) / (1 - 1 / len(r)),
        "hoyer": hoyer,
        "gini": gini,
    }.items():
        np.testing.assert_allclose(getattr(s, measure).lifetime, [expected], rtol=1e-3, err_msg=measure)
    if excess is not None:
        np.testing.assert_allclose(s.kurtosis.lifetime, [excess], rtol=1e-2)
    assert s.active_fraction.lifetime == [(r > 0).mean()]


def test_lifetime_and_population_are_different_questions():
    s = sparsity(np.outer([1.0, 1, 1], [1, 0, 0, 0]))  # one unit that always speaks
    assert s.vinje_gallant.population.tolist() == [1, 1, 1]
    assert s.vinje_gallant.lifetime[0] == 0 and s.silent_units == 3
    assert s.active_fraction.mean() == (0.25, 0.25)


@given(responses, st.integers(-9, 9))
def test_scale_changes_nothing(r, power):
    for key, value in values(sparsity(r * 2.0**power)).items():
        np.testing.assert_array_equal(value, values(sparsity(r))[key], err_msg=str(key))


@given(responses, st.randoms(use_true_random=False))
def test_order_changes_nothing(r, random):
    stimuli, units = (random.sample(range(n), n) for n in r.shape)
    before, after = values(sparsity(r)), values(sparsity(r[stimuli][:, units]))
    for name in NAMES:
        np.testing.assert_allclose(after[name, "lifetime"], before[name, "lifetime"][units], atol=1e-12)
        np.testing.assert_allclose(after[name, "population"], before[name, "population"][stimuli], atol=1e-12)


@given(responses)
def test_ranges_and_silence(r):
    s = sparsity(r)
    silent = ~np.abs(r).any(axis=0)
    assert s.silent_units == silent.sum() and s.silent_stimuli == (~np.abs(r).any(axis=1)).sum()
    n = len(r)
    for name, low, high in (
        ("treves_rolls", 1 / n, 1),
        ("vinje_gallant", 0, 1),
        ("hoyer", 0, 1),
        ("gini", 0, 1 - 1 / n),
    ):
        lifetime = getattr(s, name).lifetime
        assert (np.isnan(lifetime) == silent).all()
        assert (lifetime[~silent] >= low - 1e-12).all() and (lifetime[~silent] <= high + 1e-12).all()
        mean = getattr(s, name).mean().lifetime
        assert np.isnan(mean) if silent.all() else mean == pytest.approx(lifetime[~silent].mean())


@given(responses)
def test_kurtosis_is_scipys_and_gini_the_mean_difference(r):
    magnitudes, s = np.abs(r), sparsity(r)
    varied = magnitudes.std(axis=0) > 0
    np.testing.assert_allclose(s.kurtosis.lifetime[varied], kurtosis(magnitudes[:, varied], axis=0), atol=1e-9)
    spoken = magnitudes.any(axis=0)
    differences = np.abs(magnitudes[:, None] - magnitudes[None]).mean(axis=(0, 1))
    np.testing.assert_allclose(
        s.gini.lifetime[spoken], differences[spoken] / 2 / magnitudes.mean(axis=0)[spoken], atol=1e-12
    )


@given(responses, st.integers(1, 4))
def test_events_are_their_summed_magnitudes(r, steps):
    graded = torch.as_tensor(np.stack([r * (-1) ** step for step in range(steps)]))
    binary = graded != 0
    for dense, magnitudes in ((graded, np.abs(r) * steps), (binary, (r != 0) * steps)):
        got = values(sparsity(EventTensor.from_dense(dense)))
        for key, value in values(sparsity(magnitudes)).items():
            np.testing.assert_allclose(got[key], value, atol=1e-12, err_msg=str(key))


def test_recorded_spikes_all_count_even_within_a_step():
    """Unit 0 fires three times, twice within one step; unit 1 is silent; unit 2 once; nothing fires later."""
    spikes = EventTensor.from_times([0.0001, 0.0002, 0.5, 0.7], [0, 0, 0, 2], n_units=3, dt=1e-3, duration=2.0)
    s = sparsity(spikes.bin(1000, on_collision="sum").dense()[:, 0])
    assert s.silent_units == 1 and s.silent_stimuli == 1
    assert s.treves_rolls.population[0] == pytest.approx((4 / 3) ** 2 / (10 / 3))
    assert s.active_fraction.population.tolist() == [2 / 3, 0]


RECORDING = EventTensor.from_times([0.1, 0.7], [0, 1], n_units=3, dt=1e-3, duration=1.0)


@pytest.mark.parametrize("x", [RECORDING, np.ones((1, 4))], ids=["events", "array"])
def test_one_stimulus_has_no_lifetime_sparseness(x):
    with pytest.raises(InputError, match="several stimuli. Take bins of a recording as stimuli"):
        sparsity(x)


def test_one_unit_has_no_population_sparseness():
    s = sparsity(np.array([[1.0], [2.0]]))
    assert all(np.isnan(getattr(s, name).population).all() for name in NAMES[:-1])
    assert s.active_fraction.population.tolist() == [1, 1]


def test_half_precision_is_read():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.bfloat16)
    assert sparsity(x).gini.lifetime.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("eps", [-0.1, np.nan])
def test_eps_is_no_negative_number(eps):
    with pytest.raises(InputError, match="eps"):
        sparsity(np.eye(3), eps=eps)


def test_eps_bounds_what_is_active():
    r = np.array([[0.1, 0.5], [0.0, 2.0]])
    assert sparsity(r).active_fraction.lifetime.tolist() == [0.5, 1]
    assert sparsity(r, eps=0.1).active_fraction.lifetime.tolist() == [0, 1]


def test_tensors_and_images_are_arrays_of_units():
    x = torch.rand(4, 2, 3, dtype=torch.float64, requires_grad=True)
    for key, value in values(sparsity(x)).items():
        np.testing.assert_array_equal(value, values(sparsity(x.detach().numpy().reshape(4, 6)))[key])
    assert "lifetime" in repr(sparsity(x))


@pytest.mark.parametrize(
    "x", [np.ones(3), np.ones((0, 3)), np.ones((3, 0)), np.array([[1, np.nan]]), np.array([[1, np.inf]])]
)
def test_refusals(x):
    with pytest.raises(InputError):
        sparsity(x)


def test_a_notebook_shows_the_means_that_print_shows():
    found = sparsity(np.eye(4))
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + 6 and "<th>treves_rolls</th><td>0.25</td><td>0.25</td>" in html
    cells = re.findall(r"<t[hd]>([^<]+)</t[hd]>", html)
    assert [cell for cell in cells if cell not in repr(found)] == [] and "0 silent units" in html
