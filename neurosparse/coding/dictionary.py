"""Products with a dictionary, dense or convolved: from data and atoms to a problem, from codes to their certificate.

Dense atoms are as large as a sample, with one coefficient each. Convolved atoms are smaller than an image and have a
coefficient at every place where they fit whole; ``a D`` is a transposed convolution. Solvers use flat codes, (samples,
atoms * places). The inhibition of convolved atoms is two convolutions, through the image: its matrix, atoms by atoms at
every offset, would cost more.

Source: convolved atoms: Zeiler, Krishnan, Taylor & Fergus (2010), "Deconvolutional networks"; the step: Wohlberg
(2016), who solves the same problem in the Fourier domain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.coding.penalty import Penalty
from neurosparse.coding.solver import SparseCodingProblem, distance, duality_gap, no_cost
from neurosparse.events.operation import operation
from neurosparse.kernels.certificate import gap_sums

__all__ = ["certify", "certify_reference", "code_shape", "make_problem"]


def code_shape(x: Tensor, dictionary: Tensor) -> tuple[int, ...]:
    """Shape of the codes: (samples, atoms), or (samples, atoms, rows, columns) of places."""
    (atoms, _, *kernel), (samples, _, *image) = dictionary.shape, x.shape
    return samples, atoms, *(size - extent + 1 for size, extent in zip(image, kernel, strict=True))


def make_problem(
    x: Tensor, dictionary: Tensor, penalty: Penalty, like: SparseCodingProblem | None = None
) -> SparseCodingProblem:
    """The problem of these data: the drive once per sample, the inhibition once per dictionary.

    Args:
        x, dictionary, penalty: as in `solve`.
        like: a problem of the same dictionary, whose inhibition is used again.
    """
    drive, energy = _correlate(x, dictionary), _squared_norm(x)
    if like is not None:
        return replace(like, drive=drive, energy=energy, penalty=penalty)
    weights = unit = None
    inhibit: Callable[[Tensor], Tensor]
    if dictionary.ndim == 2:
        weights, unit = cache(lambda: _weights(dictionary)), cache(lambda: _unit(dictionary))
        inhibit = partial(_inhibit_dense, weights)
        largest = cache(lambda: _largest_eigenvalue(dictionary))
    else:
        shape = code_shape(x, dictionary)
        inhibit = partial(_inhibit_convolved, dictionary, shape)
        largest = cache(lambda: _eigenvalue_bound(dictionary, shape))
    rank = len(dictionary) if penalty.ridge else min(dictionary.shape[:2])
    return SparseCodingProblem(drive, energy, inhibit, largest, penalty, weights, unit, rank)


@operation(no_cost)
def certify(x: Tensor, dictionary: Tensor, problem: SparseCodingProblem, a: Tensor) -> tuple[Tensor, Tensor]:
    """Objective and `distance` of codes from the data, float64, independent of the sums inside the solver."""
    penalty = problem.penalty
    if penalty.convex and dictionary.ndim == 2 and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        sums = gap_sums(x, dictionary, a.to(x.dtype), penalty.ridge, penalty.name == "nonnegative_l1")
        objective = 0.5 * sums.square + penalty.weight * sums.absolute + 0.5 * penalty.ridge * sums.squares
        residual = sums.square + penalty.ridge * sums.squares
        return objective, duality_gap(penalty, objective, sums.overlap, residual, sums.steepest)
    return certify_reference(x, dictionary, problem, a)


def certify_reference(x: Tensor, dictionary: Tensor, problem: SparseCodingProblem, a: Tensor) -> tuple[Tensor, Tensor]:
    """`certify` in plain torch, by dense products in float64."""
    x, dictionary, a = x.double(), dictionary.double(), a.double()
    residual = x - _synthesise(a, dictionary, code_shape(x, dictionary))
    correlation = _correlate(residual, dictionary)
    overlap, square = ((part * residual).flatten(1).sum(-1) for part in (x, residual))
    return distance(problem, a, correlation, overlap, square)


def _inhibit_dense(weights: Callable[[], Tensor], a: Tensor) -> Tensor:
    return F.linear(a, weights())


def _inhibit_convolved(dictionary: Tensor, shape: tuple[int, ...], a: Tensor) -> Tensor:
    return _correlate(_synthesise(a, dictionary, shape), dictionary) - a


def _correlate(x: Tensor, dictionary: Tensor) -> Tensor:
    """``x D^T``, (samples, coefficients)."""
    return F.linear(x, dictionary) if dictionary.ndim == 2 else F.conv2d(x, dictionary).flatten(1)


def _synthesise(a: Tensor, dictionary: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``a D``: the data or images of codes of this shape."""
    if dictionary.ndim == 2:
        return F.linear(a, dictionary.T)
    kernel = dictionary.flip(-1, -2).transpose(0, 1)
    return F.conv2d(a.view(-1, *shape[1:]), kernel, padding=(dictionary.shape[2] - 1, dictionary.shape[3] - 1))


@operation(no_cost)
def _squared_norm(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(-1)


@operation(no_cost)
def _weights(dictionary: Tensor) -> Tensor:
    weights = F.linear(dictionary, dictionary)
    weights.diagonal().sub_(1)
    return weights


@operation(no_cost)
def _unit(dictionary: Tensor) -> tuple[Tensor, Tensor]:
    """Norms, and cosines of different atoms; squares in float64, so that none is lost or infinite."""
    norm = dictionary.double().norm(dim=1)
    atoms = (dictionary.double() / norm[:, None]).to(dictionary.dtype)
    cosine = F.linear(atoms, atoms)
    cosine.diagonal().zero_()
    return norm.to(dictionary.dtype), cosine


@operation(no_cost)
def _largest_eigenvalue(dictionary: Tensor) -> float:
    # D D^T and D^T D share it; float64, because a step that is too long diverges.
    short = dictionary.double() if dictionary.shape[0] <= dictionary.shape[1] else dictionary.double().T
    return float(torch.linalg.eigvalsh(short @ short.T)[-1]) * (1 + 1e-6)


@operation(no_cost)
def _eigenvalue_bound(dictionary: Tensor, shape: tuple[int, ...]) -> float:
    """The largest eigenvalue on a torus as large as the image, one frequency at a time; it bounds that of the image."""
    height, width = (places + extent - 1 for places, extent in zip(shape[2:], dictionary.shape[2:], strict=True))
    spectrum = torch.fft.rfft2(dictionary.double(), s=(height, width)).permute(2, 3, 1, 0)  # (.., channels, atoms)
    short = spectrum if spectrum.shape[-2] <= spectrum.shape[-1] else spectrum.mH
    return float(torch.linalg.eigvalsh(short @ short.mH)[..., -1].max()) * (1 + 1e-6)
