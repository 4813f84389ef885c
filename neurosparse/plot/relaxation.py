"""Relaxation of a predictive network: energy over the iterations of inference."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse.checks import number
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, fit_text, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["relaxation"]

WIDE = 30  # ratio of energies from which the axis is logarithmic


def relaxation(states: Any, threshold: float = 0.0, ax: Axes | None = None) -> Axes:
    """Mean energy over the iterations of inference, and the share of error units that transmit.

    Args:
        states: what ``PredictiveNetwork.infer`` returned; or several of them by name.
        threshold: transmissions of at most this magnitude are not counted.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes of the energy. For states with recorded transmissions the shares are dashed, on a second axis.

    Raises:
        InputError: no states, an energy that is not finite, a negative threshold.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from neurosparse import PredictiveNetwork
        >>> states = PredictiveNetwork((4, 8, 3)).infer(torch.rand(2, 4), torch.eye(3)[:2])
        >>> relaxation(states, ax=Figure().subplots()).get_ylabel()
        'energy per sample'
    """
    where, several = "plot.relaxation", dict(states) if isinstance(states, Mapping) else {"": states}
    if not all(hasattr(one, "energies") for one in several.values()):
        got = ", ".join(type(one).__name__ for one in several.values())
        raise InputError(where, got=got, expected="states of inference", fix="Pass PredictiveNetwork.infer(...).")
    energies = {name: np.asarray(one.energies.mean(1), float) for name, one in several.items()}
    if not several or not all(np.isfinite(energy).all() for energy in energies.values()):
        fix = "Pass what PredictiveNetwork.infer returned."
        raise InputError(where, got=f"states {list(several)}", expected="finite energies, at least one", fix=fix)
    threshold = number(where, "threshold", threshold, 0)
    ax, scales = axes(ax), []
    for (name, energy), colour in zip(energies.items(), cycle(COLOURS)):
        ax.plot(energy, color=colour, linewidth=1.5, label=name or None)
    ax.set(xlabel="iteration", ylabel="energy per sample")
    ax.grid(alpha=0.2)
    low, high = (f(getattr(energy, f.__name__)() for energy in energies.values()) for f in (min, max))
    if 0 < low < high / WIDE:
        ax.set_yscale("log")
        log_axis(ax.yaxis, "{:g}".format)
    recorded = [(one, colour) for one, colour in zip(several.values(), cycle(COLOURS)) if one.sent]
    if recorded:
        beside = ax.twinx()
        scales.append(beside)
        for one, colour in recorded:
            beside.plot(100 * _transmitting(one.events, threshold), "--", color=colour, linewidth=1.2)
        beside.set(ylim=(0, 104), ylabel=f"error units above {threshold:g}, dashed (%)")
        ax.figure.sca(ax)  # the energy remains the current axes
    if "" not in several:
        ax.legend(frameon=False, fontsize="small")
    fit_text(ax, *scales)
    return ax


def _transmitting(events: Any, threshold: float) -> np.ndarray:
    """Share of units whose transmission exceeds the threshold, by iteration."""
    steps, samples, *units = events.shape
    rows = np.asarray(events.row) if events.value is None else np.asarray(events.row)[events.value.abs() > threshold]
    return np.bincount(rows // samples, minlength=steps) / (samples * np.prod(units))
