"""What a contestant's network is given: tensors ``(samples, ...)`` and events ``(steps, samples, *units)`` alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments.classification.contestant import Contestant
from neurosparse.experiments.classification.layers import parse_layer

__all__ = ["Inputs", "dealer", "n_samples", "prepare", "take", "units_of"]

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


def dealer(x: Inputs) -> Callable[[Tensor], Inputs]:
    """The same as :func:`take`, many times: events are sorted by sample once, so that a batch costs what is in it.

    Example:
        >>> import torch
        >>> events = EventTensor.from_aer(*torch.tensor([[0, 1, 1], [0, 0, 1], [2, 0, 1]]), shape=(2, 2, 3))
        >>> dealer(events)(torch.tensor([1, 0])).dense().tolist()
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

    def deal(which: Tensor) -> EventTensor:
        many = count[which]
        sample = torch.arange(len(which)).repeat_interleave(many)
        event = torch.arange(len(sample)) + (start[which] - (many.cumsum(0) - many))[sample]
        parts = (step[event], sample, unit[event], None if value is None else value[event])
        lengths = None if x.lengths is None else x.lengths[which]
        timing = {"dt": x.dt, "t0": x.t0, "axis": x.axis, "lengths": lengths}
        return EventTensor.from_aer(*parts, shape=(steps, len(which), *units), **timing)

    return deal


def prepare(x: Inputs, contestant: Contestant) -> Inputs:
    """Data as the contestant's network reads them: binned, counted, flattened. It is reading, so it is not metered.

    Args:
        x: tensor ``(samples, *units)``, or events ``(steps, samples, *units)``.
        contestant: its ``encoding``, ``steps`` and ``bins`` decide.

    Returns:
        events for a network over time that takes events; otherwise a tensor ``(samples, ...)``, for a recording the
        events of each bin and unit. Flat, unless the first layer is a convolution.

    Raises:
        InputError: events for an encoding of tensors, or the other way round.

    Example:
        >>> import torch
        >>> spikes = EventTensor.from_dense(torch.ones(4, 2, 3), spikes=True)
        >>> prepare(spikes, Contestant("a", "relu")).tolist()[0]
        [4.0, 4.0, 4.0]
        >>> prepare(spikes, Contestant("a", "lif", steps=2, encoding="events")).shape
        (2, 2, 3)
    """
    if contestant.family in ("lif", "gru") and isinstance(x, EventTensor) != (contestant.encoding == "events"):
        kinds = ("a tensor", "events")
        got = f"encoding={contestant.encoding!r} for data that are {kinds[isinstance(x, EventTensor)]}"
        fix = "Set encoding = 'events' for recordings, 'current' or 'latency' for images."
        raise InputError(
            f"contestant {contestant.name!r}", got=got, expected=f"{kinds[contestant.encoding == 'events']}", fix=fix
        )
    image = bool(contestant.layers) and parse_layer("layers", contestant.layers[0]).kind not in ("linear", "gru")
    if isinstance(x, Tensor):
        return x if image else x.flatten(1)
    if contestant.encoding == "events":
        events = _binned(x, contestant.steps, contestant.collision) if contestant.steps > 1 else x
        return events if image or len(events.shape) == 3 else _flat(events)
    counts = _counts(x, contestant.bins)
    return counts if image else counts.flatten(1)


def _binned(x: EventTensor, bins: int, collision: str) -> EventTensor:
    per_bin = -(-x.shape[0] // bins)
    return x.bin(per_bin, collision) if per_bin > 1 else x


def _counts(x: EventTensor, bins: int | None) -> Tensor:
    """Events of each unit ``(samples, *units)``; bins multiply the first axis of units."""
    if bins is None:
        return x.counts()
    return _binned(x, bins, "sum").dense().transpose(0, 1).flatten(1, 2)


def _flat(x: EventTensor) -> EventTensor:
    """The same events with one axis of units."""
    steps, samples = x.shape[:2]
    same: dict[str, Any] = {"timing": x.timing, "dtype": x.dtype, "binary": x.binary}
    if x.is_dense:
        same |= {"dense": x.dense().flatten(2)}
    else:
        same |= {"row": x.row, "index": x.index, "value": x.value, "offset": x.offset}
    return EventTensor((steps, samples, x.n_units), **same)
