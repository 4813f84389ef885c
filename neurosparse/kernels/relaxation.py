"""One step of predictive-coding inference between its matrix products: errors, their signals, the states' step.

Each reference is a few lines of torch. The compiled form passes over memory once where torch passes nine times; it
takes NumPy arrays, so that a caller with many steps over the same buffers makes the views once.
"""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers

__all__ = ["SLOPES", "add_feedback", "add_feedback_reference", "send_errors", "send_errors_reference"]

#: Activations whose slope is a function of their value.
SLOPES = ("identity", "tanh", "relu", "sigmoid")

#: Number of units and samples from which two threads are faster than one.
PARALLEL = 1 << 17


def slope_of(value: Tensor, activation: str) -> Tensor:
    """The slope of an activation in terms of its value."""
    if activation == "tanh":
        return 1 - value * value
    if activation == "relu":
        return value.sign()  # it is never below 0
    return value * (1 - value) if activation == "sigmoid" else torch.ones_like(value)


def send_errors_reference(
    state: Tensor, product: Tensor, bias: Tensor, activation: str, step: float
) -> tuple[Tensor, Tensor, Tensor]:
    """``e = state - value``: the signal ``slope e``, the next state ``state - step e``, the energy ``0.5 sum e^2``.

    ``value = product + bias``, for "relu" ``max(product + bias, 0)``. Other activations are applied by the caller.
    """
    value = product + bias
    value = value.relu() if activation == "relu" else value
    error = state - value
    return error * slope_of(value, activation), state - step * error, 0.5 * error.square().sum(-1)


def send_errors(
    state: NDArray,
    product: NDArray,
    bias: NDArray,
    activation: str,
    step: float,
    signal: NDArray | None,
    energy: NDArray,
) -> None:
    """The same on rows (samples, units): the state is updated in place, the energy is added to ``energy`` (samples).

    ``signal`` takes the signal; None if it is not needed.
    """
    run = _send_errors.compiled(state.size >= PARALLEL and workers() > 1)
    sent, out = (False, product) if signal is None else (True, signal)
    run(state, product, bias, SLOPES.index(activation), state.dtype.type(step), sent, out, energy)


def add_feedback_reference(state: Tensor, feedback: Tensor, sent: Tensor, activation: str, step: float) -> Tensor:
    """``state + step slope feedback``, the slope at ``sent``, the activation's value."""
    return state + step * slope_of(sent, activation) * feedback


def add_feedback(state: NDArray, feedback: NDArray, sent: NDArray, activation: str, step: float) -> None:
    """The same in place."""
    run = _add_feedback.compiled(state.size >= PARALLEL and workers() > 1)
    run(state, feedback, sent, SLOPES.index(activation), state.dtype.type(step))


@kernel
def _slope(value, activation, one):
    if activation == 1:
        return one - value * value
    if activation == 2:
        return one if value > 0 else one * 0
    if activation == 3:
        return value * (one - value)
    return one


@kernel.reassociating
def _send_errors(states, products, bias, activation, step, sent, signals, energy):
    zero, one = step * 0, step * 0 + 1
    for b in prange(states.shape[0]):
        state, product, signal = states[b], products[b], signals[b]
        total = zero
        for k in range(state.shape[0]):
            value = product[k] + bias[k]
            if activation == 2:
                value = max(value, zero)
            e = state[k] - value
            state[k] -= step * e
            total += e * e
            if sent:
                signal[k] = e * _slope(value, activation, one)
        energy[b] += total / 2


@kernel
def _add_feedback(states, feedbacks, sents, activation, step):
    one = step * 0 + 1
    for b in prange(states.shape[0]):
        state, feedback, sent = states[b], feedbacks[b], sents[b]
        for k in range(state.shape[0]):
            state[k] += step * (_slope(sent[k], activation, one) * feedback[k])
