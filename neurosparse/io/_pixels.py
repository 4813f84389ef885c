"""Recordings of event cameras: columns of pixels, whatever the file, to events in bounded memory, and back.

A format gives a :class:`Source`; everything else (steps, chunks, what precedes a damage, what a file can hold) is here.
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
from neurosparse.events.timing import check_dt, decimal, nanoseconds_to_step, start_of_step, step_nanoseconds
from neurosparse.kernels.addresses import first_fall, flatten_pixels, settle

__all__ = [
    "Damage",
    "Note",
    "Pixels",
    "Salvage",
    "Source",
    "columns",
    "in_order",
    "microseconds",
    "noted",
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
    """What a file of ours says beyond its format: silence at the end, ``dt`` and ``t0`` survive, and a cut shows."""

    steps: int
    dt: float
    t0: float
    events: int

    def __str__(self) -> str:
        return f"steps={self.steps} dt={self.dt!r} t0={self.t0!r} events={self.events}"


def noted(steps: Any, dt: Any, t0: Any, events: Any) -> Note:
    """A note as it was written; ValueError for one that cannot be."""
    note = Note(int(steps), float(dt), float(t0), int(events))
    if not (note.events >= 0 and 0 <= note.steps < 1 << 63 and 1e-9 <= note.dt < 1e9 and abs(note.t0) < 1e10):
        raise ValueError(f"a note that says {note}")
    return note


class Source(NamedTuple):
    """A file as its format tells it: ``(height, width)`` if it says so, a note of ours, blocks of pixels.

    ``epoch``: times count from 1970 and a recording starts with its first event, else it starts at 0.
    """

    where: str
    name: str
    size: tuple[int, int] | None
    note: Note | None
    blocks: Iterator[Pixels]
    epoch: bool = False


class Salvage(NamedTuple):
    """What could be read of a damaged file, and a sentence on what was lost (None: nothing)."""

    events: EventTensor
    lost: str | None


class Damage(InputError):
    """A file that stops making sense: everything before was decoded and given away."""


def open_file(where: str, path: str | PathLike[str]) -> IO[bytes]:
    """Open a recording, or say that there is none or that it is empty."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(where, got=str(path), expected="a recording", fix="Check the path.")
    if path.stat().st_size == 0:
        raise InputError(where, got=f"{path.name}, an empty file", expected="a recording", fix="Fetch it again.")
    return path.open("rb")


def words(where: str, file: IO[bytes], dtype: np.dtype) -> Iterator[np.ndarray]:
    """The rest of a file in blocks of whole words; bytes left over at its end are damage."""
    while data := file.read(BLOCK - BLOCK % dtype.itemsize):
        whole = len(data) - len(data) % dtype.itemsize
        if whole:
            yield np.frombuffer(data[:whole], dtype)
        if whole < len(data):
            got = f"{len(data) - whole} bytes after the last whole word, at byte {file.tell()}"
            raise Damage(where, got=got, expected=f"words of {dtype.itemsize} bytes", fix="The file is cut off.")


def in_order(where: str, pixels: Pixels, last: int) -> Iterator[Pixels]:
    """A block as it is, or up to where time runs backwards."""
    fall = first_fall(pixels.time, last)
    if fall < 0:
        yield pixels
        return
    yield Pixels(*(column[:fall] for column in pixels))
    before = int(pixels.time[fall - 1]) if fall else last
    raise backwards(where, f"an event at {pixels.time[fall]} us after one at {before} us")


def backwards(where: str, what: str) -> Damage:
    fix = "One of the two times is wrong: fetch or export the file again."
    return Damage(where, got=f"{what}: time that runs backwards", expected="events in order", fix=fix)


def stream(source: Source, events: int | None, dt: float | None, size: tuple[int, int] | None) -> Iterator[EventTensor]:
    """Chunks of at least one step and about ``events`` events (None: all); they join to the whole by ``cat(..., 0)``.

    Damage is raised after what precedes it was given.
    """
    where, shape = source.where, _shape(source, size)
    dt = check_dt(where, dt) or (source.note.dt if source.note else MICRO)
    if dt < 1e-9:
        raise InputError(where, got=f"dt={dt}", expected="seconds per step, dt >= 1e-9")
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
                    raise InputError(where, got=f"over {events} events in a step", expected="chunks of steps", fix=fix)
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
            expected = f"{source.note.events:,} in {end} steps, as the file tells"
            damage = Damage(where, got=got, expected=expected, fix="The file is cut off or damaged.")
        else:
            stop = end
    check_shape(where, (stop, 1, *shape))
    yield _events(whole, start, stop, shape, dt, t0 or 0.0)
    if damage:
        raise damage


def read(source: Source, dt: float | None, size: tuple[int, int] | None, salvage: str) -> EventTensor:
    """The whole recording; a damaged one is refused, with the name of what reads the part before the damage."""
    events, damage = _whole(source, dt, size)
    if damage is not None:
        fix = f" {events.n_events:,} events precede it: {salvage} reads them."
        raise InputError(f"{damage}{fix}") from damage
    return events


def salvage(source: Source, dt: float | None, size: tuple[int, int] | None) -> Salvage:
    """What precedes the damage, and what is lost."""
    events, damage = _whole(source, dt, size)
    if damage is None:
        return Salvage(events, None)
    return Salvage(events, f"{source.name}: kept {events.n_events:,} events, lost what follows. {damage}")


def _whole(source: Source, dt: float | None, size: tuple[int, int] | None) -> tuple[EventTensor, Damage | None]:
    chunks = stream(source, None, dt, size)
    events = next(chunks)
    try:
        next(chunks, None)
    except Damage as damage:
        return events, damage
    return events, None


def _shape(source: Source, size: tuple[int, int] | None) -> tuple[int, int, int]:
    height, width = size or source.size or (0, 0)
    if height < 1 or width < 1:
        fix = "Pass size=(height, width)."
        raise InputError(source.where, got=f"no size of the sensor in {source.name}", expected="one", fix=fix)
    return 2, int(height), int(width)


class _Placed(NamedTuple):
    """Step, flat unit and nanoseconds within the step (empty: none) of each event."""

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
    """Where each event falls, up to the first that is nowhere on the sensor or before the start."""
    _, height, width = shape
    index = np.empty(len(pixels.x), np.int32)
    good = flatten_pixels(pixels.x, pixels.y, pixels.polarity, height, width, index)
    damage = None
    if good < len(index):
        got = f"event {before + good:,} at x={pixels.x[good]}, y={pixels.y[good]}"
        damage = Damage(where, got=got, expected=f"x < {width} and y < {height}", fix="Is the size right?")
    time = pixels.time[:good]
    first = decimal(t0) * 10**6
    if good and time[0] < first:
        got = f"an event at {time[0]} us"
        return _joined([]), Damage(where, got=got, expected=f"none before the start, {t0} s", fix="Fetch it again.")
    if dt == MICRO and first.denominator == 1:
        return _Placed(time - int(first), index[:good], np.zeros(0, np.int64)), damage
    exact = torch.from_numpy(time * 1000)
    step = nanoseconds_to_step(exact, dt, t0)
    return _Placed(step.numpy(), index[:good], (exact - step_nanoseconds(step, dt, t0)).numpy()), damage


def _events(placed: _Placed, start: int, stop: int, shape: tuple[int, ...], dt: float, t0: float) -> EventTensor:
    """Events of steps ``start`` to ``stop``, settled within each; the parts are ours and may be changed."""
    row, index, offset = (np.ascontiguousarray(part) for part in placed)
    repeats = settle(row, index, offset)
    parts = {"row": torch.from_numpy(row - start), "index": torch.from_numpy(index)}
    if repeats or offset.any():
        parts["offset"] = torch.from_numpy(offset if len(offset) else np.zeros_like(row))
    timing = Timing("time", dt, start_of_step(start, dt, t0))
    return EventTensor((stop - start, 1, *shape), timing, torch.float32, binary=True, **parts)


def columns(where: str, events: EventTensor, last: int, side: int) -> tuple[Pixels, Note]:
    """Events as a camera would tell them, and a note of what its format cannot say.

    ``last`` is the last microsecond that the format can tell, ``side`` how many rows or columns it can address.
    """
    if len(events.shape) != 5 or events.shape[2] != 2 or max(events.shape[3:]) > side:
        got = f"shape {events.shape}"
        expected = f"(steps, 1, 2, height, width) of at most {side} x {side} pixels"
        raise InputError(where, got=got, expected=expected, fix="The units are polarity (off, on), y, x.")
    time, unit = microseconds(where, events, last)
    height, width = events.shape[3:]
    x, y = (unit % width).astype(np.uint16), (unit // width % height).astype(np.uint16)
    assert events.dt is not None  # times() would have refused
    return Pixels(time, x, y, unit >= height * width), Note(events.shape[0], events.dt, events.t0, len(time))


def microseconds(where: str, events: EventTensor, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Time and flat unit of each spike of one recording, in the order of time; refused between microseconds."""
    if events.shape[1] != 1 or not events.binary:
        got = f"{'spikes' if events.binary else 'graded events'} of shape {events.shape}"
        fix = "Take one sample, events.samples(i), and spikes."
        raise InputError(where, got=got, expected="the spikes of one recording", fix=fix)
    nano = events.times().cpu().numpy()
    if np.any(nano % 1000) or (nano.size and not 0 <= nano.min() <= nano.max() <= last * 1000):
        got = f"times between microseconds, before 0 or beyond {last / 1e6:g} s"
        fix = "Put them on steps of whole microseconds: .bin(k, on_collision='any')."
        raise InputError(where, got=got, expected=f"whole microseconds up to {last}", fix=fix)
    order = np.argsort(nano, kind="stable")
    return nano[order] // 1000, events.index.cpu().numpy()[order].astype(np.int64)


def refuse_silence(where: str, events: EventTensor) -> None:
    """For forms that end with their last event."""
    last = int(events.aer().step.max()) + 1 if events.n_events else 0
    if events.shape[0] > last or not last:
        got = f"{events.shape[0] - last} steps of silence after the last event" if last else "no events"
        fix = f"Give it up by name: .steps(0, {last})." if last else ""
        raise InputError(where, got=got, expected="a recording that ends with an event", fix=fix)


def with_units(events: EventTensor, units: Sequence[int]) -> EventTensor:
    """The same events with their units along other axes, for example pixels in one row; the flat unit stays."""
    if math.prod(units) != events.n_units:
        got = f"units {tuple(units)}"
        raise InputError("io.with_units", got=got, expected=f"axes that hold {events.n_units} units")
    parts = {"row": events.row, "index": events.index, "value": events.value, "offset": events.offset}
    shape = (*events.shape[:2], *units)
    return EventTensor(shape, events.timing, events.dtype, binary=events.binary, **parts)
