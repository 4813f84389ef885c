"""From data and atoms to the problem that solvers see, and back to a certificate from the data themselves."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import torch
from torch import Tensor

from neurosparse.coding import convolution, dense
from neurosparse.coding.penalty import Penalty
from neurosparse.coding.problem import Problem, certificate, free
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
    """The certificate from the data themselves: what is reported, free of the solver's running sums.

    Float32 data are correlated with the residual in float32, which leaves an error of about 1e-6 in the gap, and summed
    in float64; all others are in float64 throughout.
    """
    products, dtype, exact = _products(dictionary), a.dtype, a.double()
    precision = torch.float32 if dtype == torch.float32 else torch.float64
    x, dictionary, drive = x.to(precision), dictionary.to(precision), problem.drive
    drive = (drive if drive.dtype == precision == torch.float32 else products.analyse(x, dictionary)).double()
    residual = x - products.synthesise(a.to(precision), dictionary, code_shape(x, dictionary))
    inhibition = drive - exact - products.analyse(residual, dictionary).double()
    exactly = replace(problem, drive=drive, energy=_squared_norm(x.double()))
    objective, gap = certificate(exactly, exact, inhibition)
    return objective.to(dtype), gap.to(dtype)


@operation(free)
def _squared_norm(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(-1)
