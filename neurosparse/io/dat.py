"""DAT files of decoded events (``.dat``): Prophesee's, and those of N-CARS, N-Caltech and GEN1."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from neurosparse.atomic import writing
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.io import _camera, _pixels, _prophesee
from neurosparse.io._camera import Salvage
from neurosparse.io._pixels import Note, Pixels, PixelSource
from neurosparse.kernels import evt as kernels

__all__ = ["read", "salvage", "scan", "stream", "write", "write_blocks"]

SIDE, LAST_TIME = 1 << 14, (1 << 32) - 1
RECORD = np.dtype([("time", "<u4"), ("address", "<u4")])
KINDS = (0x00, 0x0C)  # two codes of the same event, in older and newer files
# Bits of x and of y and the lowest bit of polarity, by version of the file; files without a version have the second.
LAYOUTS = {"1": (9, 8, 17), "2": (14, 14, 28)}


def read(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> EventTensor:
    """One recording, exact to the microsecond; the 32 bits of its clock may wrap.

    Args:
        path: the file.
        dt: seconds per step; a coarser step keeps microseconds as offsets. Default: 1e-6, or what :func:`write` noted.
        size: ``(height, width)`` of the sensor, where the header does not state it (N-CARS: at most 100 x 120).
        on_error: ``"raise"``, ``"drop"`` or ``"sort"``, as in :func:`neurosparse.io.evt.read`.

    Returns:
        Spikes ``(steps, 1, 2, height, width)``: polarity (off, on), y, x; from 0 to the step of the last event, or to
        the end that :func:`write` noted.

    Raises:
        MissingFileError: no such file.
        InputError: not DAT, an unknown version, no size, another size than the header states, time that runs
            backwards, an event outside the sensor, a file that is cut off. :func:`salvage` reads what precedes the
            damage.

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
    return _camera.read(scan(path, "io.dat.read", on_error), dt, size)


def stream(
    path: str | PathLike[str],
    events: int = 1 << 20,
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> Iterator[EventTensor]:
    """A recording of any length in chunks of about ``events`` events, as :func:`neurosparse.io.evt.stream`."""
    return _camera.stream(scan(path, "io.dat.stream", on_error), events, dt, size)


def salvage(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    on_error: str = "raise",
) -> Salvage:
    """The events that precede the damage of a damaged file, as :func:`neurosparse.io.evt.salvage`."""
    return _camera.salvage(scan(path, "io.dat.salvage", on_error), dt, size)


def scan(path: str | PathLike[str], where: str = "io.dat.scan", on_error: str = "raise") -> PixelSource:
    """The decoded columns of a file in blocks, as :func:`neurosparse.io.evt.scan`."""
    on_error = _pixels.on_error_of(where, on_error)
    with _pixels.open_file(where, path) as file:
        header = _prophesee.read_header(where, file)
        kind = file.read(2)
        start = file.tell()
    if not header or len(kind) < 2 or kind[0] not in KINDS or kind[1] != RECORD.itemsize:
        got = f"{'a' if header else 'no'} header, then {kind.hex(' ') or 'nothing'}"
        raise InputError(
            where, got=got, expected="a header and events of 8 bytes", fix="Check that this is a DAT file."
        )
    version = next((value for key, value in header.items() if key.lower() == "version"), "2")
    if version not in LAYOUTS:
        fix = "Export the file again as version 2."
        raise InputError(where, got=f"% Version {version}", expected=f"version {' or '.join(LAYOUTS)}", fix=fix)
    size, note = _prophesee.size_of(where, header), _prophesee.note_of(where, header)
    source = PixelSource(where, Path(path).name, size, note, iter(()), on_error=on_error)
    source.fields = _prophesee.fields(header, ("version",))
    source.blocks = _blocks(source, path, start, LAYOUTS[version])
    return source


def _blocks(
    source: PixelSource, path: str | PathLike[str], start: int, layout: tuple[int, int, int]
) -> Iterator[Pixels]:
    last, where = 0, source.where
    with open(path, "rb") as file:
        file.seek(start)
        for words in _pixels.words(where, file, RECORD):
            block = _pixels.empty(len(words))
            n = kernels.dat(words.view("<u8"), last, source.on_error == "raise", *layout, *block)
            yield block.where(slice(n))
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
    columns, note = _pixels.columns("io.dat.write", events, SIDE)
    write_blocks(iter([columns]), path, (events.shape[3], events.shape[4]), note)


def write_blocks(
    blocks: Iterator[Pixels],
    path: str | PathLike[str],
    size: tuple[int, int],
    note: Note,
    where: str = "io.dat.write",
) -> None:
    """Write a recording that arrives in blocks, as :func:`neurosparse.io.evt.write_blocks`."""
    _pixels.check_sensor(where, (note.steps, 1, 2, *size), SIDE)
    header = _prophesee.header_text({"Version": 2, "Height": size[0], "Width": size[1]}, note)
    with writing(path, where) as file:
        file.write(header.replace(b"% end\n", b"") + bytes([KINDS[1], RECORD.itemsize]))
        for block in blocks:
            _pixels.fitting(where, block.time, LAST_TIME)
            records = np.empty(len(block.time), RECORD)
            records["time"] = block.time
            records["address"] = block.polarity.astype(np.int64) << 28 | block.y.astype(np.int64) << 14 | block.x
            file.write(records.tobytes())
