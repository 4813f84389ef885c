"""From data and atoms to the problem that solvers see, and back to a certificate from the data themselves."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from neurosparse.coding import convolution, dense
from neurosparse.coding.penalty import Penalty
from neurosparse.coding.problem import Problem, distance, free
from neurosparse.events.operation import operation

__all__ = ["certify", "code_shape", "pose"]


def _products(dictionary: Tensor) -> ModuleType:
    """The file that multiplies by such a dictionary."""
    return convolution if dictionary.ndim == 4 else dense


def code_shape(x: Tensor, dictionary: Tensor) -> tuple[int, ...]:
    """Of the codes of these data: (samples, atoms), and places where atoms are convolved."""
    return _products(dictionary).code_shape(x, dictionary)


def pose(x: Tensor, dictionary: Tensor, penalty: Penalty) -> Problem:
    """Compute the drive (once per sample) and what depends on the dictionary alone."""
    products = _products(dictionary)
    network = products.network(dictionary, code_shape(x, dictionary))
    return Problem(products.analyse(x, dictionary), _squared_norm(x), penalty=penalty, **network)


@operation(free)
def certify(x: Tensor, dictionary: Tensor, problem: Problem, a: Tensor) -> tuple[Tensor, Tensor]:
    """The certificate from the data themselves: what is reported, free of whatever the solver summed up.

    Products of float32 data are made in float32 and their squares summed in float64; other data are float64 throughout.
    """
    products, dtype = _products(dictionary), a.dtype
    if dtype != torch.float32:
        x, dictionary, a = x.double(), dictionary.double(), a.double()
    residual = x - products.synthesise(a, dictionary, code_shape(x, dictionary))
    correlation = products.analyse(residual, dictionary)
    overlap, square = ((part * residual).flatten(1).sum(-1, dtype=torch.float64) for part in (x, residual))
    objective, gap = distance(problem, a, correlation, overlap, square)
    return objective.to(dtype), gap.to(dtype)


@operation(free)
def _squared_norm(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(-1)
