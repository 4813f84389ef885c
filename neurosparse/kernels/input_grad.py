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
ROWS = 32  # at a time: each weight row is read once for them, and their gradients of 512 outputs stay in cache
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


@kernel
def _sort_inside(code, ptr, units, starts, order):
    """List the units inside the support row by row, and sort the rows by unit: those of unit i end at ``starts[i]``."""
    n = 0
    for r in range(code.shape[0]):
        ptr[r] = n
        n += list_inside(code[r], units[n:])
    ptr[code.shape[0]] = n
    for i in range(starts.shape[0]):
        starts[i] = 0
    for e in range(n):
        starts[units[e] + 1] += 1
    for i in range(1, starts.shape[0]):
        starts[i] += starts[i - 1]
    for r in range(code.shape[0]):
        for e in range(ptr[r], ptr[r + 1]):
            order[starts[units[e]]] = r
            starts[units[e]] += 1


@kernel
def _dot_products(grad, weight_t, out, starts, order):
    """out[r, i] = grad[r] . weight_t[i] for the rows r that ``order`` lists of each unit i."""
    at = 0
    for i in range(weight_t.shape[0]):
        end, weights = starts[i], weight_t[i]
        while at + 3 <= end:  # of three, the last is taken twice
            a, b, c, d = order[at], order[at + 1], order[at + 2], order[min(at + 3, end - 1)]
            out[a, i], out[b, i], out[c, i], out[d, i] = dot_four(weights, grad[a], grad[b], grad[c], grad[d])
            at += 4
        if at < end:
            a, b = order[at], order[end - 1]
            out[a, i], out[b, i] = dot_two(weights, grad[a], grad[b])
        at = end


@kernel
def _support_loop(grad, weight_t, code, out, ptr, units, starts, order):
    """out[r, i] = grad[r] . weight_t[i] where unit i of row r is inside, else 0; a few rows at a time, in cache."""
    n_rows, n_workers, few = out.shape[0], ptr.shape[0], ptr.shape[1] - 1
    for worker in prange(n_workers):
        for begin in range(worker * few, n_rows, n_workers * few):
            end = min(begin + few, n_rows)
            for r in range(begin, end):
                for i in range(out.shape[1]):
                    out[r, i] = 0
            _sort_inside(code[begin:end], ptr[worker], units[worker], starts[worker], order[worker])
            _dot_products(grad[begin:end], weight_t, out[begin:end], starts[worker], order[worker])


@torch_operator("input_grad")
def input_grad(grad: Tensor, weight: Tensor, support: Tensor | None) -> Tensor:
    """``grad (rows, out) @ weight (out, in)``; zero outside ``support`` (codes) where that is cheaper."""
    if support is None or not _pays(support, grad):
        return grad @ weight
    n_in = weight.shape[1]
    out = grad.new_empty(grad.shape[0], n_in)
    parts = (grad.contiguous(), weight.t().contiguous(), support.view(out.shape), out)
    sizes = (ROWS + 1, ROWS * n_in + 1, n_in + 1, ROWS * n_in)
    buffers = (np.empty((workers(), size), np.int32) for size in sizes)
    _support_loop(*(part.numpy() for part in parts), *buffers)
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
