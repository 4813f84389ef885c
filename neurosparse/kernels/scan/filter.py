r"""The leaky filter over time: ``y[t] = alpha y[t-1] + x[t]``, a synapse's current or the membrane of a readout.

Its gradient is the same filter run back in time: ``dx[t] = dy[t] + alpha dx[t+1]``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import by_reference, kernel, prange, workers
from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.scan.step import filter_row

__all__ = ["filter_reference", "leaky_filter"]


def filter_reference(x: Tensor, alpha: Tensor, start: Tensor) -> Tensor:
    """The reference: ``x (steps, samples, units)``, ``alpha (units)``, ``start (samples, units)``."""
    level, levels = start, []
    for drive in x.unbind(0):
        level = alpha * level + drive
        levels.append(level)
    return torch.stack(levels) if levels else x.clone()


@kernel.allocating
def _filter_loop(x, alpha, start, backward, out, n_workers):
    steps, samples, units = out.shape
    for worker in prange(n_workers):
        level = np.empty(units, out.dtype)
        for b in range(worker, samples, n_workers):
            level[:] = start[b]
            for i in range(steps):
                t = steps - 1 - i if backward else i
                filter_row(level, x[t, b], alpha, out[t, b])


@torch_operator("leaky_filter")
def _filter(x: Tensor, alpha: Tensor, start: Tensor, backward: bool) -> Tensor:
    out = torch.empty(x.shape, dtype=x.dtype)
    parts = (x.contiguous(), alpha.contiguous(), start.contiguous())
    _filter_loop(*(part.numpy() for part in parts), backward, out.numpy(), workers())
    return out


@_filter.register_meta
def _(x, alpha, start, backward):
    return x.new_empty(x.shape)


def _setup(ctx, inputs, output):
    _, alpha, start, ctx.backward = inputs
    ctx.save_for_backward(alpha, start)


def _backward(ctx, grad):
    alpha, start = ctx.saved_tensors
    out = _filter(grad, alpha, torch.zeros_like(start), not ctx.backward)
    return out, None, alpha * out[0] if ctx.needs_input_grad[2] else None, None


_filter.register_autograd(_backward, setup_context=_setup)


def leaky_filter(x: Tensor, alpha: Tensor, start: Tensor) -> Tensor:
    """Filtered ``x (steps, samples, units)``; fast on the CPU where ``alpha (units)`` is not trained."""
    fits = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and len(x) > 0
    if not fits or alpha.requires_grad or by_reference(x):
        return filter_reference(x, alpha, start)
    return _filter(x, alpha, start, False)
