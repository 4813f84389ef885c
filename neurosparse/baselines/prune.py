"""Magnitude pruning: masks as a value, put onto a model's weights as real zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError

__all__ = ["Masks", "cubic_sparsity", "magnitude_masks"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, eq=False, repr=False)
class Masks:
    """Which weights of a model live; holds no model, so that either is copied, saved or dropped alone.

    Args:
        keep: bool mask of each pruned parameter, by its name in the model.

    Example:
        >>> model = nn.Linear(10, 10)
        >>> masks = magnitude_masks(model, 0.9)
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


@torch.no_grad()
def magnitude_masks(model: nn.Module, sparsity: float, *, scope: str = "global") -> Masks:
    """Keep the largest weights: exactly ``round(sparsity * weights)`` of the smallest magnitude are pruned.

    The weights of all linear and convolutional layers take part, and nothing else: no bias, no embedding, no recurrent
    cell. Among equal magnitudes the earlier goes first. A weight that is zero already goes first of all, so that masks
    of growing sparsity are nested when they are applied in between.

    Args:
        model: the model; not changed.
        sparsity: fraction to prune, 0 <= sparsity < 1.
        scope: "global" ranks all layers together; "layer" prunes each alike.

    Returns:
        `Masks`; ``masks.apply_(model)`` prunes.

    Raises:
        InputError: sparsity out of range, unknown scope, a model without such weights, weights that are not finite.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> masks = magnitude_masks(model, 0.75, scope="layer")
        >>> [int(mask.sum()) for mask in masks.keep.values()]
        [32, 16]

    Source: Han, Pool, Tran & Dally (2015), "Learning both weights and connections for efficient neural networks".
    """
    where = "magnitude_masks"
    if not 0 <= sparsity < 1:
        raise InputError(where, got=f"sparsity={sparsity}", expected="0 <= sparsity < 1", fix="Pass 0.9 for 90 %.")
    if scope not in ("global", "layer"):
        raise InputError(where, got=f"scope={scope!r}", expected='"global" or "layer"', fix='Pass scope="global".')
    weights = _weights(model)
    if not weights:
        expected = "a model with linear or convolutional layers"
        raise InputError(where, got=type(model).__name__, expected=expected, fix="There is nothing to prune here.")
    for name, weight in weights.items():
        if not bool(weight.isfinite().all()):
            fix = "Look for a training that diverged."
            raise InputError(where, got=f"NaN or infinity in {name}", expected="finite weights", fix=fix)
    if scope == "layer":
        return Masks({name: _largest(weight.flatten(), sparsity).view_as(weight) for name, weight in weights.items()})
    keep = _largest(torch.cat([weight.flatten() for weight in weights.values()]), sparsity)
    parts = keep.split([weight.numel() for weight in weights.values()])
    return Masks({name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)})


def cubic_sparsity(step: int, start: int, end: int, final: float, initial: float = 0.0) -> float:
    """The gradual schedule ``s = final + (initial - final) (1 - (step - start) / (end - start))^3``, constant outside.

    Args:
        step: present training step.
        start, end: steps at which pruning begins and is complete.
        final: sparsity from ``end`` on.
        initial: sparsity up to ``start``.

    Raises:
        InputError: unless ``start < end`` and both sparsities are in [0, 1).

    Example:
        >>> [round(cubic_sparsity(step, 0, 100, 0.9), 3) for step in (0, 50, 100, 200)]
        [0.0, 0.787, 0.9, 0.9]

    Source: Zhu & Gupta (2017), "To prune, or not to prune", equation 1.
    """
    if not start < end:
        got = f"start={start}, end={end}"
        raise InputError("cubic_sparsity", got=got, expected="start < end", fix="End after the start.")
    if not (0 <= initial < 1 and 0 <= final < 1):
        got = f"initial={initial}, final={final}"
        raise InputError("cubic_sparsity", got=got, expected="sparsities in [0, 1)", fix="Pass final=0.9.")
    left = 1 - min(max((step - start) / (end - start), 0.0), 1.0)
    return final + (initial - final) * left**3


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of linear and convolutional layers by name, a shared one once."""
    layers = {id(m.weight) for m in model.modules() if isinstance(m, (nn.Linear, *CONVOLUTIONS))}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in layers}


def _largest(weights: Tensor, sparsity: float) -> Tensor:
    """Flat mask of all but the smallest; a stable sort, so that equal magnitudes are pruned in order."""
    keep = torch.ones_like(weights, dtype=torch.bool)
    keep[weights.abs().argsort(stable=True)[: round(sparsity * len(weights))]] = False
    return keep
