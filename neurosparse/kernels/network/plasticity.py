"""Pair-based spike-timing-dependent plasticity (STDP) in the loop of a network, with presynaptic delays.

A presynaptic spike counts when it arrives, so a synapse reads the trace of its source from as many steps ago as its
delay. A ring of past traces per source serves all delays; no synapse has a trace of its own. A trace contains the
spikes before its step only: an arrival and a spike of one step are no pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["RULE", "PlasticityArrays", "decay_traces", "depress", "potentiate"]

# A plastic projection. ``low, high`` are the bounds of its weights; ``multiplicative`` is 1 where changes scale with
# the distance to them. ``ring`` is the number of past traces; those of its sources begin at ``before``, of its targets
# at ``after``.
RULE = np.dtype(
    [(name, np.int64) for name in ("source", "target", "source_start", "target_start", "n_sources", "n_targets")]
    + [(name, np.float64) for name in ("rise", "fall", "keep_before", "keep_after", "low", "high")]
    + [(name, np.int64) for name in ("multiplicative", "ring", "before", "after", "into")]
)


class PlasticityArrays(NamedTuple):
    """Plastic projections (of type `RULE`), their synapses by target, and their traces.

    Incoming synapses of target n are ``entry[into[n] .. into[n + 1]]``, with ``entry_source`` and ``entry_delay``.
    """

    rules: np.ndarray
    into: np.ndarray
    entry: np.ndarray
    entry_source: np.ndarray
    entry_delay: np.ndarray
    before: np.ndarray
    after: np.ndarray


@kernel
def _decay(new, old, keep):
    for k in range(new.shape[0]):
        new[k] = keep * old[k]


@kernel
def _count(trace, spikes, start, keep):
    for k in range(spikes.shape[0]):
        trace[spikes[k] - start] += keep


@kernel
def decay_traces(plastic, low, high, now, spikes, first):
    """Traces of neurons ``low..high`` one step later, with ``first``, their spikes of the step before."""
    for m in range(plastic.rules.shape[0]):
        rule = plastic.rules[m]
        n, start = rule.n_sources, rule.source_start
        new, old = rule.before + now % rule.ring * n, rule.before + (now - 1) % rule.ring * n
        begin, end = min(max(low - start, 0), n), min(max(high - start, 0), n)
        _decay(plastic.before[new + begin : new + end], plastic.before[old + begin : old + end], rule.keep_before)
        fired = spikes[first[rule.source] : first[rule.source + 1]]
        _count(plastic.before[new : new + n], fired, start, rule.keep_before)
        n, start = rule.n_targets, rule.target_start
        begin, end = min(max(low - start, 0), n), min(max(high - start, 0), n)
        trace = plastic.after[rule.after + begin : rule.after + end]
        _decay(trace, trace, rule.keep_after)
        fired = spikes[first[rule.target] : first[rule.target + 1]]
        _count(plastic.after[rule.after : rule.after + n], fired, start, rule.keep_after)


@kernel
def depress(rule, after, weights, target):
    """Depression: a spike arrived at synapses with these weights after spikes of their targets."""
    base, fall, low, scaled = rule.after - rule.target_start, rule.fall, rule.low, rule.multiplicative == 1
    for j in range(weights.shape[0]):
        w = weights[j]
        scale = w - low if scaled else 1.0
        weights[j] = max(w - fall * scale * after[base + target[j]], low)


@kernel
def potentiate(plastic, m, now, weights, shift, spikes, first):
    """Potentiation: targets fired after arrivals at their synapses."""
    rule = plastic.rules[m]
    for k in range(first[rule.target], first[rule.target + 1]):
        row = rule.into + spikes[k] - rule.target_start
        for e in range(plastic.into[row], plastic.into[row + 1]):
            sent = rule.before + (now - plastic.entry_delay[e]) % rule.ring * rule.n_sources
            j = plastic.entry[e] + shift
            scale = rule.high - weights[j] if rule.multiplicative == 1 else 1.0
            w = weights[j] + rule.rise * scale * plastic.before[sent + plastic.entry_source[e]]
            weights[j] = min(w, rule.high)
