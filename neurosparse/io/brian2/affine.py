"""Modules between two layers of neurons as one sparse matrix and a bias, exactly."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError

__all__ = ["Affine", "affine"]

# Modules that are affine in evaluation.
WITH_BIAS = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = (nn.modules.batchnorm._BatchNorm,)
WITHOUT = (
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.modules.dropout._DropoutNd,
)
CHUNK = 256  # rows of the matrix that are computed together


class Affine(NamedTuple):
    """``out[post] = bias[post] + sum of weight * in[pre]``; the weights that are not 0, ordered by ``pre``."""

    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    shape: tuple[int, ...]  # of the output units


@torch.no_grad()
def affine(where: str, modules: Sequence[nn.Module], units: Sequence[int]) -> Affine:
    """A chain of modules in evaluation as an affine map, in float64.

    The output of the chain without biases for the unit vectors gives the weights; its output for 0 is the bias.

    Args:
        where: the public function, for errors.
        modules: linear, convolution, average pooling, batch norm, flatten, dropout; no modules: the identity.
        units: shape of the input units.

    Raises:
        InputError: a module that is not affine, units of another shape.

    Example:
        >>> pool = affine("example", [nn.AvgPool1d(2)], (1, 4))
        >>> pool.pre.tolist(), pool.post.tolist(), pool.weight.tolist(), pool.shape
        ([0, 1, 2, 3], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], (1, 2))
    """
    for module in modules:
        if not isinstance(module, (*WITH_BIAS, *NORMS, *WITHOUT)):
            expected = "linear, convolution, average pooling, batch norm or flatten between neurons"
            raise InputError(where, got=type(module).__name__, expected=expected)
        if isinstance(module, NORMS) and module.running_mean is None:
            fix = "Build it with track_running_stats=True."
            raise InputError(where, got="a norm without running statistics", expected="one with them", fix=fix)
    chain = nn.Sequential(*copy.deepcopy(list(modules))).double().cpu().eval()
    n_units, found = math.prod(units), []
    try:
        silence = chain(torch.zeros(1, *units, dtype=torch.float64))
    except RuntimeError as error:
        names = ", ".join(type(module).__name__ for module in modules)
        raise InputError(where, got=f"units of shape {tuple(units)}", expected=f"the input shape of {names}") from error
    _drop_biases(chain)
    for start in range(0, n_units, CHUNK):
        out = chain(_unit_vectors(start, n_units).view(-1, *units)).flatten(1)
        pre, post = out.nonzero().unbind(1)
        found.append((pre + start, post, out[pre, post]))
    pre, post, weight = (torch.cat(part).numpy() for part in zip(*found, strict=True))
    return Affine(pre, post, weight, silence.flatten().numpy(), tuple(silence.shape[1:]))


def _unit_vectors(start: int, n_units: int) -> Tensor:
    """Up to CHUNK rows of the identity matrix, from row ``start``."""
    rows = torch.zeros(min(CHUNK, n_units - start), n_units, dtype=torch.float64)
    rows.diagonal(start).fill_(1.0)
    return rows


def _drop_biases(chain: nn.Sequential) -> None:
    for module in chain:
        for name in ("bias", "running_mean"):
            part = getattr(module, name, None)
            if isinstance(part, Tensor):
                part.zero_()
