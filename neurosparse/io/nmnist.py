"""N-MNIST recordings: 40 bits an event (``.bin``, ``.bs2``), a sensor of 34 x 34 pixels with two polarities."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.events.storage import write_atomically

__all__ = ["read", "read_folder", "write"]

SIDE, POLARITIES = 34, 2
OVERFLOW_ROW, OVERFLOW_STEP = 240, 1 << 13  # an event in this row moves the clock on by 8192 microseconds
LAST_TIME = (1 << 23) - 1


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
        InputError: no whole number of events, an event outside the sensor, time that runs backwards.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "one.bin")
        ...     _ = file.write_bytes(bytes([7, 15, 128, 2, 142]))  # x, y, on, 654 microseconds
        ...     read(file).times().tolist()
        [654000]

    Source: Orchard et al. 2015, "Converting static image datasets to spiking neuromorphic datasets using saccades".
    """
    time, unit = _decode(Path(path))
    shape = (POLARITIES, SIDE, SIDE)
    flat = EventTensor.from_times(torch.from_numpy(time / 1e6), torch.from_numpy(unit), n_units=_units(), dt=dt)
    parts = {"row": flat.row, "index": flat.index, "offset": flat.offset}
    return EventTensor((*flat.shape[:2], *shape), flat.timing, flat.dtype, binary=True, **parts)


def _units() -> int:
    return POLARITIES * SIDE * SIDE


def _decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds and flat unit of every event."""
    if not path.is_file():
        raise MissingFileError("io.nmnist.read", got=str(path), expected="a recording", fix="Check the path.")
    data = np.fromfile(path, np.uint8)
    if data.size % 5:
        got, fix = f"{data.size} bytes in {path.name}", "The file is cut off: fetch it again."
        raise InputError("io.nmnist.read", got=got, expected="five bytes an event", fix=fix)
    x, y, high, middle, low = data.reshape(-1, 5).T.astype(np.int64)
    time = (high & 127) << 16 | middle << 8 | low
    moves = y == OVERFLOW_ROW
    time = (time + np.cumsum(moves) * OVERFLOW_STEP)[~moves]
    x, y, polarity = x[~moves], y[~moves], high[~moves] >> 7
    if x.size and max(x.max(), y.max()) >= SIDE:
        got = f"an event at x={x.max()}, y={y.max()} in {path.name}"
        raise InputError("io.nmnist.read", got=got, expected=f"x and y below {SIDE}", fix="Is this N-MNIST?")
    if np.any(np.diff(time) < 0):
        raise InputError("io.nmnist.read", got=f"time that runs backwards in {path.name}", expected="events in order")
    return time, (polarity * SIDE + y) * SIDE + x


def write(events: EventTensor, path: str | PathLike[str]) -> None:
    """Write one recording, whole or not at all.

    Args:
        events: spikes ``(steps, 1, 2, 34, 34)``.
        path: where to.

    Raises:
        InputError: another shape, graded events, times that are no whole microseconds or beyond 8.4 seconds.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> one = torch.tensor([0])
        >>> events = EventTensor.from_aer(one + 3, one, one + 5, shape=(4, 1, 2, 34, 34), dt=1e-3)
        >>> with TemporaryDirectory() as folder:
        ...     write(events, Path(folder, "one.bin"))
        ...     read(Path(folder, "one.bin")).aer().step.tolist()
        [3]
    """
    if events.shape[1:] != (1, POLARITIES, SIDE, SIDE) or not events.binary:
        got = f"{'spikes' if events.binary else 'graded events'} of shape {events.shape}"
        raise InputError("io.nmnist.write", got=got, expected=f"spikes (steps, 1, 2, {SIDE}, {SIDE})")
    time = events.times().numpy()
    if np.any(time % 1000) or (time.size and not 0 <= time.min() <= time.max() <= LAST_TIME * 1000):
        got = "times between microseconds, before 0 or beyond 8.4 s"
        raise InputError("io.nmnist.write", got=got, expected=f"whole microseconds up to {LAST_TIME}")
    order = np.argsort(time, kind="stable")
    time, unit = time[order] // 1000, events.index.numpy()[order].astype(np.int64)
    polarity, y, x = unit // SIDE**2, unit // SIDE % SIDE, unit % SIDE
    rows = np.stack([x, y, polarity << 7 | time >> 16, time >> 8 & 255, time & 255], 1)
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
    recordings = [_decode(_recording(folder, name)) for name in names]
    counts = torch.tensor([len(unit) for _, unit in recordings])
    sample = torch.arange(len(names)).repeat_interleave(counts)
    step = torch.from_numpy(np.concatenate([time for time, _ in recordings]) // microseconds)
    lengths = torch.tensor([int(time[-1]) // microseconds + 1 if len(time) else 0 for time, _ in recordings])
    shape = (int(lengths.max()), len(names), POLARITIES, SIDE, SIDE)
    unit = torch.from_numpy(np.concatenate([unit for _, unit in recordings]))
    options = {"dt": dt, "lengths": lengths, "on_collision": on_collision}
    events = EventTensor.from_aer(step, sample, unit, shape=shape, **options)
    return events, torch.tensor([labels[name] for name in names])


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
