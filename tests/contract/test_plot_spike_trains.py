"""The pictures of spike trains, with rates, intervals, irregularity and correlations, and of fields of sound."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from neurosparse import plot
from neurosparse.analysis.modulation import modulations
from neurosparse.analysis.spike_trains import SpikeTrainStatistics, spike_train_statistics
from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.style import COLOURS


def events(dt: float | None = None, t0: float = 0.0) -> EventTensor:
    x = torch.zeros(6, 3, 2, 4, dtype=torch.bool)
    for step, sample, row, column in ((0, 1, 0, 0), (2, 1, 1, 3), (5, 1, 0, 2), (3, 0, 0, 1)):
        x[step, sample, row, column] = True
    return EventTensor.from_dense(x, dt=dt, t0=t0)


def trains(*each: list[int], dt: float | None = None) -> SpikeTrainStatistics:
    step = torch.tensor([step for train in each for step in train])
    unit = torch.tensor([unit for unit, train in enumerate(each) for _ in train])
    shape = (int(step.max()) + 1, 1, len(each))
    return spike_train_statistics(EventTensor.from_aer(step, 0 * step, unit, shape=shape, dt=dt))


def test_a_raster_has_one_tick_for_each_event_of_its_sample_at_its_time() -> None:
    (line,) = plot.raster(events(), sample=1, ax=Figure().subplots()).lines
    assert sorted(zip(*map(np.ndarray.tolist, line.get_data()), strict=True)) == [(0, 0), (2, 7), (5, 2)]
    ax = plot.raster(events(2e-3), sample=1, ax=Figure().subplots())
    assert sorted(ax.lines[0].get_xdata()) == pytest.approx([0.0, 4e-3, 10e-3])
    assert ax.get_xlim()[1] == pytest.approx(11e-3) and ax.get_xlabel() == "time (s)"
    silent = plot.raster(events(), sample=2, ax=Figure().subplots())
    assert len(silent.lines[0].get_xdata()) == 0 and silent.get_xlim() == (-0.5, 5.5)


def test_populations_stand_on_one_another_in_their_own_colours() -> None:
    ax = plot.raster({"low": events(), "high": events()}, sample=1, ax=Figure().subplots())
    low, high = ax.lines[:2]
    assert sorted(low.get_ydata()) == [0, 2, 7] and sorted(high.get_ydata()) == [8, 10, 15]
    assert [to_hex(line.get_color()).upper() for line in (low, high)] == list(COLOURS[:2])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["low", "high"]
    assert ax.get_ylim() == (-0.5, 15.5)


def test_rates_run_below_the_raster_on_their_own_axis() -> None:
    figure = Figure()
    ax = plot.raster({"a": events(0.5, t0=2.0)}, sample=1, rates=2, ax=figure.subplots())
    (beside,) = [other for other in figure.axes if other is not ax]
    (curve,) = beside.patches
    # Of eight units one fires in each window of two steps, which is one second.
    assert curve.get_data().values.tolist() == [1 / 8] * 3
    assert curve.get_data().edges.tolist() == [1.75, 2.75, 3.75, 4.75], "a step's tick stands at its start"
    assert beside.get_yticklabels()[1].get_text() == "0.125 Hz" and figure.gca() is ax
    top = beside.transData.transform((0, 1 / 8))[1]
    assert top < ax.transData.transform((0, -0.5))[1], "no rate runs into the raster"
    assert min(ax.get_yticks()) == 0
    silent = plot.raster(events(), sample=2, rates=4, ax=Figure().subplots())
    (beside,) = [other for other in silent.figure.axes if other is not silent]
    assert beside.patches[0].get_data().values.tolist() == [0.0], "one whole window of six steps"


def test_intervals_are_shares_of_all_between_the_ticks_of_the_clock() -> None:
    found = trains([0, 1, 3, 103], [0, 3], dt=0.01)
    ax = plot.intervals({"a": found}, ax=Figure().subplots())
    values, edges, _ = ax.patches[0].get_data()
    assert values.sum() == pytest.approx(1) and ax.get_xscale() == "log"
    between = np.round(edges / 0.01 - 0.5, 9)
    assert (between == between.round()).all() and (np.diff(between) >= 1).all()
    assert values[np.searchsorted(edges, 0.01) - 1] == values[np.searchsorted(edges, 1.0) - 1] == 1 / 4
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a, 4 intervals"]
    assert "(steps)" in plot.intervals(trains([0, 1]), ax=Figure().subplots()).get_xlabel()


def test_irregularity_counts_the_trains_that_have_one() -> None:
    found = trains([0, 10, 20, 30], [0, 1, 10, 11], [3, 8])
    ax = plot.irregularity(found, ax=Figure().subplots())
    values, edges, _ = ax.patches[0].get_data()
    # Intervals of 1, 9 and 1: their standard deviation over their mean is sqrt(128 / 9) / (11 / 3).
    expected = [0.0, np.sqrt(128 / 9) / (11 / 3)]
    assert edges[np.flatnonzero(values)].tolist() == pytest.approx(expected, abs=edges[1])
    assert values[values > 0].tolist() == [0.5, 0.5]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["2 trains (1 left out)"]
    assert [line.get_xdata()[0] for line in ax.lines] == pytest.approx([np.mean(expected), 1.0])


def test_correlation_leaves_the_diagonal_out() -> None:
    matrix = np.array([[1, 0.5, -0.2], [0.5, 1, np.nan], [-0.2, np.nan, 1]])
    ax = plot.correlation(matrix, ax=Figure().subplots())
    (image,) = ax.images
    shown = np.ma.filled(image.get_array(), np.nan)
    assert np.isnan(np.diag(shown)).all() and np.isnan(shown[1, 2]) and shown[0, 2] == -0.2
    assert image.get_clim() == (-0.5, 0.5) and ax.get_title() == "mean of 2 pairs: 0.15" and matrix[0, 0] == 1


def test_fields_of_sound_have_low_frequencies_below_and_are_each_scaled() -> None:
    fields = np.zeros((3, 6))
    fields[0, 0], fields[1] = -2.0, [0, 0, 0, 0, 0, 8]
    (image,) = plot.spectro_temporal(fields, (3, 2), 0.01, columns=2, ax=Figure().subplots()).images
    mosaic = np.ma.filled(image.get_array(), np.nan)
    assert mosaic.shape == (7, 5) and mosaic[2, 0] == -1, "the lowest band's first step: at the bottom left"
    assert mosaic[0, 4] == 1 and np.isnan(mosaic[3]).all() and not mosaic[4:, :2].any()


def test_modulations_are_a_dot_for_each_field_that_lives() -> None:
    found = modulations(np.eye(4, 12) * [[1], [1], [1], [0]], (3, 4), 0.5, 0.01)
    (dots,) = plot.modulations(found, "octave", ax=Figure().subplots()).collections
    np.testing.assert_allclose(dots.get_offsets(), np.stack([found.rate, found.scale], 1)[:3])
    np.testing.assert_allclose(dots.get_array(), found.separability[:3])


BAD: dict[str, Callable[[Axes], Any]] = {
    "no population": lambda ax: plot.raster({}, ax=ax),
    "populations of other steps": lambda ax: plot.raster({"a": events(), "b": events().steps(0, 3)}, ax=ax),
    "populations of other times": lambda ax: plot.raster({"a": events(), "b": events(1e-3)}, ax=ax),
    "windows longer than the sample": lambda ax: plot.raster(events(), rates=7, ax=ax),
    "no interval": lambda ax: plot.intervals(trains([1]), ax=ax),
    "no statistics": lambda ax: plot.intervals({}, ax=ax),
    "events for statistics": lambda ax: plot.irregularity({"a": events()}, ax=ax),
    "too few spikes": lambda ax: plot.irregularity(trains([1, 2]), ax=ax),
    "unknown irregularity": lambda ax: plot.irregularity(trains([1, 2, 3]), "lvr", ax=ax),
    "no square": lambda ax: plot.correlation(np.ones((2, 3)), ax=ax),
    "one unit": lambda ax: plot.correlation([[1.0]], ax=ax),
    "fields that do not fill": lambda ax: plot.spectro_temporal(np.eye(4), (3, 2), 0.01, ax=ax),
    "fields without columns": lambda ax: plot.spectro_temporal(np.eye(6), (3, 2), 0.01, 0, ax=ax),
    "fields of zeros": lambda ax: plot.modulations(modulations(np.zeros((1, 9)), (3, 3), 1, 1), ax=ax),
    "covariances": lambda ax: plot.correlation([[4.0, 2.0], [2.0, 4.0]], ax=ax),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_drawn(case: str) -> None:
    ax = Figure().subplots()
    with pytest.raises(InputError, match="got .*; expected"):
        BAD[case](ax)
    assert not ax.has_data()
