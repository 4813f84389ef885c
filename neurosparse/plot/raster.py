"""Spike raster of one or several populations, with their firing rates below."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.style import COLOURS, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["raster"]

MANY = 5000  # more events are drawn as pixels, as a vector file of them would have megabytes
BELOW = 0.45  # height of the rates, in heights of the raster
Populations = EventTensor | Mapping[str, EventTensor]


def raster(events: Populations, sample: int = 0, ax: Axes | None = None, *, rates: int | None = None) -> Axes:
    """Spike raster of one sample: every event as a tick, units over time.

    Args:
        events: ``(steps, samples, *units)``, units numbered flat; or populations by name, with the same steps, the
            first at the bottom.
        sample: index of the sample.
        ax: matplotlib axes; None draws on the current ones.
        rates: number of steps of a window; below the raster are then the mean rates of the populations in such windows,
            with their axis at the right.

    Returns:
        The axes; x is in seconds if the events have ``dt``, otherwise in steps.

    Raises:
        InputError: no such sample, no population, populations of different steps, a window that is no whole number from
            1 to the number of steps.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> spikes = EventTensor.from_dense(torch.eye(5, dtype=torch.bool)[:, None], dt=1e-3)
        >>> raster(spikes, ax=Figure().subplots()).get_xlabel()
        'time (s)'
    """
    from matplotlib.ticker import MaxNLocator

    several = dict(events) if isinstance(events, Mapping) else {"": events}
    first = _check(several)
    sample = whole("plot.raster", "sample", sample, 0, min(each.shape[1] for each in several.values()) - 1)
    if rates is not None:
        fix = "Pass the number of steps of a window, such as rates=50."
        rates = whole("plot.raster", "rates", rates, 1, first.shape[0], fix=fix)
    steps, dt = first.shape[0], first.dt
    ax = axes(ax)
    n_units = sum(each.n_units for each in several.values())
    n_events = sum(int((each.row % each.shape[1] == sample).sum()) for each in several.values())
    # A tick is as tall as its row, within limits of visibility, and thinner if there are many.
    height, width = min(max(150 / max(n_units, 1), 1.3), 12.0), 1.8 if n_events <= MANY else 0.6
    floor = 0
    for (name, each), colour in zip(several.items(), cycle(COLOURS)):
        x, unit = _ticks(each, sample)
        options = {"markersize": height, "markeredgewidth": width, "rasterized": n_events > MANY}
        ax.plot(x, floor + unit, "|", color=colour, label=name or None, **options)
        floor += each.n_units
    span = (-0.5, steps - 0.5) if dt is None else (first.t0 - 0.5 * dt, first.t0 + (steps - 0.5) * dt)
    ax.set(xlim=span, ylim=(-0.5, n_units - 0.5), xlabel="step" if dt is None else "time (s)", ylabel="unit")
    for axis in (ax.yaxis, ax.xaxis) if dt is None else (ax.yaxis,):
        axis.set_major_locator(MaxNLocator(integer=True))
    if rates is not None:
        _rates(ax, several, sample, rates, n_units)
    if "" not in several:
        # The legend shows a line for each population, as a tick is too small.
        keys = [ax.plot([], [], color=line.get_color(), linewidth=3)[0] for line in ax.lines[: len(several)]]
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(several), "fontsize": "small"}
        ax.legend(keys, list(several), frameon=False, **place)
    return ax


def _check(several: Mapping[str, EventTensor]) -> EventTensor:
    """The first population, if the others have the same steps."""
    where = "plot.raster"
    if not several or not all(isinstance(each, EventTensor) for each in several.values()):
        got = ", ".join(type(each).__name__ for each in several.values()) or "no population"
        fix = "Pass ns.EventTensor.from_dense(spikes)."
        raise InputError(where, got=got, expected="events, or events by name", fix=fix)
    first = next(iter(several.values()))
    if any((each.shape[0], each.dt, each.t0) != (first.shape[0], first.dt, first.t0) for each in several.values()):
        got = ", ".join(f"{name}: {each.shape[0]} steps, dt={each.dt}" for name, each in several.items())
        raise InputError(where, got=got, expected="the same steps", fix="Cut or bin them to the same steps.")
    return first


def _ticks(events: EventTensor, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Time and unit of each event of a sample."""
    mine = events.row % events.shape[1] == sample
    step = (events.row[mine] // events.shape[1]).cpu().numpy()
    return step if events.dt is None else events.times()[mine].cpu().numpy() * 1e-9, events.index[mine].cpu().numpy()


def _rates(ax: Axes, several: Mapping[str, EventTensor], sample: int, window: int, n_units: int) -> None:
    """Mean rates of the populations, below the raster, on a second axis."""
    beside, peak = ax.twinx(), 0.0
    for (_, each), colour in zip(several.items(), cycle(COLOURS)):
        windows, dt = each.shape[0] // window, 1.0 if each.dt is None else each.dt
        step = (each.row[each.row % each.shape[1] == sample] // each.shape[1]).cpu().numpy()
        counts = np.bincount(step // window, minlength=windows)[:windows]
        rate = counts / (each.n_units * window * dt)
        edges = (0.0 if each.dt is None else each.t0) + dt * (window * np.arange(windows + 1) - 0.5)
        beside.stairs(rate, edges, color=colour, linewidth=1.2, baseline=None)
        peak = max(peak, float(rate.max(initial=0.0)))
    ticks = [tick for tick in ax.get_yticks() if 0 <= tick < n_units]
    ax.set_ylim(-0.5 - (BELOW + 0.05) * n_units, n_units - 0.5)
    ax.set_yticks(ticks)
    ax.axhline(-0.5 - 0.025 * n_units, color="0.6", linewidth=0.8)
    peak = peak or 1.0
    beside.set_ylim(-0.03 * peak, peak * (1.06 + BELOW) / BELOW)
    unit = " Hz" if next(iter(several.values())).dt else " a step"
    beside.set_yticks([0.0, peak], ["0", f"{peak:.3g}{unit}"])
    assert ax.figure is not None
    ax.figure.sca(ax)  # the raster remains the current axes
