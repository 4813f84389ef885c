"""Gabor fits of receptive fields: shape beside macaque simple cells, orientations, coverage of space and frequency."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from neurosparse.analysis.gabor import HALF, GaborFit
from neurosparse.analysis.receptive_fields import DESCRIBED, macaque_cells
from neurosparse.checks import number, one_of, whole
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["coverage", "gabor_scatter", "orientation"]

# n_x of a Gabor whose frequency is near 0 and whose phase is odd: the derivative of a Gaussian, of any contrast and
# width, has the spectrum |k| exp(-2 pi^2 k^2), whose peak lies there. Edges therefore form a line of this n_x.
EDGE = 1 / (2 * math.pi)


def fitted(where: str, fit: GaborFit, residual: float) -> np.ndarray:
    """Mask of the atoms whose Gabor fit leaves at most ``residual`` of their energy; at least one."""
    if not isinstance(fit, GaborFit):
        raise InputError(where, got=type(fit).__name__, expected="a GaborFit", fix="Pass ns.fit_gabor(atoms).")
    residual = number(where, "residual", residual, 0)
    known = np.nan_to_num(fit.residual, nan=np.inf) <= residual
    if not known.any():
        got = f"{len(fit)} atoms, none with a residual of at most {residual:g}"
        raise InputError(where, got=got, expected="at least one", fix="Learn longer, or pass a larger residual.")
    return known


def gabor_scatter(fit: GaborFit, residual: float = DESCRIBED, ax: Axes | None = None) -> Axes:
    """Width ``n_x`` and length ``n_y`` of fields in cycles, with macaque simple cells as shaded bins.

    Args:
        fit: what ``neurosparse.fit_gabor`` returns.
        residual: largest unexplained share of the energy of an atom; others are left out, and the title counts them.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes, both logarithmic. Blobs, which are at 0, are drawn at the lower edge. A dotted line marks the edges:
        odd fields of less than a cycle have ``n_x = 1/(2 pi)``. Fits at a limit of the search are open circles: their
        numbers are bounds. The title gives the numbers of all these.

    Raises:
        InputError: no atom is left.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.analysis.gabor import fit_gabor
        >>> row, column = np.mgrid[:12, :12] - 6
        >>> fit = fit_gabor((np.cos(1.2 * column) * np.exp(-(row**2 + column**2) / 9)).reshape(1, -1))
        >>> gabor_scatter(fit, ax=Figure().subplots()).get_title()
        '1 of 1 atoms'

    Source:
        Ringach 2002 (the cells).
    """
    known = fitted("plot.gabor_scatter", fit, residual)
    edges, counts = macaque_cells()
    ax = axes(ax)
    shades = np.ma.masked_equal(counts, 0)
    # Squares instead of an image, for sharp edges in a vector file.
    mesh = ax.pcolormesh(edges, edges, shades.T, cmap="Greys", vmin=0, vmax=1.6 * counts.max(), linewidth=0)
    floor = edges[0] / 1.3
    n_x, n_y = (np.maximum(n[known], floor) for n in (fit.n_x, fit.n_y))
    limit, edge = fit.at_limit[known], np.abs(n_x / EDGE - 1) < 0.02
    ax.plot(n_x[~limit], n_y[~limit], "o", color=COLOURS[0], markersize=2.5, markeredgewidth=0, alpha=0.6)
    ax.plot(n_x[limit], n_y[limit], "o", color=COLOURS[1], markersize=3, markeredgewidth=0.6, fillstyle="none")
    if edge.any():
        ax.axvline(EDGE, linestyle=":", color="0.4", linewidth=0.8, zorder=0.5)
    top = max(edges[-1], n_x.max(), n_y.max()) * 1.15
    ax.set(xscale="log", yscale="log", xlim=(floor / 1.1, top), ylim=(floor / 1.1, top), aspect="equal")
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if tick < top]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    ax.set(xlabel="n_x, across the stripes (cycles)", ylabel="n_y, along the stripes (cycles)")
    notes = {
        f"{limit.sum()} at a limit of the fit (open)": limit.any(),
        f"{edge.sum()} edges, derivatives of a Gaussian (dotted: n_x = 1/2π)": edge.any(),
        f"{(n_x == floor).sum()} blobs (lower edge)": (n_x == floor).any(),
    }
    title = "; ".join([f"{known.sum()} of {len(fit)} atoms", *(note for note, applies in notes.items() if applies)])
    ax.set_title(title, fontsize="x-small" if any(notes.values()) else "medium")
    assert ax.figure is not None
    bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.8, pad=0.03, boundaries=np.linspace(0, counts.max(), 65))
    bar.set_label("macaque cells in a bin")
    bar.set_ticks([0, 5, 10, 15])
    fit_text(ax, bar.ax)
    return ax


def orientation(fit: GaborFit, bins: int = 12, residual: float = DESCRIBED, ax: Axes | None = None) -> Axes:
    """Number of atoms by orientation of their stripes: a polar histogram with opposite sectors equal.

    Args:
        fit: what ``neurosparse.fit_gabor`` returns.
        bins: number of bins of 180 degrees; the first is centred on the horizontal.
        residual: largest unexplained share of the energy of an atom; others are left out, and so are blobs.
        ax: plain matplotlib axes, on which the circle is drawn; None draws on the current ones.

    Returns:
        The axes. The area of a sector, not its radius, is proportional to the number of atoms.

    Raises:
        InputError: no atom is left, fewer than 2 bins, or polar axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.analysis.gabor import fit_gabor
        >>> row, column = np.mgrid[:12, :12] - 6
        >>> fit = fit_gabor((np.cos(1.2 * column) * np.exp(-(row**2 + column**2) / 9)).reshape(1, -1))
        >>> orientation(fit, ax=Figure().subplots()).get_title()
        'stripes of 1 of 1 atoms'
    """
    where = "plot.orientation"
    bins = whole(where, "bins", bins, 2)
    known = fitted(where, fit, residual) & (np.nan_to_num(fit.n_x) > 0)
    width = math.pi / bins
    counts = np.bincount(np.round(fit.orientation[known] / width).astype(int) % bins, minlength=bins)
    ax = axes(ax)
    if ax.name == "polar":
        raise InputError(where, got="polar axes", expected="plain axes", fix="Leave projection out.")
    largest = max(counts.max(), 1)
    for i, count in enumerate(np.tile(counts, 2)):
        turn = (i + np.linspace(-0.5, 0.5, 16)) * width
        x, y = (math.sqrt(count / largest) * part(turn) for part in (np.cos, np.sin))
        ax.fill([0, *x], [0, *y], facecolor=COLOURS[0], alpha=0.75, edgecolor="white", linewidth=0.6)
    circle = np.linspace(0, 2 * math.pi, 181)
    for share in (0.5, 1.0):
        ax.plot(share**0.5 * np.cos(circle), share**0.5 * np.sin(circle), color="0.6", linewidth=0.6, zorder=0)
    legend = f"circles: {largest / 2:g} and {largest:g} atoms" if counts.any() else ""
    ax.annotate(legend, (0, -1.16), ha="center", va="center", fontsize="small")
    for degrees in (0, 45, 90, 135):
        x, y = 1.14 * math.cos(math.radians(degrees)), 1.14 * math.sin(math.radians(degrees))
        ax.annotate(f"{degrees}°", (x, y), ha="center", va="center", fontsize="small")
    ax.set(aspect="equal", xlim=(-1.3, 1.3), ylim=(-1.25, 1.25))
    ax.set_axis_off()
    ax.set_title(f"stripes of {known.sum()} of {len(fit)} atoms", fontsize="medium")
    if not known.any():
        say(ax, "no atom has stripes: all are blobs")
    fit_text(ax)
    return ax


def coverage(fit: GaborFit, plane: str = "frequency", residual: float = DESCRIBED, ax: Axes | None = None) -> Axes:
    """Half-amplitude ellipses of all fields, in the image or in its Fourier plane.

    Args:
        fit: what ``neurosparse.fit_gabor`` returns.
        plane: ``"frequency"`` (the upper half; the lower mirrors it) or ``"position"``.
        residual: largest unexplained share of the energy of an atom; others are left out.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes.

    Raises:
        InputError: no atom is left, or another plane.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.analysis.gabor import fit_gabor
        >>> row, column = np.mgrid[:12, :12] - 6
        >>> fit = fit_gabor((np.cos(1.2 * column) * np.exp(-(row**2 + column**2) / 9)).reshape(1, -1))
        >>> coverage(fit, "position", ax=Figure().subplots()).get_ylabel()
        'row (pixels)'

    Source:
        Olshausen & Field 1996, figure 4.
    """
    from matplotlib.collections import EllipseCollection

    one_of("plot.coverage", "plane", plane, ("frequency", "position"))
    known = fitted("plot.coverage", fit, residual)
    theta, sigma_x, sigma_y = fit.theta[known], fit.sigma_x[known], fit.sigma_y[known]
    ax = axes(ax)
    if plane == "frequency":
        size, turn = (2 * HALF / sigma_x, 2 * HALF / sigma_y), theta
        x, y = fit.peak_frequency[known] * np.cos(theta), fit.peak_frequency[known] * np.sin(theta)
        ax.plot(0.5 * np.cos(np.linspace(0, math.pi, 91)), 0.5 * np.sin(np.linspace(0, math.pi, 91)), "--", color="0.4")
        ax.set(xlim=(-0.55, 0.55), ylim=(-0.02, 0.58), xlabel="horizontal (cycles/pixel; dashed: Nyquist)")
        ax.set_ylabel("vertical (cycles/pixel)")
    else:
        size, turn = tuple(2 * math.sqrt(2 * math.log(2)) * sigma for sigma in (sigma_x, sigma_y)), -theta
        y, x = fit.centre[known].T
        height, width = fit.shape
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xlabel="column (pixels)", ylabel="row (pixels)")
    ellipses = EllipseCollection(
        size[0], size[1], np.degrees(turn), units="xy", offsets=np.column_stack([x, y]), transOffset=ax.transData,
        facecolors="none", edgecolors=COLOURS[0], linewidths=0.5, alpha=0.5,
    )  # fmt: skip
    ax.add_collection(ellipses, autolim=False)
    ax.plot(x, y, ".", color=COLOURS[1], markersize=2)
    ax.set_aspect("equal")
    ax.set_title(f"{known.sum()} of {len(fit)} atoms, at half amplitude", fontsize="small")
    fit_text(ax)
    return ax
