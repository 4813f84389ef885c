"""k winners take all: in each row the k largest values are sent, the rest is silent."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, Timing, operation, timing_of

__all__ = ["KWTA", "kwta"]


def _cost(result: EventTensor, x: Tensor | EventTensor, k: int) -> list[Operation]:
    """A heap of k: each unit meets up to ``ceil(log2(k + 1))`` comparisons; a constant signal is ranked once."""
    rows = result.n_rows // result.shape[0] if result.shape[0] and _constant(x) else result.n_rows
    comparisons = rows * result.n_units * math.ceil(math.log2(k + 1))
    return [Operation("compare", input=x, output=result, comparisons=comparisons)]


def _constant(x: Tensor | EventTensor) -> bool:
    return x.constant if isinstance(x, EventTensor) else x.shape[0] > 1 and x.stride(0) == 0


@operation(_cost)
def kwta(x: Tensor | EventTensor, k: int) -> EventTensor:
    """The k largest values of each row, as graded events: ``y_i = x_i`` if ``x_i`` is among them, else silence.

    Ties go to the lowest index. A winner may be negative; one that is exactly 0 is silence and sends no event, so a row
    with fewer than k other values sends fewer than k. The gradient flows to the winners only.

    Args:
        x: (steps, samples, *units), dense or events; all units of a step and sample compete.
        k: number of winners, 1 <= k <= units.

    Returns:
        events of the same shape, axis, dt and lengths.

    Raises:
        InputError: for fewer than three axes, k out of range, NaN.

    Example:
        >>> kwta(torch.tensor([[[3.0, 1.0, 2.0, 3.0]]]), 2).dense().tolist()
        [[[3.0, 0.0, 0.0, 3.0]]]

    Source: Maass (2000), "On the computational power of winner-take-all"; as a layer: Ahmad & Scheinkman (2019).
    """
    if len(x.shape) < 3:
        fix = "Add the step axis: kwta(x[None], k)."
        raise InputError("kwta", got=f"shape {tuple(x.shape)}", expected="(steps, samples, *units)", fix=fix)
    dense = x.dense() if isinstance(x, EventTensor) else x
    rows = dense.flatten(2)
    units = rows.shape[2]
    if not (isinstance(k, int) and not isinstance(k, bool) and 1 <= k <= units):
        expected = f"a whole number from 1 to {units} (units)"
        raise InputError("kwta", got=f"k={k!r}", expected=expected, fix="Pass fewer winners.")
    if bool(rows.detach().isnan().any()):
        raise InputError("kwta", got="NaN", expected="numbers to rank", fix="Look for a layer that diverged.")
    # A stable sort, because topk leaves open which of two equals it returns.
    winners = rows.detach().sort(dim=2, descending=True, stable=True).indices[..., :k]
    wins = torch.zeros_like(rows, dtype=torch.bool).scatter_(2, winners, True)
    timing = timing_of(x) or Timing(axis=None)
    if timing.lengths is not None:
        inside = torch.arange(len(rows), device=rows.device)[:, None] < timing.lengths
        wins = wins & inside[..., None]
    sent = torch.where(wins, rows, torch.zeros_like(rows)).view(dense.shape)
    return EventTensor.from_dense(sent, timing.dt, t0=timing.t0, lengths=timing.lengths, axis=timing.axis)


class KWTA(nn.Module):
    """`kwta` as a layer, by number or by fraction of the units.

    Args:
        k: number of winners.
        fraction: winners as a fraction of the units, 0 < fraction <= 1; at least one unit wins.

    Raises:
        InputError: unless exactly one of the two is given and in range.

    Example:
        >>> layer = nn.Sequential(nn.Linear(20, 100), KWTA(fraction=0.05))
        >>> layer(torch.randn(1, 8, 20)).counts().sum(1).tolist()
        [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]

    Source: Ahmad & Scheinkman (2019), "How can we be so dense?".
    """

    def __init__(self, k: int | None = None, fraction: float | None = None):
        super().__init__()
        if (k is None) == (fraction is None):
            got = f"k={k}, fraction={fraction}"
            raise InputError("KWTA", got=got, expected="one of the two", fix="Pass fraction=0.05.")
        if fraction is not None and not 0 < fraction <= 1:
            got = f"fraction={fraction}"
            raise InputError("KWTA", got=got, expected="0 < fraction <= 1", fix="Pass fraction=0.05.")
        if k is not None and not (isinstance(k, int) and k >= 1):
            raise InputError("KWTA", got=f"k={k}", expected="a whole number, k >= 1", fix="Pass k=10.")
        self.k, self.fraction = k, fraction

    def forward(self, x: Tensor | EventTensor) -> EventTensor:
        if self.k is not None:
            return kwta(x, self.k)
        assert self.fraction is not None
        return kwta(x, max(1, round(self.fraction * math.prod(x.shape[2:]))))

    def extra_repr(self) -> str:
        return f"k={self.k}" if self.k is not None else f"fraction={self.fraction}"
