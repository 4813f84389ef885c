"""Spike trains: one array of seconds per unit to events, and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.timing import NANO, start_of_step
from neurosparse.io._arguments import check_duration, required_dt

__all__ = ["Recording", "join_trains", "split_trains"]

FAR = 2**22  # seconds (48 days): below, float64 resolves nanoseconds


class Recording(NamedTuple):
    """Events ``(steps, samples, units)``, and the name of each unit in its file."""

    events: EventTensor
    units: list


def join_trains(
    where: str, trains: Sequence[np.ndarray], dt: float, observed: np.ndarray, duration: float | None = None
) -> EventTensor:
    """Trains in seconds as one recording ``(steps, 1, units)``.

    ``observed``: intervals ``(start, stop)`` in which units were observed. The recording lasts from the first start to
    the last stop; a spike at the last stop belongs to it. Without intervals it starts at 0 and lasts ``duration``, or
    up to the step of its last spike.
    """
    dt, duration = required_dt(where, dt), check_duration(where, duration)
    times = np.concatenate([np.zeros(0), *trains])
    unit = np.repeat(np.arange(len(trains)), np.array([len(train) for train in trains], dtype=np.int64))
    start, stop = (float(observed.min()), float(observed.max())) if observed.size else (0.0, None)
    if (observed != [start, stop]).any():
        text = f"{where}: units were not observed all the time from {start} to {stop} s; gaps are read as silence."
        warnings.warn(text, stacklevel=3)
    late = float(np.abs([*times, start, stop or 0.0]).max())
    if late >= FAR:
        fix = "Subtract the start of the recording from all times."
        raise InputError(where, got=f"a time of {late:g} s", expected=f"seconds below {FAR}", fix=fix)
    if duration is None and stop is not None:
        duration = stop - start + (1 / NANO if stop in times else 0.0)
    options = {"n_units": len(trains), "dt": dt, "duration": duration, "t0": start}
    return EventTensor.from_times(torch.from_numpy(times), torch.from_numpy(unit), **options)


def split_trains(where: str, events: EventTensor, units: Sequence | None) -> tuple[list[list[np.ndarray]], list[float]]:
    """Seconds of the spikes, exact to the nanosecond, by sample and unit; and the end of each sample in seconds."""
    if len(events.shape) != 3 or not events.binary:
        got = f"{'spikes' if events.binary else 'graded events'} of shape {events.shape}"
        raise InputError(where, got=got, expected="spikes (steps, samples, units)")
    steps, samples, n_units = events.shape
    if units is not None and len(units) != n_units:
        raise InputError(where, got=f"{len(units)} names of units", expected=f"{n_units}, one per unit")
    seconds = events.times().cpu().numpy() / NANO
    lengths = [steps] * samples if events.lengths is None else events.lengths.tolist()
    stops = [start_of_step(length, events.dt, events.t0) for length in lengths]
    if max([0.0, abs(events.t0), *stops]) >= FAR:
        fix = "Write a part of it: .steps(start, stop)."
        raise InputError(where, got="a recording with times beyond 48 days", expected=f"seconds below {FAR}", fix=fix)
    cell = (events.aer().sample * n_units + events.index).cpu().numpy()
    order = np.lexsort((seconds, cell))
    ends = np.bincount(cell, minlength=samples * n_units).cumsum()
    trains = np.split(seconds[order], ends[:-1]) if len(ends) else []
    return [trains[i * n_units : (i + 1) * n_units] for i in range(samples)], stops
