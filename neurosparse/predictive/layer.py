"""One layer of predictions: from the state below to a prediction of the state above, and the error's way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neurosparse.predictive.activation import SOFTMAX, Activation
from neurosparse.predictive.maps import Map

__all__ = ["Layer", "Prediction"]


class Prediction(NamedTuple):
    """``input``, what the state below sends: ``h = before(z)``; ``value``, the prediction ``after(W h + b)``."""

    input: Tensor
    value: Tensor


@dataclass(frozen=True)
class Layer:
    """``p = after(module(before(z)))``.

    Args:
        module: what is learned.
        before, after: activations on either side of it.
        map: how its product is transposed and its weights learn, by hand; None leaves both to autograd.
    """

    module: nn.Module
    before: Activation
    after: Activation
    map: Map | None

    def predict(self, z: Tensor) -> Prediction:
        """The prediction that a state makes of the state above."""
        h = self.before.function(z)
        a = self._call(h) if self.map is None else self.product(h, True)
        return Prediction(h, self.after.function(a))

    def product(self, h: Tensor, bias: bool) -> Tensor:
        """``W h``, and ``+ b`` if asked."""
        assert self.map is not None
        return self.map.product(self.module, h, bias)

    def transpose(self, signal: Tensor, shape: torch.Size) -> Tensor:
        """``W^T signal``."""
        assert self.map is not None
        return self.map.transpose(self.module, signal, shape)

    def signal(self, prediction: Prediction, error: Tensor) -> Tensor:
        """What an error unit sends: its error as seen before the activation, ``after' error``."""
        return error if self.after.slope is None else error * self.after.slope(prediction.value)

    def pull(self, prediction: Prediction, error: Tensor) -> Tensor:
        """What the errors above do to the state below: ``(dp / dz)^T error``."""
        if self.map is None:
            (back,) = self._backward(prediction, error, [prediction.input])
        else:
            back = self.transpose(self.signal(prediction, error), prediction.input.shape)
        return self.receive(prediction, back)

    def receive(self, prediction: Prediction, back: Tensor) -> Tensor:
        """What came back, as seen before the activation of the state below."""
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
        """What the module itself makes of it; dense weights take what convolutions sent as rows."""
        return self.module(h.flatten(1) if isinstance(self.module, nn.Linear) else h)

    def _backward(self, prediction: Prediction, error: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
        """Autograd of the layer, behind ``before``; beside a cross entropy the softmax takes no part."""
        with torch.enable_grad():
            h = prediction.input.detach().requires_grad_()
            wanted = [h if tensor is prediction.input else tensor for tensor in wanted]
            a = self._call(h)
            value = a if self.after is SOFTMAX else self.after.function(a)
            if not (wanted and value.requires_grad):
                return tuple(torch.zeros_like(tensor) for tensor in wanted)
            found = torch.autograd.grad(value, wanted, error, allow_unused=True, materialize_grads=True)
        return found
