"""Measured energies of chips beside the energies that operations explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, legend_above, log_axis, name_rows
from neurosparse.plot.units import si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["hardware_validation"]


def hardware_validation(found: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Measured energy per inference and the energy that operations explain, with its range, one row per experiment.

    Args:
        found: what :func:`neurosparse.energy.hardware_validation` returned.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes; the distance between dot and diamond is the residual.

    Raises:
        InputError: no rows.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.energy import hardware_validation as compute
        >>> hardware_validation(compute(), ax=Figure().subplots()).get_xlabel()
        'energy per inference'
    """
    rows = found.get("rows") if isinstance(found, Mapping) else None
    if not rows:
        fix = "Pass ns.energy.hardware_validation()."
        raise InputError(
            "plot.hardware_validation", got=type(found).__name__, expected="rows of the experiment", fix=fix
        )
    ax = axes(ax)
    ax.set_xscale("log")
    for y, row in enumerate(rows):
        low, nominal, high = (1e-6 * row["explained"][end] for end in ("low", "nominal", "high"))
        measured, first = 1e-6 * row["measured"], y == 0
        ax.plot([nominal, measured], [y, y], color="0.8", linewidth=1.0, zorder=1)
        spread = [[nominal - low], [high - nominal]]
        label = "explained, with its range" if first else None
        ax.errorbar([nominal], [y], xerr=spread, fmt="o", color=COLOURS[0], markersize=6, capsize=3, label=label)
        ax.plot([measured], [y], "D", color="black", markersize=6, label="measured" if first else None)
    name_rows(ax, [f"{row['experiment']}\n{row['what']}" for row in rows])
    log_axis(ax.xaxis, lambda joules: si(joules, "J"))
    ax.set_xlabel("energy per inference")
    legend_above(ax)
    fit_text(ax)
    return ax
