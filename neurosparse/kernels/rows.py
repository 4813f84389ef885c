"""Compressed rows on plain tensors: pointers and dense scatter."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers

__all__ = ["compress", "copy_row", "count_of_samples", "expand", "scatter", "scatter_rows", "values_of"]


def compress(row: Tensor, n_rows: int) -> Tensor:
    """Row of each event (sorted) -> pointers ``(n_rows + 1)``: events of row r are ``ptr[r]:ptr[r + 1]``."""
    counts = torch.bincount(row, minlength=n_rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def expand(row_ptr: Tensor) -> Tensor:
    """Pointers -> row of each event, the inverse of :func:`compress`."""
    rows = torch.arange(row_ptr.numel() - 1, device=row_ptr.device)
    return rows.repeat_interleave(row_ptr.diff())


def scatter(row: Tensor, index: Tensor, value: Tensor | None, n_rows: int, n_units: int, dtype: torch.dtype) -> Tensor:
    """Events -> dense ``(n_rows, n_units)``; differentiable in ``value``."""
    flat = torch.zeros(n_rows * n_units, dtype=dtype, device=row.device)
    position = row * n_units + index
    ones = torch.ones((), dtype=dtype, device=row.device)
    filled = flat.index_put((position,), ones if value is None else value.to(dtype))
    return filled.view(n_rows, n_units)


def values_of(value: Tensor | None, like: Tensor) -> np.ndarray:
    """Values for a kernel, in the dtype of ``like``; none means unit spikes."""
    return like.new_empty(0).numpy() if value is None else value.to(like.dtype).contiguous().numpy()


@kernel
def copy_row(target, source):
    """``target[:] = source``, for which numba would allocate a copy in case the two overlap."""
    for k in range(target.shape[0]):
        target[k] = source[k]


@kernel
def _scatter_loop(row_ptr, index, value, dense, n_workers):
    graded, one = value.shape[0] > 0, dense.dtype.type(1)
    for worker in prange(n_workers):
        for r in range(worker, dense.shape[0], n_workers):
            dense[r] = 0
            for e in range(row_ptr[r], row_ptr[r + 1]):
                dense[r, index[e]] = value[e] if graded else one


def scatter_rows(row_ptr: Tensor, index: Tensor, value: Tensor | None, n_units: int, dtype: torch.dtype) -> Tensor:
    """Events -> dense ``(rows, units)`` without a graph, fast on the CPU."""
    if index.device.type != "cpu" or dtype not in (torch.float32, torch.float64):
        return scatter(expand(row_ptr), index, value, row_ptr.numel() - 1, n_units, dtype)
    dense = torch.empty(row_ptr.numel() - 1, n_units, dtype=dtype)
    _scatter_loop(row_ptr.numpy(), index.numpy(), values_of(value, dense), dense.numpy(), workers())
    return dense


@kernel
def _count_loop(row_ptr, index, counts, n_workers):
    """counts[sample, unit] = events of all rows step * samples + sample."""
    samples, n_units = counts.shape
    for worker in prange(n_workers):
        for b in range(worker, samples, n_workers):
            for k in range(n_units):
                counts[b, k] = 0
            for r in range(b, row_ptr.shape[0] - 1, samples):
                for e in range(row_ptr[r], row_ptr[r + 1]):
                    counts[b, index[e]] += 1


def count_of_samples(row_ptr: Tensor, index: Tensor, samples: int, n_units: int) -> Tensor:
    """Events of each unit ``(samples, units)``, int32, where row ``step * samples + sample`` has those of one step."""
    counts = torch.empty(samples, n_units, dtype=torch.int32)
    _count_loop(row_ptr.numpy(), index.numpy(), counts.numpy(), workers())
    return counts
