"""The gradient of a linear layer's weight from its input events.

Rows are taken in chunks that fit in cache. Within a chunk the events are sorted by unit, so that each weight row is
written once for all its events instead of once for each.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import block_width, event_driven_pays, kernel, prange, workers
from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.rows import scatter_rows, values_of

__all__ = ["CHUNK", "accumulate", "add_four", "add_scaled", "from_blocks", "join", "to_blocks", "weight_grad"]

CHUNK = 128  # rows: with 512 units their gradients fill half of half a MiB of cache


@kernel
def add_scaled(target, source, scale):
    for k in range(target.shape[0]):
        target[k] += scale * source[k]


@kernel
def add_four(target, a, b, c, d):
    for k in range(target.shape[0]):
        target[k] += (a[k] + b[k]) + (c[k] + d[k])


@kernel
def accumulate(table, store, first, rows, places, row_ptr, index, value, starts, order, scales):
    """table[i] += the sum over the events (r, i) of ``rows`` of value * store[place of r, first:]."""
    graded, width, one = value.shape[0] > 0, table.shape[1], table.dtype.type(1)
    starts[:] = 0
    for n in range(rows.shape[0]):
        for e in range(row_ptr[rows[n]], row_ptr[rows[n] + 1]):
            starts[index[e] + 1] += 1
    for i in range(1, starts.shape[0]):
        starts[i] += starts[i - 1]
    for n in range(rows.shape[0]):
        for e in range(row_ptr[rows[n]], row_ptr[rows[n] + 1]):
            at = starts[index[e]]
            order[at] = places[n]
            if graded:
                scales[at] = value[e]
            starts[index[e]] = at + 1  # where the unit's events end, once all are placed
    at = 0
    for i in range(table.shape[0]):
        end, target = starts[i], table[i]
        while not graded and at + 4 <= end:
            a, b, c, d = order[at], order[at + 1], order[at + 2], order[at + 3]
            add_four(
                target,
                store[a, first : first + width],
                store[b, first : first + width],
                store[c, first : first + width],
                store[d, first : first + width],
            )
            at += 4
        while at < end:
            add_scaled(target, store[order[at], first : first + width], scales[at] if graded else one)
            at += 1


@kernel.allocating
def _loop(row_ptr, index, value, grad, tables, n_workers, chunk, most):
    """For every block of outputs, all rows chunk by chunk; every worker has a sum of its own."""
    n_rows, width = grad.shape[0], tables.shape[2]
    rows = np.arange(n_rows)
    for task in prange(tables.shape[0]):
        block, worker = task // n_workers, task % n_workers
        starts, order = np.empty(tables.shape[1] + 1, np.int64), np.empty(most, np.int64)
        scales = np.empty(most if value.shape[0] > 0 else 1, grad.dtype)
        for begin in range(worker * chunk, n_rows, n_workers * chunk):
            some = rows[begin : begin + chunk]
            accumulate(tables[task], grad, block * width, some, some, row_ptr, index, value, starts, order, scales)


def join(parts: Tensor, n_workers: int) -> Tensor:
    """``(tasks, ...)`` -> ``(blocks, ...)``: the sum over workers."""
    return parts if n_workers == 1 else parts.unflatten(0, (-1, n_workers)).sum(1)


def to_blocks(weight: Tensor, width: int) -> Tensor:
    """``(out, in)`` -> ``(blocks, in, width)``: the weights of a block of outputs lie together."""
    padded = torch.nn.functional.pad(weight, (0, 0, 0, -len(weight) % width))
    return padded.view(len(padded) // width, width, weight.shape[1]).transpose(1, 2).contiguous()


def from_blocks(blocks: Tensor, n_out: int) -> Tensor:
    """The inverse of :func:`to_blocks`."""
    outputs, n_in = blocks.shape[0] * blocks.shape[2], blocks.shape[1]
    return blocks.transpose(1, 2).reshape(outputs, n_in)[:n_out].contiguous()


def most_events(row_ptr: Tensor, chunk: int = CHUNK) -> int:
    """A bound on the events of any chunk of consecutive rows, or of as many rows in any order."""
    return chunk * int(row_ptr.diff().max()) if row_ptr.numel() > 1 else 0


@torch_operator("event_linear_weight_grad")
def weight_grad(row_ptr: Tensor, index: Tensor, value: Tensor | None, grad: Tensor, n_in: int) -> Tensor:
    """Gradient of the weight ``(out, in)`` from that of the output rows ``(rows, out)``."""
    n_rows, n_out = grad.shape
    if not event_driven_pays(grad, index.numel(), n_rows * n_in, n_in * n_out * grad.element_size()):
        return grad.t() @ scatter_rows(row_ptr, index, value, n_in, grad.dtype)
    width = block_width(n_out)
    grad = torch.nn.functional.pad(grad, (0, -n_out % width)).contiguous()
    tables = grad.new_zeros(grad.shape[1] // width * workers(), n_in, width)
    arrays = (row_ptr.numpy(), index.numpy(), values_of(value, grad), grad.numpy(), tables.numpy())
    _loop(*arrays, workers(), CHUNK, most_events(row_ptr))
    return from_blocks(join(tables, workers()), n_out)


@weight_grad.register_meta
def _(row_ptr, index, value, grad, n_in):
    return grad.new_empty(grad.shape[1], n_in)
