"""A run of a network: the compiled loop in chunks; its random numbers and plastic weights; its spikes as events."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from neurosparse.events import EventTensor, Timing
from neurosparse.events.timing import start_of_step
from neurosparse.kernels.network.draw import stream_key
from neurosparse.kernels.network.plasticity import PlasticityArrays
from neurosparse.kernels.network.run import NeuronArrays, SpikeRecord, run
from neurosparse.simulate.instance import NetworkInstance
from neurosparse.simulate.layout import NetworkLayout, aligned
from neurosparse.simulate.state import State

__all__ = ["advance"]

CHUNK = 10_000  # steps between returns from the compiled loop
CAPACITY = 1 << 18  # spikes, at least, that a thread can record between returns


def advance(
    instance: NetworkInstance, layout: NetworkLayout, state: State, steps: int, time: Fraction
) -> tuple[dict[str, EventTensor], State]:
    """The spikes of ``steps`` steps from a state, by population, and the state after them, at ``time``."""
    neurons, plastic = _with_keys(instance, layout, state.seed), _with_traces(layout, state)
    weights, values = _weights(instance, layout, state), aligned(state.values)
    loop = run if len(layout.bounds) > 2 else run.compiled(False)  # one part: no threads, whatever torch may use
    now, past, end = state.now, layout.past, state.now + steps
    recent, found = (state.step, state.neuron), [(state.step[:0], state.neuron[:0])]
    while now < end:
        span = min(CHUNK, end - now)
        record = _record(layout, recent[0] - now + past, recent[1], span)
        done = loop(
            now, past, span, layout.shortest, layout.bounds, neurons, layout.synapses, plastic, weights, values, record
        )
        found.append(_spikes(record, past, done, now))
        now += done
        recent = _join([_since(now - past, *recent), _since(now - past, *found[-1])])
    step, neuron = found[1] if len(found) == 2 else _join(found)
    learned, traces = _learned(instance, layout, state, plastic, weights)
    kept = {"step": recent[0], "neuron": recent[1]}
    after = replace(state, now=now, time=time, values=values, **kept, weights=learned, traces=traces)
    return _events(instance, step - state.now, neuron, state.now, steps), after


# ---- recorded spikes

Spikes = tuple[np.ndarray, np.ndarray]  # step and neuron of each, by step, then neuron


def _join(parts: list[Spikes]) -> Spikes:
    return np.concatenate([step for step, _ in parts]), np.concatenate([neuron for _, neuron in parts])


def _since(first: int, step: np.ndarray, neuron: np.ndarray) -> Spikes:
    begin = np.searchsorted(step, first)
    return step[begin:], neuron[begin:]


def _record(layout: NetworkLayout, row: np.ndarray, neuron: np.ndarray, span: int) -> SpikeRecord:
    """An array for the spikes of a chunk, which begins with the past spikes that are still needed."""
    sizes, past, n_populations = np.diff(layout.bounds), layout.past, len(layout.neurons.populations)
    capacity = len(neuron) + max(CAPACITY, 2 * layout.shortest * int(sizes.max()))
    first = np.empty((len(sizes), past + span, n_populations + 1), dtype=np.int64)
    spikes = np.empty((len(sizes), capacity), dtype=np.int32)
    first[:, :past] = 0
    if len(neuron) == 0:
        return SpikeRecord(spikes, first)
    population = np.searchsorted(layout.neurons.populations["start"], neuron, side="right") - 1
    cell = row * n_populations + population
    for p, (low, high) in enumerate(zip(layout.bounds[:-1], layout.bounds[1:], strict=True)):
        mine = (neuron >= low) & (neuron < high)
        spikes[p, : mine.sum()] = neuron[mine]
        ends = np.bincount(cell[mine], minlength=past * n_populations).cumsum().reshape(past, n_populations)
        first[p, :past, 1:] = ends
        first[p, 1:past, 0] = ends[:-1, -1]
    return SpikeRecord(spikes, first)


def _spikes(record: SpikeRecord, past: int, done: int, now: int) -> Spikes:
    """Step and neuron of every spike in the rows of a chunk, which begins with step ``now``."""
    if (record.first[:, past + done - 1, -1] == record.first[:, past, 0]).all():
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    parts = []
    for spikes, first in zip(record.spikes, record.first[:, past : past + done], strict=True):
        step = np.repeat(np.arange(now, now + done), first[:, -1] - first[:, 0])
        parts.append((step, spikes[first[0, 0] : first[-1, -1]].copy()))
    if len(parts) == 1:
        return parts[0]
    step, neuron = _join(parts)
    order = np.argsort(step, kind="stable")  # parts ascend, so neurons stay ascending
    return step[order], neuron[order]


def _events(
    instance: NetworkInstance, step: np.ndarray, neuron: np.ndarray, now: int, steps: int
) -> dict[str, EventTensor]:
    timing = Timing("time", instance.dt, start_of_step(now, instance.dt, 0.0))
    found = {}
    for p in instance.populations:
        mine = slice(None) if len(instance.populations) == 1 else (neuron >= p.start) & (neuron < p.start + p.size)
        row, index = torch.from_numpy(step[mine]), torch.from_numpy(neuron[mine] - np.int32(p.start))
        found[p.name] = EventTensor((steps, 1, p.size), timing, torch.float32, binary=True, row=row, index=index)
    return found


# ---- what a run adds to the layout


def _with_keys(instance: NetworkInstance, layout: NetworkLayout, seed: int) -> NeuronArrays:
    """The neurons with the keys of their random numbers."""
    populations, drives = layout.neurons.populations.copy(), layout.neurons.drives.copy()
    populations["key"] = [stream_key(seed, f"population {p.name}") for p in instance.populations]
    drives["key"] = [stream_key(seed, f"drive {d.name}") for d in instance.drives]
    return layout.neurons._replace(populations=populations, drives=drives)


def _with_traces(layout: NetworkLayout, state: State) -> PlasticityArrays:
    """The plastic projections with the traces of a state."""
    before, after = (
        np.concatenate([np.zeros(0), *(pair[k].ravel() for pair in state.traces.values())]) for k in (0, 1)
    )
    return layout.plastic._replace(before=before, after=after)


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
    for c, projection, order in zip(instance.connections, layout.synapses.projections, layout.order, strict=True):
        if projection["plastic"] >= 0:
            yield c.projection.name, at + projection["shift"], order
        at += len(c.target)


def _learned(
    instance: NetworkInstance, layout: NetworkLayout, state: State, plastic: PlasticityArrays, weights: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Weights, in the order in which they were drawn, and traces of plastic projections after the loop."""
    found, traces = {}, {}
    for rule, (name, start, order) in zip(plastic.rules, _plastic_places(instance, layout), strict=True):
        new = weights[start : start + len(state.weights[name])].copy()
        if order is not None:
            new[order] = new.copy()
        found[name] = new
        before, after = state.traces[name]
        a, b = rule["before"], rule["after"]
        kept = plastic.before[a : a + before.size].reshape(before.shape).copy()
        traces[name] = kept, plastic.after[b : b + after.size].copy()
    return found, traces
