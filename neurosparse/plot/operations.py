"""Operation counts of several models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, by_name, fit_text, legend_above, log_axis, name_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["operations"]

KINDS = {
    "dense_ops": ("dense operations", "|"),
    "effective_macs": ("effective MACs", "s"),
    "effective_acs": ("effective ACs", "o"),
    "state_updates": ("state updates", "D"),
    "comparisons": ("comparisons", "^"),
    "spikes_out": ("spikes sent", "x"),
}


def operations(counts: Mapping[str, Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """Operations per sample of several models by kind, on a log axis; counts of zero have no mark.

    Args:
        counts: by model, columns of :class:`~neurosparse.meter.OperationCounts` (``effective_macs`` ...), per
            sample.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; the bar ``|`` is the number of dense operations.

    Raises:
        InputError: no count above zero.

    Example:
        >>> from matplotlib.figure import Figure
        >>> operations({"relu": {"dense_ops": 4096, "effective_macs": 2000}}, ax=Figure().subplots()).get_xlabel()
        'operations per sample'
    """
    fix = "Pass {'relu': ns.count(tape).totals}."
    counts = by_name("plot.operations", counts, "counts", fix)
    marks = {kind: [(n[kind], y) for y, n in enumerate(counts.values()) if n.get(kind, 0) > 0] for kind in KINDS}
    everything = [count for some in marks.values() for count, _ in some]
    if not everything:
        raise InputError("plot.operations", got="no count above zero", expected="counts by name", fix=fix)
    ax = axes(ax)
    ax.set_xscale("log")
    for (kind, (label, marker)), colour in zip(KINDS.items(), ("0.5", *COLOURS), strict=False):
        if marks[kind]:
            x, y = zip(*marks[kind], strict=True)
            size = 12 if marker == "|" else 6
            ax.plot(x, y, marker, color=colour, label=label, markersize=size, markeredgewidth=1.6, fillstyle="none")
    ax.set_xlim(min(everything) / 2, max(everything) * 2)
    log_axis(ax.xaxis)
    name_rows(ax, list(counts))
    ax.set_xlabel("operations per sample")
    legend_above(ax, 3)
    fit_text(ax)
    return ax
