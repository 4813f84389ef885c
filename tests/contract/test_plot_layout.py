"""Plots in a journal column and in a grid; empty data, long recordings and fits at a limit are named on the plot."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_plot import PLOTS

from neurosparse import plot
from neurosparse.analysis.gabor import fit_gabor
from neurosparse.analysis.sparsity import sparsity
from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.style import text_width, wrapped

COLUMN, GRID = ((3.4, 2.6), (1, 1)), ((7.0, 4.6), (2, 3))


def drawn(name: str, size: tuple[float, float], shape: tuple[int, int]) -> tuple[Figure, Axes]:
    """One plot in every place of a grid, laid out."""
    figure = Figure(size, layout="constrained", dpi=72)
    FigureCanvasAgg(figure)
    places = figure.subplots(*shape, squeeze=False)
    for ax in places.flat:
        PLOTS[name](ax=ax)
    figure.canvas.draw()
    return figure, places[0, 0]


def clipped(figure: Figure) -> list[str]:
    """Texts that reach more than 4 points beyond the figure; tick labels outside of the view are not drawn."""
    ticks = {
        label
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    }
    found = []
    for text in figure.findobj(Text):
        if text not in ticks and text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            if min(box.x0, box.y0, figure.bbox.width - box.x1, figure.bbox.height - box.y1) < -4:
                found.append(text.get_text())
    return found


QUICK = ("sparsity", "atoms", "raster", "gabor_scatter", "operations", "waterfall")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PLOTS]
)
def test_a_plot_fits_a_journal_column(name: str) -> None:
    figure, ax = drawn(name, *COLUMN)
    assert clipped(figure) == []
    box = ax.get_window_extent()
    assert box.width > 0.45 * figure.bbox.width and box.height > 0.35 * figure.bbox.height


@pytest.mark.parametrize("name", ["sparsity", "atoms", "gabor_scatter"])
def test_a_plot_fits_a_grid(name: str) -> None:
    figure, ax = drawn(name, *GRID)
    assert clipped(figure) == []
    box = ax.get_window_extent()
    assert box.width > 0.45 * figure.bbox.width / 3 and box.height > 0.45 * figure.bbox.height / 2


def test_lines_are_as_wide_as_they_may_be() -> None:
    text = "each scaled to its largest magnitude, incomprehensibilities included"
    lines = wrapped(text, 1.2).split("\n")
    assert " ".join(lines) == text
    assert all(text_width(line, "medium") <= 1.2 for line in lines if " " in line)
    assert all(text_width(f"{a} {b.split()[0]}", "medium") > 1.2 for a, b in pairwise(lines))


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_plots_without_data_say_so() -> None:
    ax = Figure().subplots
    assert "all are silent" in " ".join(texts(plot.sparsity(sparsity(np.zeros((5, 4))), ax=ax()))).replace("\n", " ")
    silent = EventTensor.from_dense(torch.zeros(5, 1, 3), dt=1e-3, spikes=True)
    assert "no events" in texts(plot.raster(silent, ax=ax()))
    atoms = torch.cat([torch.zeros(2, 9), torch.eye(3, 9)])
    assert plot.atoms(atoms, ax=ax()).get_title().replace("\n", " ").endswith("; 2 of them zero")
    blob = np.exp(-((np.mgrid[:12, :12] - 5.5) ** 2).sum(0) / 8).reshape(1, -1)
    assert "no atom has stripes: all are blobs" in texts(plot.orientation(fit_gabor(blob), ax=ax()))


def test_a_raster_has_the_names_of_its_units() -> None:
    events = EventTensor.from_dense(torch.eye(3)[:, None], dt=1e-3, spikes=True)
    figure = Figure()
    FigureCanvasAgg(figure)
    ax = plot.raster(events, units=[6, 191, "a"], ax=figure.subplots())
    figure.canvas.draw()
    named = {y: label.get_text() for y, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)}
    assert {y: named[y] for y in (0, 1, 2)} == {0: "6", 1: "191", 2: "a"}
    assert {name for y, name in named.items() if not 0 <= y <= 2} <= {""}
    with pytest.raises(InputError, match="2 names; expected one for each of 3 units"):
        plot.raster(events, units=[6, 191], ax=ax)


def test_a_long_raster_is_thinned_in_proportion_with_a_word() -> None:
    rng = np.random.default_rng(0)
    counts = (8000, 2000, 40, 1)
    times = np.concatenate([rng.uniform(0, 1087, count) for count in counts])
    events = EventTensor.from_times(times, np.repeat(range(4), counts), n_units=4, dt=1e-3, duration=1087.0)
    ax = plot.raster(events, ax=Figure().subplots())
    every = int(ax.get_xlabel().split("1 of ")[1].split()[0])
    (line,) = ax.lines
    kept = np.bincount(np.asarray(line.get_ydata(), dtype=int), minlength=4)
    assert every > 1 and kept.tolist() == [-(-count // every) for count in counts], "a rare unit is never left out"
    width = line.get_markeredgewidth()
    assert kept[0] * width <= 72 * 6.4 * 0.775 / 2 + width, "half of a row is free"
    shown = set(np.round(np.asarray(line.get_xdata()), 6))
    assert shown <= set(np.round(events.times().numpy() * 1e-9, 6))
    few = plot.raster(events.steps(0, 10_000), ax=Figure().subplots())
    assert few.get_xlabel() == "time (s)" and len(few.lines[0].get_xdata()) == events.steps(0, 10_000).n_events


def test_the_gabor_scatter_names_edges_blobs_and_fits_at_a_limit() -> None:
    row, column = np.mgrid[:12, :12] - 5.5
    envelope = np.exp(-(row**2 + column**2) / 8)
    edge, blob, waves = column * envelope, envelope, np.cos(1.3 * column) * envelope
    fit = fit_gabor(np.stack([edge, waves, blob]).reshape(3, -1))
    # |k| exp(-2 pi^2 k^2) sigma is largest at k sigma = 1 / (2 pi): the derivative of a Gaussian has this n_x.
    np.testing.assert_allclose(fit.n_x[0], 1 / (2 * np.pi), rtol=0.02)
    title = plot.gabor_scatter(fit, ax=Figure().subplots()).get_title().replace("\n", " ")
    assert title.startswith("3 of 3 atoms") and "1 edges" in title and "1 blobs" in title
    assert f"{fit.at_limit.sum()} at a limit of the fit (open)" in title or not fit.at_limit.any()
    plain = plot.gabor_scatter(fit_gabor(waves.reshape(1, -1)), ax=Figure().subplots())
    assert plain.get_title() == "1 of 1 atoms"
