"""Break-even curves: spike rates at which a spiking network and a dense network need the same energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from neurosparse.energy.break_even import AXES, BreakEven, Threshold, thresholds
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, legend_above, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["break_even"]

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
LEAST = 0.01  # spikes per synapse; lower values are drawn as 0
NAMES = {
    "yan_2024_v3": "Yan 2024, v3",
    "yan_2024_v4": "Yan 2024, v4",
    "dampfhoffer_2023": "Dampfhoffer 2023",
    "davidson_furber_2021": "Davidson & Furber 2021",
}


def break_even(found: BreakEven, published: bool = True, ax: Axes | None = None) -> Axes:
    """Break-even curves of a spiking network by scenario, with the network itself and published thresholds.

    Along the rate: energy of the spiking network over that of the dense network, equal at 1. Along other axes: spikes
    per synapse and inference at equal energy; below a curve the spiking network needs less in that scenario. Bands are
    the range over the prices. A published threshold is drawn in grey, with its name, where its assumptions hold; these
    are in ``neurosparse.energy.thresholds()``.

    Args:
        found: what :func:`neurosparse.energy.break_even` returned.
        published: draw the published thresholds.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes.

    Raises:
        InputError: no break-even curves.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from neurosparse.energy import break_even as compute
        >>> from neurosparse.meter import OperationCounts
        >>> row = dict(layer="fc", kind="linear", weights=100, nonzero_weights=100, weight_bits=8)
        >>> snn = OperationCounts((row | dict(dense_ops=1000, effective_acs=100, input_cells=100, input_events=10,
        ...     input_bits=1, charged_rows=10, output_cells=100),), 1)
        >>> ann = OperationCounts((row | dict(dense_ops=100, effective_macs=100, input_cells=10, input_events=10,
        ...     input_bits=8, charged_rows=1, output_cells=10),), 1)
        >>> break_even(compute(snn, ann, "steps"), ax=Figure().subplots()).get_xlabel()
        'steps per inference'
    """
    if not isinstance(found, BreakEven):
        fix = "Pass ns.energy.break_even(spiking, dense)."
        raise InputError("plot.break_even", got=type(found).__name__, expected="a BreakEven", fix=fix)
    ax = axes(ax)
    ax.set(xscale="log", yscale="log")
    rate = found.axis == "rate"
    own = [row[1] for row in found.ratios.values()] if rate else [found.point.spikes_per_synapse]
    curves = np.concatenate(list(found.curves.values()))
    finite = [*own, 1.0, *curves[np.isfinite(curves) & (curves > LEAST)].tolist()]
    bottom, top = min(finite) / 1.5, max(finite) * 1.5
    for i, (name, curve) in enumerate(found.curves.items()):
        colour = COLOURS[i % len(COLOURS)]
        shown = np.clip(curve, bottom / 100, top * 100)  # values of 0 and infinity are beyond the axes
        ax.plot(found.values, shown[:, 1], color=colour, linestyle=LINES[i % len(LINES)], label=_label(name, curve))
        ax.fill_between(found.values, shown[:, 0], shown[:, 2], color=colour, alpha=0.2, linewidth=0)
        if rate:
            ax.plot([found.at], [own[i]], "o", color=colour, markeredgecolor="black", markersize=6, zorder=3)
    if rate:
        ax.axhline(1.0, color="0.3", linewidth=0.8)
        ax.plot([], [], "o", color="white", markeredgecolor="black", label="this network")
    else:
        ax.plot([found.at], own, "o", color="black", markersize=6, label="this network", zorder=3)
    ax.set_xlim(min(found.values.min(), found.at) / 1.15, max(found.values.max(), found.at) * 1.15)
    ax.set_ylim(bottom, top)
    for threshold in thresholds() if published else ():
        _published(ax, threshold, found)
    ax.set_xlabel(AXES[found.axis][0])
    ax.set_ylabel("energy, spiking over dense" if rate else "affordable spikes per synapse and inference")
    _ticks(ax, found)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    legend_above(ax)
    fit_text(ax)
    return ax


def _ticks(ax: Axes, found: BreakEven) -> None:
    """Ticks at the values of the curve, which are round numbers for steps, bits, bytes and reuse."""
    from matplotlib.ticker import NullLocator

    log_axis(ax.yaxis, _plain)
    if found.axis == "rate":
        log_axis(ax.xaxis, _plain)
        return
    values = found.values[:: -(-len(found.values) // (5 if found.axis == "memory" else 9))]
    words = [f"{value / 1024:g} KB" if found.axis == "memory" else _plain(value) for value in values]
    ax.set_xticks(values, words)
    ax.xaxis.set_minor_locator(NullLocator())


def _plain(value: float) -> str:
    return f"{value:g}"


def _label(name: str, curve: np.ndarray) -> str:
    """Name of the scenario, and whether there is no break-even in it."""
    if np.isinf(curve[:, 1]).all():
        return f"{name}: cheaper at any rate"
    return f"{name}: never cheaper" if not curve[:, 1].any() else name


def _published(ax: Axes, threshold: Threshold, found: BreakEven) -> None:
    """A grey line or band over the part of the axis where the assumptions of a threshold hold."""
    grey = {"color": "0.55", "linewidth": 1.0}
    if found.axis == "rate":
        span = threshold.spikes_per_synapse(found.point.steps)
        if span is None:
            return
        low, high = (value / found.point.steps for value in span)
        bottom, top = ax.get_ylim()
        if low < high:
            ax.axvspan(low, high, color="0.5", alpha=0.12, linewidth=0)
        else:
            ax.plot([low, low], [bottom, top], **grey)
        inside = low < high
        note = {
            "rotation": 90,
            "va": "top",
            "ha": "left" if inside else "right",
            "fontsize": "x-small",
            "color": "0.35",
        }
        shift = (2 if inside else -2, -2)
        ax.annotate(NAMES[threshold.id], (low, top), xytext=shift, textcoords="offset points", **note)
        return
    spans = list(_over(threshold, found))
    if not spans:
        return
    x, low, high = (np.array(column) for column in zip(*spans, strict=True))
    if len(x) == 1:
        ax.plot(x, low, marker="_", markersize=14, **grey)
    elif (low < high).any():
        ax.fill_between(x, low, high, color="0.5", alpha=0.12, linewidth=0)
    else:
        ax.plot(x, low, **grey)
    va = "top" if (low < high).any() or len(x) == 1 else "bottom"
    ax.annotate(NAMES[threshold.id], (x[-1], high[-1]), va=va, ha="right", fontsize="x-small", color="0.35")


def _over(threshold: Threshold, found: BreakEven) -> Iterator[tuple[float, float, float]]:
    """(value on the axis, low, high), where the assumptions of a threshold hold."""
    for x in (
        np.unique(np.concatenate([found.values, threshold.steps or []])) if found.axis == "steps" else found.values
    ):
        span = threshold.spikes_per_synapse(x if found.axis == "steps" else found.point.steps)
        if span is not None:
            yield (float(x), *span)
