"""The energy that inference minimises, under predictions, precisions, priors and clamps; and its gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from neurosparse.predictive.layer import IDENTITY, SOFTMAX, Prediction, PredictiveLayer, softmax_slope

__all__ = ["Prior", "RelaxationProblem"]


class Prior(Protocol):
    """Negative log prior of a state: a penalty of the sparse coders, or any object with these two methods."""

    def value(self, a: Tensor, /) -> Tensor:
        """The cost of each sample: ``(samples, units) -> (samples,)``."""
        ...

    def prox(self, a: Tensor, step: float = 1.0, /) -> Tensor:
        """``argmin_z 0.5 (z - a)^2 + step * value(z)``, elementwise."""
        ...


@dataclass(frozen=True)
class RelaxationProblem:
    """``E = sum_l 0.5 sum pi_l e_l^2 - 0.5 sum log pi_l + sum_l prior_l(z_l) (+ nudge 0.5 ||z_L - y||^2)``.

    Args:
        layers: the predictions; an ``after`` of softmax on the last makes its term a cross entropy.
        log_precisions: ``log pi`` of layers 1..L, numbers or one per unit; None is 0.
        priors: by the number of the state.
        unclamped: of states 0..L: True, False (clamped), or a mask that is True where a unit is unclamped,
            (samples, *units).
        nudge: weight of the loss between the output and ``target``; None: no such term.
        target: of the output.
        cross_entropy: whether the loss of the nudge is a cross entropy instead of squares.
    """

    layers: Sequence[PredictiveLayer]
    log_precisions: Sequence[Tensor | None]
    priors: Mapping[int, Prior]
    unclamped: Sequence[bool | Tensor]
    nudge: float | None = None
    target: Tensor | None = None
    cross_entropy: bool = False

    @property
    def is_quadratic(self) -> bool:
        """Whether the energy is quadratic: linear layers by hand, no prior, no cross entropy."""
        linear = all(layer.map is not None and layer.before is layer.after is IDENTITY for layer in self.layers)
        return linear and not self.priors and (self.nudge is None or not self.cross_entropy)

    def take(self, samples: Tensor) -> RelaxationProblem:
        """The same problem for some samples only, given by their numbers."""
        unclamped = [part[samples] if isinstance(part, Tensor) else part for part in self.unclamped]
        return replace(self, unclamped=unclamped, target=None if self.target is None else self.target[samples])

    def predictions(self, z: Sequence[Tensor], old: Sequence[Prediction] | None = None) -> list[Prediction]:
        """All predictions at once; those of clamped states are taken from ``old``, where it is given."""
        return [
            old[depth] if old is not None and self.unclamped[depth] is False else layer.predict(z[depth])
            for depth, layer in enumerate(self.layers)
        ]

    def errors(self, z: Sequence[Tensor], predictions: Sequence[Prediction]) -> list[Tensor]:
        """``e_l = z_l - prediction_l``."""
        return [state - prediction.value for state, prediction in zip(z[1:], predictions, strict=True)]

    def weighted(self, errors: Sequence[Tensor]) -> list[Tensor]:
        """Errors times their precision: ``pi_l e_l``."""
        pairs = zip(errors, self.log_precisions, strict=True)
        return [error if log is None else error * log.exp() for error, log in pairs]

    def energy(self, z: Sequence[Tensor], predictions: Sequence[Prediction], errors: Sequence[Tensor]) -> Tensor:
        """The energy of each sample, (samples,)."""
        total = torch.zeros_like(errors[0].flatten(1)[:, 0])
        for layer, state, prediction, error, log in zip(
            self.layers, z[1:], predictions, errors, self.log_precisions, strict=True
        ):
            if layer.after is SOFTMAX and prediction.log is not None:
                total = total - (state * prediction.log).sum(-1)
            elif log is None:
                total = total + 0.5 * error.square().flatten(1).sum(-1)
            else:
                total = total + 0.5 * (error.square() * log.exp() - log).flatten(1).sum(-1)
        for number, prior in self.priors.items():
            total = total + prior.value(z[number].flatten(1))
        return total if self.nudge is None else total + self.nudge * self.loss(z[-1])

    def gradient(
        self, z: Sequence[Tensor], weighted: Sequence[Tensor], feedback: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """``dE/dz_l = pi_l e_l - feedback_{l+1}`` of every state, without its prior; zeros where it is all clamped."""
        found = []
        for number, unclamped in enumerate(self.unclamped):
            gradient = weighted[number - 1] if number else torch.zeros_like(z[0])
            above = feedback[number] if number < len(feedback) else None
            if unclamped is False:
                gradient = torch.zeros_like(z[number])
            elif above is not None:
                gradient = gradient - above
            if number == len(self.unclamped) - 1 and self.nudge is not None:
                gradient = gradient + self.nudge * self.loss_gradient(z[-1])
            found.append(gradient)
        return found

    def feedback(self, predictions: Sequence[Prediction], weighted: Sequence[Tensor]) -> list[Tensor | None]:
        """``(dp_{l+1} / dz_l)^T pi_{l+1} e_{l+1}`` of each state below the output; None where it is all clamped."""
        return [
            None if self.unclamped[depth] is False else layer.feedback(prediction, error)
            for depth, (layer, prediction, error) in enumerate(zip(self.layers, predictions, weighted, strict=True))
        ]

    def descend(self, z: Sequence[Tensor], gradient: Sequence[Tensor], dt: float) -> list[Tensor]:
        """One proximal gradient step of length ``dt``: a gradient step, then the proximal map of the prior."""
        moved = []
        for number, (state, slope) in enumerate(zip(z, gradient, strict=True)):
            unclamped = self.unclamped[number]
            if unclamped is False:
                moved.append(state)
                continue
            after = state - dt * slope
            if number in self.priors:
                after = self.priors[number].prox(after, dt)
            moved.append(torch.where(unclamped, after, state) if isinstance(unclamped, Tensor) else after)
        return moved

    def loss(self, output: Tensor) -> Tensor:
        """Loss between each output and its target, (samples,)."""
        assert self.target is not None
        if self.cross_entropy:
            return -(self.target * output.log_softmax(-1)).sum(-1)
        return 0.5 * (output - self.target).square().flatten(1).sum(-1)

    def loss_gradient(self, output: Tensor) -> Tensor:
        """``d loss / d output``."""
        assert self.target is not None
        return (output.softmax(-1) if self.cross_entropy else output) - self.target

    def loss_hessian(self, output: Tensor, change: Tensor) -> Tensor:
        """The change of `loss_gradient`, from that of the output."""
        return softmax_slope(output.softmax(-1), change) if self.cross_entropy else change
