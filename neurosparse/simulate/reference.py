"""Reference of a network run: plain NumPy, synapse by synapse; the compiled loop gives the same spikes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.events import EventTensor
from neurosparse.kernels.network.draw import BLOCK, arrivals_reference, stream_key
from neurosparse.kernels.network.neurons import REFERENCES
from neurosparse.simulate.instance import ROWS, Connections, NetworkInstance, Population
from neurosparse.simulate.neurons import Neuron, PoissonSource

__all__ = ["ReferenceRun", "run_reference"]


class ReferenceRun(NamedTuple):
    """Neurons that fired in each step, the values at the end, weights of plastic projections by name."""

    fired: list[np.ndarray]
    values: np.ndarray
    weights: dict[str, np.ndarray]


class _Traces:
    """A plastic projection: a weight and two traces per synapse, of the spikes on either side before this step."""

    def __init__(self, c: Connections, dt: float):
        rule = c.projection.plasticity
        assert rule is not None
        self.rule, self.keep = rule, (np.exp(-dt / rule.tau_rise), np.exp(-dt / rule.tau_fall))
        self.weight = np.broadcast_to(c.weight, c.target.shape).copy()
        self.before, self.after = np.zeros(len(c.target)), np.zeros(len(c.target))

    def depress(self, synapses: np.ndarray) -> None:
        """Arrivals at these synapses."""
        rule, w = self.rule, self.weight[synapses]
        scale = w - rule.low if rule.multiplicative else 1.0
        self.weight[synapses] = np.maximum(w - rule.fall * scale * self.after[synapses], rule.low)

    def potentiate(self, synapses: np.ndarray) -> None:
        """Spikes of the targets of these synapses."""
        rule, w = self.rule, self.weight[synapses]
        scale = rule.high - w if rule.multiplicative else 1.0
        self.weight[synapses] = np.minimum(w + rule.rise * scale * self.before[synapses], rule.high)

    def decay(self, arrived: np.ndarray, fired: np.ndarray) -> None:
        """The traces one step later, with the spikes of this step."""
        self.before = self.keep[0] * self.before
        self.before[arrived] += self.keep[0]
        self.after = self.keep[1] * self.after
        self.after[fired] += self.keep[1]


def run_reference(instance: NetworkInstance, steps: int, seed: int = 0) -> ReferenceRun:
    """The first ``steps`` steps of a network."""
    values, fired = instance.values.copy(), []
    sources = [np.repeat(np.arange(c.projection.source.size), np.diff(c.row_pointer)) for c in instance.connections]
    traces = [None if c.projection.plasticity is None else _Traces(c, instance.dt) for c in instance.connections]
    for now in range(steps):
        mask = np.zeros(values.shape[1], dtype=bool)
        for p in instance.populations:
            mask[p.start : p.start + p.size] = _fire(instance.dt, p, now, seed, values)
        fired.append(np.flatnonzero(mask))
        for c, source, trace in zip(instance.connections, sources, traces, strict=True):
            _arrive(c, source, trace, fired, values)
        for drive in instance.drives:
            counts = _arrivals(
                int(stream_key(seed, f"drive {drive.name}")), now, drive.target.size, drive.source.mean(instance.dt)
            )
            for j in np.repeat(np.arange(drive.target.size), counts):
                values[ROWS[drive.receptor], drive.target.start + j] += drive.weight
        for p in instance.populations:
            if isinstance(p.model, Neuron):
                _reset(p, p.model.held_steps(instance.dt, instance.grid), fired, values)
    weights = {c.projection.name: t.weight for c, t in zip(instance.connections, traces, strict=True) if t is not None}
    return ReferenceRun(fired, values, weights)


def _arrivals(key: int, now: int, size: int, mean: np.ndarray) -> np.ndarray:
    mean = np.broadcast_to(mean, (size,))
    blocks = [arrivals_reference(key, now, k, mean[low : low + BLOCK]) for k, low in enumerate(range(0, size, BLOCK))]
    return np.concatenate(blocks)


def _fire(dt: float, p: Population, now: int, seed: int, values: np.ndarray) -> np.ndarray:
    """Step the neurons of a population; True for those that fire."""
    if isinstance(p.model, EventTensor):
        row = now - p.first_step
        recorded = 0 <= row < p.model.shape[0]
        return p.model.dense()[row, 0].flatten().numpy() > 0 if recorded else np.zeros(p.size, dtype=bool)
    if isinstance(p.model, PoissonSource):
        hazard = -np.log1p(-p.model.mean(dt))
        return _arrivals(int(stream_key(seed, f"population {p.name}")), now, p.size, hazard) > 0
    v, e, i = values[:, p.start : p.start + p.size]
    coefficients = p.model.coefficients(dt)
    REFERENCES[p.model.model](v, e, i, p.model.bias_increment(dt), coefficients)
    above = v > coefficients[0]
    v[above] = -np.inf
    return above


def _reset(p: Population, held: int, fired: list[np.ndarray], values: np.ndarray) -> None:
    """Neurons that have been held for ``held`` steps start from the reset."""
    assert isinstance(p.model, Neuron)
    if held < len(fired):
        neurons = fired[-1 - held]
        neurons = neurons[(neurons >= p.start) & (neurons < p.start + p.size)]
        values[0, neurons] = p.model.parameters["reset"] - p.model.parameters["rest"]


def _arrive(
    c: Connections, source: np.ndarray, trace: _Traces | None, fired: list[np.ndarray], values: np.ndarray
) -> None:
    """Add the weights of spikes sent ``delay`` steps ago: the oldest spikes first, sources, then targets ascending."""
    row, delay = values[ROWS[c.receptor]], np.broadcast_to(c.delay, c.target.shape)
    start, arrived = c.projection.source.start, []
    for steps in sorted(set(delay.tolist()), reverse=True):
        if steps < len(fired):
            sent = np.isin(source + start, fired[-1 - steps]) & (delay == steps)
            arrived.append(np.flatnonzero(sent))
    synapses = np.concatenate([np.zeros(0, dtype=np.int64), *arrived])
    weight = np.broadcast_to(c.weight, c.target.shape) if trace is None else trace.weight
    for j in synapses:
        row[c.target[j]] += weight[j]
    if trace is not None:
        trace.depress(synapses)
        fired_targets = np.flatnonzero(np.isin(c.target, fired[-1]))
        trace.potentiate(fired_targets)
        trace.decay(synapses, fired_targets)
