"""Pair-based spike-timing-dependent plasticity (STDP) in the loop of a network, with presynaptic delays.

A presynaptic spike counts when it arrives, so a synapse reads the trace of its source from as many steps ago as its
delay. A ring of past traces per source serves all delays; no synapse has a trace of its own. A trace contains the
spikes before its step only: an arrival and a spike of one step are no pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["PlasticityArrays", "decay_traces", "depress", "potentiate"]


class PlasticityArrays(NamedTuple):
    """Plastic projections, one entry each.

    ``low, high`` are the bounds of the weights; ``multiplicative`` is 1 where changes scale with the distance to them.
    ``own`` (projections, parts, 4) are the sources and the targets of each part; ``ring`` is the number of past traces.
    Incoming synapses of target n are ``entry[into[n] .. into[n + 1]]``, with ``entry_source`` and ``entry_delay``.
    """

    source: np.ndarray
    target: np.ndarray
    source_start: np.ndarray
    target_start: np.ndarray
    rise: np.ndarray
    fall: np.ndarray
    keep_before: np.ndarray
    keep_after: np.ndarray
    low: np.ndarray
    high: np.ndarray
    multiplicative: np.ndarray
    n_sources: np.ndarray
    ring: np.ndarray
    own: np.ndarray
    before_base: np.ndarray
    after_base: np.ndarray
    into_base: np.ndarray
    before: np.ndarray
    after: np.ndarray
    into: np.ndarray
    entry: np.ndarray
    entry_source: np.ndarray
    entry_delay: np.ndarray


@kernel
def _decay(new, old, keep):
    for k in range(new.shape[0]):
        new[k] = keep * old[k]


@kernel
def decay_traces(plastic, p, now, spikes, first):
    """Traces of a part's own neurons one step later, with ``first``, the spikes of the step before."""
    for m in range(plastic.source.shape[0]):
        own, n, keep = plastic.own[m, p], plastic.n_sources[m], plastic.keep_before[m]
        new = plastic.before_base[m] + now % plastic.ring[m] * n
        old = plastic.before_base[m] + (now - 1) % plastic.ring[m] * n
        _decay(plastic.before[new + own[0] : new + own[1]], plastic.before[old + own[0] : old + own[1]], keep)
        q, start = plastic.source[m], plastic.source_start[m]
        for k in range(first[q], first[q + 1]):
            plastic.before[new + spikes[k] - start] += keep
        base, keep = plastic.after_base[m], plastic.keep_after[m]
        trace = plastic.after[base + own[2] : base + own[3]]
        _decay(trace, trace, keep)
        q, start = plastic.target[m], plastic.target_start[m]
        for k in range(first[q], first[q + 1]):
            plastic.after[base + spikes[k] - start] += keep


@kernel
def depress(plastic, m, weights, shift, begin, end, target):
    """Depression: a spike arrived at these synapses after spikes of their targets."""
    base = plastic.after_base[m] - plastic.target_start[m]
    for j in range(begin, end):
        w = weights[j + shift]
        scale = w - plastic.low[m] if plastic.multiplicative[m] == 1 else 1.0
        w -= plastic.fall[m] * scale * plastic.after[base + target[j]]
        weights[j + shift] = max(w, plastic.low[m])


@kernel
def potentiate(plastic, m, now, weights, shift, spikes, first):
    """Potentiation: targets fired after arrivals at their synapses."""
    q, n, ring = plastic.target[m], plastic.n_sources[m], plastic.ring[m]
    for k in range(first[q], first[q + 1]):
        row = plastic.into_base[m] + spikes[k] - plastic.target_start[m]
        for e in range(plastic.into[row], plastic.into[row + 1]):
            sent = plastic.before_base[m] + (now - plastic.entry_delay[e]) % ring * n
            j = plastic.entry[e] + shift
            scale = plastic.high[m] - weights[j] if plastic.multiplicative[m] == 1 else 1.0
            w = weights[j] + plastic.rise[m] * scale * plastic.before[sent + plastic.entry_source[e]]
            weights[j] = min(w, plastic.high[m])
