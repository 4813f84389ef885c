"""Membrane potentials over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from neurosparse.checks import si, whole
from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timed import dense_of
from neurosparse.plot.style import COLOURS, axes, fit_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["membrane"]


def membrane(
    trace: Any, units: int | Sequence[int] = 4, sample: int = 0, threshold: Any = 1.0, ax: Axes | None = None
) -> Axes:
    """Membrane potentials of a few units of one sample, with their threshold (dashed) and spikes (ticks).

    Args:
        trace: with ``.events`` and ``.membrane`` ``(steps, samples, *units)``, as ``ns.LIF(...).trace(current)`` gives.
        units: flat indices of the units; a number: that many of the units with most spikes.
        sample: index of the sample.
        threshold: a number, or one per unit.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; 0 of each membrane is at the tick of its unit, and all have one scale; x is in seconds if the events
        have ``dt``, otherwise in steps.

    Raises:
        InputError: no such sample or unit, a membrane and events of different shapes, a membrane that is not finite.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> from matplotlib.figure import Figure
        >>> u = torch.tensor([0.8, 1.2, 0.9]).view(3, 1, 1)
        >>> trace = SimpleNamespace(events=EventTensor.from_dense(u > 1), membrane=u)
        >>> membrane(trace, ax=Figure().subplots()).get_xlabel()
        'step'
    """
    where, fix = "plot.membrane", "Pass ns.LIF(...).trace(current)."
    if not isinstance(getattr(trace, "events", None), EventTensor) or not isinstance(trace.membrane, Tensor):
        raise InputError(where, got=type(trace).__name__, expected="a trace with .events and .membrane", fix=fix)
    events, levels = trace.events, dense_of(trace.membrane).detach().cpu()
    if tuple(levels.shape) != events.shape:
        got = f"a membrane {tuple(levels.shape)} and events {events.shape}"
        raise InputError(where, got=got, expected="one shape", fix=fix)
    sample = whole(where, "sample", sample, 0, events.shape[1] - 1, fix="Pass sample=0.")
    ends = events.shape[0] if events.lengths is None else int(events.lengths[sample])
    levels = levels.flatten(2)[:ends, sample].numpy()
    fires = _spikes(events, sample)[:ends]
    chosen = _chosen(units, fires)
    if not ends or not np.isfinite(levels[:, chosen]).all():
        got = "no step" if not ends else "NaN or infinity"
        raise InputError(where, got=got, expected="a finite membrane", fix="Choose another sample.")
    limits = si(where, "threshold", threshold, "plain numbers").reshape(-1)
    if limits.size not in (1, events.n_units):
        got = f"{limits.size} thresholds"
        raise InputError(where, got=got, expected=f"one number, or one for each of {events.n_units} units")
    limits = np.broadcast_to(limits, (events.n_units,))[chosen]
    ax = axes(ax)
    x = np.arange(ends) if events.dt is None else events.t0 + events.dt * np.arange(ends)
    shown = levels[:, chosen]
    low, high = min(0.0, float(shown.min())), max(float(limits.max()), float(shown.max()))
    tick = 0.18 * (high - low)
    rests = (high - low + 2 * tick) * np.arange(len(chosen))[::-1]
    for at, (unit, rest) in enumerate(zip(chosen, rests, strict=True)):
        ax.axhline(rest + limits[at], color="0.6", linestyle="--", linewidth=0.9)
        ax.plot(x, rest + shown[:, at], color=COLOURS[0], linewidth=1.2)
        spikes = x[fires[:, unit]]
        ax.vlines(spikes, rest + high + 0.3 * tick, rest + high + 1.3 * tick, color=COLOURS[1], linewidth=1.5)
    ax.set_yticks(rests, [str(unit) for unit in chosen])
    label = "step" if events.dt is None else "time (s)"
    ax.set(ylim=(low - 0.5 * tick, rests[0] + high + 1.6 * tick), xlabel=label, ylabel="unit")
    ax.margins(x=0.01)
    fit_text(ax)
    return ax


def _spikes(events: EventTensor, sample: int) -> np.ndarray:
    """Spikes of a sample, ``(steps, units)``."""
    fires = np.zeros((events.shape[0], events.n_units), dtype=bool)
    mine = events.row % events.shape[1] == sample
    fires[(events.row[mine] // events.shape[1]).cpu().numpy(), events.index[mine].cpu().numpy()] = True
    return fires


def _chosen(units: Any, fires: np.ndarray) -> list[int]:
    """Flat indices of the units to draw."""
    where, n_units = "plot.membrane", fires.shape[1]
    if getattr(units, "ndim", 0) == 0 and not isinstance(units, Sequence):
        busiest = np.argsort(-fires.sum(0), kind="stable")[: whole(where, "units", units)]
        return sorted(int(unit) for unit in busiest)
    chosen = [whole(where, "units", unit, 0, n_units - 1, fix="Pass units=[0, 1].") for unit in units]
    if not chosen:
        raise InputError(where, got="units=[]", expected="at least one unit", fix="Pass units=[0, 1].")
    return chosen
