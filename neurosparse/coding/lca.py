"""LCA: neurons that integrate their drive, leak, and inhibit one another by what passes their threshold.

``tau du/dt = x D^T - u - a (D D^T - I)``, ``a = prox(u, 1)``: the soft threshold for l1, the hard one for l0. Euler
steps of ``eta = dt / tau``; on the active set the error shrinks by ``1 - eta eig(D D^T)``, which is stable while
``eta < 2 / L``.

Source: Rozell, Johnson, Baraniuk & Olshausen (2008), "Sparse coding via thresholding and local
competition in neural circuits".
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.coding.problem import Problem, State

SAFETY = 1.8  # of the 2 that stability allows; a shorter step only costs iterations


def start(problem: Problem, a: Tensor, inhibition: Tensor) -> State:
    """Membranes: at rest where the code is silent, else where a steady state with this code would hold them."""
    return (torch.where(a != 0, problem.drive - inhibition, a),)


def update(problem: Problem, a: Tensor, inhibition: Tensor, state: State) -> tuple[Tensor, State]:
    """The next code from the membranes and the inhibition sent, ``a (D D^T - I)``."""
    (membrane,) = state
    eta = min(1.0, SAFETY / problem.curvature)
    membrane = membrane + eta * (problem.drive - membrane - inhibition)
    return problem.penalty.prox(membrane), (membrane,)
