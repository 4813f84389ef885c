"""Proximal gradient descent: ISTA, and FISTA with Nesterov's momentum; a fixed step ``1 / L``."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.coding.active_set import exact_codes
from neurosparse.coding.solver import IterativeSolver, SparseCodingProblem, State

__all__ = ["FISTA", "ISTA"]


class ISTA(IterativeSolver):
    """Iterative shrinkage-thresholding: a gradient step on the reconstruction, then the proximal map of the penalty.

    ``a <- prox(a + (x - a D) D^T / L, 1 / L)`` with ``L`` the largest eigenvalue of ``D D^T``.

    Where the penalty is convex and the signs of a code stand still, one exact step on its active set replaces an
    iteration. Convolved atoms, whose products are not stored, have none.

    Source: Daubechies, Defrise & De Mol (2004); Beck & Teboulle (2009), equation 1.4.
    """

    exact = staticmethod(exact_codes)

    def init(self, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor) -> State:
        """No state."""
        return ()

    def step(self, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor, state: State) -> tuple[Tensor, State]:
        step = 1 / problem.curvature
        return problem.penalty.prox(a + step * (problem.drive - inhibition - a), step), state


class FISTA(IterativeSolver):
    """Fast ISTA: the step of ISTA from a point extrapolated along the last change (Nesterov's momentum).

    ``y = a + b (a - a_last)``, ``a <- prox(y + (x - y D) D^T / L, 1 / L)``. The inhibition that ``y`` would send is
    extrapolated from what ``a`` and ``a_last`` sent, so that only the sparse codes themselves are transmitted. Exact
    steps as in `ISTA`; momentum starts again after one.

    Source: Beck & Teboulle (2009), equations 4.1-4.3.
    """

    exact = staticmethod(exact_codes)

    def init(self, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor) -> State:
        """The last code, the inhibition it sent, and the momentum's counter t of each sample."""
        return a, inhibition, torch.ones_like(a[:, :1])

    def step(self, problem: SparseCodingProblem, a: Tensor, inhibition: Tensor, state: State) -> tuple[Tensor, State]:
        last, last_inhibition, t = state
        t_next = 0.5 + torch.sqrt(0.25 + t * t)
        momentum = (t - 1) / t_next
        point = a + momentum * (a - last)
        point_inhibition = inhibition + momentum * (inhibition - last_inhibition)
        step = 1 / problem.curvature
        following = problem.penalty.prox(point + step * (problem.drive - point_inhibition - point), step)
        return following, (a, inhibition, t_next)
