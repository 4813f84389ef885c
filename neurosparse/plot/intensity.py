"""Arithmetic intensity: operations per byte of memory traffic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.plot.labels import place_labels
from neurosparse.plot.style import COLOURS, axes, by_name, fit_text, legend_above, log_axis
from neurosparse.plot.units import si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["intensity"]

OPERATIONS = ("effective_macs", "effective_acs", "bias_adds", "state_updates", "comparisons", "elementwise")
MARKERS = "os^Dv"


def intensity(counts: Mapping[str, OperationCounts], ax: Axes | None = None) -> Axes:
    """Operations over bytes of each layer, per sample; layers at the lower right are bound by memory traffic.

    Bytes are the compulsory traffic of the counts, each operand once per sample; no dataflow moves fewer. Grey lines
    are lines of equal operations per byte, which do not depend on hardware.

    Args:
        counts: by model, what :func:`neurosparse.count` returned.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; one mark per layer that computes, a colour and a shape per model.

    Raises:
        InputError: no layer with both operations and bytes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> row = dict(layer="fc", kind="linear", effective_macs=900, bytes_read=400, bytes_written=50)
        >>> intensity({"relu": OperationCounts((row,), samples=1)}, ax=Figure().subplots()).get_ylabel()
        'operations per sample'

    Source: the axes are those of a roofline, Williams, Waterman & Patterson (2009), without a roof.
    """
    where, fix = "plot.intensity", "Pass {'relu': ns.count(tape)}."
    counts = by_name(where, counts, "operation counts", fix)
    if not all(isinstance(one, OperationCounts) for one in counts.values()):
        raise InputError(where, got=f"{list(counts)}", expected="operation counts by name", fix=fix)
    points = [(i, name, *point) for i, one in enumerate(counts.values()) for name, *point in _points(one)]
    if not points:
        raise InputError(where, got="no such layer", expected="layers with operations and bytes", fix=fix)
    ax = axes(ax)
    ax.set(xscale="log", yscale="log")
    for i, name in enumerate(counts):
        own = [(x, y) for model, _, x, y in points if model == i]
        shape, colour = MARKERS[i % len(MARKERS)], COLOURS[i % len(COLOURS)]
        if own:
            x, y = zip(*own, strict=True)
            ax.plot(x, y, shape, color=colour, label=name, markersize=6.5, markeredgewidth=1.6, fillstyle="none")
    xy = np.array([point[2:] for point in points])
    (left, bottom), (right, top) = xy.min(0) / 3, xy.max(0) * 3
    ax.set(xlim=(left, right), ylim=(bottom, top))
    for power in range(int(np.floor(np.log10(bottom / right))), int(np.ceil(np.log10(top / left))) + 1):
        _line(ax, 10.0**power, (left, right), (bottom, top))
    log_axis(ax.xaxis, lambda count: si(count, "B"))
    log_axis(ax.yaxis)
    ax.set(xlabel="bytes per sample, each operand once", ylabel="operations per sample")
    legend_above(ax, 3)
    place_labels(ax, [name for _, name, *_ in points], xy, set(), xy)
    fit_text(ax)
    return ax


def _points(counts: OperationCounts) -> list[tuple[str, float, float]]:
    """Name, bytes and operations of each layer, per sample; layers without operations or without bytes are left out."""
    sums: dict[str, list[float]] = {}
    for row in counts.per_sample:
        point = sums.setdefault(row["layer"] or "input", [0.0, 0.0])
        point[0] += row["bytes_read"] + row["bytes_written"]
        point[1] += sum(row[name] for name in OPERATIONS)
    return [(name, moved, done) for name, (moved, done) in sums.items() if moved > 0 and done > 0]


def _line(ax: Axes, slope: float, across: tuple[float, float], up: tuple[float, float]) -> None:
    """Line of ``slope`` operations per byte within the axes, with the number at its end."""
    begin, end = max(across[0], up[0] / slope), min(across[1], up[1] / slope)
    if begin < end:
        ax.plot([begin, end], [slope * begin, slope * end], color="0.7", linewidth=0.7, zorder=0)
        text: dict[str, Any] = {
            "xytext": (-3, -3),
            "textcoords": "offset points",
            "ha": "right",
            "va": "top",
            "fontsize": "x-small",
        }
        ax.annotate(f"{slope:g}/B", (end, slope * end), color="0.5", annotation_clip=True, **text)
