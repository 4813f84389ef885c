"""Compressed rows on plain tensors: pointers, dense scatter, gathering of rows."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["compress", "expand", "scatter"]


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
