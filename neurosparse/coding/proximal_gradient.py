"""FISTA: ISTA from a point extrapolated along the last change.

``y = a + b (a - a_last)``, ``a <- prox(y + (x - y D) D^T / L, 1 / L)``. The inhibition that ``y`` would send is
extrapolated from what ``a`` and ``a_last`` sent, so that only the sparse codes themselves are ever transmitted.

Source: Beck & Teboulle (2009), equations 4.1-4.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.coding.problem import Problem, State


def start(problem: Problem, a: Tensor, inhibition: Tensor) -> State:
    """The last code, the inhibition it sent, and the momentum's counter t, one row per sample."""
    return a, inhibition, torch.ones_like(a[:, :1])


def update(problem: Problem, a: Tensor, inhibition: Tensor, state: State) -> tuple[Tensor, State]:
    """The next code from this one and the inhibition it sent, ``a (D D^T - I)``."""
    last, last_inhibition, t = state
    t_next = 0.5 + torch.sqrt(0.25 + t * t)
    momentum = (t - 1) / t_next
    point = a + momentum * (a - last)
    point_inhibition = inhibition + momentum * (inhibition - last_inhibition)
    step = 1 / problem.curvature
    following = problem.penalty.prox(point + step * (problem.drive - point_inhibition - point), step)
    return following, (a, inhibition, t_next)
