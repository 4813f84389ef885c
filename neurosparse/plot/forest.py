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

OWN_SHAPES = ("*", "p", "h", "8")
BEYOND = 4.0  # times: marks of own hardware stretch the axis at most so far
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
        constants. The last marks of a row, in the colour of the text, compare each network on its own hardware,
        and with it two chips; beyond the limits of the axis they have their number.

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
    styles |= {name: (OWN_SHAPES[i % len(OWN_SHAPES)], rcParams["text.color"]) for i, name in enumerate(own)}
    lanes = np.linspace(-SPREAD / 2, SPREAD / 2, len(styles)) if len(styles) > 1 else np.zeros(1)
    size = _size(ax, len(names), len(styles))
    low, high = _ends(rows)
    for y, row in zip((y for y in range(len(names)) if y not in heads), rows, strict=True):
        for lane, (label, (marker, colour)) in zip(lanes, styles.items(), strict=True):
            bounds = row["ratios"].get(label) or (row.get("own") or {}).get(label)
            if bounds is not None:
                fill = colour if row.get("outcome") == "yes" else "white"
                mark = {"marker": marker, "color": colour, "markerfacecolor": fill, "markeredgewidth": 1.1}
                mark["markersize"] = size * (1.5 if label in own else 1)
                _mark(ax, bounds, y + lane, (low, high), mark)
    name_rows(ax, names)
    _banded(ax, len(names), heads)
    _limits(ax, rows, names, heads, low, high)
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


def _ends(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Limits of the axis: those of the cost models, which own hardware stretches by a few times at most."""
    common = [bound for row in rows for bounds in row["ratios"].values() for bound in bounds] + [0.8, 1.25]
    own = [bounds[1] for row in rows for bounds in (row.get("own") or {}).values()]
    low, high = min(common), max(common)
    return max(min([low, *own]), low / BEYOND) / 1.25, min(max([high, *own]), high * BEYOND) * 1.25


def _mark(ax: Axes, bounds: Sequence[float], y: float, ends: tuple[float, float], mark: dict[str, Any]) -> None:
    """A ratio and its range; beyond the limits of the axis a mark at the limit, with the number."""
    low, nominal, high = np.clip(bounds, *ends)
    ax.plot([low, high], [y, y], color=mark["color"], linewidth=1.1, alpha=0.8, zorder=2)
    inside = ends[0] <= bounds[1] <= ends[1]
    ax.plot([nominal], [y], linestyle="none", zorder=3, clip_on=False, **mark)
    if not inside:
        right = bounds[1] > ends[1]
        number = ratio_text(bounds[1])
        text = f"\N{RIGHTWARDS ARROW} {number}" if right else f"\N{LEFTWARDS ARROW} {number}"
        place = {"xytext": (6, 0), "textcoords": "offset points", "fontsize": "x-small", "color": "0.4"}
        ax.annotate(text, (nominal, y), ha="left", va="center", **place)


def ratio_text(value: float) -> str:
    """Two digits of a ratio, without an exponent."""
    return f"{float(f'{value:.2g}'):.15g}"


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

    texts = [_difference(row) for row in rows]
    size = min(8.0, *(label.get_fontsize() for label in ax.get_yticklabels()))
    width = max(text_width(line, size) for line in [*texts, HEAD]) + 0.1
    beyond = [bounds[1] for row in rows for bounds in (row.get("own") or {}).values() if bounds[1] > high]
    width += 0.15 + text_width(ratio_text(max(beyond)), size) if beyond else 0
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
