"""Event-driven simulation of integrate-and-fire neurons with lateral inhibition: exact spike times, no time grid.

Until the next spike, ``t`` from now, neuron i has the current ``drive_i - inhibition_i e^-t``, and so the membrane
``membrane_i + drive_i t - inhibition_i (1 - e^-t)``. It fires at 1 and is reset to 0; its spike adds its row of
``weights`` to the inhibition. The spike time is the first root of that curve, whose second derivative has one sign:
Newton's method from the right side does not overshoot.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers

__all__ = ["Spikes", "crossing_reference", "fire", "fire_reference"]

MOST = 100  # Newton steps; each halves the distance of a curve that only touches the threshold
ROOM = 1 << 22  # spikes that are stored at a time, of all samples together


class Spikes(NamedTuple):
    """Spike ``counts (samples, neurons)``, and sample, neuron and time of each spike; empty if not recorded."""

    counts: Tensor
    sent: tuple[Tensor, Tensor, Tensor]


def crossing_reference(membrane: Tensor, drive: Tensor, inhibition: Tensor) -> Tensor:
    """The reference: the first ``t >= 0`` at which each membrane is 1; infinity if there is none."""
    missing = 1 - membrane

    def rise(t: Tensor) -> Tensor:
        return drive * t + inhibition * torch.expm1(-t)

    peak = torch.where((drive < 0) & (inhibition < drive), (inhibition / drive).log(), torch.zeros_like(drive))
    fires = torch.where(drive > 0, True, (drive == 0) & (-inhibition > missing) | (rise(peak) >= missing))
    t = torch.where(inhibition > 0, (missing + inhibition) / drive, torch.zeros_like(drive))
    for _ in range(MOST):
        t = torch.where(fires, t - (rise(t) - missing) / (drive - inhibition * torch.exp(-t)), torch.inf)
    return torch.where(missing <= 0, torch.zeros_like(t), t)


def fire_reference(
    drive: Tensor, weights: Tensor, membrane: Tensor, inhibition: Tensor, duration: float, record: bool = True
) -> Spikes:
    """The reference: spikes of ``drive (samples, neurons)``; updates ``membrane`` and ``inhibition``."""
    counts, spikes = torch.zeros_like(drive, dtype=torch.int64), []
    for sample, (v, c) in enumerate(zip(membrane, inhibition, strict=True)):
        now = 0.0
        while now < duration:
            wait, neuron = crossing_reference(v, drive[sample], c).min(0)
            t = min(float(wait), duration - now)
            v += drive[sample] * t + c * np.expm1(-t)
            c *= np.exp(-t)
            if now + float(wait) >= duration:
                break
            now += t
            v[neuron] = 0
            c += weights[neuron]
            counts[sample, neuron] += 1
            spikes.append((sample, int(neuron), now))
    sample, neuron, time = zip(*spikes, strict=True) if spikes and record else ((), (), ())
    sample, neuron = torch.tensor(sample, dtype=torch.int64), torch.tensor(neuron, dtype=torch.int32)
    return Spikes(counts, (sample, neuron, torch.tensor(time, dtype=torch.float64)))


@kernel
def _crossing(missing, drive, inhibition):
    """Time until the membrane has risen by ``missing``, as `crossing_reference`."""
    if missing <= 0:
        return 0.0
    if inhibition > 0:
        if drive <= 0:
            return np.inf
        t = (missing + inhibition) / drive
    else:
        if drive < 0:
            if inhibition >= drive:
                return np.inf
            peak = np.log(inhibition / drive)
            if drive * peak + inhibition * np.expm1(-peak) < missing:
                return np.inf
        elif drive == 0 and -inhibition <= missing:
            return np.inf
        t = 0.0
    for _ in range(MOST):
        e = np.expm1(-t)
        step = (drive * t + inhibition * e - missing) / (drive - inhibition * (e + 1))
        # Newton converges from one side: a step the other way, or of 0, is rounding.
        if step == 0 or (step > 0) != (inhibition > 0) or t - step == t:
            break
        t -= step
    return t


@kernel
def _next(membrane, drive, inhibition, horizon):
    """The next neuron to spike, and the time until then; -1 if there is none before the horizon."""
    first, e = -1, np.expm1(-horizon)
    for i in range(membrane.shape[0]):
        missing = 1 - membrane[i]
        if drive[i] < 0 and inhibition[i] < 0:
            possible = inhibition[i] * e >= missing  # it may have crossed and fallen again
        else:
            possible = drive[i] * horizon + inhibition[i] * e >= missing
        if possible:
            t = _crossing(missing, drive[i], inhibition[i])
            if t < horizon:
                first, horizon, e = i, t, np.expm1(-t)
    return first, horizon


@kernel
def _fire_loop(drive, weights, membrane, inhibition, now, duration, counts, found, neurons, times, n_workers):
    samples, n, room = drive.shape[0], drive.shape[1], neurons.shape[1]
    for worker in prange(n_workers):
        for s in range(worker, samples, n_workers):
            v, c, b, k, t = membrane[s], inhibition[s], drive[s], 0, now[s]
            while t < duration and k < room:
                first, wait = _next(v, b, c, duration - t)
                e = np.expm1(-wait)
                for i in range(n):
                    v[i] += b[i] * wait + c[i] * e
                    c[i] += c[i] * e
                if first < 0:
                    t = duration
                    break
                t += wait
                v[first] = 0
                for i in range(n):
                    c[i] += weights[first, i]
                counts[s, first] += 1
                neurons[s, k], times[s, k] = first, t
                k += 1
            now[s], found[s] = t, k


def fire(
    drive: Tensor, weights: Tensor, membrane: Tensor, inhibition: Tensor, duration: float, record: bool = True
) -> Spikes:
    """As `fire_reference`, compiled; float64 on the CPU.

    Args:
        drive: the current without inhibition, less the leak, (samples, neurons).
        weights: (neurons, neurons); row j is what a spike of neuron j adds to the inhibition.
        membrane, inhibition: (samples, neurons), updated in place.
        duration: in time constants of the current.
        record: return every spike, not only counts.
    """
    samples, neurons = drive.shape
    room = max(16, min(1 << 14, ROOM // max(samples, 1)))
    counts, now = torch.zeros(samples, neurons, dtype=torch.int64), torch.zeros(samples, dtype=torch.float64)
    found, which = torch.zeros(samples, dtype=torch.int64), torch.empty(samples, room, dtype=torch.int32)
    when, parts = torch.empty(samples, room, dtype=torch.float64), []
    while bool((now < duration).any()):
        arrays = (part.numpy() for part in (drive, weights, membrane, inhibition, now))
        results = (part.numpy() for part in (counts, found, which, when))
        _fire_loop(*arrays, duration, *results, workers())
        if record:
            kept = torch.arange(room) < found[:, None]
            parts.append((kept.nonzero()[:, 0], which[kept], when[kept]))
    nothing = found[:0], which[:0, 0], when[:0, 0]
    sample, neuron, time = map(torch.cat, zip(nothing, *parts, strict=True))
    return Spikes(counts, (sample, neuron, time))
