"""Exact step on the active set of a code (convex penalties), and the units in which atoms have norm one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.coding.solver import SparseCodingProblem
from neurosparse.events.operation import Operation, operation
from neurosparse.kernels.active_set import exact_step

__all__ = ["Units", "exact_codes", "units"]


class Units(NamedTuple):
    """Atoms of norm one, in which every change of a level lowers the objective by its square.

    ``level = norm * a``. A ridge is one more feature of each atom. The membrane of a level is ``(x - a D) d / norm +
    level``. Row j of the weights is what a change of one in level j subtracts from the membranes.
    """

    norm: Tensor
    weights: Tensor
    threshold: Tensor


def units(problem: SparseCodingProblem) -> Units:
    """Norms, weights and thresholds of atoms of norm one; each threshold is lambda over the norm, if it is soft."""
    assert problem.unit is not None  # CoordinateDescent.convolves is False
    length, cosine = problem.unit()
    penalty = problem.penalty
    norm, weights = length, cosine
    if penalty.ridge:
        norm = (length.square() + penalty.ridge).sqrt()
        weights = cosine * (length / norm) * (length / norm)[:, None]
    threshold = penalty.weight / norm if penalty.convex else torch.full_like(norm, penalty.threshold)
    return Units(norm, weights, threshold.clamp(min=torch.finfo(norm.dtype).tiny))


def _cost(result: Tensor, *_: object) -> list[Operation]:
    """A Cholesky factor of the support and two solutions with it."""
    size = (result != 0).sum(1).double()
    return [Operation("elementwise", elementwise=int((size**3 / 3 + 2 * size**2).sum()))]


@operation(_cost)
def exact_codes(problem: SparseCodingProblem, a: Tensor) -> Tensor:
    """Codes at the optimum for their present signs, or where the first of them changed; in float64 on the CPU."""
    unit = Units(*(part.double().cpu() for part in units(problem)))
    level = a.double().cpu() * unit.norm
    membrane = problem.drive.double().cpu() / unit.norm - level @ unit.weights
    return (exact_step(membrane, level, unit.weights, unit.threshold, problem.rank) / unit.norm).to(a)
