"""Recordings of event cameras: columns of pixels to events, in bounded memory, and back.

The module of a format decodes bytes to a :class:`PixelSource`. What all formats share is here: steps, chunks, recovery
of what precedes a damage, checks of what a file can hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch

from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor, Timing
from neurosparse.events.checks import check_shape
from neurosparse.events.timing import decimal, nanoseconds_to_step, start_of_step, step_nanoseconds
from neurosparse.io._arguments import check_chunk, check_dt, check_size
from neurosparse.kernels.addresses import first_decrease, flatten_pixels, sort_rows

__all__ = [
    "Damage",
    "Note",
    "Pixels",
    "Salvage",
    "PixelSource",
    "backwards",
    "checked_note",
    "columns",
    "in_order",
    "microseconds",
    "open_file",
    "read",
    "refuse_silence",
    "salvage",
    "stream",
    "with_units",
    "words",
]

MICRO = 1e-6
BLOCK = 1 << 20  # bytes that are decoded together


class Pixels(NamedTuple):
    """Columns of events in the order of a file: microseconds (int64), x, y, polarity (on is True)."""

    time: np.ndarray
    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray


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


class PixelSource(NamedTuple):
    """The decoded content of a camera's file.

    Args:
        where: the public function that reads it, for errors.
        name: of the file.
        size: ``(height, width)`` of the sensor, if the file states it.
        note: of our writers, if there is one.
        blocks: pixels in the order of the file.
        epoch: whether times count from 1970; such a recording starts with its first event, others start at 0.
    """

    where: str
    name: str
    size: tuple[int, int] | None
    note: Note | None
    blocks: Iterator[Pixels]
    epoch: bool = False


class Salvage(NamedTuple):
    """The events that could be read, and a sentence on what was lost (None: nothing)."""

    events: EventTensor
    lost: str | None


class Damage(InputError):
    """A damaged place in a file; the events before it are valid and were yielded."""


def open_file(where: str, path: str | PathLike[str]) -> IO[bytes]:
    """Open a recording; a missing file and an empty one are errors."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(where, got=str(path), expected="a recording", fix="Check the path.")
    if path.stat().st_size == 0:
        raise InputError(where, got=f"{path.name}, an empty file", expected="a recording", fix="Fetch it again.")
    return path.open("rb")


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
    yield Pixels(*(column[:fall] for column in pixels))
    before = int(pixels.time[fall - 1]) if fall else last
    raise backwards(where, f"an event at {pixels.time[fall]} us after one at {before} us")


def backwards(where: str, what: str) -> Damage:
    """The damage of times that decrease."""
    fix = "One of the two times is wrong: fetch or export the file again."
    return Damage(where, got=f"{what}: time that runs backwards", expected="events in order", fix=fix)


def stream(
    source: PixelSource, events: int | None, dt: float | None, size: tuple[int, int] | None
) -> Iterator[EventTensor]:
    """Chunks of whole steps with about ``events`` events (None: one chunk); joined along the steps, the recording.

    Damage is raised after the events that precede it were yielded.
    """
    where, shape = source.where, _shape(source, size)
    events = None if events is None else check_chunk(where, events)
    dt = check_dt(where, dt) or (source.note.dt if source.note else MICRO)
    t0 = source.note.t0 if source.note else None if source.epoch else 0.0
    held: list[_Placed] = []
    start, total, damage = 0, 0, None
    try:
        for pixels in source.blocks:
            if len(pixels.time) and t0 is None:
                t0 = int(pixels.time[0]) / 1e6
            placed, damage = _place(where, pixels, shape, dt, t0 or 0.0, total)
            held.append(placed)
            total += len(placed.row)
            while damage is None and events is not None and sum(len(part.row) for part in held) > events:
                whole = _joined(held)
                cut = int(np.searchsorted(whole.row, whole.row[events]))
                if cut == 0:
                    fix = "Take a shorter dt or larger chunks (events=)."
                    got = f"over {events} events in a step"
                    raise InputError(where, got=got, expected="chunks of whole steps", fix=fix)
                stop = int(whole.row[cut])
                yield _events(whole.upto(cut), start, stop, shape, dt, t0 or 0.0)
                start, held = stop, [whole.after(cut)]
            if damage:
                break
    except Damage as found:
        damage = found
    whole = _joined(held)
    stop = int(whole.row[-1]) + 1 if len(whole.row) else start
    if source.note and damage is None:
        end = math.ceil(source.note.steps * decimal(source.note.dt) / decimal(dt))
        if end < stop or total != source.note.events:
            got = f"{total:,} events up to step {stop - 1}"
            expected = f"{source.note.events:,} in {end} steps, as the file states"
            damage = Damage(where, got=got, expected=expected, fix="The file is cut off or damaged.")
        else:
            stop = end
    check_shape(where, (stop, 1, *shape))
    yield _events(whole, start, stop, shape, dt, t0 or 0.0)
    if damage:
        raise damage


def read(source: PixelSource, dt: float | None, size: tuple[int, int] | None, salvage: str) -> EventTensor:
    """The whole recording; the error of a damaged file names ``salvage``, which reads what precedes the damage."""
    events, damage = _whole(source, dt, size)
    if damage is not None:
        fix = f" {events.n_events:,} events precede it: {salvage} reads them."
        raise InputError(f"{damage}{fix}") from damage
    return events


def salvage(source: PixelSource, dt: float | None, size: tuple[int, int] | None) -> Salvage:
    """The events that precede the damage, and a sentence on what was lost."""
    events, damage = _whole(source, dt, size)
    if damage is None:
        return Salvage(events, None)
    return Salvage(events, f"{source.name}: kept {events.n_events:,} events, lost what follows. {damage}")


def _whole(source: PixelSource, dt: float | None, size: tuple[int, int] | None) -> tuple[EventTensor, Damage | None]:
    chunks = stream(source, None, dt, size)
    events = next(chunks)
    try:
        next(chunks, None)
    except Damage as damage:
        return events, damage
    return events, None


def _shape(source: PixelSource, size: tuple[int, int] | None) -> tuple[int, int, int]:
    height, width = check_size(source.where, size) or source.size or (0, 0)
    if height < 1 or width < 1:
        got, fix = f"{source.name} without the size of its sensor", "Pass size=(height, width)."
        raise InputError(source.where, got=got, expected="(height, width)", fix=fix)
    return 2, height, width


class _Placed(NamedTuple):
    """Step, flat unit and nanoseconds within the step (an empty array: 0) of each event."""

    row: np.ndarray
    index: np.ndarray
    offset: np.ndarray

    def upto(self, cut: int) -> _Placed:
        return _Placed(*(part[:cut] for part in self))

    def after(self, cut: int) -> _Placed:
        return _Placed(*(part[cut:] for part in self))


def _joined(held: list[_Placed]) -> _Placed:
    if len(held) == 1:
        return held[0]
    empty = _Placed(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
    return _Placed(*(np.concatenate(parts) for parts in zip(empty, *held, strict=True)))


def _place(
    where: str, pixels: Pixels, shape: tuple[int, ...], dt: float, t0: float, before: int
) -> tuple[_Placed, Damage | None]:
    """Step and unit of each event, up to the first that is outside the sensor or before the start."""
    _, height, width = shape
    index = np.empty(len(pixels.x), np.int32)
    good = flatten_pixels(pixels.x, pixels.y, pixels.polarity, height, width, index)
    damage = None
    if good < len(index):
        got = f"event {before + good:,} at x={pixels.x[good]}, y={pixels.y[good]}"
        damage = Damage(where, got=got, expected=f"x < {width} and y < {height}", fix="Check size=.")
    time = pixels.time[:good]
    first = decimal(t0) * 10**6
    if good and time[0] < first:
        got = f"an event at {time[0]} us"
        return _joined([]), Damage(where, got=got, expected=f"none before the start at {t0} s", fix="Fetch it again.")
    if dt == MICRO and first.denominator == 1:
        return _Placed(time - int(first), index[:good], np.zeros(0, np.int64)), damage
    exact = torch.from_numpy(time * 1000)
    step = nanoseconds_to_step(exact, dt, t0)
    return _Placed(step.numpy(), index[:good], (exact - step_nanoseconds(step, dt, t0)).numpy()), damage


def _events(placed: _Placed, start: int, stop: int, shape: tuple[int, ...], dt: float, t0: float) -> EventTensor:
    """Events of steps ``start`` to ``stop``, sorted within each step (in place where the arrays allow it)."""
    row, index, offset = (np.ascontiguousarray(part) for part in placed)
    repeats = sort_rows(row, index, offset)
    parts = {"row": torch.from_numpy(row - start), "index": torch.from_numpy(index)}
    if repeats or offset.any():
        parts["offset"] = torch.from_numpy(offset if len(offset) else np.zeros_like(row))
    timing = Timing("time", dt, start_of_step(start, dt, t0))
    return EventTensor((stop - start, 1, *shape), timing, torch.float32, binary=True, **parts)


def columns(where: str, events: EventTensor, last: int, side: int) -> tuple[Pixels, Note]:
    """Events as columns of pixels in the order of time, and the note of what camera formats cannot hold.

    ``last``: the last microsecond that the format can hold; ``side``: the most rows or columns it can address.
    """
    if len(events.shape) != 5 or events.shape[2] != 2 or max(events.shape[3:]) > side:
        got = f"shape {events.shape}"
        expected = f"(steps, 1, 2, height, width) of at most {side} x {side} pixels"
        raise InputError(where, got=got, expected=expected, fix="Units are polarity (off, on), y, x.")
    time, unit = microseconds(where, events, last)
    height, width = events.shape[3:]
    x, y = (unit % width).astype(np.uint16), (unit // width % height).astype(np.uint16)
    assert events.dt is not None  # times() would have refused
    return Pixels(time, x, y, unit >= height * width), Note(events.shape[0], events.dt, events.t0, len(time))


def microseconds(where: str, events: EventTensor, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Microsecond and flat unit of each spike, in the order of time; times between microseconds are refused."""
    if events.shape[1] != 1 or not events.binary:
        got = f"{'spikes' if events.binary else 'graded events'} of shape {events.shape}"
        fix = "Take one sample, events.samples(i), and spikes."
        raise InputError(where, got=got, expected="the spikes of one recording", fix=fix)
    nano = events.times().cpu().numpy()
    if np.any(nano % 1000) or (nano.size and not 0 <= nano.min() <= nano.max() <= last * 1000):
        got = f"times between microseconds, before 0 or beyond {last / 1e6:g} s"
        fix = "Round to steps of whole microseconds: .bin(k, on_collision='any')."
        raise InputError(where, got=got, expected=f"whole microseconds up to {last}", fix=fix)
    order = np.argsort(nano, kind="stable")
    return nano[order] // 1000, events.index.cpu().numpy()[order].astype(np.int64)


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
