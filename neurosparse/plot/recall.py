"""Recall of an associative memory over its load."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.checks import si
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, by_name, fit_text, legend_above, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["recall"]

MARKERS = "osD^vP"
FIX = "Pass load, overlap and sd of one length, and theory=(loads, overlaps)."


def recall(curves: Mapping[str, Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Overlap of recalled patterns over the load: simulation (dots, one standard deviation) and mean field (line).

    Args:
        curves: by network, ``load`` (increasing, positive), ``overlap`` and ``sd`` of the simulation, and ``theory``,
            loads and overlaps of the mean field up to the capacity.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes, with a logarithmic load; a dotted line marks the capacity.

    Raises:
        InputError: no network, lists of different length, values that are not finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> one = {"load": [0.1, 0.2], "overlap": [1.0, 0.4], "sd": [0.0, 0.1], "theory": ([0.0, 0.14], [1.0, 0.97])}
        >>> recall({"dense": one}, ax=Figure().subplots()).get_xlabel()
        'stored patterns per unit'
    """
    curves = by_name("plot.recall", curves, "load, overlap, sd, theory", FIX)
    parts = {name: _arrays(name, one) for name, one in curves.items()}
    ax = axes(ax)
    for (name, (load, overlap, sd, x, y)), colour, marker in zip(parts.items(), cycle(COLOURS), cycle(MARKERS)):
        # The line has a vertical tangent at the capacity, so the fall is drawn from the last state.
        ax.plot(x[x > 0], y[x > 0], color=colour, linewidth=1.5)
        ax.plot([x[-1], x[-1]], [y[-1], 0], ":", color=colour, linewidth=1.2)
        style = {"marker": marker, "markersize": 4.5, "linestyle": "none", "capsize": 2}
        ax.errorbar(load, overlap, sd, color=colour, label=name, **style)
    least = min(float(load[0]) for load, *_ in parts.values())
    ax.set(xscale="log", xlabel="stored patterns per unit", ylabel="overlap", ylim=(0, 1.04))
    ax.set_xlim(left=least / 1.2)
    log_axis(ax.xaxis, "{:g}".format)
    ax.grid(alpha=0.2)
    legend_above(ax, 4, title="dots: simulated; lines: mean field")
    fit_text(ax)
    return ax


def _arrays(name: str, one: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """Load, overlap and standard deviation of the simulation; load and overlap of the mean field."""
    where, keys = "plot.recall", ("load", "overlap", "sd", "theory")
    if not isinstance(one, Mapping) or not all(key in one for key in keys) or len(one["theory"]) != 2:
        raise InputError(where, got=f"{name!r} of {type(one).__name__}", expected=", ".join(keys), fix=FIX)
    given = (one["load"], one["overlap"], one["sd"], *one["theory"])
    found = [si(where, name, part, "plain numbers") for part in given]
    sizes = [part.size for part in found]
    if not sizes[0] or not sizes[3] or sizes != [sizes[0]] * 3 + [sizes[3]] * 2 or not (found[0] > 0).all():
        raise InputError(where, got=f"{name!r} of sizes {sizes}", expected="one length, loads above 0", fix=FIX)
    return tuple(found)
