"""The loop of a network of spiking neurons: neurons step, thresholds, what arrives, resets.

Threads own ranges of targets, so no two write to the same place; they meet once per shortest delay, before which no
spike can reach anyone. What a neuron receives in a step is added in one order on any number of threads: projection by
projection, the oldest spikes first, sources ascending.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.kernels.dispatch import kernel, prange
from neurosparse.kernels.network.draw import next_arrival, start_of_stream
from neurosparse.kernels.network.neurons import THRESHOLD, advance
from neurosparse.kernels.network.plasticity import age_traces, depress, potentiate

__all__ = ["Neurons", "Noise", "Parts", "Record", "Synapses", "run"]

POISSON, REPLAY = 3, 4  # of network_neurons.MODELS


class Neurons(NamedTuple):
    """Populations, one entry each: which model, first neuron (and one past the last), held steps, coefficients.

    The constants of a block begin at ``base + stride * place``; where all neurons share one, all blocks share these.
    """

    model: np.ndarray
    start: np.ndarray
    held: np.ndarray
    reset: np.ndarray
    coefficients: np.ndarray
    base: np.ndarray
    stride: np.ndarray


class Parts(NamedTuple):
    """Blocks of neurons in order: population, place in it, first and last; ``first[p]..first[p + 1]`` are part p's."""

    population: np.ndarray
    place: np.ndarray
    low: np.ndarray
    high: np.ndarray
    first: np.ndarray


class Synapses(NamedTuple):
    """Projections, one entry each, then the synapses of all: rows are source x part x delay, targets ascend.

    All share ``weight``, or ``each`` has its own, ``shift`` further on. ``plastic`` is a row of Plastic, or -1.
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


class Noise(NamedTuple):
    """Keys of Poisson populations; recorded populations as compressed rows; drives with their mean counts."""

    key: np.ndarray
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


class Record(NamedTuple):
    """Spikes of each part in order; those of population q in step b begin at ``first[part, b, q]``."""

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
    """A source fires if anything arrives on its interval."""
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
def _step_neurons(p, now, b, neurons, parts, noise, state, constant, record):
    """All blocks of a part: who fires is written down."""
    spikes, first = record.spikes[p], record.first[p]
    n_populations = neurons.model.shape[0]
    used, q = first[b - 1, n_populations], 0
    first[b, 0] = used
    for k in range(parts.first[p], parts.first[p + 1]):
        while q < parts.population[k]:
            q += 1
            first[b, q] = used
        low, high, model = parts.low[k], parts.high[k], neurons.model[q]
        begin = neurons.base[q] + neurons.stride[q] * parts.place[k]
        own = constant[begin : begin + high - low]
        if model == POISSON:
            stream = start_of_stream(noise.key[q], now, parts.place[k])
            used = _poisson(own, low, stream, spikes, used)
        elif model == REPLAY:
            if now < noise.recorded_steps[q]:
                row = noise.recorded_base[q] + now
                index = noise.recorded_index[noise.recorded_pointer[row] : noise.recorded_pointer[row + 1]]
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
    """Who has been held long enough starts from reset; what arrived until now is lost on it."""
    for q in range(neurons.model.shape[0]):
        if neurons.model[q] < POISSON:
            row = b - neurons.held[q]
            for k in range(first[row, q], first[row, q + 1]):
                state[0, spikes[k]] = neurons.reset[q]


@kernel
def _deliver(x, weight, spikes, low, high, start, base, stride, offset, pointer, target):
    """One shared weight along the rows of some sources."""
    for k in range(low, high):
        row = base + (spikes[k] - start) * stride + offset
        for j in range(pointer[row], pointer[row + 1]):
            x[target[j]] += weight


@kernel
def _deliver_each(x, weights, shift, spikes, low, high, start, base, stride, offset, pointer, target):
    """A weight a synapse."""
    for k in range(low, high):
        row = base + (spikes[k] - start) * stride + offset
        for j in range(pointer[row], pointer[row + 1]):
            x[target[j]] += weights[j + shift]


@kernel
def _arrive(p, b, s, neurons, synapses, weights, plastic, state, record):
    """What arrives in this step through projection ``s``, the oldest spikes first."""
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
def _segment(p, now, b, steps, neurons, parts, synapses, noise, plastic, weights, state, constant, record):
    """Some steps of one part, no more than the shortest delay."""
    for t in range(steps):
        _step_neurons(p, now + t, b + t, neurons, parts, noise, state, constant, record)
        age_traces(plastic, p, now + t, record.spikes[p], record.first[p, b + t - 1])
        for s in range(synapses.source.shape[0]):
            _arrive(p, b + t, s, neurons, synapses, weights, plastic, state, record)
            m = synapses.plastic[s]
            if m >= 0:
                spikes, first = record.spikes[p], record.first[p, b + t]
                potentiate(plastic, m, now + t, weights, synapses.shift[s], spikes, first)
        for k in range(parts.first[p], parts.first[p + 1]):
            for d in range(noise.drive_population.shape[0]):
                q = parts.population[k]
                if noise.drive_population[d] == q:
                    low, high, base = parts.low[k], parts.high[k], noise.drive_base[d] - neurons.start[q]
                    stream = start_of_stream(noise.drive_key[d], now + t, parts.place[k])
                    x = state[noise.drive_receptor[d], low:high]
                    _drive(x, noise.drive_mean[base + low : base + high], noise.drive_weight[d], stream)
        _reset(b + t, neurons, record.spikes[p], record.first[p], state)


@kernel
def run(now, b, steps, shortest, room, neurons, parts, synapses, noise, plastic, weights, state, constant, record):
    """Up to ``steps`` steps from step ``now``, written from row ``b`` of the record on; fewer if spikes fill it.

    Returns:
        the number of steps done.
    """
    done, n_parts = 0, record.spikes.shape[0]
    while done < steps:
        span = min(shortest, steps - done)
        for p in range(n_parts):
            if record.first[p, b + done - 1, neurons.model.shape[0]] + room[p] * span > record.spikes.shape[1]:
                return done
        for p in prange(n_parts):
            _segment(
                p,
                now + done,
                b + done,
                span,
                neurons,
                parts,
                synapses,
                noise,
                plastic,
                weights,
                state,
                constant,
                record,
            )
        done += span
    return done
