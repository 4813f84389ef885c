"""Forest plot: energy of spiking over dense networks, a row for each pair, a mark for each cost model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.checks import one_of
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, legend_above, log_axis, name_rows, room, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["forest"]

SHAPES = ("s", "o", "^", "D", "v", "P", "X", "<", ">")
ORDER = (1, 0, 2, 3, 4, 5)  # of the colours: neighbours differ in lightness, too
OUTCOMES = ("yes", "no", "undecided", "not judged")
HEAD = "accuracy, points [bound]"
SPREAD = 0.62  # of the distance between rows is taken by the marks of a row


def forest(rows: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Energy ratios of pairs of a spiking and a dense network on a logarithmic axis, with a line at equal energies.

    Args:
        rows: pairs, those of one group side by side. Mappings with ``name``; ``ratios`` (label of the cost model ->
            energy of the spiking network over that of the dense one: low, nominal, high); and optionally ``group``
            (such as the task), ``own`` (like ``ratios``, each network on its own hardware), ``difference`` (accuracy of
            the spiking network less that of the dense one, as fractions: lower bound, mean, upper bound) and
            ``outcome``: whether it is not inferior, ``"yes"``, ``"no"``, ``"undecided"`` or ``"not judged"``.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes. Marks are filled where the accuracy is not inferior, otherwise hollow; thin bars are the range of the
        constants. Stars below the marks of a row compare each network on its own hardware, and with it two chips.

    Raises:
        InputError: no rows, a row without ratios, ratios that are not positive and ordered, an unknown outcome.

    Example:
        >>> from matplotlib.figure import Figure
        >>> row = {"name": "32-bit", "ratios": {"no reuse": (1.1, 1.3, 1.6)}, "outcome": "yes"}
        >>> forest([row], ax=Figure().subplots()).get_xlabel()
        'energy, spiking / dense (left of 1: spiking needs less)'
    """
    from matplotlib import rcParams

    rows = _checked(rows)
    ax = axes(ax)
    ax.set_xscale("log")
    names, heads = _names(rows)
    models = list(dict.fromkeys(label for row in rows for label in row["ratios"]))
    own = list(dict.fromkeys(label for row in rows for label in row.get("own") or ()))
    styles = {name: (SHAPES[i % len(SHAPES)], COLOURS[ORDER[i % len(ORDER)]]) for i, name in enumerate(models)}
    styles |= dict.fromkeys(own, ("*", rcParams["text.color"]))
    lanes = np.linspace(-SPREAD / 2, SPREAD / 2, len(styles)) if len(styles) > 1 else np.zeros(1)
    size = _size(ax, len(names), len(styles))
    ends = [1.0]
    for y, row in zip((y for y in range(len(names)) if y not in heads), rows, strict=True):
        for lane, (label, (marker, colour)) in zip(lanes, styles.items(), strict=True):
            bounds = row["ratios"].get(label) or (row.get("own") or {}).get(label)
            if bounds is None:
                continue
            low, nominal, high = bounds
            ends += [low, high]
            ax.plot([low, high], [y + lane] * 2, color=colour, linewidth=1.1, alpha=0.8, zorder=2)
            fill = colour if row.get("outcome") == "yes" else "white"
            mark = {"markersize": size * (1.5 if marker == "*" else 1), "markeredgewidth": 1.1, "zorder": 3}
            ax.plot([nominal], [y + lane], marker, color=colour, markerfacecolor=fill, **mark)
    name_rows(ax, names)
    _banded(ax, len(names), heads)
    _limits(ax, rows, names, heads, min(ends), max(ends))
    ax.axvline(1, color="0.35", linewidth=1.1, zorder=1)
    _legend(ax, styles, size, all(row.get("outcome") == "yes" for row in rows))
    ax.set_xlabel("energy, spiking / dense (left of 1: spiking needs less)")
    fit_text(ax)
    return ax


def _checked(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    where, fix = "plot.forest", "Pass those of ns.report.forest_rows(results)."
    if not isinstance(rows, Sequence) or not rows or not all(isinstance(row, Mapping) for row in rows):
        got = "no rows" if isinstance(rows, Sequence) and not rows else f"rows of type {type(rows).__name__}"
        raise InputError(where, got=got, expected="a list of pairs", fix=fix)
    for row in rows:
        found = {**(row.get("ratios") or {}), **(row.get("own") or {})}
        if not found or "name" not in row:
            raise InputError(where, got=f"row {dict(row)}"[:80], expected="a name and ratios", fix=fix)
        for label, bounds in found.items():
            if (
                not isinstance(bounds, Sequence)
                or len(bounds) != 3
                or not 0 < bounds[0] <= bounds[1] <= bounds[2] < np.inf
            ):
                expected = "0 < low <= nominal <= high"
                raise InputError(where, got=f"{label}={bounds!r} of {row['name']!r}", expected=expected, fix=fix)
        one_of(where, "outcome", row.get("outcome", "not judged"), OUTCOMES)
    return [{"ratios": {}, **row} for row in rows]


def _names(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], set[int]]:
    """Names of the rows below the names of their groups, and which of them are groups; a group may have no name."""
    names: list[str] = []
    heads, last = set(), object()
    for row in rows:
        if row.get("group") != last:
            last = row.get("group")
            heads.add(len(names))
            names.append(str(last or ""))
        names.append(str(row["name"]))
    return names, heads


def _size(ax: Axes, rows: int, lanes: int) -> float:
    """Diameter of the marks in points: those of a row hardly cover each other."""
    return float(np.clip(72 * room(ax)[1] / rows * SPREAD / max(lanes - 1, 1) * 1.6, 3.0, 5.5))


def _banded(ax: Axes, rows: int, heads: set[int]) -> None:
    """Names of groups in bold, a line above all but the first; every other row is tinted."""
    shade = False
    for y, label in zip(range(rows), ax.get_yticklabels(), strict=True):
        shade = not shade and y not in heads
        if y in heads:
            label.set_fontweight("bold")
            if y:
                ax.axhline(y - 0.5, color="0.8", linewidth=0.6, zorder=0)
        elif shade:
            ax.axhspan(y - 0.5, y + 0.5, color="0.5", alpha=0.09, linewidth=0, zorder=0)


def _limits(
    ax: Axes, rows: Sequence[Mapping[str, Any]], names: list[str], heads: set[int], low: float, high: float
) -> None:
    """Limits of the ratios, and at their right the accuracy differences where they have room."""
    from matplotlib.ticker import FixedLocator

    low, high = low / 1.25, high * 1.25
    low, high = min(low, 0.7), max(high, 1.4)
    texts = [_difference(row) for row in rows]
    size = min(8.0, *(label.get_fontsize() for label in ax.get_yticklabels()))
    width = max(text_width(line, size) for line in [*texts, HEAD]) + 0.1
    share = width / room(ax)[0]
    shown = any(texts) and share < 0.4
    ax.set_xlim(low, high)
    log_axis(ax.xaxis, lambda ratio: f"{ratio:g}")
    if not shown:
        return
    ticks = [tick for tick in ax.xaxis.get_majorticklocs() if low <= tick <= high]
    ax.set_xlim(low, low * (high / low) ** (1 / (1 - share)))
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(FixedLocator([]))
    right = {"transform": ax.get_yaxis_transform(), "ha": "right", "fontsize": size}
    ys = [y for y in range(len(names)) if y not in heads]
    for y, text in zip(ys, texts, strict=True):
        ax.text(1.0, y, text, va="center", **right)
    ax.text(1.0, min(heads), HEAD, va="center", color="0.5", **right)


def _difference(row: Mapping[str, Any]) -> str:
    """Accuracy difference in points with its lower bound."""
    if not row.get("difference"):
        return ""
    low, mean, _ = (100 * each for each in row["difference"])
    return f"{mean:+.1f} [{low:+.1f}]".replace("-", "\N{MINUS SIGN}")


def _legend(ax: Axes, styles: Mapping[str, tuple[str, str]], size: float, filled: bool) -> None:
    """Cost models by shape and colour, and what a hollow mark is."""
    from matplotlib.lines import Line2D

    made = [
        Line2D(
            [], [], linestyle="none", marker=marker, color=colour, markersize=5.5 if marker != "*" else 8, label=label
        )
        for label, (marker, colour) in styles.items()
    ]
    if not filled:
        hollow = {"marker": "o", "color": "0.4", "markerfacecolor": "white", "markersize": 5.5}
        made.append(Line2D([], [], linestyle="none", label="hollow: inferior or undecided", **hollow))
    legend_above(ax, 3, made)
