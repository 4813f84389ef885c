"""Shared parts of the plots: colours and markers for colour-blind readers, log axes, rows, arguments by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurosparse.errors import InputError
from neurosparse.plot.units import si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = [
    "COLOURS",
    "axes",
    "by_name",
    "family_styles",
    "fit_text",
    "legend_above",
    "log_axis",
    "is_small",
    "name_rows",
    "room",
]
__all__ += ["say", "wrapped"]

# Okabe & Ito (2008), without black and yellow, for readable lines on white and on near-black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SMALL = 1.9  # inches
FAMILIES = {
    "ReLU": (COLOURS[0], "s"),
    "LIF": (COLOURS[1], "o"),
    "k-WTA": (COLOURS[2], "^"),
    "sparse code": (COLOURS[3], "D"),
    "predictive coding": (COLOURS[4], "v"),
}


SHAPES = ("P", "X", "s", "o", "^", "D", "v", "<", ">", "*", "p")  # 11 shapes and 6 colours make 66 pairs in turn


def family_styles(families: Iterable[str | None]) -> dict[str | None, tuple[str, str]]:
    """Colour and marker of each family of models; families without a style of their own take free pairs in turn.

    Example:
        >>> family_styles(["LIF", "mine", "other"])
        {'LIF': ('#D55E00', 'o'), 'mine': ('#56B4E9', 'P'), 'other': ('#E69F00', 'X')}
    """
    named = list(dict.fromkeys(families))
    known = {family: FAMILIES[family] for family in named if family in FAMILIES}
    pairs = ((COLOURS[-1 - i % len(COLOURS)], SHAPES[i % len(SHAPES)]) for i in range(len(COLOURS) * len(SHAPES)))
    free = (pair for pair in pairs if pair not in known.values())
    return {family: known.get(family or "") or next(free, (COLOURS[5], "P")) for family in named}


def axes(ax: Axes | None) -> Axes:
    """The given axes; None: the current ones."""
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.gca()
    return ax


def log_axis(axis: Axis, text: Callable[[float], str] = si) -> None:
    """Tick labels at the decades of a log axis, and at a few steps between if it spans less than three decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    decades = math.floor(math.log10(high)) - math.ceil(math.log10(low)) + 1
    steps = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())


def name_rows(ax: Axes, names: list[str]) -> None:
    """One named row per entry, the first on top; long names take several lines, at most half of the width."""
    width, height = room(ax)
    for size in (10.0, 9.0, 8.0, 7.0, 6.0, 5.0):
        lines = [wrapped(name, 0.5 * width, size) for name in names]
        if len(names) * max(1 + line.count("\n") for line in lines) * 1.3 * size / 72 < height:
            break
    ax.set_yticks(range(len(names)), lines, fontsize=size)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", alpha=0.25)
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)


def room(ax: Axes) -> tuple[float, float]:
    """Width and height of axes in inches, before a layout engine moves them."""
    figure, box = ax.figure, ax.get_position(original=True)
    assert figure is not None
    return box.width * figure.bbox.width / figure.dpi, box.height * figure.bbox.height / figure.dpi


def wrapped(text: str, width: float, size: float | str = "medium") -> str:
    """Text in lines of at most ``width`` inches; a longer word has a line of its own.

    Args:
        text: lines that it has already are kept.
        width: in inches.
        size: of the font, in points or by name.
    """
    return "\n".join(_wrapped_line(line, width, size) for line in text.split("\n"))


def _wrapped_line(text: str, width: float, size: float | str) -> str:
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def text_width(text: str, size: float | str) -> float:
    """Inches of one line of text."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    properties = FontProperties(size=size)
    font = get_font(findfont(properties))
    font.set_size(properties.get_size_in_points(), 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / 72  # 64 parts of a pixel, 72 pixels of an inch


def fit_text(ax: Axes, *others: Axes) -> None:
    """Break the title and the labels of axes that are wider or higher than the axes; small axes have small letters.

    Args:
        ax: the axes.
        others: axes at its right, such as a scale of colours, whose labels have the same height.
    """
    width, height = room(ax)
    across = ((text, width) for text in (ax.title, ax.xaxis.label))
    up = ((each.yaxis.label, height) for each in (ax, *others))
    for text, length in (*across, *up):
        if is_small(ax):
            text.set_fontsize(min(text.get_fontsize(), 8.0))
        text.set_text(wrapped(text.get_text(), length, text.get_fontsize()))
    for each in (ax, *others) if is_small(ax) else ():
        for axis in (each.xaxis, each.yaxis):
            sizes = [label.get_fontsize() for label in axis.get_ticklabels()]
            axis.set_tick_params(labelsize=min([8.0, *sizes]))


def is_small(ax: Axes) -> bool:
    """Whether axes are as small as those of a grid of 2 x 3 on a page."""
    return min(room(ax)) < SMALL


def say(ax: Axes, text: str) -> None:
    """A sentence in the middle of axes without data."""
    text = wrapped(text, 0.9 * room(ax)[0], "small")
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize="small", color="0.35")


def legend_above(ax: Axes, columns: int = 2, handles: Sequence[Any] | None = None, title: str = "") -> None:
    """A legend above the axes, in as many columns as their width takes.

    Args:
        ax: with labelled artists.
        columns: at most.
        handles: what the legend shows; None: all labelled artists.
        title: above the entries.
    """
    from matplotlib.font_manager import FontProperties

    shown, labels = ax.get_legend_handles_labels() if handles is None else (handles, [h.get_label() for h in handles])
    if not labels:
        return
    size = "x-small" if is_small(ax) else "small"
    width, em = room(ax)[0], FontProperties(size=size).get_size_in_points() / 72
    beside = 1.8 * em  # the handle and its distance to the text
    labels = [wrapped(label, width - beside, size) for label in labels]
    longest = max(text_width(line, size) for label in labels for line in label.split("\n"))
    fitting = int((width + em) / (longest + beside + em))
    ax.legend(
        shown, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(columns, max(fitting, 1)), frameon=False,
        fontsize=size, handlelength=1.3, handletextpad=0.5, columnspacing=1.0, borderpad=0.2,
        title=wrapped(title, width, size) or None, title_fontsize=size,
    )  # fmt: skip


def by_name(where: str, given: Any, expected: str, fix: str) -> dict[str, Any]:
    """A mapping from names, not empty.

    Raises:
        InputError: anything else.
    """
    if not isinstance(given, Mapping) or not given:
        got = "an empty mapping" if isinstance(given, Mapping) else type(given).__name__
        raise InputError(where, got=got, expected=f"{expected} by name", fix=fix)
    return dict(given)
