"""Counts on a grid of steps x samples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Cells"]


class Cells:
    """Sums of int64 counts on a growing grid of steps x samples.

    Example:
        >>> cells = Cells()
        >>> cells.add("dense_ops", torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.tensor([4, 5, 6]))
        >>> cells.columns["dense_ops"].tolist()
        [[4, 0], [5, 6]]
    """

    def __init__(self) -> None:
        self.columns: dict[str, Tensor] = {}

    def add(self, column: str, step: Tensor, sample: Tensor, amount: Tensor) -> None:
        """Add to cells, each of which may come more than once."""
        if not len(step):
            return
        old = self.columns.get(column, torch.zeros(0, 0, dtype=torch.int64))
        shape = [max(size, int(index.max()) + 1) for size, index in zip(old.shape, (step, sample), strict=True)]
        grid = torch.zeros(shape, dtype=torch.int64)
        grid[: old.shape[0], : old.shape[1]] = old
        self.columns[column] = grid.index_put_((step, sample), amount.cpu().long(), accumulate=True)

    def grids(self, samples: int) -> dict[str, Tensor]:
        """All columns on one grid ``(steps, samples)``."""
        steps = max(len(grid) for grid in self.columns.values())
        return {
            name: pad(grid, (0, samples - grid.shape[1], 0, steps - grid.shape[0]))
            for name, grid in self.columns.items()
        }
