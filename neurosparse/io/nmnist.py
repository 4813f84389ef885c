"""N-MNIST recordings (``.bin``, ``.bs2``): 40 bits per event, a sensor of 34 x 34 pixels with two polarities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neurosparse.atomic import writing
from neurosparse.checks import number, one_of
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.io import _camera, _pixels
from neurosparse.io._arguments import check_size
from neurosparse.io._camera import Salvage
from neurosparse.io._pixels import Note, Pixels, PixelSource

__all__ = ["read", "read_folder", "salvage", "scan", "stream", "write", "write_blocks"]

SIDE, POLARITIES = 34, 2
OVERFLOW_ROW, OVERFLOW_STEP = 240, 1 << 13  # an event in this row advances the clock by 8192 microseconds
LAST_TIME = (1 << 23) - 1
RECORD = np.dtype([("bytes", "u1", 5)])


def read(
    path: str | PathLike[str],
    dt: float = 1e-3,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> EventTensor:
    """One recording, exact to the microsecond: integer steps plus offsets.

    An event is five bytes: x, y, then one bit of polarity and 23 bits of microseconds.

    Args:
        path: the file.
        dt: seconds per step.
        size: ``(height, width)`` of the sensor, which no file of this layout states. Default: 34 x 34; files of other
            data sets (N-Caltech101, DVS128 Gesture) have up to 240 x 256 pixels.
        on_error: ``"raise"``, ``"drop"`` or ``"sort"``, as in :func:`neurosparse.io.evt.read`.

    Returns:
        Spikes ``(steps, 1, 2, height, width)``: polarity (off, on), y, x; from 0 to the step of the last event.

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
    return _camera.read(scan(path, "io.nmnist.read", on_error, size), dt, size)


def stream(
    path: str | PathLike[str],
    events: int = 1 << 20,
    dt: float = 1e-3,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> Iterator[EventTensor]:
    """A recording of any length in chunks of about ``events`` events, as :func:`neurosparse.io.evt.stream`."""
    return _camera.stream(scan(path, "io.nmnist.stream", on_error, size), events, dt, size)


def salvage(
    path: str | PathLike[str],
    dt: float = 1e-3,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> Salvage:
    """The events that precede the damage of a damaged file, as :func:`neurosparse.io.evt.salvage`."""
    return _camera.salvage(scan(path, "io.nmnist.salvage", on_error, size), dt, size)


def scan(
    path: str | PathLike[str],
    where: str = "io.nmnist.scan",
    on_error: str = "raise",
    size: tuple[int, int] | None = None,
) -> PixelSource:
    """The decoded columns of a file in blocks, as :func:`neurosparse.io.evt.scan`; ``size`` as in :func:`read`."""
    on_error, size = _pixels.on_error_of(where, on_error), check_size(where, size)
    if size and (size[0] > OVERFLOW_ROW or size[1] > 1 << 8):
        # x and y have 8 bits, and row 240 means an overflow of the clock.
        raise InputError(where, got=f"size={size}", expected=f"at most {OVERFLOW_ROW} x 256 pixels")
    _pixels.open_file(where, path).close()
    source = PixelSource(where, Path(path).name, None, None, iter(()), on_error=on_error, usual_size=(SIDE, SIDE))
    source.blocks = _blocks(source, path)
    return source


def _blocks(source: PixelSource, path: str | PathLike[str]) -> Iterator[Pixels]:
    last = overflows = 0
    with open(path, "rb") as file:
        for records in _pixels.words(source.where, file, RECORD):
            x, y, high, middle, low = records["bytes"].T.astype(np.int64)
            overflow = y == OVERFLOW_ROW
            laps = overflows + np.cumsum(overflow)
            time = (high & 127) << 16 | middle << 8 | low
            columns = time + laps * OVERFLOW_STEP, x.astype(np.uint16), y.astype(np.uint16), high > 127
            block, overflows = Pixels(*columns).where(~overflow), int(laps[-1])
            if source.on_error == "raise":
                yield from _pixels.in_order(source.where, block, last)
            else:
                yield block
            last = int(block.time[-1]) if len(block.time) else last


def write(events: EventTensor, path: str | PathLike[str]) -> None:
    """Write one recording; all of the file or none of it.

    Args:
        events: spikes ``(steps, 1, 2, 34, 34)``.
        path: the file to write.

    Raises:
        InputError: another shape, graded events, times that are no whole microseconds or beyond 8.4 seconds, silence
            after the last event, which the format cannot hold.

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
    _check_sensor(where, events.shape)
    _pixels.refuse_silence(where, events)
    columns, note = _pixels.columns(where, events, SIDE)
    write_blocks(iter([columns]), path, (SIDE, SIDE), note)


def _check_sensor(where: str, shape: Sequence[int]) -> None:
    if tuple(shape[2:]) != (POLARITIES, SIDE, SIDE):
        fix = "Write other sensors by io.evt, io.dat or io.aedat."
        raise InputError(where, got=f"shape {tuple(shape)}", expected=f"(steps, 1, 2, {SIDE}, {SIDE})", fix=fix)


def write_blocks(
    blocks: Iterator[Pixels],
    path: str | PathLike[str],
    size: tuple[int, int],
    note: Note,
    where: str = "io.nmnist.write",
) -> None:
    """Write a recording that arrives in blocks, as :func:`neurosparse.io.evt.write_blocks`; the note has no place."""
    _check_sensor(where, (note.steps, 1, POLARITIES, *size))
    with writing(path, where) as file:
        for block in blocks:
            _pixels.fitting(where, block.time, LAST_TIME)
            time, x, y, polarity = block
            rows = np.stack([x, y, polarity.astype(np.int64) << 7 | time >> 16, time >> 8 & 255, time & 255], 1)
            file.write(rows.astype(np.uint8).tobytes())


def read_folder(
    folder: str | PathLike[str], dt: float = 1e-3, names: Sequence[str] | None = None, on_collision: str = "sum"
) -> tuple[EventTensor, Tensor]:
    """A folder of recordings as one batch, with the classes in its ``labels.txt`` (a line per recording: NAME CLASS).

    Args:
        folder: with ``NAME.bin`` or ``NAME.bs2`` for each recording, and ``labels.txt``.
        dt: seconds per step, rounded to whole microseconds.
        names: of the recordings, in the order of the batch; default: all of ``labels.txt``.
        on_collision: events of a pixel within a step are added (``"sum"``), become one spike (``"any"``) or are
            refused (``"error"``).

    Returns:
        events ``(steps, samples, 2, 34, 34)`` with ``lengths``, and labels ``(samples)``.

    Raises:
        MissingFileError: no ``labels.txt``, a missing recording.
        InputError: a malformed line in ``labels.txt``, a name that it does not list; otherwise as :func:`read`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "1.bin").write_bytes(bytes([7, 15, 128, 2, 142]))
        ...     _ = Path(folder, "labels.txt").write_text("#sample #class\\n1 5\\n")
        ...     events, labels = read_folder(folder)
        >>> events.shape, labels.tolist()
        ((1, 1, 2, 34, 34), [5])
    """
    where, folder = "io.nmnist.read_folder", Path(folder)
    dt = number(where, "dt", dt, 1e-6, 1e9, unit="seconds", fix="Pass seconds per step, for example dt=1e-3.")
    one_of(where, "on_collision", on_collision, ("sum", "any", "error"))
    labels, microseconds = _labels(folder / "labels.txt"), round(dt * 1e6)
    names = list(labels) if names is None else list(names)
    if not names or not all(name in labels for name in names):
        got = f"names without a label: {[name for name in names if name not in labels]}" if names else "no names"
        raise InputError(where, got=got, expected="names of recordings in labels.txt")
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
    events = _camera.read(scan(path, "io.nmnist.read_folder"), 1e-6, None)
    return events.times().numpy() // 1000, events.index.numpy().astype(np.int64)


def _labels(path: Path) -> dict[str, int]:
    if not path.is_file():
        fix = "Write a line NAME CLASS for each recording."
        raise MissingFileError("io.nmnist.read_folder", got=f"no {path}", expected="labels.txt", fix=fix)
    table: dict[str, int] = {}
    for line in path.read_text("utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not words[1].isdecimal():
            expected = "NAME CLASS, the class a whole number"
            raise InputError("io.nmnist.read_folder", got=f"line {line!r} in {path.name}", expected=expected)
        table[words[0]] = int(words[1])
    return table


def _recording(folder: Path, name: str) -> Path:
    return next((path for path in (folder / f"{name}.bin", folder / f"{name}.bs2") if path.is_file()), folder / name)
