"""Pair-based spike-timing-dependent plasticity inside the loop of a network, delays on the way to the synapse.

A synapse sees a presynaptic spike when it arrives. So it reads its source's trace as many steps ago as its delay is
long: a ring of the last traces serves all delays, and no synapse keeps a trace of its own. A trace holds what earlier
spikes left, without those of the step itself: an arrival and a spike of one step are no pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["Plastic", "age_traces", "depress", "potentiate"]


class Plastic(NamedTuple):
    """Plastic projections, one entry each.

    ``low, high`` are the weights' bounds; ``scaled`` is 1 where changes scale with the distance to them.
    ``own`` (projections, parts, 4) are the sources and the targets of each part; ``ring`` is the number of traces kept.
    Incoming synapses of target n are ``entry[into[n] .. into[n + 1]]``, with their sources and delays beside them.
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
    scaled: np.ndarray
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
def _age(new, old, keep):
    for k in range(new.shape[0]):
        new[k] = keep * old[k]


@kernel
def age_traces(plastic, p, now, spikes, first):
    """Traces of a part's own neurons, one step later; ``first`` are the spikes of the step before."""
    for m in range(plastic.source.shape[0]):
        own, n, keep = plastic.own[m, p], plastic.n_sources[m], plastic.keep_before[m]
        new = plastic.before_base[m] + now % plastic.ring[m] * n
        old = plastic.before_base[m] + (now - 1) % plastic.ring[m] * n
        _age(plastic.before[new + own[0] : new + own[1]], plastic.before[old + own[0] : old + own[1]], keep)
        q, start = plastic.source[m], plastic.source_start[m]
        for k in range(first[q], first[q + 1]):
            plastic.before[new + spikes[k] - start] += keep
        base, keep = plastic.after_base[m], plastic.keep_after[m]
        trace = plastic.after[base + own[2] : base + own[3]]
        _age(trace, trace, keep)
        q, start = plastic.target[m], plastic.target_start[m]
        for k in range(first[q], first[q + 1]):
            plastic.after[base + spikes[k] - start] += keep


@kernel
def depress(plastic, m, weights, shift, begin, end, target):
    """A spike has arrived at these synapses: those whose targets fired before lose."""
    base = plastic.after_base[m] - plastic.target_start[m]
    for j in range(begin, end):
        w = weights[j + shift]
        scale = w - plastic.low[m] if plastic.scaled[m] == 1 else 1.0
        w -= plastic.fall[m] * scale * plastic.after[base + target[j]]
        weights[j + shift] = max(w, plastic.low[m])


@kernel
def potentiate(plastic, m, now, weights, shift, spikes, first):
    """Targets have fired: the synapses through which something arrived before gain."""
    q, n, ring = plastic.target[m], plastic.n_sources[m], plastic.ring[m]
    for k in range(first[q], first[q + 1]):
        row = plastic.into_base[m] + spikes[k] - plastic.target_start[m]
        for e in range(plastic.into[row], plastic.into[row + 1]):
            sent = plastic.before_base[m] + (now - plastic.entry_delay[e]) % ring * n
            j = plastic.entry[e] + shift
            scale = plastic.high[m] - weights[j] if plastic.scaled[m] == 1 else 1.0
            w = weights[j] + plastic.rise[m] * scale * plastic.before[sent + plastic.entry_source[e]]
            weights[j] = min(w, plastic.high[m])
