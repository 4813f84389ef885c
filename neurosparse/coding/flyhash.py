"""The fly's hash: expand with a sparse binary matrix, let the largest win."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.coding.kwta import kwta
from neurosparse.errors import InputError
from neurosparse.events import EventTensor

__all__ = ["FlyHash"]


class FlyHash(nn.Module):
    """Olfactory hashing: each Kenyon cell sums a few projection neurons, and the few with the largest sums fire.

    ``h = kwta(M x, k)`` with a random binary ``M`` of ``inputs`` ones in each row: similar odours get overlapping sets
    of cells. Taking the mean off ``x`` first, as the paper does, ranks the same: each cell sums equally many inputs.

    Args:
        features: projection neurons.
        cells: Kenyon cells; about 40 times as many as features in the fly.
        inputs: projection neurons that a cell samples; a tenth of them by default.
        active: share of the cells that fire.
        seed: draws the matrix.

    Returns:
        Called on ``(samples, features)``: spikes ``(1, samples, cells)`` without a time axis.

    Raises:
        InputError: a number out of range, data of another width.

    Example:
        >>> hashing = FlyHash(50, cells=2000)
        >>> spikes = hashing(torch.rand(3, 50))
        >>> spikes.shape, spikes.counts().sum(1).tolist()
        ((1, 3, 2000), [100.0, 100.0, 100.0])

    Source: Dasgupta, Stevens & Navlakha (2017), "A neural algorithm for a fundamental computing problem".
    """

    matrix: Tensor

    def __init__(
        self, features: int, cells: int = 2000, inputs: int | None = None, active: float = 0.05, seed: int = 0
    ):
        super().__init__()
        inputs = max(1, round(features / 10)) if inputs is None else inputs
        if not (cells >= 1 and 1 <= inputs <= features and 0 < active <= 1):
            got = f"features={features}, cells={cells}, inputs={inputs}, active={active}"
            expected = "1 <= inputs <= features, cells >= 1, 0 < active <= 1"
            raise InputError("FlyHash", got=got, expected=expected)
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.rand(cells, features, generator=generator).argsort(1)[:, :inputs]
        self.register_buffer("matrix", torch.zeros(cells, features).scatter_(1, chosen, 1.0))
        self.k = max(1, round(active * cells))

    def forward(self, x: Tensor) -> EventTensor:
        """The cells that fire for each sample."""
        if x.dim() != 2 or x.shape[1] != self.matrix.shape[1]:
            got = f"shape {tuple(x.shape)}"
            raise InputError("FlyHash", got=got, expected=f"(samples, {self.matrix.shape[1]})")
        winners = kwta((x @ self.matrix.to(x).t())[None], self.k)
        return EventTensor.from_dense((winners.dense() != 0).to(x.dtype), axis=None, spikes=True)

    @staticmethod
    def nearest(queries: EventTensor, base: EventTensor, n: int) -> Tensor:
        """Samples of ``base`` whose sets of cells overlap most with each query's, ``(queries, n)``, best first."""
        overlap = queries.dense()[0] @ base.dense()[0].t()
        return overlap.sort(dim=1, descending=True, stable=True).indices[:, :n]
