"""The problem every solver sees: a drive, the inhibition between atoms, and a certificate of how good a code is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.coding.penalty import Penalty
from neurosparse.events.operation import Operation, operation

__all__ = ["Problem", "State", "certificate", "certify", "free", "pose"]

State = tuple[Tensor, ...]
"""What a method remembers between iterations; every part has the samples as its first axis."""


@dataclass(frozen=True)
class Problem:
    """``min_a 0.5 ||x - a D||^2 + penalty(a)`` in the form a network of atoms computes it.

    Args:
        drive: ``x D^T``, (samples, atoms).
        energy: ``||x||^2``, (samples,).
        weights: ``D D^T - I``, (atoms, atoms): what an active atom sends to the others.
        largest_eigenvalue: of ``D D^T``, computed for whoever asks.
        penalty: the cost of a code.
    """

    drive: Tensor
    energy: Tensor
    weights: Tensor
    largest_eigenvalue: Callable[[], float]
    penalty: Penalty

    @property
    def curvature(self) -> float:
        """Of the quadratic part: a gradient step is safe up to ``1 / curvature``."""
        return self.largest_eigenvalue()

    def keep(self, samples: Tensor) -> Problem:
        """The same problem for some of the samples."""
        return replace(self, drive=self.drive[samples], energy=self.energy[samples])


def pose(x: Tensor, dictionary: Tensor, penalty: Penalty) -> Problem:
    """Compute the drive (once per sample) and what depends on the dictionary alone."""
    largest = cache(lambda: _largest_eigenvalue(dictionary))
    return Problem(F.linear(x, dictionary), _squared_norm(x), _weights(dictionary), largest, penalty)


def free(*_: object, **__: object) -> tuple[()]:
    """Nothing a code costs: made once per dictionary, or asked only by whoever watches the solver."""
    return ()


@operation(free)
def _weights(dictionary: Tensor) -> Tensor:
    weights = F.linear(dictionary, dictionary)
    weights.diagonal().sub_(1)
    return weights


@operation(free)
def _largest_eigenvalue(dictionary: Tensor) -> float:
    # D D^T and D^T D share it; float64, because a step that is too long diverges.
    short = dictionary.double() if dictionary.shape[0] <= dictionary.shape[1] else dictionary.double().T
    return float(torch.linalg.eigvalsh(short @ short.T)[-1]) * (1 + 1e-6)


@operation(free)
def _squared_norm(x: Tensor) -> Tensor:
    return x.square().sum(-1)


def _stopping_cost(result: object, problem: Problem, a: Tensor, inhibition: Tensor) -> list[Operation]:
    """The stopping rule is part of the method: eight scalar operations and one comparison a coefficient."""
    return [Operation("elementwise", elementwise=8 * a.numel(), comparisons=a.numel())]


@operation(_stopping_cost)
def certificate(problem: Problem, a: Tensor, inhibition: Tensor) -> tuple[Tensor, Tensor]:
    """Objective and distance from the optimum of each sample, from products the solver has made anyway.

    Convex: the relative duality gap ``(primal - dual) / primal`` at the best multiple of the residual that is dual
    feasible, so that the objective exceeds the optimum by at most that fraction of itself. Otherwise the fixed-point
    residual ``||a - prox(a - gradient / c)|| / ||a||`` with ``c`` the curvature, at least 1: a code at rest in any of
    the solvers is at rest under it.
    """
    penalty, tiny = problem.penalty, torch.finfo(a.dtype).tiny
    correlation = problem.drive - inhibition - a  # (x - a D) D^T
    explained = (a * problem.drive).sum(-1)  # <x, a D>
    overlap = problem.energy - explained  # <x, residual>
    residual = (overlap - (a * correlation).sum(-1)).clamp(min=0)  # ||residual||^2
    objective = 0.5 * residual + penalty.value(a)
    if penalty.dual_norm is None:
        step = 1 / max(problem.curvature, 1.0)
        moved = (a - penalty.prox(a + step * correlation, step)).norm(dim=-1)
        return objective, moved / a.norm(dim=-1).clamp(min=tiny)
    feasible = penalty.weight / penalty.dual_norm(correlation).clamp(min=tiny)
    scale = torch.minimum((overlap / residual.clamp(min=tiny)).clamp(min=0), feasible)
    dual = scale * overlap - 0.5 * scale.square() * residual
    return objective, (objective - dual).clamp(min=0) / objective.clamp(min=tiny)


@operation(free)
def certify(x: Tensor, dictionary: Tensor, problem: Problem, a: Tensor) -> tuple[Tensor, Tensor]:
    """The certificate in float64 from the data themselves: what is reported, free of the solver's own rounding."""
    x, dictionary, exact = x.double(), dictionary.double(), a.double()
    inhibition = F.linear(F.linear(exact, dictionary.T), dictionary) - exact
    exactly = replace(problem, drive=F.linear(x, dictionary), energy=_squared_norm(x))
    objective, gap = certificate(exactly, exact, inhibition)
    return objective.to(a.dtype), gap.to(a.dtype)
