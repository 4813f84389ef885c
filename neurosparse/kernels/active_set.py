"""Exact step on an active set: the optimum of a LASSO for the present signs, or the point where the first sign changes.

Atoms have norm one; ``level`` are coefficients in these units and ``threshold`` is lambda over the norm of each atom.
On a support S with signs s the optimum solves ``G_SS level_S = drive_S - threshold_S s``, with ``G = D D^T``. The step
solves for the change, from the correlations of the present residual, so that a second step corrects the rounding of the
first. Where a level would change its sign, the step stops there, that atom leaves the support, and the rest is solved
again. An atom that depends linearly on those before it moves along the dependence, which changes no reconstruction,
until one of them is 0. No step increases the objective.

Source: the step of LARS: Efron, Hastie, Johnstone & Tibshirani (2004), "Least angle regression"; descent by such steps:
Osborne, Presnell & Turlach (2000), "A new approach to variable selection in least squares problems".
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers

__all__ = ["DEPENDENT", "exact", "exact_reference", "exact_step"]

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


@kernel.reassociating
def _factorise(weights, support, count, valid, rank, pivot, factor):
    """Rows of the Cholesky factor from ``valid`` on, with the inverse on the diagonal; returns the first dependent one.

    Rows are computed to the end of the support, or to the first atom that depends on those before it.
    """
    for i in range(valid, count):
        row, of = factor[i], weights[support[i]]
        rest = factor.dtype.type(1)
        for j in range(i):
            c, other = of[support[j]], factor[j]
            for k in range(j):
                c -= row[k] * other[k]
            c *= other[j]
            row[j] = c
            rest -= c * c
        if i >= rank or rest <= pivot:
            return i
        row[i] = 1 / np.sqrt(rest)
    return count


@kernel.reassociating
def _back(factor, count, step):
    """Solve with the transposed factor, in place."""
    for i in range(count - 1, -1, -1):
        amount, row = step[i] * factor[i, i], factor[i]
        step[i] = amount
        for k in range(i):
            step[k] -= amount * row[k]


@kernel.reassociating
def _solve_factor(factor, count, excess, step):
    """``step = G_SS^-1 excess``."""
    for i in range(count):
        row, c = factor[i], excess[i]
        for k in range(i):
            c -= row[k] * step[k]
        step[i] = c * row[i]
    _back(factor, count, step)


@kernel
def _dependence(factor, count, excess, here, step):
    """The dependence of atom ``count`` on those before it, in a direction that lowers the objective."""
    for k in range(count):
        step[k] = -factor[count, k]
    _back(factor, count, step)
    step[count] = 1
    slope, falls = 0.0, False
    for k in range(count + 1):
        slope += step[k] * excess[k]
        falls = falls or step[k] * here[k] < 0
    if slope < 0 or not falls:
        for k in range(count + 1):
            step[k] = -step[k]


@kernel
def exact(membrane, level, weights, threshold, support, count, valid, rank, pivot, factor, excess, step, here):
    """As `exact_reference`; returns the size of the support, the valid rows of the factor, and multiplications.

    ``support[:count]`` is updated; rows of the factor before ``valid`` belong to it already.
    """
    work, m = 0, 0
    for i in range(count):
        k = support[i]
        if level[k] == 0:
            valid = min(valid, i)
        else:
            bound = threshold[k] if level[k] > 0 else -threshold[k]
            support[m], excess[m], here[m] = k, membrane[k] - level[k] - bound, level[k]
            m += 1
    count = m
    while count > 0:
        before = valid
        valid = _factorise(weights, support, count, valid, rank, pivot, factor)
        work += (valid**3 - before**3) // 6 + count * count
        n, dependent = count, valid < count
        if dependent:
            n = valid + 1
            _dependence(factor, valid, excess, here, step)
        else:
            _solve_factor(factor, count, excess, step)
        share, first = 1.0, -1
        for i in range(n):
            crosses = step[i] * here[i] < 0 if dependent else (here[i] + step[i]) * here[i] <= 0
            if crosses and (first < 0 or -here[i] / step[i] < share):
                share, first = -here[i] / step[i], i
        for i in range(n):
            here[i] += membrane.dtype.type(share) * step[i]
        if first < 0:
            break
        here[first] = 0
        m, shrink = 0, membrane.dtype.type(1.0 if dependent else 1 - share)
        for i in range(count):
            k = support[i]
            if here[i] == 0:
                level[k] = 0
                valid = min(valid, i)
            else:
                support[m], here[m], excess[m] = k, here[i], excess[i] * shrink
                m += 1
        count = m
    for i in range(count):
        level[support[i]] = here[i]
    return count, valid, work


@kernel.allocating
def _exact_loop(membrane, level, weights, threshold, rank, pivot, n_workers):
    samples, n = level.shape
    for worker in prange(n_workers):
        factor = np.empty((rank + 1, n), level.dtype)
        excess, step, here = np.empty_like(level[0]), np.empty_like(level[0]), np.empty_like(level[0])
        support = np.empty(n, np.int32)
        for i in range(worker, samples, n_workers):
            count = 0
            for k in range(n):
                if level[i, k] != 0:
                    support[count] = k
                    count += 1
            exact(membrane[i], level[i], weights, threshold, support, count, 0, rank, pivot, factor, excess, step, here)


def exact_step(membrane: Tensor, level: Tensor, weights: Tensor, threshold: Tensor, rank: int) -> Tensor:
    """As `exact_reference`, compiled, of all samples: the new levels; float32 or float64 on the CPU."""
    level = level.contiguous().clone()
    pivot = DEPENDENT * torch.finfo(level.dtype).eps
    arrays = (part.contiguous().numpy() for part in (membrane, level, weights, threshold))
    _exact_loop(*arrays, rank, pivot, workers())
    return level
