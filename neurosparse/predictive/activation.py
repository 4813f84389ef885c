"""Activations and their slopes, written in terms of what the activation gave: ``f'(a) = slope(f(a))``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["ACTIVATIONS", "IDENTITY", "SOFTMAX", "Activation"]


class Activation(NamedTuple):
    """A function of each unit; ``slope`` None means one everywhere, so that nothing is multiplied."""

    name: str
    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor] | None


IDENTITY = Activation("identity", lambda a: a, None)

#: Beside a cross entropy the slope of a softmax cancels: ``d/da (-y . log softmax(a)) = softmax(a) - y``.
SOFTMAX = Activation("softmax", lambda a: a.softmax(-1), None)

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("tanh", torch.tanh, lambda f: 1 - f * f),
        Activation("relu", torch.relu, torch.sign),  # of a value that is never below 0
        IDENTITY,
        Activation("sigmoid", torch.sigmoid, lambda f: f * (1 - f)),
        Activation("softplus", torch.nn.functional.softplus, lambda f: 1 - torch.exp(-f)),
    )
}
