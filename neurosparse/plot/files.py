"""Figures as files, in the format of the file name."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from neurosparse.atomic import make_folder, write_atomically
from neurosparse.checks import one_of

__all__ = ["write"]


def write(
    draw: Callable[..., Any] | Sequence[Callable[..., Any]],
    path: str | PathLike[str],
    size: tuple[float, float] = (4.0, 4.0),
    columns: int = 1,
    dpi: int = 200,
) -> Path:
    """Draw one figure and write it atomically.

    Args:
        draw: a plot that takes only ``ax``; or several, row by row.
        path: ends in .png, .pdf or .svg.
        size: width and height in inches.
        columns: plots in a row.
        dpi: dots per inch, for formats with pixels.

    Raises:
        InputError: another format; a file that cannot be written.

    Example:
        >>> from functools import partial
        >>> from tempfile import TemporaryDirectory
        >>> from neurosparse.plot.atoms import atoms
        >>> with TemporaryDirectory() as folder:
        ...     write(partial(atoms, [[0.0, 1.0, 1.0, 0.0]]), f"{folder}/one.pdf").name
        'one.pdf'
    """
    from matplotlib.figure import Figure

    where, path, buffer = "report.write_figure", Path(path), io.BytesIO()
    format = one_of(where, "the suffix of path", path.suffix.lower()[1:], ("png", "pdf", "svg"))
    figure = Figure(figsize=size, layout="constrained")
    draws = [draw] if callable(draw) else list(draw)
    grid = figure.subplots(math.ceil(len(draws) / columns), columns, squeeze=False)
    for one, ax in zip(draws, grid.flat, strict=False):
        one(ax=ax)
    figure.savefig(buffer, format=format, dpi=dpi)
    make_folder(path.parent, where)
    write_atomically(path, buffer.getvalue(), where)
    return path
