"""Spike raster of one or several populations, with their firing rates below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.checks import several, whole
from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.style import COLOURS, axes, fit_text, legend_above, room, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["raster"]

MANY = 5000  # more events are drawn as pixels, as a vector file of them would have megabytes
BELOW = 0.45  # height of the rates, in heights of the raster
Populations = EventTensor | Mapping[str, EventTensor]


def raster(
    events: Populations,
    sample: int = 0,
    ax: Axes | None = None,
    *,
    rates: int | None = None,
    units: Sequence[Any] | None = None,
) -> Axes:
    """Spike raster of one sample: every event as a tick, units over time.

    Args:
        events: ``(steps, samples, *units)``, units numbered flat; or populations by name, with the same steps, the
            first at the bottom.
        sample: index of the sample.
        ax: matplotlib axes; None draws on the current ones.
        rates: number of steps of a window; below the raster are then the mean rates of the populations in such windows,
            with their axis at the right.
        units: name of each unit at the axis, from the bottom, such as the ids of a recording; None: flat numbers.

    Returns:
        The axes; x is in seconds if the events have ``dt``, otherwise in steps. Where ticks would merge into bars, one
        of several events of each unit is drawn, and the axis says so.

    Raises:
        InputError: no such sample, no population, populations of different steps, a window that is no whole number from
            1 to the number of steps, another number of names.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> spikes = EventTensor.from_dense(torch.eye(5, dtype=torch.bool)[:, None], dt=1e-3)
        >>> raster(spikes, ax=Figure().subplots()).get_xlabel()
        'time (s)'
    """
    from matplotlib.ticker import MaxNLocator

    populations = dict(events) if isinstance(events, Mapping) else {"": events}
    first = _check(populations)
    sample = whole("plot.raster", "sample", sample, 0, min(each.shape[1] for each in populations.values()) - 1)
    if rates is not None:
        fix = "Pass the number of steps of a window, such as rates=50."
        rates = whole("plot.raster", "rates", rates, 1, first.shape[0], fix=fix)
    steps, dt = max(_steps(each, sample) for each in populations.values()), first.dt
    ax = axes(ax)
    n_units = sum(each.n_units for each in populations.values())
    names = _names(units, n_units)
    ticks = {name: _ticks(each, sample) for name, each in populations.items()}
    n_events = sum(len(x) for x, _ in ticks.values())
    # A tick is as tall as its row, within limits of visibility, and thinner if there are many.
    height, width = min(max(150 / max(n_units, 1), 1.3), 12.0), 1.8
    if n_events > MANY or _thinning(ax, list(ticks.values()), height, width) > 1:
        width = 0.6
    every, floor = _thinning(ax, list(ticks.values()), height, width), 0
    for (name, each), colour in zip(populations.items(), cycle(COLOURS)):
        x, unit = _every(*ticks[name], every)
        options = {"markersize": height, "markeredgewidth": width, "rasterized": n_events > MANY}
        ax.plot(x, floor + unit, "|", color=colour, label=name or None, **options)
        floor += each.n_units
    span = (-0.5, steps - 0.5) if dt is None else (first.t0 - 0.5 * dt, first.t0 + (steps - 0.5) * dt)
    ax.set(xlim=span, ylim=(-0.5, n_units - 0.5), xlabel="step" if dt is None else "time (s)", ylabel="unit")
    if every > 1:
        ax.set_xlabel(f"{ax.get_xlabel()}; 1 of {every} events of each unit is drawn")
    if not n_events:
        say(ax, "no events")
    for axis in (ax.yaxis, ax.xaxis) if dt is None else (ax.yaxis,):
        axis.set_major_locator(MaxNLocator(integer=True))
    if names is not None:
        ax.yaxis.set_major_formatter(lambda y, _: names[int(y)] if y == int(y) and 0 <= y < n_units else "")
    if rates is not None:
        _rates(ax, populations, sample, rates, n_units)
    if "" not in populations:
        # The legend shows a line for each population, as a tick is too small.
        keys = [ax.plot([], [], color=line.get_color(), linewidth=3)[0] for line in ax.lines[: len(populations)]]
        for key, name in zip(keys, populations, strict=True):
            key.set_label(name)
        legend_above(ax, len(populations), keys)
    fit_text(ax)
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


def _steps(events: EventTensor, sample: int) -> int:
    """Steps of a sample that are data."""
    return events.shape[0] if events.lengths is None else int(events.lengths[sample])


def _names(units: Sequence[Any] | None, n_units: int) -> list[str] | None:
    if units is None:
        return None
    fix = "Pass a name for each unit, for example recording.units."
    found = several("plot.raster", "units", units, f"{n_units} names", fix)
    if len(found) != n_units:
        raise InputError("plot.raster", got=f"{len(found)} names", expected=f"one for each of {n_units} units", fix=fix)
    return [str(name) for name in found]


def _thinning(ax: Axes, ticks: Sequence[tuple[np.ndarray, np.ndarray]], height: float, width: float) -> int:
    """The k of "one of k events": ticks then cover at most half of the row of any unit, and half of the axes.

    Args:
        ax: the axes.
        ticks: times and units of the populations.
        height, width: of a tick, in points.
    """
    across, up = (72 * inches for inches in room(ax))
    busiest = max((int(np.bincount(unit).max(initial=0)) for _, unit in ticks), default=0)
    n_events = sum(len(unit) for _, unit in ticks)
    return max(1, math.ceil(2 * width * busiest / across), math.ceil(2 * height * width * n_events / (across * up)))


def _every(x: np.ndarray, unit: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    """The first of every ``every`` events of each unit, in the order of time."""
    if every == 1:
        return x, unit
    order = np.argsort(unit, kind="stable")
    ordered = unit[order]
    rank = np.arange(len(unit)) - np.searchsorted(ordered, ordered)
    kept = np.sort(order[rank % every == 0])
    return x[kept], unit[kept]


def _rates(ax: Axes, several: Mapping[str, EventTensor], sample: int, window: int, n_units: int) -> None:
    """Mean rates of the populations, below the raster, on a second axis."""
    beside, peak = ax.twinx(), 0.0
    for (_, each), colour in zip(several.items(), cycle(COLOURS)):
        windows, dt = _steps(each, sample) // window, 1.0 if each.dt is None else each.dt
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
