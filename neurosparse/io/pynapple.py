"""pynapple: spike trains as ``Ts`` and ``TsGroup``, and their ``.npz`` files (the extra ``pynapple``)."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from neurosparse.atomic import write_atomically
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.io._arguments import required_dt
from neurosparse.io._library import library
from neurosparse.io._trains import Recording, join_trains, split_trains

__all__ = ["read", "save", "write"]


def read(source: Any, dt: float) -> Recording:
    """Spike trains as one recording over their whole time support, exact to the nanosecond.

    A spike belongs to step ``floor((t - t0) / dt)``, computed in whole nanoseconds; the rest is kept as its offset.

    Args:
        source: a ``TsGroup``, a ``Ts``, or the path of an ``.npz`` file of either. Files are read without pynapple and
            without their metadata, which may hold code.
        dt: seconds per step.

    Returns:
        ``(events, units)``: spikes ``(steps, 1, units)`` and the keys of the units (0 of a ``Ts``). A warning is
        given where the time support has gaps.

    Raises:
        MissingFileError: no such file.
        InputError: no spike trains, a damaged file, a spike outside the time support.

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
        trains, observed = _from_file(where, Path(source))
    elif hasattr(source, "time_support") and (hasattr(source, "items") or hasattr(source, "t")):
        trains = dict(source.items()) if hasattr(source, "items") else {0: source}
        trains = {key: np.asarray(train.t, np.float64) for key, train in trains.items()}
        observed = np.stack([source.time_support.start, source.time_support.end], 1)
    else:
        raise InputError(where, got=type(source).__name__, expected="a TsGroup, a Ts or a path")
    return Recording(join_trains(where, list(trains.values()), dt, np.asarray(observed, np.float64)), list(trains))


def _from_file(where: str, path: Path) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Trains by unit and the intervals of the time support; only arrays of numbers are loaded."""
    if not path.is_file():
        raise MissingFileError(where, got=str(path), expected="an .npz file of pynapple", fix="Check the path.")
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            kind = str(file["type"][0])
            names = ("t", "start", "end") if kind == "Ts" else ("t", "start", "end", "index", "keys")
            parts = {name: file[name] for name in names}
        times, observed = parts["t"].astype(np.float64), np.stack([parts["start"], parts["end"]], 1)
        index, keys = parts.get("index", np.zeros(len(times))), parts.get("keys", np.zeros(1, np.int64))
        if kind not in ("Ts", "TsGroup") or times.ndim != 1 or index.shape != times.shape:
            raise ValueError(f"type {kind}, times of shape {times.shape}")
        if not np.isin(index, keys).all() or not np.isfinite(observed).all() or not observed.size:
            raise ValueError("its units or its time support do not match its times")
        return {int(key): times[index == key] for key in keys}, observed.astype(np.float64)
    except Exception as error:  # the archive, its members and their numbers each have errors of their own
        got, fix = f"{path.name}: {error}", "Save it again: TsGroup.save(path)."
        raise InputError(where, got=got, expected="a Ts or a TsGroup", fix=fix) from error


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
    with TemporaryDirectory() as folder:
        file = Path(folder, "trains.npz")
        write(events, units).save(str(file))
        write_atomically(path, file.read_bytes())
