"""Linear maps side by side, each from and to units of its own: a block-diagonal matrix without its zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Blocks", "apart", "together"]


class Blocks(nn.Module):
    """``a_b = W_b h_b`` of every block: (samples, blocks * inputs) -> (samples, blocks * outputs).

    Args:
        blocks: how many.
        inputs, outputs: units of each.

    Example:
        >>> blocks = Blocks(3, 2, 4)
        >>> blocks.weight.shape, blocks(torch.ones(5, 6)).shape
        (torch.Size([3, 4, 2]), torch.Size([5, 12]))
    """

    def __init__(self, blocks: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(blocks, outputs, inputs) / inputs**0.5)

    def forward(self, h: Tensor) -> Tensor:
        return together(torch.bmm(apart(h, len(self.weight)), self.weight.mT))

    def extra_repr(self) -> str:
        blocks, outputs, inputs = self.weight.shape
        return f"{blocks}, {inputs}, {outputs}"


def apart(x: Tensor, blocks: int) -> Tensor:
    """The units of each block: (samples, blocks * units) -> (blocks, samples, units)."""
    return x.unflatten(1, (blocks, -1)).transpose(0, 1)


def together(x: Tensor) -> Tensor:
    """The inverse of `apart`."""
    return x.transpose(0, 1).flatten(1)
