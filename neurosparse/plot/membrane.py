"""Membrane traces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.style import COLOURS, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["membrane"]


def membrane(
    trace: Any, units: int | Sequence[int] = 4, sample: int = 0, threshold: Any = 1.0, ax: Axes | None = None
) -> Axes:
    """Membranes of a few units of one sample, one above the other, with their threshold (dashed) and spikes (ticks).

    Args:
        trace: with ``.events`` and ``.membrane`` ``(steps, samples, *units)``, as ``ns.LIF(...).trace(current)`` gives.
        units: which units, numbered flat; a number takes that many of those that spike most.
        sample: which sample.
        threshold: a number, or one per unit.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; a membrane's rest lies at the tick of its unit, all in one scale; x is seconds where the events know
        them.

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
    events, levels = trace.events, trace.membrane.detach().cpu()
    if tuple(levels.shape) != events.shape:
        got = f"a membrane {tuple(levels.shape)} and events {events.shape}"
        raise InputError("plot.membrane", got=got, expected="one shape", fix="Pass ns.LIF(...).trace(current).")
    if not 0 <= sample < events.shape[1]:
        expected = f"0 <= sample < {events.shape[1]}"
        raise InputError("plot.membrane", got=f"sample={sample}", expected=expected, fix="Pass sample=0.")
    ends = events.shape[0] if events.lengths is None else int(events.lengths[sample])
    levels = levels.flatten(2)[:ends, sample].numpy()
    fires = _spikes(events, sample)[:ends]
    chosen = _chosen(units, fires)
    if not ends or not np.isfinite(levels[:, chosen]).all():
        got = "no step" if not ends else "NaN or infinity"
        raise InputError("plot.membrane", got=got, expected="a finite membrane", fix="Look at another sample.")
    limits = np.broadcast_to(np.asarray(threshold, dtype=float).reshape(-1), (events.n_units,))[chosen]
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
    return ax


def _spikes(events: EventTensor, sample: int) -> np.ndarray:
    """Which units of a sample fire at which steps."""
    fires = np.zeros((events.shape[0], events.n_units), dtype=bool)
    mine = events.row % events.shape[1] == sample
    fires[(events.row[mine] // events.shape[1]).cpu().numpy(), events.index[mine].cpu().numpy()] = True
    return fires


def _chosen(units: int | Sequence[int], fires: np.ndarray) -> list[int]:
    most = fires.shape[1]
    if isinstance(units, int):
        busiest = np.argsort(-fires.sum(0), kind="stable")[: max(units, 0)]
        chosen = sorted(int(unit) for unit in busiest)
    else:
        chosen = [int(unit) for unit in units]
    if not chosen or not all(0 <= unit < most for unit in chosen):
        expected = f"units from 0 to {most - 1}"
        raise InputError("plot.membrane", got=f"units={units!r}", expected=expected, fix="Pass units=[0, 1].")
    return chosen
