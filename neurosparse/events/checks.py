"""What the constructors of the event tensor check, and how they merge events that collide."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.timing import Timing

__all__ = [
    "check_coordinate",
    "check_lengths",
    "check_shape",
    "flat_unit",
    "merge",
    "repeats",
    "silence_padding",
    "valid_rows",
]


def check_shape(where: str, shape: Sequence[int]) -> None:
    """Time first, then samples, then at least one axis of units."""
    if len(shape) < 3 or any(int(size) != size or size < 0 for size in shape):
        fix = "Time comes first; add a step axis with x[None] or a unit axis with x[..., None]."
        raise InputError(where, got=f"shape {tuple(shape)}", expected="(steps, samples, *units)", fix=fix)
    if math.prod(shape[2:]) >= 2**31:
        raise InputError(where, got=f"{math.prod(shape[2:])} units", expected="fewer than 2**31 units")


def check_lengths(where: str, lengths: Tensor | None, shape: Sequence[int]) -> Tensor | None:
    """Steps of each sample that are data."""
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths)
    good = not lengths.is_floating_point() and lengths.shape == (shape[1],)
    if not good or bool(((lengths < 0) | (lengths > shape[0])).any()):
        expected = f"one integer per sample ({shape[1]}), 0 <= length <= {shape[0]} steps"
        raise InputError(where, got=f"lengths={lengths.tolist()}", expected=expected)
    return lengths.long()


def valid_rows(timing: Timing, shape: Sequence[int]) -> Tensor:
    """Mask ``(steps, samples)`` of the rows that are data."""
    device = None if timing.lengths is None else timing.lengths.device
    steps = torch.arange(shape[0], device=device)[:, None]
    if timing.lengths is None:
        return (steps >= 0).expand(shape[0], shape[1])
    return steps < timing.lengths


def silence_padding(dense: Tensor, timing: Timing) -> Tensor:
    """Zero beyond each sample's length."""
    if timing.lengths is None:
        return dense
    inside = valid_rows(timing, dense.shape).view(*dense.shape[:2], *[1] * (dense.dim() - 2))
    return torch.where(inside, dense, torch.zeros_like(dense))


def check_coordinate(where: str, name: str, part: Tensor, size: int) -> None:
    """An integer coordinate within its axis: floats are never floored to find a bin."""
    if part.is_floating_point() or part.is_complex() or part.dtype == torch.bool:
        fix = "Time is an integer step: use EventTensor.from_times for seconds."
        raise InputError(where, got=f"{name} of dtype {part.dtype}", expected="integers", fix=fix)
    if part.numel() and (int(part.min()) < 0 or int(part.max()) >= size):
        span = f"{int(part.min())}..{int(part.max())}"
        raise InputError(where, got=f"{name} in {span}", expected=f"0 <= {name} < {size}", fix="Check shape.")


def flat_unit(where: str, unit: Tensor, units: Sequence[int]) -> Tensor:
    """Unit coordinates ``(events, axes)`` to flat units; flat ones pass."""
    if unit.dim() < 2:
        return unit
    if unit.dim() != 2 or unit.shape[1] != len(units):
        raise InputError(
            where, got=f"unit of shape {tuple(unit.shape)}", expected=f"(events,) or (events, {len(units)})"
        )
    flat = torch.zeros(len(unit), dtype=torch.int64)
    for axis, size in enumerate(units):
        check_coordinate(where, f"unit axis {axis}", unit[:, axis], size)
        flat = flat * size + unit[:, axis]
    return flat


def repeats(row: Tensor, index: Tensor) -> Tensor:
    """Which of the sorted events repeat the one before."""
    return (row[1:] == row[:-1]) & (index[1:] == index[:-1])


def merge(
    where: str, row: Tensor, index: Tensor, value: Tensor | None, n_units: int, on_collision: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Sort events; events of one cell are refused, summed, or become one unit spike."""
    if on_collision not in ("error", "sum", "any"):
        raise InputError(where, got=f"on_collision={on_collision!r}", expected="'error', 'sum' or 'any'")
    if value is not None:
        value = torch.as_tensor(value).flatten()
        keep = value != 0
        row, index, value = row[keep], index[keep], value[keep]
    order = torch.argsort(row * max(n_units, 1) + index, stable=True)
    row, index = row[order], index[order]
    value = None if value is None else value[order]
    again = repeats(row, index)
    if on_collision == "error":
        if bool(again.any()):
            fix = "Ask for on_collision='sum' or 'any'."
            raise InputError(where, got=f"{int(again.sum())} duplicate events", expected="one per cell", fix=fix)
        return row, index, value
    first = torch.cat([again.new_ones(min(1, row.numel())), ~again])
    if on_collision == "any":
        return row[first], index[first], None
    group = first.long().cumsum(0) - 1
    ones = torch.ones(row.numel(), device=row.device) if value is None else value
    total = ones.new_zeros(int(first.sum())).index_add(0, group, ones)
    row, index = row[first], index[first]
    keep = total != 0
    return row[keep], index[keep], total[keep]
