"""tonic: structured arrays with a record ``(x, y, t, p)`` or ``(t, x, p)`` per event; tonic itself is not needed."""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.io import _pixels
from neurosparse.io._arguments import check_duration, required_dt

__all__ = ["read", "write"]

CAMERA = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
LINE = np.dtype([("t", "<i8"), ("x", "<i8"), ("p", "<i8")])  # of SHD and SSC: one axis of units, polarity 1
LAST_TIME = (1 << 53) - 1


def read(
    array: np.ndarray, sensor_size: tuple[int, int, int], dt: float = 1e-6, duration: float | None = None
) -> EventTensor:
    """Events of one recording, exact to the microsecond.

    Args:
        array: records with fields ``t`` (microseconds), ``x``, ``p`` and, for a camera, ``y``; in the order of time.
        sensor_size: ``(width, height, polarities)``, the attribute of tonic's data sets.
        dt: seconds per step; a coarser step keeps microseconds as offsets.
        duration: seconds of recording, silence included. Default: up to the step of the last event.

    Returns:
        Spikes ``(steps, 1, polarities, height, width)``, or ``(steps, 1, width)`` where there is no ``y``.

    Raises:
        InputError: missing fields or fields of no integers, an event outside the sensor or the duration, time that
            runs backwards.

    Example:
        >>> record = np.array([(7, 15, 654, True)], CAMERA)
        >>> events = read(record, sensor_size=(34, 34, 2), dt=1e-3)
        >>> events.shape, write(events).tolist()
        ((1, 1, 2, 34, 34), [(7, 15, 654, True)])

    Source: Lenz et al. 2021, "Tonic: event-based datasets and transformations".
    """
    where, array = "io.tonic.read", np.asarray(array)
    dt, duration, names = required_dt(where, dt), check_duration(where, duration), array.dtype.names or ()
    fields = ("p", "y", "x") if "y" in names else ("x",)
    wrong = [name for name in ("t", "p", *fields) if name not in names or array.dtype[name].kind not in "iub"]
    if wrong or array.ndim != 1:
        got = f"an array of {array.ndim} axes, dtype {array.dtype}"
        raise InputError(where, got=got, expected="records of integers t, x, p and, for a camera, y")
    size = tuple(whole(where, "sensor_size", n) for n in np.atleast_1d(np.array(sensor_size, dtype=object)))
    units = size[::-1] if "y" in names else size[:1]
    if len(size) != 3 or prod(size) != prod(units):
        expected = "(width, height, polarities); without y, (units, 1, 1)"
        raise InputError(where, got=f"sensor_size={sensor_size}", expected=expected)
    time, unit = array["t"].astype(np.int64), np.zeros(len(array), np.int64)
    for name, size in zip(fields, units, strict=True):
        column = array[name].astype(np.int64)
        if column.min(initial=0) < 0 or column.max(initial=0) >= size:
            got = f"{name} in {column.min()}..{column.max()}"
            raise InputError(where, got=got, expected=f"0 <= {name} < {size}", fix="Check sensor_size.")
        unit = unit * size + column
    if np.any(np.diff(time, prepend=0) < 0):
        fix = "Sort it: array[np.argsort(array['t'], kind='stable')]."
        raise InputError(where, got="time that runs backwards", expected="events in order from 0 on", fix=fix)
    seconds, flat = torch.from_numpy(time / 1e6), torch.from_numpy(unit)
    return _pixels.with_units(
        EventTensor.from_times(seconds, flat, n_units=prod(units), dt=dt, duration=duration), units
    )


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
