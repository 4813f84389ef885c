"""Greedy (Gauss-Southwell) coordinate descent: the coefficient that would change most moves to its optimum.

In suitable units an atom has the state ``u = drive - inhibition`` (its membrane) and ``level``; the target of the level
is ``u`` behind a threshold. An event moves one level to its target and subtracts the change times one row of
``weights`` from the membranes; the diagonal of the weights is 0, so that the atom itself is then at its optimum. An
active level may move beyond its target by a given share (over-relaxation): inhibition would push it there anyway, and
fewer events are needed. A sample descends until no change exceeds a limit; then its distance from the optimum is
computed and the limit lowered, until the distance is within the tolerance. Where the tolerance is so small that
rounding would matter, membranes are recomputed before each distance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers

__all__ = ["Descent", "DescentResult", "descend", "descend_reference"]

FIRST = 1.0  # the first limit, in thresholds per tolerance
MOST, LEAST = 0.5, 0.1  # the next limit: tolerance / distance of the last one, but between these shares of it
ROUNDING = 4  # changes below this number of units in the last place of the largest drive are no events
LOST = 1e4  # units in the last place that the running membranes may lose
ROOM = 1 << 24  # recorded events of the samples that are solved at a time


class Descent(NamedTuple):
    """What every sample of a descent shares.

    Args:
        weights: (atoms, atoms); row j is what a change of 1 in level j subtracts from the membranes; the diagonal is 0.
        threshold: of every membrane.
        positive: whether no level may fall below zero.
        hard: whether the threshold is hard; else soft.
        relaxation: share by which an active level moves beyond its target, if that keeps its sign.
        coefficient: (atoms,), per unit of level.
        correlation: (atoms,), of the residual with an atom, per unit of membrane less level.
        penalty: lambda.
        step: of the fixed-point residual, where ``hard``.
    """

    weights: Tensor
    threshold: float
    positive: bool
    hard: bool
    relaxation: float
    coefficient: Tensor
    correlation: Tensor
    penalty: float
    step: float


class DescentResult(NamedTuple):
    """Levels, remaining distance, and numbers of events, evaluations of an atom and checks of each sample.

    ``atom`` and ``change`` (of its level) are the recorded events, sample after sample.
    """

    level: Tensor
    distance: Tensor
    events: Tensor
    evaluations: Tensor
    checks: Tensor
    atom: Tensor
    change: Tensor


def descend_reference(
    drive: Tensor,
    level: Tensor,
    weights: Tensor,
    threshold: float,
    target: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor, Tensor], Tensor],
    relaxation: float,
    tol: float,
    steps: int,
) -> DescentResult:
    """The reference in plain torch: all samples side by side, one event of each per step, any threshold.

    Args:
        drive: (samples, atoms).
        level: to start from, (samples, atoms).
        weights, threshold: as in `Descent`.
        target: from membranes to levels.
        distance: from membranes, levels and the indices of their samples to the distance from the optimum.
        relaxation: as in `Descent`.
        tol: the distance at which a sample is done.
        steps: most events of a sample.
    """
    samples, atoms = drive.shape
    level = level.clone()
    events, evaluations, checks = torch.zeros(3, samples, dtype=torch.int64, device=drive.device)
    found = torch.full_like(drive[:, 0], torch.inf)
    least = ROUNDING * torch.finfo(drive.dtype).eps * drive.abs().amax(1).clamp(min=threshold)
    limit = torch.full_like(found, torch.inf)
    log: list[tuple[Tensor, ...]] = []
    active = torch.arange(samples, device=drive.device)
    membrane = drive - level @ weights
    while len(active):
        if _fine(tol, drive):
            membrane[active] = drive[active] - level[active] @ weights
        found[active] = distance(membrane[active], level[active], active).to(found)
        checks[active] += 1
        going = (found[active] <= tol).logical_not() & (events[active] < steps) & (limit[active] > least[active])
        active = active[going]
        lower = (limit[active] * (tol / found[active]).clamp(LEAST, MOST)).clamp(max=FIRST * tol * threshold)
        limit[active] = lower.maximum(least[active])
        moving = active
        while len(moving):
            change = target(membrane[moving]) - level[moving]
            evaluations[moving] += atoms
            size, atom = change.abs().max(1)
            going = (size > limit[moving]) & (events[moving] < steps)
            moving, atom = moving[going], atom[going]
            change, old = change[going].gather(1, atom[:, None]), level[moving, atom, None]
            beyond = (1 + relaxation) * change + old
            active_still = ((change + old) * old > 0) & ((change + old) * beyond > 0)
            change = torch.where(active_still, beyond - old, change)
            level[moving, atom] += change[:, 0]
            membrane[moving] -= change * weights[atom]
            events[moving] += 1
            log.append((moving, atom, change[:, 0]))
    sample, atom, change = map(torch.cat, zip((events[:0], events[:0], drive[:0, 0]), *log, strict=True))
    order = sample.argsort(stable=True)
    return DescentResult(level, found, events, evaluations, checks, atom[order], change[order])


def _fine(tol: float, drive: Tensor) -> bool:
    """Whether the tolerance is as small as the rounding of sums over some hundred events."""
    return tol < LOST * torch.finfo(drive.dtype).eps


@kernel.reassociating
def _update(membrane, level, row, change, threshold, lowest, hard, size, bits, keep, place):
    """Subtract ``change`` times ``row`` from the membranes; the atom of the largest change to come, as bits.

    Positive numbers are ordered like their bits, and integers have a maximum that runs eight at a time. The last bits
    hold the index of the atom, counted from behind: of equal changes the first is taken.
    """
    if hard:
        for k in range(membrane.shape[0]):
            u = membrane[k] - change * row[k]
            membrane[k] = u
            size[k] = abs((u if abs(u) > threshold else u * 0) - level[k])
    else:
        for k in range(membrane.shape[0]):
            u = membrane[k] - change * row[k]
            membrane[k] = u
            size[k] = abs(u - min(max(u, lowest), threshold) - level[k])
    largest = place.dtype.type(-1)
    for k in range(membrane.shape[0]):
        key = place.dtype.type(place.dtype.type(bits[k] & keep) | place[k])
        largest = key if key > largest else largest
    return largest


@kernel
def _largest(size, bits):
    """The largest of non-negative numbers, by their bits."""
    largest, at = bits.dtype.type(-1), 0
    for k in range(bits.shape[0]):
        largest = bits[k] if bits[k] > largest else largest
    while bits[at] != largest:
        at += 1
    return size[at]


@kernel.reassociating
def _recompute(membrane, drive, level, weights):
    """Recompute the membranes from the drive and all levels."""
    for k in range(membrane.shape[0]):
        membrane[k] = drive[k]
    for j in range(membrane.shape[0]):
        if level[j] != 0:
            amount, row = level[j], weights[j]
            for k in range(membrane.shape[0]):
                membrane[k] -= amount * row[k]


@kernel
def _gap(membrane, level, drive, energy, coefficient, correlation, penalty, positive, size, bits):
    """The relative duality gap, as `neurosparse.coding.solver.certificate`."""
    explained, spread, cost = 0.0, 0.0, 0.0
    for k in range(level.shape[0]):
        if level[k] != 0:
            a = np.float64(level[k] * coefficient[k])
            explained += a * drive[k] * correlation[k]
            spread += a * (membrane[k] - level[k]) * correlation[k]
            cost += abs(a)
    for k in range(size.shape[0]):
        slope = (membrane[k] - level[k]) * correlation[k]
        size[k] = max(slope, size.dtype.type(0)) if positive else abs(slope)
    steepest = _largest(size, bits)
    overlap = energy - explained
    residual = max(overlap - spread, 0.0)
    primal = 0.5 * residual + penalty * cost
    if primal <= 0:
        return 0.0
    scale = min(max(overlap / residual, 0.0), penalty / steepest) if residual > 0 and steepest > 0 else 1.0
    return max(primal - scale * overlap + 0.5 * scale * scale * residual, 0.0) / primal


@kernel
def _unrest(membrane, level, coefficient, correlation, penalty, step):
    """The fixed-point residual ``||a - prox(a + step c)|| / ||a||`` of a hard threshold."""
    moved, norm, least = 0.0, 0.0, 2 * penalty * step
    for k in range(membrane.shape[0]):
        a = np.float64(level[k] * coefficient[k])
        z = a + step * (membrane[k] - level[k]) * correlation[k]
        z = z if z * z > least else 0.0
        moved += (a - z) ** 2
        norm += a * a
    return np.sqrt(moved / norm) if norm > 0 else (np.inf if moved > 0 else 0.0)


@kernel
def _fire(membrane, level, weights, limit, room, rule, atoms, changes, size, bits, keep, places):
    """Events until no change exceeds the limit, or ``room`` events were sent; returns their number."""
    threshold, lowest, hard, relaxation = rule
    n, j, fired, change = membrane.shape[0], 0, 0, membrane.dtype.type(0)
    while True:
        key = _update(membrane, level, weights[j], change, threshold, lowest, hard, size, bits, keep, places)
        j = n - 1 - (key & ~keep)
        if size[j] <= limit or fired >= room:
            return fired
        u = membrane[j]
        u = (u if abs(u) > threshold else u * 0) if hard else u - min(max(u, lowest), threshold)
        beyond = u + relaxation * (u - level[j])
        change = (beyond if u * level[j] > 0 and u * beyond > 0 else u) - level[j]
        level[j] += change
        if atoms.shape[0] > 0:
            atoms[fired], changes[fired] = j, change
        fired += 1


@kernel
def _descend_loop(
    drive, level, weights, rule, coefficient, correlation, penalty, step, energy, tol, steps,
    distance, events, evaluations, checks, atoms, changes, keep, places, rounding, fine, n_workers,
):  # fmt: skip
    samples, n, recorded = drive.shape[0], drive.shape[1], atoms.shape[1] > 0
    threshold, lowest, hard, _ = rule
    for worker in prange(n_workers):
        membrane, size = np.empty_like(drive[0]), np.empty_like(drive[0])
        bits = size.view(places.dtype)
        for i in range(worker, samples, n_workers):
            size[:] = np.abs(drive[i])
            least = rounding * max(_largest(size, bits), threshold)
            limit, fired, own = np.inf, 0, level[i]
            while True:
                if fine or checks[i] == 0:
                    _recompute(membrane, drive[i], own, weights)
                if hard:
                    found = _unrest(membrane, own, coefficient, correlation, penalty, step)
                else:
                    positive = lowest != -threshold
                    found = _gap(
                        membrane, own, drive[i], energy[i], coefficient, correlation, penalty, positive, size, bits
                    )
                checks[i] += 1
                if found <= tol or fired >= steps or limit <= least:
                    distance[i], events[i] = found, fired
                    break
                limit = max(min(limit * min(max(tol / found, LEAST), MOST), FIRST * tol * threshold), least)
                log = slice(fired, steps if recorded else 0)
                sent = _fire(
                    membrane, own, weights, limit, steps - fired, rule, atoms[i, log], changes[i, log], size, bits,
                    keep, places,
                )  # fmt: skip
                evaluations[i] += n * (sent + 1)
                fired += sent


def descend(
    descent: Descent, drive: Tensor, level: Tensor, energy: Tensor, tol: float, steps: int, record: bool
) -> DescentResult:
    """Greedy coordinate descent, sample by sample; samples are shared between threads.

    Args:
        descent: what all samples share.
        drive: (samples, atoms), float32 or float64 on the CPU.
        level: to start from, (samples, atoms).
        energy: ``||x||^2``, (samples,).
        tol: the distance at which a sample is done: relative duality gap, or fixed-point residual where ``hard``.
        steps: most events of a sample.
        record: keep the events.
    """
    samples, n = drive.shape
    level = level.contiguous().clone()
    events, evaluations, checks = torch.zeros(3, samples, dtype=torch.int64)
    distance = torch.empty(samples, dtype=torch.float64)
    real, whole = (np.float32, np.int32) if drive.dtype == torch.float32 else (np.float64, np.int64)
    low_bits = (1 << max(n - 1, 1).bit_length()) - 1
    lowest = -np.inf if descent.positive else -descent.threshold
    rule = (real(descent.threshold), real(lowest), descent.hard, real(descent.relaxation))
    shared = (
        descent.weights.contiguous().numpy(), rule,
        descent.coefficient.numpy(), descent.correlation.numpy(), descent.penalty, descent.step,
    )  # fmt: skip
    rounding = ROUNDING * torch.finfo(drive.dtype).eps
    tail = (whole(~low_bits), np.arange(n - 1, -1, -1, dtype=whole), rounding, _fine(tol, drive), workers())
    kept = [(torch.empty(0, dtype=torch.int32), level[:0, 0])]
    part = max(ROOM // steps, 1) if record else max(samples, 1)
    for first in range(0, samples, part):
        own = slice(first, first + part)
        room = (len(drive[own]), steps if record else 0)
        atoms, changes = np.empty(room, np.int32), np.empty(room, real)
        _descend_loop(
            drive[own].contiguous().numpy(), level[own].numpy(), *shared, energy[own].double().numpy(), tol, steps,
            distance[own].numpy(), events[own].numpy(), evaluations[own].numpy(), checks[own].numpy(), atoms,
            changes, *tail,
        )  # fmt: skip
        if record:
            most = int(events[own].max())
            sent = torch.arange(most) < events[own, None]
            kept.append((torch.from_numpy(atoms[:, :most])[sent], torch.from_numpy(changes[:, :most])[sent]))
    atom, change = map(torch.cat, zip(*kept, strict=True))
    return DescentResult(level, distance, events, evaluations, checks, atom, change)
