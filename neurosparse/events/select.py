"""Selecting steps and samples of events, and merging steps into bins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events.build import merge
from neurosparse.events.parts import EventParts
from neurosparse.events.reading import addresses
from neurosparse.events.timing import Timing, decimal, refuse_from_end, step_timing

__all__ = ["binned_parts", "sample_parts", "step_parts"]


def _chosen(
    events: EventParts, shape: tuple[int, ...], timing: Timing, row: Tensor, chosen: Tensor | slice
) -> EventParts:
    value, offset = events.value, events.offset
    return EventParts(
        shape,
        timing,
        events.dtype,
        binary=events.binary,
        row=row,
        index=events.index[chosen],
        value=None if value is None else value[chosen],
        offset=None if offset is None else offset[chosen],
    )


def _dense(events: EventParts, shape: tuple[int, ...], timing: Timing, dense: Tensor) -> EventParts:
    return EventParts(shape, timing, events.dtype, binary=events.binary, dense=dense)


def step_parts(events: EventParts, start: int, stop: int) -> EventParts:
    """Rows are sorted, so a range of steps is a slice of events: no pointer per empty row is built."""
    steps, samples, *units = events.shape
    fix = "Divide seconds by dt and round."
    start, stop = (whole("EventTensor.steps", *part, None, fix=fix) for part in (("start", start), ("stop", stop)))
    refuse_from_end("EventTensor.steps", events.timing, steps, start, stop)
    start, stop, _ = slice(start, stop).indices(steps)
    stop = max(start, stop)
    timing = step_timing(events.timing, start, stop)
    shape = (stop - start, samples, *units)
    if events.is_dense or events.requires_grad:
        return _dense(events, shape, timing, events.dense()[start:stop])
    first, last = torch.searchsorted(events.row, torch.tensor([start, stop], device=events.device) * samples).tolist()
    return _chosen(events, shape, timing, events.row[first:last] - start * samples, slice(first, last))


def sample_parts(events: EventParts, idx: Any) -> EventParts:
    """Samples in the order asked for; one may be taken more than once."""
    steps, samples, *units = events.shape
    try:
        which = torch.atleast_1d(torch.arange(samples)[idx]).to(events.device)
    except IndexError as error:
        fix = "Pass an int, slice, list or tensor of samples."
        raise InputError("EventTensor.samples", got=idx, expected=f"samples of {samples}", fix=fix) from error
    timing = events.timing.with_(lengths=None if events.lengths is None else events.lengths[which])
    shape = (steps, len(which), *units)
    if events.constant:
        return _dense(events, shape, timing, events.dense()[0][which].expand(shape))
    if events.is_dense or events.requires_grad:
        return _dense(events, shape, timing, events.dense()[:, which])
    step, sample, _, _ = addresses(events)
    copies = torch.bincount(which, minlength=samples)
    places = torch.argsort(which, stable=True)
    first = copies.cumsum(0) - copies
    n_copies = copies[sample]
    event = torch.arange(len(sample), device=sample.device).repeat_interleave(n_copies)
    nth = torch.arange(len(event), device=sample.device) - (n_copies.cumsum(0) - n_copies)[event]
    row, order = torch.sort(step[event] * len(which) + places[first[sample[event]] + nth], stable=True)
    return _chosen(events, shape, timing, row, event[order])


def cast_parts(events: EventParts, dtype: torch.dtype) -> EventParts:
    """Values in another floating-point type; those that become 0 are silence."""
    if not dtype.is_floating_point:
        fix = "Take .dense() and convert it; a comparison gives booleans."
        raise InputError("EventTensor.to", got=str(dtype), expected="a floating-point type", fix=fix)
    parts: dict[str, Any] = {"carrier": events._carrier, "dense": events._dense}
    parts = {name: None if part is None else part.to(dtype) for name, part in parts.items()}
    if events.constant:
        parts["dense"] = events.dense()[0].to(dtype).expand(events.shape)
    if events.is_found and (events._value is None or not events.is_dense):
        value = None if events._value is None else events._value.to(dtype)
        sent = slice(None) if value is None else value.detach() != 0
        found = {"row": events.row, "index": events.index, "value": value, "offset": events.offset}
        parts |= {name: None if part is None else part[sent] for name, part in found.items()}
    return EventParts(events.shape, events.timing, dtype, binary=events.binary, support=events.support, **parts)


def binned_parts(events: EventParts, k: int, on_collision: str) -> EventParts:
    """Coordinates with the step divided by ``k``."""
    where = "EventTensor.bin"
    k = whole(where, "k", k)
    if events.requires_grad:
        raise InputError(
            where, got="events with a graph", expected="data", fix="Detach them first: .detach().bin(...)."
        )
    steps, samples, *units = events.shape
    step, sample, unit, value = addresses(events)
    row = step.div(k, rounding_mode="floor") * samples + sample
    row, index, value = merge(where, row, unit, value, events.n_units, on_collision)
    lengths = None if events.lengths is None else -(-events.lengths // k)
    timing = events.timing.with_(dt=None if events.dt is None else float(decimal(events.dt) * k), lengths=lengths)
    dtype = events.dtype if value is None else value.dtype
    shape = (-(-steps // k), samples, *units)
    return EventParts(shape, timing, dtype, binary=value is None, row=row, index=index, value=value)
