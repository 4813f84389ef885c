"""Proximal steps of the lasso and the group lasso on the weights of a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.baselines.granularity import from_tiles, tile_of, to_tiles
from neurosparse.baselines.masks import prunable
from neurosparse.checks import as_tensor, number
from neurosparse.errors import InputError

__all__ = ["proximal", "proximal_step_"]


def proximal(weight: Tensor, threshold: float, granularity: str = "weight") -> Tensor:
    """``argmin_v 1/2 ||v - w||^2 + threshold * sum_g ||v_g||_2``, the lasso where every group is a single weight.

    Of single weights: ``sign(w) max(|w| - threshold, 0)``; of groups: ``w_g max(1 - threshold / ||w_g||, 0)``.

    Args:
        weight: ``(outputs, inputs, ...)``.
        threshold: learning rate times the lasso's factor, 0 or more.
        granularity: the groups: ``"weight"``, ``"row"`` or ``"block 4 4"``.

    Returns:
        the shrunk weight.

    Raises:
        InputError: a negative threshold, the granularity n:m, a block that does not fit.

    Example:
        >>> proximal(torch.tensor([[3.0, -4.0]]), 1.0), proximal(torch.tensor([[3.0, -4.0]]), 1.0, "row")
        (tensor([[ 2., -3.]]), tensor([[ 2.4000, -3.2000]]))

    Source: Parikh & Boyd (2014), "Proximal algorithms", sections 6.5.2 and 6.5.4; Yuan & Lin (2006).
    """
    tile, weight = tile_of(granularity), as_tensor("proximal", "weight", weight)
    threshold = number("proximal", "threshold", threshold, 0)
    if tile.inside:
        raise InputError("proximal", got=f"granularity={granularity!r}", expected="weights, rows or blocks")
    if granularity == "weight":
        return F.softshrink(weight, threshold)
    groups = to_tiles(weight, tile)
    norms = groups.norm(dim=1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
    return from_tiles(groups * (1 - threshold / norms).clamp_min(0), weight, tile)


@torch.no_grad()
def proximal_step_(model: nn.Module, threshold: float, granularity: str = "weight") -> nn.Module:
    """Shrink all linear and convolutional weights in place; call it after every optimizer step.

    Behind an adaptive optimizer this is the decoupled step, as AdamW's decay is: one threshold for all weights.

    Args:
        model: whose weights shrink.
        threshold: learning rate times the lasso's factor.
        granularity: see :func:`proximal`.

    Returns:
        the model.

    Raises:
        InputError: see :func:`proximal`.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> int((proximal_step_(layer, 10.0).weight != 0).sum())
        0
    """
    for weight in prunable(model).values():
        weight.copy_(proximal(weight, threshold, granularity))
    return model
