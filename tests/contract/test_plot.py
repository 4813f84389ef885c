"""Contract of every plot: it draws exactly the data on the given axes, with labels."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plot_examples import (
    CODE,
    COUNTS,
    DENSE,
    ESTIMATED,
    FIT,
    FOREST,
    HISTORY,
    LEARNT,
    MOVING,
    POINTS,
    RECALL,
    RELAXED,
    RESPONSES,
    SPIKING,
    TRAINS,
    TRANSMISSIONS,
    events,
    report,
    states,
    stripes,
    trace,
)

from neurosparse import plot
from neurosparse.analysis.gabor import fit_gabor
from neurosparse.analysis.modulation import modulations
from neurosparse.analysis.receptive_fields import macaque_cells
from neurosparse.analysis.sparsity import sparsity
from neurosparse.energy import break_even, estimate, hardware_validation
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.svg import svg
from neurosparse.plot.units import bounded, si

matplotlib.use("Agg")


PLOTS: dict[str, Callable[..., Axes]] = {
    "raster": lambda **to: plot.raster(events(1e-3), sample=1, **to),
    "membrane": lambda **to: plot.membrane(trace(1e-3), sample=1, **to),
    "intervals": lambda **to: plot.intervals(TRAINS, **to),
    "irregularity": lambda **to: plot.irregularity({"a": TRAINS, "b": TRAINS}, **to),
    "correlation": lambda **to: plot.correlation([[1, 0.5, -0.2], [0.5, 1, np.nan], [-0.2, np.nan, 1]], **to),
    "recall": lambda **to: plot.recall({"a": RECALL, "b": RECALL}, **to),
    "spectro_temporal": lambda **to: plot.spectro_temporal(torch.eye(5, 12), (3, 4), 0.01, **to),
    "modulations": lambda **to: plot.modulations(modulations(torch.eye(5, 12), (3, 4), 0.25, 0.01), **to),
    "rates": lambda **to: plot.rates(HISTORY, **to),
    "coefficients": lambda **to: plot.coefficients({"l1": CODE, "l0": 2 * CODE}, **to),
    "coverage": lambda **to: plot.coverage(FIT, **to),
    "gabor_scatter": lambda **to: plot.gabor_scatter(FIT, **to),
    "learning": lambda **to: plot.learning(LEARNT, **to),
    "length_tuning": lambda **to: plot.length_tuning([2, 8, 24], {"feedback": [[1, 3, 1], [1, 5, 2]]}, **to),
    "images": lambda **to: plot.images({"given": torch.eye(3, 6), "inferred": torch.ones(2, 6)}, (2, 3), **to),
    "orientation": lambda **to: plot.orientation(FIT, **to),
    "relaxation": lambda **to: plot.relaxation({"short": RELAXED, "long": RELAXED}, 0.3, **to),
    "communication_cost": lambda **to: plot.communication_cost(TRANSMISSIONS, "squared error", reference=0.1, **to),
    "atoms": lambda **to: plot.atoms(torch.eye(10, 12), shape=(3, 4), **to),
    "sparsity": lambda **to: plot.sparsity(sparsity(RESPONSES), **to),
    "energy": lambda **to: plot.energy({"relu": report(1e-9), "lif": report(3e-9)}, **to),
    "frontier": lambda **to: plot.frontier(POINTS, **to),
    "forest": lambda **to: plot.forest(FOREST, **to),
    "operations": lambda **to: plot.operations(COUNTS, **to),
    "intensity": lambda **to: plot.intensity({"lif": MOVING}, **to),
    "waterfall": lambda **to: plot.waterfall(estimate(MOVING), **to),
    "savings": lambda **to: plot.savings(ESTIMATED, {"lif": 0.3}, "relu", **to),
    "hardware_validation": lambda **to: plot.hardware_validation(hardware_validation(), **to),
    "break_even": lambda **to: plot.break_even(break_even(SPIKING, DENSE, "steps", [2, 5, 10]), **to),
}


def test_the_table_contains_every_plot() -> None:
    assert set(PLOTS) == set(plot.__all__) == set(dir(plot))


@pytest.mark.parametrize("name", PLOTS)
def test_it_draws_on_the_given_axes_and_on_no_others(name: str) -> None:
    figure = Figure()
    one, other = figure.subplots(1, 2)
    assert PLOTS[name](ax=one) is one
    assert one.has_data() and not other.has_data()


@pytest.mark.parametrize("name", PLOTS)
def test_without_axes_it_draws_on_the_current_ones(name: str) -> None:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    assert PLOTS[name]() is ax
    plt.close("all")


@pytest.mark.parametrize("name", PLOTS)
def test_the_axes_have_labels(name: str) -> None:
    ax = PLOTS[name](ax=Figure().subplots())
    assert ax.get_title() if name in ("atoms", "orientation", "images") else ax.get_xlabel()
    if name not in (
        "energy",
        "forest",
        "operations",
        "savings",
        "hardware_validation",
        "waterfall",
        "atoms",
        "images",
        "orientation",
    ):  # rows of names need no axis label
        assert ax.get_ylabel()


@pytest.mark.parametrize("name", PLOTS)
def test_as_svg_it_is_reproducible_and_in_the_text_colour_of_the_page(name: str) -> None:
    one, two = (svg(PLOTS[name], "x", "what <it> is", (5, 4), (0.6, 0.5, 0.1, 0.3)) for _ in range(2))
    assert one == two and one.startswith("<svg") and "what &lt;it&gt; is" in one
    assert "http" not in one and "#010203" not in one and "currentColor" in one


def test_membranes_are_drawn_with_threshold_and_spikes() -> None:
    found = trace()
    ax = plot.membrane(found, units=[2, 1], sample=1, threshold=torch.tensor([9.0, 0.7, 1.0]), ax=Figure().subplots())
    rests = dict(zip((text.get_text() for text in ax.get_yticklabels()), ax.get_yticks(), strict=True))
    assert list(rests) == ["2", "1"] and rests["2"] > rests["1"] == 0
    limits, curves = ax.lines[::2], ax.lines[1::2]
    for unit, limit, curve in zip(("2", "1"), limits, curves, strict=True):
        np.testing.assert_allclose(curve.get_xdata(), range(6))
        np.testing.assert_allclose(curve.get_ydata() - rests[unit], found.membrane[:, 1, int(unit)], atol=1e-6)
        assert limit.get_ydata()[0] - rests[unit] == pytest.approx({"2": 1.0, "1": 0.7}[unit])
    ticks = [[float(path.vertices[0, 0]) for path in lines.get_paths()] for lines in ax.collections]
    assert ticks == [[4.0], [2.0, 4.0]]
    tops = [float(curve.get_ydata().max()) for curve in curves]
    assert tops[1] < min(curves[0].get_ydata()), "traces do not overlap"


def test_membranes_of_the_most_active_units_end_with_their_sample() -> None:
    ax = plot.membrane(trace(2e-3), units=2, sample=1, ax=Figure().subplots())
    assert [text.get_text() for text in ax.get_yticklabels()] == ["1", "2"] and ax.get_xlabel() == "time (s)"
    np.testing.assert_allclose(ax.lines[1].get_xdata(), 2e-3 * np.arange(6))
    short = trace()
    kept = short.events.dense() * (torch.arange(6) < 3)[:, None, None]
    short.events = EventTensor.from_dense(kept, lengths=torch.tensor([6, 3]), spikes=True)
    ax = plot.membrane(short, units=[1], sample=1, ax=Figure().subplots())
    assert len(ax.lines[1].get_xdata()) == 3 and len(ax.collections[0].get_paths()) == 1


def test_rates_are_a_line_for_each_layer_from_the_first_epoch() -> None:
    ax = plot.rates(HISTORY, ax=Figure().subplots())
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}
    assert drawn == {"first": ([1, 2, 3], [0.3, 0.2, 0.15]), "second": ([1, 2], [0.1, 0.0])}
    assert ax.get_ylim()[0] == 0


def test_atoms_are_scaled_each_to_its_largest_magnitude_and_laid_out_in_rows() -> None:
    dictionary = np.array([[1.0, -2.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0], [30.0, 0.0, 0.0, 15.0]])
    (image,) = plot.atoms(dictionary, columns=2, ax=Figure().subplots()).images
    mosaic = np.ma.filled(image.get_array(), np.nan)
    assert mosaic.shape == (5, 5)
    np.testing.assert_allclose(mosaic[:2, :2], [[0.5, -1.0], [0.0, 0.25]])
    np.testing.assert_allclose(mosaic[:2, 3:], 0)
    np.testing.assert_allclose(mosaic[3:, :2], [[1.0, 0.0], [0.0, 0.5]])
    assert np.isnan(mosaic[2]).all() and np.isnan(mosaic[3:, 3:]).all()
    assert image.get_clim() == (-1, 1)


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("format", ["pdf", "svg"])
def test_it_can_be_saved_for_a_paper(name: str, format: str, tmp_path: Path) -> None:
    figure = Figure(figsize=(3.4, 3.0))
    PLOTS[name](ax=figure.subplots())
    figure.savefig(tmp_path / f"x.{format}")
    assert (tmp_path / f"x.{format}").read_bytes()[:5] in (b"%PDF-", b"<?xml")


def test_ordered_atoms_are_sorted_by_frequency_and_in_each_row_by_orientation() -> None:
    angles, low, high = (2.5, 0.4, 1.4), 0.15, 0.3
    made = np.stack([*(stripes(theta, high) for theta in angles), np.zeros(144), *(stripes(t, low) for t in angles)])
    (image,) = plot.atoms(made, columns=3, order=fit_gabor(made), ax=Figure().subplots()).images
    mosaic = np.ma.filled(image.get_array(), np.nan)
    shown = [mosaic[13 * (i // 3) :][:12, 13 * (i % 3) :][:, :12].ravel() for i in range(7)]
    # Stripes stand at a right angle to the wave: 2.5 + pi / 2 is 0.93, the others 1.97 and 2.97.
    for got, place in zip(shown, (4, 5, 6, 0, 1, 2), strict=False):
        np.testing.assert_allclose(got, made[place] / np.abs(made[place]).max(), atol=1e-12)
    assert not shown[6].any()


def test_a_gabor_scatter_has_a_point_for_each_fitted_atom_and_the_macaque_bins() -> None:
    ax = plot.gabor_scatter(FIT, ax=Figure().subplots())
    np.testing.assert_allclose(ax.lines[0].get_data(), [FIT.n_x[:4], FIT.n_y[:4]])
    assert ax.get_title() == "4 of 5 atoms" and ax.get_xscale() == ax.get_yscale() == "log"
    # The mesh has n_x along x: its rows are n_y.
    np.testing.assert_array_equal(np.ma.filled(ax.collections[0].get_array(), 0), macaque_cells()[1].T)


def test_orientation_counts_stripes_twice_around_the_circle_by_area() -> None:
    ax = plot.orientation(FIT, bins=4, ax=Figure().subplots())
    # Waves towards 0, 0.1, 1.5 and 1.0 have stripes at 90, 96, 176 and 147 degrees; bins at 0, 45, 90 and 135.
    radii = [np.hypot(*patch.get_xy().T).max() for patch in ax.patches]
    np.testing.assert_allclose(np.square(radii), [0.5, 0, 1, 0.5] * 2, atol=1e-9)


def test_coverage_has_an_ellipse_for_each_fitted_atom() -> None:
    ax = plot.coverage(FIT, ax=Figure().subplots())
    x, y = ax.lines[-1].get_data()
    np.testing.assert_allclose(np.hypot(x, y), FIT.peak_frequency[:4])
    np.testing.assert_allclose(np.arctan2(y, x) % np.pi, FIT.theta[:4], atol=1e-9)
    ax = plot.coverage(FIT, "position", ax=Figure().subplots())
    np.testing.assert_allclose(np.stack(ax.lines[-1].get_data(), 1), FIT.centre[:4, ::-1])
    assert ax.get_ylim() == (11.5, -0.5)


def test_coefficients_give_the_share_of_zeros_and_the_density_of_the_others() -> None:
    ax = plot.coefficients(CODE, ax=Figure().subplots())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["50 % zero"]
    values, edges, _ = ax.patches[0].get_data()
    assert np.nansum(values * np.diff(edges)) == pytest.approx(1) and np.isfinite(values).sum() == 3
    assert ax.get_yscale() == "log"


def test_learning_is_a_line_for_each_algorithm() -> None:
    ax = plot.learning(LEARNT, ax=Figure().subplots())
    drawn = {line.get_label(): tuple(map(list, line.get_data())) for line in ax.lines}
    assert drawn == LEARNT and ax.get_xscale() == "log"


def test_relaxation_is_the_mean_energy_and_the_share_of_units_that_transmit() -> None:
    figure = Figure()
    ax = plot.relaxation(RELAXED, 0.3, ax=figure.subplots())
    assert list(ax.lines[0].get_ydata()) == [6, 2, 0.5] and ax.get_yscale() == "linear"
    (beside,) = [other for other in figure.axes if other is not ax]
    assert list(beside.lines[0].get_ydata()) == [75, 25, 0] and "0.3" in beside.get_ylabel()
    assert figure.gca() is ax, "the energy remains the current axes"
    ax = plot.relaxation({"steep": states([[100.0], [1.0]], [[[1.0]], [[1.0]]])}, ax=Figure().subplots())
    assert ax.get_yscale() == "log" and [text.get_text() for text in ax.get_legend().get_texts()] == ["steep"]
    alone, unrecorded = Figure(), SimpleNamespace(energies=torch.ones(3, 2), sent=None)
    assert plot.relaxation(unrecorded, ax=alone.subplots()) and len(alone.axes) == 1


def test_communication_cost_joins_the_thresholds_of_a_scheme_by_rising_transmissions() -> None:
    ax = plot.communication_cost(TRANSMISSIONS, reference=0.1, ax=Figure().subplots())
    drawn = {bars.get_label(): tuple(map(list, bars.lines[0].get_data())) for bars in ax.containers}
    assert drawn == {"graded": ([100, 900], [0.2, 0.1]), "delta": ([30], [0.15])}
    assert {text.get_text() for text in ax.texts if text.get_text()} == {"0", "0.5"} and ax.get_xscale() == "log"


def test_images_are_in_named_rows_on_one_scale() -> None:
    ax = plot.images({"a": [[0, 1, 0.5, np.nan]], "b": torch.ones(2, 4)}, ax=Figure().subplots())
    (image,) = ax.images
    mosaic = np.ma.filled(image.get_array(), np.nan)
    expected = [[0, 1, *[np.nan] * 3], [0.5, *[np.nan] * 4], [np.nan] * 5, *[[1, 1, np.nan, 1, 1]] * 2]
    np.testing.assert_array_equal(mosaic, expected)
    assert image.get_clim() == (0, 1) and [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]


def test_sparsity_counts_the_silent_units_and_stimuli() -> None:
    responses = RESPONSES.copy()
    responses[:, :3] = 0
    ax = plot.sparsity(sparsity(responses), ax=Figure().subplots())
    text = [entry.get_text() for entry in ax.get_legend().get_texts()]
    assert text == ["lifetime, 9 units (3 silent left out)", "population, 30 stimuli"]
    tops = [patch.get_xy()[:, 1].max() for patch in ax.patches]
    assert len(tops) == 2 and max(tops) <= 1


@given(st.floats(1e-15, 9.99e14))
def test_an_si_number_reads_back_to_three_digits(value: float) -> None:
    number, _, prefix = si(value, "J").partition("\u00a0")
    power = {"f": -15, "p": -12, "n": -9, "µ": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12}[prefix[:-1]]
    assert float(number) * 10.0**power == pytest.approx(value, rel=5.1e-3)
    assert 1 <= float(number) < 1000 and "e" not in number


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999.9, "1k"), (999.4, "999"), (-1500, "-1.5k"), (1e6, "1M"), (None, "–"), (float("nan"), "–")],
)
def test_si_numbers_by_hand(value: float | None, text: str) -> None:
    assert si(value) == text


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((900e-12, 1.2e-9, 1.5e-9), "1.2 [0.9, 1.5] nJ"),
        ((552e-9, 580e-9, 1.07e-6), "0.58 [0.552, 1.07] µJ"),
        ((1e-9, 1e-9, 1e-9), "1 nJ"),
        ((None, 1e-9, None), "1 nJ"),
    ],
)
def test_a_number_and_its_bounds_are_in_one_unit_and_without_exponents(bounds: tuple, text: str) -> None:
    assert bounded(*bounds, "J").replace("\u00a0", " ") == text
