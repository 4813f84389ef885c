"""Columns of pixels of event cameras: what a file holds, checks of order and sensor, and the way back into a file.

The module of a format decodes bytes to a :class:`PixelSource`. :func:`checked` is the one place where order, sensor and
the number of events are checked, for every format and for every function that reads; ``_camera`` turns its blocks into
event tensors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch

from neurosparse.checks import one_of
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.events.timing import NANO, decimal, step_nanoseconds
from neurosparse.io._arguments import check_size
from neurosparse.kernels.addresses import first_decrease

__all__ = [
    "BLOCK",
    "EARLY",
    "EVENTS",
    "OFF",
    "UNTIMED",
    "Damage",
    "Note",
    "Pixels",
    "PixelSource",
    "as_pixels",
    "backwards",
    "check_sensor",
    "checked",
    "checked_note",
    "columns",
    "empty",
    "fitting",
    "in_order",
    "microseconds",
    "on_error_of",
    "open_file",
    "refuse_silence",
    "sensor",
    "whole_microseconds",
    "with_units",
    "words",
]

BLOCK = 1 << 20  # bytes that are decoded together
EVENTS = BLOCK // 4  # of a block
ON_ERROR = ("raise", "drop", "sort")
UNTIMED = "events before the first time"
OFF, EARLY = "events off the sensor", "events earlier than one before them"


class Pixels(NamedTuple):
    """Columns of events in the order of a file: microseconds (int64), x, y, polarity (on is True)."""

    time: np.ndarray
    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray

    def where(self, which: Any) -> Pixels:
        """The events of a slice or a mask."""
        return Pixels(*(column[which] for column in self))


class Note(NamedTuple):
    """What our writers add to a camera's format: ``dt``, ``t0``, steps (silence at the end), and the number of events.

    Readers of others skip it. A file that was cut off holds fewer events than its note states.
    """

    steps: int
    dt: float
    t0: float
    events: int

    def __str__(self) -> str:
        return f"steps={self.steps} dt={self.dt!r} t0={self.t0!r} events={self.events}"


def checked_note(steps: Any, dt: Any, t0: Any, events: Any) -> Note:
    """The note of a file, from text or numbers; ValueError where its values are impossible."""
    note = Note(int(steps), float(dt), float(t0), int(events))
    if not (note.events >= 0 and 0 <= note.steps < 1 << 63 and 1e-9 <= note.dt < 1e9 and abs(note.t0) < 1e10):
        raise ValueError(f"impossible values {note}")
    return note


@dataclass
class PixelSource:
    """The decoded content of a camera's file.

    Args:
        where: the public function that reads it, for errors.
        name: of the file.
        size: ``(height, width)`` of the sensor, if the file states it.
        note: of our writers, if there is one.
        blocks: pixels in the order of the file.
        epoch: whether times count from 1970; such a recording starts with its first event, others start at 0.
        on_error: what becomes of events off the sensor or out of order: ``"raise"``, ``"drop"`` or ``"sort"``.
        usual_size: ``(height, width)`` of the usual sensor of the format, where no file states one.
        version: of the format, where it has several.
        fields: names of header fields that events have no place for.
        left_out: how many of what else the file holds, by name; counted while the blocks are read.
    """

    where: str
    name: str
    size: tuple[int, int] | None
    note: Note | None
    blocks: Iterator[Pixels]
    epoch: bool = False
    on_error: str = "raise"
    usual_size: tuple[int, int] | None = None
    version: int | None = None
    fields: tuple[str, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)

    def losses(self) -> list[str]:
        """What the file holds and its events do not, once the blocks were read."""
        found = [f"header fields: {', '.join(self.fields)}"] if self.fields else []
        return found + [f"{name}: {number:,}" for name, number in self.left_out.items() if number]


class Damage(InputError):
    """A damaged place in a file; the events before it are valid and were yielded."""


def on_error_of(where: str, on_error: Any) -> str:
    """What becomes of single events that are off the sensor or out of order."""
    return one_of(where, "on_error", on_error, ON_ERROR)


def open_file(where: str, path: str | PathLike[str]) -> IO[bytes]:
    """Open a recording; a missing file and an empty one are errors."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(where, got=str(path), expected="a recording", fix="Check the path.")
    if path.stat().st_size == 0:
        raise InputError(where, got=f"{path.name}, an empty file", expected="a recording", fix="Fetch it again.")
    return path.open("rb")


def empty(size: int = EVENTS) -> Pixels:
    """Columns to decode into. They are small, so that malloc reuses memory that is in cache."""
    return Pixels(*(np.empty(size, kind) for kind in (np.int64, np.uint16, np.uint16, np.bool_)))


def words(where: str, file: IO[bytes], dtype: np.dtype) -> Iterator[np.ndarray]:
    """The rest of a file in blocks of whole words (or records); fewer bytes than a word at its end are damage."""
    while data := file.read(BLOCK - BLOCK % dtype.itemsize):
        whole = len(data) - len(data) % dtype.itemsize
        if whole:
            yield np.frombuffer(data[:whole], dtype)
        if whole < len(data):
            got = f"{len(data) - whole} bytes after the last whole word, at byte {file.tell()}"
            raise Damage(where, got=got, expected=f"words of {dtype.itemsize} bytes", fix="The file is cut off.")


def in_order(where: str, pixels: Pixels, last: int) -> Iterator[Pixels]:
    """A block, cut before the first event that is earlier than the one before it; the cut is damage."""
    fall = first_decrease(pixels.time, last)
    if fall < 0:
        yield pixels
        return
    yield pixels.where(slice(fall))
    before = int(pixels.time[fall - 1]) if fall else last
    raise backwards(where, f"an event at {pixels.time[fall]} us after one at {before} us")


def backwards(where: str, what: str) -> Damage:
    """The damage of times that decrease."""
    fix = "One of the two times is wrong: fetch the file again, or pass on_error='drop' or on_error='sort'."
    return Damage(where, got=f"{what}: time that runs backwards", expected="events in order", fix=fix)


def sensor(source: PixelSource, size: Any) -> tuple[int, int] | None:
    """``(height, width)``: what the file states, else the argument, else the usual size; a contradiction raises."""
    size = check_size(source.where, size)
    if size and source.size and size != source.size:
        got, fix = f"size={size} for {source.name}", "Omit it."
        raise InputError(source.where, got=got, expected=f"size={source.size}, as the file states", fix=fix)
    return source.size or size or source.usual_size


def checked(source: PixelSource, size: tuple[int, int] | None) -> Iterator[Pixels]:
    """Blocks of events in order, on the sensor (where its size is known) and as many as the file states.

    Damage is raised after the events that precede it were yielded.
    """
    total, last, start = 0, None, decimal(source.note.t0) * 10**6 if source.note else None
    for block in _ordered(source, _on_sensor(source, size)):
        good, damage = block, None
        if start is not None and len(block.time) and int(block.time[0]) < start:
            good, got = block.where(slice(0)), f"an event at {block.time[0]} us"
            expected = f"none before the start at {float(start) / 1e6} s, as the file states"
            damage = Damage(source.where, got=got, expected=expected, fix="Fetch it again.")
        total += len(good.time)
        last = int(good.time[-1]) if len(good.time) else last
        yield good
        if damage:
            raise damage
    if source.note:
        _check_end(source, source.note, total, last)


def _check_end(source: PixelSource, note: Note, total: int, last: int | None) -> None:
    dropped = sum(source.left_out[f"{what}, dropped"] for what in (OFF, EARLY))
    end = int(step_nanoseconds(torch.tensor([note.steps]), note.dt, note.t0)[0])
    if total + dropped != note.events or (last is not None and last * 1000 >= end):
        got = f"{total:,} events up to {0 if last is None else last} us"
        expected = f"{note.events:,} before {end / NANO} s, as the file states"
        raise Damage(source.where, got=got, expected=expected, fix="The file is cut off or damaged.")


def _on_sensor(source: PixelSource, size: tuple[int, int] | None) -> Iterator[Pixels]:
    read = 0
    for block in source.blocks:
        off = None if size is None else (block.x >= size[1]) | (block.y >= size[0])
        if size is None or off is None or not off.any():
            yield block
        elif source.on_error == "drop":
            source.left_out[f"{OFF}, dropped"] += int(off.sum())
            yield block.where(~off)
        else:
            n = int(off.argmax())
            yield block.where(slice(n))
            got = f"event {read + n:,} at x={block.x[n]}, y={block.y[n]}"
            fix = "Check size=, or pass on_error='drop'."
            raise Damage(source.where, got=got, expected=f"x < {size[1]} and y < {size[0]}", fix=fix)
        read += len(block.time)


def _ordered(source: PixelSource, blocks: Iterator[Pixels]) -> Iterator[Pixels]:
    """Blocks without events that are earlier than one before them: left out, or sorted, which takes all in memory."""
    if source.on_error == "raise":
        yield from blocks  # checked where they are decoded
        return
    latest, held, damage = 0, [], None
    try:
        for block in blocks:
            if not len(block.time):
                continue
            limit = np.maximum.accumulate(np.maximum(block.time, latest))
            early, latest = block.time < limit, int(limit[-1])
            if early.any():
                done = "dropped" if source.on_error == "drop" else "sorted"
                source.left_out[f"{EARLY}, {done}"] += int(early.sum())
            if source.on_error == "drop":
                yield block.where(~early)
            else:
                held.append(block)
    except Damage as found:
        damage = found
    if held:
        whole = Pixels(*(np.concatenate(column) for column in zip(*held, strict=True)))
        whole = whole.where(np.argsort(whole.time, kind="stable"))
        yield from (whole.where(slice(at, at + EVENTS)) for at in range(0, len(whole.time), EVENTS))
    if damage:
        raise damage


def columns(where: str, events: EventTensor, side: int) -> tuple[Pixels, Note]:
    """Events as columns of pixels in the order of time, and the note of what camera formats cannot hold.

    ``side``: the most rows or columns that the format can address.
    """
    check_sensor(where, events.shape, side)
    time, unit = microseconds(where, events)
    assert events.dt is not None  # times() would have refused
    return as_pixels(time, unit, events.shape), Note(events.shape[0], events.dt, events.t0, len(time))


def as_pixels(time: np.ndarray, unit: np.ndarray, shape: Sequence[int]) -> Pixels:
    """Columns of flat units ``(polarity height + y) width + x``."""
    height, width = shape[-2:]
    x, y = (unit % width).astype(np.uint16), (unit // width % height).astype(np.uint16)
    return Pixels(time, x, y, unit >= height * width)


def check_sensor(where: str, shape: Sequence[int], side: int) -> None:
    """The shape of events that a camera's format can address."""
    if len(shape) != 5 or shape[2] != 2 or not 1 <= min(shape[3:]) <= max(shape[3:]) <= side:
        expected = f"(steps, 1, 2, height, width) of at most {side} x {side} pixels"
        raise InputError(
            where, got=f"shape {tuple(shape)}", expected=expected, fix="Units are polarity (off, on), y, x."
        )


def microseconds(where: str, events: EventTensor, last: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Microsecond and flat unit of each spike, in the order of time; times between microseconds are refused."""
    if events.shape[1] != 1 or not events.binary:
        got = f"{'spikes' if events.binary else 'graded events'} of shape {events.shape}"
        fix = "Take one sample, events.samples(i), and spikes."
        raise InputError(where, got=got, expected="the spikes of one recording", fix=fix)
    nano = events.times().cpu().numpy()
    time = whole_microseconds(where, nano)
    order = np.argsort(time, kind="stable")
    time = time[order]
    if last is not None:
        fitting(where, time, last)
    return time, events.index.cpu().numpy()[order].astype(np.int64)


def whole_microseconds(where: str, nano: np.ndarray) -> np.ndarray:
    """Nanoseconds as microseconds; a rest is refused."""
    if np.any(nano % 1000):
        between = int(nano[np.argmax(nano % 1000 > 0)])
        fix = "Round to steps of whole microseconds: dt=1e-6 and on_collision='any', or .bin(k, on_collision='any')."
        raise InputError(where, got=f"a time of {between} ns", expected="times of whole microseconds", fix=fix)
    return nano // 1000


def fitting(where: str, time: np.ndarray, last: int) -> None:
    """Refuse times, which are in order, before 0 or beyond the last microsecond of a format."""
    if not len(time) or 0 <= time[0] <= time[-1] <= last:
        return
    got = f"times from {time[0] / 1e6:.6f} to {time[-1] / 1e6:.6f} s"
    fix = "Write a part of it: .steps(start, stop)."
    if time[-1] - time[0] <= last:
        fix = "Count times from the start of the recording: rebase=True, or io.files.rebase(events)."
    raise InputError(where, got=got, expected=f"times from 0 to {last / 1e6:.6f} s", fix=fix)


def refuse_silence(where: str, events: EventTensor) -> None:
    """For formats that end with their last event."""
    last = int(events.aer().step.max()) + 1 if events.n_events else 0
    if events.shape[0] > last or not last:
        got = f"{events.shape[0] - last} steps of silence after the last event" if last else "no events"
        fix = f"Give it up: .steps(0, {last})." if last else ""
        raise InputError(where, got=got, expected="a recording that ends with an event", fix=fix)


def with_units(events: EventTensor, units: Sequence[int]) -> EventTensor:
    """The same events with units of another shape, for example pixels in one row; flat indices stay."""
    if math.prod(units) != events.n_units:
        got = f"units {tuple(units)}"
        raise InputError("io.with_units", got=got, expected=f"a shape of {events.n_units} units")
    parts = {"row": events.row, "index": events.index, "value": events.value, "offset": events.offset}
    shape = (*events.shape[:2], *units)
    return EventTensor(shape, events.timing, events.dtype, binary=events.binary, **parts)
