"""From data and atoms to the problem that solvers see, and back to a certificate from the data themselves."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

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
    """The certificate in float64 from the data themselves: what is reported, free of the solver's own rounding."""
    products, x, dictionary, exact = _products(dictionary), x.double(), dictionary.double(), a.double()
    image = products.synthesise(exact, dictionary, code_shape(x, dictionary))
    exactly = replace(problem, drive=products.analyse(x, dictionary), energy=_squared_norm(x))
    objective, gap = certificate(exactly, exact, products.analyse(image, dictionary) - exact)
    return objective.to(a.dtype), gap.to(a.dtype)


@operation(free)
def _squared_norm(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(-1)
