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

from neurosparse.kernels.active_set import DEPENDENT, algebra_of, make_algebra
from neurosparse.kernels.dispatch import kernel, prange, workers
from neurosparse.kernels.greedy import change_of, index_bits, largest, padded, recompute, update
from neurosparse.kernels.working_set import enter, make_space, reset, restricted, space_of

__all__ = ["COARSE", "Descent", "DescentResult", "descend", "fine"]

COARSE, LOWER = 0.6, 0.1  # the first limit, in thresholds, if not the tolerance; and the next one, in limits
HALF = 0.5  # as LOWER, without exact steps
INNER = 0.1  # limit of the first exact step, in thresholds and tolerances
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
def _steepest(membrane, level, per_threshold, positive):
    best = membrane.dtype.type(0)
    for k in range(membrane.shape[0]):
        slope = (membrane[k] - level[k]) * per_threshold[k]
        slope = slope if positive else abs(slope)
        best = slope if slope > best else best
    return best


@kernel
def _gap(membrane, level, drive, energy, threshold, per_threshold, positive, support, count):
    """The relative duality gap, as `neurosparse.coding.solver.certificate`; all levels are in the support."""
    explained, spread, cost = 0.0, 0.0, 0.0
    for i in range(count):
        k = support[i]
        a = np.float64(level[k])
        explained += a * drive[k]
        spread += a * (membrane[k] - level[k])
        cost += abs(a) * threshold[k]
    steepest = np.float64(_steepest(membrane, level, per_threshold, positive))
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
def _fire(membrane, level, weights, limit, room, rule, log, size, bits, places, active):
    """Events until no change exceeds the limit, or ``room`` events were sent.

    Returns their number, and the number of atoms in the support.
    """
    highest, lowest, hard, relaxation = rule
    atoms, changes, logged = log
    support, mark, count = active
    n, j, fired, change = membrane.shape[0], 0, 0, membrane.dtype.type(0)
    keep, own = index_bits(n, places), places[places.shape[0] - n :]
    while True:
        key = update(membrane, level, weights[j], change, highest, lowest, hard, size, bits, keep, own)
        j = n - 1 - (key & ~keep)
        if size[j] <= limit or fired >= room:
            return fired, count
        change = change_of(membrane[j], level[j], highest[j], lowest[j], hard, relaxation)
        level[j] += change
        if mark[j] == 0:
            mark[j], support[count] = 1, j
            count += 1
        if logged + fired < atoms.shape[0]:
            atoms[logged + fired], changes[logged + fired] = j, change
        fired += 1


@kernel
def _exact_events(space, level, least, log, active):
    """Take over the levels of the working set; every one that changed by more than ``least`` is one event.

    Returns the number of events and the size of the support.
    """
    atoms, changes, logged = log
    support, mark, count, size, own = active
    sent = 0
    for i in range(size):
        k, new, old = space.member[i], space.level[i], space.before[i]
        if new != old and (new == 0 or abs(new - old) > least):
            level[k] = new
            if logged + sent < atoms.shape[0]:
                atoms[logged + sent], changes[logged + sent] = k, new - old
            sent += 1
    for i in range(count):
        mark[support[i]] = 0
    for i in range(own):
        k = space.member[space.support[i]]
        support[i], mark[k] = k, 1
    return sent, own


@kernel
def _distance(membrane, level, drive, energy, rule, per_threshold, norm, penalty, step, support, count):
    if rule[2]:
        return _unrest(membrane, level, norm, penalty, step)
    return _gap(membrane, level, drive, energy, rule[0], per_threshold, rule[1][0] != -rule[0][0], support, count)


@kernel
def _descend_one(
    drive, level, energy, rule, shared, limits, log, counts, membrane, size, bits, active, space, algebra, sizes
):
    """One sample: rounds of events, each followed by an exact step on the working set; returns the distance."""
    weights, per_threshold, norm, penalty, step, first, rank, pivot, places, rounding, fine = shared
    tol, steps = limits
    atoms, changes = log
    support, mark = active
    n, count, hard = drive.shape[0], 0, rule[2]
    reset(space, sizes)
    for k in range(n):
        mark[k], size[k] = 0, abs(drive[k])
        if level[k] != 0:
            mark[k], support[count] = 1, k
            count += 1
    least = rounding * max(largest(size, bits), first)
    limit, fired, last, inner = np.inf, 0, np.inf, tol * INNER * first
    recompute(membrane, drive, level, weights, support, count)
    fresh = 0
    found = _distance(membrane, level, drive, energy, rule, per_threshold, norm, penalty, step, support, count)
    counts[2] += 1
    while found > tol and fired < steps:
        sent, room = 0, min(ROUND * n, steps - fired)
        while sent == 0:
            limit = max(min(limit * (HALF if hard else LOWER), max(tol, COARSE) * first), least)
            sent, count = _fire(
                membrane, level, weights, limit, room, rule, (atoms, changes, fired), size, bits, places,
                (support, mark, count),
            )  # fmt: skip
            counts[1] += n * (sent + 1)
            if limit <= least or not hard:
                break
        fired += sent
        if fine or fired - fresh > STALE * count:
            recompute(membrane, drive, level, weights, support, count)
            counts[3] += n * count
            fresh = fired
        moved, fits = 0, False
        if not hard:
            wide = enter(space, membrane, level, drive, weights, rule, (support, mark, count), sizes)
            fits = 0 < sizes[0] <= steps - fired
        if fits:
            counts[3] += restricted(
                space, algebra, sizes, wide, weights, rule, first, max(inner, least), rank, pivot, places
            )
            moved, count = _exact_events(
                space, level, least, (atoms, changes, fired), (support, mark, count, sizes[0], sizes[1])
            )
            fired += moved
            recompute(membrane, drive, level, weights, support, count)
            counts[3] += n * max(count - moved, 0)
            fresh, inner = fired, inner * LOWER
        found = _distance(membrane, level, drive, energy, rule, per_threshold, norm, penalty, step, support, count)
        counts[2] += 1
        if limit <= least and (sent + moved == 0 or ((fits or hard) and found > LEAST * last)):
            break
        last = found
    counts[0] = fired
    return found


@kernel
def _descend_loop(
    drive, level, energy, rule, shared, limits, distance, counts, atoms, changes, work, spaces, algebras, n_workers
):  # fmt: skip
    samples, (membranes, sizes, bits, supports, marks, counters) = drive.shape[0], work
    for worker in prange(n_workers):
        space, algebra = space_of(spaces, worker), algebra_of(algebras, worker)
        active = supports[worker], marks[worker]
        for i in range(worker, samples, n_workers):
            distance[i] = _descend_one(
                drive[i], level[i], energy[i], rule, shared, limits, (atoms[i], changes[i]), counts[i],
                membranes[worker], sizes[worker], bits[worker], active, space, algebra, counters[worker],
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
    if bool((sample[1:] < sample[:-1]).any()):  # only samples solved once more are out of order
        order = sample.argsort(stable=True)
        atom, change = atom[order], change[order]
    events, evaluations, checks, work = counts.unbind(1)
    return DescentResult(level, distance, events, evaluations, checks, work, atom, change)


def _descended(
    descent: Descent, drive: Tensor, level: Tensor, energy: Tensor, counts: Tensor, limits: tuple[float, int], room: int
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Distances, and the logs of atoms and changes; levels and counts are updated in place."""
    samples, n = drive.shape
    distance, eps = torch.empty(samples, dtype=torch.float64), torch.finfo(drive.dtype).eps
    real, whole = (np.float32, np.int32) if drive.dtype == torch.float32 else (np.float64, np.int64)
    threads = workers()
    atoms, changes = np.empty((samples, room), np.int32), np.empty((samples, room), real)
    highest, rank = descent.threshold.contiguous(), min(descent.rank, n)
    lowest = torch.full_like(highest, -torch.inf) if descent.positive else -highest
    rule = (highest.numpy(), lowest.numpy(), descent.hard, real(descent.relaxation))
    shared = (
        descent.weights.contiguous().numpy(),
        (1 / highest).numpy(), descent.norm.contiguous().numpy(), descent.penalty, descent.step,
        float(highest.median()), rank, real(DEPENDENT * eps),
        np.arange(padded(n) - 1, -1, -1, dtype=whole), ROUNDING * eps, fine(limits[0], drive),
    )  # fmt: skip
    arrays = drive.contiguous().numpy(), level.numpy(), energy.double().numpy()
    membranes, sizes = np.empty((2, threads, n), real)
    supports, marks = np.empty((threads, n), np.int32), np.empty((threads, n), np.uint8)
    work = membranes, sizes, sizes.view(whole), supports, marks, np.zeros((threads, 3), np.int64)
    spaces, algebras = make_space(n, real, threads), make_algebra(n, rank, real, threads)
    _descend_loop(
        *arrays, rule, shared, limits, distance.numpy(), counts.numpy(), atoms, changes, work, spaces, algebras, threads
    )
    return distance, atoms, changes


def _logged(samples: Tensor, events: Tensor, atoms: np.ndarray, changes: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Sample, atom and change of each event of the samples that had room for all of theirs."""
    fits = events <= atoms.shape[1]
    most = int(events[fits].max()) if bool(fits.any()) else 0
    sent = (torch.arange(most) < events[:, None]) & fits[:, None]
    which = samples[:, None].expand(sent.shape)[sent]
    return which, torch.from_numpy(atoms[:, :most])[sent], torch.from_numpy(changes[:, :most])[sent]
