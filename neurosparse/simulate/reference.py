"""The law of a network: plain numpy, synapse by synapse, step by step. The compiled loop equals it, spike for spike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.events import EventTensor
from neurosparse.kernels.network.draw import BLOCK, arrivals_law, stream_key
from neurosparse.kernels.network.neurons import LAWS
from neurosparse.simulate.drawn import ROWS, Connections, Drawn
from neurosparse.simulate.neurons import Neuron, Source
from neurosparse.simulate.parts import Population
from neurosparse.simulate.state import held_steps

__all__ = ["Outcome", "run_reference"]


class Outcome(NamedTuple):
    """Neurons that fired in each step, the state at the end, weights of plastic projections by name."""

    fired: list[np.ndarray]
    values: np.ndarray
    weights: dict[str, np.ndarray]


class _Traces:
    """A plastic projection, a weight and two traces per synapse: what passed on either side before this step."""

    def __init__(self, c: Connections, dt: float):
        rule = c.projection.plasticity
        assert rule is not None
        self.rule, self.keep = rule, (np.exp(-dt / rule.tau_rise), np.exp(-dt / rule.tau_fall))
        self.weight = np.broadcast_to(c.weight, c.target.shape).copy()
        self.before, self.after = np.zeros(len(c.target)), np.zeros(len(c.target))

    def arrive(self, synapses: np.ndarray) -> None:
        rule, w = self.rule, self.weight[synapses]
        scale = w - rule.low if rule.scaled else 1.0
        self.weight[synapses] = np.maximum(w - rule.fall * scale * self.after[synapses], rule.low)

    def fire(self, synapses: np.ndarray) -> None:
        rule, w = self.rule, self.weight[synapses]
        scale = rule.high - w if rule.scaled else 1.0
        self.weight[synapses] = np.minimum(w + rule.rise * scale * self.before[synapses], rule.high)

    def age(self, arrived: np.ndarray, fired: np.ndarray) -> None:
        self.before = self.keep[0] * self.before
        self.before[arrived] += self.keep[0]
        self.after = self.keep[1] * self.after
        self.after[fired] += self.keep[1]


def run_reference(drawn: Drawn, steps: int, seed: int = 0) -> Outcome:
    """The first ``steps`` of a drawn network."""
    values, fired = drawn.values.copy(), []
    sources = [np.repeat(np.arange(c.projection.source.size), np.diff(c.row_pointer)) for c in drawn.connections]
    traces = [None if c.projection.plasticity is None else _Traces(c, drawn.dt) for c in drawn.connections]
    for now in range(steps):
        mask = np.zeros(values.shape[1], dtype=bool)
        for q, p in enumerate(drawn.populations):
            mask[p.start : p.start + p.size] = _step(drawn, q, p, now, seed, values)
        fired.append(np.flatnonzero(mask))
        for c, source, trace in zip(drawn.connections, sources, traces, strict=True):
            _arrive(c, source, trace, fired, values)
        for k, drive in enumerate(drawn.drives):
            key = int(stream_key(seed, len(drawn.populations) + k))
            counts = _arrivals(key, now, drive.target.size, drive.source.mean(drawn.dt))
            for j in np.repeat(np.arange(drive.target.size), counts):
                values[ROWS[drive.receptor], drive.target.start + j] += drive.weight
        for p in drawn.populations:
            if isinstance(p.model, Neuron):
                _reset(drawn.dt, p, p.model, fired, values)
    weights = {c.projection.name: t.weight for c, t in zip(drawn.connections, traces, strict=True) if t is not None}
    return Outcome(fired, values, weights)


def _arrivals(key: int, now: int, size: int, mean: np.ndarray) -> np.ndarray:
    mean = np.broadcast_to(mean, (size,))
    blocks = [arrivals_law(key, now, k, mean[low : low + BLOCK]) for k, low in enumerate(range(0, size, BLOCK))]
    return np.concatenate(blocks)


def _step(drawn: Drawn, q: int, p: Population, now: int, seed: int, values: np.ndarray) -> np.ndarray:
    """Who fires."""
    if isinstance(p.model, EventTensor):
        return p.model.dense()[now, 0].flatten().numpy() > 0 if now < p.model.shape[0] else np.zeros(p.size, dtype=bool)
    if isinstance(p.model, Source):
        hazard = -np.log1p(-p.model.mean(drawn.dt))
        return _arrivals(int(stream_key(seed, q)), now, p.size, hazard) > 0
    v, e, i = values[:, p.start : p.start + p.size]
    coefficients = p.model.coefficients(drawn.dt)
    LAWS[p.model.model](v, e, i, p.model.push(drawn.dt), coefficients)
    above = v > coefficients[0]
    v[above] = -np.inf
    return above


def _reset(dt: float, p: Population, model: Neuron, fired: list[np.ndarray], values: np.ndarray) -> None:
    """Those that have been held long enough start from reset."""
    held = held_steps(model.refractory, dt)
    if held < len(fired):
        neurons = fired[-1 - held]
        neurons = neurons[(neurons >= p.start) & (neurons < p.start + p.size)]
        values[0, neurons] = model.parameters["reset"] - model.parameters["rest"]


def _arrive(
    c: Connections, source: np.ndarray, trace: _Traces | None, fired: list[np.ndarray], values: np.ndarray
) -> None:
    """What was sent ``delay`` steps ago is added, the oldest first, sources and then targets ascending."""
    row, delay = values[ROWS[c.receptor]], np.broadcast_to(c.delay, c.target.shape)
    start, arrived = c.projection.source.start, []
    for late in sorted(set(delay.tolist()), reverse=True):
        if late < len(fired):
            sent = np.isin(source + start, fired[-1 - late]) & (delay == late)
            arrived.append(np.flatnonzero(sent))
    synapses = np.concatenate([np.zeros(0, dtype=np.int64), *arrived])
    weight = np.broadcast_to(c.weight, c.target.shape) if trace is None else trace.weight
    for j in synapses:
        row[c.target[j]] += weight[j]
    if trace is not None:
        trace.arrive(synapses)
        reached = np.flatnonzero(np.isin(c.target, fired[-1]))
        trace.fire(reached)
        trace.age(synapses, reached)
