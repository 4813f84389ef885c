"""Correlation matrix of units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.checks import si
from neurosparse.errors import InputError
from neurosparse.plot.style import axes, fit_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["correlation"]


def correlation(matrix: Any, ax: Axes | None = None) -> Axes:
    """Correlation of each pair of units as a colour: positive red, negative blue, zero white, NaN grey.

    Args:
        matrix: ``(units, units)``, tensor or array, what ``neurosparse.analysis.count_correlation`` returns.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes. The diagonal is left out; the scale ends at the largest other magnitude; the title gives the mean.

    Raises:
        InputError: not a square matrix of at least two units, values outside -1 to 1, nothing but NaN.

    Example:
        >>> from matplotlib.figure import Figure
        >>> correlation([[1.0, 0.2], [0.2, 1.0]], ax=Figure().subplots()).get_title()
        'mean of 1 pair: 0.2'
    """
    from matplotlib.ticker import MaxNLocator

    values = si("plot.correlation", "matrix", matrix, "plain numbers", finite=False)
    square = values.ndim == 2 and values.shape[0] == values.shape[1] >= 2
    pairs = values[np.triu_indices(len(values), 1)] if square else np.zeros(0)
    known = pairs[np.isfinite(pairs)]
    if not known.size or (np.abs(known) > 1 + 1e-9).any():
        fix = "Pass ns.analysis.count_correlation(events, steps)."
        raise InputError("plot.correlation", got=f"shape {values.shape}", expected="correlations of units", fix=fix)
    np.fill_diagonal(values, np.nan)
    ax = axes(ax)
    limit = float(np.abs(known).max()) or 1.0
    image = ax.imshow(np.ma.masked_invalid(values), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set_facecolor("0.85")
    ax.set(xlabel="unit", ylabel="unit")
    number = f"{known.size} pair{'s' * (known.size > 1)}"
    ax.set_title(f"mean of {number}: {known.mean():.2g}", fontsize="medium")
    assert ax.figure is not None
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.03)
    bar.set_label("correlation of spike counts")
    fit_text(ax, bar.ax)
    return ax
