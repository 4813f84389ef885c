"""DAT files of decoded events (``.dat``): Prophesee's, and those of N-CARS, N-Caltech and GEN1."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from neurosparse.atomic import write_atomically
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.io import _pixels, _prophesee
from neurosparse.io._pixels import Pixels, PixelSource, Salvage
from neurosparse.kernels import evt as kernels

__all__ = ["read", "salvage", "scan", "stream", "write"]

SIDE, LAST_TIME = 1 << 14, (1 << 32) - 1
RECORD = np.dtype([("time", "<u4"), ("address", "<u4")])
KINDS = (0x00, 0x0C)  # two codes of the same event, in older and newer files


def read(path: str | PathLike[str], dt: float | None = None, size: tuple[int, int] | None = None) -> EventTensor:
    """One recording, exact to the microsecond; the 32 bits of its clock may wrap.

    Args:
        path: the file.
        dt: seconds per step; a coarser step keeps microseconds as offsets. Default: 1e-6, or what :func:`write` noted.
        size: ``(height, width)`` of the sensor, where the header does not state it (N-CARS: at most 100 x 120).

    Returns:
        Spikes ``(steps, 1, 2, height, width)``: polarity (off, on), y, x; from 0 to the step of the last event, or to
        the end that :func:`write` noted.

    Raises:
        MissingFileError: no such file.
        InputError: not DAT, no size, time that runs backwards, an event outside the sensor, a file that is cut off.
            :func:`salvage` reads what precedes the damage.

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> step, sample, unit = torch.tensor([3, 20_000_000]), torch.tensor([0, 0]), torch.tensor([5, 0])
        >>> spikes = EventTensor.from_aer(step, sample, unit, shape=(60_000_000, 1, 2, 2, 3), dt=1e-6)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, f"{folder}/a.dat")
        ...     read(f"{folder}/a.dat", dt=1e-3)
        EventTensor((60000, 1, 2, 2, 3), spikes, axis='time', dt=0.001 s, 2 events, density 2.78e-06)

    Source: Sironi et al. 2018, "HATS: histograms of averaged time surfaces for robust event-based classification".
    """
    return _pixels.read(scan(path, "io.dat.read"), dt, size, "io.dat.salvage")


def stream(
    path: str | PathLike[str], events: int = 1 << 20, dt: float | None = None, size: tuple[int, int] | None = None
) -> Iterator[EventTensor]:
    """A recording of any length in chunks of about ``events`` events, as :func:`neurosparse.io.evt.stream`."""
    return _pixels.stream(scan(path, "io.dat.stream"), events, dt, size)


def salvage(path: str | PathLike[str], dt: float | None = None, size: tuple[int, int] | None = None) -> Salvage:
    """The events that precede the damage of a damaged file, as :func:`neurosparse.io.evt.salvage`."""
    return _pixels.salvage(scan(path, "io.dat.salvage"), dt, size)


def scan(path: str | PathLike[str], where: str = "io.dat.scan") -> PixelSource:
    """The decoded columns of a file in blocks, as :func:`neurosparse.io.evt.scan`."""
    with _pixels.open_file(where, path) as file:
        header = _prophesee.read_header(where, file)
        kind = file.read(2)
        start = file.tell()
    if not header or len(kind) < 2 or kind[0] not in KINDS or kind[1] != RECORD.itemsize:
        got = f"{'a' if header else 'no'} header, then {kind.hex(' ') or 'nothing'}"
        raise InputError(
            where, got=got, expected="a header and events of 8 bytes", fix="Check that this is a DAT file."
        )
    note = _prophesee.note_of(where, header)
    return PixelSource(where, Path(path).name, _prophesee.size_of(header), note, _blocks(where, path, start))


def _blocks(where: str, path: str | PathLike[str], start: int) -> Iterator[Pixels]:
    last = 0
    with open(path, "rb") as file:
        file.seek(start)
        for words in _pixels.words(where, file, RECORD):
            columns = (np.empty(len(words), kind) for kind in (np.int64, np.uint16, np.uint16, np.bool_))
            block = Pixels(*columns)
            n = kernels.dat(words.view("<u4"), last, *block)
            yield Pixels(*(column[:n] for column in block))
            last = int(block.time[n - 1]) if n else last
            if n < len(words):
                raise _pixels.backwards(where, f"an event at {words['time'][n]} us after one at {last} us")


def write(events: EventTensor, path: str | PathLike[str]) -> None:
    """Write one recording; all of the file or none of it. A header line keeps what DAT cannot (end, ``dt``, ``t0``).

    Args:
        events: spikes ``(steps, 1, 2, height, width)`` at whole microseconds of the first 71 minutes.
        path: the file to write.

    Raises:
        InputError: another shape, graded events, times that are no whole microseconds, negative or too late.

    Example: see :func:`read`.
    """
    where = "io.dat.write"
    columns, note = _pixels.columns(where, events, LAST_TIME, SIDE)
    records = np.empty(len(columns.time), RECORD)
    records["time"] = columns.time
    records["address"] = columns.polarity.astype(np.int64) << 28 | columns.y.astype(np.int64) << 14 | columns.x
    header = _prophesee.header_text({"Version": 2, "Height": events.shape[3], "Width": events.shape[4]}, note)
    header = header.replace(b"% end\n", b"") + bytes([KINDS[1], RECORD.itemsize])
    write_atomically(path, header + records.tobytes(), where)
