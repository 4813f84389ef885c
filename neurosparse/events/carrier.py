"""Gradient carriers: autograd functions in which a zero-storage tensor stands for dense events."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["count_events", "stand_in"]


class _StandIn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, carrier: Tensor, dense: Tensor) -> Tensor:
        return dense.view_as(dense)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        return grad, None


class _Count(torch.autograd.Function):
    @staticmethod
    def forward(ctx, source: Tensor, counts: Tensor, weight: Tensor) -> Tensor:
        ctx.shape = source.shape
        ctx.save_for_backward(weight)
        return counts.view_as(counts)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (weight,) = ctx.saved_tensors
        return (grad * weight).expand(ctx.shape), None, None


def stand_in(carrier: Tensor, dense: Tensor) -> Tensor:
    """The values of ``dense`` with the graph of ``carrier``."""
    return _StandIn.apply(carrier, dense)


def count_events(source: Tensor, counts: Tensor, lengths: Tensor | None) -> Tensor:
    """Event counts whose gradient reaches every step that is data, silent ones too (a surrogate needs them)."""
    steps, samples = source.shape[:2]
    weight = torch.ones((), dtype=source.dtype, device=source.device)
    if lengths is not None:
        inside = torch.arange(steps, device=source.device)[:, None] < lengths
        weight = inside.to(source.dtype).view(steps, samples, *[1] * (source.dim() - 2))
    return _Count.apply(source, counts, weight)
