"""Surrogate gradients: the derivative of a spike is replaced by a function of the distance to threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosparse.checks import positive
from neurosparse.errors import InputError

__all__ = ["Surrogate", "as_surrogate", "atan", "boxcar", "fast_sigmoid", "triangle"]


@dataclass(frozen=True)
class Surrogate:
    """A surrogate: the derivative used in backward, and the smooth step whose true derivative it is.

    Args:
        name: for reports.
        derivative: d spike / d (membrane - threshold).
        smooth: the function with that derivative, for checks against numerical gradients.
        shape, size: its kind and constant in the fused kernels; "given" for any other derivative.
    """

    name: str
    derivative: Callable[[Tensor], Tensor]
    smooth: Callable[[Tensor], Tensor] | None = None
    shape: str = "given"
    size: float = 1.0


def as_surrogate(where: str, surrogate: Surrogate | Callable[[Tensor], Tensor] | None) -> Surrogate:
    """A surrogate as it is, or a foreign spike function (snnTorch's, for example) as one.

    Args:
        where: for the error.
        surrogate: a :class:`Surrogate`, None for the arc tangent, or a function from the distance to threshold to
            spikes whose backward is its surrogate.

    Raises:
        InputError: neither; or one of ours that was not called.
    """
    if surrogate is None:
        return atan()
    if isinstance(surrogate, Surrogate):
        return surrogate
    if not callable(surrogate) or surrogate in (atan, fast_sigmoid, triangle, boxcar):
        raise InputError(where, got=f"surrogate={surrogate!r}", expected="a surrogate", fix="Call it: ns.atan().")
    spike = surrogate

    def derivative(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(spike(x).sum(), x)
        return slope

    return Surrogate(getattr(spike, "__name__", type(spike).__name__), derivative)


def atan(alpha: float = 2.0) -> Surrogate:
    r"""Arc tangent: ``(alpha / 2) / (1 + (pi alpha x / 2)^2)``.

    Args:
        alpha: steepness; the derivative at threshold is ``alpha / 2``.

    Example:
        >>> atan().derivative(torch.zeros(1)).item()
        1.0

    Source: Fang et al. 2021, "Incorporating learnable membrane time constant", eq. for the arc tangent surrogate.
    """
    alpha = positive("atan", "alpha", alpha)
    return Surrogate(
        f"atan(alpha={alpha:g})",
        lambda x: (alpha / 2) / (1 + (math.pi / 2 * alpha * x) ** 2),
        lambda x: torch.atan(math.pi / 2 * alpha * x) / math.pi + 0.5,
        "atan",
        alpha,
    )


def fast_sigmoid(slope: float = 25.0) -> Surrogate:
    """Fast sigmoid: ``1 / (1 + slope |x|)^2``.

    Args:
        slope: steepness.

    Example:
        >>> fast_sigmoid(1.0).derivative(torch.ones(1)).item()
        0.25

    Source: Zenke & Ganguli 2018, "SuperSpike".
    """
    slope = positive("fast_sigmoid", "slope", slope)
    return Surrogate(
        f"fast_sigmoid(slope={slope:g})",
        lambda x: 1 / (1 + slope * x.abs()) ** 2,
        lambda x: x / (1 + slope * x.abs()),
        "fast_sigmoid",
        slope,
    )


def triangle(width: float = 1.0) -> Surrogate:
    """Triangle: ``max(0, 1 - |x| / width) / width``; zero outside ``width``, so its gradient is sparse.

    Args:
        width: half of the support.

    Example:
        >>> triangle().derivative(torch.tensor([0.0, 0.5, 2.0])).tolist()
        [1.0, 0.5, 0.0]

    Source: Esser et al. 2016, "Convolutional networks for fast, energy-efficient neuromorphic computing".
    """
    width = positive("triangle", "width", width)

    def smooth(x: Tensor) -> Tensor:
        y = (x / width).clamp(-1, 1)
        return 0.5 + y - y * y.abs() / 2

    name = f"triangle(width={width:g})"
    return Surrogate(name, lambda x: (1 - x.abs() / width).clamp(min=0) / width, smooth, "triangle", width)


def boxcar(width: float = 1.0) -> Surrogate:
    """Boxcar: ``1 / width`` where ``|x| < width / 2``, else 0: the gradient needs one bit per unit and step.

    Args:
        width: the support.

    Example:
        >>> boxcar().derivative(torch.tensor([0.4, 0.6])).tolist()
        [1.0, 0.0]

    Source: Wu et al. 2018, "Spatio-temporal backpropagation".
    """
    width = positive("boxcar", "width", width)
    return Surrogate(
        f"boxcar(width={width:g})",
        lambda x: (x.abs() < width / 2).to(x.dtype) / width,
        lambda x: (x / width).clamp(-0.5, 0.5) + 0.5,
        "boxcar",
        width,
    )
