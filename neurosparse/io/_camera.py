"""Recordings of event cameras as event tensors: steps, chunks, facts, and the part that precedes a damage."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Timing
from neurosparse.events.checks import check_shape
from neurosparse.events.timing import decimal, nanoseconds_to_step, start_of_step, step_nanoseconds
from neurosparse.io._arguments import check_chunk, check_dt
from neurosparse.io._pixels import UNTIMED, Damage, Note, Pixels, PixelSource, checked, sensor
from neurosparse.kernels.addresses import flatten_pixels, sort_rows

__all__ = [
    "MICRO",
    "Facts",
    "Piece",
    "Placed",
    "Salvage",
    "facts",
    "known_size",
    "lost_by",
    "mended",
    "pieces",
    "read",
    "salvage",
    "stream",
    "sums",
    "unreadable",
]

MICRO = 1e-6


class Salvage(NamedTuple):
    """The events that could be read, and a sentence on what was lost (None: nothing)."""

    events: EventTensor
    lost: str | None


class Placed(NamedTuple):
    """Step, flat unit and nanoseconds within the step (an empty array: 0) of each event."""

    row: np.ndarray
    index: np.ndarray
    offset: np.ndarray

    def where(self, which: Any) -> Placed:
        """The events of a slice or a mask."""
        return Placed(self.row[which], self.index[which], self.offset[which] if len(self.offset) else self.offset)


class Piece(NamedTuple):
    """The events of the steps from ``start`` up to ``stop``; their rows count from the start of the recording."""

    placed: Placed
    start: int
    stop: int
    shape: tuple[int, int, int]
    dt: float
    t0: float

    def nanoseconds(self) -> np.ndarray:
        """Time of each event."""
        start = step_nanoseconds(torch.from_numpy(self.placed.row), self.dt, self.t0).numpy()
        return start + self.placed.offset if len(self.placed.offset) else start

    def events(self) -> EventTensor:
        """Sorted within each step (in place where the arrays allow it)."""
        row, index, offset = (np.ascontiguousarray(part) for part in self.placed)
        repeats = sort_rows(row, index, offset)
        if self.start:
            row = row - self.start
        parts = {"row": torch.from_numpy(row), "index": torch.from_numpy(index)}
        if repeats or offset.any():
            parts["offset"] = torch.from_numpy(offset if len(offset) else np.zeros_like(row))
        shape = check_shape("io.read", (self.stop - self.start, 1, *self.shape))
        timing = Timing("time", self.dt, start_of_step(self.start, self.dt, self.t0))
        return EventTensor(shape, timing, torch.float32, binary=True, **parts)


class _Held:
    """Placed events of a growing number of blocks; the memory of each column is extended, not copied."""

    def __init__(self) -> None:
        self.parts = [np.empty(0, kind) for kind in (np.int64, np.int32, np.int64)]
        self.size, self.offsets = 0, False

    def add(self, placed: Placed) -> None:
        size = self.size + len(placed.row)
        if len(placed.offset) and not self.offsets:
            self.offsets = True
            self.parts[2] = np.zeros(len(self.parts[0]), np.int64)
        for number, column in enumerate(placed):
            part = self.parts[number]
            if number == 2 and not self.offsets:
                continue
            if size > len(part):
                part.resize(max(size, len(part) * 9 // 8), refcheck=False)
            part[self.size : size] = column if len(column) else 0
        self.size = size

    def upto(self, size: int) -> Placed:
        """The first events."""
        row, index, offset = self.parts
        return Placed(row[:size], index[:size], offset[:size] if self.offsets else offset[:0])

    def after(self, size: int) -> _Held:
        """The rest."""
        rest = _Held()
        rest.add(self.upto(self.size).where(slice(size, None)))
        return rest


def known_size(source: PixelSource, size: tuple[int, int] | None) -> tuple[int, int]:
    """``(height, width)`` of the sensor; an error where neither the file nor the argument states it."""
    found = sensor(source, size)
    if found is None:
        got, fix = f"{source.name} without the size of its sensor", "Pass size=(height, width)."
        raise InputError(source.where, got=got, expected="a known size", fix=fix)
    return found


def pieces(
    source: PixelSource,
    events: int | None,
    dt: float | None,
    size: tuple[int, int] | None,
    large_steps: bool = False,
) -> Iterator[Piece]:
    """A recording in pieces of whole steps with about ``events`` events (None: one piece).

    A step with more events is an error, or, with ``large_steps``, a piece of its own. Damage is raised after the
    events that precede it were yielded.
    """
    where, found = source.where, known_size(source, size)
    shape, note = (2, *found), source.note
    events = None if events is None else check_chunk(where, events)
    dt = check_dt(where, dt) or (note.dt if note else MICRO)
    t0 = note.t0 if note else None if source.epoch else 0.0
    held, start, damage = _Held(), 0, None
    try:
        for pixels in checked(source, found):
            if not len(pixels.time):
                continue
            t0 = int(pixels.time[0]) / 1e6 if t0 is None else t0
            held.add(_place(pixels, shape, dt, t0))
            while events is not None and held.size > events:
                row = held.parts[0][: held.size]
                cut = int(np.searchsorted(row, row[events]))
                if cut == 0 and large_steps:
                    cut = int(np.searchsorted(row, row[0], "right"))
                    if cut == held.size:
                        break
                if cut == 0:
                    fix = "Take a shorter dt or larger chunks (events=)."
                    raise InputError(
                        where, got=f"over {events} events in a step", expected="chunks of whole steps", fix=fix
                    )
                stop = int(row[cut])
                rest = held.after(cut)
                yield Piece(held.upto(cut), start, stop, shape, dt, t0)
                start, held = stop, rest
    except Damage as reason:
        damage = reason
    stop = int(held.parts[0][held.size - 1]) + 1 if held.size else start
    if note and damage is None:
        stop = max(stop, _steps(note, dt))
    yield Piece(held.upto(held.size), start, stop, shape, dt, t0 or 0.0)
    if damage:
        raise damage


def _steps(note: Note, dt: float) -> int:
    return math.ceil(note.steps * decimal(note.dt) / decimal(dt))


def _place(pixels: Pixels, shape: tuple[int, ...], dt: float, t0: float) -> Placed:
    """Step and unit of each event."""
    index = np.empty(len(pixels.x), np.int32)
    flatten_pixels(pixels.x, pixels.y, pixels.polarity, shape[1], shape[2], index)
    first = decimal(t0) * 10**6
    if dt == MICRO and first.denominator == 1:
        return Placed(pixels.time - int(first), index, np.zeros(0, np.int64))
    exact = torch.from_numpy(pixels.time * 1000)
    step = nanoseconds_to_step(exact, dt, t0)
    return Placed(step.numpy(), index, (exact - step_nanoseconds(step, dt, t0)).numpy())


def stream(
    source: PixelSource, events: int | None, dt: float | None, size: tuple[int, int] | None
) -> Iterator[EventTensor]:
    """Chunks of whole steps with about ``events`` events; joined along the steps, they are the recording."""
    for piece in pieces(source, events, dt, size):
        yield piece.events()
    _warn(source)


def mended(names: Iterable[str]) -> str:
    """Which of the losses of a file are events that ``on_error`` left out or sorted."""
    return "; ".join(name for name in names if ", dropped: " in name or ", sorted: " in name)


def _warn(source: PixelSource) -> None:
    """Warn of events that were left out because of what they are, or sorted."""
    found = [done] if (done := mended(source.losses())) else []
    if untimed := source.left_out[UNTIMED]:
        found.append(f"{untimed} events come before the first word of time. Their times are unknown; left out")
    if found:
        warnings.warn(f"{source.where}: {source.name}: {'; '.join(found)}.", stacklevel=4)


def read(source: PixelSource, dt: float | None, size: tuple[int, int] | None, quiet: bool = False) -> EventTensor:
    """The whole recording; the error of a damaged file names ``salvage``, which reads what precedes the damage.

    A warning states what ``on_error`` left out or sorted, unless ``quiet``.
    """
    events, damage = _whole(source, dt, size)
    if damage is not None:
        raise unreadable(source, damage, events.n_events) from damage
    if not quiet:
        _warn(source)
    return events


def unreadable(source: PixelSource, damage: Damage, events: int) -> InputError:
    """The error of a damaged file."""
    module = source.where.rsplit(".", 1)[0]
    return InputError(f"{damage} {events:,} events precede it: {module}.salvage reads them.")


def salvage(source: PixelSource, dt: float | None, size: tuple[int, int] | None) -> Salvage:
    """The events that precede the damage, and a sentence on what was lost."""
    events, damage = _whole(source, dt, size)
    lost = [] if damage is None else [lost_by(source, damage, events.n_events)]
    lost += [done] if (done := mended(source.losses())) else []
    return Salvage(events, "; ".join(lost) or None)


def lost_by(source: PixelSource, damage: Damage, events: int) -> str:
    """What a damage costs."""
    return f"{source.name}: kept {events:,} events, lost what follows. {damage}"


def _whole(source: PixelSource, dt: float | None, size: tuple[int, int] | None) -> tuple[EventTensor, Damage | None]:
    found = pieces(source, None, dt, size)
    events = next(found).events()
    try:
        next(found, None)
    except Damage as damage:
        return events, damage
    return events, None


class Facts(NamedTuple):
    """What one pass over a recording finds: number of events, first and last microsecond (None: no event), steps,
    seconds per step, start, and the sums that identify the events whatever their order within a microsecond."""

    events: int
    first: int | None
    last: int | None
    steps: int
    dt: float
    t0: float
    size: tuple[int, int] | None
    sums: tuple[int, ...]


def facts(source: PixelSource, dt: float | None, size: tuple[int, int] | None) -> tuple[Facts, Damage | None]:
    """Facts of a recording in bounded memory, by the same checks as :func:`read`; and the damage that ends it."""
    found, note, damage = sensor(source, size), source.note, None
    dt = check_dt(source.where, dt) or (note.dt if note else MICRO)
    events, first, last, found_sums = 0, None, None, np.zeros(4, np.int64)
    try:
        for block in checked(source, found):
            if len(block.time):
                first, last = int(block.time[0]) if first is None else first, int(block.time[-1])
                events += len(block.time)
                found_sums += sums(block)
    except Damage as reason:
        damage = reason
    t0 = note.t0 if note else 0.0 if first is None or not source.epoch else first / 1e6
    steps = 0 if last is None else int(nanoseconds_to_step(torch.tensor([last * 1000]), dt, t0)[0]) + 1
    if note and damage is None:
        steps = max(steps, _steps(note, dt))
    check_shape(source.where, (steps, 1, 2, *(found or (1, 1))))
    return Facts(events, first, last, steps, dt, t0, found, tuple(found_sums.tolist())), damage


def sums(block: Pixels) -> np.ndarray:
    """Sums that differ where events differ, in whatever order they are within a microsecond."""
    time, x, y, polarity = (column.astype(np.int64) for column in block)
    pixel = (polarity << 32 | y << 16 | x) + 1
    return np.array([column.sum() for column in (time, pixel, time * pixel, time * (pixel % 65537) % 1000003)])
