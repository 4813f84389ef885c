"""Sparse associative memory: patterns stored by a covariance rule, recalled by k winners that take turns."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.coding.kwta import kwta
from neurosparse.errors import InputError
from neurosparse.events import EventTensor

__all__ = ["Recall", "covariance_weights", "overlap", "recall", "sparse_patterns"]


class Recall(NamedTuple):
    """Where a recall ended.

    ``state`` (samples, units), 0 and 1; ``events``, what units sent until then, ``(steps, samples, units)`` with
    ``lengths``; ``settled`` (samples), whether the next state would be the same.
    """

    state: Tensor
    events: EventTensor
    settled: Tensor


def sparse_patterns(patterns: int, units: int, activity: float, generator: torch.Generator | int = 0) -> Tensor:
    """Random patterns of 0 and 1, each with the same number of active units, ``round(activity units)``.

    Args:
        patterns, units: how many.
        activity: share of active units, 0 to 1.
        generator: draws them; an int is a seed.

    Returns:
        ``(patterns, units)``, float32.

    Raises:
        InputError: a number out of range, or no unit that would be active.

    Example:
        >>> sparse_patterns(3, 100, 0.05).sum(1).tolist()
        [5.0, 5.0, 5.0]
    """
    k = round(activity * units) if 0 <= activity <= 1 else 0
    if not (patterns >= 1 and 1 <= k < units):
        got = f"patterns={patterns}, units={units}, activity={activity}"
        fix = "Take more units."
        raise InputError("sparse_patterns", got=got, expected="some units active and some silent", fix=fix)
    if not isinstance(generator, torch.Generator):
        generator = torch.Generator().manual_seed(generator)
    chosen = torch.rand(patterns, units, generator=generator).topk(k, dim=1).indices
    return torch.zeros(patterns, units).scatter_(1, chosen, 1.0)


def covariance_weights(patterns: Tensor) -> Tensor:
    """Store patterns: ``J_ij = sum_mu (x_i - f) (x_j - f) / (N f (1 - f))``, no unit feeds itself.

    Args:
        patterns: ``(patterns, units)`` of 0 and 1; f is their mean.

    Returns:
        ``(units, units)``, symmetric.

    Raises:
        InputError: another shape, other values, or patterns without contrast.

    Example:
        >>> covariance_weights(torch.tensor([[1.0, 0.0, 0.0, 1.0]])).tolist()[0]
        [0.0, -0.25, -0.25, 0.25]

    Source: Tsodyks & Feigelman (1988), "The enhanced storage capacity in neural networks with low activity level".
    """
    f = float(patterns.mean()) if patterns.dim() == 2 and patterns.numel() else 0.0
    if not 0 < f < 1 or not bool(((patterns == 0) | (patterns == 1)).all()):
        got, expected = f"patterns of shape {tuple(patterns.shape)}", "(patterns, units) of 0 and 1, some of each"
        raise InputError("covariance_weights", got=got, expected=expected, fix="Pass sparse_patterns(...).")
    centred = patterns - f
    return (centred.t() @ centred / (patterns.shape[1] * f * (1 - f))).fill_diagonal_(0)


def recall(weights: Tensor, cue: Tensor, k: int, steps: int = 50) -> Recall:
    """Let the network settle: in each step all units see what was sent, and the k of the largest sums send next.

    Every sample goes on until its state repeats, at most ``steps`` times. What a step costs is an addition for each
    target of each unit that sends: ``events.n_events * (units - 1)`` in all.

    Args:
        weights: ``(units, units)``, row i feeds unit i.
        cue: ``(samples, units)`` of 0 and 1, what units send first; any number of them.
        k: how many send from then on; one whose sum is exactly 0 does not, so that silence stays silence.
        steps: most of them.

    Raises:
        InputError: shapes that do not fit, other values, no step, k out of range.

    Example:
        >>> stored = sparse_patterns(20, 400, 0.05)
        >>> half = stored * (torch.rand(20, 400, generator=torch.Generator().manual_seed(1)) < 0.5)
        >>> found = recall(covariance_weights(stored), half, k=20)
        >>> torch.equal(found.state, stored), found.events.lengths.unique().tolist()
        (True, [2])

    Source: Tsodyks & Feigelman (1988); k winners in the place of a threshold: Amari (1989), "Characteristics of
    sparsely encoded associative memory".
    """
    square = weights.dim() == 2 and weights.shape[0] == weights.shape[1]
    if not square or cue.dim() != 2 or cue.shape[1] != len(weights) or len(cue) == 0:
        got = f"weights {tuple(weights.shape)} and a cue {tuple(cue.shape)}"
        raise InputError("recall", got=got, expected="(units, units) and (samples, units)")
    if steps < 1:
        raise InputError("recall", got=f"steps={steps}", expected="1 or more")
    state = EventTensor.from_dense(cue.to(weights.dtype)[None], axis="iteration", spikes=True)
    sent, lengths = [], torch.full((len(cue),), steps)
    going = torch.ones(len(cue), dtype=torch.bool)
    for step in range(steps):
        now = state.dense()[0]
        sent.append(now * going[:, None])
        after = (kwta(F.linear(state, weights), k).dense() != 0).to(now)  # type: ignore[arg-type]
        settled = (after[0] == now).all(1)
        lengths = torch.where(going & settled, step + 1, lengths)
        going = going & ~settled
        state = EventTensor.from_dense(after, axis="iteration", spikes=True)
        if not going.any():
            break
    x, lengths = torch.stack(sent), lengths.clamp(max=len(sent))
    events = EventTensor.from_dense(x, axis="iteration", lengths=lengths, spikes=True)
    return Recall(state.dense()[0], events, ~going)


def overlap(state: Tensor, patterns: Tensor) -> Tensor:
    """How much of its pattern each state is: ``m = sum_i (x_i - f) s_i / (N f (1 - f))``.

    Args:
        state: ``(samples, units)`` of 0 and 1.
        patterns: ``(samples, units)``, what each should be.

    Returns:
        ``(samples)``: 1 for the pattern itself, 0 for what chance would give.

    Raises:
        InputError: two shapes.

    Example:
        >>> pattern = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
        >>> overlap(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), pattern), overlap(pattern, pattern)
        (tensor([0.]), tensor([1.]))
    """
    if state.shape != patterns.shape or state.dim() != 2:
        got = f"states {tuple(state.shape)} and patterns {tuple(patterns.shape)}"
        raise InputError("overlap", got=got, expected="one shape, (samples, units)")
    f = patterns.mean(1)
    return ((patterns - f[:, None]) * state).mean(1) / (f * (1 - f))
