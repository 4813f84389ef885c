"""EVT 2.0 and EVT 3.0: raw recordings of Prophesee's event cameras (``.raw``), decoded by their specification."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from neurosparse.atomic import writing
from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.io import _camera, _pixels, _prophesee
from neurosparse.io._camera import Salvage
from neurosparse.io._pixels import UNTIMED, Note, Pixels, PixelSource
from neurosparse.kernels import evt as kernels

__all__ = ["read", "salvage", "scan", "stream", "write", "write_blocks"]

SIDE, LAST_TIME = 1 << 11, (1 << 34) - 1
WORD = {2: np.dtype("<u4"), 3: np.dtype("<u2")}
PERIOD = 1 << 12  # microseconds between words of the upper part of the time in EVT 3.0
UNREAD = (UNTIMED, "triggers", "words of extensions")


def read(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> EventTensor:
    """One recording, exact to the microsecond, on the camera's clock. External triggers are left out.

    Args:
        path: the file; its header states whether it is EVT 2.0 or 3.0.
        dt: seconds per step; a coarser step keeps microseconds as offsets. Default: 1e-6, or what :func:`write` noted.
        size: ``(height, width)`` of the sensor, where the header does not state it.
        on_error: events off the sensor, or earlier than one before them, are an error (``"raise"``) or left out
            (``"drop"``); with ``"sort"``, events are put in the order of time. A warning states how many.

    Returns:
        Spikes ``(steps, 1, 2, height, width)``: polarity (off, on), y, x; from 0 to the step of the last event, or to
        the end that :func:`write` noted. Events of one microsecond are in the order of their units.

    Raises:
        MissingFileError: no such file.
        InputError: not EVT, no size, another size than the header states, unknown words, time that runs backwards, an
            event outside the sensor, a file that is cut off. :func:`salvage` reads what precedes the damage.

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> step, sample, unit = torch.tensor([3, 20_000_000]), torch.tensor([0, 0]), torch.tensor([5, 0])
        >>> spikes = EventTensor.from_aer(step, sample, unit, shape=(60_000_000, 1, 2, 2, 3), dt=1e-6)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, f"{folder}/a.raw", version=3)
        ...     again = read(f"{folder}/a.raw")
        >>> again.shape, again.times().tolist()
        ((60000000, 1, 2, 2, 3), [3000, 20000000000])

    Source: Prophesee, "EVT 2.0 format" and "EVT 3.0 format", Metavision SDK documentation.
    """
    return _camera.read(scan(path, "io.evt.read", on_error), dt, size)


def stream(
    path: str | PathLike[str],
    events: int = 1 << 20,
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> Iterator[EventTensor]:
    """A recording of any length in chunks of whole steps; ``ns.cat(list(stream(path)), 0)`` is ``read(path)``.

    Args:
        path, dt, size, on_error: as in :func:`read`.
        events: about how many events a chunk holds. Memory depends on it, not on the size of the file (with
            ``on_error="sort"``, on the size of the file).

    Raises: as :func:`read`; damage after the events that precede it were yielded.

    Example: see :func:`read`.
    """
    return _camera.stream(scan(path, "io.evt.stream", on_error), events, dt, size)


def salvage(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> Salvage:
    """The events that precede the damage of a damaged file.

    Args: as in :func:`read`.

    Returns:
        ``(events, lost)``: the events, and a sentence on what was lost (None: nothing).

    Raises: as :func:`read` where nothing can be read (no header, no size).

    Example: see :func:`read`.
    """
    return _camera.salvage(scan(path, "io.evt.salvage", on_error), dt, size)


def scan(path: str | PathLike[str], where: str = "io.evt.scan", on_error: str = "raise") -> PixelSource:
    """The decoded columns of a file in blocks (microseconds, x, y, polarity), and what its header states.

    Args:
        path: the file.
        where: the public function that reads it, for errors.
        on_error: as in :func:`read`; the blocks hold all events, and :func:`read` drops or sorts them.

    Raises: as :func:`read`, while the blocks are read.
    """
    on_error = _pixels.on_error_of(where, on_error)
    with _pixels.open_file(where, path) as file:
        header = _prophesee.read_header(where, file)
        start = file.tell()
    version = _version(where, header)
    size, note = _prophesee.size_of(where, header), _prophesee.note_of(where, header)
    source = PixelSource(where, Path(path).name, size, note, iter(()), on_error=on_error, version=version)
    source.fields = _prophesee.fields(header, ("evt", "format"))
    source.blocks = _blocks(source, path, start, version)
    return source


def _version(where: str, header: dict[str, str]) -> int:
    """2 or 3, by the lines ``evt`` and ``format`` of the header, which must agree."""
    parts = header.get("format", "").split(";")
    stated = {header["evt"].strip()} if "evt" in header else set()
    stated |= {f"{parts[0][3:]}.0"} if parts[0] else set()
    order = [part for part in parts if part.startswith("endianness=") and part != "endianness=little"]
    if stated not in ({"2.0"}, {"3.0"}) or order:
        got = " and ".join(f"% {key} {header[key]}" for key in ("evt", "format") if key in header)
        raise InputError(
            where,
            got=f"a header with {got or 'no format'}",
            expected="% evt 2.0, % evt 3.0 or % format EVT2, EVT3",
            fix="Check that this is an EVT file.",
        )
    return int(float(stated.pop()))


def _blocks(source: PixelSource, path: str | PathLike[str], start: int, version: int) -> Iterator[Pixels]:
    decode, state = (kernels.evt2, kernels.evt2_state()) if version == 2 else (kernels.evt3, kernels.evt3_state())
    dtype, where, strict = WORD[version], source.where, source.on_error == "raise"
    with open(path, "rb") as file:
        file.seek(start)
        for words in _pixels.words(where, file, dtype):
            while len(words):
                block, before = _pixels.empty(), state.copy()
                n, used, wrong = decode(words, state, strict, *block)
                if wrong == kernels.UNORDERED:
                    state, wrong = before, kernels.BACKWARDS
                    n, used = _ordered(decode, words[:used], state, block)
                for name, count in zip(UNREAD, state[1:4].tolist(), strict=True):
                    source.left_out[name] = count
                yield block.where(slice(n))
                if wrong:
                    at = file.tell() - (len(words) - used) * dtype.itemsize
                    raise _damage(where, wrong, int(words[used]), at)
                words = words[used:]


def _ordered(decode: Any, words: np.ndarray, state: np.ndarray, block: Pixels) -> tuple[int, int]:
    """Events and words that precede the first word whose time is before that of an earlier one, found by bisection."""

    def unordered(used: int) -> bool:
        return decode(words[:used], state.copy(), True, *block)[2] == kernels.UNORDERED

    used = bisect_left(range(len(words) + 1), True, key=unordered) - 1
    return decode(words[:used], state, True, *block)[0], used


def _damage(where: str, wrong: int, word: int, at: int) -> _pixels.Damage:
    if wrong == kernels.BACKWARDS:
        return _pixels.backwards(where, f"word {word:#x} about byte {at}")
    expected = "an event, a time, a trigger or an extension"
    return _pixels.Damage(where, got=f"word {word:#x} about byte {at}", expected=expected, fix="Fetch it again.")


def write(events: EventTensor, path: str | PathLike[str], version: int = 2) -> None:
    """Write one recording; all of the file or none of it. A header line keeps what EVT cannot (end, ``dt``, ``t0``).

    Args:
        events: spikes ``(steps, 1, 2, height, width)`` at whole microseconds of the first 4.7 hours.
        path: the file to write.
        version: 2 (words of 32 bits) or 3 (of 16 bits; written without vectors).

    Raises:
        InputError: another shape, graded events, times that are no whole microseconds, negative or too late.

    Example: see :func:`read`.
    """
    where = "io.evt.write"
    columns, note = _pixels.columns(where, events, SIDE)
    write_blocks(iter([columns]), path, (events.shape[3], events.shape[4]), note, version, where)


def write_blocks(
    blocks: Iterator[Pixels],
    path: str | PathLike[str],
    size: tuple[int, int],
    note: Note,
    version: int = 2,
    where: str = "io.evt.write",
) -> None:
    """Write a recording that arrives in blocks, in bounded memory; arguments as for :func:`write`.

    Args:
        blocks: events in the order of time.
        size: ``(height, width)`` of the sensor.
        note: what EVT cannot hold.
    """
    version = one_of(where, "version", whole(where, "version", version), (2, 3))
    _pixels.check_sensor(where, (note.steps, 1, 2, *size), SIDE)
    height, width = size
    about = {"evt": f"{version}.0", "format": f"EVT{version};height={height};width={width}"}
    encode = _Encoder2() if version == 2 else _Encoder3()
    with writing(path, where) as file:
        file.write(_prophesee.header_text({**about, "geometry": f"{width}x{height}"}, note))
        for block in blocks:
            _pixels.fitting(where, block.time, LAST_TIME)
            if len(block.time):
                file.write(encode(*block).tobytes())


class _Encoder2:
    """A word per event, and a word of time before each event whose time has another upper part."""

    high = -1

    def __call__(self, time: np.ndarray, x: np.ndarray, y: np.ndarray, polarity: np.ndarray) -> np.ndarray:
        high = time >> 6
        words = polarity.astype(np.int64) << 28 | (time & 63) << 22 | x.astype(np.int64) << 11 | y
        new = np.flatnonzero(np.diff(high, prepend=self.high))
        self.high = int(high[-1])
        return np.insert(words, new, 8 << 28 | high[new]).astype(WORD[2])


class _Encoder3:
    """Words of the lower time and y where they change, then x, per event; words of every upper time from 0 on."""

    time, row, high = -1, -1, 0

    def __call__(self, time: np.ndarray, x: np.ndarray, y: np.ndarray, polarity: np.ndarray) -> np.ndarray:
        row = y.astype(np.int64)
        words = np.stack([6 << 12 | time & 4095, row, 2 << 12 | polarity.astype(np.int64) << 11 | x], 1)
        changed = np.stack([np.diff(time, prepend=self.time) != 0, np.diff(row, prepend=self.row) != 0, x >= 0], 1)
        # Without gaps, because readers count the laps of 16.8 s.
        highs = np.arange(self.high, time[-1] // PERIOD + 1)
        ends = changed.sum(1).cumsum()
        first = np.searchsorted(time, highs * PERIOD)
        before = np.where(first > 0, ends[first - 1], 0)
        self.time, self.row, self.high = int(time[-1]), int(row[-1]), int(time[-1] // PERIOD) + 1
        return np.insert(words[changed], before, 8 << 12 | highs & 4095).astype(WORD[3])
