"""Checks of the event tensor: shape, timing, lengths and coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosparse.checks import as_tensor, number, one_of, whole
from neurosparse.errors import InputError
from neurosparse.events.operation import moves
from neurosparse.events.timing import Axis, Timing, check_dt

__all__ = [
    "check_coordinate",
    "check_grid",
    "check_lengths",
    "check_shape",
    "check_timing",
    "flat_unit",
    "silence_padding",
    "valid_rows",
]


def check_shape(where: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Time first, then samples, then at least one axis of units."""
    fix = "Time comes first; add a step axis with x[None] or a unit axis with x[..., None]."
    if not hasattr(shape, "__len__") or len(shape) < 3:
        got = f"shape {tuple(shape) if hasattr(shape, '__len__') else shape}"
        raise InputError(where, got=got, expected="(steps, samples, *units)", fix=fix)
    sizes = tuple(whole(where, "a size in shape", size, 0, fix=fix) for size in shape)
    if math.prod(sizes[2:]) >= 2**31 or math.prod(sizes) >= 2**63:
        raise InputError(where, got=f"shape {sizes}", expected="fewer than 2**31 units and 2**63 cells")
    return sizes


def check_lengths(where: str, lengths: Tensor | None, shape: Sequence[int]) -> Tensor | None:
    """Steps of each sample that are data, int64 ``(samples)``."""
    if lengths is None:
        return None
    lengths = as_tensor(where, "lengths", lengths)
    good = lengths.numel() == 0 or not (lengths.is_floating_point() or lengths.dtype == torch.bool)
    if not good or lengths.shape != (shape[1],) or bool((lengths != lengths.clamp(0, shape[0])).any()):
        expected = f"one integer per sample ({shape[1]}), 0 <= length <= {shape[0]} steps"
        raise InputError(where, got=f"lengths={lengths.tolist()}", expected=expected)
    return lengths.long()


def check_timing(
    where: str, shape: Sequence[int], axis: Axis, dt: float | None, t0: float, lengths: Tensor | None
) -> Timing:
    """What the steps of events of this shape mean."""
    return Timing(
        one_of(where, "axis", axis, ("time", "iteration", None)),
        check_dt(where, dt),
        number(where, "t0", t0, unit="seconds"),
        check_lengths(where, lengths, shape),
    )


def check_grid(where: str, offset: Tensor | None) -> None:
    """Refuse a recording with sub-step times, whose events may share a cell."""
    if offset is not None:
        fix = "Give the sub-step times up by name: .bin(1, on_collision='sum')."
        raise InputError(where, got="sub-step times", expected="events on the step grid", fix=fix)


@moves
def valid_rows(timing: Timing, shape: Sequence[int]) -> Tensor:
    """Mask ``(steps, samples)`` of the rows that are data."""
    device = None if timing.lengths is None else timing.lengths.device
    steps = torch.arange(shape[0], device=device)[:, None]
    if timing.lengths is None:
        return (steps >= 0).expand(shape[0], shape[1])
    return steps < timing.lengths


@moves
def silence_padding(dense: Tensor, timing: Timing) -> Tensor:
    """Zero beyond each sample's length."""
    if timing.lengths is None:
        return dense
    inside = valid_rows(timing, dense.shape).view(*dense.shape[:2], *[1] * (dense.dim() - 2))
    return torch.where(inside, dense, torch.zeros_like(dense))


def check_coordinate(where: str, name: str, part: Tensor, size: int) -> Tensor:
    """An integer coordinate of each event within its axis, int64: floats are never floored to find a bin."""
    part = as_tensor(where, name, part)
    if part.numel() == 0:  # an empty list has no integers to show
        return part.new_zeros(0, dtype=torch.int64)
    if part.dim() != 1:
        raise InputError(where, got=f"{name} of shape {tuple(part.shape)}", expected="(events,)")
    if part.is_floating_point() or part.is_complex() or part.dtype == torch.bool:
        seconds = "Time is an integer step: use EventTensor.from_times for seconds."
        fix = seconds if name == "step" else f"Pass {name}.long() if they are whole numbers."
        raise InputError(where, got=f"{name} of dtype {part.dtype}", expected="integers", fix=fix)
    if int(part.min()) < 0 or int(part.max()) >= size:
        span = f"{int(part.min())}..{int(part.max())}"
        raise InputError(where, got=f"{name} in {span}", expected=f"0 <= {name} < {size}", fix="Check shape.")
    return part.long()


def flat_unit(where: str, unit: Tensor, units: Sequence[int]) -> Tensor:
    """Unit coordinates ``(events, axes)`` to flat units; flat ones are checked and pass."""
    unit = as_tensor(where, "unit", unit)
    if unit.dim() < 2:
        return check_coordinate(where, "unit", unit, math.prod(units))
    if unit.dim() != 2 or unit.shape[1] != len(units):
        expected = f"(events,) or (events, {len(units)})"
        raise InputError(where, got=f"unit of shape {tuple(unit.shape)}", expected=expected)
    flat = torch.zeros(len(unit), dtype=torch.int64, device=unit.device)
    for axis, size in enumerate(units):
        flat = flat * size + check_coordinate(where, f"unit axis {axis}", unit[:, axis], size)
    return flat
