"""N-MNIST recordings: 40 bits an event (``.bin``, ``.bs2``), a sensor of 34 x 34 pixels with two polarities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neurosparse.atomic import write_atomically
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.io import _pixels
from neurosparse.io._pixels import Pixels, Salvage, Source

__all__ = ["read", "read_folder", "salvage", "scan", "stream", "write"]

SIDE, POLARITIES = 34, 2
OVERFLOW_ROW, OVERFLOW_STEP = 240, 1 << 13  # an event in this row moves the clock on by 8192 microseconds
LAST_TIME = (1 << 23) - 1
RECORD = np.dtype([("bytes", "u1", 5)])


def read(path: str | PathLike[str], dt: float = 1e-3) -> EventTensor:
    """One recording, exact to the microsecond: integer steps plus offsets.

    An event is five bytes: x, y, then one bit of polarity and 23 bits of microseconds.

    Args:
        path: the file.
        dt: seconds per step.

    Returns:
        Spikes ``(steps, 1, 2, 34, 34)``: polarity (off, on), y, x; up to the step of the last event.

    Raises:
        MissingFileError: no such file.
        InputError: an empty or cut-off file, an event outside the sensor, time that runs backwards.
            :func:`salvage` reads what precedes the damage.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "one.bin")
        ...     _ = file.write_bytes(bytes([7, 15, 128, 2, 142]))  # x, y, on, 654 microseconds
        ...     read(file).times().tolist()
        [654000]

    Source: Orchard et al. 2015, "Converting static image datasets to spiking neuromorphic datasets using saccades".
    """
    return _pixels.read(scan(path, "io.nmnist.read"), dt, None, "io.nmnist.salvage")


def stream(path: str | PathLike[str], events: int = 1 << 20, dt: float = 1e-3) -> Iterator[EventTensor]:
    """A recording of any length in chunks of about ``events`` events, as :func:`neurosparse.io.evt.stream`."""
    return _pixels.stream(scan(path, "io.nmnist.stream"), events, dt, None)


def salvage(path: str | PathLike[str], dt: float = 1e-3) -> Salvage:
    """What precedes the damage of a damaged file, as :func:`neurosparse.io.evt.salvage`."""
    return _pixels.salvage(scan(path, "io.nmnist.salvage"), dt, None)


def scan(path: str | PathLike[str], where: str = "io.nmnist.scan") -> Source:
    """The events of a file in blocks of columns, as :func:`neurosparse.io.evt.scan`."""
    _pixels.open_file(where, path).close()
    return Source(where, Path(path).name, (SIDE, SIDE), None, _blocks(where, path))


def _blocks(where: str, path: str | PathLike[str]) -> Iterator[Pixels]:
    last = overflows = 0
    with open(path, "rb") as file:
        for records in _pixels.words(where, file, RECORD):
            x, y, high, middle, low = records["bytes"].T.astype(np.int64)
            moves = y == OVERFLOW_ROW
            laps = overflows + np.cumsum(moves)
            time = (high & 127) << 16 | middle << 8 | low
            columns = time + laps * OVERFLOW_STEP, x.astype(np.uint16), y.astype(np.uint16), high > 127
            block = Pixels(*(column[~moves] for column in columns))
            yield from _pixels.in_order(where, block, last)
            last, overflows = int(block.time[-1]) if len(block.time) else last, int(laps[-1])


def write(events: EventTensor, path: str | PathLike[str]) -> None:
    """Write one recording, whole or not at all.

    Args:
        events: spikes ``(steps, 1, 2, 34, 34)``.
        path: where to.

    Raises:
        InputError: another shape, graded events, times that are no whole microseconds or beyond 8.4 seconds, silence
            after the last event: the format cannot hold it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> one = torch.tensor([0])
        >>> events = EventTensor.from_aer(one + 3, one, one + 5, shape=(4, 1, 2, 34, 34), dt=1e-3)
        >>> with TemporaryDirectory() as folder:
        ...     write(events, Path(folder, "one.bin"))
        ...     read(Path(folder, "one.bin")).aer().step.tolist()
        [3]
    """
    where = "io.nmnist.write"
    if events.shape[3:] != (SIDE, SIDE):
        fix = "Write other sensors by io.evt, io.dat or io.aedat."
        raise InputError(where, got=f"shape {events.shape}", expected=f"(steps, 1, 2, {SIDE}, {SIDE})", fix=fix)
    _pixels.refuse_silence(where, events)
    (time, x, y, polarity), _ = _pixels.columns(where, events, LAST_TIME, SIDE)
    rows = np.stack([x, y, polarity.astype(np.int64) << 7 | time >> 16, time >> 8 & 255, time & 255], 1)
    write_atomically(Path(path), rows.astype(np.uint8).tobytes())


def read_folder(
    folder: str | PathLike[str], dt: float = 1e-3, names: Sequence[str] | None = None, on_collision: str = "sum"
) -> tuple[EventTensor, Tensor]:
    """A folder of recordings with a ``labels.txt`` (a line each: name without suffix, class) as one batch.

    Args:
        folder: with ``NAME.bin`` or ``NAME.bs2`` and the labels.
        dt: seconds per step.
        names: which recordings, in this order; all of ``labels.txt`` by default.
        on_collision: events of a pixel within a step are added (``"sum"``), one spike (``"any"``) or refused.

    Returns:
        events ``(steps, samples, 2, 34, 34)`` with ``lengths``, and labels ``(samples)``.

    Raises:
        MissingFileError: no labels, or a recording that is not there.
        InputError: a line of labels that is none, and what :func:`read` raises.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "1.bin").write_bytes(bytes([7, 15, 128, 2, 142]))
        ...     _ = Path(folder, "labels.txt").write_text("#sample #class\\n1 5\\n")
        ...     events, labels = read_folder(folder)
        >>> events.shape, labels.tolist()
        ((1, 1, 2, 34, 34), [5])
    """
    folder = Path(folder)
    labels = _labels(folder / "labels.txt")
    names = list(labels) if names is None else list(names)
    microseconds = round(dt * 1e6)
    if microseconds < 1:
        raise InputError("io.nmnist.read_folder", got=f"dt={dt:g}", expected="1e-6 or more", fix="Pass dt=1e-3.")
    recordings = [_columns(_recording(folder, name)) for name in names]
    counts = torch.tensor([len(unit) for _, unit in recordings])
    sample = torch.arange(len(names)).repeat_interleave(counts)
    step = torch.from_numpy(np.concatenate([time for time, _ in recordings]) // microseconds)
    lengths = torch.tensor([int(time[-1]) // microseconds + 1 if len(time) else 0 for time, _ in recordings])
    shape = (int(lengths.max()), len(names), POLARITIES, SIDE, SIDE)
    unit = torch.from_numpy(np.concatenate([unit for _, unit in recordings]))
    options = {"dt": dt, "lengths": lengths, "on_collision": on_collision}
    events = EventTensor.from_aer(step, sample, unit, shape=shape, **options)
    return events, torch.tensor([labels[name] for name in names])


def _columns(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds and flat unit of every event."""
    events = _pixels.read(scan(path, "io.nmnist.read_folder"), 1e-6, None, "io.nmnist.salvage")
    return events.times().numpy() // 1000, events.index.numpy().astype(np.int64)


def _labels(path: Path) -> dict[str, int]:
    if not path.is_file():
        fix = "Put the recordings and their labels there."
        raise MissingFileError("io.nmnist.read_folder", got=str(path), expected="labels", fix=fix)
    table: dict[str, int] = {}
    for line in path.read_text("utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not words[1].isdecimal():
            raise InputError("io.nmnist.read_folder", got=f"line {line!r}", expected="a name and a class")
        table[words[0]] = int(words[1])
    return table


def _recording(folder: Path, name: str) -> Path:
    return next((path for path in (folder / f"{name}.bin", folder / f"{name}.bs2") if path.is_file()), folder / name)
