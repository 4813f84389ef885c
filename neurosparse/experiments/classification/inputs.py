"""Samples and batches of inputs: tensors ``(samples, ...)`` and events ``(steps, samples, *units)`` alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurosparse.events import EventTensor

__all__ = ["Inputs", "batch_sampler", "binned", "flat", "n_samples", "take", "units_of"]

Inputs = Tensor | EventTensor


def n_samples(x: Inputs) -> int:
    """Samples of a tensor or of events."""
    return x.shape[1] if isinstance(x, EventTensor) else len(x)


def units_of(x: Inputs) -> tuple[int, ...]:
    """The shape of one sample, at one step where there are steps."""
    return tuple(x.shape[2:] if isinstance(x, EventTensor) else x.shape[1:])


def take(x: Any, which: Any) -> Any:
    """Some of the samples.

    Example:
        >>> import torch
        >>> take(torch.eye(3), torch.tensor([2])).tolist()
        [[0.0, 0.0, 1.0]]
    """
    return x.samples(which) if isinstance(x, EventTensor) else x[which]


def batch_sampler(x: Inputs) -> Callable[[Tensor], Inputs]:
    """:func:`take` for many batches: events are sorted by sample once, so that the cost of a batch is its own events.

    Example:
        >>> import torch
        >>> events = EventTensor.from_aer(*torch.tensor([[0, 1, 1], [0, 0, 1], [2, 0, 1]]), shape=(2, 2, 3))
        >>> batch_sampler(events)(torch.tensor([1, 0])).dense().tolist()
        [[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]]
    """
    if isinstance(x, Tensor) or x.is_dense or x.offset is not None:
        return lambda which: take(x, which)
    steps, samples, *units = x.shape
    aer = x.aer()
    order = torch.argsort(aer.sample, stable=True)
    step, unit, value = aer.step[order], aer.unit[order], None if aer.value is None else aer.value[order]
    count = torch.bincount(aer.sample, minlength=samples)
    start = count.cumsum(0) - count

    def sample_batch(which: Tensor) -> EventTensor:
        many = count[which]
        sample = torch.arange(len(which)).repeat_interleave(many)
        event = torch.arange(len(sample)) + (start[which] - (many.cumsum(0) - many))[sample]
        parts = (step[event], sample, unit[event], None if value is None else value[event])
        lengths = None if x.lengths is None else x.lengths[which]
        timing = {"dt": x.dt, "t0": x.t0, "axis": x.axis, "lengths": lengths}
        return EventTensor.from_aer(*parts, shape=(steps, len(which), *units), **timing)

    return sample_batch


def binned(x: EventTensor, bins: int, collision: str) -> EventTensor:
    """Events with their steps summed in at most so many bins."""
    per_bin = -(-x.shape[0] // bins)
    return x.bin(per_bin, collision) if per_bin > 1 else x


def flat(x: EventTensor) -> EventTensor:
    """The same events with one axis of units."""
    steps, samples = x.shape[:2]
    same: dict[str, Any] = {"timing": x.timing, "dtype": x.dtype, "binary": x.binary}
    if x.is_dense:
        same |= {"dense": x.dense().flatten(2)}
    else:
        same |= {"row": x.row, "index": x.index, "value": x.value, "offset": x.offset}
    return EventTensor((steps, samples, x.n_units), **same)
