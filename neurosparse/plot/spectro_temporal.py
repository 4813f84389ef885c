"""Spectro-temporal receptive fields, and the modulation rates and scales that they respond to most."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.analysis.modulation import Modulations
from neurosparse.checks import positive, si, whole
from neurosparse.errors import InputError
from neurosparse.plot.images import mosaic
from neurosparse.plot.style import axes, fit_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["modulations", "spectro_temporal"]


def spectro_temporal(
    atoms: Any, shape: tuple[int, int], dt: float, columns: int | None = None, ax: Axes | None = None
) -> Axes:
    """Every field as a small image, time to the right and frequency upwards; positive red, negative blue.

    Args:
        atoms: ``(atoms, features)``, tensor or array; bands from low to high, each with its steps.
        shape: ``(bands, steps)``.
        dt: seconds per step.
        columns: fields in a row; None: about twice as many as there are rows.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes, each field scaled to its largest magnitude; labels give the extent of a field.

    Raises:
        InputError: not two axes, not finite, features that do not fill ``shape``, no column.

    Example:
        >>> from matplotlib.figure import Figure
        >>> spectro_temporal(np.eye(12), (3, 4), 0.01, ax=Figure().subplots()).get_xlabel()
        'time, 40 ms a field'
    """
    where = "plot.spectro_temporal"
    fields = si(where, "atoms", atoms, "plain numbers")
    bands, steps = (whole(where, "shape", part) for part in shape)
    dt = positive(where, "dt", dt, unit="seconds")
    if fields.ndim != 2 or not fields.size or fields.shape[1] != bands * steps:
        got, fix = f"atoms {fields.shape} and shape {shape}", "Pass shape=(bands, steps)."
        raise InputError(where, got=got, expected="(atoms, bands x steps)", fix=fix)
    n = len(fields)
    columns = min(n, math.ceil(math.sqrt(2 * n)) if columns is None else whole(where, "columns", columns))
    peak = np.abs(fields).max(1, keepdims=True)
    fields = np.divide(fields, peak, out=np.zeros(fields.shape), where=peak > 0)
    upwards = fields.reshape(n, bands, steps)[:, ::-1]  # low frequencies below
    rows = [upwards[start : start + columns] for start in range(0, n, columns)]
    ax = axes(ax)
    ax.imshow(mosaic(rows, bands, steps), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[], xlabel=f"time, {1000 * steps * dt:.3g} ms a field")
    ax.set_ylabel(f"frequency, {bands} bands a field")
    for spine in ax.spines.values():
        spine.set_visible(False)
    fit_text(ax)
    return ax


def modulations(found: Modulations, unit: str = "unit of band", ax: Axes | None = None) -> Axes:
    """Best rate and scale of each field, coloured by its separability in time and frequency.

    Args:
        found: what ``neurosparse.analysis.modulations`` returns.
        unit: of the scale, for the label.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes.

    Raises:
        InputError: no field, or only fields of zeros.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.analysis.modulation import modulations as measure
        >>> modulations(measure(np.eye(12), (3, 4), 0.25, 0.01), "octave", ax=Figure().subplots()).get_ylabel()
        'best scale (cycles per octave)'
    """
    known = np.isfinite(found.rate) & np.isfinite(found.separability)
    if not known.any():
        raise InputError("plot.modulations", got=f"{known.size} fields of zeros", expected="at least one other")
    ax = axes(ax)
    style = {"cmap": "viridis", "vmin": 0, "vmax": 1, "s": 18, "alpha": 0.8, "linewidths": 0}
    dots = ax.scatter(found.rate[known], found.scale[known], c=found.separability[known], **style)
    ax.set(xlabel="best rate (Hz)", ylabel=f"best scale (cycles per {unit})")
    ax.set_xlim(left=min(0.0, -0.02 * float(found.rate[known].max())))
    ax.set_ylim(bottom=min(0.0, -0.02 * float(found.scale[known].max())))
    ax.grid(alpha=0.2)
    assert ax.figure is not None
    bar = ax.figure.colorbar(dots, ax=ax, shrink=0.8, pad=0.03)
    bar.set_label("separability")
    fit_text(ax, bar.ax)
    return ax
