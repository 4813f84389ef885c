"""What modules between two layers of neurons compute, as one sparse matrix and a bias: exact, whatever their kind."""

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

# In evaluation each of these is a matrix and a bias, if it has one.
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
CHUNK = 256  # units that are asked at a time


class Affine(NamedTuple):
    """``out[post] = bias[post] + sum of weight x in[pre]``: every connection that is not zero, by source."""

    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    shape: tuple[int, ...]  # of the units that come out


@torch.no_grad()
def affine(where: str, modules: Sequence[nn.Module], units: Sequence[int]) -> Affine:
    """A chain of modules in evaluation, in float64, on units of a shape.

    Each input unit alone is sent through the chain without its biases, so a weight is what the modules make of 1.0;
    silence sent through the whole chain is the bias.

    Args:
        where: who asks, for the error.
        modules: linear, convolution, average pooling, batch norm, flatten, dropout; none: each unit goes on as it is.
        units: shape of the units that come in.

    Raises:
        InputError: a module that is no matrix and bias.

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
            fix = "Keep track_running_stats=True."
            raise InputError(where, got="a norm of each batch", expected="one with running statistics", fix=fix)
    chain = nn.Sequential(*copy.deepcopy(list(modules))).double().cpu().eval()
    n_units, found = math.prod(units), []
    try:
        silence = chain(torch.zeros(1, *units, dtype=torch.float64))
    except RuntimeError as error:
        names = ", ".join(type(module).__name__ for module in modules)
        raise InputError(where, got=f"units of shape {tuple(units)}", expected=f"what {names} takes") from error
    _drop_biases(chain)
    for start in range(0, n_units, CHUNK):
        out = chain(_alone(start, n_units).view(-1, *units)).flatten(1)
        pre, post = out.nonzero().unbind(1)
        found.append((pre + start, post, out[pre, post]))
    pre, post, weight = (torch.cat(part).numpy() for part in zip(*found, strict=True))
    return Affine(pre, post, weight, silence.flatten().numpy(), tuple(silence.shape[1:]))


def _alone(start: int, n_units: int) -> Tensor:
    """Rows of the identity matrix, from ``start`` on."""
    rows = torch.zeros(min(CHUNK, n_units - start), n_units, dtype=torch.float64)
    rows.diagonal(start).fill_(1.0)
    return rows


def _drop_biases(chain: nn.Sequential) -> None:
    for module in chain:
        for name in ("bias", "running_mean"):
            part = getattr(module, name, None)
            if isinstance(part, Tensor):
                part.zero_()
