"""Neurodata Without Borders (NWB): spike trains of sorted units, by pynwb (the extra ``nwb``)."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from neurosparse.atomic import write_atomically
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.io._arguments import required_dt
from neurosparse.io._library import check_unpacked, claimed, library
from neurosparse.io._trains import Recording, join_trains, nanoseconds, split_trains

__all__ = ["left_out", "read", "write"]


def read(
    path: str | PathLike[str],
    dt: float,
    duration: float | None = None,
    t0: float | None = None,
    table: str | None = None,
) -> Recording:
    """The sorted units of a session as one recording, exact to the nanosecond.

    A spike belongs to step ``floor((t - t0) / dt)``, computed in whole nanoseconds; the rest is kept as its offset.

    Args:
        path: the file.
        dt: seconds per step.
        duration: seconds of recording after ``t0``, silence included. Default: up to the end of observation; where
            the file does not state it, up to the step of the last spike.
        t0: start of the recording in seconds of the session. Default: the start of observation (``obs_intervals`` of
            the units), else 0. Spikes before the session began need it.
        table: path of a table of units in the file, such as ``processing/ecephys/units``; default: ``units``, or the
            only table of units in a processing module.

    Returns:
        ``(events, units)``: spikes ``(steps, 1, units)`` and the ids of the units, the index of pynwb's
        ``nwbfile.units.to_dataframe()``. A warning is given where units were observed for a part of the time only,
        and where times are not in order. :func:`left_out` names what is not read.

    Raises:
        MissingFileError: no such file.
        InputError: not NWB, damaged, without spike times, or a spike outside the recording.

    Example:
        >>> from datetime import timezone
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=3, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, f"{folder}/a.nwb", datetime(2020, 1, 1, tzinfo=timezone.utc), units=[6, 191, 206])
        ...     events, units = read(f"{folder}/a.nwb", dt=1e-3)
        >>> events.shape, events.times().tolist(), units
        ((2000, 1, 3), [2100000, 500000000], [6, 191, 206])

    Source: Rübel et al. 2022, "The Neurodata Without Borders ecosystem for neurophysiological data science".
    """
    where, path = "io.nwb.read", Path(path)
    pynwb, dt = library(where, "pynwb", "nwb"), required_dt(where, dt)
    if table is not None and not isinstance(table, str):
        raise InputError(where, got=f"table={table!r}", expected="the path of a table of units in the file")
    with _opened(where, path) as content, warnings.catch_warnings():
        # These warnings are about how pynwb would write such a file today.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="hdmf|pynwb")
        with pynwb.NWBHDF5IO(file=content, mode="r") as file:
            session = file.read()
            tables = {} if session.units is None else {"units": session.units}
            for name, module in session.processing.items():
                inside = module.data_interfaces.items()
                tables |= {f"processing/{name}/{k}": v for k, v in inside if isinstance(v, pynwb.misc.Units)}
            tables = {name: each for name, each in tables.items() if "spike_times" in each.colnames}
            chosen = _chosen(where, path, tables, table)
            times, observed, ends, ids = _columns(where, path, chosen)
    far = t0 is not None
    time, observed = nanoseconds(where, times, far=far), nanoseconds(where, observed, far=far)
    unit = np.repeat(np.arange(len(ids)), np.diff(ends, prepend=0))
    return Recording(join_trains(where, time, unit, len(ids), dt, observed, duration, t0), ids)


@contextmanager
def _opened(where: str, path: Path) -> Iterator[Any]:
    """The HDF5 file; every error of reading it becomes an ``InputError``."""
    h5py = library(where, "h5py", "nwb")
    if not path.is_file():
        raise MissingFileError(where, got=str(path), expected="an NWB file", fix="Check the path.")
    try:
        with h5py.File(path, "r") as content:
            text: list[int] = []  # pynwb reads text and references when it opens a file
            content.visititems(lambda _, part: text.append(claimed(part)) if _is_text(part) else None)
            check_unpacked(where, path, sum(text))
            yield content
    except InputError:
        raise
    except Exception as error:  # pynwb, hdmf and h5py each raise errors of their own on a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        got, fix = f"{path.name}: {reason}", "Fetch or export the file again."
        raise InputError(where, got=got, expected="a valid NWB file", fix=fix) from error


def _is_text(part: Any) -> bool:
    return getattr(getattr(part, "dtype", None), "kind", "") in ("O", "S")


def _chosen(where: str, path: Path, tables: dict[str, Any], table: str | None) -> Any:
    """The table of units: the one named, the one of the session, or the only one."""
    name = table or ("units" if "units" in tables else next(iter(tables)) if len(tables) == 1 else None)
    if name in tables:
        return tables[name]
    if not tables:
        fix = "Pass a file of sorted units."
        raise InputError(where, got=f"{path.name} without spike times", expected="a table of units", fix=fix)
    got = f"table={table!r}" if table else f"{path.name} with several tables of units"
    fix = f"Pass table={next(iter(tables))!r}."
    raise InputError(where, got=got, expected=f"one of {', '.join(tables)}", fix=fix)


def _columns(where: str, path: Path, table: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Spike times of all units, intervals of observation, the end of each unit's times, and ids."""
    has_intervals = "obs_intervals" in table.colnames
    parts = [table.spike_times.data, table.spike_times_index.data, table.id.data]
    parts += [table.obs_intervals.data] if has_intervals else []
    check_unpacked(where, path, sum(claimed(part) for part in parts))
    times, ends, ids = parts[0][:], np.asarray(parts[1][:], np.int64), np.asarray(parts[2][:])
    if np.any(np.diff(ends, prepend=0) < 0) or ends[-1:].sum() != len(times) or len(ids) != len(ends):
        raise ValueError("the units' index does not fit their spike times")
    observed = np.asarray(parts[3][:] if has_intervals else np.zeros((0, 2)), np.float64)
    return np.asarray(times), observed, ends, ids.tolist()


#: What every session states about itself, and what read returns; never named as left out.
READ = {"spike_times", "spike_times_index", "obs_intervals", "obs_intervals_index", "id"}
SESSION = {"file_create_date", "identifier", "session_description", "session_start_time", "specifications"}
SESSION |= {"timestamps_reference_time"}


def left_out(path: str | PathLike[str], table: str | None = None) -> list[str]:
    """Names of what :func:`read` leaves out: other columns of the units, and every other object of the session.

    Args:
        path: the file.
        table: of :func:`read`; default: ``units``, or the first table of units in a processing module.

    Example:
        >>> from datetime import timezone
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.5], [0], n_units=1, dt=1e-3)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, f"{folder}/a.nwb", datetime(2020, 1, 1, tzinfo=timezone.utc), lab="ours")
        ...     left_out(f"{folder}/a.nwb")
        ['general/lab']
    """
    with _opened("io.nwb.left_out", Path(path)) as content:
        found: list[str] = []
        content.visititems(lambda name, part: _note(found, name, part))
        tables: list[str] = []
        content.visititems(lambda name, part: tables.append(name) if _kind(part) == "Units" else None)
        chosen = table or ("units" if "units" in tables else tables[0] if tables else "")
        others = [name for name in tables if name != chosen]
        return [name for name in found if not name.startswith(tuple(f"{other}/" for other in others))] + others


def _kind(part: Any) -> str:
    return str(part.attrs.get("neurodata_type", ""))


def _note(found: list[str], name: str, part: Any) -> None:
    """Add an object of the file unless it was read, is empty, or belongs to an object already added."""
    first, last, kind = name.split("/")[0], name.split("/")[-1], _kind(part)
    in_units = _kind(part.parent) == "Units"
    plain_group = not hasattr(part, "dtype") and not kind
    if first in SESSION or plain_group or kind in ("Units", "ProcessingModule") or (in_units and last in READ):
        return
    if not any(name.startswith(f"{other}/") for other in found) and not (in_units and last.endswith("_index")):
        found.append(name)


def write(
    events: EventTensor, path: str | PathLike[str], start: datetime, units: Sequence[int] | None = None, **session: Any
) -> None:
    """Write a recording as the units of an NWB file; all of the file or none of it.

    Args:
        events: spikes ``(steps, 1, units)`` in seconds (``dt`` is known).
        path: the file to write.
        start: when the session began, with its time zone; ``events.t0`` counts from there.
        units: id of each unit; default: 0, 1, ...
        session: further arguments of ``pynwb.NWBFile`` (``session_description``, ``identifier``, ``subject``, ...).

    Raises:
        InputError: graded events, more than one sample, no ``dt``, another number of ids.
        MissingFileError: the folder does not exist.

    Example: see :func:`read`.
    """
    h5py, pynwb = (library("io.nwb.write", name, "nwb") for name in ("h5py", "pynwb"))
    if len(events.shape) != 3 or events.shape[1] != 1:
        fix = "Write one sample per file: events.samples(i)."
        raise InputError("io.nwb.write", got=f"shape {events.shape}", expected="(steps, 1, units)", fix=fix)
    (trains,), (stop,) = split_trains("io.nwb.write", events, units)
    about = {"session_description": "spike trains", "identifier": str(uuid4()), **session}
    file = pynwb.NWBFile(session_start_time=start, **about)
    for unit, train in zip(range(len(trains)) if units is None else units, trains, strict=True):
        file.add_unit(id=unit, spike_times=train, obs_intervals=np.array([[events.t0, stop]]))
    content = io.BytesIO()
    with h5py.File(content, "w") as target, pynwb.NWBHDF5IO(file=target, mode="w") as out:
        out.write(file)
    write_atomically(path, content.getvalue(), "io.nwb.write")
