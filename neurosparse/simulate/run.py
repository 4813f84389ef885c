"""Running a network: the compiled loop in chunks, its spikes as events, its state carried on."""

from __future__ import annotations

import numpy as np
import torch

from neurosparse.events import EventTensor, Timing
from neurosparse.events.timing import start_of_step
from neurosparse.kernels.network.plasticity import Plastic
from neurosparse.kernels.network.run import Record, run
from neurosparse.simulate.drawn import Drawn
from neurosparse.simulate.feeds import noise, plastic
from neurosparse.simulate.layout import Plan
from neurosparse.simulate.state import State, history

__all__ = ["advance"]

CHUNK = 10_000  # steps between returns from the compiled loop
ROOM = 1 << 18  # spikes, at least, that a thread can write between returns


def advance(plan: Plan, state: State, steps: int, seed: int) -> tuple[dict[str, EventTensor], State]:
    """Spikes of so many steps from a state on, by population, and the state after them."""
    drawn, past = state.drawn, history(state.drawn)
    changing, weights = plastic(drawn, state, plan.bounds, plan.order), _weights(plan, state)
    values, source = state.values.copy(), noise(drawn, seed)
    owned = np.diff(plan.bounds)
    recent_step, recent_neuron = state.step, state.neuron
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    now = state.now
    while now < state.now + steps:
        span = min(CHUNK, state.now + steps - now)
        record = _record(plan, recent_step - now + past, recent_neuron, past, span, owned)
        done = run(
            now, past, span, plan.shortest, owned, plan.neurons, plan.parts, plan.synapses, source, changing, weights,
            values, plan.constant, record,
        )  # fmt: skip
        step, neuron = _spikes(record, past + done)
        now += done
        parts.append((step[step >= past] + now - done - past, neuron[step >= past]))
        recent_step, recent_neuron = step + now - done - past, neuron
        kept = recent_step >= now - past
        recent_step, recent_neuron = recent_step[kept], recent_neuron[kept]
    none = np.zeros(0, dtype=np.int64)
    step = np.concatenate([none, *(part[0] for part in parts)])
    neuron = np.concatenate([none.astype(np.int32), *(part[1] for part in parts)])
    after = State(drawn, now, values, recent_step, recent_neuron, *_learned(plan, state, changing, weights))
    return _events(drawn, step - state.now, neuron, state.now, steps), after


def _record(plan: Plan, step: np.ndarray, neuron: np.ndarray, past: int, span: int, owned: np.ndarray) -> Record:
    """Room for the spikes of a chunk, after those that still matter."""
    n_populations, n_parts = len(plan.neurons.model), len(owned)
    room = len(neuron) + max(ROOM, 2 * plan.shortest * int(owned.max()))
    first = np.zeros((n_parts, past + span, n_populations + 1), dtype=np.int64)
    spikes = np.empty((n_parts, room), dtype=np.int32)
    population = np.searchsorted(plan.neurons.start, neuron, side="right") - 1
    cell = step * n_populations + population
    for p in range(n_parts):
        mine = (neuron >= plan.bounds[p]) & (neuron < plan.bounds[p + 1])
        spikes[p, : mine.sum()] = neuron[mine]
        ends = np.bincount(cell[mine], minlength=past * n_populations).cumsum().reshape(past, n_populations)
        first[p, :past, 1:] = ends
        first[p, 1:past, 0] = ends[:-1, -1]
    return Record(spikes, first)


def _spikes(record: Record, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and neuron of every spike, in the order of both."""
    steps, neurons = [], []
    for spikes, first in zip(record.spikes, record.first[:, :rows], strict=True):
        steps.append(np.repeat(np.arange(rows), first[:, -1] - first[:, 0]))
        neurons.append(spikes[: first[-1, -1]])
    step, neuron = np.concatenate(steps), np.concatenate(neurons)
    if len(steps) > 1:  # parts ascend, so a stable sort by step leaves neurons ascending
        order = np.argsort(step, kind="stable")
        step, neuron = step[order], neuron[order]
    return step, neuron.copy()


def _weights(plan: Plan, state: State) -> np.ndarray:
    """Weights of all synapses that have one each, those of plastic ones from the state."""
    if not state.weights:
        return plan.weights
    weights = plan.weights.copy()
    for name, start, order in _plastic_places(plan, state):
        own = state.weights[name]
        weights[start : start + len(own)] = own if order is None else own[order]
    return weights


def _plastic_places(plan: Plan, state: State):
    """Name, first weight and order of each plastic projection."""
    at = 0
    for k, c in enumerate(state.drawn.connections):
        if plan.synapses.plastic[k] >= 0:
            yield c.projection.name, at + plan.synapses.shift[k], plan.order[k]
        at += len(c.target)


def _learned(plan: Plan, state: State, changing: Plastic, weights: np.ndarray):
    """Weights and traces of plastic projections as the loop left them, in the order they were drawn."""
    found, traces = {}, {}
    for m, (name, start, order) in enumerate(_plastic_places(plan, state)):
        new = weights[start : start + len(state.weights[name])].copy()
        if order is not None:
            new[order] = new.copy()
        found[name] = new
        before, after = state.traces[name]
        a, b = changing.before_base[m], changing.after_base[m]
        kept = changing.before[a : a + before.size].reshape(before.shape).copy()
        traces[name] = kept, changing.after[b : b + after.size].copy()
    return found, traces


def _events(drawn: Drawn, step: np.ndarray, neuron: np.ndarray, now: int, steps: int) -> dict[str, EventTensor]:
    timing = Timing("time", drawn.dt, start_of_step(now, drawn.dt, 0.0))
    found = {}
    for p in drawn.populations:
        mine = slice(None) if len(drawn.populations) == 1 else (neuron >= p.start) & (neuron < p.start + p.size)
        row, index = torch.from_numpy(step[mine]), torch.from_numpy(neuron[mine] - np.int32(p.start))
        found[p.name] = EventTensor((steps, 1, p.size), timing, torch.float32, binary=True, row=row, index=index)
    return found
