"""A drawn network as the arrays that the compiled loop reads, cut for a number of threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.kernels.network.draw import BLOCK
from neurosparse.kernels.network.layout import arrange
from neurosparse.kernels.network.neurons import MODELS
from neurosparse.kernels.network.run import Neurons, Parts, Synapses
from neurosparse.simulate.drawn import ROWS, Drawn
from neurosparse.simulate.neurons import Neuron, Source
from neurosparse.simulate.state import held_steps, shortest_delay

__all__ = ["Plan", "cut", "make_plan"]


class Plan(NamedTuple):
    """What the loop takes, beside what changes.

    ``bounds (parts + 1)`` are the neurons each thread owns; ``constant`` holds pushes and mean counts;
    ``order`` by projection says where each synapse in memory stood when it was drawn (None: there).
    """

    neurons: Neurons
    parts: Parts
    synapses: Synapses
    weights: np.ndarray
    constant: np.ndarray
    bounds: np.ndarray
    shortest: int
    order: tuple[np.ndarray | None, ...]


def make_plan(drawn: Drawn, threads: int) -> Plan:
    """Arrays for at most so many threads; fewer where there are fewer blocks of neurons."""
    neurons, constant = _neurons(drawn)
    parts, bounds = cut(drawn, threads)
    synapses, weights, order = _synapses(drawn, bounds)
    return Plan(neurons, parts, synapses, weights, constant, bounds, shortest_delay(drawn), order)


def _neurons(drawn: Drawn) -> tuple[Neurons, np.ndarray]:
    rows, coefficients, constants = [], [], []
    for p in drawn.populations:
        kind, held, reset, own = p.model, 0, 0.0, np.zeros(())
        if isinstance(kind, Neuron):
            model, held = kind.model, held_steps(kind.refractory, drawn.dt)
            reset, own = kind.parameters["reset"] - kind.parameters["rest"], kind.push(drawn.dt)
        elif isinstance(kind, Source):
            model, own = "poisson", -np.log1p(-kind.mean(drawn.dt))
        else:
            model = "replay"
        rows.append((MODELS[model], p.start, held, reset, sum(map(len, constants)), BLOCK * (own.ndim > 0)))
        constants.append(np.broadcast_to(own, (p.size if own.ndim else min(p.size, BLOCK),)))
        coefficients.append(kind.coefficients(drawn.dt) if isinstance(kind, Neuron) else np.zeros(6))
    model, start, held, reset, base, stride = (np.array(column) for column in zip(*rows, strict=True))
    start = np.append(start, drawn.values.shape[1])
    return Neurons(model, start, held, reset, np.array(coefficients), base, stride), np.concatenate(constants)


def cut(drawn: Drawn, threads: int) -> tuple[Parts, np.ndarray]:
    """Blocks of neurons, dealt in order to the threads by numbers of neurons."""
    blocks = [
        (q, place, p.start + low, p.start + min(low + BLOCK, p.size))
        for q, p in enumerate(drawn.populations)
        for place, low in enumerate(range(0, p.size, BLOCK))
    ]
    population, place, low, high = (np.array(column, dtype=np.int64) for column in zip(*blocks, strict=True))
    n_parts = min(threads, len(blocks))
    shares = high[-1] * np.arange(1, n_parts) / n_parts
    first = np.concatenate([[0], np.searchsorted(high, shares), [len(blocks)]])
    return Parts(population, place, low, high, first), np.concatenate([low[first[:-1]], high[-1:]])


def _synapses(drawn: Drawn, bounds: np.ndarray) -> tuple[Synapses, np.ndarray, tuple[np.ndarray | None, ...]]:
    table, pointers, targets, weights, orders = [], [], [], [], []
    base = at = n_weights = n_plastic = 0
    for c in drawn.connections:
        late = None if c.delay.ndim == 0 or not c.delay.size or c.delay.min() == c.delay.max() else c.delay
        shortest, longest = int(c.delay.min(initial=1 << 20)), int(c.delay.max(initial=1))
        shortest = min(shortest, longest)
        pointer, order = arrange(c.row_pointer, c.target, late, shortest, longest, bounds)
        each = c.weight.ndim > 0 or c.projection.plasticity is not None
        if each:
            own = np.broadcast_to(c.weight, c.target.shape)
            weights.append(own if order is None else own[order])
        plastic = n_plastic if c.projection.plasticity is not None else -1
        source = next(q for q, p in enumerate(drawn.populations) if p is c.projection.source)
        weight = 0.0 if each else float(c.weight)
        delays = shortest, longest - shortest + 1
        table.append((source, ROWS[c.receptor], weight, each, n_weights - at, *delays, base, plastic))
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
    target = np.concatenate(targets) if moved else drawn.target
    return Synapses(*arrays, pointer=pointer, target=target), np.concatenate([np.zeros(0), *weights]), tuple(orders)
