"""Receptive fields side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurosparse.analysis.gabor import GaborFit
from neurosparse.errors import InputError
from neurosparse.plot.style import axes

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
    """Every atom as a small image, each scaled to its own largest magnitude; middle grey is zero.

    Args:
        dictionary: ``(atoms, features)``, tensor or array.
        shape: ``(height, width)`` of an atom; None: square.
        columns: images in a row; None: about as many as rows.
        ax: matplotlib axes; None draws on the current ones.
        order: Gabor fits of the same atoms; rows then go from low to high peak frequency, and orientation turns along
            each. Atoms without a fit come last.

    Returns:
        The axes.

    Raises:
        InputError: not two axes, not finite, features that do not fill ``shape``, fits of other atoms.

    Example:
        >>> from matplotlib.figure import Figure
        >>> atoms(np.eye(16), ax=Figure().subplots()).get_title()
        '16 atoms of 4 x 4, each scaled to its largest magnitude'
    """
    where = "plot.atoms"
    images = dictionary.detach().cpu().numpy() if isinstance(dictionary, torch.Tensor) else np.asarray(dictionary)
    if images.ndim != 2 or not images.size:
        raise InputError(where, got=f"shape {images.shape}", expected="(atoms, features)", fix="Flatten each atom.")
    if not np.isfinite(images).all():
        raise InputError(where, got="NaN or infinity", expected="finite atoms", fix="Check how they were learned.")
    side = math.isqrt(images.shape[1])
    height, width = shape or (side, side)
    if height * width != images.shape[1]:
        got = f"{images.shape[1]} features and shape {(height, width)}"
        raise InputError(where, got=got, expected="height x width = features", fix="Pass shape=(height, width).")
    if columns is not None and columns < 1:
        raise InputError(where, got=f"columns={columns}", expected="at least 1", fix="Leave columns out.")
    n = len(images)
    if order is not None and len(order) != n:
        fix = "Pass ns.fit_gabor(dictionary)."
        raise InputError(where, got=f"{len(order)} fits of {n} atoms", expected="one fit for each atom", fix=fix)
    columns = min(n, columns or math.ceil(math.sqrt(n * height / width)))
    rows = math.ceil(n / columns)
    if order is not None:
        images = images[_by_frequency_and_orientation(order, columns)]
    mosaic = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    peak = np.abs(images).max(1, keepdims=True)
    images = np.divide(images, peak, out=np.zeros(images.shape), where=peak > 0)
    for i, image in enumerate(images.reshape(n, height, width)):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        mosaic[top : top + height, left : left + width] = image
    ax = axes(ax)
    ax.imshow(mosaic, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(f"{n} atoms of {height} x {width}, each scaled to its largest magnitude", fontsize="medium")
    return ax


def _by_frequency_and_orientation(fit: GaborFit, columns: int) -> np.ndarray:
    """Atoms by rising frequency, cut into rows, each row by orientation; NaN sorts last."""
    by_frequency = np.argsort(fit.peak_frequency, kind="stable")
    rows = [by_frequency[start : start + columns] for start in range(0, len(fit), columns)]
    return np.concatenate([row[np.argsort(fit.orientation[row], kind="stable")] for row in rows])
