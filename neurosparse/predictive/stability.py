"""Stability of the inference step: the largest eigenvalue of the energy's Hessian in the unclamped states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from neurosparse.predictive.layer import Prediction
from neurosparse.predictive.problem import RelaxationProblem

__all__ = ["SAMPLES", "largest_curvature"]

SAMPLES = 16
"""The Hessian is block-diagonal over samples; a few samples estimate its largest eigenvalue over a batch."""

ITERATIONS = 12


@torch.no_grad()
def largest_curvature(problem: RelaxationProblem, z: Sequence[Tensor], iterations: int = ITERATIONS) -> float:
    """The largest eigenvalue of the Hessian ``d2E / dz2`` of the unclamped states at ``z``, by power iteration.

    ``H v = (g(z + h v) - g(z)) / h`` with the gradient ``g`` of inference: exact where ``g`` is linear, so for a linear
    network. Power iteration approaches the eigenvalue from below.

    Args:
        problem: layers and clamps.
        z: states, (samples, *units) each.
        iterations: of the power method.

    Returns:
        lambda_max; inference is stable for ``dt < 2 / lambda_max``. 0 where all states are clamped.

    Source: Innocenti, Achour, Singh & Buckley (2024), "Only strict saddles in the energy landscape of predictive coding
    networks?", for the Hessian; Nesterov (2004) for the bound.
    """
    problem, z = problem.first(SAMPLES), [state[:SAMPLES] for state in z]
    moving = [number for number, unclamped in enumerate(problem.unclamped) if unclamped is not False]
    fixed, generator = problem.predictions(z), torch.Generator().manual_seed(0)
    drawn = [torch.randn(z[number].shape, generator=generator).to(z[number]) for number in moving]
    direction = _unit([part * problem.unclamped[number] for part, number in zip(drawn, moving, strict=True)])
    step = torch.finfo(z[0].dtype).eps ** 0.5 * max(1.0, float(_norm(z)))
    here = _gradient(problem, z, fixed, moving)

    def hessian_product(part: Sequence[Tensor]) -> list[Tensor]:
        ahead = list(z)
        for number, change in zip(moving, part, strict=True):
            ahead[number] = torch.add(z[number], change, alpha=step)
        there = _gradient(problem, ahead, fixed, moving)
        return [(b - a) / step for a, b in zip(here, there, strict=True)]

    found = _largest(hessian_product, direction, 0.0, iterations)
    # A negative eigenvalue of largest magnitude: with the spectrum shifted by it, the highest one is the largest.
    return found if found >= 0 else max(_largest(hessian_product, direction, -found, iterations), 0.0)


def _largest(
    hessian_product: Callable[[Sequence[Tensor]], list[Tensor]], direction: list[Tensor], shift: float, iterations: int
) -> float:
    """The eigenvalue of ``H`` with the largest ``|lambda + shift|``, by power iteration on ``H + shift``."""
    found = 0.0
    for _ in range(iterations):
        product = hessian_product(direction)
        found = float(sum((a * b).sum() for a, b in zip(direction, product, strict=True)))
        product = [a + shift * b for a, b in zip(product, direction, strict=True)] if shift else product
        if not float(_norm(product)) > 0:
            break
        direction = _unit(product)
    return found


def _gradient(
    problem: RelaxationProblem, z: Sequence[Tensor], fixed: Sequence[Prediction], moving: Sequence[int]
) -> list[Tensor]:
    """The gradient of the unclamped states."""
    predictions = problem.predictions(z, fixed)
    weighted = problem.weighted(problem.errors(z, predictions))
    gradient = problem.gradient(z, weighted, problem.feedback(predictions, weighted))
    return [gradient[number] for number in moving]


def _norm(parts: Sequence[Tensor]) -> Tensor:
    """The norm of all parts together; 0 of none."""
    return torch.stack([part.square().sum() for part in parts]).sum().sqrt() if parts else torch.zeros(())


def _unit(parts: Sequence[Tensor]) -> list[Tensor]:
    size = _norm(parts).clamp(min=1e-30)
    return [part / size for part in parts]
