"""A network instance as the arrays of the compiled loop, divided among a number of threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.kernels.network.draw import BLOCK
from neurosparse.kernels.network.layout import arrange
from neurosparse.kernels.network.neurons import MODELS
from neurosparse.kernels.network.run import BlockArrays, NeuronArrays, SynapseArrays
from neurosparse.simulate.instance import ROWS, NetworkInstance
from neurosparse.simulate.neurons import Neuron, PoissonSource

__all__ = ["NetworkLayout", "divide", "make_layout"]


class NetworkLayout(NamedTuple):
    """The arrays of the compiled loop that no step changes.

    ``bounds (parts + 1)`` are the neurons of each thread's part; ``constant`` holds bias increments and mean counts;
    ``order``, by projection, is the number of each synapse in memory as it was drawn (None: the same order).
    """

    neurons: NeuronArrays
    blocks: BlockArrays
    synapses: SynapseArrays
    weights: np.ndarray
    constant: np.ndarray
    bounds: np.ndarray
    shortest: int
    order: tuple[np.ndarray | None, ...]


def make_layout(instance: NetworkInstance, threads: int) -> NetworkLayout:
    """Arrays for a number of threads, or fewer where there are fewer blocks of neurons."""
    neurons, constant = _neurons(instance)
    blocks, bounds = divide(instance, threads)
    synapses, weights, order = _synapses(instance, bounds)
    return NetworkLayout(neurons, blocks, synapses, weights, constant, bounds, instance.shortest_delay(), order)


def _neurons(instance: NetworkInstance) -> tuple[NeuronArrays, np.ndarray]:
    rows, coefficients, constants = [], [], []
    for p in instance.populations:
        kind, refractory, reset, own = p.model, 0, 0.0, np.zeros(())
        if isinstance(kind, Neuron):
            model, refractory = kind.model, kind.held_steps(instance.dt, instance.grid)
            reset, own = kind.parameters["reset"] - kind.parameters["rest"], kind.bias_increment(instance.dt)
        elif isinstance(kind, PoissonSource):
            model, own = "poisson", -np.log1p(-kind.mean(instance.dt))
        else:
            model = "replay"
        rows.append((MODELS[model], p.start, refractory, reset, sum(map(len, constants)), BLOCK * (own.ndim > 0)))
        constants.append(np.broadcast_to(own, (p.size if own.ndim else min(p.size, BLOCK),)))
        coefficients.append(kind.coefficients(instance.dt) if isinstance(kind, Neuron) else np.zeros(6))
    model, start, refractory, reset, base, stride = (np.array(column) for column in zip(*rows, strict=True))
    start = np.append(start, instance.values.shape[1])
    arrays = NeuronArrays(model, start, refractory, reset, np.array(coefficients), base, stride)
    return arrays, np.concatenate(constants)


def divide(instance: NetworkInstance, threads: int) -> tuple[BlockArrays, np.ndarray]:
    """Blocks of neurons, divided in order into parts of about equal numbers of neurons, and the parts' bounds."""
    blocks = [
        (q, place, p.start + low, p.start + min(low + BLOCK, p.size))
        for q, p in enumerate(instance.populations)
        for place, low in enumerate(range(0, p.size, BLOCK))
    ]
    population, place, low, high = (np.array(column, dtype=np.int64) for column in zip(*blocks, strict=True))
    n_parts = min(threads, len(blocks))
    shares = high[-1] * np.arange(1, n_parts) / n_parts
    first = np.concatenate([[0], np.searchsorted(high, shares), [len(blocks)]])
    return BlockArrays(population, place, low, high, first), np.concatenate([low[first[:-1]], high[-1:]])


def _synapses(
    instance: NetworkInstance, bounds: np.ndarray
) -> tuple[SynapseArrays, np.ndarray, tuple[np.ndarray | None, ...]]:
    table, pointers, targets, weights, orders = [], [], [], [], []
    base = at = n_weights = n_plastic = 0
    for c in instance.connections:
        delays = None if c.delay.ndim == 0 or not c.delay.size or c.delay.min() == c.delay.max() else c.delay
        shortest, longest = int(c.delay.min(initial=1 << 20)), int(c.delay.max(initial=1))
        shortest = min(shortest, longest)
        pointer, order = arrange(c.row_pointer, c.target, delays, shortest, longest, bounds)
        each = c.weight.ndim > 0 or c.projection.plasticity is not None
        if each:
            own = np.broadcast_to(c.weight, c.target.shape)
            weights.append(own if order is None else own[order])
        plastic = n_plastic if c.projection.plasticity is not None else -1
        source = next(q for q, p in enumerate(instance.populations) if p is c.projection.source)
        weight = 0.0 if each else float(c.weight)
        n_delays = longest - shortest + 1
        table.append((source, ROWS[c.receptor], weight, each, n_weights - at, shortest, n_delays, base, plastic))
        pointers.append(pointer + at)
        targets.append(c.target if order is None else c.target[order])
        orders.append(order)
        base, at = base + len(pointer), at + len(c.target)
        n_weights, n_plastic = n_weights + len(c.target) * each, n_plastic + (plastic >= 0)
    columns = [[row[k] for row in table] for k in range(9)]
    kinds = [np.int64, np.int64, np.float64, *[np.int64] * 6]
    arrays = [np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)]
    pointer = np.concatenate([np.zeros(0, dtype=np.int64), *pointers])
    moved = any(order is not None for order in orders)
    target = np.concatenate(targets) if moved else instance.target
    return (
        SynapseArrays(*arrays, pointer=pointer, target=target),
        np.concatenate([np.zeros(0), *weights]),
        tuple(orders),
    )
