"""FlyHash (Dasgupta et al. 2017): a sparse binary projection to many units, then k-winners-take-all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.checks import generator, number, whole
from neurosparse.coding.kwta import kwta
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.state import Stateless

__all__ = ["FlyHash"]


class FlyHash(Stateless, nn.Module):
    """Olfactory hashing: each Kenyon cell sums a few projection neurons, and the cells with the largest sums fire.

    ``h = kwta(M x, k)`` with a random binary ``M`` of ``inputs`` ones in each row: similar odours activate overlapping
    sets of cells. Subtracting the mean of ``x`` first, as in the paper, does not change the ranking, because each cell
    sums the same number of inputs.

    Args:
        features: number of projection neurons.
        cells: number of Kenyon cells; about 40 times as many as features in the fly.
        inputs: number of projection neurons that a cell sums; a tenth of them by default.
        active: share of the cells that fire, above 0 and at most 1.
        seed: draws the matrix.

    Returns:
        Called on ``(samples, features)``: spikes ``(1, samples, cells)`` without a time axis.

    Raises:
        InputError: a number out of range, data with another number of features.

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
        features, cells = whole("FlyHash", "features", features), whole("FlyHash", "cells", cells)
        inputs = max(1, round(features / 10)) if inputs is None else whole("FlyHash", "inputs", inputs, 1, features)
        active = number("FlyHash", "active", active, above=0, high=1)
        chosen = torch.rand(cells, features, generator=generator("FlyHash", seed, "seed")).argsort(1)[:, :inputs]
        self.register_buffer("matrix", torch.zeros(cells, features).scatter_(1, chosen, 1.0))
        self.k = max(1, round(active * cells))

    def forward(self, x: Tensor) -> EventTensor:
        """The cells that fire for each sample."""
        if not isinstance(x, Tensor) or x.dim() != 2 or x.shape[1] != self.matrix.shape[1]:
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"x of type {type(x).__name__}"
            raise InputError("FlyHash", got=got, expected=f"(samples, {self.matrix.shape[1]})")
        winners = kwta((x @ self.matrix.to(x).t())[None], self.k)
        return EventTensor.from_dense((winners.dense() != 0).to(x.dtype), axis=None, spikes=True)

    @staticmethod
    def nearest(queries: EventTensor, base: EventTensor, n: int) -> Tensor:
        """Samples of ``base`` with the largest overlap with each query, ``(queries, n)``, largest first."""
        overlap = queries.dense()[0] @ base.dense()[0].t()
        return overlap.sort(dim=1, descending=True, stable=True).indices[:, :n]
