"""Recall from an associative memory."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["recall"]

MARKERS = "osD^vP"


def recall(curves: Mapping[str, Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Overlap of recalled patterns over the load, dots with one standard deviation, beside the mean field, a line.

    Args:
        curves: by network, ``load`` (increasing, positive), ``overlap`` and ``sd`` of the simulation, and ``theory``:
            loads and overlaps up to the capacity, where the line ends.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes, the load logarithmic; a dotted line falls from where retrieval ends.

    Raises:
        InputError: no network, lists of different length, values that are not finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> one = {"load": [0.1, 0.2], "overlap": [1.0, 0.4], "sd": [0.0, 0.1], "theory": ([0.0, 0.14], [1.0, 0.97])}
        >>> recall({"dense": one}, ax=Figure().subplots()).get_xlabel()
        'stored patterns per unit'
    """
    parts = {name: _arrays(name, one) for name, one in curves.items()}
    if not parts:
        raise InputError("plot.recall", got="no network", expected="load, overlap, sd, theory", fix="Pass one.")
    ax = axes(ax)
    for (name, (load, overlap, sd, x, y)), colour, marker in zip(parts.items(), cycle(COLOURS), cycle(MARKERS)):
        # A capacity is reached with a vertical tangent, so the fall is drawn from the last state there is.
        ax.plot(x[x > 0], y[x > 0], color=colour, linewidth=1.5)
        ax.plot([x[-1], x[-1]], [y[-1], 0], ":", color=colour, linewidth=1.2)
        style = {"marker": marker, "markersize": 4.5, "linestyle": "none", "capsize": 2}
        ax.errorbar(load, overlap, sd, color=colour, label=name, **style)
    least = min(float(load[0]) for load, *_ in parts.values())
    ax.set(xscale="log", xlabel="stored patterns per unit", ylabel="overlap", ylim=(0, 1.04))
    ax.set_xlim(left=least / 1.2)
    log_axis(ax.xaxis, "{:g}".format)
    ax.grid(alpha=0.2)
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 4}
    ax.legend(
        **place, frameon=False, fontsize="small", title="dots: simulated; lines: mean field", title_fontsize="small"
    )
    return ax


def _arrays(name: str, one: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    found = [np.asarray(part, float) for part in (one["load"], one["overlap"], one["sd"], *one["theory"])]
    sizes = [part.size for part in found]
    fine = sizes[0] > 0 < sizes[3] and sizes == [sizes[0]] * 3 + [sizes[3]] * 2
    if not fine or not all(np.isfinite(part).all() for part in found) or not (found[0] > 0).all():
        expected = "as many overlaps and deviations as loads, loads above 0, all finite"
        raise InputError("plot.recall", got=f"{name!r} of sizes {sizes}", expected=expected)
    return tuple(found)
