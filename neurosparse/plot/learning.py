"""How a learner gets on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["learning"]

STYLES = ("-", "--", ":", "-.")


def learning(
    history: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str = "samples seen",
    ylabel: str = "objective per sample",
    ax: Axes | None = None,
) -> Axes:
    """Objective of each learner over what it has spent, on a log axis of samples or seconds.

    Args:
        history: by learner, what was spent (increasing, positive) and the objective then.
        xlabel: what was spent, with its unit.
        ylabel: what was measured.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes.

    Raises:
        InputError: no learner, lists of different length, a place that is not positive, NaN or infinity.

    Example:
        >>> from matplotlib.figure import Figure
        >>> learning({"fista": ([256, 512], [0.3, 0.2])}, ax=Figure().subplots()).get_xlabel()
        'samples seen'
    """
    where, curves = (
        "plot.learning",
        {name: [np.asarray(part, float) for part in pair] for name, pair in history.items()},
    )
    for name, (spent, objective) in curves.items():
        fine = spent.ndim == 1 and spent.size and spent.shape == objective.shape
        if not fine or not (np.isfinite(spent) & (spent > 0) & np.isfinite(objective)).all():
            got, fix = f"{name!r} with {spent.shape} and {objective.shape}", "Pass {'name': (samples, objective)}."
            raise InputError(where, got=got, expected="as many positive places as finite values", fix=fix)
    if not curves:
        raise InputError(where, got="no learner", expected="(samples, objective) by name", fix="Pass at least one.")
    ax = axes(ax)
    for i, (name, (spent, objective)) in enumerate(curves.items()):
        colour, style = COLOURS[i % len(COLOURS)], STYLES[i % len(STYLES)]
        ax.plot(spent, objective, style, color=colour, linewidth=1.5, label=name)
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    log_axis(ax.xaxis)
    ax.grid(alpha=0.2)
    ax.legend(frameon=False, fontsize="small")
    return ax
