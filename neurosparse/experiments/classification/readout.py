"""From outputs over time to scores: at the end, and after each step."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["anytime", "inside", "read"]


def inside(x: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Mask ``(steps, samples, 1)`` of the steps that are data; None if all are."""
    if lengths is None:
        return None
    return (torch.arange(len(x), device=x.device)[:, None] < lengths)[..., None]


def read(out: Tensor, how: str, lengths: Tensor | None = None) -> Tensor:
    """Scores ``(samples, classes)`` of outputs ``(steps, samples, classes)``.

    Args:
        out: outputs, or membranes of a leaky readout.
        how: ``"mean"`` and ``"membrane"`` take the mean over a sample's steps, ``"peak"`` the largest, ``"last"`` the
            last.
        lengths: steps of each sample that are data; None: all.

    Example:
        >>> out = torch.tensor([[[1.0, 0.0]], [[3.0, 1.0]]])
        >>> read(out, "mean").tolist(), read(out, "peak", torch.tensor([1])).tolist()
        ([[2.0, 0.5]], [[1.0, 0.0]])
    """
    mask = inside(out, lengths)
    if how == "last":
        return out[-1] if lengths is None else out[(lengths - 1).clamp(min=0), torch.arange(out.shape[1])]
    if how == "peak":
        return out.amax(0) if mask is None else out.masked_fill(~mask, -torch.inf).amax(0)
    return out.mean(0) if lengths is None or mask is None else (out * mask).sum(0) / lengths[:, None]


def anytime(out: Tensor, how: str, lengths: Tensor | None = None) -> Tensor:
    """Scores after each step ``(steps, samples, classes)``; a sample that has ended keeps its last ones.

    Example:
        >>> anytime(torch.tensor([[[1.0]], [[3.0]]]), "mean").flatten().tolist()
        [1.0, 2.0]
    """
    mask, steps = inside(out, lengths), torch.arange(1, len(out) + 1, device=out.device)[:, None, None]
    if mask is not None:
        steps = torch.minimum(steps, lengths[:, None])  # type: ignore[index]
    if how == "last":
        return out.gather(0, (steps - 1).expand(out.shape))
    if how == "peak":
        return (out if mask is None else out.masked_fill(~mask, -torch.inf)).cummax(0).values
    return (out if mask is None else out * mask).cumsum(0) / steps
