"""Spectro-temporal receptive fields, and the modulations of sound they are tuned to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurosparse.analysis.modulation import Modulations
from neurosparse.errors import InputError
from neurosparse.plot.style import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["modulations", "spectro_temporal"]


def spectro_temporal(
    atoms: Any, shape: tuple[int, int], dt: float, columns: int | None = None, ax: Axes | None = None
) -> Axes:
    """Every field as a small picture, time to the right and frequency upwards: red excites, blue inhibits.

    Args:
        atoms: ``(atoms, features)``, tensor or array; bands from low to high, each with its steps.
        shape: ``(bands, steps)``.
        dt: seconds per step.
        columns: fields in a row; None: about twice as many as rows.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes, each field scaled to its own largest magnitude; labels say what a field spans.

    Raises:
        InputError: not two axes, not finite, features that do not fill ``shape``, no column.

    Example:
        >>> from matplotlib.figure import Figure
        >>> spectro_temporal(np.eye(12), (3, 4), 0.01, ax=Figure().subplots()).get_xlabel()
        'time, 40 ms a field'
    """
    fields = atoms.detach().cpu().numpy() if isinstance(atoms, torch.Tensor) else np.asarray(atoms, float)
    bands, steps = shape
    if fields.ndim != 2 or not fields.size or fields.shape[1] != bands * steps or not np.isfinite(fields).all():
        got, fix = f"atoms {fields.shape} and shape {shape}", "Pass shape=(bands, steps)."
        raise InputError("plot.spectro_temporal", got=got, expected="finite (atoms, bands x steps)", fix=fix)
    n = len(fields)
    columns = min(n, math.ceil(math.sqrt(2 * n)) if columns is None else columns)
    if columns < 1:
        raise InputError("plot.spectro_temporal", got=f"columns={columns}", expected="at least 1")
    mosaic = np.full((math.ceil(n / columns) * (bands + 1) - 1, columns * (steps + 1) - 1), np.nan)
    peak = np.abs(fields).max(1, keepdims=True)
    fields = np.divide(fields, peak, out=np.zeros(fields.shape), where=peak > 0)
    for i, field in enumerate(fields.reshape(n, bands, steps)):
        top, left = (i // columns) * (bands + 1), (i % columns) * (steps + 1)
        mosaic[top : top + bands, left : left + steps] = field[::-1]  # low frequencies below
    ax = axes(ax)
    ax.imshow(mosaic, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[], xlabel=f"time, {1000 * steps * dt:.3g} ms a field")
    ax.set_ylabel(f"frequency, {bands} bands a field")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def modulations(found: Modulations, unit: str = "unit of band", ax: Axes | None = None) -> Axes:
    """Best rate and scale of each field, shaded by how well time and frequency separate.

    Args:
        found: what ``neurosparse.analysis.modulations`` returns.
        unit: what scale is counted by, for the label.
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
    ax.figure.colorbar(dots, ax=ax, shrink=0.8, pad=0.03).set_label("separability")
    return ax
