"""pynapple: spike trains as ``Ts`` and ``TsGroup``, and their ``.npz`` files (the extra ``pynapple``)."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np

from neurosparse.atomic import writing
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.io._arguments import required_dt
from neurosparse.io._library import check_unpacked, library
from neurosparse.io._trains import Recording, join_trains, nanoseconds, split_trains

__all__ = ["left_out", "read", "save", "write"]


#: Arrays of a file by the kind of its content; the other arrays are metadata.
TIMES, TRAINS = ("t", "start", "end"), ("t", "start", "end", "index", "keys")


def read(source: Any, dt: float, duration: float | None = None, t0: float | None = None) -> Recording:
    """Spike trains as one recording over their whole time support, exact to the nanosecond.

    A spike belongs to step ``floor((t - t0) / dt)``, computed in whole nanoseconds; the rest is kept as its offset.

    Args:
        source: a ``TsGroup``, a ``Ts``, or the path of an ``.npz`` file of either. Files are read without pynapple and
            without their metadata, which may hold code. :func:`left_out` names what is not read.
        dt: seconds per step.
        duration: seconds of recording after ``t0``; default: up to the end of the time support.
        t0: start of the recording in seconds; default: the start of the time support.

    Returns:
        ``(events, units)``: spikes ``(steps, 1, units)`` and the keys of the units (0 of a ``Ts``). A warning is
        given where the time support has gaps, and where times are not in order.

    Raises:
        MissingFileError: no such file.
        InputError: no spike trains (``Tsd``, ``TsdFrame`` and ``TsdTensor`` hold values), a damaged file, a spike
            outside the time of recording.

    Example:
        >>> import pynapple as nap
        >>> trains = {6: nap.Ts([0.0021, 0.5]), 191: nap.Ts([0.0305, 0.7])}
        >>> events, units = read(nap.TsGroup(trains, time_support=nap.IntervalSet(0, 2)), dt=1e-3)
        >>> events.shape, events.times().tolist(), units
        ((2000, 1, 2), [2100000, 30500000, 500000000, 700000000], [6, 191])

    Source: Viejo et al. 2023, "Pynapple, a toolbox for data analysis in neuroscience".
    """
    where = "io.pynapple.read"
    dt = required_dt(where, dt)
    if isinstance(source, (str, PathLike)):
        seconds, unit, keys, observed = _from_file(where, Path(source))
    elif hasattr(source, "time_support") and (hasattr(source, "items") or hasattr(source, "t")):
        trains = dict(source.items()) if hasattr(source, "items") else {0: source}
        for train in trains.values():
            if hasattr(train, "d"):
                raise _valued(where, type(train).__name__)
        parts, keys = [np.asarray(train.t, np.float64) for train in trains.values()], list(trains)
        seconds = np.concatenate([np.zeros(0), *parts])
        unit = np.repeat(np.arange(len(parts)), np.array([len(part) for part in parts], np.int64))
        observed = np.stack([source.time_support.start, source.time_support.end], 1)
    else:
        raise InputError(where, got=f"a {type(source).__name__}", expected="a TsGroup, a Ts or a path")
    far = t0 is not None
    time, observed = nanoseconds(where, seconds, far=far), nanoseconds(where, observed, far=far)
    return Recording(join_trains(where, time, unit, len(keys), dt, observed, duration, t0), keys)


def _valued(where: str, kind: str) -> InputError:
    fix = "To read its times without the values, pass nap.Ts(tsd.t, time_support=tsd.time_support)."
    return InputError(where, got=f"a {kind}, which holds values", expected="a TsGroup or a Ts", fix=fix)


def left_out(source: Any) -> list[str]:
    """Names of what :func:`read` leaves out: metadata of the units, and epochs other than one time support.

    Example:
        >>> import pynapple as nap
        >>> left_out(nap.TsGroup({0: nap.Ts([0.5, 0.7])}, metadata={"area": ["CA1"]}))
        ["column 'area'"]
    """
    where = "io.pynapple.left_out"
    if isinstance(source, (str, PathLike)):
        members = _members(where, Path(source))
        found = [f"column {name!r}" for name in members if name not in (*TRAINS, "type", "_metadata")]
        found += ["metadata of the units"] * ("_metadata" in members and _has_entries(where, Path(source)))
        epochs = len(_arrays(where, Path(source), ["start"])["start"])
    else:
        found = [f"column {name!r}" for name in getattr(source, "metadata_columns", ()) if name != "rate"]
        epochs = len(source.time_support)
    return found + [f"the borders of {epochs} epochs"] * (epochs > 1)


def _has_entries(where: str, path: Path) -> bool:
    """Whether the pickled dictionary of metadata holds anything, without running the code that a pickle may hold."""
    with _readable(where, path), ZipFile(path) as file, file.open("_metadata.npy") as member:
        content = member.read(1 << 12)  # an empty one is much shorter
        if len(content) == 1 << 12:
            return True
        pickled = content[content.index(b"\n") + 1 :]  # after the header of NumPy
        return any(operation.name in ("SETITEM", "SETITEMS") for operation, *_ in pickletools.genops(pickled))


def _members(where: str, path: Path) -> dict[str, int]:
    """Names of the arrays of an ``.npz`` file and the bytes that they unpack to."""
    if not path.is_file():
        raise MissingFileError(where, got=str(path), expected="an .npz file of pynapple", fix="Check the path.")
    with _readable(where, path), ZipFile(path) as file:
        return {member.filename.removesuffix(".npy"): member.file_size for member in file.infolist()}


def _arrays(where: str, path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of numbers of an ``.npz`` file; no objects are loaded, which may hold code."""
    sizes = _members(where, path)
    check_unpacked(where, path, sum(sizes.get(name, 0) for name in names))
    with _readable(where, path), path.open("rb") as content, np.load(content, allow_pickle=False) as file:
        return {name: file[name] for name in names}


@contextmanager
def _readable(where: str, path: Path) -> Iterator[None]:
    """Errors of a damaged file as an ``InputError``."""
    try:
        yield
    except Exception as error:  # the archive, its members and their numbers each have errors of their own
        got, fix = f"{path.name}: {error}", "Save it again: TsGroup.save(path)."
        raise InputError(where, got=got, expected="a Ts or a TsGroup", fix=fix) from error


def _from_file(where: str, path: Path) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray]:
    """Seconds and unit of each spike, keys of the units, and the intervals of the time support."""
    kind = _kind(where, path)
    if kind.startswith("Tsd") or "d" in _members(where, path):
        raise _valued(where, kind if kind.startswith("Tsd") else f"{kind} of Tsd")
    if kind not in ("Ts", "TsGroup"):
        raise InputError(where, got=f"{path.name} of type {kind!r}", expected="a Ts or a TsGroup")
    parts = _arrays(where, path, TIMES if kind == "Ts" else TRAINS)
    with _readable(where, path):
        times, observed = parts["t"], np.stack([parts["start"], parts["end"]], 1).astype(np.float64)
        index, keys = parts.get("index", np.zeros(len(times), np.int64)), parts.get("keys", np.zeros(1, np.int64))
        if times.ndim != 1 or index.shape != times.shape or keys.ndim != 1:
            raise ValueError(f"times of shape {times.shape}, units of shape {index.shape}")
        if {times.dtype.kind, index.dtype.kind, keys.dtype.kind} - set("iuf"):
            raise ValueError("times or units that are no numbers")
        if not np.isfinite(observed).all() or not observed.size or len(np.unique(keys)) != len(keys):
            raise ValueError("no time support, or two units of one key")
        if not (keys == np.rint(keys)).all():
            raise ValueError("keys of units that are no whole numbers")
        order = np.argsort(keys, kind="stable")
        unit = order[np.searchsorted(keys, index, sorter=order).clip(max=len(keys) - 1)] if len(keys) else index
        if len(keys) < min(len(index), 1) or not (keys[unit] == index).all():
            raise ValueError("units of spikes that are not among its keys")
        return times, unit.astype(np.int64), [int(key) for key in keys], observed


def _kind(where: str, path: Path) -> str:
    kind = _arrays(where, path, ["type"])["type"]
    return str(kind.flat[0]) if kind.size else ""


def write(events: EventTensor, units: Sequence[int] | None = None) -> Any:
    """One recording as a ``TsGroup`` in seconds; silent units and silence at the end are kept.

    Args:
        events: spikes ``(steps, 1, units)`` in seconds (``dt`` is known).
        units: key of each unit; default: 0, 1, ...

    Raises:
        InputError: graded events, more than one sample, no ``dt``, no steps, another number of keys.

    Example:
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> write(spikes, [6, 191])[191].t.tolist()
        [0.0021]
    """
    where = "io.pynapple.write"
    pynapple = library(where, "pynapple", "pynapple")
    if len(events.shape) != 3 or events.shape[1] != 1 or not events.shape[0]:
        fix = "Write one sample at a time: events.samples(i)."
        raise InputError(where, got=f"shape {events.shape}", expected="(steps, 1, units), at least one step", fix=fix)
    (trains,), (stop,) = split_trains(where, events, units)
    support = pynapple.IntervalSet(events.t0, stop)
    keys = range(len(trains)) if units is None else units
    group = {key: pynapple.Ts(train, time_support=support) for key, train in zip(keys, trains, strict=True)}
    return pynapple.TsGroup(group, time_support=support)


def save(events: EventTensor, path: str | PathLike[str], units: Sequence[int] | None = None) -> None:
    """Write the ``.npz`` file of ``TsGroup.save``; all of it or none of it. Arguments as for :func:`write`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     save(spikes, f"{folder}/a.npz")
        ...     read(f"{folder}/a.npz", dt=1e-3).events.shape
        (2000, 1, 2)
    """
    group = write(events, units)
    with writing(path, "io.pynapple.save") as out, TemporaryDirectory() as folder:
        file = Path(folder, "trains.npz")
        group.save(str(file))  # which takes the name of a file alone
        out.write(file.read_bytes())
