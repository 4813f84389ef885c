"""SHD and SSC: HDF5 files of the Heidelberg spiking data sets (the extra ``shd``)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.atomic import write_atomically
from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.events.checks import check_lengths
from neurosparse.events.timing import NANO, decimal
from neurosparse.io._arguments import check_dt, check_duration, check_labels
from neurosparse.io._library import check_unpacked, library
from neurosparse.io._pixels import Note, checked_note
from neurosparse.io._trains import SCALES, check_spike_trains, nanoseconds, place

__all__ = ["Batch", "left_out", "read", "stream", "write"]

CHANNELS = 700
BLOCK = 64  # recordings that are read together
NAMES = {"second": "s", "millisecond": "ms", "microsecond": "us", "nanosecond": "ns", "µs": "us", "μs": "us"}


class Batch(NamedTuple):
    """Events ``(steps, samples, units)`` with their ``lengths``, and labels ``(samples)``."""

    events: EventTensor
    labels: Tensor


def read(
    path: str | PathLike[str],
    dt: float | None = None,
    samples: slice = slice(None),
    n_units: int | None = None,
    duration: float | None = None,
    t0: float | None = None,
    time_unit: str | None = None,
) -> Batch:
    """Recordings and their labels, exact to the nanosecond: integer steps plus offsets.

    Args:
        path: an ``.h5`` file with ``spikes/times``, ``spikes/units`` and ``labels``. :func:`left_out` names what is
            not read.
        dt: seconds per step. Default: 1e-3, or what :func:`write` noted.
        samples: a slice of consecutive samples; default: all.
        n_units: number of channels of the cochlea, silent ones included. Default: 700, or what :func:`write` noted.
        duration: seconds of every recording, silence included. Default: each ends with the step of its last spike, or
            with the end that :func:`write` noted.
        t0: start of every recording in seconds; default: 0, or what :func:`write` noted.
        time_unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``. Default: what the attribute ``unit`` or ``units`` of
            ``spikes/times`` states, else seconds, as in SHD and SSC. Integers without a stated unit are refused: they
            are not seconds.

    Returns:
        ``(events, labels)``.

    Raises:
        MissingFileError: no such file.
        InputError: not SHD, a damaged file, a unit or a time out of range, integer times of unknown unit, h5py not
            installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=3, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, torch.tensor([7]), f"{folder}/a.h5")
        ...     events, labels = read(f"{folder}/a.h5")
        >>> events.shape, events.times().tolist(), labels.tolist()
        ((2000, 1, 3), [2100000, 500000000], [7])

    Source: Cramer et al. 2022, "The Heidelberg spiking data sets for the systematic evaluation of spiking neural
    networks".
    """
    path = Path(path)
    if not isinstance(samples, slice):
        raise InputError("io.shd.read", got=f"samples={samples!r}", expected="a slice", fix="Pass slice(start, stop).")
    start, stop, stride = samples.indices(count(path))
    if stride != 1:
        raise InputError("io.shd.read", got=f"samples={samples}", expected="a slice of consecutive samples")
    how = _How(dt, n_units, duration, t0, time_unit)
    return _batch("io.shd.read", path, start, max(start, stop), how)


def stream(
    path: str | PathLike[str],
    samples: int = 256,
    dt: float | None = None,
    n_units: int | None = None,
    duration: float | None = None,
    t0: float | None = None,
    time_unit: str | None = None,
) -> Iterator[Batch]:
    """All recordings in order, ``samples`` of them per batch, in the memory of one batch. Arguments of :func:`read`."""
    path, samples = Path(path), whole("io.shd.stream", "samples", samples)
    for start in range(0, count(path), samples):
        yield _batch("io.shd.stream", path, start, start + samples, _How(dt, n_units, duration, t0, time_unit))


def count(path: str | PathLike[str]) -> int:
    """Number of recordings in a file."""
    return _opened("io.shd.count", Path(path), lambda file: len(file["labels"]))


def _opened(where: str, path: Path, work: Any) -> Any:
    """The result of ``work`` on the opened file; every error of HDF5 becomes an ``InputError``."""
    h5py = library(where, "h5py", "shd")
    if not path.is_file():
        raise MissingFileError(where, got=str(path), expected="an HDF5 file", fix="Check the path.")
    try:
        with h5py.File(path, "r") as file:
            return work(file)
    except InputError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, ValueError ... on a damaged file
        got, fix = f"{path.name}: {error}", "Fetch or export the file again."
        raise InputError(where, got=got, expected="an SHD file", fix=fix) from error


class _How(NamedTuple):
    """Arguments of :func:`read`."""

    dt: float | None
    n_units: int | None
    duration: float | None
    t0: float | None
    time_unit: str | None


class _Parts(NamedTuple):
    times: np.ndarray
    units: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    note: Note | None
    lengths: np.ndarray | None
    n_units: int
    time_unit: str | None


def left_out(path: str | PathLike[str]) -> list[str]:
    """Names of the groups and data sets that :func:`read` leaves out, such as ``extra`` (speakers, keys).

    Example: see :func:`read`; the files that :func:`write` writes hold nothing else.
    """

    def names(file: Any) -> list[str]:
        inside = [f"spikes/{name}" for name in file.get("spikes", ()) if name not in ("times", "units")]
        return [name for name in file if name not in ("spikes", "labels", "neurosparse")] + inside

    return _opened("io.shd.left_out", Path(path), names)


def _ragged(where: str, path: Path, dataset: Any, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of consecutive recordings in one array, and how many each has; in blocks, so that a bomb is noticed."""
    kind = _vlen(dataset)
    parts, sizes, read = [np.zeros(0, kind)], np.zeros(stop - start, np.int64), 0
    for first in range(start, stop, BLOCK):
        rows = dataset[first : min(first + BLOCK, stop)]
        sizes[first - start : first - start + len(rows)] = [len(row) for row in rows]
        parts += [row for row in rows if len(row)]
        read += sum(row.nbytes for row in rows)
        check_unpacked(where, path, read)
    return np.concatenate(parts), sizes


def _vlen(dataset: Any) -> np.dtype:
    """The type of the numbers of a ragged data set."""
    kind = library("io.shd.read", "h5py", "shd").check_vlen_dtype(dataset.dtype)
    if kind is None or kind.kind not in "iuf":
        raise ValueError(f"{dataset.name} of {kind or dataset.dtype}")
    return kind


def _parts(where: str, path: Path, file: Any, start: int, stop: int) -> _Parts:
    all_times, all_units, all_labels = file["spikes/times"], file["spikes/units"], file["labels"]
    check_unpacked(where, path, 16 * (len(all_times) + len(all_units) + len(all_labels)))  # an address each
    if not len(all_times) == len(all_units) == len(all_labels) or all_labels.dtype.kind not in "iu":
        raise ValueError("the numbers of times, units and labels differ, or labels are no integers")
    (times, sizes), (units, again) = (
        _ragged(where, path, each, start, min(stop, len(all_labels))) for each in (all_times, all_units)
    )
    if again.tolist() != sizes.tolist() or units.dtype.kind not in "iu":
        raise ValueError(f"times and units do not match, units of {units.dtype}")
    lengths, note, ours = None, None, file.get("neurosparse")
    if ours is not None:
        note = checked_note(*(ours.attrs[name] for name in Note._fields))
        lengths = ours["lengths"][start:stop].astype(np.int64) if "lengths" in ours else None
    labels, n_units = all_labels[start:stop].astype(np.int64), CHANNELS if ours is None else int(ours.attrs["units"])
    stated = all_times.attrs.get("unit", all_times.attrs.get("units"))
    return _Parts(times, units, sizes, labels, note, lengths, n_units, None if stated is None else _text(stated))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _unit_of(where: str, found: _Parts, asked: str | None) -> str:
    """The unit of the times: the argument, what the file states, or seconds for floating-point numbers."""
    if asked is not None:
        return one_of(where, "time_unit", asked, tuple(SCALES))
    if found.time_unit is not None:
        short = found.time_unit.strip().lower()
        short = NAMES.get(short.removesuffix("s") if len(short) > 2 else short, short)
        return one_of(where, "time_unit", short, tuple(SCALES), "The file states it; pass time_unit= instead.")
    if found.times.dtype.kind != "f" and found.times.size:
        got, fix = f"times of {found.times.dtype} without a unit", "Pass time_unit='us', or 's', 'ms', 'ns'."
        raise InputError(where, got=got, expected="seconds as floating-point numbers, or a unit", fix=fix)
    return "s"


def _batch(where: str, path: Path, start: int, stop: int, how: _How) -> Batch:
    found = _opened(where, path, lambda file: _parts(where, path, file, start, stop))
    dt, duration = check_dt(where, how.dt), check_duration(where, how.duration)
    units = found.n_units if how.n_units is None else whole(where, "n_units", how.n_units)
    if found.note is not None and units != found.n_units:
        got, expected = f"n_units={units} for {path.name}", f"n_units={found.n_units}, as the file states"
        raise InputError(where, got=got, expected=expected, fix="Omit it.")
    n_samples, note = len(found.sizes), found.note
    if found.units.size and not 0 <= int(found.units.min()) <= int(found.units.max()) < units:
        got = f"units in {found.units.min()}..{found.units.max()}"
        raise InputError(where, got=got, expected=f"0 <= unit < {units}", fix="Pass n_units=.")
    time = nanoseconds(where, found.times, _unit_of(where, found, how.time_unit), far=how.t0 is not None)
    finer = Fraction(1) if note is None else decimal(note.dt) / decimal(dt or note.dt)
    if note and duration is None:
        duration = float(note.steps * decimal(note.dt))
    # One recording with the units of all samples: sorted by step, sample and unit, as a batch is.
    cell = np.arange(n_samples).repeat(found.sizes) * units + found.units.astype(np.int64)
    dt, t0 = dt or (note.dt if note else 1e-3), how.t0 if how.t0 is not None else note.t0 if note else None
    flat = place(where, time, cell, n_samples * units, dt, t0, duration=duration)
    which = flat.index.long().div(units, rounding_mode="floor")
    row, index = flat.row * n_samples + which, (flat.index - which * units).int()
    lengths = None
    if found.lengths is not None:
        lengths = np.array([math.ceil(int(length) * finer) for length in found.lengths], np.int64)
    elif duration is None:
        lengths = np.zeros(n_samples, np.int64)
        np.maximum.at(lengths, which.numpy(), flat.row.numpy() + 1)
    shape = (flat.shape[0], n_samples, units)
    checked = check_lengths(where, None if lengths is None else torch.from_numpy(lengths), shape)
    timing = flat.timing.with_(lengths=checked)
    events = EventTensor(shape, timing, flat.dtype, binary=True, row=row, index=index, offset=flat.offset)
    return Batch(events, torch.from_numpy(found.labels))


def write(events: EventTensor, labels: Tensor, path: str | PathLike[str]) -> None:
    """Write recordings in the layout of SHD; all of the file or none of it.

    Times are seconds in float64, exact to the nanosecond. A group of the file named ``neurosparse`` keeps what SHD has
    no field for: duration, ``lengths``, ``dt``, ``t0`` and the number of units.

    Args:
        events: spikes ``(steps, samples, units)`` in seconds (``dt`` is known).
        labels: integers ``(samples)``.
        path: the file to write.

    Raises:
        InputError: another shape, graded events, no ``dt``, another number of labels.

    Example: see :func:`read`.
    """
    where = "io.shd.write"
    h5py = library(where, "h5py", "shd")
    trains = by_sample(where, events)
    labels = check_labels(where, labels, events.shape[1])
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, kind, column in (("times", np.float64, 0), ("units", np.uint32, 1)):
            data = file.create_dataset(f"spikes/{name}", (len(trains),), h5py.vlen_dtype(kind))
            for sample, train in enumerate(trains):
                data[sample] = train[column]
        file["labels"] = labels.cpu().numpy()
        ours = file.create_group("neurosparse")
        ours.attrs.update(steps=events.shape[0], dt=events.dt, t0=events.t0, events=events.n_events)
        ours.attrs["units"] = events.n_units
        if events.lengths is not None:
            ours["lengths"] = events.lengths.numpy()
    write_atomically(path, content.getvalue(), where)


def by_sample(where: str, events: EventTensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Seconds and units of the spikes of each sample, in the order of time."""
    check_spike_trains(where, events)
    time, sample = events.times().cpu().numpy(), events.aer().sample.cpu().numpy()
    order = np.lexsort((time, sample))
    ends = np.bincount(sample, minlength=events.shape[1]).cumsum()[:-1]
    units = events.index.cpu().numpy()[order]
    return list(zip(np.split(time[order] / NANO, ends), np.split(units, ends), strict=True))
