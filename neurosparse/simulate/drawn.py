"""A network drawn from its seed: every synapse, every first value; no thread, no order in memory plays a part."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from neurosparse.errors import InputError
from neurosparse.simulate.neurons import Neuron
from neurosparse.simulate.parts import Drive, Population, Projection, Synapses
from neurosparse.simulate.values import draw

__all__ = ["Connections", "Drawn", "draw_network", "per_neuron"]

ROWS = {"membrane": 0, "excitatory": 1, "inhibitory": 2}  # of the state
LONGEST = 1 << 20  # steps


class Connections(NamedTuple):
    """A projection's synapses by source; targets are numbers in the network. Weight and delay are one, or one each."""

    projection: Projection
    row_pointer: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    delay: np.ndarray
    receptor: str

    def synapses(self, dt: float) -> Synapses:
        """Every synapse written out."""
        source, n = np.repeat(np.arange(self.projection.source.size), np.diff(self.row_pointer)), len(self.target)
        target = self.target.astype(np.int64) - self.projection.target.start
        each = [np.broadcast_to(part, (n,)).copy() for part in (self.weight, self.delay * dt)]
        return Synapses(*map(torch.from_numpy, (source, target, *each)))


class Drawn(NamedTuple):
    """Populations, connections as they were asked for, drives, all targets in one array, the state at first."""

    dt: float
    populations: tuple[Population, ...]
    connections: tuple[Connections, ...]
    drives: tuple[Drive, ...]
    target: np.ndarray
    values: np.ndarray


def draw_network(
    dt: float,
    populations: tuple[Population, ...],
    projections: tuple[Projection, ...],
    drives: tuple[Drive, ...],
    seed: int,
) -> Drawn:
    """Each part has random numbers of its own: one more population changes nothing in what was there before."""
    values = np.zeros((3, sum(p.size for p in populations)))
    for k, population in enumerate(populations):
        if isinstance(population.model, Neuron):
            rng = np.random.default_rng((seed, 0, k))
            rest, initial = population.model.parameters["rest"], population.initial
            first = rest if initial is None else initial
            first = draw("Network.population", "initial", first, "volts", population.size, rng)
            values[0, population.start : population.start + population.size] = first - rest
    drawn = [_connect(dt, p, np.random.default_rng((seed, 1, k))) for k, p in enumerate(projections)]
    target = np.concatenate([np.zeros(0, dtype=np.uint32), *(each.target for each in drawn)])
    ends = np.cumsum([0, *(len(each.target) for each in drawn)])
    shared = [each._replace(target=target[a:b]) for each, a, b in zip(drawn, ends[:-1], ends[1:], strict=True)]
    return Drawn(dt, populations, tuple(shared), drives, target, values)


def _connect(dt: float, projection: Projection, rng: np.random.Generator) -> Connections:
    where, source, target = "Network.connect", projection.source, projection.target
    pairs = projection.rule.draw(rng, source.size, target.size, source is target)
    n = len(pairs.target)
    assert isinstance(target.model, Neuron)
    unit = "plain numbers" if target.model.model == "conductance" else "volts"
    weight = pairs.weight
    if projection.weight is not None:
        weight = draw(where, "weight", projection.weight, unit, n, rng)
        weight = weight if weight.ndim == 0 or pairs.given is None else weight[pairs.given]
    if weight is None:
        raise InputError(where, got="no weight", expected=f"weight= in {unit}, or a rule that has them: from_matrix")
    delay = draw(where, "delay", projection.delay, "seconds", n, rng)
    delay = delay if delay.ndim == 0 or pairs.given is None else delay[pairs.given]
    steps = np.rint(delay / dt).astype(np.int64)
    if steps.size and (delay.min() < dt * (1 - 1e-9) or steps.max() > LONGEST):
        got, expected = f"delays of {delay.min():g}..{delay.max():g} s", f"delay >= dt = {dt:g} s, at most 2**20 steps"
        raise InputError(where, got=got, expected=expected, fix="What fires in a step can arrive in the next.")
    receptor = _receptor(where, projection, target.model, weight)
    _check_plastic(where, projection, weight)
    number = pairs.target.astype(np.uint32)
    number += np.uint32(target.start)
    return Connections(projection, pairs.row_pointer, number, weight, steps, receptor)


def _receptor(where: str, projection: Projection, model: Neuron, weight: np.ndarray) -> str:
    """The one that was named, the only one, or by the sign of the weights."""
    negative, positive = bool((weight < 0).any()), bool((weight > 0).any())
    if model.model == "conductance" and negative:
        fix = "Name receptor='inhibitory' and pass weights >= 0."
        raise InputError(where, got="a negative conductance", expected="weight >= 0", fix=fix)
    if projection.receptor is not None:
        return projection.receptor
    if len(model.receptors) == 1:
        return model.receptors[0]
    if negative and positive:
        fix = "Name receptor='excitatory' or 'inhibitory', or split the projection."
        raise InputError(where, got="weights of both signs", expected="one receptor", fix=fix)
    return "inhibitory" if negative else "excitatory"


def _check_plastic(where: str, projection: Projection, weight: np.ndarray) -> None:
    p = projection.plasticity
    if p is not None and weight.size and not (p.low <= weight.min() and weight.max() <= p.high):
        got = f"weights of {weight.min():g}..{weight.max():g}"
        raise InputError(where, got=got, expected=f"within the bounds {p.low:g}..{p.high:g}")


def per_neuron(where: str, name: str, value: np.ndarray, size: int) -> np.ndarray:
    """One number for all, or one each: as one each."""
    if value.shape not in ((), (size,)):
        raise InputError(where, got=f"{name} of shape {value.shape}", expected=f"one number or {size}")
    return np.broadcast_to(value, (size,))
