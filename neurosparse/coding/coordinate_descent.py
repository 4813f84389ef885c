"""Greedy (Gauss-Southwell) coordinate descent; each update is one event."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.coding.active_set import Units, units
from neurosparse.coding.descent_reference import Rule, descend_reference
from neurosparse.coding.penalty import Penalty
from neurosparse.coding.solver import Solution, Solver, SparseCodingProblem, Transmissions, certificate
from neurosparse.events.operation import Operation, operation
from neurosparse.events.tensor import EventTensor
from neurosparse.kernels.coordinate_descent import Descent, DescentResult, descend

__all__ = ["CoordinateDescent", "by_any_penalty", "by_threshold"]

# Penalties whose proximal map is a soft or hard threshold, which the compiled kernel computes.
THRESHOLDS = ("l1", "nonnegative_l1", "elastic_net", "l0")
# Any value below 1 descends; on learned dictionaries this one needs the fewest events, half of those without it.
RELAXATION = 0.5


class CoordinateDescent(Solver):
    """Greedy coordinate descent by the Gauss-Southwell rule: the coefficient that would change most is updated.

    ``a_j <- prox(a_j + (x - a D) d_j / ||d_j||^2, 1 / ||d_j||^2)``. Where the penalty is convex, a coefficient that is
    active and keeps its sign moves half as far again (over-relaxation), which still descends and needs fewer events. An
    event is a *change* of a coefficient (a delta code), so that ``code.events.cumulate()`` ends in the code; it costs
    one row of ``D D^T - I``. The iterations of a sample are its events. "Would change most" is counted in units in
    which every atom has norm one.

    Convex penalties: when no change exceeds a limit, an exact step on the active set solves for all active coefficients
    at once (`neurosparse.kernels.active_set`); each coefficient that it changes is one event. Then the limit is halved.
    This ends problems with a small lambda or similar atoms, on which coordinates alone need millions of events.

    The choice of j is a maximum over all atoms. A fixed point of this method is a fixed point of LCA, but the path to
    it is not LCA's dynamics: this is an algorithm, a lower reference for the number of events of a code, and not a
    neuromorphic circuit. LCA and spiking LCA are local.

    Source: Li & Osher (2009), "Coordinate descent optimization for l1 minimization"; Nutini et al. (2015), "Coordinate
    descent converges faster with the Gauss-Southwell rule than random selection".
    """

    sends = "changes"

    def iterations(self, passes: int, coefficients: int) -> int:
        return passes * coefficients

    def run(
        self, problem: SparseCodingProblem, warm_start: Tensor | None, tol: float, steps: int, record: bool
    ) -> Solution:
        kernel = problem.drive.device.type == "cpu" and problem.drive.dtype in (torch.float32, torch.float64)
        path = by_threshold if kernel and problem.penalty.name in THRESHOLDS else by_any_penalty
        codes, result = path(problem, warm_start, tol, steps, record)
        left = (result.distance <= tol).logical_not().nonzero()[:, 0]
        return Solution(codes, result.events, left, _transmissions(result, codes.shape[1]) if record else None)


def _cost(
    result: tuple[Tensor, DescentResult],
    problem: SparseCodingProblem,
    warm_start: Tensor | None,
    tol: float,
    steps: int,
    record: bool,
) -> list[Operation]:
    """The inhibition of a warm start, one row of weights per event, every evaluation of an atom, and the stopping rule.

    An evaluation is a threshold (a comparison and a subtraction) and a change that may be the largest (the same again).
    """
    codes, found = result
    if len(found.atom) < int(found.events.sum()):  # once more, with recorded events
        found = by_threshold.__wrapped__(problem, warm_start, tol, steps, True)[1]  # type: ignore[attr-defined]
    evaluations, checks = 2 * int(found.evaluations.sum()), int(found.checks.sum()) * codes.shape[1]
    assert problem.weights is not None  # CoordinateDescent.convolves is False
    weights = problem.weights()
    first = [] if warm_start is None else [Operation("linear", input=warm_start, weight=weights)]
    return [
        *first,
        Operation("linear", input=_events(found, codes.shape), weight=weights),
        Operation("compare", comparisons=evaluations, elementwise=evaluations),
        Operation("elementwise", elementwise=8 * checks + 2 * int(found.work.sum()), comparisons=checks),
    ]


@operation(_cost)
def by_threshold(
    problem: SparseCodingProblem, warm_start: Tensor | None, tol: float, steps: int, record: bool
) -> tuple[Tensor, DescentResult]:
    """By the compiled kernel, for soft and hard thresholds."""
    penalty, unit = problem.penalty, units(problem)
    hard = not penalty.convex
    descent = Descent(
        unit.weights,
        unit.threshold,
        unit.norm,
        positive=penalty.name == "nonnegative_l1",
        hard=hard,
        relaxation=_relaxation(penalty),
        rank=problem.rank,
        penalty=penalty.weight,
        step=1 / max(problem.curvature, 1.0) if hard else 0.0,
    )
    drive, level = problem.drive / unit.norm, _level(problem, warm_start, unit)
    return _in_coefficients(descend(descent, drive, level, problem.energy, tol, steps, record), unit)


@operation(_cost)
def by_any_penalty(
    problem: SparseCodingProblem, warm_start: Tensor | None, tol: float, steps: int, record: bool
) -> tuple[Tensor, DescentResult]:
    """By the proximal map of the penalty and the certificate, in plain torch: the reference of the kernel."""
    penalty, unit = problem.penalty, units(problem)

    def target(membrane: Tensor) -> Tensor:
        if penalty.convex:
            lowest = -torch.inf if penalty.name == "nonnegative_l1" else -unit.threshold
            return membrane - membrane.clamp(max=unit.threshold).maximum(torch.as_tensor(lowest).to(membrane))
        return unit.norm * _prox(penalty, membrane / unit.norm, unit.norm.square())

    def distance(membrane: Tensor, level: Tensor, samples: Tensor) -> Tensor:
        a, part = level / unit.norm, problem.subset(samples)
        correlation = (membrane - level) * unit.norm + penalty.ridge * a
        return certificate(part, a, part.drive - correlation - a)[1]

    drive, level = problem.drive / unit.norm, _level(problem, warm_start, unit)
    first = float(unit.threshold.median()) if penalty.threshold else penalty.shape[0]  # without a threshold: its scale
    threshold, rank = (unit.threshold, problem.rank) if penalty.convex else (None, 0)
    lowest = torch.full_like(unit.threshold, -torch.inf) if penalty.name == "nonnegative_l1" else -unit.threshold
    rule = Rule(target, distance, first, threshold, lowest, rank, _relaxation(penalty))
    result = descend_reference(drive, level, unit.weights, rule, tol, steps)
    return _in_coefficients(result, unit)


def _prox(penalty: Penalty, z: Tensor, squared_norm: Tensor) -> Tensor:
    """The step of each atom is ``1 / ||d||^2``; atoms of one norm are computed together."""
    groups = (squared_norm / squared_norm.max() * 2**20).round()
    if len(groups.unique()) == 1:
        return penalty.prox(z, 1 / float(squared_norm.mean()))
    return torch.cat([penalty.prox(z[:, k, None], 1 / norm) for k, norm in enumerate(squared_norm.tolist())], 1)


def _relaxation(penalty: Penalty) -> float:
    return RELAXATION if penalty.convex else 0.0


def _level(problem: SparseCodingProblem, warm_start: Tensor | None, unit: Units) -> Tensor:
    return torch.zeros_like(problem.drive) if warm_start is None else warm_start.detach().to(unit.norm) * unit.norm


def _in_coefficients(result: DescentResult, unit: Units) -> tuple[Tensor, DescentResult]:
    return result.level / unit.norm, result._replace(change=result.change / unit.norm[result.atom.long()])


def _steps(result: DescentResult) -> tuple[Tensor, Tensor]:
    """Sample and step of each event."""
    sample = torch.arange(len(result.events), device=result.events.device).repeat_interleave(result.events)
    first = result.events.cumsum(0) - result.events
    return sample, torch.arange(len(sample), device=sample.device) - first[sample]


def _events(result: DescentResult, shape: torch.Size) -> EventTensor:
    sample, step = _steps(result)
    steps = int(result.events.max()) if len(result.events) else 0
    size = {"shape": (steps, *shape), "lengths": result.events}
    return EventTensor.from_aer(step, sample, result.atom.long(), result.change, axis="iteration", **size)


def _transmissions(result: DescentResult, atoms: int) -> Transmissions:
    sample, step = _steps(result)
    return Transmissions(step, sample * atoms + result.atom, result.change)
