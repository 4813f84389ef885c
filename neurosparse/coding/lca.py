"""Locally competitive algorithm (LCA, Rozell et al. 2008): leaky integrators with thresholds and lateral inhibition."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.coding.solver import IterativeSolver, SparseCodingProblem, State

__all__ = ["LCA"]

SAFETY = 1.8  # of the 2 that stability allows; a shorter step only costs iterations


class LCA(IterativeSolver):
    """The locally competitive algorithm, by Euler steps.

    ``tau du/dt = x D^T - u - a (D D^T - I)``, ``a = prox(u, 1)``: the soft threshold for l1, the hard one for l0. Euler
    steps of ``eta = dt / tau``; on the active set the error shrinks by ``1 - eta eig(D D^T)``, which is stable while
    ``eta < 2 / L``.

    Source: Rozell, Johnson, Baraniuk & Olshausen (2008), "Sparse coding via thresholding and local
    competition in neural circuits".
    """

    def init(self, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor) -> State:
        """Membranes: 0 where the code is 0, elsewhere the steady state of this code."""
        return (torch.where(a != 0, problem.drive - inhibition, a),)

    def step(self, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor, state: State) -> tuple[Tensor, State]:
        (membrane,) = state
        eta = min(1.0, SAFETY / problem.curvature)
        membrane = membrane + eta * (problem.drive - membrane - inhibition)
        return problem.penalty.prox(membrane), (membrane,)
