"""ANN-to-SNN conversion: a trained ReLU network as integrate-and-fire neurons whose rates are its activations."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from neurosparse.checks import number
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, data_rows, fold
from neurosparse.learning.norm import merge_norms
from neurosparse.neurons import IF

__all__ = ["convert"]

PLAIN = (nn.Linear, nn.Conv2d, nn.AvgPool2d, nn.Flatten)


@torch.no_grad()
def convert(model: nn.Sequential, calibration: Tensor | EventTensor, percentile: float = 99.9) -> nn.Sequential:
    """A ReLU network as a spiking one, by threshold balancing; no training.

    Each ReLU becomes integrate-and-fire neurons whose threshold ``theta`` is a high percentile of the layer's
    activation, reset by subtraction; a spike counts ``theta`` in the weights behind it. Then ``theta * rate`` is the
    activation, up to ``theta / steps``, as long as it lies below ``theta``. Batch norms are merged into the weights,
    dropout is removed.

    Args:
        model: ``nn.Sequential`` of Linear, Conv2d, AvgPool2d, Flatten, ReLU, BatchNorm and Dropout, trained.
        calibration: inputs ``(samples, ...)`` from which the activations are recorded; of events or timed tensors,
            every step that is data is one of them.
        percentile: of each layer's positive activations, 0 to 100.

    Returns:
        A network for ``ns.constant_current(x, steps)``; the mean of its output over steps is the model's output.

    Raises:
        InputError: a layer without a spiking counterpart, or a percentile outside 0..100.

    Example:
        >>> import neurosparse as ns
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
        >>> x = torch.rand(16, 4, generator=torch.Generator().manual_seed(0))
        >>> spiking = convert(model, x, percentile=100)
        >>> bool((spiking(ns.constant_current(x, steps=512)).mean(0) - model(x)).abs().max() < 0.05)
        True

    Source: Diehl et al. 2015, "Fast-classifying, high-accuracy spiking deep networks through weight and threshold
    balancing"; Rueckauer et al. 2017, "Conversion of continuous-valued deep networks", for the percentile.
    """
    percentile = number("convert", "percentile", percentile, high=100, above=0)
    layers: list[nn.Module] = []
    waiting: list[nn.Module] = []
    signal, scale = data_rows(calibration), 1.0
    for module in merge_norms(model):
        if isinstance(module, nn.Dropout | nn.Identity):
            continue
        if isinstance(module, nn.ReLU):
            signal = module(signal)
            positive = signal[signal > 0].flatten().double()
            theta = float(_percentile(positive, percentile)) if positive.numel() else 1.0
            layers += [fold(*waiting), IF(threshold=theta)]
            waiting, scale = [], theta
            continue
        if not isinstance(module, PLAIN):
            fix = "Replace MaxPool2d by AvgPool2d before training."
            raise InputError("convert", got=type(module).__name__, expected="Linear, Conv2d, AvgPool2d, ReLU", fix=fix)
        signal = module(signal)
        waiting.append(copy.deepcopy(module))
        if isinstance(module, nn.Linear | nn.Conv2d):
            waiting[-1].weight.mul_(scale)  # type: ignore[operator, union-attr]
            scale = 1.0
    return nn.Sequential(*layers, *([fold(*waiting)] if waiting else []))


def _percentile(values: Tensor, percentile: float) -> Tensor:
    """The value below which a share lies; exact for any number of values."""
    rank = max(round(percentile / 100 * values.numel()), 1)
    return values.kthvalue(rank).values
