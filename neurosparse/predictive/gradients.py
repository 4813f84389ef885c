"""Local (Hebbian) gradients of weights and precisions from errors, written into ``.grad``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.predictive.layer import PredictiveLayer
from neurosparse.predictive.states import LayerTerms, States

__all__ = ["Gradients", "add", "nudge_scales", "of_precisions", "of_weights", "write"]

Gradients = dict[nn.Parameter, Tensor]


def of_weights(layers: Sequence[PredictiveLayer], terms: Sequence[LayerTerms], scale: float) -> Gradients:
    """``scale * dE/dw = -scale * mean error (dp/dw)`` of every weight."""
    found: Gradients = {}
    for layer, (prediction, error) in zip(layers, terms, strict=True):
        for name, gradient in layer.gradients(prediction, error * (-scale / max(len(error), 1))).items():
            _accumulate(found, layer.module.get_parameter(name), gradient)
    return found


def of_precisions(
    log_precisions: nn.ParameterDict, terms: Sequence[LayerTerms], scale: float, nudged: bool = False
) -> Gradients:
    """``scale * dE / d log pi = scale * 0.5 (pi e^2 - 1)``, the mean over samples.

    With a nudge the gradient without it, ``-0.5`` at zero errors, is subtracted.
    """
    found: Gradients = {}
    for number, log in log_precisions.items():
        if log.requires_grad:
            weighted = terms[int(number) - 1].error
            excess = weighted.square() * (-log).exp() - (0.0 if nudged else 1.0)
            gradient = excess.sum(0) * (0.5 * scale / max(len(weighted), 1))
            _accumulate(found, log, gradient.sum_to_size(log.shape))
    return found


def nudge_scales(states: States, opposite: States | None) -> tuple[float, float]:
    """Factors of both states' gradients: one over the nudge, or over the difference of both nudges."""
    if opposite is None:
        return (1.0, 0.0) if states.nudge is None else (1 / states.nudge, 0.0)
    if states.nudge is None or opposite.nudge is None or states.nudge == opposite.nudge:
        got = f"nudges {states.nudge} and {opposite.nudge}"
        fix = "Infer with nudge=0.1 and with nudge=-0.1."
        raise InputError("PredictiveNetwork.learn", got=got, expected="two different nudges", fix=fix)
    return 1 / (states.nudge - opposite.nudge), -1 / (states.nudge - opposite.nudge)


def add(first: Gradients, second: Gradients) -> Gradients:
    """Add the second gradients to the first, by parameter."""
    for parameter, gradient in second.items():
        _accumulate(first, parameter, gradient)
    return first


def write(gradients: Gradients) -> None:
    """Replace ``.grad`` of every parameter that requires a gradient."""
    for parameter, gradient in gradients.items():
        if parameter.requires_grad:
            parameter.grad = gradient


def _accumulate(found: Gradients, parameter: nn.Parameter, gradient: Tensor) -> None:
    """Gradients of a weight that several layers share are summed."""
    found[parameter] = found[parameter] + gradient if parameter in found else gradient
