"""From errors to gradients of weights and precisions: local, Hebbian, written into ``.grad``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.predictive.layer import Layer
from neurosparse.predictive.states import Lesson, States

__all__ = ["Gradients", "add", "of_lessons", "of_precisions", "write"]

Gradients = dict[nn.Parameter, Tensor]


def of_lessons(chain: Sequence[Layer], lessons: Sequence[Lesson], scale: float) -> Gradients:
    """``scale * dE/dw = -scale * mean error (dp/dw)`` of every weight."""
    found: Gradients = {}
    for layer, (prediction, error) in zip(chain, lessons, strict=True):
        parameters = dict(layer.module.named_parameters())
        for name, gradient in layer.gradients(prediction, error * (-scale / max(len(error), 1))).items():
            _put(found, parameters[name], gradient)
    return found


def of_precisions(
    log_precisions: nn.ParameterDict, lessons: Sequence[Lesson], scale: float, nudged: bool = False
) -> Gradients:
    """``dE / d log pi = 0.5 (pi e^2 - 1)``, the mean over samples; nudged, less what it is in silence."""
    found: Gradients = {}
    for number, log in log_precisions.items():
        if log.requires_grad:
            weighted = lessons[int(number) - 1].error
            surprise = weighted.square() * (-log).exp() - (0.0 if nudged else 1.0)
            gradient = surprise.sum(0) * (0.5 * scale / max(len(weighted), 1))
            _put(found, log, gradient.sum_to_size(log.shape))
    return found


def nudge_scale(states: States, opposite: States | None) -> tuple[float, float]:
    """Weights of both states' gradients: over the nudge, or over the difference of both."""
    if opposite is None:
        return (1.0, 0.0) if states.nudge is None else (1 / states.nudge, 0.0)
    if states.nudge is None or opposite.nudge is None or states.nudge == opposite.nudge:
        got = f"nudges {states.nudge} and {opposite.nudge}"
        fix = "Infer with nudge=0.1 and with nudge=-0.1."
        raise InputError("PredictiveNetwork.learn", got=got, expected="two different nudges", fix=fix)
    return 1 / (states.nudge - opposite.nudge), -1 / (states.nudge - opposite.nudge)


def add(first: Gradients, second: Gradients) -> Gradients:
    """The sum of both, by parameter."""
    for parameter, gradient in second.items():
        _put(first, parameter, gradient)
    return first


def write(gradients: Gradients) -> None:
    """Into ``.grad``, replacing what was there."""
    for parameter, gradient in gradients.items():
        if parameter.requires_grad:
            parameter.grad = gradient


def _put(found: Gradients, parameter: nn.Parameter, gradient: Tensor) -> None:
    """Weights that several layers share learn from all of them."""
    found[parameter] = found[parameter] + gradient if parameter in found else gradient
