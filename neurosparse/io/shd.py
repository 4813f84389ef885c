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
from neurosparse.checks import whole
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.events.checks import check_lengths
from neurosparse.events.timing import decimal
from neurosparse.io._arguments import check_dt, check_duration, check_labels
from neurosparse.io._library import library
from neurosparse.io._pixels import Note, checked_note
from neurosparse.io._trains import FAR

__all__ = ["Batch", "read", "stream", "write"]

CHANNELS = 700


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
) -> Batch:
    """Recordings and their labels, exact to the nanosecond: integer steps plus offsets.

    Args:
        path: an ``.h5`` file with ``spikes/times`` (seconds), ``spikes/units`` and ``labels``.
        dt: seconds per step. Default: 1e-3, or what :func:`write` noted.
        samples: a slice of consecutive samples; default: all.
        n_units: number of channels of the cochlea, silent ones included. Default: 700, or what :func:`write` noted.
        duration: seconds of every recording, silence included. Default: each ends with the step of its last spike, or
            with the end that :func:`write` noted.

    Returns:
        ``(events, labels)``.

    Raises:
        MissingFileError: no such file.
        InputError: not SHD, a damaged file, a unit or a time out of range, h5py not installed.

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
    return _batch("io.shd.read", path, start, max(start, stop), dt, n_units, duration)


def stream(
    path: str | PathLike[str],
    samples: int = 256,
    dt: float | None = None,
    n_units: int | None = None,
    duration: float | None = None,
) -> Iterator[Batch]:
    """All recordings in order, ``samples`` of them per batch, in the memory of one batch. Arguments of :func:`read`."""
    path, samples = Path(path), whole("io.shd.stream", "samples", samples)
    for start in range(0, count(path), samples):
        yield _batch("io.shd.stream", path, start, start + samples, dt, n_units, duration)


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
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, ValueError ... on a damaged file
        got, fix = f"{path.name}: {error}", "Fetch or export the file again."
        raise InputError(where, got=got, expected="an SHD file", fix=fix) from error


class _Parts(NamedTuple):
    times: np.ndarray
    units: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    note: Note | None
    lengths: np.ndarray | None
    n_units: int


def _parts(file: Any, start: int, stop: int) -> _Parts:
    times, units = file["spikes/times"][start:stop], file["spikes/units"][start:stop]
    sizes = np.array([len(train) for train in times], np.int64)
    if [len(train) for train in units] != sizes.tolist() or len(file["spikes/times"]) != len(file["labels"]):
        raise ValueError("the numbers of times, units and labels differ")
    labels, lengths, note = file["labels"][start:stop].astype(np.int64), None, None
    ours = file.get("neurosparse")
    if ours is not None:
        note = checked_note(*(ours.attrs[name] for name in Note._fields))
        lengths = ours["lengths"][start:stop].astype(np.int64) if "lengths" in ours else None
    flat = (np.concatenate([np.zeros(0, kind), *trains]) for kind, trains in ((np.float64, times), (np.int64, units)))
    times, units = flat
    if units.dtype.kind not in "iu" or times.dtype.kind != "f":
        raise ValueError(f"times of {times.dtype}, units of {units.dtype}")
    return _Parts(times, units, sizes, labels, note, lengths, CHANNELS if ours is None else int(ours.attrs["units"]))


def _batch(
    where: str, path: Path, start: int, stop: int, dt: float | None, n_units: int | None, duration: float | None
) -> Batch:
    found = _opened(where, path, lambda file: _parts(file, start, stop))
    dt, duration = check_dt(where, dt), check_duration(where, duration)
    units = found.n_units if n_units is None else whole(where, "n_units", n_units)
    n_samples, note = len(found.sizes), found.note
    if found.units.size and not 0 <= found.units.min() <= found.units.max() < units:
        got = f"units in {found.units.min()}..{found.units.max()}"
        raise InputError(where, got=got, expected=f"0 <= unit < {units}", fix="Pass n_units=.")
    if not np.all(np.abs(found.times) < FAR):  # so that NaN is refused
        got, fix = "NaN or infinite or too late times", "Fetch the file again."
        raise InputError(where, got=got, expected=f"seconds below {FAR}", fix=fix)
    finer = Fraction(1) if note is None else decimal(note.dt) / decimal(dt or note.dt)
    if note and duration is None:
        duration = float(note.steps * decimal(note.dt))
    # One recording with the units of all samples: sorted by step, sample and unit, as a batch is.
    cell = torch.from_numpy(np.arange(n_samples).repeat(found.sizes) * units + found.units)
    options = {"dt": dt or (note.dt if note else 1e-3), "duration": duration, "t0": note.t0 if note else 0.0}
    flat = EventTensor.from_times(torch.from_numpy(found.times), cell, n_units=n_samples * units, **options)
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
    write_atomically(path, content.getvalue())


def by_sample(where: str, events: EventTensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Seconds and units of the spikes of each sample, in the order of time."""
    if len(events.shape) != 3 or not events.binary:
        got = f"{'spikes' if events.binary else 'graded events'} of shape {events.shape}"
        raise InputError(where, got=got, expected="spikes (steps, samples, units)")
    time, sample = events.times().numpy(), events.aer().sample.numpy()
    order = np.lexsort((time, sample))
    ends = np.bincount(sample, minlength=events.shape[1]).cumsum()[:-1]
    return list(zip(np.split(time[order] / 1e9, ends), np.split(events.index.numpy()[order], ends), strict=True))
