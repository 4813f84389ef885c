"""One predictive layer: the state below predicts the state above; errors return by the transposed map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neurosparse.predictive.maps import LinearMap

__all__ = ["ACTIVATIONS", "IDENTITY", "SOFTMAX", "Activation", "Prediction", "PredictiveLayer", "softmax_slope"]


class Activation(NamedTuple):
    """A function of each unit and its derivatives in terms of its value: ``f'(a) = slope(f(a))``, ``f'' = bend(f)``.

    None is a slope of 1 and a second derivative of 0. ``smooth``: whether the slope is continuous.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor] | None
    bend: Callable[[Tensor], Tensor] | None = None
    smooth: bool = True


IDENTITY = Activation("identity", lambda a: a, None)

#: With a cross entropy the slope of the softmax cancels: ``d/da (-y . log softmax(a)) = softmax(a) - y``.
SOFTMAX = Activation("softmax", lambda a: a.softmax(-1), None)

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("tanh", torch.tanh, lambda f: 1 - f * f, lambda f: 2 * f * (f * f - 1)),
        Activation("relu", torch.relu, torch.sign, smooth=False),  # the value is never below 0
        IDENTITY,
        Activation("sigmoid", torch.sigmoid, lambda f: f * (1 - f), lambda f: f * (1 - f) * (1 - 2 * f)),
        Activation(
            "softplus",
            torch.nn.functional.softplus,
            lambda f: 1 - torch.exp(-f),
            lambda f: torch.exp(-f) * (1 - torch.exp(-f)),
        ),
    )
}


def softmax_slope(value: Tensor, change: Tensor) -> Tensor:
    """The change of a softmax at ``value``, from that of its input: ``(diag(p) - p p^T) da``."""
    change = value * change
    return change - value * change.sum(-1, keepdim=True)


class Prediction(NamedTuple):
    """``input``, the message of the state below: ``h = before(z)``; ``value``, the prediction ``after(W h + b)``.

    ``log``: of a softmax, its logarithm, which is finite where the softmax itself is rounded to 0.
    """

    input: Tensor
    value: Tensor
    log: Tensor | None = None


@dataclass(frozen=True)
class PredictiveLayer:
    """``p = after(module(before(z)))``.

    Args:
        module: holds the weights.
        before, after: activations before and after it.
        map: its product, transpose and weight gradients by hand; None: autograd differentiates the module.
    """

    module: nn.Module
    before: Activation
    after: Activation
    map: LinearMap | None

    def predict(self, z: Tensor) -> Prediction:
        """The prediction of the state above from the state ``z``."""
        h = self.before.function(z)
        return self.predict_from(h, self._call(h) if self.map is None else self.product(h, True))

    def predict_from(self, h: Tensor, a: Tensor) -> Prediction:
        """The prediction from the message ``h`` and the output ``a`` of the module."""
        if self.after is SOFTMAX:
            log = a.log_softmax(-1)
            return Prediction(h, log.exp(), log)
        return Prediction(h, self.after.function(a))

    def product(self, h: Tensor, bias: bool) -> Tensor:
        """``W h``, or ``W h + b`` with ``bias``."""
        assert self.map is not None
        return self.map.product(self.module, h, bias)

    def transpose(self, signal: Tensor, shape: torch.Size) -> Tensor:
        """``W^T signal``."""
        assert self.map is not None
        return self.map.transpose(self.module, signal, shape)

    def signal(self, prediction: Prediction, error: Tensor) -> Tensor:
        """The message of the error units: ``after'(a) error``."""
        return error if self.after.slope is None else error * self.after.slope(prediction.value)

    def feedback(self, prediction: Prediction, error: Tensor) -> Tensor:
        """What the errors above contribute to the state below: ``(dp / dz)^T error``."""
        if self.map is None:
            (back,) = self._backward(prediction, error, [prediction.input])
        else:
            back = self.transpose(self.signal(prediction, error), prediction.input.shape)
        return self.through_before(prediction, back)

    def through_before(self, prediction: Prediction, back: Tensor) -> Tensor:
        """The chain rule through the first activation: ``before'(z) back``."""
        return back if self.before.slope is None else back * self.before.slope(prediction.input)

    def gradients(self, prediction: Prediction, error: Tensor) -> dict[str, Tensor]:
        """``(dp / dw)^T error``, summed over samples, by parameter name."""
        if self.map is not None:
            made = self.map.gradients(self.module, prediction.input, self.signal(prediction, error))
            return {name: made[name] for name, _ in self.module.named_parameters()}
        named = [(name, parameter) for name, parameter in self.module.named_parameters() if parameter.requires_grad]
        found = self._backward(prediction, error, [parameter for _, parameter in named])
        return {name: gradient for (name, _), gradient in zip(named, found, strict=True)}

    def _call(self, h: Tensor) -> Tensor:
        """The module's output. Dense weights take the output of a convolution as rows.

        A module may work in place, so it gets a copy of the state.
        """
        return self.module(h.flatten(1) if isinstance(self.module, nn.Linear) else h.clone())

    def _backward(self, prediction: Prediction, error: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        """Autograd of the layer after ``before``; with a cross entropy the softmax is left out."""
        with torch.enable_grad():
            h = prediction.input.detach().requires_grad_()
            inputs = [h if tensor is prediction.input else tensor for tensor in inputs]
            a = self._call(h)
            value = a if self.after is SOFTMAX else self.after.function(a)
            if not (inputs and value.requires_grad):
                return tuple(torch.zeros_like(tensor) for tensor in inputs)
            found = torch.autograd.grad(value, inputs, error, allow_unused=True, materialize_grads=True)
        return found
