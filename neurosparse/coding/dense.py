"""Atoms as large as a sample: a coefficient each, and a matrix of what they send to one another."""

from __future__ import annotations

from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.coding.problem import free
from neurosparse.events.operation import operation

__all__ = ["analyse", "code_shape", "network", "synthesise"]


def code_shape(x: Tensor, dictionary: Tensor) -> tuple[int, ...]:
    """(samples, atoms)."""
    return len(x), len(dictionary)


def analyse(x: Tensor, dictionary: Tensor) -> Tensor:
    """``x D^T``: how well each atom fits, (samples, atoms)."""
    return F.linear(x, dictionary)


def synthesise(a: Tensor, dictionary: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``a D``: the data of codes."""
    return F.linear(a, dictionary.T)


def network(dictionary: Tensor, shape: tuple[int, ...]) -> dict:
    """What a `Problem` knows of its dictionary: computed once for all samples."""
    weights, squared_norm = _weights(dictionary)
    largest = cache(lambda: _largest_eigenvalue(dictionary))
    known = {"weights": weights, "squared_norm": squared_norm}
    return {"inhibit": partial(F.linear, weight=weights), "largest_eigenvalue": largest, **known}


@operation(free)
def _weights(dictionary: Tensor) -> tuple[Tensor, Tensor]:
    weights = F.linear(dictionary, dictionary)
    squared_norm = weights.diagonal().clone()
    weights.diagonal().sub_(1)
    return weights, squared_norm


@operation(free)
def _largest_eigenvalue(dictionary: Tensor) -> float:
    # D D^T and D^T D share it; float64, because a step that is too long diverges.
    short = dictionary.double() if dictionary.shape[0] <= dictionary.shape[1] else dictionary.double().T
    return float(torch.linalg.eigvalsh(short @ short.T)[-1]) * (1 + 1e-6)
