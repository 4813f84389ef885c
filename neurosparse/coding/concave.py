"""Concave penalties: log, Cauchy, and lp with p < 1, which shrink large coefficients less than l1.

None is convex: solvers stop at a fixed point, which may be a local minimum. The proximal maps are global minima; where
there are two local minima, both are computed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from neurosparse.checks import number, positive
from neurosparse.coding.penalty import Penalty
from neurosparse.events.operation import Operation, operation

__all__ = ["cauchy", "log", "lp"]


def log(weight: float, scale: float = 1.0) -> Penalty:
    """``weight * sum log(1 + (a / scale)^2)``: many small coefficients, none exactly 0.

    It is smooth at zero: small coefficients become much smaller, but not 0, so its threshold is 0.

    Args:
        weight: lambda. Olshausen and Field's energy has no 1/2 before the squares: their lambda is twice this one.
        scale: sigma; the cost is quadratic below and logarithmic above it.

    Returns:
        a `Penalty`.

    Raises:
        InputError: if weight or scale is not a positive number.

    Example:
        >>> penalty = log(0.5)
        >>> penalty.prox(torch.tensor([0.0, 0.1, 10.0]))
        tensor([0.0000, 0.0501, 9.9000])

    Source: Olshausen & Field (1996), "Emergence of simple-cell receptive field properties by learning a sparse code for
    natural images".
    """
    weight, scale = positive("log", "weight", weight), positive("log", "scale", scale)
    return Penalty("log", weight, 0.0, _log_cost, _shrink_log, None, (scale,), arguments=(weight, scale))


def cauchy(variance: float, scale: float = 1.0) -> Penalty:
    """`log` as a posterior: coefficients with density ``1 / (1 + (a / scale)^2)``, data with Gaussian noise.

    ``-variance * log p(a | x) = 0.5 ||x - a D||^2 + variance * sum log(1 + (a / scale)^2)`` up to a constant.

    Args:
        variance: of the noise in each feature.
        scale: half the width of the prior at half its height.

    Returns:
        a `Penalty`.

    Raises:
        InputError: if variance or scale is not a positive number.

    Example:
        >>> cauchy(0.5, scale=2.0), cauchy(0.5, scale=2.0).weight
        (cauchy(0.5, 2), 0.5)

    Source: Olshausen & Field (1997), "Sparse coding with an overcomplete basis set: a strategy employed by V1?".
    """
    variance, scale = positive("cauchy", "variance", variance), positive("cauchy", "scale", scale)
    return replace(log(variance, scale), name="cauchy")


def lp(weight: float, p: float = 0.5) -> Penalty:
    """``weight * sum |a|^p`` with ``0 < p < 1``: between `l0` and the LASSO.

    Coefficients are 0 up to a threshold, where they jump to ``(2 weight (1 - p))^(1 / (2 - p))``.

    Args:
        weight: lambda.
        p: the power, above 0 and below 1.

    Returns:
        a `Penalty`.

    Raises:
        InputError: if the weight is not a positive number or the power not between 0 and 1.

    Example:
        >>> lp(0.5).threshold, lp(0.5).prox(torch.tensor([-2.0, 0.9, 1.0]))
        (0.944..., tensor([-1.8144,  0.0000,  0.7015]))

    Source: Marjanovic & Solo (2012), "On l_q optimization and matrix completion"; as a code of natural images:
    Rentzeperis, Calatroni, Perrinet & Prandi (2023).
    """
    weight, p = positive("lp", "weight", weight), number("lp", "p", p, above=0, below=1)
    return Penalty(
        "lp", weight, _power_threshold(weight, p)[0], _power_cost, _shrink_power, None, (p,), 0.0, (weight, p)
    )


def _log_cost(a: Tensor, scale: float) -> Tensor:
    return torch.log1p((a / scale).square())


def _power_cost(a: Tensor, p: float) -> Tensor:
    return a.abs() ** p


def _power_threshold(weight: float, p: float) -> tuple[float, float]:
    """The input at which 0 and a non-zero coefficient cost the same, and that coefficient."""
    least = (2 * weight * (1 - p)) ** (1 / (2 - p))
    return least * (2 - p) / (2 * (1 - p)), least


NEWTON_STEPS = 8


def _power_operations(result: Tensor, a: Tensor, weight: float, p: float) -> list[Operation]:
    """A comparison, and six scalar operations (one of them a power) per step."""
    return [Operation("compare", comparisons=a.numel(), elementwise=6 * NEWTON_STEPS * a.numel())]


@operation(_power_operations)
def _shrink_power(a: Tensor, weight: float, p: float) -> Tensor:
    """Newton on ``z + weight p z^(p - 1) = |a|`` from ``z = |a|``: convex there, with a slope above 1/2."""
    threshold, least = _power_threshold(weight, p)
    size = a.abs()
    z = size.clamp(min=least)
    for _ in range(NEWTON_STEPS):
        pull = weight * p * z ** (p - 1)
        z = (z - (z + pull - size) / (1 + (p - 1) * pull / z)).clamp(min=least)
    return torch.where(size > threshold, torch.copysign(z, a), torch.zeros_like(a))


def _log_operations(result: Tensor, a: Tensor, weight: float, scale: float) -> list[Operation]:
    """About forty scalar operations (a root and a power among them), sixty where there are two minima."""
    return [Operation("elementwise", elementwise=(60 if _two_minima(weight, scale) else 40) * a.numel())]


def _two_minima(weight: float, scale: float) -> bool:
    """Whether ``0.5 (z - a)^2 + weight log(1 + (z / scale)^2)`` has two minima for some ``a``."""
    return weight > 4 * scale**2


@operation(_log_operations)
def _shrink_log(a: Tensor, weight: float, scale: float) -> Tensor:
    """The real roots of ``z^3 - b z^2 + (1 + 2 t) z - b``, with ``b = |a| / scale`` and ``t = weight / scale^2``."""
    b, t = a.abs().double() / scale, weight / scale**2  # cubes overflow float32 early
    p = (1 + 2 * t - b.square() / 3) / 3  # u^3 + 3 p u + 2 q = 0 for z = b / 3 + u
    q = b * ((1 + 2 * t) / 3 - 1 - b.square() * (2 / 27)) / 2
    inside = q.square() + p**3
    larger = (q.abs() + inside.clamp(min=0).sqrt()) ** (1 / 3)
    z = _polished(b / 3 + q.sign() * (p / larger.clamp(min=1e-30) - larger), b, t)
    if _two_minima(weight, scale):
        radius = (-p).clamp(min=1e-30).sqrt()
        angle = torch.arccos((-q / radius**3).clamp(-1, 1)) / 3
        low, high = (_polished(b / 3 + 2 * radius * torch.cos(angle + turn), b, t) for turn in (2 * math.pi / 3, 0.0))
        best = torch.where(_log_objective(low, b, t) < _log_objective(high, b, t), low, high)
        z = torch.where(inside < 0, best, z)
    return torch.copysign(scale * z, a).to(a.dtype)


def _polished(z: Tensor, b: Tensor, t: float) -> Tensor:
    """Two Newton steps correct the cancellation of the closed form."""
    for _ in range(2):
        slope = (3 * z - 2 * b) * z + (1 + 2 * t)
        z = (z - (((z - b) * z + (1 + 2 * t)) * z - b) / slope.clamp(min=1e-6)).clamp(min=0).minimum(b)
    return z


def _log_objective(z: Tensor, b: Tensor, t: float) -> Tensor:
    return 0.5 * (z - b).square() + t * torch.log1p(z.square())
