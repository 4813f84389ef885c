"""Joining events: along steps, samples or units, and ragged recordings into one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data._utils.collate import default_collate_fn_map

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events.operation import moves
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timing import Timing, joined_timing

__all__ = ["cat", "collate"]


@moves
def cat(tensors: Sequence[EventTensor], dim: int = 1) -> EventTensor:
    """Join events along steps (0), samples (1, the default) or a unit axis.

    Args:
        tensors: events that agree in every other axis, in step axis and in ``dt``.
        dim: the axis.

    Returns:
        EventTensor; a graph is kept.

    Raises:
        InputError: contradicting shapes, ``dt``, ``t0`` or lengths; joining steps of samples that end early.

    Example:
        >>> a = EventTensor.from_dense(torch.ones(2, 1, 3))
        >>> cat([a, a, a]).shape
        (2, 3, 3)
    """
    tensors = _check("cat", tensors)
    first = tensors[0]
    shape = list(first.shape)
    dim = whole("cat", "dim", dim, -len(shape), len(shape) - 1) % len(shape)
    for other in tensors[1:]:
        if other.shape[:dim] != first.shape[:dim] or other.shape[dim + 1 :] != first.shape[dim + 1 :]:
            raise InputError("cat", got=f"shapes {first.shape} and {other.shape}", expected=f"equal but for axis {dim}")
        shape[dim] += other.shape[dim]
    timing = joined_timing("cat", [t.timing for t in tensors], [t.shape for t in tensors], dim)
    binary = all(t.binary for t in tensors)
    if dim > 0 and all(t.constant for t in tensors):  # one step stands for all, before and after
        once = torch.cat([t.dense()[:1] for t in tensors], dim)
        return EventTensor(shape, timing, once.dtype, binary=binary, dense=once.expand(shape))
    if dim > 1 or any(t.requires_grad or t.is_dense for t in tensors):
        dense = torch.cat([t.dense() for t in tensors], dim)
        return EventTensor(shape, timing, dense.dtype, binary=binary, dense=dense)
    return _join(tensors, shape, timing, dim)


def _check(where: str, tensors: Any) -> list[EventTensor]:
    """A list of events, at least one."""
    listed = list(tensors) if isinstance(tensors, Sequence | Iterator) else None
    if not listed or not all(isinstance(t, EventTensor) for t in listed):
        got = "nothing" if listed == [] else sorted({type(t).__name__ for t in listed or [tensors]})
        fix = "Pass a list, [a, b]; make events of tensors by EventTensor.from_dense."
        raise InputError(where, got=got, expected="a list of EventTensors", fix=fix)
    return listed


def _join(tensors: list[EventTensor], shape: Sequence[int], timing: Timing, dim: int) -> EventTensor:
    """Join the event forms along steps or samples: shift rows, then sort once."""
    rows, at = [], 0
    for t in tensors:
        step, sample, _, _ = t.aer()
        rows.append((step + at) * shape[1] + sample if dim == 0 else step * shape[1] + sample + at)
        at += t.shape[dim]
    row, order = torch.sort(torch.cat(rows), stable=True)
    index = torch.cat([t.index for t in tensors])[order]
    binary = all(t.binary for t in tensors)
    value = offset = None
    if not binary:
        ones = (torch.ones(t.n_events, dtype=t.dtype, device=t.device) for t in tensors)
        value = torch.cat([one if t.value is None else t.value for one, t in zip(ones, tensors, strict=True)])[order]
    if any(t.offset is not None for t in tensors):
        offset = torch.cat([torch.zeros_like(t.row) if t.offset is None else t.offset for t in tensors])[order]
    dtype = tensors[0].dtype if value is None else value.dtype
    return EventTensor(shape, timing, dtype, binary=binary, row=row, index=index, value=value, offset=offset)


def collate(batch: Sequence[EventTensor], *, collate_fn_map: Any = None) -> EventTensor:
    """Recordings of any length side by side: the shorter ones end early, silence after their end is not data."""
    batch = _check("collate", batch)
    steps = max(t.shape[0] for t in batch)
    if all(t.shape[0] == steps for t in batch):
        return cat(batch, 1)
    if any(t.requires_grad for t in batch):
        raise InputError("collate", got="events with a graph", expected="data", fix="Detach them first.")
    padded = []
    for t in batch:
        lengths = torch.full((t.shape[1],), t.shape[0], device=t.device) if t.lengths is None else t.lengths
        parts = {"row": t.row, "index": t.index, "value": t.value, "offset": t.offset}
        timing = t.timing.with_(lengths=lengths)
        padded.append(EventTensor((steps, *t.shape[1:]), timing, t.dtype, binary=t.binary, **parts))
    return cat(padded, 1)


default_collate_fn_map[EventTensor] = collate
