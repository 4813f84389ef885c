"""Spike raster."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.style import COLOURS, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["raster"]

MANY = 5000  # beyond this, ticks are drawn as pixels: a vector file of them would be megabytes


def raster(events: EventTensor, sample: int = 0, ax: Axes | None = None) -> Axes:
    """Every event of one sample as a tick: units over time.

    Args:
        events: ``(steps, samples, *units)``; several unit axes are numbered flat.
        sample: which sample.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; x is seconds where the events know them (``dt``), else the step.

    Raises:
        InputError: there is no such sample.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> spikes = EventTensor.from_dense(torch.eye(5, dtype=torch.bool)[:, None], dt=1e-3)
        >>> raster(spikes, ax=Figure().subplots()).get_xlabel()
        'time (s)'
    """
    from matplotlib.ticker import MaxNLocator

    steps, samples, *units = events.shape
    if not 0 <= sample < samples:
        raise InputError(
            "plot.raster", got=f"sample={sample}", expected=f"0 <= sample < {samples}", fix="Pass sample=0."
        )
    ax = axes(ax)
    mine = events.row % samples == sample
    unit = events.index[mine].cpu().numpy()
    dt = events.dt
    if dt is None:
        x, span = (events.row[mine] // samples).cpu().numpy(), (-0.5, steps - 0.5)
    else:
        start = events.t0
        x, span = events.times()[mine].cpu().numpy() * 1e-9, (start - 0.5 * dt, start + (steps - 0.5) * dt)
    n_units = math.prod(units)
    # A tick is as tall as its row, within what the eye can see.
    height = min(max(150 / max(n_units, 1), 1.3), 12.0)
    ax.plot(x, unit, "|", color=COLOURS[0], markersize=height, markeredgewidth=1.8, rasterized=len(unit) > MANY)
    ax.set(xlim=span, ylim=(-0.5, n_units - 0.5), xlabel="step" if dt is None else "time (s)", ylabel="unit")
    for axis in (ax.yaxis, ax.xaxis) if dt is None else (ax.yaxis,):
        axis.set_major_locator(MaxNLocator(integer=True))
    return ax
