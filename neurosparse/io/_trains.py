"""Spike trains: times of any unit as integer nanoseconds, to events and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.build import nanosecond_parts
from neurosparse.events.checks import check_shape
from neurosparse.events.timing import NANO, decimal, start_of_step, step_nanoseconds
from neurosparse.io._arguments import check_duration, check_t0, required_dt

__all__ = ["FAR", "SCALES", "Recording", "join_trains", "nanosecond", "nanoseconds", "place", "split_trains"]

FAR = 2**22  # seconds (48 days): below, float64 resolves nanoseconds
SCALES = {"s": NANO, "ms": 10**6, "us": 10**3, "ns": 1}


class Recording(NamedTuple):
    """Events ``(steps, samples, units)``, and the name of each unit in its file."""

    events: EventTensor
    units: list


def nanoseconds(where: str, times: np.ndarray, unit: str = "s", far: bool = False) -> np.ndarray:
    """Times in ``unit`` as int64 nanoseconds: integers exactly, floats to the nearest nanosecond.

    ``far``: accept floats beyond 48 days, which resolve less than nanoseconds, with a warning.
    """
    times, scale = np.asarray(times), SCALES[unit]
    if times.dtype.kind in "iu":
        late = max(abs(int(times.max(initial=0))), abs(int(times.min(initial=0))))
        if late > (2**63 - 1) // scale:
            raise InputError(where, got=f"a time of {late} {unit}", expected="nanoseconds of 64 bits")
        return times.astype(np.int64) * scale
    if times.dtype.kind != "f":
        raise InputError(where, got=f"times of {times.dtype}", expected="numbers")
    times = times.astype(np.float64)
    if not np.isfinite(times).all():
        raise InputError(where, got="times that are not finite", expected="finite seconds", fix="Drop them first.")
    late = float(np.abs(times).max(initial=0.0)) * scale / NANO
    if late >= FAR:
        steps = f"{np.spacing(late) * NANO:.0f} ns"
        if not far or late >= 2**33:
            fix = "Subtract the start of the recording from all times" + f", or pass t0=: times resolve {steps} there."
            raise InputError(where, got=f"a time of {late:g} s", expected=f"seconds below {FAR}", fix=fix)
        warnings.warn(f"{where}: times near {late:.10g} s in float64 resolve only {steps}.", stacklevel=4)
    whole = np.floor(times)
    return whole.astype(np.int64) * scale + np.rint((times - whole) * scale).astype(np.int64)


def place(
    where: str,
    time: np.ndarray,
    unit: np.ndarray,
    n_units: int,
    dt: float,
    t0: float | None = None,
    stop: int | None = None,
    duration: float | None = None,
) -> EventTensor:
    """Integer nanoseconds and units of spikes, in any order, as one recording ``(steps, 1, units)``.

    Args:
        where: the public function, for errors.
        time, unit: int64 ``(events)``.
        n_units, dt: as for ``EventTensor.from_times``.
        t0: start in seconds; default: :func:`default_start`.
        stop: nanosecond at which the recording ends; default: the end of the step of the last event.
        duration: seconds after ``t0``, instead of ``stop``.
    """
    dt, duration, t0 = required_dt(where, dt), check_duration(where, duration), check_t0(where, t0)
    t0 = default_start(time) if t0 is None else t0
    start = nanosecond(dt, t0)
    stop = stop if duration is None else start + round(decimal(duration) * NANO)
    if time.size and int(time.min()) < start:
        first = int(time.min()) / NANO
        got, fix = f"an event at {first} s, a time before t0", f"Pass t0={first}, or earlier."
        raise InputError(where, got=got, expected=f"none before {t0} s", fix=fix)
    if time.size and stop is not None and int(time.max()) >= stop:
        last = int(time.max()) / NANO
        fix = f"Pass duration={float(decimal(last) - decimal(t0) + decimal(dt))}, or longer."
        raise InputError(where, got=f"an event at {last} s", expected=f"t < {stop / NANO} s", fix=fix)
    check_shape(where, (0, 1, n_units))
    parts = nanosecond_parts(where, torch.from_numpy(time), torch.from_numpy(unit), n_units, dt, t0, stop)
    return EventTensor._of(parts)


def default_start(time: np.ndarray) -> float:
    """0 s; a recording whose clock counts more than 48 days (times since 1970) starts with its first event."""
    first = int(time.min()) if time.size else 0
    return first // 1000 / 10**6 if first >= FAR * NANO else 0.0


def nanosecond(dt: float, t0: float) -> int:
    """Nanosecond at which a recording starts."""
    return int(step_nanoseconds(torch.tensor([0]), dt, t0))


def join_trains(
    where: str,
    time: np.ndarray,
    unit: np.ndarray,
    n_units: int,
    dt: float,
    observed: np.ndarray,
    duration: float | None = None,
    t0: float | None = None,
) -> EventTensor:
    """Trains in integer nanoseconds as one recording ``(steps, 1, units)``.

    ``observed``: intervals ``(start, stop)`` in nanoseconds in which units were observed. The recording lasts from the
    first start to the last stop; a spike at the last stop belongs to it. Without intervals it starts at 0 and lasts up
    to the step of its last spike. ``t0`` and ``duration``, in seconds, replace start and length.
    """
    by_unit = np.argsort(unit, kind="stable")
    backwards = (np.diff(time[by_unit]) < 0) & (np.diff(unit[by_unit]) == 0)
    if backwards.any():
        unsorted = len(np.unique(unit[by_unit][1:][backwards]))
        warnings.warn(f"{where}: the times of {unsorted} units are not in order; they are sorted.", stacklevel=3)
    stop = None
    if observed.size:
        start, stop = int(observed.min()), int(observed.max())
        if (observed != [start, stop]).any():
            text = f"{where}: units were not observed all the time from {start / NANO} to {stop / NANO} s; "
            warnings.warn(text + "gaps are read as silence.", stacklevel=3)
        t0 = start / NANO if t0 is None else t0
        stop += int(np.any(time == stop))
    return place(where, time, unit, n_units, dt, t0, stop, duration)


def split_trains(where: str, events: EventTensor, units: Sequence | None) -> tuple[list[list[np.ndarray]], list[float]]:
    """Seconds of the spikes, exact to the nanosecond, by sample and unit; and the end of each sample in seconds."""
    check_spike_trains(where, events)
    steps, samples, n_units = events.shape
    if units is not None and len(units) != n_units:
        raise InputError(where, got=f"{len(units)} names of units", expected=f"{n_units}, one per unit")
    seconds = events.times().cpu().numpy() / NANO
    lengths = [steps] * samples if events.lengths is None else events.lengths.tolist()
    stops = [start_of_step(length, events.dt, events.t0) for length in lengths]
    cell = (events.aer().sample * n_units + events.index).cpu().numpy()
    order = np.lexsort((seconds, cell))
    ends = np.bincount(cell, minlength=samples * n_units).cumsum()
    trains = np.split(seconds[order], ends[:-1]) if len(ends) else []
    return [trains[i * n_units : (i + 1) * n_units] for i in range(samples)], stops


def check_spike_trains(where: str, events: EventTensor) -> None:
    """Spikes ``(steps, samples, units)`` whose times in float64 seconds resolve nanoseconds."""
    if len(events.shape) != 3 or not events.binary:
        got = f"{'spikes' if events.binary else 'graded events'} of shape {events.shape}"
        raise InputError(where, got=got, expected="spikes (steps, samples, units)")
    if events.dt is not None and max(abs(events.t0), start_of_step(events.shape[0], events.dt, events.t0)) >= FAR:
        got = "a recording with times beyond 48 days"
        fix = "Count times from the start of the recording: rebase=True, or io.files.rebase(events)."
        raise InputError(where, got=got, expected=f"seconds below {FAR}", fix=fix)
