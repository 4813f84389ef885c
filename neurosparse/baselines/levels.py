"""Activations of few levels: a ReLU with as many values as the firing rate of a neuron over T steps has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.checks import as_tensor, whole
from neurosparse.events import Operation, operation
from neurosparse.events.state import Stateless

__all__ = ["LevelReLU", "quantise_levels"]


def _cost(result: Tensor, x: Tensor, steps: int) -> list[Operation]:
    """Scale and round, and two comparisons to clip."""
    return [Operation("elementwise", elementwise=2 * x.numel(), comparisons=2 * x.numel())]


@operation(_cost)
def quantise_levels(x: Tensor, steps: int) -> Tensor:
    """A ReLU clipped at 1 with ``steps + 1`` levels: ``floor(steps * clip(x, 0, 1) + 1/2) / steps``.

    These are the values that the firing rate of a neuron can take in that many steps. The gradient passes straight
    through where 0 <= x <= 1 and is 0 elsewhere. The result has an attribute ``.level_bits``, the bits of a level.

    Args:
        x: pre-activations, any shape.
        steps: T, the number of spiking steps it matches; levels are k / T for k = 0..T.

    Returns:
        the levels, with the integer attribute ``level_bits = ceil(log2(steps + 1))``.

    Raises:
        InputError: unless steps is a whole number above 0.

    Example:
        >>> y = quantise_levels(torch.tensor([-1.0, 0.1, 0.4, 0.7, 3.0]), 2)
        >>> y, y.level_bits
        (tensor([0.0000, 0.0000, 0.5000, 0.5000, 1.0000]), 2)

    Source: Bu et al. (2022), "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural
    networks" (quantisation clip-floor-shift); gradient: Bengio, Leonard & Courville (2013).
    """
    steps = whole("quantise_levels", "steps", steps, fix="Pass steps=8.")
    clipped = torch.clamp(as_tensor("quantise_levels", "x", x), 0, 1)
    levels = (clipped.detach() * steps + 0.5).floor() / steps
    # Adding an exact zero keeps the levels exact while the gradient passes.
    passed = levels + (clipped - clipped.detach())
    passed.level_bits = steps.bit_length()  # type: ignore[attr-defined]
    return passed


class LevelReLU(Stateless, nn.Module):
    """`quantise_levels` as a layer, in the place of a ReLU.

    Args:
        steps: T, the number of spiking steps it matches.

    Raises:
        InputError: unless steps is a whole number above 0.

    Example:
        >>> layer = LevelReLU(4)
        >>> sorted(set(layer(torch.linspace(-1, 2, 100)).tolist()))
        [0.0, 0.25, 0.5, 0.75, 1.0]

    Source: see `quantise_levels`.
    """

    def __init__(self, steps: int):
        super().__init__()
        self.steps = whole("LevelReLU", "steps", steps, fix="Pass steps=8.")

    def forward(self, x: Tensor) -> Tensor:
        return quantise_levels(x, self.steps)

    def extra_repr(self) -> str:
        return f"steps={self.steps}"
