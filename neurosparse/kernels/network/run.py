"""The loop of a network of spiking neurons: integration, thresholds, arrivals, resets.

Each thread has a part of the neurons and writes to these only. Threads synchronise once per shortest delay, since no
spike arrives earlier. The weights that arrive at a neuron in a step are added in one order for any number of threads:
projection by projection, the oldest spikes first, sources ascending.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.kernels.dispatch import kernel, prange
from neurosparse.kernels.network.draw import next_arrival, start_of_stream
from neurosparse.kernels.network.neurons import THRESHOLD, advance
from neurosparse.kernels.network.plasticity import decay_traces, depress, potentiate

__all__ = ["BlockArrays", "InputArrays", "NeuronArrays", "SpikeRecord", "SynapseArrays", "run"]

POISSON, REPLAY = 3, 4  # of neurons.MODELS


class NeuronArrays(NamedTuple):
    """Populations, one entry each: model, first neuron (and the end), refractory steps, reset, coefficients.

    The constants of a block begin at ``base + stride * place``; a stride of 0 is one constant for all neurons.
    """

    model: np.ndarray
    start: np.ndarray
    refractory: np.ndarray
    reset: np.ndarray
    coefficients: np.ndarray
    base: np.ndarray
    stride: np.ndarray


class BlockArrays(NamedTuple):
    """Blocks of neurons: population, place in it, neurons ``low..high``; part p has blocks ``first[p]..first[p+1]``."""

    population: np.ndarray
    place: np.ndarray
    low: np.ndarray
    high: np.ndarray
    first: np.ndarray


class SynapseArrays(NamedTuple):
    """Projections, one entry each; then the synapses of all, in rows (source, part, delay) with ascending targets.

    A projection has one ``weight``, or with ``each`` one per synapse, of synapse j at ``j + shift``. ``plastic`` is its
    entry in `PlasticityArrays`, or -1.
    """

    source: np.ndarray
    receptor: np.ndarray
    weight: np.ndarray
    each: np.ndarray
    shift: np.ndarray
    shortest: np.ndarray
    n_delays: np.ndarray
    base: np.ndarray
    plastic: np.ndarray
    pointer: np.ndarray
    target: np.ndarray


class InputArrays(NamedTuple):
    """Keys of Poisson populations; recorded populations as compressed rows; drives with their mean counts.

    Row ``recorded_base`` of a recorded population has the spikes of step ``recorded_start``.
    """

    key: np.ndarray
    recorded_start: np.ndarray
    recorded_base: np.ndarray
    recorded_steps: np.ndarray
    recorded_pointer: np.ndarray
    recorded_index: np.ndarray
    drive_population: np.ndarray
    drive_receptor: np.ndarray
    drive_weight: np.ndarray
    drive_key: np.ndarray
    drive_base: np.ndarray
    drive_mean: np.ndarray


class SpikeRecord(NamedTuple):
    """Spikes of each part in order; those of population q in row b (a step) begin at ``first[part, b, q]``."""

    spikes: np.ndarray
    first: np.ndarray


@kernel
def _fire(v, low, threshold, spikes, used):
    for k in range(v.shape[0]):
        if v[k] > threshold:
            v[k] = -np.inf
            spikes[used] = low + k
            used += 1
    return used


@kernel
def _poisson(mean, low, state, spikes, used):
    """A source fires in a step with at least one arrival in its interval."""
    end = 0.0
    position, state = next_arrival(state)
    for k in range(mean.shape[0]):
        end += mean[k]
        fires = position <= end
        while position <= end:
            step, state = next_arrival(state)
            position += step
        if fires:
            spikes[used] = low + k
            used += 1
    return used


@kernel
def _drive(x, mean, weight, state):
    end = 0.0
    position, state = next_arrival(state)
    for k in range(mean.shape[0]):
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
def _step_neurons(p, now, b, neurons, blocks, inputs, state, constant, record):
    """Integrate all blocks of a part and record the neurons that fire."""
    spikes, first = record.spikes[p], record.first[p]
    n_populations = neurons.model.shape[0]
    used, q = first[b - 1, n_populations], 0
    first[b, 0] = used
    for k in range(blocks.first[p], blocks.first[p + 1]):
        while q < blocks.population[k]:
            q += 1
            first[b, q] = used
        low, high, model = blocks.low[k], blocks.high[k], neurons.model[q]
        begin = neurons.base[q] + neurons.stride[q] * blocks.place[k]
        own = constant[begin : begin + high - low]
        if model == POISSON:
            stream = start_of_stream(inputs.key[q], now, blocks.place[k])
            used = _poisson(own, low, stream, spikes, used)
        elif model == REPLAY:
            since = now - inputs.recorded_start[q]
            if 0 <= since < inputs.recorded_steps[q]:
                row = inputs.recorded_base[q] + since
                index = inputs.recorded_index[inputs.recorded_pointer[row] : inputs.recorded_pointer[row + 1]]
                used = _replay(index, neurons.start[q], low, high, spikes, used)
        else:
            v, p_q = state[0, low:high], neurons.coefficients[q]
            if advance(model, v, state[1, low:high], state[2, low:high], own, p_q) != 0:
                used = _fire(v, low, p_q[THRESHOLD], spikes, used)
    while q < n_populations:
        q += 1
        first[b, q] = used


@kernel
def _reset(b, neurons, spikes, first, state):
    """Neurons whose refractory time ends start from the reset; earlier arrivals at their membrane are lost."""
    for q in range(neurons.model.shape[0]):
        if neurons.model[q] < POISSON:
            row = b - neurons.refractory[q]
            for k in range(first[row, q], first[row, q + 1]):
                state[0, spikes[k]] = neurons.reset[q]


@kernel
def _deliver(x, weight, spikes, low, high, start, base, stride, offset, pointer, target):
    """Add one weight at the targets of some sources."""
    for k in range(low, high):
        row = base + (spikes[k] - start) * stride + offset
        for j in range(pointer[row], pointer[row + 1]):
            x[target[j]] += weight


@kernel
def _deliver_each(x, weights, shift, spikes, low, high, start, base, stride, offset, pointer, target):
    """Add the weight of each synapse at the targets of some sources."""
    for k in range(low, high):
        row = base + (spikes[k] - start) * stride + offset
        for j in range(pointer[row], pointer[row + 1]):
            x[target[j]] += weights[j + shift]


@kernel
def _arrive(p, b, s, neurons, synapses, weights, plastic, state, record):
    """Arrivals of this step through projection ``s``, the oldest spikes first."""
    n_parts, q = record.spikes.shape[0], synapses.source[s]
    x, n_delays, start = state[synapses.receptor[s]], synapses.n_delays[s], neurons.start[q]
    base, stride, shift = synapses.base[s], n_parts * n_delays, synapses.shift[s]
    for d in range(n_delays - 1, -1, -1):
        sent, offset = b - synapses.shortest[s] - d, p * n_delays + d
        for other in range(n_parts):
            low, high, spikes = record.first[other, sent, q], record.first[other, sent, q + 1], record.spikes[other]
            if low == high:
                continue
            if synapses.each[s] == 0:
                weight = synapses.weight[s]
                _deliver(x, weight, spikes, low, high, start, base, stride, offset, synapses.pointer, synapses.target)
                continue
            pointer, target = synapses.pointer, synapses.target
            _deliver_each(x, weights, shift, spikes, low, high, start, base, stride, offset, pointer, target)
            if synapses.plastic[s] >= 0:
                for k in range(low, high):
                    row = base + (spikes[k] - start) * stride + offset
                    depress(plastic, synapses.plastic[s], weights, shift, pointer[row], pointer[row + 1], target)


@kernel
def _segment(p, now, b, steps, neurons, blocks, synapses, inputs, plastic, weights, state, constant, record):
    """Steps of one part, at most the shortest delay."""
    for t in range(steps):
        _step_neurons(p, now + t, b + t, neurons, blocks, inputs, state, constant, record)
        decay_traces(plastic, p, now + t, record.spikes[p], record.first[p, b + t - 1])
        for s in range(synapses.source.shape[0]):
            _arrive(p, b + t, s, neurons, synapses, weights, plastic, state, record)
            m = synapses.plastic[s]
            if m >= 0:
                spikes, first = record.spikes[p], record.first[p, b + t]
                potentiate(plastic, m, now + t, weights, synapses.shift[s], spikes, first)
        for k in range(blocks.first[p], blocks.first[p + 1]):
            for d in range(inputs.drive_population.shape[0]):
                q = blocks.population[k]
                if inputs.drive_population[d] == q:
                    low, high, base = blocks.low[k], blocks.high[k], inputs.drive_base[d] - neurons.start[q]
                    stream = start_of_stream(inputs.drive_key[d], now + t, blocks.place[k])
                    x = state[inputs.drive_receptor[d], low:high]
                    _drive(x, inputs.drive_mean[base + low : base + high], inputs.drive_weight[d], stream)
        _reset(b + t, neurons, record.spikes[p], record.first[p], state)


@kernel
def run(now, b, steps, shortest, sizes, neurons, blocks, synapses, inputs, plastic, weights, state, constant, record):
    """Up to ``steps`` steps from step ``now``, recorded from row ``b`` on; fewer if the record is full.

    Returns:
        the number of steps done.
    """
    done, n_parts = 0, record.spikes.shape[0]
    while done < steps:
        span = min(shortest, steps - done)
        for p in range(n_parts):
            if record.first[p, b + done - 1, neurons.model.shape[0]] + sizes[p] * span > record.spikes.shape[1]:
                return done
        for p in prange(n_parts):
            _segment(
                p,
                now + done,
                b + done,
                span,
                neurons,
                blocks,
                synapses,
                inputs,
                plastic,
                weights,
                state,
                constant,
                record,
            )
        done += span
    return done
