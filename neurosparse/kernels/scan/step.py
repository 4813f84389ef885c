"""One step of one sample's neurons, forward: short loops over a row of units, which stays in cache.

Each loop does one thing, so that it compiles to vector instructions. What a step leaves for backward is a code byte
per unit, of the bits ``INSIDE`` (the support of a boxcar surrogate), ``FIRED``, ``DUE`` (a delayed reset acts) and
``WAITING`` (refractory), and its membranes and hidden states where backward needs them.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["DUE", "DYNAMICS", "FIRED", "INSIDE", "RESETS", "SHAPES", "WAITING"]

RESETS = ("subtract", "zero", "none")
SUBTRACT, ZERO = 0, 1
SHAPES = ("given", "boxcar", "triangle", "atan", "fast_sigmoid")
GIVEN, BOXCAR, TRIANGLE, ATAN = 0, 1, 2, 3
DYNAMICS = ("none", "synaptic", "adaptive")
SYNAPTIC, ADAPTIVE = 1, 2
INSIDE, FIRED, DUE, WAITING = 1, 2, 4, 8


@kernel
def add_row(target, source):
    for k in range(target.shape[0]):
        target[k] += source[k]


@kernel
def filter_row(level, drive, alpha, out):
    """``out = level = alpha level + drive``."""
    tiny, silent = level.dtype.type(1e-35), level.dtype.type(0)
    for k in range(level.shape[0]):
        y = alpha[k] * level[k] + drive[k]
        out[k] = y
        level[k] = y if abs(y) > tiny else silent  # subnormal numbers would slow every step after


@kernel
def adapt(adaptation, sent, decay):
    for k in range(adaptation.shape[0]):
        adaptation[k] = decay[k] * adaptation[k] + sent[k]


@kernel
def raise_threshold(level, threshold, strength, adaptation):
    for k in range(level.shape[0]):
        level[k] = threshold[k] + strength[k] * adaptation[k]


@kernel
def leak(membrane, before, drive, beta):
    """The membrane of a step, ``beta v + I``."""
    for k in range(membrane.shape[0]):
        membrane[k] = beta[k] * before[k] + drive[k]


@kernel
def reset_late(membrane, before, threshold, reset):
    """A delayed reset of those whose membrane was above the threshold in the step before."""
    silent = membrane.dtype.type(0)
    if reset == SUBTRACT:
        for k in range(membrane.shape[0]):
            u = membrane[k]
            membrane[k] = u - threshold[k] if before[k] > threshold[k] else u
    elif reset == ZERO:
        for k in range(membrane.shape[0]):
            membrane[k] = silent if before[k] > threshold[k] else membrane[k]


@kernel
def fire(code, membrane, level, size, closed):
    """Codes of a step from its membranes; ``closed``: the border belongs to the boxcar."""
    half = membrane.dtype.type(0.5)
    if closed:
        for k in range(code.shape[0]):
            distance = membrane[k] - level[k]
            near = np.uint8(1) if abs(distance) <= half * size[k] else np.uint8(0)
            code[k] = (np.uint8(2) if distance > 0 else np.uint8(0)) | near
    else:
        for k in range(code.shape[0]):
            distance = membrane[k] - level[k]
            near = np.uint8(1) if abs(distance) < half * size[k] else np.uint8(0)
            code[k] = (np.uint8(2) if distance > 0 else np.uint8(0)) | near


@kernel
def mark_due(code, before, threshold):
    for k in range(code.shape[0]):
        code[k] |= np.uint8(4) if before[k] > threshold[k] else np.uint8(0)


@kernel
def has_nan(row):
    bad = False
    for k in range(row.shape[0]):
        bad |= row[k] != row[k]
    return bad


@kernel
def hold(membrane, before, waiting):
    """A refractory unit keeps its membrane."""
    for k in range(membrane.shape[0]):
        membrane[k] = before[k] if waiting[k] > 0 else membrane[k]


@kernel
def wait(code, waiting, refractory):
    """A refractory unit does not fire; who fires waits ``refractory`` steps."""
    for k in range(code.shape[0]):
        left = waiting[k]
        code[k] = np.uint8(8) if left > 0 else code[k]
        waiting[k] = refractory if code[k] & 2 else max(left - 1, 0)


@kernel
def reset_row(after, membrane, code, threshold, reset, delayed):
    """The membrane after the step."""
    silent = membrane.dtype.type(0)
    if reset == SUBTRACT and not delayed:
        for k in range(after.shape[0]):
            after[k] = membrane[k] - threshold[k] if code[k] & 2 else membrane[k]
    elif reset == ZERO and not delayed:
        for k in range(after.shape[0]):
            after[k] = silent if code[k] & 2 else membrane[k]
    else:
        for k in range(after.shape[0]):
            after[k] = membrane[k]


@kernel
def spikes_of(code, sent):
    one, silent = sent.dtype.type(1), sent.dtype.type(0)
    for k in range(code.shape[0]):
        sent[k] = one if code[k] & 2 else silent


@kernel
def emit(code, stream, at, first):
    """Append the units that fired, counted from ``first``, to ``stream`` from ``at`` on; returns where it ends now."""
    for k in range(code.shape[0]):
        stream[at] = first + k  # branch-free: a wrong guess is overwritten by the next unit
        at += (code[k] >> 1) & 1
    return at
