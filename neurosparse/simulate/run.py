"""A run of a network: the compiled loop in chunks; its inputs and plastic weights; its spikes as events."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from neurosparse.events import EventTensor, Timing
from neurosparse.events.timing import start_of_step
from neurosparse.kernels.network.draw import stream_key
from neurosparse.kernels.network.plasticity import PlasticityArrays
from neurosparse.kernels.network.run import InputArrays, SpikeRecord, run
from neurosparse.simulate.instance import ROWS, Connections, NetworkInstance, per_neuron
from neurosparse.simulate.layout import NetworkLayout
from neurosparse.simulate.state import State

__all__ = ["advance"]

CHUNK = 10_000  # steps between returns from the compiled loop
CAPACITY = 1 << 18  # spikes, at least, that a thread can record between returns


def advance(
    instance: NetworkInstance, layout: NetworkLayout, state: State, steps: int, time: Fraction
) -> tuple[dict[str, EventTensor], State]:
    """The spikes of ``steps`` steps from a state, by population, and the state after them, at ``time``."""
    past, plastic = instance.history(), _plastic_arrays(instance, layout, state)
    weights = _weights(instance, layout, state)
    values, inputs = state.values.copy(), _input_arrays(instance, state.seed)
    sizes = np.diff(layout.bounds)
    recent_step, recent_neuron = state.step, state.neuron
    found: list[tuple[np.ndarray, np.ndarray]] = []
    now = state.now
    while now < state.now + steps:
        span = min(CHUNK, state.now + steps - now)
        record = _record(layout, recent_step - now + past, recent_neuron, past, span, sizes)
        done = run(
            now, past, span, layout.shortest, sizes, layout.neurons, layout.blocks, layout.synapses, inputs, plastic,
            weights, values, layout.constant, record,
        )  # fmt: skip
        step, neuron = _spikes(record, past + done)
        now += done
        found.append((step[step >= past] + now - done - past, neuron[step >= past]))
        recent_step, recent_neuron = step + now - done - past, neuron
        kept = recent_step >= now - past
        recent_step, recent_neuron = recent_step[kept], recent_neuron[kept]
    none = np.zeros(0, dtype=np.int64)
    step = np.concatenate([none, *(part[0] for part in found)])
    neuron = np.concatenate([none.astype(np.int32), *(part[1] for part in found)])
    learned, traces = _learned(instance, layout, state, plastic, weights)
    recent = {"step": recent_step, "neuron": recent_neuron}
    after = replace(state, now=now, time=time, values=values, **recent, weights=learned, traces=traces)
    return _events(instance, step - state.now, neuron, state.now, steps), after


# ---- recorded spikes


def _record(
    layout: NetworkLayout, step: np.ndarray, neuron: np.ndarray, past: int, span: int, sizes: np.ndarray
) -> SpikeRecord:
    """An array for the spikes of a chunk, which begins with the past spikes that are still needed."""
    n_populations, n_parts = len(layout.neurons.model), len(sizes)
    capacity = len(neuron) + max(CAPACITY, 2 * layout.shortest * int(sizes.max()))
    first = np.zeros((n_parts, past + span, n_populations + 1), dtype=np.int64)
    spikes = np.empty((n_parts, capacity), dtype=np.int32)
    population = np.searchsorted(layout.neurons.start, neuron, side="right") - 1
    cell = step * n_populations + population
    for p in range(n_parts):
        mine = (neuron >= layout.bounds[p]) & (neuron < layout.bounds[p + 1])
        spikes[p, : mine.sum()] = neuron[mine]
        ends = np.bincount(cell[mine], minlength=past * n_populations).cumsum().reshape(past, n_populations)
        first[p, :past, 1:] = ends
        first[p, 1:past, 0] = ends[:-1, -1]
    return SpikeRecord(spikes, first)


def _spikes(record: SpikeRecord, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and neuron of every spike, sorted by row, then neuron."""
    steps, neurons = [], []
    for spikes, first in zip(record.spikes, record.first[:, :rows], strict=True):
        steps.append(np.repeat(np.arange(rows), first[:, -1] - first[:, 0]))
        neurons.append(spikes[: first[-1, -1]])
    step, neuron = np.concatenate(steps), np.concatenate(neurons)
    if len(steps) > 1:  # parts ascend, so a stable sort by step leaves neurons ascending
        order = np.argsort(step, kind="stable")
        step, neuron = step[order], neuron[order]
    return step, neuron.copy()


def _events(instance: NetworkInstance, step: np.ndarray, neuron: np.ndarray, now: int, steps: int):
    timing = Timing("time", instance.dt, start_of_step(now, instance.dt, 0.0))
    found = {}
    for p in instance.populations:
        mine = slice(None) if len(instance.populations) == 1 else (neuron >= p.start) & (neuron < p.start + p.size)
        row, index = torch.from_numpy(step[mine]), torch.from_numpy(neuron[mine] - np.int32(p.start))
        found[p.name] = EventTensor((steps, 1, p.size), timing, torch.float32, binary=True, row=row, index=index)
    return found


# ---- inputs


def _input_arrays(instance: NetworkInstance, seed: int) -> InputArrays:
    """Keys of the streams of random numbers, recorded spikes, and drives."""
    numbers = {p.name: q for q, p in enumerate(instance.populations)}
    n = len(numbers)
    keys = np.array([stream_key(seed, f"population {name}") for name in numbers], dtype=np.uint64)
    start, base, steps = (np.zeros(n, dtype=np.int64) for _ in range(3))
    pointers, indices, at, n_events = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int32)], 0, 0
    for q, p in enumerate(instance.populations):
        if isinstance(p.model, EventTensor):
            start[q], base[q], steps[q] = p.first_step, at, p.model.shape[0]
            pointers.append(p.model.row_ptr.cpu().numpy().astype(np.int64) + n_events)
            indices.append(p.model.index.cpu().numpy().astype(np.int32))
            at, n_events = at + len(pointers[-1]), n_events + len(indices[-1])
    drives = instance.drives
    means = [per_neuron("Network.drive", "rate", d.source.mean(instance.dt), d.target.size) for d in drives]
    return InputArrays(
        keys,
        start,
        base,
        steps,
        np.concatenate(pointers),
        np.concatenate(indices),
        np.array([numbers[d.target.name] for d in drives], dtype=np.int64),
        np.array([ROWS[d.receptor] for d in drives], dtype=np.int64),
        np.array([d.weight for d in drives], dtype=np.float64),
        np.array([stream_key(seed, f"drive {d.name}") for d in drives], dtype=np.uint64),
        np.cumsum([0, *(len(mean) for mean in means)])[:-1].astype(np.int64),
        np.concatenate([np.zeros(0), *means]),
    )


# ---- plasticity


def _plastic_arrays(instance: NetworkInstance, layout: NetworkLayout, state: State) -> PlasticityArrays:
    """Plastic projections, with the traces of a state."""
    connections = instance.connections
    begins = np.cumsum([0, *(len(c.target) for c in connections)])[:-1]
    tables = [
        _plastic_row(instance, state.traces[c.projection.name], c, int(begin), order, layout.bounds)
        for c, begin, order in zip(connections, begins, layout.order, strict=True)
        if c.projection.plasticity is not None
    ]
    scalars = [[table[k] for table in tables] for k in range(13)]
    own = np.array([table[13] for table in tables], dtype=np.int64).reshape(len(tables), len(layout.bounds) - 1, 4)
    arrays = [[table[k] for table in tables] for k in range(14, 20)]
    before, after, into, entry, sources, delays = arrays
    kinds = [np.int64] * 4 + [np.float64] * 6 + [np.int64] * 3
    offsets = [np.cumsum([0, *map(len, parts)])[:-1].astype(np.int64) for parts in (before, after, into)]
    starts = np.cumsum([0, *map(len, entry)])[:-1]
    into = [part + start for part, start in zip(into, starts, strict=True)]
    floats, integers = np.zeros(0), np.zeros(0, dtype=np.int64)
    joined = [np.concatenate([floats, *part]) for part in (before, after)]
    joined += [np.concatenate([integers, *part]) for part in (into, entry, sources, delays)]
    columns = [np.array(column, dtype=kind) for column, kind in zip(scalars, kinds, strict=True)]
    return PlasticityArrays(*columns, own, *offsets, *joined)  # pyright: ignore[reportCallIssue]


def _plastic_row(
    instance: NetworkInstance,
    traces: tuple[np.ndarray, np.ndarray],
    c: Connections,
    begin: int,
    order: np.ndarray | None,
    bounds: np.ndarray,
) -> tuple:
    """The entries of one projection, in the order of the fields of `PlasticityArrays` but for the offsets."""
    rule, source, target = c.projection.plasticity, c.projection.source, c.projection.target
    assert rule is not None
    dt, numbers = instance.dt, {p.name: q for q, p in enumerate(instance.populations)}
    keep = np.exp(-dt / rule.tau_rise), np.exp(-dt / rule.tau_fall)
    before, after = traces
    own = np.stack([np.clip(edge - p.start, 0, p.size) for p in (source, target) for edge in (bounds[:-1], bounds[1:])])
    n = len(c.target)
    of_source = np.repeat(np.arange(source.size), np.diff(c.row_pointer))
    delay = np.broadcast_to(c.delay, (n,))
    place = np.arange(n) if order is None else np.argsort(order)  # in memory, of each synapse as drawn
    by_target = np.argsort(c.target, kind="stable")
    into = np.concatenate([[0], np.cumsum(np.bincount(c.target - np.uint32(target.start), minlength=target.size))])
    return (
        *(numbers[source.name], numbers[target.name], source.start, target.start),
        *(rule.rise, rule.fall, *keep, rule.low, rule.high),
        *(int(rule.multiplicative), source.size, len(before)),
        own.T,
        *(before.ravel(), after, into, begin + place[by_target], of_source[by_target], delay[by_target]),
    )


def _weights(instance: NetworkInstance, layout: NetworkLayout, state: State) -> np.ndarray:
    """Weights of all synapses with a weight of their own; those of plastic projections from the state."""
    if not state.weights:
        return layout.weights
    weights = layout.weights.copy()
    for name, start, order in _plastic_places(instance, layout):
        own = state.weights[name]
        weights[start : start + len(own)] = own if order is None else own[order]
    return weights


def _plastic_places(instance: NetworkInstance, layout: NetworkLayout):
    """Name, first weight and order of each plastic projection."""
    at = 0
    for k, c in enumerate(instance.connections):
        if layout.synapses.plastic[k] >= 0:
            yield c.projection.name, at + layout.synapses.shift[k], layout.order[k]
        at += len(c.target)


def _learned(
    instance: NetworkInstance, layout: NetworkLayout, state: State, plastic: PlasticityArrays, weights: np.ndarray
):
    """Weights, in the order in which they were drawn, and traces of plastic projections after the loop."""
    found, traces = {}, {}
    for m, (name, start, order) in enumerate(_plastic_places(instance, layout)):
        new = weights[start : start + len(state.weights[name])].copy()
        if order is not None:
            new[order] = new.copy()
        found[name] = new
        before, after = state.traces[name]
        a, b = plastic.before_base[m], plastic.after_base[m]
        kept = plastic.before[a : a + before.size].reshape(before.shape).copy()
        traces[name] = kept, plastic.after[b : b + after.size].copy()
    return found, traces
