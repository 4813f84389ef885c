"""Working set: the LASSO restricted to some atoms, solved by coordinate descent and exact steps in small arrays.

The working set holds the atoms with a level and those whose level would leave 0. Its membranes, levels and rows of
weights are copied to arrays of their own, as wide as the set, so that an update takes a tenth of the time of one of all
atoms. Greedy updates to a limit choose the active atoms and their signs, an exact step solves for their levels, and the
limit is lowered, until no level of the set would change by more than a given floor. The set only grows while one
sample is solved; rows of weights are copied when an atom is first updated, and the Cholesky factor is kept.

Source: working sets: Friedman, Hastie & Tibshirani (2010), "Regularization paths for generalized linear models via
coordinate descent", section 2.6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.active_set import exact, exact_reference
from neurosparse.kernels.dispatch import kernel
from neurosparse.kernels.greedy import WIDTH, change_of, index_bits, padded, recompute, update

__all__ = ["Space", "enter", "make_space", "reset", "restricted", "restricted_reference", "space_of"]

START, LOWER = 0.03, 0.1  # the first limit, in thresholds, and the next one, in limits
ROUNDS = 100  # most exact steps


class Space(NamedTuple):
    """Arrays of the working set. ``member[i]`` is the atom at place i, ``place`` the reverse (-1: none).

    ``width[i]`` counts the valid weights of row i; ``support`` holds places in the order of the factor.
    """

    member: np.ndarray
    place: np.ndarray
    weights: np.ndarray
    width: np.ndarray
    membrane: np.ndarray
    level: np.ndarray
    before: np.ndarray
    drive: np.ndarray
    highest: np.ndarray
    lowest: np.ndarray
    support: np.ndarray
    mark: np.ndarray
    size: np.ndarray
    bits: np.ndarray


def make_space(n: int, real: type, n_workers: int) -> Space:
    """Arrays for ``n`` atoms, the first axis is the worker; pages of them that are not used take no memory."""
    room = padded(n) + WIDTH
    whole, flat = np.zeros((3, n_workers, room), np.int32), np.zeros((7, n_workers, room), real)
    # Rows that are a power of two apart share few lines of a cache.
    rows = np.zeros((n_workers, n, padded(n) + 64 // flat.itemsize), real)
    width, mark = np.zeros((n_workers, n), np.int32), np.zeros((n_workers, room), np.uint8)
    member, place, support = whole
    membrane, level, before, drive, highest, lowest, size = flat
    bits = size.view(np.int32 if real is np.float32 else np.int64)
    return Space(member, place, rows, width, membrane, level, before, drive, highest, lowest, support, mark, size, bits)


@kernel
def space_of(shared, worker):
    """The arrays of one worker."""
    return Space(
        shared.member[worker], shared.place[worker], shared.weights[worker], shared.width[worker],
        shared.membrane[worker], shared.level[worker], shared.before[worker], shared.drive[worker],
        shared.highest[worker], shared.lowest[worker], shared.support[worker], shared.mark[worker],
        shared.size[worker], shared.bits[worker],
    )  # fmt: skip


@kernel
def reset(space, sizes):
    """Empty the working set; ``sizes`` are those of the set, its support and the valid rows of the factor."""
    for k in range(space.place.shape[0]):
        space.place[k], space.mark[k] = -1, 0
    sizes[0], sizes[1], sizes[2] = 0, 0, 0


@kernel
def _add(space, atom, size):
    space.member[size], space.place[atom], space.width[size] = atom, size, 0
    return size + 1


@kernel
def _fetch(space, weights, i, size):
    """Copy what is missing of row ``i``."""
    mine, row, member = space.weights[i], weights[space.member[i]], space.member
    for k in range(space.width[i], size):
        mine[k] = row[member[k]]
    space.width[i] = size


@kernel
def enter(space, membrane, level, drive, weights, rule, active, sizes):
    """Grow the working set by the support and by atoms that would leave 0; returns its padded size."""
    highest, lowest = rule[0], rule[1]
    support, count = active[0], active[2]
    size, own = sizes[0], sizes[1]
    for i in range(count):
        atom = support[i]
        if space.place[atom] < 0:
            size = _add(space, atom, size)
        at = space.place[atom]
        if space.mark[at] == 0:
            space.mark[at], space.support[own] = 1, at
            own += 1
    for k in range(membrane.shape[0]):
        if space.place[k] < 0 and (membrane[k] > highest[k] or membrane[k] < lowest[k]):
            size = _add(space, k, size)
    wide = -(-size // WIDTH) * WIDTH
    for i in range(size):
        k = space.member[i]
        space.membrane[i], space.level[i], space.before[i] = membrane[k], level[k], level[k]
        space.drive[i], space.highest[i], space.lowest[i] = drive[k], highest[k], lowest[k]
        for j in range(size, wide):
            space.weights[i, j] = 0
    for i in range(size, wide):  # nothing moves behind the last member
        space.membrane[i], space.level[i], space.drive[i], space.highest[i], space.lowest[i] = 0, 0, 0, 1, -1
    for i in range(own):
        _fetch(space, weights, space.support[i], size)
    sizes[0], sizes[1] = size, own
    return wide


@kernel
def _descend(space, weights, sizes, wide, limit, room, relaxation, keep, places):
    """Greedy updates of members until none exceeds the limit; returns their number."""
    membrane, level, size = space.membrane[:wide], space.level[:wide], space.size[:wide]
    highest, lowest = space.highest[:wide], space.lowest[:wide]
    j, change, fired = 0, membrane.dtype.type(0), 0
    while True:
        row = space.weights[j, :wide]
        key = update(membrane, level, row, change, highest, lowest, False, size, space.bits[:wide], keep, places)
        j = wide - 1 - (key & ~keep)
        if size[j] <= limit or fired >= room:
            return fired
        if space.width[j] < sizes[0]:
            _fetch(space, weights, j, sizes[0])
        change = change_of(membrane[j], level[j], highest[j], lowest[j], False, relaxation)
        level[j] += change
        if space.mark[j] == 0:
            space.mark[j], space.support[sizes[1]] = 1, j
            sizes[1] += 1
        fired += 1


@kernel
def restricted(space, algebra, sizes, wide, weights, rule, first, floor, rank, pivot, places):
    """Solve for the levels of the working set, from the present ones; as `restricted_reference`.

    Results are ``space.level``, to be compared with ``space.before``; returns multiplications.
    """
    size, relaxation, work = sizes[0], rule[3], 0
    keep, own = index_bits(wide, places), places[places.shape[0] - wide :]
    real = space.level.dtype.type
    floor = real(floor)  # a limit in float64 would never be reached in float32
    limit, start = max(real(START * first), floor), True
    rounds = 0
    while rounds < ROUNDS:
        fired = _descend(space, weights, sizes, wide, limit, size, relaxation, keep, own)
        work += 3 * size * (fired + 1)  # a multiplication, and a threshold and a comparison of as much
        if fired == 0 and limit <= floor:
            break
        if fired > 0 or start:
            count, valid, more = exact(
                space.membrane, space.level, space.weights, space.highest, space.support, sizes[1], sizes[2],
                rank, pivot, space.mark, algebra,
            )  # fmt: skip
            sizes[1], sizes[2] = count, valid
            recompute(space.membrane[:wide], space.drive, space.level, space.weights, space.support, count)
            work += more + count * size
            start = False
            rounds += 1
        if fired < size:
            limit = max(real(limit * LOWER), floor)
    return work


def restricted_reference(
    membrane: Tensor,
    level: Tensor,
    drive: Tensor,
    weights: Tensor,
    thresholds: tuple[Tensor, Tensor],
    members: list[int],
    support: list[int],
    limits: tuple[float, float, float],
    rank: int,
) -> tuple[Tensor, list[int], list[int]]:
    """The reference for one sample: levels of all atoms, the working set and the support that are left.

    Args:
        membrane, level, drive: (atoms,).
        thresholds: the highest and the lowest membrane at which a level is 0, (atoms,).
        weights: correlations of atoms, with a diagonal of 0.
        members, support: the working set so far, and the atoms with a level, in the order of their updates.
        limits: first threshold, floor of the limits, and relaxation.
        rank: largest number of independent atoms.
    """
    first, floor, relaxation = limits
    highest, lowest = thresholds
    outside = ((membrane > highest) | (membrane < lowest)).nonzero().flatten().tolist()
    members = list(dict.fromkeys([*members, *support, *outside]))
    at = torch.tensor(members, dtype=torch.int64, device=level.device)
    own = [members.index(atom) for atom in support]
    small, high, low, m, a, b = weights[at][:, at], highest[at], lowest[at], membrane[at], level[at], drive[at]
    limit, rounds, start = max(START * first, floor), 0, True
    while rounds < ROUNDS and members:
        fired = 0
        while True:
            target = m - m.clamp(max=high).maximum(low)
            size, j = (target - a).abs().max(0)
            if float(size) <= limit or fired >= len(members):
                break
            old, goal = a[j].clone(), target[j]
            beyond = goal + relaxation * (goal - old)
            a[j] += (beyond if goal * old > 0 and goal * beyond > 0 else goal) - old
            m = m - (a[j] - old) * small[j]
            own += [] if int(j) in own else [int(j)]
            fired += 1
        if fired == 0 and limit <= floor:
            break
        if fired or start:
            own = exact_reference(m, a, small, high, own, rank)
            m, rounds, start = b - a @ small, rounds + 1, False
        limit = max(limit * LOWER, floor) if fired < len(members) else limit
    after = level.clone()
    after[at] = a
    return after, members, [members[i] for i in own]
