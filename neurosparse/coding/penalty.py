"""Penalties of sparse coding: cost, proximal map and dual norm of l1, non-negative l1, elastic net and l0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neurosparse.checks import number, positive
from neurosparse.events.operation import Operation, operation

__all__ = ["Penalty", "elastic_net", "l0", "l1", "nonnegative_l1"]


@dataclass(frozen=True, repr=False)
class Penalty:
    """The cost ``weight * sum_i cost(a_i) + ridge / 2 * sum_i a_i^2`` of a code; made by `l1`, `log` and the like.

    Args:
        name: the function that made it.
        weight: lambda in ``0.5 ||x - a D||^2 + lambda cost(a)``.
        threshold: the largest input for which ``prox(., 1)`` is 0.
        cost: ``cost(a, *shape)``, elementwise, without the weight.
        shrink: ``shrink(a, weight * step, *shape)``, the elementwise proximal map.
        dual_norm: of a sample's correlation ``(x - a D) D^T``, at most ``weight`` where dual feasible; None if not
            convex.
        shape: further parameters of the cost, such as a scale.
        ridge: weight of half the squares.
        arguments: the arguments of ``name``.

    Example:
        >>> penalty = l1(0.5)
        >>> penalty, penalty.threshold, penalty.convex
        (l1(0.5), 0.5, True)
    """

    name: str
    weight: float
    threshold: float
    cost: Callable[..., Tensor]
    shrink: Callable[..., Tensor]
    dual_norm: Callable[[Tensor], Tensor] | None
    shape: tuple[float, ...] = ()
    ridge: float = 0.0
    arguments: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{argument:g}' for argument in self.arguments or (self.weight,))})"

    @property
    def convex(self) -> bool:
        """Whether a duality gap exists, which bounds the distance of a code from the optimum."""
        return self.dual_norm is not None

    def value(self, a: Tensor) -> Tensor:
        """The cost of each code: ``(samples, atoms) -> (samples,)``."""
        value = self.weight * self.cost(a, *self.shape).sum(-1)
        return value + 0.5 * self.ridge * a.square().sum(-1) if self.ridge else value

    def prox(self, a: Tensor, step: float = 1.0) -> Tensor:
        """``argmin_z 0.5 (z - a)^2 + step * (weight * cost(z) + ridge / 2 * z^2)``, elementwise."""
        if self.ridge:  # the sum of two parabolas is one
            share = 1 / (1 + step * self.ridge)
            return self.shrink(share * a, share * step * self.weight, *self.shape)
        return self.shrink(a, self.weight * step, *self.shape)


def l1(weight: float) -> Penalty:
    """``weight * sum |a|``: the LASSO; its proximal map is the soft threshold.

    Args:
        weight: lambda, in the units of the data; a larger one makes codes sparser.

    Returns:
        a `Penalty`.

    Raises:
        InputError: if the weight is not a positive number.

    Example:
        >>> l1(0.5).prox(torch.tensor([-2.0, 0.3, 1.0]))
        tensor([-1.5000,  0.0000,  0.5000])

    Source: Tibshirani (1996); as a sparse code: Olshausen & Field (1997), with their lambda = 2 x this one.
    """
    weight = positive("l1", "weight", weight)
    return Penalty("l1", weight, weight, torch.abs, _soft, _largest_magnitude)


def nonnegative_l1(weight: float) -> Penalty:
    """``weight * sum a`` over codes ``a >= 0``, such as firing rates.

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
    weight = positive("nonnegative_l1", "weight", weight)
    return Penalty("nonnegative_l1", weight, weight, torch.abs, _soft_positive, _largest_positive)


def elastic_net(weight: float, l1_ratio: float = 0.5) -> Penalty:
    """``weight * (l1_ratio * sum |a| + (1 - l1_ratio) / 2 * sum a^2)``: the LASSO with a ridge, which distributes
    weight over similar atoms.

    Args:
        weight: lambda, in the units of the data.
        l1_ratio: share of the l1 term, above 0 and at most 1.

    Returns:
        a `Penalty`; convex, so that codes are certified by a duality gap.

    Raises:
        InputError: if the weight is not a positive number or the ratio not in (0, 1].

    Example:
        >>> elastic_net(1.0, 0.5).prox(torch.tensor([-2.0, 0.3, 1.0]))
        tensor([-1.0000,  0.0000,  0.3333])

    Source: Zou & Hastie (2005), "Regularization and variable selection via the elastic net", as scikit-learn writes it.
    """
    weight = positive("elastic_net", "weight", weight)
    l1_ratio = number("elastic_net", "l1_ratio", l1_ratio, above=0, high=1)
    lasso = l1(weight * l1_ratio)
    return replace(lasso, name="elastic_net", ridge=weight * (1 - l1_ratio), arguments=(weight, l1_ratio))


def l0(weight: float) -> Penalty:
    """``weight * (number of non-zero a)``; its proximal map is the hard threshold ``|a| > sqrt(2 weight)``.

    Not convex: solvers stop at a fixed point, which may be a local minimum.

    Args:
        weight: cost of one active atom.

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
    weight = positive("l0", "weight", weight)
    return Penalty("l0", weight, math.sqrt(2 * weight), _is_active, _hard, None)


def _threshold_cost(result: Tensor, a: Tensor, _: float) -> list[Operation]:
    """One comparison and at most one subtraction per coefficient."""
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
