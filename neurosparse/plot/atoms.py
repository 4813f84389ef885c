"""Dictionary atoms (receptive fields) as small images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.analysis.gabor import GaborFit
from neurosparse.checks import si, whole
from neurosparse.errors import InputError
from neurosparse.plot.images import mosaic
from neurosparse.plot.style import axes, fit_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["atoms"]


def atoms(
    dictionary: Any,
    shape: tuple[int, int] | None = None,
    columns: int | None = None,
    ax: Axes | None = None,
    *,
    order: GaborFit | None = None,
) -> Axes:
    """Every atom as a small image, scaled to its largest magnitude; middle grey is zero.

    Args:
        dictionary: ``(atoms, features)``, tensor or array.
        shape: ``(height, width)`` of an atom; None: square.
        columns: images in a row; None: about as many as there are rows.
        ax: matplotlib axes; None draws on the current ones.
        order: Gabor fits of the same atoms; rows are then sorted by peak frequency, and each row by orientation. Atoms
            without a fit come last.

    Returns:
        The axes.

    Raises:
        InputError: not two axes, not finite, features that do not fill ``shape``, no column, fits of other atoms.

    Example:
        >>> from matplotlib.figure import Figure
        >>> atoms(np.eye(16), ax=Figure().subplots()).get_title()
        '16 atoms of 4 x 4, each scaled to its largest magnitude'
    """
    where = "plot.atoms"
    images = si(where, "dictionary", dictionary, "plain numbers")
    if images.ndim != 2 or not images.size:
        raise InputError(where, got=f"shape {images.shape}", expected="(atoms, features)", fix="Flatten each atom.")
    side = math.isqrt(images.shape[1])
    height, width = (whole(where, "shape", part) for part in shape or (side, side))
    if height * width != images.shape[1]:
        got = f"{images.shape[1]} features and shape {(height, width)}"
        raise InputError(where, got=got, expected="height x width = features", fix="Pass shape=(height, width).")
    columns = None if columns is None else whole(where, "columns", columns)
    n = len(images)
    if order is not None and len(order) != n:
        fix = "Pass ns.fit_gabor(dictionary)."
        raise InputError(where, got=f"{len(order)} fits of {n} atoms", expected="one fit for each atom", fix=fix)
    columns = min(n, columns or math.ceil(math.sqrt(n * height / width)))
    if order is not None:
        images = images[_by_frequency_and_orientation(order, columns)]
    peak = np.abs(images).max(1, keepdims=True)
    images = np.divide(images, peak, out=np.zeros(images.shape), where=peak > 0)
    rows = [images[start : start + columns] for start in range(0, n, columns)]
    ax = axes(ax)
    ax.imshow(mosaic(rows, height, width), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    zero = int((peak == 0).sum())
    rest = f"; {zero} of them zero" if zero else ""
    title = f"{n} atoms of {height} x {width}, each scaled to its largest magnitude{rest}"
    ax.set_title(title, fontsize="medium")
    fit_text(ax)
    return ax


def _by_frequency_and_orientation(fit: GaborFit, columns: int) -> np.ndarray:
    """Order of atoms: rows by rising frequency, each row by orientation, NaN last."""
    by_frequency = np.argsort(fit.peak_frequency, kind="stable")
    rows = [by_frequency[start : start + columns] for start in range(0, len(fit), columns)]
    return np.concatenate([row[np.argsort(fit.orientation[row], kind="stable")] for row in rows])
