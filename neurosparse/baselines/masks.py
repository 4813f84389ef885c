"""Pruning masks as a value; applied to a model, they set weights to zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError

__all__ = ["Masks", "prunable"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, eq=False, repr=False)
class Masks:
    """The weights of a model that are kept; without the model, so that each can be copied and saved alone.

    Args:
        keep: bool mask of each pruned parameter, by its name in the model.

    Example:
        >>> model = nn.Linear(10, 10)
        >>> masks = Masks({"weight": torch.eye(10, dtype=torch.bool)})
        >>> int((masks.apply_(model).weight != 0).sum()), masks
        (10, Masks(1 tensors, sparsity 90.0%))
    """

    keep: Mapping[str, Tensor]

    @property
    def sparsity(self) -> float:
        """Fraction of the masked weights that is pruned."""
        weights = sum(mask.numel() for mask in self.keep.values())
        return 1 - sum(int(mask.sum()) for mask in self.keep.values()) / weights

    @torch.no_grad()
    def apply_(self, model: nn.Module) -> nn.Module:
        """Set the pruned weights of the model to zero, in place; call it after every optimizer step."""
        for name, mask in self.keep.items():
            model.get_parameter(name).masked_fill_(~mask, 0)
        return model

    def __repr__(self) -> str:
        return f"Masks({len(self.keep)} tensors, sparsity {self.sparsity:.1%})"


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that can be pruned: those of all linear and convolutional layers, shared ones once.

    Args:
        model: any module.

    Returns:
        parameters by name; no bias, no embedding, no recurrent cell.

    Raises:
        InputError: a model without such weights.

    Example:
        >>> list(prunable(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))))
        ['0.weight', '3.weight']
    """
    layers = {id(m.weight) for m in model.modules() if isinstance(m, (nn.Linear, *CONVOLUTIONS))}
    weights = {name: parameter for name, parameter in model.named_parameters() if id(parameter) in layers}
    if not weights:
        expected = "a model with linear or convolutional layers"
        raise InputError("prunable", got=type(model).__name__, expected=expected, fix="There is nothing to prune here.")
    return weights
