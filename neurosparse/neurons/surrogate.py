"""Surrogate gradients: the derivative of a spike is replaced by a function of the distance to threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.checks import number, positive
from neurosparse.errors import InputError
from neurosparse.kernels.dispatch import by_reference
from neurosparse.kernels.scan.reference import spike, without_tangents
from neurosparse.neurons.constants import Constants, Range, constant

__all__ = ["ForeignSpike", "Surrogate", "as_surrogate", "atan", "boxcar", "fast_sigmoid", "triangle"]

SIZES = Range(1e-6)  # below, slopes overflow in float32


class _Hard(torch.autograd.Function):
    """Spikes whose gradient is that of a smooth step."""

    generate_vmap_rule = True

    @staticmethod
    def forward(smooth: Tensor, distance: Tensor) -> Tensor:  # type: ignore[override]
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def jvp(ctx, tangent, _):  # type: ignore[override]
        return tangent.clone()

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        return grad, None


_TracedHard = without_tangents(_Hard)


class Surrogate(Constants):
    """A surrogate: the derivative used in backward, and the smooth step whose true derivative it is.

    Called on the distance to threshold, it returns spikes with this gradient. A constant that is a Parameter is
    trained by the gradient of the smooth step.

    Args:
        name: for reports.
        derivative: d spike / d (membrane - threshold), a function of the distance and of the constants.
        smooth: the function with that derivative, of the same arguments; needed where a constant is trained.
        constants: by name, each a number, one per unit or a Parameter, at least 1e-6.
        shape: its kind in the fused kernels; "given" for any other derivative.

    Raises:
        InputError: a Parameter without a smooth step.

    Example:
        >>> gauss = Surrogate("gauss", lambda x: torch.exp(-x * x))
        >>> x = torch.zeros(1, requires_grad=True)
        >>> gauss(x).backward()
        >>> x.grad.item()
        1.0
    """

    def __init__(
        self,
        name: str,
        derivative: Callable[..., Tensor],
        smooth: Callable[..., Tensor] | None = None,
        constants: dict[str, Any] | None = None,
        shape: str = "given",
    ):
        super().__init__()
        self.kind, self.shape = name, shape
        self._derivative, self._smooth = derivative, smooth
        for key, value in (constants or {}).items():
            if not getattr(value, "ndim", 0) and not isinstance(value, nn.Parameter):
                value = number(name, key, positive(name, key, value), SIZES.low)
            self.hold(key, constant(name, key, value, SIZES), SIZES)
        if smooth is None and next(self.parameters(), None) is not None:
            fix = "Pass smooth, the step with that derivative."
            raise InputError(name, got="a Parameter without a smooth step", expected="one that can learn", fix=fix)

    @property
    def name(self) -> str:
        """Kind and constants."""
        values = {name: getattr(self, name) for name in self.ranges}
        shown = [f"{n}={float(v):g}" if not v.ndim else f"{n} per unit" for n, v in values.items()]
        return f"{self.kind}({', '.join(shown)})" if shown else self.kind

    def derivative(self, x: Tensor) -> Tensor:
        """d spike / d distance."""
        return self._derivative(x, *self._values(x)).to(x.dtype)

    def smooth(self, x: Tensor) -> Tensor:
        """The step with that derivative.

        Raises:
            InputError: a surrogate that was built without one.
        """
        if self._smooth is None:
            raise InputError(self.kind, got="no smooth step", expected="a surrogate with one", fix="Pass smooth.")
        return self._smooth(x, *self._values(x)).to(x.dtype)

    def forward(self, distance: Tensor) -> Tensor:
        """Spikes where the distance to threshold is positive."""
        if self.learns or (self._differentiable and by_reference(distance)):
            hard = _TracedHard if torch.compiler.is_compiling() else _Hard
            return hard.apply(self.smooth(distance), distance)  # type: ignore[return-value]
        return spike(distance, self.derivative)

    @property
    def _differentiable(self) -> bool:
        """Whether the smooth step can be differentiated by the constants, which a transform of torch may do."""
        return self._smooth is not None

    @property
    def size(self) -> Tensor:
        """The constant of a kind that the fused kernels know, float64."""
        for name in self.ranges:
            return self.in_use(name).detach().double()
        return torch.ones((), dtype=torch.float64)

    @property
    def fits_kernels(self) -> bool:
        """Whether the fused scan gives the same gradients: no constant is one per unit."""
        return not any(getattr(self, name).ndim for name in self.ranges)

    def _values(self, x: Tensor) -> list[Tensor]:
        """Constants in use; numbers keep their precision up to where they act on the distance."""
        exact = {name for name in self.ranges if name in self._buffers and not getattr(self, name).ndim}
        return [self.in_use(name, None if name in exact else x) for name in self.ranges]

    def __repr__(self) -> str:
        return self.name


class ForeignSpike(Surrogate):
    """A spike function of another library, from the distance to threshold to spikes; its backward is the derivative.

    Parameters of a module are trained by its own backward.

    Args:
        where: for the error.
        spike: the function; one that is no module is called once, to find Parameters that no module holds.

    Raises:
        InputError: a function with such Parameters.
    """

    def __init__(self, where: str, spike: Callable[[Tensor], Tensor]):
        Constants.__init__(self)
        self.kind, self.shape, self.spike = getattr(spike, "__name__", type(spike).__name__), "given", spike
        if not isinstance(spike, nn.Module):
            _refuse_hidden_parameters(where, spike)

    def derivative(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.spike(x).sum(), x)
        return slope

    def smooth(self, x: Tensor) -> Tensor:
        return self.spike(x)

    @property
    def _differentiable(self) -> bool:
        return next(self.parameters(), None) is not None


def _refuse_hidden_parameters(where: str, spike: Callable[[Tensor], Tensor]) -> None:
    """Refuse a function whose result has a gradient with respect to anything but its argument."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        x = torch.zeros(1, requires_grad=True)
        result = spike(x)
    waiting, seen = [getattr(result, "grad_fn", None)], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if getattr(node, "variable", x) is not x:
            fix = "Pass a nn.Module that holds it as a nn.Parameter."
            raise InputError(where, got="a spike function with a Parameter", expected="a module", fix=fix)
        waiting += [each for each, _ in node.next_functions]


def as_surrogate(where: str, surrogate: Surrogate | Callable[[Tensor], Tensor] | None) -> Surrogate:
    """A surrogate with buffers of its own, or a foreign spike function (snnTorch's, for example) as one.

    Args:
        where: for the error.
        surrogate: a :class:`Surrogate`, None for the arc tangent, or a function from the distance to threshold to
            spikes whose backward is its surrogate.

    Raises:
        InputError: neither; one of ours that was not called; a function with Parameters that is no module.
    """
    if surrogate is None:
        return atan()
    if isinstance(surrogate, Surrogate):
        return surrogate.of_its_own()
    if not callable(surrogate) or surrogate in (atan, fast_sigmoid, triangle, boxcar):
        raise InputError(where, got=f"surrogate={surrogate!r}", expected="a surrogate", fix="Call it: ns.atan().")
    return ForeignSpike(where, surrogate)


def _atan_slope(x: Tensor, alpha: Tensor) -> Tensor:
    return (alpha / 2) / (1 + (math.pi / 2 * alpha * x) ** 2)


def _atan_step(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.atan(math.pi / 2 * alpha * x) / math.pi + 0.5


def atan(alpha: float | Tensor = 2.0) -> Surrogate:
    r"""Arc tangent: ``(alpha / 2) / (1 + (pi alpha x / 2)^2)``.

    Args:
        alpha: steepness; the derivative at threshold is ``alpha / 2``; a Parameter is trained.

    Example:
        >>> atan().derivative(torch.zeros(1)).item()
        1.0

    Source: Fang et al. 2021, "Incorporating learnable membrane time constant", eq. for the arc tangent surrogate.
    """
    return Surrogate("atan", _atan_slope, _atan_step, {"alpha": alpha}, "atan")


def _fast_sigmoid_slope(x: Tensor, slope: Tensor) -> Tensor:
    return 1 / (1 + slope * x.abs()) ** 2


def _fast_sigmoid_step(x: Tensor, slope: Tensor) -> Tensor:
    return x / (1 + slope * x.abs())


def fast_sigmoid(slope: float | Tensor = 25.0) -> Surrogate:
    """Fast sigmoid: ``1 / (1 + slope |x|)^2``.

    Args:
        slope: steepness; a Parameter is trained.

    Example:
        >>> fast_sigmoid(1.0).derivative(torch.ones(1)).item()
        0.25

    Source: Zenke & Ganguli 2018, "SuperSpike".
    """
    return Surrogate("fast_sigmoid", _fast_sigmoid_slope, _fast_sigmoid_step, {"slope": slope}, "fast_sigmoid")


def _triangle_slope(x: Tensor, width: Tensor) -> Tensor:
    return (1 - x.abs() / width).clamp(min=0) / width


def _triangle_step(x: Tensor, width: Tensor) -> Tensor:
    y = (x / width).clamp(-1, 1)
    return 0.5 + y - y * y.abs() / 2


def triangle(width: float | Tensor = 1.0) -> Surrogate:
    """Triangle: ``max(0, 1 - |x| / width) / width``; zero outside ``width``, so its gradient is sparse.

    Args:
        width: half of the support; a Parameter is trained.

    Example:
        >>> triangle().derivative(torch.tensor([0.0, 0.5, 2.0])).tolist()
        [1.0, 0.5, 0.0]

    Source: Esser et al. 2016, "Convolutional networks for fast, energy-efficient neuromorphic computing".
    """
    return Surrogate("triangle", _triangle_slope, _triangle_step, {"width": width}, "triangle")


def _boxcar_slope(x: Tensor, width: Tensor) -> Tensor:
    return (x.abs() < width / 2).to(x.dtype) / width


def _boxcar_step(x: Tensor, width: Tensor) -> Tensor:
    return (x / width).clamp(-0.5, 0.5) + 0.5


def boxcar(width: float | Tensor = 1.0) -> Surrogate:
    """Boxcar: ``1 / width`` where ``|x| < width / 2``, else 0: the gradient needs one bit per unit and step.

    Args:
        width: the support; a Parameter is trained.

    Example:
        >>> boxcar().derivative(torch.tensor([0.4, 0.6])).tolist()
        [1.0, 0.0]

    Source: Wu et al. 2018, "Spatio-temporal backpropagation".
    """
    return Surrogate("boxcar", _boxcar_slope, _boxcar_step, {"width": width}, "boxcar")
