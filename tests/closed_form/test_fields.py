"""Receptive-field shares of dictionaries with known fields; distances to macaque cells computed by hand."""

import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import neurosparse as ns
from neurosparse.analysis.receptive_fields import macaque_cells, macaque_distance
from neurosparse.errors import InputError

SIDE = 16
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def field(sigma_x=2.0, sigma_y=3.0, theta=0.0, frequency=0.2, row=8.0, column=8.0):
    x, y = COLUMNS - column, row - ROWS
    along, across = x * math.cos(theta) + y * math.sin(theta), y * math.cos(theta) - x * math.sin(theta)
    envelope = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return envelope * np.cos(2 * np.pi * frequency * along + 0.8)


KINDS = {  # localised, oriented, band-pass
    "a simple cell": (field(theta=0.6), (1, 1, 1)),
    "a blob": (np.exp(-((ROWS - 8) ** 2 + (COLUMNS - 7) ** 2) / 8), (1, 0, 0)),
    "a grating": (np.cos(2 * np.pi * 0.21 * (0.8 * COLUMNS + 0.6 * ROWS)), (0, 1, 1)),
    "nothing": (np.zeros((SIDE, SIDE)), (0, 0, 0)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_both_judges_agree_on_what_is_plain(kind):
    image, expected = KINDS[kind]
    found = ns.receptive_fields(image.reshape(1, -1))
    for judge in (found.by_fit, found.by_energy):
        assert (judge.localised, judge.oriented, judge.band_pass, judge.all_three) == (*expected, min(expected)), kind


def test_noise_is_not_described_and_has_no_property():
    noise = np.random.default_rng(0).normal(size=(20, SIDE * SIDE))
    found = ns.receptive_fields(noise)
    assert not found.described.any() and found.by_fit.all_three == 0 and math.isnan(found.macaque)
    assert found.by_energy.localised == found.by_energy.oriented == 0
    assert found.coverage.position == found.coverage.frequency == 0 and "nan octaves" in repr(found)


@pytest.mark.parametrize("seed", range(3))
def test_a_few_pixels_are_no_gabor_function(seed):
    """One pixel anywhere, or two of opposite sign: the fit is exact, and its envelope the narrowest of the search."""
    generator = np.random.default_rng(seed)
    images = np.zeros((6, SIDE, SIDE))
    for image in images:
        row, column = generator.integers(SIDE - 1, size=2)
        image[row, column] = generator.normal()
        image[row, column + 1] = generator.choice([0.0, -image[row, column]])
    images[0], images[1] = 0, 0
    images[0, 0, 0] = images[1, -1, 0] = 1
    found = ns.receptive_fields(images.reshape(6, -1))
    assert (found.fit.residual < 0.05).all() and found.fit.cut_off.all() and not found.described.any()
    assert found.by_fit.all_three == found.by_fit.localised == 0 and math.isnan(found.macaque)


def test_shares_are_of_all_atoms_and_change_with_no_order_or_scale():
    images = np.stack([image for image, _ in KINDS.values()]).reshape(4, -1)
    one, other = ns.receptive_fields(images), ns.receptive_fields(-3 * images[::-1])
    assert (one.by_fit.localised, one.by_fit.oriented, one.by_fit.all_three) == (0.5, 0.5, 0.25)
    assert one.by_fit == other.by_fit and one.by_energy == other.by_energy and one.coverage == other.coverage


@pytest.mark.parametrize("theta", [0.5, 1.5, 2.6])
def test_coverage_is_the_area_of_ellipses(theta):
    """Half amplitude: radii sqrt(2 ln 2) sigma in the image, sqrt(2 ln 2) / (2 pi sigma) in the Fourier plane."""
    found = ns.receptive_fields(field(sigma_x=2.5, sigma_y=3, theta=theta).reshape(1, -1))
    area = math.pi * 2 * math.log(2) * 2.5 * 3
    assert found.coverage.position == pytest.approx(area / SIDE**2, rel=0.1)  # whole pixels, 33 of them
    plane = math.pi * (0.5**2 - (0.25 / SIDE) ** 2)
    both = 2 * math.pi * 2 * math.log(2) / (2 * math.pi) ** 2 / (2.5 * 3)
    assert found.coverage.frequency == pytest.approx(both / plane, rel=0.1)
    many = [field(theta=turn, row=row, column=row) for turn in np.arange(6) * 0.5 for row in (4, 8, 12)]
    assert ns.receptive_fields(np.stack(many).reshape(len(many), -1)).coverage.frequency > found.coverage.frequency


def test_the_macaques_cells_are_those_of_the_table():
    edges, counts = macaque_cells()
    np.testing.assert_allclose(edges, 10 ** np.linspace(-1, 0.2, 6), rtol=1e-5)
    assert counts.sum() == 79 and counts[2].tolist() == [1, 2, 19, 17, 3]


def sample(counts, edges):
    """Fields that fall into the bins as often as the cells."""
    middle = np.sqrt(edges[1:] * edges[:-1])
    row, column = np.nonzero(counts)
    times = counts[row, column].astype(int)
    return np.repeat(middle[row], times), np.repeat(middle[column], times)


def test_the_distance_is_zero_for_the_same_cloud_and_octaves_for_a_moved_one():
    edges, counts = macaque_cells()
    n_x, n_y = sample(counts, edges)
    width = math.log2(edges[1] / edges[0])
    assert macaque_distance(n_x, n_y) == pytest.approx(0, abs=1e-9)
    # A cloud moved as a whole has to be moved back by just as much.
    assert macaque_distance(n_x * 2**width, n_y) == pytest.approx(width, rel=1e-6)
    assert macaque_distance(n_x, n_y * 2 ** (3 * width)) == pytest.approx(3 * width, rel=1e-6)
    order = np.random.default_rng(0).permutation(len(n_x))
    assert macaque_distance(n_x[order], n_y[order]) == pytest.approx(0, abs=1e-9)
    # One field: the mean distance of every cell to it, by hand.
    at = np.sqrt(edges[2] * edges[3]), np.sqrt(edges[3] * edges[4])
    away = np.hypot(np.log2(n_x / at[0]), np.log2(n_y / at[1])).mean()
    assert macaque_distance(np.array([at[0]]), np.array([at[1]])) == pytest.approx(away, rel=1e-4)
    # Never less than in one dimension alone.
    ours, theirs = np.log2(n_x * 2**width), np.log2(n_x)
    assert macaque_distance(n_x * 2**width, n_y) >= wasserstein_distance(ours, theirs) - 1e-4


def test_blobs_are_as_far_as_the_lowest_bin():
    edges, _ = macaque_cells()
    lowest = np.array([edges[0] * 1.01])
    assert macaque_distance(np.zeros(1), np.zeros(1)) == macaque_distance(lowest, lowest) > 1


@pytest.mark.parametrize("n_x", [[], [np.nan], [-0.1], [np.inf]])
def test_refusals(n_x):
    with pytest.raises(InputError, match="macaque_distance: got .*; expected"):
        macaque_distance(np.array(n_x), np.ones(len(n_x)))
    with pytest.raises(InputError, match="receptive_fields: got"):
        ns.receptive_fields(np.ones((2, 3, 3)))
