"""Distributions of lifetime and population sparseness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, legend_above, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["sparsity"]

AXES = ("lifetime", "population")


def sparsity(s: Any, measure: str = "vinje_gallant", ax: Axes | None = None) -> Axes:
    """Histograms of lifetime sparseness (per unit, over stimuli) and population sparseness (per stimulus, over units).

    Args:
        s: what ``neurosparse.sparsity`` returns.
        measure: ``vinje_gallant``, ``treves_rolls``, ``hoyer``, ``gini``, ``kurtosis`` or ``active_fraction``.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes. Silent units and stimuli have no sparseness; the legend gives their number.

    Raises:
        InputError: no such measure.

    Example:
        >>> from types import SimpleNamespace
        >>> from matplotlib.figure import Figure
        >>> s = SimpleNamespace(gini=SimpleNamespace(lifetime=np.array([0.2, 0.4]), population=np.array([0.3])))
        >>> sparsity(s, "gini", ax=Figure().subplots()).get_xlabel()
        'gini (dashed: mean)'
    """
    values = getattr(s, measure, None)
    if not all(hasattr(values, name) for name in AXES):
        got = f"measure={measure!r} of {type(s).__name__}"
        raise InputError(
            "plot.sparsity", got=got, expected="a measure with .lifetime and .population", fix="Pass ns.sparsity(x)."
        )
    ax = axes(ax)
    arrays = {name: np.asarray(getattr(values, name), dtype=float) for name in AXES}
    known = {name: array[np.isfinite(array)] for name, array in arrays.items()}
    pooled = np.concatenate(list(known.values()))
    bins = np.histogram_bin_edges(pooled if pooled.size else [0.0, 1.0], bins=20)
    for name, colour in zip(AXES, COLOURS, strict=False):
        some, of = known[name], "units" if name == "lifetime" else "stimuli"
        silent = arrays[name].size - some.size
        label = f"{name}, {some.size} {of}" + (f" ({silent} silent left out)" if silent else "")
        # Shares instead of counts, as the numbers of units and of stimuli differ.
        weights = np.full(some.size, 1 / some.size) if some.size else None
        ax.hist(some, bins=bins.tolist(), weights=weights, histtype="stepfilled", alpha=0.45, color=colour, label=label)
        if some.size:
            ax.axvline(float(some.mean()), color=colour, linestyle="--", linewidth=1.2)
    if not pooled.size:
        say(ax, "no unit and no stimulus has a sparseness: all are silent")
    ax.set(xlabel=f"{measure.replace('_', ' ')} (dashed: mean)", ylabel="share")
    legend_above(ax)
    fit_text(ax)
    return ax
