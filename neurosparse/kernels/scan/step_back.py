"""One step of one sample's neurons, back in time: short loops over a row of units.

``to_distance`` is the gradient of the distance to threshold, ``to_input`` that of ``beta v + I``. Gradients decide no
spike: their sums may be taken in any order, with fused multiply-adds.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel
from neurosparse.kernels.scan.step import ATAN, BOXCAR, DUE, FIRED, INSIDE, SUBTRACT, TRIANGLE, WAITING, ZERO

__all__ = [
    "adapt_back",
    "add_times",
    "distances",
    "lower_by_adaptation",
    "membrane_back",
    "membrane_back_held",
    "read_slope",
    "silence",
    "silence_waiting",
    "slopes",
    "subtract_times",
    "sum_decay",
    "sum_size",
    "sum_threshold",
    "times",
]


@kernel
def read_slope(slope, code, height):
    """A boxcar's slope from its code."""
    for k in range(slope.shape[0]):
        slope[k] = height[k] if code[k] & INSIDE else height[k] * 0


@kernel
def distances(distance, membrane, threshold):
    for k in range(distance.shape[0]):
        distance[k] = membrane[k] - threshold[k]


@kernel
def lower_by_adaptation(distance, adaptation, strength):
    for k in range(distance.shape[0]):
        distance[k] -= strength[k] * adaptation[k]


@kernel
def slopes(slope, distance, size, shape):
    """A surrogate's slope at the distance to threshold."""
    one = slope.dtype.type(1)
    if shape == TRIANGLE:
        for k in range(slope.shape[0]):
            height = one - abs(distance[k]) / size[k]
            slope[k] = (height if height > 0 else height * 0) / size[k]
    elif shape == ATAN:
        half, quarter = slope.dtype.type(0.5), slope.dtype.type(np.pi / 2)
        for k in range(slope.shape[0]):
            x = quarter * size[k] * distance[k]
            slope[k] = half * size[k] / (one + x * x)
    else:
        for k in range(slope.shape[0]):
            x = one + size[k] * abs(distance[k])
            slope[k] = one / (x * x)


@kernel
def silence(row):
    for k in range(row.shape[0]):
        row[k] = 0


@kernel
def silence_waiting(row, code):
    for k in range(row.shape[0]):
        row[k] = row[k] * 0 if code[k] & WAITING else row[k]


@kernel
def times(to_distance, grad, slope):
    for k in range(grad.shape[0]):
        to_distance[k] = grad[k] * slope[k]


@kernel.reassociating
def add_times(to_distance, grad, slope):
    for k in range(grad.shape[0]):
        to_distance[k] += grad[k] * slope[k]


@kernel.reassociating
def adapt_back(carried, to_distance, decay, strength):
    """The gradient of a step's adaptation, from that of the step after."""
    tiny, silent = carried.dtype.type(1e-35), carried.dtype.type(0)
    for k in range(carried.shape[0]):
        g = decay[k] * carried[k] - strength[k] * to_distance[k]
        carried[k] = g if abs(g) > tiny else silent


@kernel
def membrane_back(to_distance, code, beta, carried, to_input, reset):
    """``to_input``, from the gradient in ``carried`` of the membrane after the step, which becomes that of before."""
    tiny, silent = carried.dtype.type(1e-35), carried.dtype.type(0)
    if reset == ZERO:
        for k in range(carried.shape[0]):
            g = to_distance[k] + (silent if code[k] & FIRED else carried[k])
            to_input[k] = g
            later = beta[k] * g
            carried[k] = later if abs(later) > tiny else silent  # subnormal numbers would slow every step after
    else:
        for k in range(carried.shape[0]):
            g = to_distance[k] + carried[k]
            to_input[k] = g
            later = beta[k] * g
            carried[k] = later if abs(later) > tiny else silent


@kernel
def membrane_back_held(to_distance, code, beta, carried, to_input, reset, delayed):
    """The same where resets are delayed or units are refractory: a unit whose membrane is held has no input."""
    silent = carried.dtype.type(0)
    for k in range(carried.shape[0]):
        later = silent if reset == ZERO and not delayed and code[k] & FIRED else carried[k]
        g = to_distance[k] + later
        through = silent if reset == ZERO and delayed and code[k] & DUE else g
        held = code[k] & WAITING
        to_input[k] = silent if held else through
        carried[k] = g if held else beta[k] * through


@kernel.reassociating
def sum_threshold(total, to_distance, code, carried, reset, delayed):
    """The threshold's gradient by the distance and by the reset; ``carried`` is that of the membrane after the step."""
    silent = total.dtype.type(0)
    if reset == SUBTRACT and not delayed:
        for k in range(total.shape[0]):
            total[k] -= to_distance[k] + (carried[k] if code[k] & FIRED else silent)
    elif reset == SUBTRACT:
        for k in range(total.shape[0]):
            through = to_distance[k] + carried[k]
            total[k] -= to_distance[k] + (through if code[k] & DUE else silent)
    else:
        for k in range(total.shape[0]):
            total[k] -= to_distance[k]


@kernel.reassociating
def sum_decay(total, to_input, membrane, code, threshold, reset, delayed):
    """The decay's gradient, from membranes and codes of the step before."""
    silent = total.dtype.type(0)
    if reset == SUBTRACT and not delayed:
        for k in range(total.shape[0]):
            v = membrane[k] - threshold[k] if code[k] & FIRED else membrane[k]
            total[k] += to_input[k] * v
    elif reset == ZERO and not delayed:
        for k in range(total.shape[0]):
            total[k] += to_input[k] * (silent if code[k] & FIRED else membrane[k])
    else:
        for k in range(total.shape[0]):
            total[k] += to_input[k] * membrane[k]


@kernel.reassociating
def subtract_times(total, a, b):
    for k in range(total.shape[0]):
        total[k] -= a[k] * b[k]


@kernel.reassociating
def sum_size(total, to_distance, distance, size, shape):
    """The gradient of a surrogate's constant, by that of its smooth step."""
    if shape in (BOXCAR, TRIANGLE):
        for k in range(total.shape[0]):
            total[k] -= to_distance[k] * distance[k] / size[k]
    elif shape == ATAN:
        for k in range(total.shape[0]):
            total[k] += to_distance[k] * distance[k] / size[k]
    else:
        for k in range(total.shape[0]):
            total[k] -= to_distance[k] * distance[k] * abs(distance[k])
