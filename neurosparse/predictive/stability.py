"""How long an inference step may be: the largest eigenvalue of the energy's Hessian in the free states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosparse.predictive.layer import Prediction
from neurosparse.predictive.problem import Problem

__all__ = ["SAMPLES", "largest_curvature"]

SAMPLES = 16
"""The Hessian is block-diagonal over samples, so that a few of them tell as much as a batch, nearly."""

ITERATIONS = 12


def largest_curvature(problem: Problem, z: Sequence[Tensor], iterations: int = ITERATIONS) -> float:
    """The largest eigenvalue of the Hessian ``d2E / dz2`` of the free states at ``z``, by power iteration.

    ``H v = (g(z + h v) - g(z - h v)) / 2h`` with the gradient ``g`` that inference itself follows: exact where that is
    linear, so for a linear network. An estimate from below elsewhere.

    Args:
        problem: layers and clamps.
        z: states, (samples, *units) each.
        iterations: of the power method.

    Returns:
        lambda_max; inference is stable for ``dt < 2 / lambda_max``. 0 where no state is free.

    Source: Innocenti, Achour, Singh & Buckley (2024), "Only strict saddles in the energy landscape of predictive coding
    networks?", for the Hessian; Nesterov (2004) for the bound.
    """
    problem, z = problem.first(SAMPLES), [state[:SAMPLES] for state in z]
    fixed = problem.predictions(z)
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(state.shape, generator=generator).to(state) for state in z]
    direction = _unit(_only_free(problem, direction))
    step = torch.finfo(z[0].dtype).eps ** (1 / 3) * max(1.0, float(_norm(z)))
    found = 0.0
    for _ in range(iterations):
        ahead, behind = (
            _gradient(problem, [a + sign * step * b for a, b in zip(z, direction, strict=True)], fixed)
            for sign in (1, -1)
        )
        product = [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
        found = float(sum((a * b).sum() for a, b in zip(direction, product, strict=True)))
        if not float(_norm(product)) > 0:
            return 0.0
        direction = _unit(product)
    return found


def _gradient(problem: Problem, z: Sequence[Tensor], fixed: Sequence[Prediction]) -> list[Tensor]:
    predictions = problem.predictions(z, fixed)
    weighted = problem.weigh(problem.errors(z, predictions))
    return _only_free(problem, problem.gradient(z, weighted, problem.pulls(predictions, weighted)))


def _only_free(problem: Problem, parts: list[Tensor]) -> list[Tensor]:
    return [part * free for part, free in zip(parts, problem.free, strict=True)]


def _norm(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.square().sum() for part in parts]).sum().sqrt()


def _unit(parts: Sequence[Tensor]) -> list[Tensor]:
    size = _norm(parts).clamp(min=torch.finfo(parts[0].dtype).tiny)
    return [part / size for part in parts]
