"""Interspike intervals and irregularity of spike trains."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from neurosparse.analysis.spike_trains import SpikeTrainStatistics
from neurosparse.checks import one_of
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, legend_above, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["intervals", "irregularity"]

BINS = 40
MEASURES = {"cv": "CV of intervals", "cv2": "CV2 of intervals", "lv": "LV of intervals"}
Found = SpikeTrainStatistics | Mapping[str, SpikeTrainStatistics]


def intervals(found: Found, ax: Axes | None = None) -> Axes:
    """Histogram of the interspike intervals, pooled over all trains, on a log axis.

    Args:
        found: what ``neurosparse.analysis.spike_train_statistics`` returns; or several by name.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; the legend gives the number of intervals.

    Raises:
        InputError: no interval above 0 in one of them.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.events import EventTensor
        >>> from neurosparse.analysis import spike_train_statistics
        >>> spikes = EventTensor.from_dense(torch.ones(9, 1, 2), spikes=True)
        >>> intervals(spike_train_statistics(spikes), ax=Figure().subplots()).get_xlabel()
        'interval between spikes (steps)'
    """
    several = _several("plot.intervals", found)
    # Intervals of 0 cannot be drawn on a log axis.
    known = {name: one.intervals[one.intervals > 0] for name, one in several.items()}
    if not all(each.size for each in known.values()):
        got = ", ".join(f"{name or 'trains'} with {each.size} intervals" for name, each in known.items())
        raise InputError("plot.intervals", got=got, expected="at least one each", fix="Record for longer.")
    ax = axes(ax)
    pooled, tick = np.concatenate(list(known.values())), min(one.tick for one in several.values())
    # Bin edges lie between time steps, at most one between two, so that no bin is empty because of the resolution.
    edges = np.geomspace(pooled.min() / 1.05, pooled.max() * 1.05, BINS + 1) / tick
    edges = tick * (np.unique(np.append(np.floor(edges[:-1]), np.ceil(edges[-1]))) + 0.5)
    for (name, each), colour in zip(known.items(), cycle(COLOURS)):
        share = np.histogram(each, edges)[0] / each.size
        label = f"{name}, {each.size} intervals".removeprefix(", ")
        ax.stairs(share, edges, fill=True, alpha=0.45, color=colour, label=label)
    unit = next(iter(several.values())).unit
    ax.set(xscale="log", xlabel=f"interval between spikes ({unit})", ylabel="share")
    log_axis(ax.xaxis, "{:g}".format)
    legend_above(ax)
    fit_text(ax)
    return ax


def irregularity(found: Found, measure: str = "cv", ax: Axes | None = None) -> Axes:
    """Histogram of the irregularity of spike trains; a dotted line marks 1, a Poisson process.

    Args:
        found: what ``neurosparse.analysis.spike_train_statistics`` returns; or several by name.
        measure: ``"cv"``, ``"cv2"`` or ``"lv"``.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes. Trains of fewer than three spikes have no irregularity; the legend gives their number.

    Raises:
        InputError: an unknown measure, no train of three spikes.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.events import EventTensor
        >>> from neurosparse.analysis import spike_train_statistics
        >>> spikes = EventTensor.from_dense(torch.ones(9, 1, 2), spikes=True)
        >>> irregularity(spike_train_statistics(spikes), ax=Figure().subplots()).get_xlabel()
        'CV of intervals (dashed: mean, dotted: Poisson)'
    """
    where = "plot.irregularity"
    several = _several(where, found)
    one_of(where, "measure", measure, MEASURES)
    arrays = {name: np.asarray(getattr(one, measure)).ravel() for name, one in several.items()}
    known = {name: array[np.isfinite(array)] for name, array in arrays.items()}
    pooled = np.concatenate(list(known.values()))
    if not pooled.size:
        fix = "Record for longer."
        raise InputError(where, got="no train of three spikes", expected="at least one", fix=fix)
    ax = axes(ax)
    edges = np.linspace(0, max(1.05, float(pooled.max()) * 1.02), BINS + 1)
    for (name, each), colour in zip(known.items(), cycle(COLOURS)):
        left = arrays[name].size - each.size
        label = f"{name}, {each.size} trains".removeprefix(", ") + (f" ({left} left out)" if left else "")
        share = np.histogram(each, edges)[0] / max(each.size, 1)
        ax.stairs(share, edges, fill=True, alpha=0.45, color=colour, label=label)
        if each.size:
            ax.axvline(float(each.mean()), color=colour, linestyle="--", linewidth=1.2)
    ax.axvline(1.0, color="0.5", linestyle=":", linewidth=1.2)
    ax.set(xlabel=f"{MEASURES[measure]} (dashed: mean, dotted: Poisson)", ylabel="share", xlim=(0, edges[-1]))
    legend_above(ax)
    fit_text(ax)
    return ax


def _several(where: str, found: Found) -> dict[str, SpikeTrainStatistics]:
    """Statistics by name; one without a name has the empty name."""
    several = dict(found) if isinstance(found, Mapping) else {"": found}
    if not several or not all(isinstance(one, SpikeTrainStatistics) for one in several.values()):
        fix = "Pass what ns.analysis.spike_train_statistics returned."
        raise InputError(where, got=f"{list(several.values())!r}"[:60], expected="statistics of trains", fix=fix)
    return several
