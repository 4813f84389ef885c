"""Firing rates of layers during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosparse.checks import si
from neurosparse.errors import InputError
from neurosparse.plot.style import COLOURS, axes, by_name, fit_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rates"]

STYLES = ("-", "--", ":", "-.")


def rates(history: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Firing rate of each layer over the epochs of a training.

    Args:
        history: rate by layer, one number per epoch; for example the ``density`` of a layer's events, in spikes per
            neuron and step.
        ax: matplotlib axes; None draws on the current ones.

    Returns:
        The axes. Epochs count from 1, rates from 0.

    Raises:
        InputError: no rates by layer, no epoch, a rate that is negative or not finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> rates({"hidden": [0.2, 0.1], "output": [0.3, 0.3]}, ax=Figure().subplots()).get_xlabel()
        'epoch'
    """
    from matplotlib.ticker import MaxNLocator

    where, fix = "plot.rates", "Pass {'layer': [0.2, 0.1]}; plot.raster(events, rates=...) draws rates over time."
    curves = {
        name: si(where, name, values, "plain numbers") for name, values in by_name(where, history, "rates", fix).items()
    }
    for name, curve in curves.items():
        if curve.ndim != 1 or not curve.size or not (curve >= 0).all():
            got = f"{name!r} of shape {curve.shape} from {curve.min(initial=0):g}"
            raise InputError(where, got=got, expected="one rate per epoch, 0 or more", fix=fix)
    ax = axes(ax)
    for i, (name, curve) in enumerate(curves.items()):
        colour, style = COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS) % len(STYLES)]
        epochs = np.arange(1, len(curve) + 1)
        ax.plot(epochs, curve, style, color=colour, marker="o", markersize=3, linewidth=1.5, label=name)
    ax.set(xlabel="epoch", ylabel="spikes per neuron and step", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize="small")
    fit_text(ax)
    return ax
