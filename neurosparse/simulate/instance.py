"""A network instance: populations and projections as declared, and the synapses and membranes drawn from its seed.

The draw depends on no number of threads and on no order in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.simulate.distributions import draw
from neurosparse.simulate.neurons import Neuron, PoissonSource
from neurosparse.simulate.plasticity import Plasticity
from neurosparse.simulate.rules import Rule

__all__ = [
    "ROWS", "Connections", "Drive", "NetworkInstance", "Population", "Projection", "Synapses", "draw_network",
    "per_neuron",
]  # fmt: skip

ROWS = {"membrane": 0, "excitatory": 1, "inhibitory": 2}  # of the values of a state
LONGEST = 1 << 20  # steps


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one kind; ``start`` is the number of the first of them in the network."""

    name: str
    size: int
    model: Neuron | PoissonSource | EventTensor
    start: int
    initial: Any = None


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population to another, as declared."""

    name: str
    source: Population
    target: Population
    rule: Rule
    weight: Any
    delay: Any
    receptor: str | None
    plasticity: Plasticity | None


@dataclass(frozen=True, eq=False)
class Drive:
    """Independent Poisson input to every neuron of a population."""

    target: Population
    source: PoissonSource
    weight: float
    receptor: str


class Synapses(NamedTuple):
    """Synapses of a projection by source, then target: neurons ``(synapses)``, weights, delays in seconds."""

    source: Tensor
    target: Tensor
    weight: Tensor
    delay: Tensor


class Connections(NamedTuple):
    """A projection as drawn: compressed rows by source.

    Args:
        projection: as declared.
        row_pointer: (sources + 1).
        target: (synapses), numbers in the network.
        weight, delay: one for all, or one per synapse; delays in steps.
        receptor: of the target.
    """

    projection: Projection
    row_pointer: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    delay: np.ndarray
    receptor: str

    def synapses(self, dt: float) -> Synapses:
        """One entry per synapse in every array."""
        source, n = np.repeat(np.arange(self.projection.source.size), np.diff(self.row_pointer)), len(self.target)
        target = self.target.astype(np.int64) - self.projection.target.start
        each = [np.broadcast_to(part, (n,)).copy() for part in (self.weight, self.delay * dt)]
        return Synapses(*map(torch.from_numpy, (source, target, *each)))


class NetworkInstance(NamedTuple):
    """A network as drawn.

    Args:
        dt: seconds per step.
        populations, drives: as declared.
        connections: one per projection.
        target: the targets of all projections in one array.
        values: initial membrane above rest and synaptic variables, (3, neurons).
    """

    dt: float
    populations: tuple[Population, ...]
    connections: tuple[Connections, ...]
    drives: tuple[Drive, ...]
    target: np.ndarray
    values: np.ndarray

    def shortest_delay(self) -> int:
        """Steps between a spike and its earliest arrival; 100 without synapses."""
        return min((int(c.delay.min()) for c in self.connections if c.target.size), default=100)

    def history(self) -> int:
        """Steps for which past spikes are kept: the longest delay or refractory time."""
        delays = [int(c.delay.max()) for c in self.connections if c.delay.size]
        held = [p.model.refractory_steps(self.dt) for p in self.populations if isinstance(p.model, Neuron)]
        return max([1, *delays, *held]) + 1


def draw_network(
    dt: float,
    populations: tuple[Population, ...],
    projections: tuple[Projection, ...],
    drives: tuple[Drive, ...],
    seed: int,
) -> NetworkInstance:
    """Draw membranes and synapses. Each part has its own generator: a part that is added changes no other part."""
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
    return NetworkInstance(dt, populations, tuple(shared), drives, target, values)


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
        raise InputError(where, got=got, expected=expected, fix="A spike arrives in the next step at the earliest.")
    receptor = _receptor(where, projection, target.model, weight)
    _check_plastic(where, projection, weight)
    number = pairs.target.astype(np.uint32)
    number += np.uint32(target.start)
    return Connections(projection, pairs.row_pointer, number, weight, steps, receptor)


def _receptor(where: str, projection: Projection, model: Neuron, weight: np.ndarray) -> str:
    """The receptor that was named, the only one, or the one of the weights' sign."""
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
    """One number for all, or one per neuron, as an array ``(size)``."""
    if value.shape not in ((), (size,)):
        raise InputError(where, got=f"{name} of shape {value.shape}", expected=f"one number or {size}")
    return np.broadcast_to(value, (size,))
