"""The problem every solver sees: a drive, the inhibition between atoms, and a certificate of how good a code is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neurosparse.coding.penalty import Penalty
from neurosparse.events.operation import Operation, operation

__all__ = ["Problem", "State", "certificate", "distance", "free"]

State = tuple[Tensor, ...]
"""What a method remembers between iterations; every part has the samples as its first axis."""


@dataclass(frozen=True)
class Problem:
    """``min_a 0.5 ||x - a D||^2 + penalty(a)`` in the form a network of atoms computes it.

    Args:
        drive: ``x D^T``, (samples, coefficients).
        energy: ``||x||^2``, (samples,).
        inhibit: ``a -> a (D D^T - I)``: what active atoms send to the others.
        largest_eigenvalue: of ``D D^T``, or a bound on it, computed for whoever asks.
        penalty: the cost of a code.
        weights: ``D D^T - I``, (coefficients, coefficients); None where it is too large to write down (convolutions).
        squared_norm: of each atom, where there are weights: their diagonal would round a small one away.
    """

    drive: Tensor
    energy: Tensor
    inhibit: Callable[[Tensor], Tensor]
    largest_eigenvalue: Callable[[], float]
    penalty: Penalty
    weights: Tensor | None = None
    squared_norm: Tensor | None = None

    @property
    def curvature(self) -> float:
        """Of the quadratic part: a gradient step is safe up to ``1 / curvature``."""
        return self.largest_eigenvalue()

    def keep(self, samples: Tensor) -> Problem:
        """The same problem for some of the samples."""
        return replace(self, drive=self.drive[samples], energy=self.energy[samples])


def free(*_: object, **__: object) -> tuple[()]:
    """Nothing a code costs: made once per dictionary, or asked only by whoever watches the solver."""
    return ()


def _stopping_cost(result: object, problem: Problem, a: Tensor, inhibition: Tensor) -> list[Operation]:
    """The stopping rule is part of the method: eight scalar operations and one comparison a coefficient."""
    return [Operation("elementwise", elementwise=8 * a.numel(), comparisons=a.numel())]


@operation(_stopping_cost)
def certificate(problem: Problem, a: Tensor, inhibition: Tensor) -> tuple[Tensor, Tensor]:
    """Objective and `distance` of each sample, from products the solver has made anyway."""
    correlation = problem.drive - inhibition - a  # (x - a D) D^T
    overlap = problem.energy - (a * problem.drive).sum(-1)  # <x, x - a D>
    residual = (overlap - (a * correlation).sum(-1)).clamp(min=0)  # ||x - a D||^2
    return distance(problem, a, correlation, overlap, residual)


def distance(
    problem: Problem, a: Tensor, correlation: Tensor, overlap: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor]:
    """Objective and distance from the optimum of each sample.

    Convex: the relative duality gap ``(primal - dual) / primal`` at the best multiple of the residual that is dual
    feasible, so that the objective exceeds the optimum by at most that fraction of itself. A ridge joins the
    reconstruction, as if every atom had a private pixel of value ``sqrt(ridge)`` that is dark in the data. Otherwise
    the fixed-point residual ``||a - prox(a - gradient / c)|| / ||a||`` with ``c`` the curvature, at least 1: a code at
    rest in any of the solvers is at rest under it.

    Args:
        problem: whose penalty counts.
        a: codes, (samples, coefficients).
        correlation: ``(x - a D) D^T``, (samples, coefficients).
        overlap, residual: ``<x, x - a D>`` and ``||x - a D||^2``, (samples,).
    """
    penalty, tiny = problem.penalty, torch.finfo(a.dtype).tiny
    objective = 0.5 * residual + penalty.value(a)
    if penalty.dual_norm is None:
        step = 1 / max(problem.curvature, 1.0)
        moved = (a - penalty.prox(a + step * correlation, step)).norm(dim=-1)
        return objective, moved / a.norm(dim=-1).clamp(min=tiny)
    if penalty.ridge:
        residual = residual + penalty.ridge * a.square().sum(-1)
        correlation = correlation - penalty.ridge * a
    feasible = penalty.weight / penalty.dual_norm(correlation).clamp(min=tiny)
    scale = torch.minimum((overlap / residual.clamp(min=tiny)).clamp(min=0), feasible)
    dual = scale * overlap - 0.5 * scale.square() * residual
    return objective, (objective - dual).clamp(min=0) / objective.clamp(min=tiny)
