"""The gradient of a linear layer's input: everywhere, or only inside the support of the surrogate below.

The gradient of a spike is multiplied by the slope of its surrogate. Where the surrogate has compact support, gradients
outside it are zero and need not be computed: the gradient of a spiking network is sparse.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers
from neurosparse.kernels.operator import torch_operator

__all__ = ["count_inside", "dot_four", "dot_two", "input_grad", "list_inside"]

# A dot product per cell against a matrix product: the crossover measured on one machine lies near one cell in three.
SUPPORT_LIMIT = 0.25
MIN_FAN_OUT = 64  # shorter dot products cost more to find than to compute


@kernel.reassociating
def dot_four(grad, a, b, c, d):
    """Four dot products that share one read of ``grad``."""
    zero = grad.dtype.type(0)
    p, q, r, s = zero, zero, zero, zero
    for k in range(grad.shape[0]):
        g = grad[k]
        p += g * a[k]
        q += g * b[k]
        r += g * c[k]
        s += g * d[k]
    return p, q, r, s


@kernel.reassociating
def dot_two(grad, a, b):
    """Two dot products that share one read of ``grad``."""
    zero = grad.dtype.type(0)
    p, q = zero, zero
    for k in range(grad.shape[0]):
        p += grad[k] * a[k]
        q += grad[k] * b[k]
    return p, q


@kernel
def list_inside(code, found):
    """List the units inside the support; returns how many."""
    n = 0
    for k in range(code.shape[0]):
        found[n] = k
        n += code[k] & 1
    return n


@kernel.allocating
def _support_loop(grad, weight_t, code, out, n_workers):
    """out[r, i] = grad[r] . weight_t[i] where unit i of row r is inside, else 0."""
    rows, units = out.shape
    for worker in prange(n_workers):
        found = np.empty(units + 4, np.int64)
        for r in range(worker, rows, n_workers):
            out[r] = 0
            n = list_inside(code[r], found)
            found[n : n + 3] = found[0]  # the last four may repeat one
            for k in range(0, n, 4):
                h, i, j, m = found[k], found[k + 1], found[k + 2], found[k + 3]
                out[r, h], out[r, i], out[r, j], out[r, m] = dot_four(
                    grad[r], weight_t[h], weight_t[i], weight_t[j], weight_t[m]
                )


@torch_operator("input_grad")
def input_grad(grad: Tensor, weight: Tensor, support: Tensor | None) -> Tensor:
    """``grad (rows, out) @ weight (out, in)``; zero outside ``support`` (codes) where that is cheaper."""
    if support is None or not _pays(support, grad):
        return grad @ weight
    out = grad.new_empty(grad.shape[0], weight.shape[1])
    weight_t = weight.t().contiguous()
    arrays = (grad.contiguous().numpy(), weight_t.numpy(), support.numpy(), out.numpy())
    _support_loop(*arrays, workers())
    return out


@input_grad.register_meta
def _(grad, weight, support):
    return grad.new_empty(grad.shape[0], weight.shape[1])


@kernel
def _count_loop(code):
    n = 0
    for k in range(code.shape[0]):
        n += code[k] & 1
    return n


def count_inside(support: Tensor) -> int:
    """Units inside the support."""
    return _count_loop(support.reshape(-1).numpy())


def _pays(support: Tensor, grad: Tensor) -> bool:
    if support.numel() == 0 or grad.shape[1] < MIN_FAN_OUT or grad.dtype not in (torch.float32, torch.float64):
        return False
    return count_inside(support) <= SUPPORT_LIMIT * support.numel()
