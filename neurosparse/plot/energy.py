"""Estimated energy of several models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neurosparse.errors import InputError
from neurosparse.plot.style import axes, by_name, family_styles, fit_text, log_axis, name_rows
from neurosparse.plot.units import bounded, si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bounds", "energy"]


def bounds(where: str, report: Any) -> tuple[float, float, float]:
    """Low, nominal and high joules of an energy report, or of a mapping with those keys."""
    names = ("low", "nominal", "high")
    found = [report.get(name) if isinstance(report, Mapping) else getattr(report, name, None) for name in names]
    low, nominal, high = (math.nan if value is None else float(value) for value in found)
    if not 0 < low <= nominal <= high < math.inf:
        expected, fix = "0 < low <= nominal <= high in joules", "Pass what ns.estimate returns."
        raise InputError(where, got=found, expected=expected, fix=fix)
    return low, nominal, high


def energy(reports: Mapping[str, Any], families: Mapping[str, str] | None = None, ax: Axes | None = None) -> Axes:
    """Estimated energy per sample of several models, with its range, as dots on a log axis.

    Args:
        reports: name -> energy report (or a mapping with ``low, nominal, high``), joules per sample.
        families: name -> family, for colour and marker.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes, one row per model.

    Raises:
        InputError: no reports, or one without positive ordered bounds.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = energy({"relu": {"low": 1e-9, "nominal": 2e-9, "high": 3e-9}}, ax=Figure().subplots())
        >>> [tick.get_text() for tick in ax.get_yticklabels()]
        ['relu']
    """
    reports = by_name("plot.energy", reports, "energy reports", "Pass {'relu': ns.estimate(...)}.")
    rows = [bounds(f"plot.energy: {name}", report) for name, report in reports.items()]
    ax = axes(ax)
    ax.set_xscale("log")
    family = {name: (families or {}).get(name) for name in reports}
    styles = family_styles(family.values())
    for y, (name, (low, nominal, high)) in enumerate(zip(reports, rows, strict=True)):
        colour, marker = styles[family[name]]
        spread = [[nominal - low], [high - nominal]]
        ax.errorbar([nominal], [y], xerr=spread, fmt=marker, color=colour, markersize=6, capsize=3)
        text = bounded(low, nominal, high, "J")
        ax.annotate(text, (high, y), xytext=(7, 0), textcoords="offset points", va="center", fontsize="small")
    least, most = min(row[0] for row in rows), max(row[2] for row in rows)
    ax.set_xlim(least / 1.5, most * max(2.0, (most / least) ** 0.35))  # space for the text on the right
    log_axis(ax.xaxis, lambda joules: si(joules, "J"))
    name_rows(ax, list(reports))
    ax.set_xlabel("estimated energy per sample")
    fit_text(ax)
    return ax
