"""One step of predictive-coding inference between its matrix products: errors, their signals, the states' step.

Each reference is a few lines of torch. The compiled form passes once over the memory of all layers, where torch passes
nine times over that of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers

__all__ = [
    "ACTIVE",
    "BIAS",
    "FIRST",
    "SENT",
    "SLOPES",
    "SLOPE",
    "add_feedback",
    "add_feedback_reference",
    "layer_table",
    "send_errors",
    "send_errors_reference",
]

#: Activations whose slope is a function of their value, by number. A cross entropy has no slope and no square.
SLOPES = ("identity", "tanh", "relu", "sigmoid", "softmax")

#: Number of units and samples from which two threads are faster than one.
PARALLEL = 1 << 15

FIRST, UNITS, SLOPE, BIAS, SENT, ACTIVE = range(6)
"""Columns of a table of layers: its first number in the memory of all layers, its units, the number of its activation,
its first bias, whether its signals are needed, whether it has errors. The biases begin with zeros, for values that lack
no bias."""


def layer_table(
    samples: int, units: Sequence[int], slopes: Sequence[int], sent: Sequence[bool], active: Sequence[bool]
) -> tuple[NDArray, list[int]]:
    """A table of layers that lack no bias, (layers, 6); and the length of each layer's memory.

    A layer has the memory of a contiguous array (samples, units) that starts at a multiple of 16 numbers.
    """
    lengths = [-(-samples * n // 16) * 16 for n in units]
    first = [sum(lengths[:k]) for k in range(len(units))]
    rows = zip(first, units, slopes, [0] * len(units), sent, active, strict=True)
    return np.array(list(rows), np.int64), lengths


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

    An activation of "softmax" has a slope of 1 and no such energy.

    ``value = product + bias``, for "relu" ``max(product + bias, 0)``. Other activations are applied by the caller.
    """
    value = product + bias
    value = value.relu() if activation == "relu" else value
    error = state - value
    return (
        error * slope_of(value, activation),
        state - step * error,
        0.5 * (activation != "softmax") * error.square().sum(-1),
    )


def send_errors(
    states: NDArray,
    values: NDArray,
    biases: NDArray,
    table: NDArray,
    steps: NDArray,
    signals: NDArray,
    energy: NDArray,
) -> None:
    """The same for all layers: states are updated in place, energies are added to ``energy`` (samples,).

    Args:
        states, values, signals: the memory of all layers, see `layer_table`; ``values`` holds the products.
        biases: zeros, as many as the largest layer has units, then biases.
        table: the layers, (layers, 6).
        steps: of each layer's state along its error, (layers,).
        energy: of each sample.
    """
    run = _send_errors.compiled(states.size >= PARALLEL and workers() > 1)
    run(states, values, biases, table, steps, signals, energy)


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
def _send_errors(states, values, biases, table, steps, signals, energy):
    for b in prange(energy.shape[0]):
        total = energy[b]
        for layer in range(table.shape[0]):
            if table[layer, ACTIVE]:
                units, bias = table[layer, UNITS], table[layer, BIAS]
                first = table[layer, FIRST] + b * units
                total += _send_row(
                    states[first : first + units],
                    values[first : first + units],
                    biases[bias : bias + units],
                    table[layer, SLOPE],
                    steps[layer],
                    table[layer, SENT],
                    signals[first : first + units],
                )
        energy[b] = total


@kernel.reassociating
def _send_row(state, value, bias, activation, step, sent, signal):
    zero, one = step * 0, step * 0 + 1
    total = zero
    for k in range(state.shape[0]):
        v = value[k] + bias[k]
        if activation == 2:
            v = max(v, zero)
        e = state[k] - v
        state[k] -= step * e
        total += e * e
        if sent:
            signal[k] = e * _slope(v, activation, one)
    return zero if activation == 4 else total / 2


@kernel
def _add_feedback(states, feedbacks, sents, activation, step):
    one = step * 0 + 1
    for b in prange(states.shape[0]):
        state, feedback, sent = states[b], feedbacks[b], sents[b]
        for k in range(state.shape[0]):
            state[k] += step * (_slope(sent[k], activation, one) * feedback[k])
