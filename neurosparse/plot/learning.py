"""Learning curves: objective over samples or seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from neurosparse.checks import si
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, by_name, fit_text, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["learning"]

STYLES = ("-", "--", ":", "-.")


def learning(
    history: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str = "training samples",
    ylabel: str = "objective per sample",
    ax: Axes | None = None,
) -> Axes:
    """Objective of each learning algorithm over samples or seconds, on a log axis.

    Args:
        history: by algorithm, samples or seconds (positive) and the objective at each of them.
        xlabel: name of the x axis, with its unit.
        ylabel: name of the objective.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes.

    Raises:
        InputError: no algorithm, lists of different length, x that is not positive, NaN or infinity.

    Example:
        >>> from matplotlib.figure import Figure
        >>> learning({"fista": ([256, 512], [0.3, 0.2])}, ax=Figure().subplots()).get_xlabel()
        'training samples'
    """
    where, fix = "plot.learning", "Pass {'name': (samples, objective)}."
    curves = {
        name: [si(where, name, part, "plain numbers") for part in pair]
        for name, pair in by_name(where, history, "(samples, objective)", fix).items()
    }
    for name, pair in curves.items():
        sizes = {part.shape for part in pair}
        if len(pair) != 2 or len(sizes) != 1 or pair[0].ndim != 1 or not pair[0].size or not (pair[0] > 0).all():
            got = f"{name!r} with {', '.join(str(part.shape) for part in pair)}"
            raise InputError(where, got=got, expected="as many positive x as objectives", fix=fix)
    ax = axes(ax)
    for i, (name, (x, objective)) in enumerate(curves.items()):
        colour, style = COLOURS[i % len(COLOURS)], STYLES[i % len(STYLES)]
        ax.plot(x, objective, style, color=colour, linewidth=1.5, label=name)
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    log_axis(ax.xaxis)
    ax.grid(alpha=0.2)
    ax.legend(frameon=False, fontsize="small")
    fit_text(ax)
    return ax
