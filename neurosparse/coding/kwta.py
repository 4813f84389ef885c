"""k-winners-take-all (k-WTA): in each row the k largest values are sent, the others are 0."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.checks import number, one_of, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, Timing, dense_of, operation, timing_of
from neurosparse.events.state import Stateless

__all__ = ["KWTA", "kwta"]

WITHIN = (None, "channel", "position")


def _cost(result: EventTensor, x: Tensor | EventTensor, k: int, *_: object, **__: object) -> list[Operation]:
    """A heap of k: up to ``ceil(log2(k + 1))`` comparisons per unit; a constant signal is ranked once."""
    rows = result.n_rows // result.shape[0] if result.shape[0] and _constant(x) else result.n_rows
    comparisons = rows * result.n_units * math.ceil(math.log2(k + 1))
    return [Operation("compare", input=x, output=result, comparisons=comparisons)]


def _constant(x: Tensor | EventTensor) -> bool:
    return x.constant if isinstance(x, EventTensor) else x.shape[0] > 1 and x.stride(0) == 0


@operation(_cost)
def kwta(
    x: Tensor | EventTensor,
    k: int,
    *,
    within: str | None = None,
    boost: Tensor | None = None,
    straight_through: bool = False,
) -> EventTensor:
    """The k largest values of each row, as graded events: ``y_i = x_i`` if ``x_i`` is among them, else 0.

    Of equal values those of the lowest index win. A winner may be negative; a winner of exactly 0 sends no event, so a
    row with fewer than k non-zero values sends fewer than k. The gradient flows to the winners only.

    Args:
        x: (steps, samples, *units), dense or events.
        k: number of winners, 1 <= k <= competing units.
        within: which units compete: None, all units of a step and sample; ``"channel"``, the positions of each channel
            (the first axis of units); ``"position"``, the channels at each position.
        boost: (units), factors by which values are ranked but not sent.
        straight_through: whether the gradient flows to the other units too.

    Returns:
        events of the same shape, axis, dt and lengths.

    Raises:
        InputError: for fewer than three axes, k out of range, an unknown ``within``, NaN.

    Example:
        >>> kwta(torch.tensor([[[3.0, 1.0, 2.0, 3.0]]]), 2).dense().tolist()
        [[[3.0, 0.0, 0.0, 3.0]]]
        >>> kwta(torch.tensor([[[[3.0, 1.0], [4.0, 5.0]]]]), 1, within="channel").dense().tolist()
        [[[[3.0, 0.0], [0.0, 5.0]]]]

    Source: Maass (2000), "On the computational power of winner-take-all"; as a layer: Ahmad & Scheinkman (2019);
    straight through: Bengio, Leonard & Courville (2013).
    """
    if not isinstance(x, Tensor | EventTensor):
        raise InputError("kwta", got=f"x of type {type(x).__name__}", expected="a tensor or events")
    dense = dense_of(x)
    rows = _competing(dense, within)
    k = whole("kwta", "k", k, 1, rows.shape[-1], "At least one unit wins, at most all that compete.")
    if bool(rows.detach().isnan().any()):
        raise InputError("kwta", got="NaN", expected="numbers", fix="A layer before it may have diverged.")
    scores = rows.detach() if boost is None else _competing(dense.detach() * boost.view(dense.shape[2:]), within)
    # A stable sort, because topk leaves open which of two equals it returns.
    winners = scores.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    wins = torch.zeros_like(rows, dtype=torch.bool).scatter_(-1, winners, True)
    if within == "position":
        wins = wins.transpose(2, 3)
    wins, timing = wins.reshape(dense.shape), timing_of(x) or Timing(axis=None)
    if timing.lengths is not None:
        inside = torch.arange(len(wins), device=wins.device)[:, None] < timing.lengths
        wins = wins & inside.view(*inside.shape, *[1] * (wins.dim() - 2))
    others = dense - dense.detach() if straight_through else torch.zeros_like(dense)  # 0, with or without a gradient
    sent = torch.where(wins, dense, others)
    return EventTensor.from_dense(sent, timing.dt, t0=timing.t0, lengths=timing.lengths, axis=timing.axis)


def _competing(dense: Tensor, within: str | None) -> Tensor:
    """The values with the competing units on the last axis."""
    if dense.dim() < 3:
        fix = "Add the step axis: kwta(x[None], k)."
        raise InputError("kwta", got=f"shape {tuple(dense.shape)}", expected="(steps, samples, *units)", fix=fix)
    one_of("kwta", "within", within, WITHIN)
    if within is None:
        return dense.flatten(2)
    channels = dense.flatten(3) if dense.dim() > 3 else dense.unsqueeze(3)
    return channels if within == "channel" else channels.transpose(2, 3)


class KWTA(Stateless, nn.Module):
    """`kwta` as a layer, by number or by fraction of the units that compete.

    With ``boost``, units that win rarely rank higher: ``x_i exp(boost (k / n - d_i))``, where ``d_i`` is the duty cycle
    of unit i, the share of recent rows that it won. The average ``d`` (``duty``) is a buffer, updated in training mode.

    Args:
        k: number of winners.
        fraction: winners as a fraction of the units, 0 < fraction <= 1; at least one unit wins.
        within: which units compete, see :func:`kwta`.
        boost: strength, 0 (none) or more.
        memory: number of rows over which ``d`` averages.
        straight_through: whether the gradient flows to the other units too.

    Raises:
        InputError: unless exactly one of k and fraction is given and all are in range.

    Example:
        >>> layer = nn.Sequential(nn.Linear(20, 100), KWTA(fraction=0.05))
        >>> layer(torch.randn(1, 8, 20)).counts().sum(1).tolist()
        [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]

    Source: Ahmad & Scheinkman (2019), "How can we be so dense?", section 3.
    """

    duty: Tensor | None

    def __init__(
        self,
        k: int | None = None,
        fraction: float | None = None,
        *,
        within: str | None = None,
        boost: float = 0.0,
        memory: int = 1000,
        straight_through: bool = False,
    ):
        super().__init__()
        if (k is None) == (fraction is None):
            got = f"k={k}, fraction={fraction}"
            raise InputError("KWTA", got=got, expected="one of the two", fix="Pass fraction=0.05.")
        self.k = None if k is None else whole("KWTA", "k", k)
        self.fraction = None if fraction is None else number("KWTA", "fraction", fraction, above=0, high=1)
        self.within, self.boost = one_of("KWTA", "within", within, WITHIN), number("KWTA", "boost", boost, 0)
        self.memory, self.straight_through = whole("KWTA", "memory", memory), straight_through
        self.register_buffer("duty", None)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any) -> None:
        duty = state_dict.get(f"{prefix}duty")
        if duty is not None and self.duty is None:  # not made before the first call
            self.duty = torch.empty_like(duty)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Tensor | EventTensor) -> EventTensor:
        if not isinstance(x, Tensor | EventTensor):
            raise InputError("KWTA", got=f"x of type {type(x).__name__}", expected="a tensor or events")
        units = x.shape[2:]
        competing = math.prod(units) if self.within is None else units[0] if self.within == "position" else None
        competing = math.prod(units[1:]) if competing is None else competing
        k = self.k if self.k is not None else max(1, round((self.fraction or 0) * competing))
        options = {"within": self.within, "straight_through": self.straight_through}
        if not self.boost:
            return kwta(x, k, **options)
        if self.duty is None or self.duty.shape != units:
            self.duty = torch.full(units, k / competing, device=getattr(x, "device", None))
        sent = kwta(x, k, boost=torch.exp(self.boost * (k / competing - self.duty)), **options)
        if self.training and sent.n_rows:
            won = (sent.counts().sum(0) / sent.n_rows).detach()
            kept = (1 - 1 / self.memory) ** sent.n_rows
            self.duty = kept * self.duty + (1 - kept) * won.to(self.duty)
        return sent

    def extra_repr(self) -> str:
        parts = [f"k={self.k}" if self.k is not None else f"fraction={self.fraction}"]
        parts += [f"within={self.within!r}"] * (self.within is not None) + [f"boost={self.boost:g}"] * (self.boost > 0)
        return ", ".join([*parts, *["straight through"] * self.straight_through])
