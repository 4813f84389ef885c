"""One step of each neuron model: a compiled, vectorised block beside its reference in NumPy.

``v`` is the membrane above rest in volts, ``e`` and ``i`` the excitatory and inhibitory synaptic variables, ``c`` the
increment of a constant bias per step. A refractory membrane is at minus infinity, which no input changes, so there is
no counter. Both forms do the same operations in the same order and give the same bits.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["REFERENCES", "MODELS", "THRESHOLD", "advance"]

THRESHOLD = 0  # column of the coefficients; the others depend on the model
MODELS = {"current": 0, "delta": 1, "conductance": 2, "poisson": 3, "replay": 4}  # the last two have no membrane


def current_reference(v, e, i, c, p):
    """Exponential currents, integrated exactly: one line per row of the propagator matrix."""
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


def delta_reference(v, e, i, c, p):
    """Delta synapses: no currents, the membrane decays."""
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


def conductance_reference(v, e, i, c, p):
    """Exponential Euler: the membrane relaxes to the equilibrium of the conductances at the step's start."""
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


REFERENCES = {"current": current_reference, "delta": delta_reference, "conductance": conductance_reference}


@kernel
def advance(model, v, e, i, c, p):
    """One step of a block of neurons of one model; not 0 if any of them is above its threshold."""
    if model == 0:
        return _current(v, e, i, c, p)
    if model == 1:
        return _delta(v, c, p)
    return _conductance(v, e, i, c, p)
