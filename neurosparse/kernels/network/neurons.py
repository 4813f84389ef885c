"""One step of each kind of neuron that the simulator knows: a vectorised block beside its law in numpy.

``v`` is the membrane above rest in volts, ``e`` and ``i`` what the two kinds of synapse have left, ``c`` a constant
push per step. A membrane at minus infinity is refractory: nothing lifts it, so no counter is kept. Both forms take the
same operations in the same order, so that they give the same bits.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["LAWS", "MODELS", "THRESHOLD", "advance"]

THRESHOLD = 0  # column of the coefficients; what the others mean is up to the model
MODELS = {"current": 0, "delta": 1, "conductance": 2, "poisson": 3, "replay": 4}  # the last two have no membrane


def current_law(v, e, i, c, p):
    """Exponential currents, integrated exactly: each row of the propagator matrix is one line."""
    v[:] = v * p[1] + e * p[2] + i * p[3] + c
    e *= p[4]
    i *= p[5]


@kernel
def _current(v, e, i, c, p):
    threshold, keep, from_e, from_i, keep_e, keep_i = p[0], p[1], p[2], p[3], p[4], p[5]
    fired = np.int64(0)
    for k in range(v.shape[0]):
        left_e, left_i = e[k], i[k]
        new = v[k] * keep + left_e * from_e + left_i * from_i + c[k]
        v[k] = new
        e[k] = left_e * keep_e
        i[k] = left_i * keep_i
        fired |= np.int64(1) if new > threshold else np.int64(0)
    return fired


def delta_law(v, e, i, c, p):
    """No currents: a spike moves the membrane itself."""
    v[:] = v * p[1] + c


@kernel
def _delta(v, c, p):
    threshold, keep = p[0], p[1]
    fired = np.int64(0)
    for k in range(v.shape[0]):
        new = v[k] * keep + c[k]
        v[k] = new
        fired |= np.int64(1) if new > threshold else np.int64(0)
    return fired


def conductance_law(v, e, i, c, p):
    """Exponential Euler: over a step the membrane relaxes to where this step's conductances would hold it."""
    total = 1.0 + e + i
    rest = (e * p[2] + i * p[3] + c) / total
    v[:] = rest + (v - rest) * np.exp(p[1] * total)
    e *= p[4]
    i *= p[5]


@kernel
def _conductance(v, e, i, c, p):
    threshold, rate, to_e, to_i, keep_e, keep_i = p[0], p[1], p[2], p[3], p[4], p[5]
    fired = np.int64(0)
    for k in range(v.shape[0]):
        left_e, left_i = e[k], i[k]
        total = 1.0 + left_e + left_i
        rest = (left_e * to_e + left_i * to_i + c[k]) / total
        new = rest + (v[k] - rest) * np.exp(rate * total)
        v[k] = new
        e[k] = left_e * keep_e
        i[k] = left_i * keep_i
        fired |= np.int64(1) if new > threshold else np.int64(0)
    return fired


LAWS = {"current": current_law, "delta": delta_law, "conductance": conductance_law}


@kernel
def advance(model, v, e, i, c, p):
    """One step of a block of neurons of one kind; not 0 if any of them is above its threshold."""
    if model == 0:
        return _current(v, e, i, c, p)
    if model == 1:
        return _delta(v, c, p)
    return _conductance(v, e, i, c, p)
