"""Pareto frontier of accuracy and energy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.energy.verdict import frontier as pareto_frontier
from neurosparse.errors import InputError
from neurosparse.plot.energy import bounds
from neurosparse.plot.labels import place_labels
from neurosparse.plot.style import axes, family_styles, fit_text, legend_above, log_axis
from neurosparse.plot.units import si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["frontier"]


NAMED = 24
"""Largest number of points that all have their names beside them."""


def frontier(points: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Accuracy over estimated energy per sample, with the Pareto frontier of means and nominal values as a line.

    Args:
        points: mappings with ``name``, ``energy`` (a report, or ``low, nominal, high`` in joules), ``accuracy``
            (``mean`` and optionally ``sd``, as fractions) and, for colour and marker, ``family``.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; bars are the energy interval and one standard deviation of the accuracy. The legend names the families
        by colour and shape. Of more than 24 points only those on the frontier have their names beside them.

    Raises:
        InputError: no points, or energies without positive ordered bounds.

    Example:
        >>> from matplotlib.figure import Figure
        >>> relu = {"name": "relu", "energy": {"low": 1e-9, "nominal": 2e-9, "high": 3e-9}, "accuracy": {"mean": 0.97}}
        >>> frontier([relu], ax=Figure().subplots()).get_ylabel()
        'accuracy (%)'
    """
    from matplotlib.ticker import MaxNLocator

    if not points:
        raise InputError(
            "plot.frontier", got="no points", expected="at least one", fix="Pass name, energy and accuracy of each."
        )
    spans = [bounds(f"plot.frontier: {point['name']}", point["energy"]) for point in points]
    x = [nominal for _, nominal, _ in spans]
    y = [100 * point["accuracy"]["mean"] for point in points]
    ax = axes(ax)
    ax.set_xscale("log")
    optimal = [int(i) for i in pareto_frontier({str(i): point for i, point in enumerate(zip(y, x, strict=True))})]
    ax.plot(
        [x[i] for i in optimal], [y[i] for i in optimal], drawstyle="steps-post", color="0.5", linewidth=1.2, zorder=1
    )
    styles = family_styles(point.get("family") for point in points)
    for point, (low, nominal, high), percent in zip(points, spans, y, strict=True):
        colour, marker = styles[point.get("family")]
        xerr, yerr = [[nominal - low], [high - nominal]], 100 * (point["accuracy"].get("sd") or 0)
        ax.errorbar(
            [nominal],
            [percent],
            xerr=xerr,
            yerr=yerr,
            fmt=marker,
            color=colour,
            markersize=5.5,
            elinewidth=0.9,
            ecolor=(colour, 0.5),
        )
    sd = [100 * (point["accuracy"].get("sd") or 0) for point in points]
    lowest, highest = min(np.subtract(y, sd)), max(np.add(y, sd))
    margin = max(0.08 * (highest - lowest), 0.3)
    ax.set_ylim(lowest - margin, highest + margin)
    left, right = min(low for low, _, _ in spans), max(high for _, _, high in spans)
    edge = max((right / left) ** 0.1, math.sqrt(max(20 * left / right, 1.0)))  # space for names, at least a decade
    ax.set_xlim(left / edge, right * edge)
    log_axis(ax.xaxis, lambda joules: si(joules, "J"))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.grid(alpha=0.2)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set(xlabel="estimated energy per sample", ylabel="accuracy (%)")
    names, shown = [str(point["name"]) for point in points], range(len(points)) if len(points) <= NAMED else optimal
    where, line = np.array([(x[i], y[i]) for i in shown]), staircase([(x[i], y[i]) for i in optimal])
    place_labels(ax, [names[i] for i in shown], where, {names[i] for i in optimal}, line)
    _legend(ax, styles, len(optimal) > 1)
    fit_text(ax)
    return ax


def _legend(ax: Axes, styles: Mapping[str | None, tuple[str, str]], line: bool) -> None:
    """Families by colour and shape, and the line of the frontier."""
    from matplotlib.lines import Line2D

    made = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5.5, label=family)
        for family, (colour, marker) in styles.items()
        if family
    ]
    made += [Line2D([], [], color="0.5", linewidth=1.2, label="frontier")] if line else []
    legend_above(ax, 3, made)


def staircase(corners: list[tuple[float, float]]) -> np.ndarray:
    """Points along the line of the frontier, evenly spaced on its log axis."""
    parts = [np.array(corners)]
    for (x0, y0), (x1, y1) in pairwise(corners):
        flat = np.geomspace(x0, x1, 25)
        parts += [np.column_stack([flat, np.full(25, y0)]), np.column_stack([np.full(9, x1), np.linspace(y0, y1, 9)])]
    return np.vstack(parts)
