"""Distribution of the coefficients of a sparse code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.checks import si, whole
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["coefficients"]


def coefficients(code: Any, bins: int = 61, ax: Axes | None = None) -> Axes:
    """Histogram of the non-zero values of a code, on a log axis; the legend gives the share of exact zeros.

    Args:
        code: values of any shape, tensor or array, or a mapping from names to such.
        bins: number of bins; with an odd number zero is in the middle of one.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes. The curve is the density of the values that are not zero; dashed: a Gaussian of the same variance.

    Raises:
        InputError: nothing but zeros, or NaN or infinity.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = coefficients(np.array([0.0, 0.0, 0.5, -1.0]), ax=Figure().subplots())
        >>> ax.get_legend().get_texts()[0].get_text()
        '50 % zero'
    """
    where, bins = "plot.coefficients", whole("plot.coefficients", "bins", bins)
    named = dict(code) if isinstance(code, Mapping) else {"": code}
    codes = {name: si(where, name or "code", values, "plain numbers").ravel() for name, values in named.items()}
    for values in codes.values() or [np.zeros(0)]:
        if not values.any():
            fix = "Pass the code of ns.solve."
            raise InputError(where, got=f"{values.size} values, none but zeros", expected="not all zero", fix=fix)
    ax = axes(ax)
    edges = np.linspace(-1, 1, bins + 1) * max(np.abs(values).max() for values in codes.values()) * 1.001
    least, most = np.inf, 0.0
    for (name, values), colour in zip(codes.items(), np.resize(COLOURS, len(codes)), strict=True):
        some = values[values != 0]
        density, _ = np.histogram(some, edges, density=True)
        label = f"{name}: " * bool(name) + f"{100 * (1 - some.size / values.size):.3g} % zero"
        ax.stairs(np.where(density > 0, density, np.nan), edges, color=colour, linewidth=1.3, label=label)
        middle, spread = np.linspace(edges[0], edges[-1], 201), np.sqrt((some**2).mean())
        bell = np.exp(-0.5 * (middle / spread) ** 2) / spread / np.sqrt(2 * np.pi)
        least, most = min(least, density[density > 0].min()), max(most, density.max(), bell.max())
        ax.plot(middle, bell, "--", color=colour, linewidth=0.9)
    ax.set(yscale="log", xlabel="coefficient (dashed: Gaussian)", ylabel="density where not zero")
    ax.set_ylim(least / 2, 3 * most)  # the tails of the Gaussian are cut off
    legend_above(ax)
    fit_text(ax)
    return ax
