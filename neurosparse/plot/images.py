"""Image mosaics: named rows of small images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.checks import si, whole
from neurosparse.errors import InputError
from neurosparse.plot.style import axes, fit_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["images", "mosaic"]


def mosaic(rows: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Rows of images ``(images, height * width)`` on one array, one pixel of NaN between them."""
    columns = max(map(len, rows))
    found = np.full((len(rows) * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * (height + 1), j * (width + 1)
            found[top : top + height, left : left + width] = image.reshape(height, width)
    return found


def images(
    rows: Mapping[str, Any] | Any,
    shape: tuple[int, int] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Named rows of images, on one scale from 0 (black) to 1 (white); pixels that are NaN are left out.

    Args:
        rows: by name, ``(images, pixels)``, tensors or arrays, which may differ in length; or one without a name.
        shape: ``(height, width)`` of an image; None: square.
        title: None: the number of pixels of an image.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes.

    Raises:
        InputError: no image, images of different size, pixels that do not fill ``shape``, no numbers.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = images({"given": np.eye(4), "inferred": np.ones((4, 4))}, ax=Figure().subplots())
        >>> [text.get_text() for text in ax.get_yticklabels()]
        ['given', 'inferred']
    """
    where, named = "plot.images", dict(rows) if isinstance(rows, Mapping) else {"": rows}
    arrays = {name: si(where, name or "rows", row, "plain numbers", finite=False) for name, row in named.items()}
    sizes = {row.shape[1] if row.ndim == 2 and row.size else -1 for row in arrays.values()}
    side = math.isqrt(max(*sizes, 0)) if sizes else 0
    height, width = (whole(where, "shape", part) for part in shape or (max(side, 1), max(side, 1)))
    if sizes != {height * width}:
        got = f"rows {[row.shape for row in arrays.values()]} and shape {(height, width)}"
        fix = "Pass {'name': (images, pixels)}, and shape=(height, width) if they are not square."
        raise InputError(where, got=got, expected="height x width pixels in every image", fix=fix)
    ax = axes(ax)
    ax.imshow(mosaic(list(arrays.values()), height, width), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_yticks([i * (height + 1) + height / 2 - 0.5 for i in range(len(arrays))], list(arrays))
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(f"{height} x {width} pixels" if title is None else title, fontsize="medium")
    fit_text(ax)
    return ax
