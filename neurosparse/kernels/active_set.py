"""Exact step on an active set: the optimum of a LASSO for the present signs, or the point where the first sign changes.

Atoms have norm one; ``level`` are coefficients in these units and ``threshold`` is lambda over the norm of each atom.
On a support S with signs s the optimum solves ``G_SS level_S = drive_S - threshold_S s``, with ``G = D D^T``. The step
solves for the change, from the correlations of the present residual, so that a second step corrects the rounding of the
first. Where a level would change its sign, the step stops there, that atom leaves the support, and the rest is solved
again. An atom that depends linearly on those before it moves along the dependence, which changes no reconstruction,
until one of them is 0. No step increases the objective.

The Cholesky factor is kept: atoms are appended as rows, four at a time, and removed by rotations of columns, so that
neither takes a new factor.

Source: the step of LARS: Efron, Hastie, Johnstone & Tibshirani (2004), "Least angle regression"; descent by such steps:
Osborne, Presnell & Turlach (2000), "A new approach to variable selection in least squares problems"; rotations of the
factor: Golub & Van Loan (2013), "Matrix computations", section 6.5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers
from neurosparse.kernels.greedy import WIDTH, padded

__all__ = ["DEPENDENT", "Algebra", "algebra_of", "exact", "exact_reference", "exact_step", "make_algebra"]

DEPENDENT = 1e3  # units in the last place: squared distance from the span of the other atoms


def exact_reference(
    membrane: Tensor, level: Tensor, weights: Tensor, threshold: Tensor, support: list[int], rank: int
) -> list[int]:
    """The reference for one sample: moves ``level`` in place and returns the support that is left.

    Args:
        membrane: ``drive - level @ weights``, (atoms,), of the present level.
        level, threshold: (atoms,).
        weights: correlations of atoms, with a diagonal of 0.
        support: atoms with a level, in the order in which they are factorised.
        rank: largest number of independent atoms.
    """
    excess = membrane - level - threshold * level.sign()  # of the correlation over its value at the optimum
    while support:
        gram = weights[support][:, support] + torch.eye(len(support)).to(weights)
        factor, dependent = gram.new_zeros(gram.shape), len(support)
        for i in range(len(support)):
            row = torch.linalg.solve_triangular(factor[:i, :i], gram[:i, i, None], upper=False)[:, 0]
            rest = 1 - row @ row
            if i >= rank or rest <= DEPENDENT * torch.finfo(level.dtype).eps:
                dependent = i
                break
            factor[i, :i], factor[i, i] = row, rest.sqrt()
        here, step = level[support], torch.zeros_like(level[support])
        if dependent < len(support):
            before = factor[:dependent, :dependent]
            step[:dependent] = -torch.linalg.solve_triangular(before.T, row[:, None], upper=True)[:, 0]
            step[dependent] = 1.0
            if not _lowers(step, excess[support], here):
                step = -step
            share = torch.where(step * here < 0, -here / step, torch.inf)
            move = True
        else:
            step = torch.cholesky_solve(excess[support][:, None], factor)[:, 0]
            share = torch.where((here + step) * here <= 0, -here / step, torch.inf)
            move = bool(share.min() <= 1)
        first = int(share.argmin())
        along = share[first] if move else torch.ones(())
        level[support] = here + along.to(here) * step
        if not move:
            break
        if dependent == len(support):
            excess[support] *= 1 - along.to(excess)
        level[support[first]] = 0
        support = [atom for atom in support if level[atom] != 0]
    return support


def _lowers(step: Tensor, excess: Tensor, here: Tensor) -> bool:
    """Whether this direction of a dependence lowers the objective, and brings a level to 0."""
    return bool((step * excess).sum() >= 0) and bool((step * here < 0).any())


class Algebra(NamedTuple):
    """The factor (inverses on its diagonal), and vectors over the support.

    ``projected`` solves ``factor projected = excess``; ``cosine`` and ``sine`` are rotations.
    """

    factor: np.ndarray
    projected: np.ndarray
    excess: np.ndarray
    step: np.ndarray
    here: np.ndarray
    cosine: np.ndarray
    sine: np.ndarray


def make_algebra(n: int, rank: int, real: type, n_workers: int) -> Algebra:
    """Arrays for ``n`` atoms, at most ``rank`` of them independent; the first axis is the worker."""
    vectors = np.zeros((6, n_workers, padded(n) + WIDTH), real)
    return Algebra(np.zeros((n_workers, rank + 1, padded(rank + 1) + 64 // vectors.itemsize), real), *vectors)


@kernel
def algebra_of(shared, worker):
    """The arrays of one worker."""
    return Algebra(
        shared.factor[worker], shared.projected[worker], shared.excess[worker], shared.step[worker],
        shared.here[worker], shared.cosine[worker], shared.sine[worker],
    )  # fmt: skip


@kernel.reassociating
def _dot(a, b, n):
    total = a.dtype.type(0)
    for k in range(n):
        total += a[k] * b[k]
    return total


@kernel.reassociating
def _four_dots(x, a, b, c, d, n):
    one = two = three = four = x.dtype.type(0)
    for k in range(n):
        v = x[k]
        one += v * a[k]
        two += v * b[k]
        three += v * c[k]
        four += v * d[k]
    return one, two, three, four


@kernel.reassociating
def _append(weights, support, count, valid, rank, pivot, factor):
    """Rows of the factor from ``valid`` on; returns the first dependent atom, whose row is complete, or ``count``.

    Rows are 0 behind their diagonal, so that sums may run to the next multiple of `WIDTH`.
    """
    one, i = factor.dtype.type(1), valid
    while i < count:
        end = min(i + 4, count, rank + 1)
        b, c, d = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
        for r in range(i, end):
            for k in range(-(-end // WIDTH) * WIDTH):
                factor[r, k] = 0
        ra, rb, rc, rd = factor[i], factor[b], factor[c], factor[d]
        wa, wb, wc, wd = weights[support[i]], weights[support[b]], weights[support[c]], weights[support[d]]
        for j in range(i):
            row, at = factor[j], support[j]
            inverse = row[j]
            sa, sb, sc, sd = _four_dots(row, ra, rb, rc, rd, -(-j // WIDTH) * WIDTH)
            ra[j], rb[j] = (wa[at] - sa) * inverse, (wb[at] - sb) * inverse
            rc[j], rd[j] = (wc[at] - sc) * inverse, (wd[at] - sd) * inverse
        for r in range(i, end):
            row, of = factor[r], weights[support[r]]
            for j in range(i, r):
                row[j] = (of[support[j]] - _dot(row, factor[j], j)) * factor[j, j]
            rest = one - _dot(row, row, r)
            if r >= rank or rest <= pivot:
                return r
            row[r] = one / np.sqrt(rest)
        i = end
    return count


@kernel.reassociating
def _remove(algebra, p, count):
    """Remove atom ``p`` of ``count`` from the factor: its row, and then one column by rotations."""
    factor, projected, cosine, sine = algebra.factor, algebra.projected, algebra.cosine, algebra.sine
    one = factor.dtype.type(1)
    for i in range(p, count - 1):
        source, target = factor[i + 1], factor[i]
        for k in range(p):
            target[k] = source[k]
        carry = source[p]
        for j in range(p, i):
            other = source[j + 1]
            target[j] = cosine[j] * carry + sine[j] * other
            carry = cosine[j] * other - sine[j] * carry
        diagonal = one / source[i + 1]
        length = np.sqrt(carry * carry + diagonal * diagonal)
        cosine[i], sine[i] = carry / length, diagonal / length
        target[i], target[i + 1] = one / length, 0
    carry = projected[p]
    for j in range(p, count - 1):
        other = projected[j + 1]
        projected[j] = cosine[j] * carry + sine[j] * other
        carry = cosine[j] * other - sine[j] * carry


@kernel.reassociating
def _back(factor, right, count, sign, step):
    """``step`` solves with the transposed factor."""
    for k in range(count):
        step[k] = sign * right[k]
    for i in range(count - 1, -1, -1):
        row = factor[i]
        amount = step[i] * row[i]
        step[i] = amount
        for k in range(i):
            step[k] -= amount * row[k]


@kernel
def _dependence(algebra, count):
    """The dependence of atom ``count`` on those before it, in a direction that lowers the objective."""
    step, excess, here = algebra.step, algebra.excess, algebra.here
    one = step.dtype.type(1)
    _back(algebra.factor, algebra.factor[count], count, -one, step)
    step[count] = one
    slope, falls = 0.0, False
    for k in range(count + 1):
        slope += step[k] * excess[k]
        falls = falls or step[k] * here[k] < 0
    if slope < 0 or not falls:
        for k in range(count + 1):
            step[k] = -step[k]


@kernel
def _first_crossing(step, here, n, dependent):
    """The share of the step at which the first level is 0, and its place; 1 and -1 if none is."""
    share, first = step.dtype.type(1), -1
    for i in range(n):
        crosses = step[i] * here[i] < 0 if dependent else (here[i] + step[i]) * here[i] <= 0
        if crosses and (first < 0 or -here[i] / step[i] < share):
            share, first = -here[i] / step[i], i
    return share, first


@kernel
def _keep(level, support, count, valid, shrink, mark, algebra):
    """Drop atoms that stand at 0 from the support and the factor; the excess of the others shrinks by a factor.

    Returns the size of the support, the valid rows of the factor, and multiplications.
    """
    here, excess, projected, m, work = algebra.here, algebra.excess, algebra.projected, 0, 0
    for i in range(count):
        k = support[i]
        if here[i] == 0:
            mark[k], level[k] = 0, 0
            if m < valid:
                _remove(algebra, m, valid)
                work += 2 * (valid - m) ** 2
                valid -= 1
        else:
            support[m], here[m], excess[m] = k, here[i], excess[i] * shrink
            m += 1
    for i in range(valid):
        projected[i] *= shrink
    return m, valid, work


@kernel
def exact(membrane, level, weights, threshold, support, count, valid, rank, pivot, mark, algebra):
    """As `exact_reference`; returns the size of the support, the valid rows of the factor, and multiplications.

    ``support[:count]`` is updated, and ``mark`` of the atoms that leave it; rows of the factor before ``valid`` belong
    to it already.
    """
    factor, projected, excess, step, here = algebra[:5]
    one, known = factor.dtype.type(1), 0
    for i in range(count):
        k = support[i]
        bound = threshold[k] if level[k] > 0 else -threshold[k]
        excess[i], here[i] = membrane[k] - level[k] - bound, level[k]
    count, valid, work = _keep(level, support, count, valid, one, mark, algebra)
    while count > 0:
        before = valid
        valid = _append(weights, support, count, valid, rank, pivot, factor)
        for i in range(known, valid):
            projected[i] = (excess[i] - _dot(factor[i], projected, i)) * factor[i, i]
        work += (valid**3 - before**3) // 6 + (valid * valid - known * known) // 2 + valid * valid // 2
        n, dependent = count, valid < count
        if dependent:
            n = valid + 1
            _dependence(algebra, valid)
        else:
            _back(factor, projected, count, one, step)
        share, first = _first_crossing(step, here, n, dependent)
        for i in range(n):
            here[i] += share * step[i]
        if first < 0:
            break
        here[first] = 0
        shrink = one if dependent else one - share
        count, valid, more = _keep(level, support, count, valid, shrink, mark, algebra)
        work, known = work + more, valid
    for i in range(count):
        level[support[i]] = here[i]
    return count, valid, work


@kernel
def _exact_loop(membrane, level, weights, threshold, rank, pivot, shared, supports, marks, n_workers):
    samples, n = level.shape
    for worker in prange(n_workers):
        support, mark, algebra = supports[worker], marks[worker], algebra_of(shared, worker)
        for i in range(worker, samples, n_workers):
            count = 0
            for k in range(n):
                if level[i, k] != 0:
                    support[count] = k
                    count += 1
            exact(membrane[i], level[i], weights, threshold, support, count, 0, rank, pivot, mark, algebra)


def exact_step(membrane: Tensor, level: Tensor, weights: Tensor, threshold: Tensor, rank: int) -> Tensor:
    """As `exact_reference`, compiled, of all samples: the new levels; float32 or float64 on the CPU."""
    level = level.contiguous().clone()
    real, pivot = level.numpy().dtype.type, DEPENDENT * torch.finfo(level.dtype).eps
    arrays = (part.contiguous().numpy() for part in (membrane, level, weights, threshold))
    n, threads = level.shape[1], workers()
    supports, marks = np.empty((threads, n), np.int32), np.empty((threads, n), np.uint8)
    shared = make_algebra(n, rank, real, threads)
    _exact_loop(*arrays, rank, real(pivot), shared, supports, marks, threads)
    return level
