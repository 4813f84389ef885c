"""Communication cost: the error of a network over the number of its transmissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosparse.errors import InputError
from neurosparse.plot.labels import place_labels
from neurosparse.plot.style import COLOURS, axes, by_name, fit_text, legend_above, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["communication_cost"]

MARKERS = "osD^vP"


def communication_cost(
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    ylabel: str = "error",
    xlabel: str = "transmissions per inference",
    reference: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The error over the number of transmissions: one curve per transmission scheme, one point per threshold.

    Args:
        curves: by scheme, points with ``sent`` (positive), ``value``, and optionally ``sd`` (one standard deviation)
            and ``threshold``, which is written beside the point.
        ylabel, xlabel: names of ``value`` and ``sent``.
        reference: the value if everything is transmitted, a grey line.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; bars are one standard deviation.

    Raises:
        InputError: no point, a number of transmissions that is not positive, NaN or infinity.

    Example:
        >>> from matplotlib.figure import Figure
        >>> points = [{"sent": 900, "value": 0.11, "threshold": 0.1}, {"sent": 90, "value": 0.2, "threshold": 1.0}]
        >>> communication_cost({"delta": points}, ax=Figure().subplots()).get_xlabel()
        'transmissions per inference'
    """
    where, fix = "plot.communication_cost", 'Pass {"delta": [{"sent": 900, "value": 0.1}]}.'
    curves = by_name(where, curves, "points", fix)
    every = [(point["sent"], point["value"]) for points in curves.values() for point in points]
    if not every or not np.isfinite(every).all() or min(sent for sent, _ in every) <= 0:
        raise InputError(where, got=f"points {every[:3]}", expected="finite values, positive sent", fix=fix)
    ax = axes(ax)
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    if reference is not None:
        ax.axhline(reference, color="0.5", linewidth=1, label="all transmissions")
    for i, (name, points) in enumerate(curves.items()):
        points = sorted(points, key=lambda point: point["sent"])
        sent, value = ([point[key] for point in points] for key in ("sent", "value"))
        style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 5}
        ax.errorbar(sent, value, [point.get("sd") or 0 for point in points], linewidth=1.3, label=name, **style)
    low, high = (f(sent for sent, _ in every) for f in (min, max))
    ax.set_xlim(low / 1.6, high * 1.6)
    log_axis(ax.xaxis)
    ax.grid(alpha=0.2)
    legend_above(ax)
    known = [point for points in curves.values() for point in points if point.get("threshold") is not None]
    if known:
        places = np.array([(point["sent"], point["value"]) for point in known])
        place_labels(ax, [f"{point['threshold']:g}" for point in known], places, set(), places)
    fit_text(ax)
    return ax
