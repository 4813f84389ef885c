"""Shared parts of the plots: colours and markers for colour-blind readers, log axes, rows, arguments by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from neurosparse.errors import InputError
from neurosparse.plot.units import si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["COLOURS", "axes", "by_name", "family_style", "log_axis", "name_rows"]

# Okabe & Ito (2008), without black and yellow, for readable lines on white and on near-black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FAMILIES = {
    "ReLU": (COLOURS[0], "s"),
    "LIF": (COLOURS[1], "o"),
    "k-WTA": (COLOURS[2], "^"),
    "sparse code": (COLOURS[3], "D"),
    "predictive coding": (COLOURS[4], "v"),
}


def family_style(family: str | None) -> tuple[str, str]:
    """Colour and marker of a family of models."""
    return FAMILIES.get(family or "", (COLOURS[5], "P"))


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
    """One named row per entry, the first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", alpha=0.25)
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)


def by_name(where: str, given: Any, expected: str, fix: str) -> dict[str, Any]:
    """A mapping from names, not empty.

    Raises:
        InputError: anything else.
    """
    if not isinstance(given, Mapping) or not given:
        got = "an empty mapping" if isinstance(given, Mapping) else type(given).__name__
        raise InputError(where, got=got, expected=f"{expected} by name", fix=fix)
    return dict(given)
