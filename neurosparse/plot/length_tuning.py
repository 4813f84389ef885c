"""Length tuning: responses over the length of a bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neurosparse.checks import si
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, by_name, fit_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["length_tuning"]

STYLES = ("-", "--", ":", "-.")


def length_tuning(
    lengths: Any,
    responses: Mapping[str, Any],
    ylabel: str = "response",
    ax: Axes | None = None,
) -> Axes:
    """Mean response to bars of each length, with one standard deviation; a fall with length is end-stopping.

    Args:
        lengths: of the bars, in pixels, increasing.
        responses: by condition, (repeats, lengths): one row for each network, position of the bar, or cell.
        ylabel: name of the response.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes, from 0.

    Raises:
        InputError: no condition, responses of another number of lengths, NaN or infinity.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = length_tuning([2, 8, 24], {"feedback": [[1.0, 4.0, 1.0], [1.2, 3.0, 2.0]]}, ax=Figure().subplots())
        >>> ax.get_xlabel()
        'length of the bar (pixels)'
    """
    where = "plot.length_tuning"
    fix = "Pass {'condition': (repeats, lengths)}."
    lengths = si(where, "lengths", lengths, "plain numbers")
    curves = {
        name: si(where, name, rows, "plain numbers")
        for name, rows in by_name(where, responses, "responses", fix).items()
    }
    for name, rows in curves.items():
        if rows.ndim != 2 or not len(rows) or lengths.shape != rows.shape[1:]:
            got = f"{name!r} of shape {rows.shape} for lengths of shape {lengths.shape}"
            raise InputError(where, got=got, expected="(repeats, lengths)", fix=fix)
    ax = axes(ax)
    for i, (name, rows) in enumerate(curves.items()):
        colour, mean, spread = COLOURS[i % len(COLOURS)], rows.mean(0), rows.std(0)
        ax.fill_between(lengths, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
        style = STYLES[i % len(STYLES)]
        ax.plot(lengths, mean, style, color=colour, marker="o", markersize=3, linewidth=1.5, label=name)
    ax.set(xlabel="length of the bar (pixels)", ylabel=ylabel, ylim=(0, None))
    ax.grid(alpha=0.2)
    ax.legend(frameon=False, fontsize="small")
    fit_text(ax)
    return ax
