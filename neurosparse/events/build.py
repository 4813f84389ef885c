"""Building events: what ``EventTensor.from_dense``, ``from_aer`` and ``from_times`` make of their input.

Each function checks its input and returns :class:`neurosparse.events.parts.EventParts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import as_tensor, number, one_of, si, whole
from neurosparse.errors import InputError
from neurosparse.events.checks import check_coordinate, check_shape, flat_unit, valid_rows
from neurosparse.events.parts import EventParts
from neurosparse.events.timing import NANO, Timing, nanoseconds_to_step, step_nanoseconds

__all__ = ["aer_parts", "dense_parts", "merge", "nanosecond_parts", "times_parts"]

LATEST = 2.0**32  # seconds, whose nanoseconds fit in 64 bits


def dense_parts(x: Tensor, timing: Timing, spikes: bool) -> EventParts:
    """The dense twin itself; it must hold numbers, and 0 and 1 where spikes are declared."""
    where, values = "EventTensor.from_dense", x.detach()
    if x.is_complex():
        raise InputError(where, got=str(x.dtype), expected="real values")
    if x.is_floating_point() and bool(values.isnan().any()):
        raise InputError(where, got="NaN", expected="numbers", fix="Replace or drop them first (torch.nan_to_num).")
    if spikes and not bool(((values == 0) | (values == 1)).all()):
        fix = "Drop spikes=True to keep graded values."
        raise InputError(where, got="values other than 0 and 1", expected="spikes", fix=fix)
    if timing.lengths is not None and bool((values != 0).flatten(2).any(2)[~valid_rows(timing, x.shape)].any()):
        _refuse_late(where)
    binary = spikes or x.dtype == torch.bool
    # Steps that share one memory are a constant current, which is declared (`constant_current`) and never guessed.
    dense = x.clone(memory_format=torch.contiguous_format) if len(x) > 1 and x.stride(0) == 0 else x
    return EventParts(x.shape, timing, x.dtype, binary=binary, dense=dense)


def _refuse_late(where: str) -> None:
    fix = "Drop those events or raise the lengths."
    raise InputError(where, got="events beyond lengths", expected="silence after each sample's end", fix=fix)


def aer_parts(
    step: Tensor,
    sample: Tensor,
    unit: Tensor,
    value: Tensor | None,
    shape: Sequence[int],
    timing: Timing,
    on_collision: str,
) -> EventParts:
    """Coordinates, checked and sorted."""
    where = "EventTensor.from_aer"
    steps, samples, *units = shape
    step = check_coordinate(where, "step", step, steps)
    sample = check_coordinate(where, "sample", sample, samples)
    index = flat_unit(where, unit, units)
    value = None if value is None else as_tensor(where, "value", value)
    found = [step, sample, index] if value is None else [step, sample, index, value]
    if any(part.shape != step.shape for part in found):
        got = f"parts of shapes {', '.join(str(tuple(part.shape)) for part in found)}"
        raise InputError(where, got=got, expected="one entry per event in each part")
    if value is not None and (value.dtype == torch.bool or value.is_complex() or bool(value.detach().isnan().any())):
        got = "NaN values" if value.is_floating_point() else f"values of dtype {value.dtype}"
        raise InputError(where, got=got, expected="numbers", fix="Leave value out for unit spikes.")
    if timing.lengths is not None and bool((step >= timing.lengths[sample]).any()):
        _refuse_late(where)
    row, index, value = merge(where, step * samples + sample, index, value, math.prod(units), on_collision)
    dtype = torch.float32 if value is None else value.dtype
    return EventParts(shape, timing, dtype, binary=value is None, row=row, index=index, value=value)


def merge(
    where: str, row: Tensor, index: Tensor, value: Tensor | None, n_units: int, on_collision: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Sort events; events of one cell are refused, summed, or become one unit spike."""
    one_of(where, "on_collision", on_collision, ("error", "sum", "any"))
    if value is not None:  # a zero value is silence
        sent = value.detach() != 0
        row, index, value = row[sent], index[sent], value[sent]
    cell, order = torch.sort(row * max(n_units, 1) + index, stable=True)
    row, index, value = row[order], index[order].int(), None if value is None else value[order]
    again = cell[1:] == cell[:-1]
    if on_collision == "error":
        if bool(again.any()):
            fix = "Ask for on_collision='sum' or 'any'."
            raise InputError(where, got=f"{int(again.sum())} duplicate events", expected="one per cell", fix=fix)
        return row, index, value
    first = torch.cat([again.new_ones(min(1, len(row))), ~again])
    if on_collision == "any":
        return row[first], index[first], None
    group = first.long().cumsum(0) - 1
    ones = torch.ones(len(row), device=row.device) if value is None else value
    total = ones.new_zeros(int(first.sum())).index_add(0, group, ones)
    sent = total.detach() != 0
    return row[first][sent], index[first][sent], total[sent]


def _by_unit(where: str, trains: Any, n_units: int | None) -> tuple[np.ndarray, Tensor, int]:
    """Seconds and units of a list of spike trains, one for each unit."""
    if not isinstance(trains, Sequence) or isinstance(trains, str) or any(np.ndim(train) != 1 for train in trains):
        fix = "Pass units, or a list of arrays of seconds, one for each unit."
        raise InputError(where, got="times without units", expected="the unit of each time", fix=fix)
    if n_units is not None and whole(where, "n_units", n_units, 0) != len(trains):
        fix = "Add an empty array for each silent unit."
        raise InputError(where, got=f"{len(trains)} arrays", expected=f"n_units={n_units} arrays", fix=fix)
    seconds = [si(where, f"times of unit {unit}", train, "seconds") for unit, train in enumerate(trains)]
    units = torch.arange(len(trains)).repeat_interleave(
        torch.tensor([len(part) for part in seconds], dtype=torch.int64)
    )
    return np.concatenate([np.zeros(0), *seconds]), units, len(trains)


def times_parts(
    times: Any, units: Any, n_units: int | None, dt: float, duration: float | None, t0: float
) -> EventParts:
    """Seconds to integer steps and nanoseconds after the start of the step."""
    where = "EventTensor.from_times"
    if units is None:
        times, units, n_units = _by_unit(where, times, n_units)
    if n_units is None:
        fix = "Pass n_units, silent units included."
        raise InputError(where, got="no n_units", expected="the number of recorded units", fix=fix)
    n_units = check_shape(where, (0, 1, n_units))[2]
    dt = number(where, "dt", dt, 1 / NANO, LATEST, unit="seconds", fix="Pass for example dt=1e-3.")
    t0 = number(where, "t0", t0, -LATEST, LATEST, unit="seconds")
    duration = None if duration is None else number(where, "duration", duration, 0, LATEST, unit="seconds")
    unit = check_coordinate(where, "units", units, n_units)
    seconds = torch.from_numpy(si(where, "times", times, "seconds"))
    if seconds.shape != unit.shape:
        raise InputError(where, got=f"{seconds.numel()} times, {unit.numel()} units", expected="one unit per time")
    if not bool(((seconds >= t0) & (seconds <= LATEST)).all()):
        raise InputError(where, got="a time before t0 or far beyond", expected=f"{t0} = t0 <= seconds <= {LATEST:g}")
    whole = seconds.floor()  # apart, so that float64 seconds keep their nanoseconds for 2**22 s, 48 days
    since = whole.long() * NANO + ((seconds - whole) * NANO).round().long()
    start = int(step_nanoseconds(torch.tensor([0]), dt, t0))
    stop = None
    if duration is not None:
        stop = max(round((t0 + duration) * NANO), start + 1) if duration > 0 else start
    return nanosecond_parts(where, since.clamp(min=start), unit, n_units, dt, t0, stop)


def nanosecond_parts(
    where: str, nanoseconds: Tensor, unit: Tensor, n_units: int, dt: float, t0: float, stop: int | None
) -> EventParts:
    """Checked integer nanoseconds, none before ``t0``, to steps and offsets; ``stop``: end of the recording."""
    step = nanoseconds_to_step(nanoseconds, dt, t0)
    steps = int(step.max()) + 1 if len(step) else 0
    if stop is not None:
        start = int(step_nanoseconds(torch.tensor([0]), dt, t0))
        allowed = int(nanoseconds_to_step(torch.tensor([stop - 1]), dt, t0)) + 1 if stop > start else 0
        if steps > allowed:
            got, last = f"an event at {int(nanoseconds.max()) / NANO} s", stop / NANO
            raise InputError(where, got=got, expected=f"t < {last} s", fix="Pass a longer duration=.")
        steps = allowed
    check_shape(where, (steps, 1, n_units))
    offset = nanoseconds - step_nanoseconds(step, dt, t0)
    order = torch.argsort(offset, stable=True)
    cell, by_cell = torch.sort((step * n_units + unit)[order], stable=True)
    order = order[by_cell]
    on_grid = not bool(offset.any()) and not bool((cell[1:] == cell[:-1]).any())
    timing, offset = Timing("time", dt, t0), None if on_grid else offset[order]
    shape, row, index = (steps, 1, n_units), step[order], unit[order].int()
    return EventParts(shape, timing, torch.float32, binary=True, row=row, index=index, offset=offset)
