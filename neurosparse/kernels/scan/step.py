"""One step of one sample's neurons, forward: short loops over a row of units, which stays in cache.

Each loop does one thing, so that it compiles to vector instructions. What a step leaves for backward is a code byte
per unit, of the bits ``INSIDE`` (the support of a boxcar surrogate), ``FIRED``, ``DUE`` (a delayed reset acts) and
``WAITING`` (refractory), and its membranes and hidden states where backward needs them.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = [
    "ADAPTIVE",
    "ATAN",
    "BOXCAR",
    "DUE",
    "DYNAMICS",
    "FIRED",
    "GIVEN",
    "INSIDE",
    "RESETS",
    "SHAPES",
    "SUBTRACT",
    "SYNAPTIC",
    "TRIANGLE",
    "WAITING",
    "ZERO",
    "adapt",
    "add_row",
    "count_fired",
    "emit",
    "filter_row",
    "fire",
    "has_nan",
    "hold",
    "leak",
    "mark_due",
    "raise_threshold",
    "reset_late",
    "reset_row",
    "spikes_of",
    "wait",
]

RESETS = ("subtract", "zero", "none")
SUBTRACT, ZERO = 0, 1
SHAPES = ("given", "boxcar", "triangle", "atan", "fast_sigmoid")
GIVEN, BOXCAR, TRIANGLE, ATAN = 0, 1, 2, 3
DYNAMICS = ("none", "synaptic", "adaptive")
SYNAPTIC, ADAPTIVE = 1, 2
INSIDE, FIRED, DUE, WAITING = 1, 2, 4, 8

# The place of the only bit of a word, from the upper six bits of its product with a de Bruijn sequence.
SEQUENCE = 0x03F79D71B4CB0A89
PLACES = np.zeros(64, np.int32)
PLACES[[((SEQUENCE << place) & 0xFFFFFFFFFFFFFFFF) >> 58 for place in range(64)]] = np.arange(64)
_ZERO, _ONE, _56, _58, _SEQUENCE = (np.uint64(n) for n in (0, 1, 56, 58, SEQUENCE))
_LOWEST, _GATHER = np.uint64(0x0101010101010101), np.uint64(0x0102040810204080)


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
    """A delayed reset of units whose membrane was above the threshold in the step before."""
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
            near = np.uint8(INSIDE) if abs(distance) <= half * size[k] else np.uint8(0)
            code[k] = (np.uint8(FIRED) if distance > 0 else np.uint8(0)) | near
    else:
        for k in range(code.shape[0]):
            distance = membrane[k] - level[k]
            near = np.uint8(INSIDE) if abs(distance) < half * size[k] else np.uint8(0)
            code[k] = (np.uint8(FIRED) if distance > 0 else np.uint8(0)) | near


@kernel
def mark_due(code, before, threshold):
    for k in range(code.shape[0]):
        code[k] |= np.uint8(DUE) if before[k] > threshold[k] else np.uint8(0)


@kernel
def has_nan(row):
    bad = False
    for k in range(row.shape[0]):
        bad |= row[k] != row[k]
    return bad


@kernel
def hold(membrane, before, waiting):
    """A refractory unit keeps its membrane."""
    none = np.int32(0)
    for k in range(membrane.shape[0]):
        u, v = membrane[k], before[k]
        membrane[k] = v if waiting[k] > none else u


@kernel
def wait(code, waiting, refractory):
    """A refractory unit does not fire; a unit that fires waits ``refractory`` steps."""
    none, one, pause = np.int32(0), np.int32(1), np.int32(refractory)
    for k in range(code.shape[0]):
        given, left = code[k], waiting[k]
        code[k] = np.uint8(WAITING) if left > none else given
    for k in range(code.shape[0]):
        given, left = code[k], waiting[k]
        left = np.int32(left - one) if left > none else none
        waiting[k] = pause if given & np.uint8(FIRED) else left


@kernel
def reset_row(after, membrane, code, threshold, reset, delayed):
    """The membrane after the step."""
    silent = membrane.dtype.type(0)
    if reset == SUBTRACT and not delayed:
        for k in range(after.shape[0]):
            after[k] = membrane[k] - threshold[k] if code[k] & FIRED else membrane[k]
    elif reset == ZERO and not delayed:
        for k in range(after.shape[0]):
            after[k] = silent if code[k] & FIRED else membrane[k]
    else:
        for k in range(after.shape[0]):
            after[k] = membrane[k]


@kernel
def spikes_of(code, sent):
    one, silent = sent.dtype.type(1), sent.dtype.type(0)
    for k in range(code.shape[0]):
        sent[k] = one if code[k] & FIRED else silent


@kernel
def count_fired(code):
    n = np.int32(0)
    for k in range(code.shape[0]):
        n += np.int32((code[k] >> np.uint8(1)) & np.uint8(1))
    return n


@kernel
def emit(words, stream, at, first):
    """Append the units that fired, counted from ``first``, to ``stream`` from ``at`` on; returns where it ends now.

    ``words``: the codes of eight units each. The bits ``FIRED`` of eight words become one mask of 64 units.
    """
    for i in range(0, words.shape[0], 8):
        mask = _ZERO
        for j in range(min(8, words.shape[0] - i)):
            fired = (words[i + j] >> _ONE) & _LOWEST
            mask |= ((fired * _GATHER) >> _56) << np.uint64(8 * j)
        unit = first + 8 * i
        while mask != _ZERO:
            lowest = mask & (~mask + _ONE)
            stream[at] = unit + PLACES[(lowest * _SEQUENCE) >> _58]
            at += 1
            mask &= mask - _ONE
    return at
