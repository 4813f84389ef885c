"""Neurodata Without Borders (NWB): spike trains of sorted units, by pynwb (the extra ``nwb``)."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
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
from neurosparse.io._library import library
from neurosparse.io._trains import Recording, join_trains, split_trains

__all__ = ["read", "write"]


def read(path: str | PathLike[str], dt: float, duration: float | None = None) -> Recording:
    """The sorted units of a session as one recording, exact to the nanosecond.

    A spike belongs to step ``floor((t - t0) / dt)``, computed in whole nanoseconds; the rest is kept as its offset.
    ``t0`` is the start of observation (``obs_intervals`` of the units), else 0, the start of the session.

    Args:
        path: the file.
        dt: seconds per step.
        duration: seconds of recording after ``t0``, silence included. Default: up to the end of observation; where
            the file does not state it, up to the step of the last spike.

    Returns:
        ``(events, units)``: spikes ``(steps, 1, units)`` and the ids of the units, the index of pynwb's
        ``nwbfile.units.to_dataframe()``. A warning is given where units were observed for a part of the time only.

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
    pynwb = library("io.nwb.read", "pynwb", "nwb")
    dt, path = required_dt("io.nwb.read", dt), Path(path)
    if not path.is_file():
        raise MissingFileError("io.nwb.read", got=str(path), expected="an NWB file", fix="Check the path.")
    try:
        with warnings.catch_warnings():
            # These warnings are about how pynwb would write such a file today.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="hdmf|pynwb")
            with pynwb.NWBHDF5IO(str(path), "r") as file:
                table = file.read().units
                columns = None if table is None else _columns(table)
    except Exception as error:  # pynwb, hdmf and h5py each raise errors of their own on a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        got, fix = f"{path.name}: {reason}", "Fetch or export the file again."
        raise InputError("io.nwb.read", got=got, expected="a valid NWB file", fix=fix) from error
    if columns is None:
        fix = "Pass a file of sorted units."
        raise InputError("io.nwb.read", got=f"{path.name} without spike times", expected="a table of units", fix=fix)
    trains, observed, units = columns
    return Recording(join_trains("io.nwb.read", trains, dt, observed, duration), units)


def _columns(table: Any) -> tuple[list[np.ndarray], np.ndarray, list[int]] | None:
    """Spike times of each unit, the intervals of observation and ids; None where there are no spike times."""
    if "spike_times" not in table.colnames:
        return None
    times, ends = np.asarray(table.spike_times.data[:], np.float64), np.asarray(table.spike_times_index.data[:], int)
    if np.any(np.diff(ends, prepend=0) < 0) or ends[-1:].sum() != len(times):
        raise ValueError("the units' index does not fit their spike times")
    observed = table.obs_intervals.data[:] if "obs_intervals" in table.colnames else np.zeros((0, 2))
    return np.split(times, ends)[:-1], np.asarray(observed, np.float64), table.id[:].tolist()


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
    write_atomically(path, content.getvalue())
