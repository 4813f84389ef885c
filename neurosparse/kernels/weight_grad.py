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

__all__ = [
    "CHUNK",
    "accumulate",
    "add_four",
    "add_scaled",
    "from_blocks",
    "join",
    "sorting_buffers",
    "to_blocks",
    "weight_grad",
]

CHUNK = 128  # rows: with 512 units their gradients fill half of half a MiB of cache


@kernel
def add_scaled(target, source, scale):
    for k in range(target.shape[0]):
        target[k] += scale * source[k]


@kernel
def add_two(target, a, b):
    for k in range(target.shape[0]):
        target[k] += a[k] + b[k]


@kernel
def add_three(target, a, b, c):
    for k in range(target.shape[0]):
        target[k] += (a[k] + b[k]) + c[k]


@kernel
def add_four(target, a, b, c, d):
    for k in range(target.shape[0]):
        target[k] += (a[k] + b[k]) + (c[k] + d[k])


@kernel
def _sort(rows, places, row_ptr, index, value, starts, order, scales):
    """Sort the events of ``rows`` by unit: the place of each one's row in ``order``, its value in ``scales``.

    Those of unit i end at ``starts[i]``.
    """
    graded = value.shape[0] > 0
    for i in range(starts.shape[0]):
        starts[i] = 0
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
            starts[index[e]] = at + 1


@kernel
def _add_rows(target, store, first, places):
    """target += the rows ``places`` of ``store``, as many at a time as there are: less traffic on ``target``."""
    upto, n, at = first + target.shape[0], places.shape[0], 0
    while at + 4 <= n:
        a, b, c, d = places[at], places[at + 1], places[at + 2], places[at + 3]
        add_four(target, store[a, first:upto], store[b, first:upto], store[c, first:upto], store[d, first:upto])
        at += 4
    if n - at == 3:
        a, b, c = places[at], places[at + 1], places[at + 2]
        add_three(target, store[a, first:upto], store[b, first:upto], store[c, first:upto])
    elif n - at == 2:
        add_two(target, store[places[at], first:upto], store[places[at + 1], first:upto])
    elif n - at == 1:
        add_scaled(target, store[places[at], first:upto], target.dtype.type(1))


@kernel.apart
def accumulate(table, store, first, rows, places, row_ptr, index, value, starts, order, scales):
    """table[i] += the sum over the events (r, i) of ``rows`` of value * store[place of r, first:]."""
    _sort(rows, places, row_ptr, index, value, starts, order, scales)
    at = 0
    for i in range(table.shape[0]):
        if value.shape[0] == 0:
            _add_rows(table[i], store, first, order[at : starts[i]])
        else:
            for e in range(at, starts[i]):
                add_scaled(table[i], store[order[e], first : first + table.shape[1]], scales[e])
        at = starts[i]


@kernel
def _loop(row_ptr, index, value, grad, tables, rows, starts, order, scales):
    """For every block of outputs, all rows chunk by chunk; every worker has a sum of its own."""
    (n_rows, n_out), (n_tasks, _, width) = grad.shape, tables.shape
    n_workers = n_tasks * width // max(n_out, 1)
    for task in prange(n_tasks):
        block, worker = task // n_workers, task % n_workers
        for begin in range(worker * CHUNK, n_rows, n_workers * CHUNK):
            some = rows[begin : begin + CHUNK]
            found = (row_ptr, index, value, starts[task], order[task], scales[task])
            accumulate(tables[task], grad, block * width, some, some, *found)


def join(parts: Tensor, n_workers: int) -> Tensor:
    """``(tasks, ...)`` -> ``(blocks, ...)``: the sum over workers."""
    return parts if n_workers == 1 else parts.unflatten(0, (-1, n_workers)).sum(1)


def to_blocks(weight: Tensor, width: int) -> Tensor:
    """``(out, in)`` -> ``(blocks, in, width)``: the weights of a block of outputs lie together."""
    blocks = weight.new_empty(-(-len(weight) // width), weight.shape[1], width)
    for block, part in zip(blocks, weight.split(width), strict=False):  # torch is fast at matrices only
        block[:, : len(part)] = part.t()
        block[:, len(part) :] = 0
    return blocks


def from_blocks(blocks: Tensor, n_out: int) -> Tensor:
    """The inverse of :func:`to_blocks`."""
    weight = blocks.new_empty(n_out, blocks.shape[1])
    for block, part in zip(blocks, weight.split(blocks.shape[2]), strict=False):
        part.copy_(block[:, : len(part)].t())
    return weight


def sorting_buffers(row_ptr: Tensor, value: Tensor | None, tables: Tensor) -> tuple[np.ndarray, ...]:
    """``starts``, ``order`` and ``scales`` of :func:`accumulate` for each of ``tables``, for any ``CHUNK`` rows."""
    tasks, most = len(tables), CHUNK * int(row_ptr.diff().max()) if row_ptr.numel() > 1 else 0
    starts, order = np.empty((tasks, tables.shape[1] + 1), np.int32), np.empty((tasks, most), np.int32)
    return starts, order, np.empty((tasks, 0 if value is None else most), tables.numpy().dtype)


@torch_operator("event_linear_weight_grad")
def weight_grad(row_ptr: Tensor, index: Tensor, value: Tensor | None, grad: Tensor, n_in: int) -> Tensor:
    """Gradient of the weight ``(out, in)`` from that of the output rows ``(rows, out)``."""
    n_rows, n_out = grad.shape
    if not event_driven_pays(grad, index.numel(), n_rows * n_in, n_in * n_out * grad.element_size()):
        return grad.t() @ scatter_rows(row_ptr, index, value, n_in, grad.dtype)
    width = block_width(n_out)
    if n_out % width:
        grad = torch.nn.functional.pad(grad, (0, -n_out % width))
    grad = grad.contiguous()
    tables = grad.new_zeros(grad.shape[1] // width * workers(), n_in, width)
    arrays = (row_ptr.numpy(), index.numpy(), values_of(value, grad), grad.numpy(), tables.numpy())
    _loop(*arrays, np.arange(n_rows), *sorting_buffers(row_ptr, value, tables))
    return from_blocks(join(tables, workers()), n_out)


@weight_grad.register_meta
def _(row_ptr, index, value, grad, n_in):
    return grad.new_empty(grad.shape[1], n_in)
