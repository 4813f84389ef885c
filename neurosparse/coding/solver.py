"""The interface of a solver, the problem it solves, and the loop of solvers that update all coefficients at once.

A new solver is a class in a file of its own and a row of ``METHODS`` in `solve`, over which the contract test runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neurosparse.coding.penalty import Penalty
from neurosparse.events.operation import Operation, operation

__all__ = [
    "CHECK_EVERY", "IterativeSolver", "Solution", "Solver", "SparseCodingProblem", "State", "Transmissions",
    "certificate", "distance", "duality_gap", "no_cost",
]  # fmt: skip

CHECK_EVERY = 10  # iterations between two certificates

State = tuple[Tensor, ...]
"""What an iterative solver keeps between iterations; the first axis of every part is the samples."""


@dataclass(frozen=True)
class SparseCodingProblem:
    """``min_a 0.5 ||x - a D||^2 + penalty(a)`` in the form that a network of atoms computes; made by `make_problem`.

    Args:
        drive: ``x D^T``, (samples, coefficients).
        energy: ``||x||^2``, (samples,).
        inhibit: ``a -> a (D D^T - I)``, the inhibition that active atoms send to the others.
        largest_eigenvalue: of ``D D^T``, or an upper bound of it; computed at the first call.
        penalty: the cost of a code.
        weights: ``D D^T - I``, (coefficients, coefficients), computed at the first call; None where it is too large to
            store (convolutions).
        unit: norms of the atoms, and ``D D^T - I`` of atoms of norm one, where there are weights: the products of very
            small atoms would be lost to rounding. Computed at the first call.
        rank: largest number of linearly independent atoms.
    """

    drive: Tensor
    energy: Tensor
    inhibit: Callable[[Tensor], Tensor]
    largest_eigenvalue: Callable[[], float]
    penalty: Penalty
    weights: Callable[[], Tensor] | None = None
    unit: Callable[[], tuple[Tensor, Tensor]] | None = None
    rank: int = 0

    @property
    def curvature(self) -> float:
        """L, the curvature of the quadratic part: a gradient step is stable up to ``1 / L``."""
        return self.largest_eigenvalue()

    def subset(self, samples: Tensor) -> SparseCodingProblem:
        """The same problem for some of the samples."""
        return replace(self, drive=self.drive[samples], energy=self.energy[samples])


class Transmissions(NamedTuple):
    """What was sent, one entry per event, in any order.

    Args:
        step: the iteration, from 0.
        position: flat index into (samples, coefficients).
        value: what was sent; None for spikes.
        offset: of spikes in time, nanoseconds after the start of the step.
    """

    step: Tensor
    position: Tensor
    value: Tensor | None
    offset: Tensor | None = None


class Solution(NamedTuple):
    """What a solver returns: codes, iterations of each sample, samples above the tolerance, and recorded events."""

    codes: Tensor
    iterations: Tensor
    left: Tensor
    transmissions: Transmissions | None


class Solver(ABC):
    """A method that solves a `SparseCodingProblem`.

    Attributes:
        steps: largest number of passes over the coefficients by default.
        tol: tolerance by default, which ``steps`` iterations reach.
        penalties: names of the penalties it can solve; None: all.
        convolves: whether it works without the matrix ``weights``.
        sends: what its events are: coefficients, changes of coefficients, or spikes in time.
        unit: what its ``steps`` are.
    """

    steps: int = 500
    unit: str = "passes"
    tol: float = 1e-4
    penalties: tuple[str, ...] | None = None
    convolves: bool = False
    sends: Literal["levels", "changes", "spikes"] = "levels"

    def iterations(self, passes: int, coefficients: int) -> int:
        """The largest number of iterations of a sample in this number of passes over its coefficients."""
        return passes

    @abstractmethod
    def run(
        self, problem: SparseCodingProblem, warm_start: Tensor | None, tol: float, steps: int, record: bool
    ) -> Solution:
        """Codes of all samples, each to its own certificate of at most ``tol``, in at most ``steps`` iterations."""


class IterativeSolver(Solver):
    """A solver that updates all coefficients of a sample in each iteration; a sample leaves when it has converged.

    Attributes:
        exact: an exact step on the active set of a code of this problem, ``exact(problem, a) -> a``. It replaces one
            iteration of a sample whose signs have not changed between two certificates; None: never.
    """

    convolves = True
    exact: Callable[[SparseCodingProblem, Tensor], Tensor] | None = None

    @abstractmethod
    def init(self, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor) -> State:
        """The state before the first iteration, of codes ``a`` and the inhibition ``a (D D^T - I)`` they send."""

    @abstractmethod
    def step(self, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor, state: State) -> tuple[Tensor, State]:
        """The next codes and state."""

    def run(
        self, problem: SparseCodingProblem, warm_start: Tensor | None, tol: float, steps: int, record: bool
    ) -> Solution:
        a = torch.zeros_like(problem.drive) if warm_start is None else warm_start
        codes, active = a.clone(), torch.arange(len(a), device=a.device)
        iterations, still = torch.zeros_like(active), active[:0]
        # A code of zeros sends nothing.
        inhibition = torch.zeros_like(a) if warm_start is None else problem.inhibit(a)
        state, signs = self.init(problem, a, inhibition), a.new_full((1, 1), torch.nan)
        exact = self.exact if problem.unit is not None and problem.penalty.convex else None
        sent: list[tuple[Tensor, ...]] = []
        for iteration in range(1, steps + 1):
            before = a
            a, state = self.step(problem, a, inhibition, state)
            if exact is not None and len(still):
                a = a.index_copy(0, still, exact(problem.subset(still), before[still]))
            inhibition = problem.inhibit(a)
            if len(still):
                again = self.init(problem.subset(still), a[still], inhibition[still])
                state = tuple(part.index_copy(0, still, new) for part, new in zip(state, again, strict=True))
            if record:
                sent.append(_sent(a, active, iteration - 1))
            due = iteration % CHECK_EVERY == 0 or iteration == steps
            if not due and not len(still):
                continue
            checked = torch.arange(len(a), device=a.device) if due else still
            codes[active[checked]], iterations[active[checked]] = a[checked], iteration
            # Not "above tol": a gap of NaN has not converged.
            above = (certificate(problem.subset(checked), a[checked], inhibition[checked])[1] <= tol).logical_not()
            left, still = _staying(len(a), checked, above), active[:0]
            if due and exact is not None:
                settled = (a.sign() == signs).all(1) & above
                signs, still = a.sign(), settled[left].nonzero()[:, 0]
            if len(left) < len(active):
                active, problem = active[left], problem.subset(left)
                a, inhibition, state = a[left], inhibition[left], tuple(part[left] for part in state)
                signs = signs[left] if exact is not None else signs
            if not len(active):
                break
        return Solution(codes, iterations, active, _joined(sent) if record else None)


def _staying(samples: int, checked: Tensor, above: Tensor) -> Tensor:
    """Indices of the samples that were not checked, or were above the tolerance."""
    stays = torch.ones(samples, dtype=torch.bool, device=checked.device)
    stays[checked] = above
    return stays.nonzero()[:, 0]


def no_cost(*_: object, **__: object) -> tuple[()]:
    """No operations of a code: computed once per dictionary, or for the record only."""
    return ()


@operation(no_cost)
def _sent(a: Tensor, active: Tensor, step: int) -> tuple[Tensor, ...]:
    """Steps, positions (in the whole batch) and values of the non-zero coefficients."""
    sample, atom = a.nonzero(as_tuple=True)
    return torch.full_like(sample, step), active[sample] * a.shape[1] + atom, a[sample, atom]


@operation(no_cost)
def _joined(sent: list[tuple[Tensor, ...]]) -> Transmissions:
    return Transmissions(*map(torch.cat, zip(*sent, strict=True)))


def _stopping_cost(result: object, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor) -> list[Operation]:
    """The stopping rule is part of the method: eight scalar operations and one comparison per coefficient."""
    return [Operation("elementwise", elementwise=8 * a.numel(), comparisons=a.numel())]


@operation(_stopping_cost)
def certificate(problem: SparseCodingProblem, a: Tensor, inhibition: Tensor) -> tuple[Tensor, Tensor]:
    """Objective and `distance` of each sample, from products that the solver has computed anyway."""
    correlation = problem.drive - inhibition - a  # (x - a D) D^T
    overlap = problem.energy - (a * problem.drive).sum(-1)  # <x, x - a D>
    residual = (overlap - (a * correlation).sum(-1)).clamp(min=0)  # ||x - a D||^2
    return distance(problem, a, correlation, overlap, residual)


def distance(
    problem: SparseCodingProblem, a: Tensor, correlation: Tensor, overlap: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor]:
    """Objective and distance from the optimum of each sample.

    Convex penalties: the relative duality gap ``(primal - dual) / primal`` at the best multiple of the residual that is
    dual feasible, so that the objective exceeds the optimum by at most that fraction of itself. A ridge is part of the
    reconstruction, as if each atom had one more feature of value ``sqrt(ridge)`` that is 0 in the data. Other
    penalties: the fixed-point residual ``||a - prox(a - gradient / c)|| / ||a||`` with ``c`` the curvature, at least 1,
    which is 0 at a fixed point of any of the solvers.

    Args:
        problem: the problem, for its penalty and curvature.
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
    return objective, duality_gap(penalty, objective, overlap, residual, penalty.dual_norm(correlation))


def duality_gap(penalty: Penalty, objective: Tensor, overlap: Tensor, residual: Tensor, steepest: Tensor) -> Tensor:
    """The relative duality gap of `distance`, (samples,), from its sums.

    Args:
        penalty: convex.
        objective, overlap: (samples,).
        residual: ``||x - a D||^2 + ridge ||a||^2``.
        steepest: the dual norm of the correlation less ``ridge a``.
    """
    tiny = torch.finfo(objective.dtype).tiny
    feasible = penalty.weight / steepest.clamp(min=tiny)
    scale = torch.minimum((overlap / residual.clamp(min=tiny)).clamp(min=0), feasible)
    dual = scale * overlap - 0.5 * scale.square() * residual
    return (objective - dual).clamp(min=0) / objective.clamp(min=tiny)
