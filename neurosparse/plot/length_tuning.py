"""Responses over the length of a bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["length_tuning"]

STYLES = ("-", "--", ":", "-.")


def length_tuning(
    lengths: Sequence[float],
    responses: Mapping[str, Any],
    ylabel: str = "response",
    ax: Axes | None = None,
) -> Axes:
    """Mean response to bars of each length, and one standard deviation around it; falling on the right: end-stopping.

    Args:
        lengths: of the bars, in pixels, increasing.
        responses: by condition, (repeats, lengths): one row for each network, position of the bar, or cell.
        ylabel: what was measured.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes. Zero is in sight.

    Raises:
        InputError: no condition, responses of another number of lengths, NaN or infinity.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = length_tuning([2, 8, 24], {"feedback": [[1.0, 4.0, 1.0], [1.2, 3.0, 2.0]]}, ax=Figure().subplots())
        >>> ax.get_xlabel()
        'length of the bar (pixels)'
    """
    where = "plot.length_tuning"
    curves = {
        name: rows.detach().cpu().numpy() if isinstance(rows, torch.Tensor) else np.asarray(rows, float)
        for name, rows in responses.items()
    }
    if not curves:
        raise InputError(where, got="no condition", expected="responses by condition", fix="Pass at least one.")
    for name, rows in curves.items():
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != len(lengths) or not np.isfinite(rows).all():
            got = f"{name!r} of shape {rows.shape} for {len(lengths)} lengths"
            raise InputError(where, got=got, expected="finite (repeats, lengths)", fix="Put lengths last.")
    ax = axes(ax)
    for i, (name, rows) in enumerate(curves.items()):
        colour, mean, spread = COLOURS[i % len(COLOURS)], rows.mean(0), rows.std(0)
        ax.fill_between(lengths, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
        style = STYLES[i % len(STYLES)]
        ax.plot(lengths, mean, style, color=colour, marker="o", markersize=3, linewidth=1.5, label=name)
    ax.set(xlabel="length of the bar (pixels)", ylabel=ylabel, ylim=(0, None))
    ax.grid(alpha=0.2)
    ax.legend(frameon=False, fontsize="small")
    return ax
