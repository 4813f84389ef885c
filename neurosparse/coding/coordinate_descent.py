"""Event by event: whichever coefficient would change most moves towards its optimum, and tells its rivals how far.

``a_j <- prox(a_j + (x - a D) d_j / ||d_j||^2, 1 / ||d_j||^2)`` for the j whose membrane would change most: greedy
coordinate descent by the Gauss-Southwell rule. Where the penalty is convex, one that is active and keeps its sign moves
half as far again, which descends all the same and needs fewer events. An event is a *change* of a coefficient (a delta
code), so that ``code.events.cumulate()`` ends in the code; it costs one row of ``D D^T - I``. A sample's iterations are
its events.

The choice of j is a maximum over all atoms. What rests under it rests under LCA, but how it gets there is not LCA's
dynamics: this is an algorithm, the lower reference for how few events a code can cost, and not a neuromorphic circuit.
The local ones are LCA and spiking LCA.

Source: Li & Osher (2009), "Coordinate descent optimization for l1 minimization"; Nutini et al. (2015), "Coordinate
descent converges faster with the Gauss-Southwell rule than random selection".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.coding.iterate import Solved, Transmissions
from neurosparse.coding.penalty import Penalty
from neurosparse.coding.problem import Problem, certificate
from neurosparse.events.operation import Operation, operation
from neurosparse.events.tensor import EventTensor
from neurosparse.kernels.coordinate_descent import Descent, Sent, descend, descend_reference

__all__ = ["by_any_penalty", "by_threshold", "run"]

# Penalties whose answer is a threshold with a kernel of its own.
THRESHOLDS = ("l1", "nonnegative_l1", "elastic_net", "l0")
# Any value below 1 descends; of learned dictionaries this one needs the fewest events, half of those without it.
RELAXATION = 0.5


class Units(NamedTuple):
    """Units in which every atom has the same threshold, whatever its norm: ``level = gain * a``.

    A coefficient answers to its membrane, ``(x - a D) d + ||d||^2 a`` over ``scale``. Row j of the weights is what a
    change of one in level j takes from the membranes.
    """

    gain: Tensor
    scale: Tensor
    squared_norm: Tensor
    weights: Tensor


def units(problem: Problem) -> Units:
    """By the soft threshold, levels are in units of the drive; by any other, coefficients of atoms of norm one."""
    weights = problem.weights
    squared_norm = problem.squared_norm
    assert weights is not None and squared_norm is not None  # the table of methods says that this one does not convolve
    curvature = squared_norm + problem.penalty.ridge
    gain = curvature if problem.penalty.convex else curvature.sqrt()
    scale = curvature / gain
    scaled = weights / (gain[:, None] * scale)
    scaled.diagonal().zero_()
    return Units(gain, scale, squared_norm, scaled)


def run(problem: Problem, warm_start: Tensor | None, tol: float, steps: int, record: bool) -> Solved:
    """Events until each sample's own gap (or fixed-point residual) is within ``tol``, ``steps`` of them at most."""
    kernel = problem.drive.device.type == "cpu" and problem.drive.dtype in (torch.float32, torch.float64)
    path = by_threshold if kernel and problem.penalty.name in THRESHOLDS else by_any_penalty
    codes, sent = path(problem, warm_start, tol, steps, record)
    left = (sent.distance <= tol).logical_not().nonzero()[:, 0]
    return Solved(codes, sent.events, left, _transmissions(sent, codes.shape[1]) if record else None)


def _cost(
    result: tuple[Tensor, Sent], problem: Problem, warm_start: Tensor | None, tol: float, steps: int, record: bool
) -> list[Operation]:
    """What a warm start sends, every event through its row, every look at an atom, and the stopping rule.

    A look is a threshold (a comparison and a subtraction) and a change that may be the largest (one of each again).
    """
    codes, sent = result
    if len(sent.atom) < int(sent.events.sum()):  # the same again, with its events
        sent = by_threshold.__wrapped__(problem, warm_start, tol, steps, True)[1]  # type: ignore[attr-defined]
    looks, checks = 2 * int(sent.looks.sum()), int(sent.checks.sum()) * codes.shape[1]
    first = [] if warm_start is None else [Operation("linear", input=warm_start, weight=problem.weights)]
    return [
        *first,
        Operation("linear", input=_events(sent, codes.shape), weight=problem.weights),
        Operation("compare", comparisons=looks, elementwise=looks),
        Operation("elementwise", elementwise=8 * checks, comparisons=checks),
    ]


@operation(_cost)
def by_threshold(
    problem: Problem, warm_start: Tensor | None, tol: float, steps: int, record: bool
) -> tuple[Tensor, Sent]:
    """By the kernel, for soft and hard thresholds."""
    penalty, unit = problem.penalty, units(problem)
    hard = not penalty.convex
    descent = Descent(
        unit.weights,
        threshold=penalty.threshold,
        positive=penalty.name == "nonnegative_l1",
        hard=hard,
        relaxation=_relaxation(penalty),
        coefficient=1 / unit.gain,
        correlation=unit.scale,
        penalty=penalty.weight,
        step=1 / max(problem.curvature, 1.0) if hard else 0.0,
    )
    drive = problem.drive / unit.scale if hard else problem.drive
    sent = descend(descent, drive, _level(problem, warm_start, unit), problem.energy, tol, steps, record)
    return _in_coefficients(sent, unit)


@operation(_cost)
def by_any_penalty(
    problem: Problem, warm_start: Tensor | None, tol: float, steps: int, record: bool
) -> tuple[Tensor, Sent]:
    """By the penalty's own proximal map and certificate, in plain torch: the kernel's law, and the others' path."""
    penalty, unit = problem.penalty, units(problem)

    def wanted(membrane: Tensor) -> Tensor:
        return unit.gain * _prox(penalty, membrane * unit.scale / unit.squared_norm, unit.squared_norm)

    def distance(membrane: Tensor, level: Tensor, samples: Tensor) -> Tensor:
        a, part = level / unit.gain, problem.keep(samples)
        correlation = membrane * unit.scale - unit.squared_norm * a
        return certificate(part, a, part.drive - correlation - a)[1]

    drive, level = problem.drive / unit.scale, _level(problem, warm_start, unit)
    threshold = penalty.threshold or penalty.shape[0]  # a penalty that always answers has a scale
    steering = (wanted, distance, _relaxation(penalty), tol, steps)
    sent = descend_reference(drive, level, unit.weights, threshold, *steering)
    return _in_coefficients(sent, unit)


def _prox(penalty: Penalty, z: Tensor, squared_norm: Tensor) -> Tensor:
    """Each atom's own step is ``1 / ||d||^2``; atoms of the same norm answer together."""
    groups = (squared_norm / squared_norm.max() * 2**20).round()
    if len(groups.unique()) == 1:
        return penalty.prox(z, 1 / float(squared_norm.mean()))
    return torch.cat([penalty.prox(z[:, k, None], 1 / norm) for k, norm in enumerate(squared_norm.tolist())], 1)


def _relaxation(penalty: Penalty) -> float:
    return RELAXATION if penalty.convex else 0.0


def _level(problem: Problem, warm_start: Tensor | None, unit: Units) -> Tensor:
    return torch.zeros_like(problem.drive) if warm_start is None else warm_start.detach().to(unit.gain) * unit.gain


def _in_coefficients(sent: Sent, unit: Units) -> tuple[Tensor, Sent]:
    return sent.level / unit.gain, sent._replace(change=sent.change / unit.gain[sent.atom.long()])


def _steps(sent: Sent) -> tuple[Tensor, Tensor]:
    """Sample and step of each event."""
    sample = torch.arange(len(sent.events), device=sent.events.device).repeat_interleave(sent.events)
    first = sent.events.cumsum(0) - sent.events
    return sample, torch.arange(len(sample), device=sample.device) - first[sample]


def _events(sent: Sent, shape: torch.Size) -> EventTensor:
    sample, step = _steps(sent)
    steps = int(sent.events.max()) if len(sent.events) else 0
    size = {"shape": (steps, *shape), "lengths": sent.events}
    return EventTensor.from_aer(step, sample, sent.atom.long(), sent.change, axis="iteration", **size)


def _transmissions(sent: Sent, atoms: int) -> Transmissions:
    sample, step = _steps(sent)
    return Transmissions(step, sample * atoms + sent.atom, sent.change)
