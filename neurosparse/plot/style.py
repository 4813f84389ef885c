"""What the pictures share: colours and markers that survive colour blindness, and readable log axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from neurosparse.plot.units import si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["COLOURS", "axes", "log_axis", "look", "name_rows"]

# Okabe & Ito (2008), without black and yellow: these read on white and on near-black alike.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LOOKS = {
    "ReLU": (COLOURS[0], "s"),
    "LIF": (COLOURS[1], "o"),
    "k-WTA": (COLOURS[2], "^"),
    "sparse code": (COLOURS[3], "D"),
    "predictive coding": (COLOURS[4], "v"),
}


def look(family: str | None) -> tuple[str, str]:
    """Colour and marker of a family; two codes for one fact, so that neither is needed alone."""
    return LOOKS.get(family or "", (COLOURS[5], "P"))


def axes(ax: Axes | None) -> Axes:
    """The given axes, or the current ones as a notebook expects."""
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.gca()
    return ax


def log_axis(axis: Axis, text: Callable[[float], str] = si) -> None:
    """Words at the whole decades of a log axis; where it spans less than three of them, at a few steps between too."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    decades = math.floor(math.log10(high)) - math.ceil(math.log10(low)) + 1
    steps = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())


def name_rows(ax: Axes, names: list[str]) -> None:
    """One named row per contestant, first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", alpha=0.25)
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
