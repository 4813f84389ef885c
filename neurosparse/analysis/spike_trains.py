"""Statistics of spike trains: interspike intervals, irregularity (CV, CV2, LV), Fano factor, count correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor

__all__ = ["SpikeTrainStatistics", "count_correlation", "fano_factor", "spike_train_statistics", "window_counts"]


@dataclass(frozen=True, repr=False, eq=False)
class SpikeTrainStatistics:
    """The result of `spike_train_statistics`, per train ``(samples, *units)``; ``print`` shows a table.

    Args:
        spikes: number of spikes.
        rate: hertz; spikes per step where the events have no ``dt``.
        cv: standard deviation over mean of the intervals; 1 for a Poisson process, 0 for a regular train.
        cv2, lv: from adjacent intervals only, so that slow changes of the rate have no influence.
        intervals: of all trains, concatenated, in seconds or steps.
        train: flat index of the train of each interval.
        tick: unit of which every interval is a multiple: a step, or a nanosecond where spikes have sub-step times.
        unit: of the intervals, ``"s"`` or ``"steps"``.
    """

    spikes: np.ndarray
    rate: np.ndarray
    cv: np.ndarray
    cv2: np.ndarray
    lv: np.ndarray
    intervals: np.ndarray
    train: np.ndarray
    tick: float
    unit: str

    def __repr__(self) -> str:
        names = {"rate": "Hz" if self.unit == "s" else "per step", "cv": "", "cv2": "", "lv": ""}
        lines = [f"{'':6}{'trains':>8}{'mean':>10}{'sd':>10}"]
        for name, unit in names.items():
            known = getattr(self, name)[np.isfinite(getattr(self, name))]
            mean, sd = (known.mean(), known.std()) if known.size else (math.nan, math.nan)
            lines.append(f"{name:6}{known.size:8}{mean:10.3g}{sd:10.3g} {unit}".rstrip())
        return "\n".join(lines)


def spike_train_statistics(events: EventTensor) -> SpikeTrainStatistics:
    """Intervals, rates and irregularity of every spike train.

    With ``n`` intervals ``I``, all sums over one train:

    * ``cv = sqrt(sum (I - mean I)^2 / n) / mean I``;
    * ``cv2 = sum 2 |I_k+1 - I_k| / (I_k+1 + I_k) / (n - 1)``;
    * ``lv = sum 3 ((I_k+1 - I_k) / (I_k+1 + I_k))^2 / (n - 1)``.

    Intervals are differences of whole steps, or of whole nanoseconds where spikes have sub-step times, and are not
    rounded. The irregularity of a train of fewer than three spikes is NaN.

    Args:
        events: spikes ``(steps, samples, *units)``; each unit of each sample is one train.

    Raises:
        InputError: graded events, a sample without a step.

    Example:
        >>> spikes = EventTensor.from_times([0.1, 0.2, 0.4, 0.5], [0, 0, 0, 1], n_units=2, dt=1e-3, duration=1.0)
        >>> found = spike_train_statistics(spikes)
        >>> found.rate.tolist(), found.cv.round(3).tolist(), found.intervals.tolist()
        ([[3.0, 1.0]], [[0.333, nan]], [0.1, 0.2])

    Source:
        Holt, Softky, Koch & Douglas 1996 (cv2); Shinomoto, Shima & Tanji 2003 (lv).
    """
    _check("spike_train_statistics", events)
    steps, samples, *units = events.shape
    cell = (events.aer().sample * events.n_units + events.index).cpu().numpy()
    tick = (events.row // max(samples, 1) if events.offset is None else events.times()).cpu().numpy()
    seconds = 1.0 if events.dt is None else events.dt if events.offset is None else 1e-9
    order = np.lexsort((tick, cell))
    same = np.diff(cell[order]) == 0
    interval, train = np.diff(tick[order])[same].astype(np.float64), cell[order][1:][same]
    trains, shape = samples * events.n_units, (samples, *units)

    def mean(values: np.ndarray, which: np.ndarray, least: int) -> np.ndarray:
        """Mean of each train, where there are at least this number of values."""
        many, total = np.bincount(which, minlength=trains), np.bincount(which, values, minlength=trains)
        return np.divide(total, many, out=np.full(trains, np.nan), where=many >= least)

    average = mean(interval, train, 2)
    pair = train[1:] == train[:-1]
    first, second = interval[:-1][pair], interval[1:][pair]
    with np.errstate(invalid="ignore"):  # undefined for spikes at the same time
        cv = np.sqrt(mean((interval - average[train]) ** 2, train, 2)) / average
        contrast = np.abs(second - first) / (second + first)
    lengths = np.full(samples, steps) if events.lengths is None else events.lengths.cpu().numpy()
    spikes = np.bincount(cell, minlength=trains).reshape(shape)
    duration = lengths.reshape(-1, *[1] * len(units)) * (1.0 if events.dt is None else events.dt)
    return SpikeTrainStatistics(
        spikes=spikes,
        rate=spikes / duration,
        cv=cv.reshape(shape),
        cv2=mean(2 * contrast, train[1:][pair], 1).reshape(shape),
        lv=mean(3 * contrast**2, train[1:][pair], 1).reshape(shape),
        intervals=interval * seconds,
        train=train,
        tick=seconds,
        unit="steps" if events.dt is None else "s",
    )


def window_counts(events: EventTensor, steps: int) -> np.ndarray:
    """Spike counts of each unit in windows of this number of steps, ``(windows, units)``, sample after sample.

    Windows are whole: the rest at the end of a sample is dropped.

    Raises:
        InputError: graded events, a window shorter than a step or longer than every sample.

    Example:
        >>> import torch
        >>> window_counts(EventTensor.from_dense(torch.ones(5, 1, 2), spikes=True), 2).tolist()
        [[2.0, 2.0], [2.0, 2.0]]
    """
    _check("window_counts", events)
    longest, samples = events.shape[:2]
    lengths = np.full(samples, longest) if events.lengths is None else events.lengths.cpu().numpy()
    steps = whole("window_counts", "steps", steps, 1, int(lengths.max()), "Shorten the windows.")
    windows = lengths // steps
    sample, window = events.aer().sample.cpu().numpy(), (events.row // samples).cpu().numpy() // steps
    inside = window < windows[sample]
    row = ((windows.cumsum() - windows)[sample] + window)[inside]
    cell = row * events.n_units + events.index.cpu().numpy()[inside]
    size = int(windows.sum()) * events.n_units
    return np.bincount(cell, minlength=size).astype(np.float64).reshape(-1, events.n_units)


def fano_factor(events: EventTensor, steps: int) -> np.ndarray:
    """Variance over mean of the spike counts of each unit in windows: 1 for a Poisson process of constant rate.

    The variance is unbiased; windows of all samples are pooled, so repetitions of a stimulus may be samples.

    Args:
        events: spikes ``(steps, samples, *units)``.
        steps: length of a window.

    Returns:
        ``(units)``; NaN for a unit without spikes, or for a single window.

    Raises:
        InputError: as `window_counts`.

    Example:
        >>> clock = EventTensor.from_times([0.0, 0.1, 0.2, 0.3], [0] * 4, n_units=1, dt=1e-3, duration=0.4)
        >>> fano_factor(clock, 100)
        array([0.])

    Source:
        Fano 1947.
    """
    counts = window_counts(events, steps)
    if len(counts) < 2:
        return np.full(counts.shape[1], np.nan)
    with np.errstate(invalid="ignore"):
        return counts.var(0, ddof=1) / counts.mean(0)


def count_correlation(events: EventTensor, steps: int) -> np.ndarray:
    """Pearson correlation of the spike counts of each pair of units in windows.

    Args:
        events: spikes ``(steps, samples, *units)``; the result has all pairs of units.
        steps: length of a window: short windows show synchrony, long ones common changes of rate.

    Returns:
        ``(units, units)``, symmetric; NaN for a unit of constant count.

    Raises:
        InputError: as `window_counts`.

    Example:
        >>> import torch
        >>> one = torch.rand(1000, 1, 1, generator=torch.Generator().manual_seed(0)) < 0.1
        >>> twice = EventTensor.from_dense(torch.cat([one, one], 2))
        >>> count_correlation(twice, 10).round(6).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    counts = window_counts(events, steps)
    centred = counts - counts.mean(0)
    size = np.sqrt((centred**2).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = centred / size
        return np.clip(unit.T @ unit, -1, 1)


def _check(where: str, events: EventTensor) -> None:
    if not isinstance(events, EventTensor):
        raise InputError(where, got=f"a {type(events).__name__}", expected="an EventTensor of spikes")
    if not events.binary:
        fix = "Build the events with spikes=True if each of them is one spike."
        raise InputError(where, got="graded events", expected="spikes", fix=fix)
    if 0 in events.shape[:2] or (events.lengths is not None and not bool((events.lengths > 0).all())):
        fix = "Leave empty samples out."
        raise InputError(where, got=f"shape {events.shape}, an empty sample", expected="at least a step", fix=fix)
