"""Counting with a gradient: counts whose graph is that of a carrier, the zero that stands for dense events."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["count_events"]


@torch.library.custom_op("neurosparse::count_events", mutates_args=())
def _count(source: Tensor, counts: Tensor, weight: Tensor) -> Tensor:
    return counts.clone()


@_count.register_fake
def _(source, counts, weight):
    return torch.empty_like(counts)


def _setup(ctx, inputs, output):
    source, _, weight = inputs
    ctx.shape = source.shape
    ctx.save_for_backward(weight)


def _backward(ctx, grad):
    (weight,) = ctx.saved_tensors
    return (grad * weight).expand(ctx.shape), None, None


_count.register_autograd(_backward, setup_context=_setup)


def count_events(source: Tensor, counts: Tensor, lengths: Tensor | None) -> Tensor:
    """Event counts whose gradient reaches every step that is data, silent ones too (a surrogate needs them)."""
    steps, samples = source.shape[:2]
    weight = torch.ones((), dtype=source.dtype, device=source.device)
    if lengths is not None:
        inside = torch.arange(steps, device=source.device)[:, None] < lengths
        weight = inside.to(source.dtype).view(steps, samples, *[1] * (source.dim() - 2))
    return _count(source, counts, weight)
