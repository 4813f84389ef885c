"""Parts of events: steps, samples and bins; each as the arguments of the constructor of ``EventTensor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.build import merge
from neurosparse.events.timing import decimal, start_of_step

if TYPE_CHECKING:
    from neurosparse.events.tensor import EventTensor

__all__ = ["binned_parts", "sample_parts", "step_parts"]


def _chosen(events: EventTensor, row: Tensor, chosen: Tensor | slice) -> dict[str, Tensor | None]:
    value, offset = events.value, events.offset
    return {
        "row": row,
        "index": events.index[chosen],
        "value": None if value is None else value[chosen],
        "offset": None if offset is None else offset[chosen],
    }


def step_parts(events: EventTensor, start: int, stop: int) -> dict[str, Any]:
    """Rows are sorted, so a range of steps is a slice of events: no pointer per empty row is built."""
    steps, samples, *units = events.shape
    start, stop, _ = slice(start, stop).indices(steps)
    stop = max(start, stop)
    lengths = None if events.lengths is None else (events.lengths - start).clamp(0, stop - start)
    timing = events.timing.with_(lengths=lengths, t0=start_of_step(start, events.dt, events.t0))
    same = {"shape": (stop - start, samples, *units), "timing": timing, "dtype": events.dtype, "binary": events.binary}
    if events.is_dense or events.requires_grad:
        return same | {"dense": events.dense()[start:stop]}
    first, last = torch.searchsorted(events.row, torch.tensor([start, stop], device=events.device) * samples).tolist()
    return same | _chosen(events, events.row[first:last] - start * samples, slice(first, last))


def sample_parts(events: EventTensor, idx: Any) -> dict[str, Any]:
    """Samples in the order asked for; one may be taken more than once."""
    steps, samples, *units = events.shape
    try:
        which = torch.atleast_1d(torch.arange(samples)[idx]).to(events.device)
    except IndexError as error:
        fix = "Pass an int, slice, list or tensor of samples."
        raise InputError("EventTensor.samples", got=idx, expected=f"samples of {samples}", fix=fix) from error
    timing = events.timing.with_(lengths=None if events.lengths is None else events.lengths[which])
    same = {"shape": (steps, len(which), *units), "timing": timing, "dtype": events.dtype, "binary": events.binary}
    if events.constant:
        return same | {"dense": events.dense()[0][which].expand(steps, *[-1] * (len(units) + 1))}
    if events.is_dense or events.requires_grad:
        return same | {"dense": events.dense()[:, which]}
    step, sample, _, _ = events.aer()
    copies = torch.bincount(which, minlength=samples)
    places = torch.argsort(which, stable=True)
    first = copies.cumsum(0) - copies
    n_copies = copies[sample]
    event = torch.arange(len(sample), device=sample.device).repeat_interleave(n_copies)
    nth = torch.arange(len(event), device=sample.device) - (n_copies.cumsum(0) - n_copies)[event]
    row, order = torch.sort(step[event] * len(which) + places[first[sample[event]] + nth], stable=True)
    return same | _chosen(events, row, event[order])


def binned_parts(events: EventTensor, k: int, on_collision: str) -> dict[str, Any]:
    """Coordinates with the step divided by ``k``."""
    where = "EventTensor.bin"
    if not isinstance(k, int) or k < 1:
        raise InputError(where, got=f"k={k}", expected="a whole number of steps, k >= 1")
    if events.requires_grad:
        raise InputError(
            where, got="events with a graph", expected="data", fix="Detach them first: .detach().bin(...)."
        )
    steps, samples, *units = events.shape
    step, sample, unit, value = events.aer()
    row = step.div(k, rounding_mode="floor") * samples + sample
    row, index, value = merge(where, row, unit, value, events.n_units, on_collision)
    lengths = None if events.lengths is None else -(-events.lengths // k)
    timing = events.timing.with_(dt=None if events.dt is None else float(decimal(events.dt) * k), lengths=lengths)
    dtype = events.dtype if value is None else value.dtype
    shape = (-(-steps // k), samples, *units)
    parts = {"row": row, "index": index, "value": value}
    return {"shape": shape, "timing": timing, "dtype": dtype, "binary": value is None, **parts}
