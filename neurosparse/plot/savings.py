"""Energy and speed relative to a reference model: estimated energy ratios beside measured speed ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, by_name, fit_text, legend_above, log_axis, name_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["savings"]


def savings(
    estimated: Mapping[str, Mapping[str, float]],
    measured: Mapping[str, float | tuple[float, float, float]],
    reference: str = "the reference",
    ax: Axes | None = None,
) -> Axes:
    """Estimated energy ratios and the measured speed ratio, one row per model; above 1 is better than the reference.

    Args:
        estimated: by model and scenario, energy of the reference / energy of the model.
        measured: by model, seconds of the reference / seconds of the model, for the models that were timed; or low,
            mean, high, which are drawn as a bar.
        reference: name of the reference, for the axis.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; open dots are estimates (one per scenario), filled diamonds are wall time.

    Raises:
        InputError: no model, or a ratio that is not positive.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = savings({"lif": {"no_reuse": 3.0}}, {"lif": 0.2}, "relu", ax=Figure().subplots())
        >>> ax.get_xlabel()
        'times better than relu'
    """
    where, fix = "plot.savings", "Divide reference by model."
    if measured or not estimated:
        measured = by_name(where, measured, "speed ratios", fix)
    estimated = by_name(where, estimated, "energy ratios by scenario", fix) if estimated else {}
    spans = {
        name: (ratio, ratio, ratio) if isinstance(ratio, int | float) else ratio for name, ratio in measured.items()
    }
    ratios = [
        ratio for row in (*estimated.values(), *(dict(enumerate(s)) for s in spans.values())) for ratio in row.values()
    ]
    if not ratios or min(ratios) <= 0:
        raise InputError(where, got=f"ratios {ratios[:5]}", expected="positive ratios", fix=fix)
    names = list(estimated) + [name for name in measured if name not in estimated]
    ax = axes(ax)
    ax.set_xscale("log")
    ax.axvline(1, color="0.5", linewidth=1)
    points = [(ratio, names.index(name)) for name, row in estimated.items() for ratio in row.values()]
    for name, row in estimated.items():
        if row:
            y = names.index(name)
            ax.plot([min(row.values()), max(row.values())], [y, y], color=COLOURS[0], alpha=0.35, linewidth=2)
    if points:
        x, y = zip(*points, strict=True)
        ax.plot(x, y, "o", color=COLOURS[0], fillstyle="none", label="energy, estimated (a dot per scenario)")
    if spans:
        low, mean, high = np.array(list(spans.values()), dtype=float).T
        rows = [names.index(name) for name in spans]
        if (low < high).any():
            spread = np.stack([mean - low, high - mean])
            ax.errorbar(mean, rows, xerr=spread, fmt="none", ecolor=COLOURS[1], capsize=3, label="its spread")
        ax.plot(mean, rows, "D", color=COLOURS[1], label="speed, measured")
    ax.set_xlim(min(*ratios, 1) / 1.5, max(*ratios, 1) * 1.5)
    log_axis(ax.xaxis, lambda ratio: f"{ratio:g}×")
    name_rows(ax, names)
    ax.set_xlabel(f"times better than {reference}")
    legend_above(ax)
    fit_text(ax)
    return ax
