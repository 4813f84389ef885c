"""One step of each neuron model: a compiled, vectorised form beside its reference in NumPy.

``v`` is the membrane above rest in volts, ``e`` and ``i`` the excitatory and inhibitory synaptic variables, ``c`` the
increment of a constant bias per step. A refractory membrane is at minus infinity, which no input changes, so there is
no counter. Both forms do the same operations in the same order and give the same bits.

The compiled form takes the neurons in blocks, counts those above the threshold, and searches a block only if there are
any. Its indices are unsigned: a signed one may count from the end, which costs a comparison and can prevent vectors.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel
from neurosparse.kernels.network.draw import BLOCK

__all__ = ["MODELS", "REFERENCES", "integrate"]

MODELS = {"current": 0, "delta": 1, "conductance": 2, "poisson": 3, "replay": 4}  # the last two have no membrane


def current_reference(v, e, i, c, p):
    """Exponential currents, integrated exactly: one line per row of the propagator matrix."""
    v[:] = v * p[1] + e * p[2] + i * p[3] + c
    e *= p[4]
    i *= p[5]


@kernel
def _current(v, e, i, c, each, p, low, spikes, used):
    threshold, keep, from_e, from_i, keep_e, keep_i = p[0], p[1], p[2], p[3], p[4], p[5]
    for begin in range(0, v.shape[0], BLOCK):
        first, own, fired = np.uint64(begin), np.uint64(begin * each), np.int64(0)
        for k in range(min(BLOCK, v.shape[0] - begin)):
            n = first + np.uint64(k)
            left_e, left_i = e[n], i[n]
            new = v[n] * keep + left_e * from_e + left_i * from_i + c[own + np.uint64(k)]
            v[n] = new
            e[n] = left_e * keep_e
            i[n] = left_i * keep_i
            fired += np.int64(1) if new > threshold else np.int64(0)
        if fired > 0:
            used = _hold(v, first, threshold, fired, low, spikes, used)
    return used


def delta_reference(v, e, i, c, p):
    """Delta synapses: no currents, the membrane decays."""
    v[:] = v * p[1] + c


@kernel
def _delta(v, c, each, p, low, spikes, used):
    threshold, keep = p[0], p[1]
    for begin in range(0, v.shape[0], BLOCK):
        first, own, fired = np.uint64(begin), np.uint64(begin * each), np.int64(0)
        for k in range(min(BLOCK, v.shape[0] - begin)):
            n = first + np.uint64(k)
            new = v[n] * keep + c[own + np.uint64(k)]
            v[n] = new
            fired += np.int64(1) if new > threshold else np.int64(0)
        if fired > 0:
            used = _hold(v, first, threshold, fired, low, spikes, used)
    return used


def conductance_reference(v, e, i, c, p):
    """Exponential Euler: the membrane relaxes to the equilibrium of the conductances at the step's start."""
    total = 1.0 + e + i
    rest = (e * p[2] + i * p[3] + c) / total
    v[:] = rest + (v - rest) * np.exp(p[1] * total)
    e *= p[4]
    i *= p[5]


@kernel
def _conductance(v, e, i, c, each, p, low, spikes, used):
    threshold, rate, to_e, to_i, keep_e, keep_i = p[0], p[1], p[2], p[3], p[4], p[5]
    for begin in range(0, v.shape[0], BLOCK):
        first, own, fired = np.uint64(begin), np.uint64(begin * each), np.int64(0)
        for k in range(min(BLOCK, v.shape[0] - begin)):
            n = first + np.uint64(k)
            left_e, left_i = e[n], i[n]
            total = 1.0 + left_e + left_i
            rest = (left_e * to_e + left_i * to_i + c[own + np.uint64(k)]) / total
            new = rest + (v[n] - rest) * np.exp(rate * total)
            v[n] = new
            e[n] = left_e * keep_e
            i[n] = left_i * keep_i
            fired += np.int64(1) if new > threshold else np.int64(0)
        if fired > 0:
            used = _hold(v, first, threshold, fired, low, spikes, used)
    return used


REFERENCES = {"current": current_reference, "delta": delta_reference, "conductance": conductance_reference}


@kernel
def _hold(v, k, threshold, fired, low, spikes, used):
    """Record the ``fired`` neurons from ``k`` on that are above the threshold, and hold their membranes."""
    while fired > 0:
        if v[k] > threshold:
            v[k] = -np.inf
            spikes[used] = low + np.int64(k)
            used += 1
            fired -= 1
        k += np.uint64(1)
    return used


@kernel
def integrate(model, v, e, i, c, each, p, low, spikes, used):
    """One step of neurons of one model, of which the first is number ``low``.

    Args:
        model: of `MODELS`.
        v, e, i: (neurons), membranes and synaptic variables.
        c: increments by the bias: with ``each`` 1 one per neuron, with 0 one for all, repeated for a block.
        p: coefficients of the model, the threshold first.
        spikes: gets the numbers of the neurons that fire, from place ``used`` on.

    Returns:
        the place after the last spike.
    """
    if model == 0:
        return _current(v, e, i, c, each, p, low, spikes, used)
    if model == 1:
        return _delta(v, c, each, p, low, spikes, used)
    return _conductance(v, e, i, c, each, p, low, spikes, used)
