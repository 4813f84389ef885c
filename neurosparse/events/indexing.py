"""Indexing of timed tensors: units freely, steps by a range whose timing moves along, samples by a range or a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.events.rules import operands, refused, timed
from neurosparse.events.timed import TimedTensor
from neurosparse.events.timing import Timing, agreed_timing, refuse_chunk, refuse_from_end, step_timing, timing_of

__all__ = ["ALL", "assign", "chosen", "entries_of", "index", "is_list", "narrowed"]

ALL = slice(None)


def entries_of(key: Any, n: int) -> list[Any]:
    """The entry of a key for each axis, new axes included, without an ellipsis."""
    key = list(key) if isinstance(key, tuple) else [key]
    full = [ALL] * (n - sum(_width(entry) for entry in key))
    for place, entry in enumerate(key):
        if entry is Ellipsis:
            return key[:place] + full + key[place + 1 :]
    return key + full


def _width(entry: Any) -> int:
    """How many axes of the tensor one entry of a key stands for."""
    if entry is None or entry is Ellipsis or isinstance(entry, bool):
        return 0
    mask = isinstance(entry, Tensor) and entry.dtype in (torch.bool, torch.uint8)
    return entry.dim() if mask else 1


def _is_number(entry: Any) -> bool:
    single = isinstance(entry, (Tensor, np.generic, np.ndarray)) and entry.ndim == 0
    return not isinstance(entry, bool) and (isinstance(entry, int) or single)


def is_list(entry: Any) -> bool:
    """Whether an entry picks by a list, an array or a tensor."""
    return not (_is_number(entry) or isinstance(entry, slice) or entry is None)


def index(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``x[key]``."""
    x, key = args
    if not isinstance(x, TimedTensor):
        refused(function, "a plain tensor indexed by a timed one", "a plain index", "Index by key.dense().")
    entries = entries_of(key, x.dim())
    steps, samples = entries[0], entries[1] if len(entries) > 1 else ALL
    if not (isinstance(steps, slice) and steps == ALL):
        refuse_chunk("x[steps]", x.timing)
    single = (_is_number(steps), _is_number(samples))
    if True in single or (isinstance(steps, Tensor) and _width(steps) > 1):
        if x.timing.lengths is None or single == (True, True):  # one row, chosen by name
            return function(x, key)
        fix = "Keep the axes, x[t : t + 1] and x[:, b : b + 1], or index x.dense()."
        refused(function, "one step or sample of a timed tensor with lengths", "a range", fix)
    lists = [place for place, entry in enumerate(entries) if is_list(entry)]
    crowded = len(lists) > 1 and (lists[0] < 2 or lists != list(range(lists[0], lists[0] + len(lists))))
    nested = isinstance(samples, Tensor) and samples.dim() != 1
    if not isinstance(steps, slice) or steps.step not in (None, 1) or samples is None or crowded or nested:
        fix = "Take steps x[a:b], samples x[:, idx] and units x[..., idx] one after the other, or index x.dense()."
        refused(function, "an index that moves or skips steps or samples", "ranges of steps, lists of samples", fix)
    return timed(function(x, key), _at(x, steps, samples))


def _at(x: TimedTensor, steps: slice, samples: Any) -> Timing:
    """The timing of a range of steps of some samples."""
    timing = x.timing
    if steps.start is not None or steps.stop is not None:
        refuse_from_end("x[steps]", timing, x.shape[0], steps.start, steps.stop)
        start, stop, _ = steps.indices(x.shape[0])
        timing = step_timing(timing, start, max(start, stop))
    if timing.lengths is None or (isinstance(samples, slice) and samples == ALL):
        return timing
    return timing.with_(lengths=timing.lengths[samples])


def narrowed(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``narrow``: a range along one axis."""
    x, dim, start, length = (*args, *kwargs.values())
    key = (ALL,) * (dim % x.dim()) + (slice(int(start), int(start) + int(length)),)
    return index(Tensor.__getitem__, (x, key), {})


def chosen(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``index_select``: a list along one axis."""
    x, dim, which = (*args, *kwargs.values())
    return index(Tensor.__getitem__, (x, (ALL,) * (dim % x.dim()) + (which,)), {})


def assign(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``x[key] = value``: in place."""
    x = args[0]
    if not isinstance(x, TimedTensor):
        fix = "Write into torch.zeros_like(value), which keeps the timing, or write value.dense()."
        refused(function, "timed values written into a plain tensor", "a timed tensor", fix)
    for value in operands(args[2:], kwargs):
        place = index(Tensor.__getitem__, (x, args[1]), {})
        agreed_timing("setitem", [timing_of(place) or x.timing, value.timing])
    return function(*args, **kwargs)
