"""Waterfall chart of estimated energy by layer and part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurosparse.energy.dataflow import CHEAPEST
from neurosparse.energy.estimate import EnergyReport
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, legend_above, name_rows
from neurosparse.plot.units import bounded, si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["waterfall"]

# Parts of the chart and the parts of a report that they sum.
PARTS = {
    "compute": ("compute",),
    "memory": ("weights", "inputs", "indices", "partial_sums", "outputs"),
    "addressing": ("addressing",),
    "state": ("state",),
}


def waterfall(report: EnergyReport, ax: Axes | None = None) -> Axes:
    """Nominal estimated energy of one sample by layer, each bar beginning at the end of the one before.

    Args:
        report: what :func:`neurosparse.estimate` returned.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes, one row per layer and below them the total with its range; memory is the traffic of weights, inputs,
        indices, partial sums and outputs.

    Raises:
        InputError: no energy report, or one of a model that the hardware cannot execute.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.energy import estimate
        >>> from neurosparse.meter import OperationCounts
        >>> row = dict(layer="fc", kind="linear", dense_ops=9, effective_macs=9, weight_bits=8, input_bits=8)
        >>> ax = waterfall(estimate(OperationCounts((row,), 1), dataflow="compute_only"), ax=Figure().subplots())
        >>> [tick.get_text() for tick in ax.get_yticklabels()]
        ['fc', 'total']
    """
    known = isinstance(report, EnergyReport) and report.nominal
    if not known or report.low is None or report.high is None:
        got, fix = repr(report)[:80], "Pass what ns.estimate returns."
        raise InputError("plot.waterfall", got=got, expected="an energy report above 0 joules", fix=fix)
    layers: dict[str, dict[str, float]] = {}
    for row in report.rows:  # several rows may belong to one layer
        sums = layers.setdefault(row["layer"] or "input", dict.fromkeys(PARTS, 0.0))
        for part, names in PARTS.items():
            sums[part] += sum(row[name] for name in names)
    total = {part: sum(sums[part] for sums in layers.values()) for part in PARTS}
    ax = axes(ax)
    ax.set_axisbelow(True)
    begins, at = [], 0.0
    for sums in (*layers.values(), total):
        begins.append(0.0 if sums is total else at)
        at += sum(sums.values())
    for part, colour in zip(PARTS, COLOURS, strict=False):
        widths = [sums[part] for sums in (*layers.values(), total)]
        if any(widths):
            ax.barh(range(len(widths)), widths, left=begins, color=colour, height=0.62, label=part)
        begins = [begin + width for begin, width in zip(begins, widths, strict=True)]
    nominal, last = sum(total.values()), len(layers)
    for y, end in enumerate(begins[:-1]):  # from each layer to the next
        ax.plot([end, end], [y + 0.31, y + 0.69], color="0.5", linewidth=0.8)
    spread = [[nominal - report.low], [report.high - nominal]]
    if report.low < report.high:
        ax.errorbar([nominal], [last], xerr=spread, color="0.4", capsize=3, linewidth=1.0)
    for y, (end, sums) in enumerate(zip(begins, (*layers.values(), total), strict=True)):
        low, high = (report.low, report.high) if y == last else (None, None)
        text = bounded(low, sum(sums.values()), high, "J")
        right = report.high if y == last else end
        ax.annotate(text, (right, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize="small")
    ax.set_xlim(0, 1.35 * max(report.high, nominal))  # space for the text on the right
    ax.xaxis.set_major_formatter(lambda joules, _: si(joules, "J"))
    name_rows(ax, [*layers, "total"])
    dataflow = {"cheapest": CHEAPEST}.get(report.dataflow, report.dataflow.replace("_", " "))
    ax.set_xlabel(f"estimated energy per sample, {report.hardware}, {dataflow}")
    legend_above(ax, len(PARTS))
    fit_text(ax)
    return ax
