"""One step of one sample's neurons, forward and back in time: the inner loops of every scan.

Backward needs of a step either its membranes or, for a boxcar surrogate, one code byte per unit: ``INSIDE``
the surrogate's support, ``FIRED``.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["FIRED", "INSIDE", "RESETS", "SHAPES", "advance", "backward_step", "decode", "emit", "read_slope"]

RESETS = ("subtract", "zero", "none")
SUBTRACT, ZERO = 0, 1
SHAPES = ("given", "boxcar", "triangle", "atan", "fast_sigmoid")
GIVEN, BOXCAR, TRIANGLE, ATAN = 0, 1, 2, 3
INSIDE, FIRED = 1, 2


@kernel
def advance(carried, drive, beta, threshold, membrane, code, half_width, reset, delayed):
    """Leak, integrate, fire and reset; ``carried`` is the membrane after the reset, or before it if that is delayed."""
    silent = drive.dtype.type(0)
    for k in range(carried.shape[0]):
        u = beta[k] * carried[k] + drive[k]
        if delayed:
            due = carried[k] > threshold[k]
            if reset == SUBTRACT:
                u = u - threshold[k] if due else u
            elif reset == ZERO:
                u = silent if due else u
        distance = u - threshold[k]
        fired = distance > 0
        membrane[k] = u
        code[k] = (np.uint8(2) if fired else np.uint8(0)) | (np.uint8(1) if abs(distance) < half_width else np.uint8(0))
        if not delayed:
            if reset == SUBTRACT:
                u = distance if fired else u
            elif reset == ZERO:
                u = silent if fired else u
        carried[k] = u


@kernel
def emit(code, stream, at, first):
    """Append the units that fired, counted from ``first``, to ``stream`` from ``at`` on; returns where it ends now."""
    for k in range(code.shape[0]):
        stream[at] = first + k  # branch-free: a wrong guess is overwritten by the next unit
        at += code[k] >> 1
    return at


@kernel
def decode(membrane, threshold, shape, size, slope, code):
    """The surrogate's slope and the code of every unit, from its membrane."""
    one, scale = slope.dtype.type(1), slope.dtype.type(size)
    for k in range(slope.shape[0]):
        code[k] = np.uint8(2) if membrane[k] > threshold[k] else np.uint8(0)
    if shape == TRIANGLE:
        for k in range(slope.shape[0]):
            height = one - abs(membrane[k] - threshold[k]) / scale
            slope[k] = (height if height > 0 else height * 0) / scale
    elif shape == ATAN:
        half, factor = slope.dtype.type(size / 2), slope.dtype.type(np.pi / 2 * size)
        for k in range(slope.shape[0]):
            x = factor * (membrane[k] - threshold[k])
            slope[k] = half / (one + x * x)
    else:
        for k in range(slope.shape[0]):
            x = one + scale * abs(membrane[k] - threshold[k])
            slope[k] = one / (x * x)


@kernel
def backward_step(grad_spikes, slope, code, beta, carried, grad_drive, reset):
    """The gradient of a step's current, from that of its spikes and, in ``carried``, that of the step after."""
    tiny, silent = carried.dtype.type(1e-35), carried.dtype.type(0)
    for k in range(grad_drive.shape[0]):
        later = carried[k]
        if reset == ZERO:
            later = silent if code[k] & 2 else later
        g = grad_spikes[k] * slope[k] + later
        grad_drive[k] = g
        later = beta[k] * g
        carried[k] = later if abs(later) > tiny else silent  # subnormal numbers would slow every step after


@kernel
def read_slope(code, height, slope):
    """A boxcar's slope from its code."""
    for k in range(slope.shape[0]):
        slope[k] = height if code[k] & 1 else height * 0
