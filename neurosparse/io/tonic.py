"""tonic: structured arrays with a record ``(x, y, t, p)`` or ``(t, x, p)`` per event; tonic itself is not needed."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import numpy as np

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.io import _pixels
from neurosparse.io._arguments import required_dt
from neurosparse.io._trains import nanoseconds, place

__all__ = ["left_out", "read", "write"]

CAMERA = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
LINE = np.dtype([("t", "<i8"), ("x", "<i8"), ("p", "<i8")])  # of SHD and SSC: one axis of units, polarity 1
LAST_TIME = (1 << 53) - 1


def read(
    array: np.ndarray,
    sensor_size: tuple[int, int, int],
    dt: float = 1e-6,
    duration: float | None = None,
    t0: float | None = None,
    on_error: str = "raise",
) -> EventTensor:
    """Events of one recording, exact to the microsecond.

    Args:
        array: records with fields ``t`` (microseconds), ``x``, ``p`` (or, as tonic names it for AEDAT4, ``on``) and,
            for a camera, ``y``. In the order of time; :func:`left_out` names other fields.
        sensor_size: ``(width, height, polarities)``, the attribute of tonic's data sets.
        dt: seconds per step; a coarser step keeps microseconds as offsets.
        duration: seconds of recording after ``t0``, silence included. Default: up to the step of the last event.
        t0: start of the recording in seconds. Default: 0, or the first event where times count from 1970 (more than
            48 days).
        on_error: events off the sensor, or earlier than one before them, are an error (``"raise"``), left out
            (``"drop"``) or, those out of order, sorted (``"sort"``); a warning counts them.

    Returns:
        Spikes ``(steps, 1, polarities, height, width)``, or ``(steps, 1, width)`` where there is no ``y``.

    Raises:
        InputError: missing fields or fields of no integers, an event outside the sensor or the time of recording,
            time that runs backwards.

    Example:
        >>> record = np.array([(7, 15, 654, True)], CAMERA)
        >>> events = read(record, sensor_size=(34, 34, 2), dt=1e-3)
        >>> events.shape, write(events).tolist()
        ((1, 1, 2, 34, 34), [(7, 15, 654, True)])

    Source: Lenz et al. 2021, "Tonic: event-based datasets and transformations".
    """
    where, array = "io.tonic.read", np.asarray(array)
    dt, columns = required_dt(where, dt), _columns(where, array)
    fields = ("p", "y", "x") if "y" in columns else ("x",)
    size = tuple(whole(where, "sensor_size", n) for n in np.atleast_1d(np.array(sensor_size, dtype=object)))
    units = size[::-1] if "y" in columns else size[:1]
    if len(size) != 3 or prod(size) != prod(units):
        expected = "(width, height, polarities); without y, (units, 1, 1)"
        raise InputError(where, got=f"sensor_size={sensor_size}", expected=expected)
    if "y" not in columns and len(np.unique(columns["p"])) > 1:
        fix = "Read each polarity apart: array[array['p'] == 1]."
        raise InputError(where, got="records of two polarities without y", expected="one polarity", fix=fix)
    time = nanoseconds(where, columns["t"], "us")
    keep = _valid(where, _pixels.on_error_of(where, on_error), time, columns, dict(zip(fields, units, strict=True)))
    if t0 is None and keep.any() and time[keep].min() < 0:
        got, fix = f"an event at {time.min() // 1000} us, before 0: time that runs backwards", "Pass t0=."
        raise InputError(where, got=got, expected="events from 0 on", fix=fix)
    unit = np.zeros(len(array), np.int64)
    for name, size in zip(fields, units, strict=True):
        unit = unit * size + columns[name].astype(np.int64)
    events = place(where, time[keep], unit[keep], prod(units), dt, t0, duration=duration)
    return _pixels.with_units(events, units)


def _valid(where: str, on_error: str, time: np.ndarray, columns: dict[str, np.ndarray], sizes: dict) -> np.ndarray:
    """Which records are read; those off the sensor or out of order are refused, or counted in a warning."""
    keep, found = np.ones(len(time), bool), []
    for name, size in sizes.items():
        column = columns[name]
        off = (column < 0) | (column >= size)
        if off.any() and on_error != "drop":
            got, fix = f"{name} in {column.min()}..{column.max()}", "Check sensor_size, or pass on_error='drop'."
            raise InputError(where, got=got, expected=f"0 <= {name} < {size}", fix=fix)
        keep &= ~off
    found += [f"{int((~keep).sum())} events off the sensor, dropped"] if not keep.all() else []
    early = keep & (time < np.maximum.accumulate(np.where(keep, time, np.iinfo(np.int64).min)))
    if early.any():
        if on_error == "raise":
            fix = "Sort it: array[np.argsort(array['t'], kind='stable')], or pass on_error='sort'."
            raise InputError(where, got="time that runs backwards", expected="events in order from 0 on", fix=fix)
        found.append(f"{int(early.sum())} events out of order, {'dropped' if on_error == 'drop' else 'sorted'}")
        keep &= ~early | (on_error == "sort")
    if found:
        warnings.warn(f"{where}: {'; '.join(found)}.", stacklevel=3)
    return keep


def _columns(where: str, array: Any) -> dict[str, np.ndarray]:
    """Integer columns by name; the title of a column of NumPy (``("p", "on")``) is a name too."""
    names = array.dtype.fields or {}
    polarity = "p" if "p" in names else "on"
    wanted = {"t": "t", "p": polarity, "x": "x", **({"y": "y"} if "y" in names else {})}
    if array.ndim != 1 or any(name not in names or names[name][0].kind not in "iub" for name in wanted.values()):
        got = f"an array of {array.ndim} axes, dtype {array.dtype}"
        raise InputError(where, got=got, expected="records of integers t, x, p and, for a camera, y")
    return {name: array[theirs] for name, theirs in wanted.items()}


def left_out(array: np.ndarray) -> list[str]:
    """Fields of the records that :func:`read` does not read.

    Example:
        >>> left_out(np.zeros(3, [("t", int), ("x", int), ("p", bool), ("camera", int)]))
        ["field 'camera'"]
    """
    return [f"field {name!r}" for name in array.dtype.names or () if name not in ("t", "x", "y", "p", "on")]


def write(events: EventTensor) -> np.ndarray:
    """One recording as tonic's structured array, in the order of time.

    Args:
        events: spikes ``(steps, 1, polarities, height, width)`` or ``(steps, 1, units)`` at whole microseconds.

    Returns:
        Records ``(x, y, t, p)``; for one axis of units ``(t, x, p)`` with ``p`` 1.

    Raises:
        InputError: another shape, graded events, times that are no whole microseconds or negative, silence after the
            last event, which an array cannot hold.

    Example: see :func:`read`.
    """
    where = "io.tonic.write"
    if len(events.shape) not in (3, 5) or (len(events.shape) == 5 and events.shape[2] > 2):
        expected = "(steps, 1, polarities, height, width) or (steps, 1, units)"
        raise InputError(where, got=f"shape {events.shape}", expected=expected)
    time, unit = _pixels.microseconds(where, events, LAST_TIME)
    _pixels.refuse_silence(where, events)
    camera = len(events.shape) == 5
    array = np.empty(len(time), CAMERA if camera else LINE)
    width = events.shape[-1]
    array["t"], array["x"], array["p"] = time, unit % width, unit // prod(events.shape[3:]) if camera else 1
    if camera:
        array["y"] = unit // width % events.shape[3]
    return array
