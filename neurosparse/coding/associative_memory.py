"""Sparse associative memory (Tsodyks & Feigelman 1988): a covariance rule, and recall by k-winners-take-all."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.checks import generator as random_generator
from neurosparse.checks import number, tensor, whole
from neurosparse.coding.kwta import kwta
from neurosparse.errors import InputError
from neurosparse.events import EventTensor

__all__ = ["Recall", "covariance_weights", "overlap", "recall", "sparse_patterns"]


class Recall(NamedTuple):
    """The result of `recall`.

    ``state`` (samples, units), the last states of 0 and 1; ``events``, the states before it, ``(steps, samples,
    units)`` with ``lengths``; ``settled`` (samples), whether the state is a fixed point.
    """

    state: Tensor
    events: EventTensor
    settled: Tensor


def sparse_patterns(patterns: int, units: int, activity: float, generator: torch.Generator | int = 0) -> Tensor:
    """Random patterns of 0 and 1, each with the same number of active units, ``round(activity units)``.

    Args:
        patterns, units: numbers of patterns and units.
        activity: share of active units, 0 to 1.
        generator: draws them; an int is a seed.

    Returns:
        ``(patterns, units)``, float32.

    Raises:
        InputError: a number out of range, or all or no units active.

    Example:
        >>> sparse_patterns(3, 100, 0.05).sum(1).tolist()
        [5.0, 5.0, 5.0]
    """
    where = "sparse_patterns"
    patterns, units = whole(where, "patterns", patterns), whole(where, "units", units)
    k = round(number(where, "activity", activity, 0, 1) * units)
    if not 1 <= k < units:
        got, fix = f"{k} of {units} units active", "Take more units, or another activity."
        raise InputError(where, got=got, expected="some units active and some not", fix=fix)
    chosen = torch.rand(patterns, units, generator=random_generator(where, generator)).topk(k, dim=1).indices
    return torch.zeros(patterns, units).scatter_(1, chosen, 1.0)


def covariance_weights(patterns: Tensor) -> Tensor:
    """Weights that store patterns: ``J_ij = sum_mu (x_i - f) (x_j - f) / (N f (1 - f))``, ``J_ii = 0``.

    Args:
        patterns: ``(patterns, units)`` of 0 and 1; f is their mean.

    Returns:
        ``(units, units)``, symmetric.

    Raises:
        InputError: another shape, other values, or patterns that are all 0 or all 1.

    Example:
        >>> covariance_weights(torch.tensor([[1.0, 0.0, 0.0, 1.0]])).tolist()[0]
        [0.0, -0.25, -0.25, 0.25]

    Source: Tsodyks & Feigelman (1988), "The enhanced storage capacity in neural networks with low activity level".
    """
    patterns = tensor("covariance_weights", "patterns", patterns, "patterns, units").detach()
    f = float(patterns.mean()) if patterns.numel() else 0.0
    if not 0 < f < 1 or not bool(((patterns == 0) | (patterns == 1)).all()):
        got, expected = f"patterns of shape {tuple(patterns.shape)}", "(patterns, units) of 0 and 1, some of each"
        raise InputError("covariance_weights", got=got, expected=expected, fix="Pass sparse_patterns(...).")
    centred = patterns - f
    return (centred.t() @ centred / (patterns.shape[1] * f * (1 - f))).fill_diagonal_(0)


def recall(weights: Tensor, cue: Tensor, k: int, steps: int = 50) -> Recall:
    """Iterate the network to a fixed point: in each step the k units with the largest inputs become active.

    Every sample iterates until its state does not change, at most ``steps`` times. A step costs one addition per target
    of each active unit: ``events.n_events * (units - 1)`` in total.

    Args:
        weights: ``(units, units)``, row i is the input weights of unit i.
        cue: ``(samples, units)`` of 0 and 1, the first state, with any number of active units.
        k: number of active units of later states; a unit of input exactly 0 is not active, so that a state of zeros
            does not change.
        steps: largest number of steps.

    Raises:
        InputError: shapes that do not fit, other values, steps or k out of range.

    Example:
        >>> stored = sparse_patterns(20, 400, 0.05)
        >>> half = stored * (torch.rand(20, 400, generator=torch.Generator().manual_seed(1)) < 0.5)
        >>> found = recall(covariance_weights(stored), half, k=20)
        >>> torch.equal(found.state, stored), found.events.lengths.unique().tolist()
        (True, [2])

    Source: Tsodyks & Feigelman (1988); k winners instead of a threshold: Amari (1989), "Characteristics of
    sparsely encoded associative memory".
    """
    weights, cue = tensor("recall", "weights", weights, "units, units"), tensor("recall", "cue", cue, "samples, units")
    if weights.shape[0] != weights.shape[1] or cue.shape[1] != len(weights) or not cue.numel():
        got = f"weights {tuple(weights.shape)} and a cue {tuple(cue.shape)}"
        raise InputError("recall", got=got, expected="(units, units) and (samples, units)")
    k, steps = whole("recall", "k", k, 1, len(weights)), whole("recall", "steps", steps)
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
    """Overlap of states with patterns: ``m = sum_i (x_i - f) s_i / (N f (1 - f))``.

    Args:
        state: ``(samples, units)`` of 0 and 1.
        patterns: ``(samples, units)``, the pattern of each sample.

    Returns:
        ``(samples)``: 1 for the pattern itself, 0 at chance.

    Raises:
        InputError: different shapes.

    Example:
        >>> pattern = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
        >>> overlap(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), pattern), overlap(pattern, pattern)
        (tensor([0.]), tensor([1.]))
    """
    state, patterns = (
        tensor("overlap", name, value, "samples, units") for name, value in (("state", state), ("patterns", patterns))
    )
    if state.shape != patterns.shape:
        got = f"states {tuple(state.shape)} and patterns {tuple(patterns.shape)}"
        raise InputError("overlap", got=got, expected="one shape, (samples, units)")
    f = patterns.mean(1)
    return ((patterns - f[:, None]) * state).mean(1) / (f * (1 - f))
