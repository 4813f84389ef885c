"""What a coefficient costs: a penalty is a frozen value that knows its cost, its proximal step and its dual norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.operation import Operation, operation

__all__ = ["Penalty", "l0", "l1", "nonnegative_l1"]


@dataclass(frozen=True, repr=False)
class Penalty:
    """The cost ``weight * sum_i cost(a_i)`` of a code; made by `l1`, `nonnegative_l1` or `l0`.

    Args:
        name: the function that made it.
        weight: lambda in ``0.5 ||x - a D||^2 + lambda cost(a)``.
        threshold: the input at which ``prox(., 1)`` starts to answer.
        cost: elementwise cost, without the weight.
        shrink: ``shrink(a, weight * step)``, the elementwise proximal map.
        dual_norm: the size of a sample's correlation ``(x - a D) D^T``, at most ``weight`` where dual feasible; None if
            not convex.

    Example:
        >>> penalty = l1(0.5)
        >>> penalty, penalty.threshold, penalty.convex
        (l1(0.5), 0.5, True)
    """

    name: str
    weight: float
    threshold: float
    cost: Callable[[Tensor], Tensor]
    shrink: Callable[[Tensor, float], Tensor]
    dual_norm: Callable[[Tensor], Tensor] | None

    def __repr__(self) -> str:
        return f"{self.name}({self.weight:g})"

    @property
    def convex(self) -> bool:
        """Whether a duality gap exists, and with it a proof of how good a code is."""
        return self.dual_norm is not None

    def value(self, a: Tensor) -> Tensor:
        """The cost of each code: ``(samples, atoms) -> (samples,)``."""
        return self.weight * self.cost(a).sum(-1)

    def prox(self, a: Tensor, step: float = 1.0) -> Tensor:
        """``argmin_z 0.5 (z - a)^2 + step * weight * cost(z)``, elementwise."""
        return self.shrink(a, self.weight * step)


def l1(weight: float) -> Penalty:
    """``weight * sum |a|``: the LASSO; its proximal map is the soft threshold.

    Args:
        weight: lambda, in the units of the data; larger codes sparser.

    Returns:
        a `Penalty`.

    Raises:
        InputError: if the weight is not a positive number.

    Example:
        >>> l1(0.5).prox(torch.tensor([-2.0, 0.3, 1.0]))
        tensor([-1.5000,  0.0000,  0.5000])

    Source: Tibshirani (1996); as a sparse code: Olshausen & Field (1997), with their lambda = 2 x this one.
    """
    weight = _positive("l1", weight)
    return Penalty("l1", weight, weight, torch.abs, _soft, _largest_magnitude)


def nonnegative_l1(weight: float) -> Penalty:
    """``weight * sum a`` over codes ``a >= 0``: what a population of firing rates can express.

    Args:
        weight: lambda, in the units of the data.

    Returns:
        a `Penalty`.

    Raises:
        InputError: if the weight is not a positive number.

    Example:
        >>> nonnegative_l1(0.5).prox(torch.tensor([-2.0, 0.3, 1.0]))
        tensor([0.0000, 0.0000, 0.5000])

    Source: Hoyer (2002), "Non-negative sparse coding".
    """
    weight = _positive("nonnegative_l1", weight)
    return Penalty("nonnegative_l1", weight, weight, torch.abs, _soft_positive, _largest_positive)


def l0(weight: float) -> Penalty:
    """``weight * (number of non-zero a)``; its proximal map is the hard threshold ``|a| > sqrt(2 weight)``.

    Not convex: solvers stop at a fixed point, which may be a local minimum.

    Args:
        weight: the price of one active atom.

    Returns:
        a `Penalty`.

    Raises:
        InputError: if the weight is not a positive number.

    Example:
        >>> l0(0.125).threshold
        0.5
        >>> l0(0.125).prox(torch.tensor([-2.0, 0.3, 1.0]))
        tensor([-2.,  0.,  1.])

    Source: Blumensath & Davies (2008), "Iterative thresholding for sparse approximations".
    """
    weight = _positive("l0", weight)
    return Penalty("l0", weight, math.sqrt(2 * weight), _is_active, _hard, None)


def _positive(where: str, weight: float) -> float:
    if not (isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < math.inf):
        raise InputError(where, got=f"weight={weight!r}", expected="a number above 0", fix="Pass weight=0.1.")
    return float(weight)


def _threshold_cost(result: Tensor, a: Tensor, _: float) -> list[Operation]:
    """One comparison and at most one subtraction a coefficient."""
    return [Operation("compare", comparisons=a.numel(), elementwise=a.numel())]


@operation(_threshold_cost)
def _soft(a: Tensor, threshold: float) -> Tensor:
    return torch.nn.functional.softshrink(a, threshold)


@operation(_threshold_cost)
def _soft_positive(a: Tensor, threshold: float) -> Tensor:
    return torch.relu(a - threshold)


@operation(_threshold_cost)
def _hard(a: Tensor, scaled_weight: float) -> Tensor:
    return torch.nn.functional.hardshrink(a, math.sqrt(2 * scaled_weight))


def _is_active(a: Tensor) -> Tensor:
    return (a != 0).to(a.dtype)


def _largest_magnitude(correlation: Tensor) -> Tensor:
    return correlation.abs().amax(-1)


def _largest_positive(correlation: Tensor) -> Tensor:
    return correlation.amax(-1).clamp(min=0)
