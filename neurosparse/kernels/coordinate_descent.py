"""Greedy (Gauss-Southwell) coordinate descent: the coefficient that would change most moves to its optimum.

In suitable units an atom has the state ``u = drive - inhibition`` (its membrane) and ``level``; the target of the level
is ``u`` behind a threshold. An event moves one level to its target and subtracts the change times one row of
``weights`` from the membranes; the diagonal of the weights is 0, so that the atom itself is then at its optimum. An
active level may move beyond its target by a given share (over-relaxation): inhibition would push it there anyway, and
fewer events are needed. A sample descends until no change exceeds a limit; then its distance from the optimum is
computed, an exact step on the active set made (soft thresholds), and the limit lowered, until the distance is within
the tolerance. Membranes, which are sums over all events, are recomputed after some events, and before each distance
where the tolerance is so small that their rounding would matter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.active_set import DEPENDENT, exact
from neurosparse.kernels.dispatch import kernel, prange, workers
from neurosparse.kernels.rows import copy_row

__all__ = ["COARSE", "Descent", "DescentResult", "descend", "fine"]

COARSE, LOWER = 0.6, 0.5  # the first limit, in thresholds, if not the tolerance; and the next one, in limits
ROUND = 2  # most events per atom between two checks
LEAST = 0.5  # share of the last distance to which a round at the least limit must descend, or it is the last
ROUNDING = 4  # changes below this number of units in the last place of the largest drive are no events
LOST = 1e4  # units in the last place that the running membranes may lose
STALE = 8  # running membranes are recomputed after this number of events per active atom
ROOM = 1 << 22  # recorded events of the samples that are solved at a time
FEW = 8  # recorded events per atom that most samples need at most


class Descent(NamedTuple):
    """What every sample of a descent shares. Atoms have norm one.

    Args:
        weights: (atoms, atoms); row j is what a change of 1 in level j subtracts from the membranes; the diagonal is 0.
        threshold: (atoms,), of the membranes.
        norm: (atoms,), levels per coefficient.
        positive: whether no level may fall below zero.
        hard: whether the threshold is hard; else soft.
        relaxation: share by which an active level moves beyond its target, if that keeps its sign.
        rank: largest number of linearly independent atoms.
        penalty: lambda.
        step: of the fixed-point residual, where ``hard``.
    """

    weights: Tensor
    threshold: Tensor
    norm: Tensor
    positive: bool
    hard: bool
    relaxation: float
    rank: int
    penalty: float
    step: float


class DescentResult(NamedTuple):
    """Levels, remaining distance, and numbers of events, evaluations of an atom, checks and multiplications (of exact
    steps) of each sample.

    ``atom`` and ``change`` (of its level) are the recorded events, sample after sample.
    """

    level: Tensor
    distance: Tensor
    events: Tensor
    evaluations: Tensor
    checks: Tensor
    work: Tensor
    atom: Tensor
    change: Tensor


def fine(tol: float, drive: Tensor) -> bool:
    """Whether the tolerance is as small as the rounding of sums over some hundred events."""
    return tol < LOST * torch.finfo(drive.dtype).eps


@kernel.reassociating
def _update(membrane, level, row, change, highest, lowest, hard, size, bits, keep, place):
    """Subtract ``change`` times ``row`` from the membranes; the atom of the largest change to come, as bits.

    Positive numbers are ordered like their bits, and integers have a maximum that runs eight at a time. The last bits
    hold the index of the atom, counted from behind: of equal changes the first is taken.
    """
    if hard:
        for k in range(membrane.shape[0]):
            u = membrane[k] - change * row[k]
            membrane[k] = u
            size[k] = abs((u if abs(u) > highest[k] else u * 0) - level[k])
    else:
        for k in range(membrane.shape[0]):
            u = membrane[k] - change * row[k]
            membrane[k] = u
            size[k] = abs(u - min(max(u, lowest[k]), highest[k]) - level[k])
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
def _gap(membrane, level, drive, energy, threshold, per_threshold, positive, size, bits):
    """The relative duality gap, as `neurosparse.coding.solver.certificate`."""
    explained, spread, cost = 0.0, 0.0, 0.0
    for k in range(level.shape[0]):
        if level[k] != 0:
            a = np.float64(level[k])
            explained += a * drive[k]
            spread += a * (membrane[k] - level[k])
            cost += abs(a) * threshold[k]
    for k in range(size.shape[0]):
        slope = (membrane[k] - level[k]) * per_threshold[k]
        size[k] = max(slope, size.dtype.type(0)) if positive else abs(slope)
    steepest = np.float64(_largest(size, bits))
    overlap = energy - explained
    residual = max(overlap - spread, 0.0)
    primal = 0.5 * residual + cost
    if primal <= 0:
        return 0.0
    scale = min(max(overlap / residual, 0.0), 1 / steepest) if residual > 0 and steepest > 0 else 1.0
    return max(primal - scale * overlap + 0.5 * scale * scale * residual, 0.0) / primal


@kernel
def _unrest(membrane, level, norm, penalty, step):
    """The fixed-point residual ``||a - prox(a + step c)|| / ||a||`` of a hard threshold."""
    moved, total, least = 0.0, 0.0, 2 * penalty * step
    for k in range(membrane.shape[0]):
        a = np.float64(level[k] / norm[k])
        z = a + step * (membrane[k] - level[k]) * norm[k]
        z = z if z * z > least else 0.0
        moved += (a - z) ** 2
        total += a * a
    return np.sqrt(moved / total) if total > 0 else (np.inf if moved > 0 else 0.0)


@kernel
def _fire(membrane, level, weights, limit, room, rule, log, size, bits, keep, places, active):
    """Events until no change exceeds the limit, or ``room`` events were sent.

    Returns their number, and the number of atoms in the support.
    """
    highest, lowest, hard, relaxation = rule
    atoms, changes, logged = log
    support, mark, count = active
    n, j, fired, change = membrane.shape[0], 0, 0, membrane.dtype.type(0)
    while True:
        key = _update(membrane, level, weights[j], change, highest, lowest, hard, size, bits, keep, places)
        j = n - 1 - (key & ~keep)
        if size[j] <= limit or fired >= room:
            return fired, count
        u, old = membrane[j], level[j]
        u = (u if abs(u) > highest[j] else u * 0) if hard else u - min(max(u, lowest[j]), highest[j])
        beyond = u + relaxation * (u - old)
        change = (beyond if u * old > 0 and u * beyond > 0 else u) - old
        level[j] += change
        if mark[j] == 0:
            mark[j], support[count] = 1, j
            count += 1
        if logged + fired < atoms.shape[0]:
            atoms[logged + fired], changes[logged + fired] = j, change
        fired += 1


@kernel
def _exact_events(membrane, level, weights, rule, log, least, active, valid, rank, pivot, factor, scratch):
    """An exact step on the support; every level that it changes by more than ``least`` is one event.

    Returns the number of events, the size of the support, the valid rows of the factor, and multiplications.
    """
    atoms, changes, logged = log
    support, mark, count = active
    excess, step, here, old = scratch[0], scratch[1], scratch[2], scratch[3]
    copy_row(old, level)
    mark[:] = 0
    count, valid, work = exact(
        membrane, level, weights, rule[0], support, count, valid, rank, pivot, factor, excess, step, here
    )
    for i in range(count):
        mark[support[i]] = 1
    sent = 0
    for k in range(level.shape[0]):
        if level[k] == old[k] or (level[k] != 0 and abs(level[k] - old[k]) <= least):
            level[k] = old[k]
        else:
            if logged + sent < atoms.shape[0]:
                atoms[logged + sent], changes[logged + sent] = k, level[k] - old[k]
            sent += 1
    return sent, count, valid, work


@kernel
def _distance(membrane, level, drive, energy, rule, per_threshold, norm, penalty, step, size, bits):
    if rule[2]:
        return _unrest(membrane, level, norm, penalty, step)
    return _gap(membrane, level, drive, energy, rule[0], per_threshold, rule[1][0] != -rule[0][0], size, bits)


@kernel
def _descend_one(
    drive, level, energy, rule, shared, limits, log, counts, membrane, size, bits, active, factor, scratch
):  # fmt: skip
    """One sample: rounds of events, each followed by an exact step on the support; returns the distance."""
    weights, per_threshold, norm, penalty, step, first, rank, pivot, keep, places, rounding, fine = shared
    tol, steps = limits
    atoms, changes = log
    support, mark = active
    n, count, valid, hard = drive.shape[0], 0, 0, rule[2]
    mark[:] = 0
    for k in range(n):
        if level[k] != 0:
            mark[k], support[count] = 1, k
            count += 1
    for k in range(n):
        size[k] = abs(drive[k])
    least = rounding * max(_largest(size, bits), first)
    limit, fired, sent, fresh, last = np.inf, 0, 1, -1, np.inf
    while True:
        if fine or fresh < 0 or fired - fresh > STALE * count:
            _recompute(membrane, drive, level, weights)
            fresh = fired
        found = _distance(membrane, level, drive, energy, rule, per_threshold, norm, penalty, step, size, bits)
        counts[2] += 1
        fits = fired + count <= steps
        if found > tol and fired > 0 and count > 0 and fits and not hard:
            if fresh < fired:
                _recompute(membrane, drive, level, weights)
            moved, count, valid, work = _exact_events(
                membrane, level, weights, rule, (atoms, changes, fired), least, (support, mark, count), valid, rank,
                pivot, factor, scratch,
            )  # fmt: skip
            fired += moved
            fresh = fired
            _recompute(membrane, drive, level, weights)
            found = _distance(membrane, level, drive, energy, rule, per_threshold, norm, penalty, step, size, bits)
            counts[2] += 1
            counts[3] += work
        done = limit <= least and (sent == 0 or (fits and found > LEAST * last))
        if found <= tol or fired >= steps or done:
            counts[0] = fired
            return found
        last, room, sent = found, min(ROUND * n, steps - fired), 0
        while sent == 0:
            limit = max(min(limit * LOWER, max(tol, COARSE) * first), least)
            sent, count = _fire(
                membrane, level, weights, limit, room, rule, (atoms, changes, fired), size, bits, keep, places,
                (support, mark, count),
            )  # fmt: skip
            counts[1] += n * (sent + 1)
            if limit <= least:
                break
        fired += sent


@kernel.allocating
def _descend_loop(drive, level, energy, rule, shared, limits, distance, counts, atoms, changes, n_workers):
    samples, n, rank, places = drive.shape[0], drive.shape[1], shared[6], shared[9]
    for worker in prange(n_workers):
        membrane, size = np.empty_like(drive[0]), np.empty_like(drive[0])
        bits = size.view(places.dtype)
        support, mark = np.empty(n, np.int32), np.empty(n, np.uint8)
        factor, scratch = np.empty((rank + 1, n), drive.dtype), np.empty((4, n), drive.dtype)
        for i in range(worker, samples, n_workers):
            distance[i] = _descend_one(
                drive[i], level[i], energy[i], rule, shared, limits, (atoms[i], changes[i]), counts[i], membrane, size,
                bits, (support, mark), factor, scratch,
            )  # fmt: skip


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
    start, level = level.contiguous(), torch.empty_like(level)
    counts, distance = torch.zeros(samples, 4, dtype=torch.int64), torch.empty(samples, dtype=torch.float64)
    todo, room = torch.arange(samples), min(steps, FEW * n) if record else 0
    logs = [(todo[:0], torch.empty(0, dtype=torch.int32), level[:0, 0])]
    while len(todo):
        for own in todo.split(max(ROOM // room, 1) if record else len(todo)):
            part, counted = start[own], torch.zeros(len(own), 4, dtype=torch.int64)
            far, *log = _descended(descent, drive[own], part, energy[own], counted, (tol, steps), room)
            level[own], distance[own], counts[own] = part, far, counted
            logs.append(_logged(own, counted[:, 0], *log))
        # Samples with more events than there was room for are solved once more, with room for all.
        todo = todo[counts[todo, 0] > room] if record else todo[:0]
        room = int(counts[todo, 0].max()) if len(todo) else 0
    sample, atom, change = map(torch.cat, zip(*logs, strict=True))
    order = sample.argsort(stable=True)
    events, evaluations, checks, work = counts.unbind(1)
    return DescentResult(level, distance, events, evaluations, checks, work, atom[order], change[order])


def _descended(
    descent: Descent, drive: Tensor, level: Tensor, energy: Tensor, counts: Tensor, limits: tuple[float, int], room: int
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Distances, and the logs of atoms and changes; levels and counts are updated in place."""
    samples, n = drive.shape
    distance, eps = torch.empty(samples, dtype=torch.float64), torch.finfo(drive.dtype).eps
    real, whole = (np.float32, np.int32) if drive.dtype == torch.float32 else (np.float64, np.int64)
    atoms, changes = np.empty((samples, room), np.int32), np.empty((samples, room), real)
    highest, low_bits = descent.threshold.contiguous(), (1 << max(n - 1, 1).bit_length()) - 1
    lowest = torch.full_like(highest, -torch.inf) if descent.positive else -highest
    rule = (highest.numpy(), lowest.numpy(), descent.hard, real(descent.relaxation))
    shared = (
        descent.weights.contiguous().numpy(),
        (1 / highest).numpy(), descent.norm.contiguous().numpy(), descent.penalty, descent.step,
        float(highest.median()), min(descent.rank, n), real(DEPENDENT * eps),
        whole(~low_bits), np.arange(n - 1, -1, -1, dtype=whole), ROUNDING * eps, fine(limits[0], drive),
    )  # fmt: skip
    arrays = drive.contiguous().numpy(), level.numpy(), energy.double().numpy()
    _descend_loop(*arrays, rule, shared, limits, distance.numpy(), counts.numpy(), atoms, changes, workers())
    return distance, atoms, changes


def _logged(samples: Tensor, events: Tensor, atoms: np.ndarray, changes: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Sample, atom and change of each event of the samples that had room for all of theirs."""
    fits = events <= atoms.shape[1]
    most = int(events[fits].max()) if bool(fits.any()) else 0
    sent = (torch.arange(most) < events[:, None]) & fits[:, None]
    which = samples[:, None].expand(sent.shape)[sent]
    return which, torch.from_numpy(atoms[:, :most])[sent], torch.from_numpy(changes[:, :most])[sent]
