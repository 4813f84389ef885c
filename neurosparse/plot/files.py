"""A picture as a file, in whatever format its name says."""

from __future__ import annotations

import io
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from neurosparse.events.storage import write_atomically

__all__ = ["write"]


def write(draw: Callable[..., Any], path: str | PathLike[str], size: tuple[float, float] = (4.0, 4.0)) -> Path:
    """Draw one figure and write it, whole or not at all.

    Args:
        draw: a plot that wants nothing but ``ax``.
        path: ends in .png, .pdf or .svg.
        size: width and height in inches.

    Example:
        >>> from functools import partial
        >>> from tempfile import TemporaryDirectory
        >>> from neurosparse.plot.atoms import atoms
        >>> with TemporaryDirectory() as folder:
        ...     write(partial(atoms, [[0.0, 1.0, 1.0, 0.0]]), f"{folder}/one.pdf").name
        'one.pdf'
    """
    from matplotlib.figure import Figure

    path, buffer = Path(path), io.BytesIO()
    figure = Figure(figsize=size, layout="constrained")
    draw(ax=figure.add_subplot())
    figure.savefig(buffer, format=path.suffix[1:], dpi=200)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
    return path
