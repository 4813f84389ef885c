"""The loop of a network of spiking neurons: integration, thresholds, arrivals, resets.

Each thread has a part of the neurons and writes to these only. Threads synchronise once per shortest delay, since no
spike arrives earlier. The weights that arrive at a neuron in a step are added in one order for any number of threads:
projection by projection, the oldest spikes first, sources ascending.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.kernels.dispatch import kernel, prange
from neurosparse.kernels.network.draw import BLOCK, next_arrival, start_of_stream
from neurosparse.kernels.network.neurons import integrate
from neurosparse.kernels.network.plasticity import decay_traces, depress, potentiate

__all__ = ["DRIVE", "POPULATION", "PROJECTION", "NeuronArrays", "SpikeRecord", "SynapseArrays", "run"]

POISSON, REPLAY = 3, 4  # of neurons.MODELS

# Neurons ``start..end``. Their bias increments or mean counts begin at ``constant``, one per neuron if ``each`` is 1.
# A recorded population has the spikes of step ``recorded_start`` in row ``recorded`` of the recorded spikes.
POPULATION = np.dtype(
    [(name, np.int64) for name in ("model", "start", "end", "refractory", "constant", "each")]
    + [(name, np.int64) for name in ("recorded", "recorded_start", "recorded_steps")]
    + [("reset", np.float64), ("key", np.uint64)]
)

# Poisson input of a population; its mean counts, one per neuron, begin at ``mean``.
DRIVE = np.dtype(
    [(name, np.int64) for name in ("population", "receptor", "mean")] + [("weight", np.float64), ("key", np.uint64)]
)

# A projection has one ``weight``, or with ``each`` 1 one per synapse, of synapse j at ``j + shift``. Its row pointers
# begin at ``row``. ``plastic`` is its place among the plastic projections, or -1. Without synapses ``n_delays`` is 0.
PROJECTION = np.dtype(
    [(name, np.int64) for name in ("source", "receptor", "each", "shift", "shortest", "n_delays", "row", "plastic")]
    + [("weight", np.float64)]
)


class NeuronArrays(NamedTuple):
    """Populations and drives, one record each, with their numbers per neuron and recorded spikes by rows."""

    populations: np.ndarray
    coefficients: np.ndarray
    constant: np.ndarray
    recorded_pointer: np.ndarray
    recorded_index: np.ndarray
    drives: np.ndarray
    drive_mean: np.ndarray


class SynapseArrays(NamedTuple):
    """Projections, one record each; the synapses of all, in rows (source, part, delay) with ascending targets."""

    projections: np.ndarray
    pointer: np.ndarray
    target: np.ndarray


class SpikeRecord(NamedTuple):
    """Spikes of each part in order; those of population q in row b (a step) begin at ``first[part, b, q]``."""

    spikes: np.ndarray
    first: np.ndarray


@kernel
def _poisson(mean, each, low, size, key, now, place, spikes, used):
    """A source fires in a step with at least one arrival in its interval; each block has a stream of its own."""
    for begin in range(0, size, BLOCK):
        own, end = begin * each, 0.0
        position, state = next_arrival(start_of_stream(key, now, place + begin // BLOCK))
        for k in range(min(BLOCK, size - begin)):
            end += mean[own + k]
            fires = position <= end
            while position <= end:
                step, state = next_arrival(state)
                position += step
            if fires:
                spikes[used] = low + begin + k
                used += 1
    return used


@kernel
def _drive(x, mean, weight, key, now, place):
    """Add the weight once per arrival of each neuron."""
    size = x.shape[0]
    for begin in range(0, size, BLOCK):
        end = 0.0
        position, state = next_arrival(start_of_stream(key, now, place + begin // BLOCK))
        for k in range(begin, min(begin + BLOCK, size)):
            end += mean[k]
            while position <= end:
                x[k] += weight
                step, state = next_arrival(state)
                position += step


@kernel
def _replay(index, start, low, high, spikes, used):
    for k in range(np.searchsorted(index, low - start), index.shape[0]):
        if index[k] + start >= high:
            break
        spikes[used] = index[k] + start
        used += 1
    return used


@kernel
def _source_spikes(population, low, high, now, neurons, spikes, used):
    """Spikes of a population without membranes."""
    if population.model == POISSON:
        begin = population.constant + population.each * (low - population.start)
        place = (low - population.start) // BLOCK
        mean, size = neurons.constant[begin:], high - low
        return _poisson(mean, population.each, low, size, population.key, now, place, spikes, used)
    since = now - population.recorded_start
    if since < 0 or since >= population.recorded_steps:
        return used
    row = population.recorded + since
    index = neurons.recorded_index[neurons.recorded_pointer[row] : neurons.recorded_pointer[row + 1]]
    return _replay(index, population.start, low, high, spikes, used)


@kernel
def _drives(low, high, now, neurons, state):
    """Arrivals from independent Poisson input."""
    for d in range(neurons.drives.shape[0]):
        drive = neurons.drives[d]
        population = neurons.populations[drive.population]
        a, z = max(low, population.start), min(high, population.end)
        if a < z:
            begin = a - population.start
            mean = neurons.drive_mean[drive.mean + begin : drive.mean + begin + z - a]
            _drive(state[drive.receptor, a:z], mean, drive.weight, drive.key, now, begin // BLOCK)


@kernel
def _reset(b, populations, spikes, first, v):
    """Neurons whose refractory time ends start from the reset; earlier arrivals at their membrane are lost."""
    for q in range(populations.shape[0]):
        population = populations[q]
        if population.model < POISSON:
            row = b - population.refractory
            for k in range(first[row, q], first[row, q + 1]):
                v[spikes[k]] = population.reset


@kernel
def _deliver(x, weight, target):
    """Add one weight at the targets of a source."""
    for j in range(target.shape[0]):
        x[target[j]] += weight


@kernel
def _deliver_each(x, weights, target):
    """Add the weight of each synapse at the targets of a source."""
    for j in range(target.shape[0]):
        x[target[j]] += weights[j]


@kernel
def _send(projection, stride, offset, start, fired, synapses, plastic, weights, x):
    """Arrivals of some spikes at the targets of one part after one delay."""
    base, pointer = projection.row + offset - start * stride, synapses.pointer
    for k in range(fired.shape[0]):
        row = base + fired[k] * stride
        begin, end = pointer[row], pointer[row + 1]
        target = synapses.target[begin:end]
        if projection.each == 0:
            _deliver(x, projection.weight, target)
            continue
        own = weights[begin + projection.shift : end + projection.shift]
        _deliver_each(x, own, target)
        if projection.plastic >= 0:
            depress(plastic.rules[projection.plastic], plastic.after, own, target)


@kernel
def _under_way(b, projection, first):
    """Whether spikes may arrive in this step: a silent network takes as long for many delays as for one."""
    if projection.n_delays == 0:  # its delay may be shorter than the steps for which the threads run apart
        return False
    newest, q, found = b - projection.shortest, projection.source, 0
    for other in range(first.shape[0]):
        found += first[other, newest, q + 1] - first[other, newest - projection.n_delays + 1, q]
    return found > 0


@kernel
def _arrive(p, b, projection, start, synapses, plastic, weights, x, record):
    """Arrivals of this step through a projection, the oldest spikes first."""
    n_parts, n_delays, q = record.spikes.shape[0], projection.n_delays, projection.source
    for d in range(n_delays - 1, -1, -1):
        sent = b - projection.shortest - d
        for other in range(n_parts):
            low, high = record.first[other, sent, q], record.first[other, sent, q + 1]
            if low < high:
                fired = record.spikes[other, low:high]
                _send(projection, n_parts * n_delays, p * n_delays + d, start, fired, synapses, plastic, weights, x)


@kernel
def _segment(p, now, b, steps, past, shortest, bounds, neurons, synapses, plastic, weights, state, record):
    """Steps of one part; with several parts at most the shortest delay.

    What is not there is not called: a call hands over all fields of its arrays, which takes as long as some neurons.
    """
    spikes, first, low, high = record.spikes[p], record.first[p], bounds[p], bounds[p + 1]
    n_projections, n_plastic, n_drives = len(synapses.projections), len(plastic.rules), len(neurons.drives)
    n_populations = len(neurons.populations)
    for t in range(b, b + steps):
        step = now + t - b
        used = first[t - 1, n_populations]
        first[t, 0] = used
        for q in range(n_populations):
            population = neurons.populations[q]
            a, z = max(low, population.start), min(high, population.end)
            if a < z and population.model < POISSON:
                each = population.each
                c = neurons.constant[population.constant + each * (a - population.start) :]
                v, e, i, k = state[0, a:z], state[1, a:z], state[2, a:z], neurons.coefficients[q]
                used = integrate(population.model, v, e, i, c, each, k, a, spikes, used)
            elif a < z:
                used = _source_spikes(population, a, z, step, neurons, spikes, used)
            first[t, q + 1] = used
        if n_plastic > 0:
            decay_traces(plastic, low, high, step, spikes, first[t - 1])
        some = n_plastic  # spikes of these may arrive
        for other in range(record.first.shape[0]):
            some += record.first[other, t - shortest, n_populations] - record.first[other, t - past, 0]
        for s in range(n_projections if some > 0 else 0):
            projection = synapses.projections[s]
            if _under_way(t, projection, record.first):
                start, x = neurons.populations[projection.source].start, state[projection.receptor]
                _arrive(p, t, projection, start, synapses, plastic, weights, x, record)
            if projection.plastic >= 0:
                potentiate(plastic, projection.plastic, step, weights, projection.shift, spikes, first[t])
        if n_drives > 0:
            _drives(low, high, step, neurons, state)
        if first[t, n_populations] > first[t - past, 0]:
            _reset(t, neurons.populations, spikes, first, state[0])


@kernel
def run(now, b, steps, shortest, bounds, neurons, synapses, plastic, weights, state, record):
    """Up to ``steps`` steps from step ``now``, recorded from row ``b`` on; fewer if the record is full.

    Args:
        shortest: delay in steps.
        bounds: (parts + 1), the neurons of each part.

    Returns:
        the number of steps done.
    """
    done, n_parts, n_populations = 0, record.spikes.shape[0], neurons.populations.shape[0]
    while done < steps:
        span = steps - done if n_parts == 1 else min(shortest, steps - done)
        for p in range(n_parts):
            room = record.spikes.shape[1] - record.first[p, b + done - 1, n_populations]
            span = min(span, room // (bounds[p + 1] - bounds[p]))
        if span == 0:
            break
        for p in prange(n_parts):
            _segment(
                p, now + done, b + done, span, b, shortest, bounds, neurons, synapses, plastic, weights, state, record
            )
        done += span
    return done
