"""ISTA: a gradient step on the reconstruction, then the proximal map of the penalty.

``a <- prox(a + (x - a D) D^T / L, 1 / L)`` with ``L`` the largest eigenvalue of ``D D^T``.

Source: Daubechies, Defrise & De Mol (2004); Beck & Teboulle (2009), equation 1.4.
"""

from __future__ import annotations

from torch import Tensor

from neurosparse.coding.problem import Problem, State


def start(problem: Problem, a: Tensor, inhibition: Tensor) -> State:
    """ISTA remembers nothing."""
    return ()


def update(problem: Problem, a: Tensor, inhibition: Tensor, state: State) -> tuple[Tensor, State]:
    """The next code from this one and the inhibition it sent, ``a (D D^T - I)``."""
    step = 1 / problem.curvature
    return problem.penalty.prox(a + step * (problem.drive - inhibition - a), step), state
