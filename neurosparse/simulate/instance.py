"""A network instance: populations and projections as declared, and the synapses and membranes drawn from its seed.

Initial membranes, pairs, weights and delays each have a generator of their own, keyed by the network's seed and the
name of their population or projection. So they depend on no other part of the network, on no number of threads and on
no order in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.kernels.network.draw import stream_key
from neurosparse.simulate.distributions import draw
from neurosparse.simulate.grid import LONGEST, delay_steps
from neurosparse.simulate.neurons import Neuron, PoissonSource
from neurosparse.simulate.plasticity import Plasticity
from neurosparse.simulate.rules import Rule

__all__ = [
    "ALIGNED", "ROWS", "Connections", "Drive", "NetworkInstance", "Population", "Projection", "Synapses",
    "draw_network", "next_start", "per_neuron",
]  # fmt: skip

ALIGNED = 8  # numbers of a cache line of 64 bytes; every population begins on one
ROWS = {"membrane": 0, "excitatory": 1, "inhibitory": 2}  # of the values of a state


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one kind; ``start`` is the number of the first of them in the network, a multiple of `ALIGNED`.

    Recorded spikes begin in step ``first_step`` of the network.
    """

    name: str
    size: int
    model: Neuron | PoissonSource | EventTensor
    start: int
    initial: Any = None
    first_step: int = 0


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

    name: str
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

    def ring(self, shortest: int) -> int:
        """Past traces per source: back to the longest delay, while another thread may be ahead by the shortest."""
        return int(self.delay.max(initial=1)) + shortest + 1

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
        grid: how times become steps.
        populations, drives: as declared.
        connections: one per projection.
        target: the targets of all projections in one array.
        values: initial membrane above rest and synaptic variables, (3, neurons), with gaps between populations.
        fingerprint: hash of all this: equal for networks on which a simulation can go on.
    """

    dt: float
    grid: str
    populations: tuple[Population, ...]
    connections: tuple[Connections, ...]
    drives: tuple[Drive, ...]
    target: np.ndarray
    values: np.ndarray
    fingerprint: str

    def shortest_delay(self) -> int:
        """Steps between a spike and its earliest arrival; 100 without synapses."""
        return min((int(c.delay.min()) for c in self.connections if c.target.size), default=100)

    def history(self) -> int:
        """Steps for which past spikes are kept: the longest delay or refractory time."""
        delays = [int(c.delay.max()) for c in self.connections if c.delay.size]
        held = [p.model.held_steps(self.dt, self.grid) for p in self.populations if isinstance(p.model, Neuron)]
        return max([1, *delays, *held]) + 1


def draw_network(
    dt: float,
    grid: str,
    populations: tuple[Population, ...],
    projections: tuple[Projection, ...],
    drives: tuple[Drive, ...],
    seed: int,
) -> NetworkInstance:
    """Draw membranes and synapses: a part that is added or removed changes no other part."""
    values = np.zeros((3, next_start(populations)))
    for population in populations:
        if isinstance(population.model, Neuron):
            rest, initial = population.model.parameters["rest"], population.initial
            first, rng = rest if initial is None else initial, _generator(seed, "initial", population.name)
            first = draw("Network.population", "initial", first, "volts", population.size, rng)
            values[0, population.start : population.start + population.size] = first - rest
    drawn = [_connect(dt, grid, p, seed) for p in projections]
    target = np.concatenate([np.zeros(0, dtype=np.uint32), *(each.target for each in drawn)])
    ends = np.cumsum([0, *(len(each.target) for each in drawn)])
    shared = tuple(each._replace(target=target[a:b]) for each, a, b in zip(drawn, ends[:-1], ends[1:], strict=True))
    instance = NetworkInstance(dt, grid, populations, shared, drives, target, values, "")
    return instance._replace(fingerprint=_fingerprint(instance))


def next_start(populations: Collection[Population]) -> int:
    """The number of the first neuron after some populations."""
    return max((-(-(p.start + p.size) // ALIGNED) * ALIGNED for p in populations), default=0)


def _generator(seed: int, part: str, name: str) -> np.random.Generator:
    return np.random.default_rng(int(stream_key(seed, f"{part} {name}")))


def _fingerprint(instance: NetworkInstance) -> str:
    """A hash of everything on which a simulation depends, but for the seed of the Poisson spikes."""
    digest = hashlib.blake2b(digest_size=16)

    def add(*parts: Any) -> None:
        for part in parts:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype.str} {part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data)
            else:
                digest.update(ascii(part).encode() + b"\n")

    add(instance.dt, instance.grid, instance.values)
    for p in instance.populations:
        add(p.name, p.size, p.first_step)
        if isinstance(p.model, Neuron):
            add(p.model.model, sorted(p.model.parameters.items()), p.model.bias)
        elif isinstance(p.model, PoissonSource):
            add(p.model.rate, p.model.sources)
        else:
            add(p.model.shape[0], p.model.row.cpu().numpy(), p.model.index.cpu().numpy())
    for c in instance.connections:
        p = c.projection
        plasticity = None if p.plasticity is None else astuple(p.plasticity)
        add(p.name, p.source.name, p.target.name, plasticity, c.receptor)
        add(c.row_pointer, c.target - np.uint32(p.target.start), c.weight, c.delay)
    for d in instance.drives:
        add(d.name, d.target.name, d.source.rate, d.source.sources, d.weight, d.receptor)
    return digest.hexdigest()


def _connect(dt: float, grid: str, projection: Projection, seed: int) -> Connections:
    where, source, target = "Network.connect", projection.source, projection.target
    of_pairs, of_weight, of_delay = (_generator(seed, part, projection.name) for part in ("pairs", "weight", "delay"))
    pairs = projection.rule.draw(of_pairs, source.size, target.size, source is target)
    n = len(pairs.target)
    assert isinstance(target.model, Neuron)
    unit = "plain numbers" if target.model.model == "conductance" else "volts"
    weight = pairs.weight
    if projection.weight is not None:
        weight = draw(where, "weight", projection.weight, unit, n, of_weight)
        weight = weight if weight.ndim == 0 or pairs.given is None else weight[pairs.given]
    if weight is None:
        raise InputError(where, got="no weight", expected=f"weight= in {unit}, or a rule that has them: from_matrix")
    delay = draw(where, "delay", projection.delay, "seconds", n, of_delay)
    delay = delay if delay.ndim == 0 or pairs.given is None else delay[pairs.given]
    steps = delay_steps(delay, dt, grid)
    if steps.size and not (steps.min() >= 1 and steps.max() <= LONGEST):
        got, expected = f"delays of {delay.min():g}..{delay.max():g} s", f"1 to 2**20 steps of dt = {dt:g} s"
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
