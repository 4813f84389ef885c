"""A network instance as the arrays of the compiled loop, divided among a number of threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from neurosparse.events import EventTensor
from neurosparse.kernels.network.draw import BLOCK
from neurosparse.kernels.network.layout import arrange
from neurosparse.kernels.network.neurons import MODELS
from neurosparse.kernels.network.plasticity import RULE, PlasticityArrays
from neurosparse.kernels.network.run import DRIVE, POPULATION, PROJECTION, NeuronArrays, SynapseArrays
from neurosparse.simulate.instance import ALIGNED, ROWS, Connections, NetworkInstance, per_neuron
from neurosparse.simulate.neurons import Neuron, PoissonSource

__all__ = ["NetworkLayout", "aligned", "make_layout"]

# Neurons times steps between two synchronisations, from which on two threads are faster than one. A synchronisation
# costs as much as the update of some 100,000 neurons in one step (measured; far less where all cores are idle).
PARALLEL_PAYS = 200_000


class NetworkLayout(NamedTuple):
    """The arrays of the compiled loop. A run adds keys of random numbers, plastic weights and traces.

    ``bounds (parts + 1)`` are the neurons of each thread's part; ``past`` is the number of steps for which spikes are
    kept; ``order``, by projection, is the number of each synapse in memory as it was drawn (None: the same order).
    """

    neurons: NeuronArrays
    synapses: SynapseArrays
    plastic: PlasticityArrays
    weights: np.ndarray
    bounds: np.ndarray
    shortest: int
    past: int
    order: tuple[np.ndarray | None, ...]


def make_layout(instance: NetworkInstance, threads: int) -> NetworkLayout:
    """Arrays for a number of threads, or fewer where there are fewer blocks of neurons or little work for each."""
    shortest = instance.shortest_delay()
    bounds = _divide(instance, threads if instance.values.shape[1] * shortest >= PARALLEL_PAYS else 1)
    neurons = _neurons(instance)
    synapses, weights, order = _synapses(instance, bounds)
    plastic = _plastic(instance, order)
    past = max(instance.history(), shortest + 1)
    return NetworkLayout(neurons, synapses, plastic, weights, bounds, shortest, past, order)


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins on a cache line, so that no vector lies on two of them (measured: a third faster)."""
    copy = torch.empty(array.shape, dtype=torch.from_numpy(array[:0]).dtype).numpy()
    copy[...] = array
    return copy


def _join(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=dtype), *parts], dtype=dtype)


def _starts(parts: list[np.ndarray]) -> list[int]:
    return np.cumsum([0, *map(len, parts)])[:-1].tolist()


# ---- neurons


def _divide(instance: NetworkInstance, threads: int) -> np.ndarray:
    """Bounds of parts of about equal numbers of neurons, which consist of whole blocks."""
    starts = np.concatenate([np.arange(p.start, p.start + p.size, BLOCK) for p in instance.populations])
    end, n_parts = instance.values.shape[1], min(threads, len(starts))
    first = np.minimum(np.searchsorted(starts, end * np.arange(1, n_parts) / n_parts), len(starts) - 1)
    return np.concatenate([[0], np.unique(starts[first]), [end]]).astype(np.int64)


def _neurons(instance: NetworkInstance) -> NeuronArrays:
    populations = np.zeros(len(instance.populations), POPULATION)
    coefficients = np.zeros((len(populations), 6))
    constants, pointers, indices = [], [], []
    for q, p in enumerate(instance.populations):
        kind, record, own = p.model, populations[q], np.zeros(())
        if isinstance(kind, Neuron):
            values = kind.coefficients(instance.dt)
            coefficients[q, : len(values)] = values
            record["refractory"] = kind.held_steps(instance.dt, instance.grid)
            record["reset"] = kind.parameters["reset"] - kind.parameters["rest"]
            own = kind.bias_increment(instance.dt)
        elif isinstance(kind, PoissonSource):
            own = -np.log1p(-kind.mean(instance.dt))
        else:
            record["recorded"], record["recorded_start"] = sum(map(len, pointers)), p.first_step
            record["recorded_steps"] = kind.shape[0]
            pointers.append(kind.row_ptr.cpu().numpy().astype(np.int64) + sum(map(len, indices)))
            indices.append(kind.index.cpu().numpy())
        record["model"] = MODELS["replay" if isinstance(kind, EventTensor) else getattr(kind, "model", "poisson")]
        record["start"], record["end"] = p.start, p.start + p.size
        record["constant"], record["each"] = sum(map(len, constants)), own.ndim
        needed = p.size if own.ndim else min(p.size, BLOCK)
        constants.append(np.resize(own, -(-needed // ALIGNED) * ALIGNED))
    drives, means = _drives(instance)
    recorded = _join(pointers, np.int64), _join(indices, np.int32)
    return NeuronArrays(populations, coefficients, aligned(np.concatenate(constants)), *recorded, drives, means)


def _drives(instance: NetworkInstance) -> tuple[np.ndarray, np.ndarray]:
    numbers = {p.name: q for q, p in enumerate(instance.populations)}
    means = [per_neuron("Network.drive", "rate", d.source.mean(instance.dt), d.target.size) for d in instance.drives]
    drives = np.zeros(len(means), DRIVE)
    for record, drive, begin in zip(drives, instance.drives, _starts(means), strict=True):
        record["population"], record["receptor"] = numbers[drive.target.name], ROWS[drive.receptor]
        record["weight"], record["mean"] = drive.weight, begin
    return drives, _join(means, np.float64)


# ---- synapses


def _synapses(
    instance: NetworkInstance, bounds: np.ndarray
) -> tuple[SynapseArrays, np.ndarray, tuple[np.ndarray | None, ...]]:
    """Synapses in the order of the loop, weights of those with a weight of their own, and the order."""
    numbers = {p.name: q for q, p in enumerate(instance.populations)}
    projections = np.zeros(len(instance.connections), PROJECTION)
    pointers, targets, weights, orders = [], [], [], []
    n_rows = at = n_weights = n_plastic = 0
    for record, c in zip(projections, instance.connections, strict=True):
        delays = None if c.delay.ndim == 0 or not c.delay.size or c.delay.min() == c.delay.max() else c.delay
        shortest, longest = int(c.delay.min(initial=1 << 20)), int(c.delay.max(initial=1))
        shortest = min(shortest, longest)
        pointer, order = arrange(c.row_pointer, c.target, delays, shortest, longest, bounds)
        plastic = c.projection.plasticity is not None
        each = c.weight.ndim > 0 or plastic
        if each:
            own = np.broadcast_to(c.weight, c.target.shape)
            weights.append(own if order is None else own[order])
        record["source"], record["receptor"] = numbers[c.projection.source.name], ROWS[c.receptor]
        record["weight"], record["each"], record["shift"] = 0.0 if each else float(c.weight), each, n_weights - at
        n_delays = longest - shortest + 1 if len(c.target) else 0
        record["shortest"], record["n_delays"], record["row"] = shortest, n_delays, n_rows
        record["plastic"] = n_plastic if plastic else -1
        pointers.append(pointer + at)
        targets.append(c.target if order is None else c.target[order])
        orders.append(order)
        n_rows, at = n_rows + len(pointer), at + len(c.target)
        n_weights, n_plastic = n_weights + len(c.target) * each, n_plastic + plastic
    moved = any(order is not None for order in orders)
    target = np.concatenate(targets) if moved else instance.target
    arrays = SynapseArrays(projections, _join(pointers, np.int64), target)
    return arrays, _join(weights, np.float64), tuple(orders)


# ---- plasticity


def _plastic(instance: NetworkInstance, order: tuple[np.ndarray | None, ...]) -> PlasticityArrays:
    """Plastic projections and their synapses by target; the traces are those of a state."""
    numbers = {p.name: q for q, p in enumerate(instance.populations)}
    begins = _starts([c.target for c in instance.connections])
    plastic = [k for k, c in enumerate(instance.connections) if c.projection.plasticity is not None]
    rules, shortest = np.zeros(len(plastic), RULE), instance.shortest_delay()
    incoming = [_incoming(instance.connections[k], begins[k], order[k]) for k in plastic]
    into, entry, sources, delays = ([table[k] for table in incoming] for k in range(4))
    before = after = 0
    first = list(zip(_starts(into), _starts(entry), strict=True))
    for record, k, (of_into, of_entry), pointers in zip(rules, plastic, first, into, strict=True):
        c = instance.connections[k]
        rule, source, target = c.projection.plasticity, c.projection.source, c.projection.target
        assert rule is not None
        record["source"], record["source_start"], record["n_sources"] = numbers[source.name], source.start, source.size
        record["target"], record["target_start"], record["n_targets"] = numbers[target.name], target.start, target.size
        for name in ("rise", "fall", "low", "high", "multiplicative"):
            record[name] = getattr(rule, name)
        record["keep_before"], record["keep_after"] = (
            np.exp(-instance.dt / rule.tau_rise),
            np.exp(-instance.dt / rule.tau_fall),
        )
        record["ring"], record["before"], record["after"] = c.ring(shortest), before, after
        record["into"] = of_into
        pointers += of_entry
        before, after = before + record["ring"] * source.size, after + target.size
    joined = (_join(part, np.int64) for part in (into, entry, sources, delays))
    return PlasticityArrays(rules, *joined, before=np.zeros(0), after=np.zeros(0))


def _incoming(
    c: Connections, begin: int, order: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Incoming synapses of each target: first and last of them, their place in memory, source and delay."""
    n, target = len(c.target), c.projection.target
    of_source = np.repeat(np.arange(c.projection.source.size), np.diff(c.row_pointer))
    place = np.arange(n) if order is None else np.argsort(order)  # in memory, of each synapse as drawn
    by_target = np.argsort(c.target, kind="stable")
    into = np.concatenate([[0], np.cumsum(np.bincount(c.target - np.uint32(target.start), minlength=target.size))])
    return into, begin + place[by_target], of_source[by_target], np.broadcast_to(c.delay, (n,))[by_target]
