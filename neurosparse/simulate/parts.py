"""What a network is put together from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from neurosparse.events import EventTensor
from neurosparse.simulate.neurons import Neuron, Source
from neurosparse.simulate.plasticity import Plasticity
from neurosparse.simulate.rules import Rule

__all__ = ["Drive", "Population", "Projection", "Synapses"]


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one kind; ``start`` is the number of the first of them in the network."""

    name: str
    size: int
    model: Neuron | Source | EventTensor
    start: int
    initial: Any = None


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population to another, as they were asked for."""

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
    source: Source
    weight: float
    receptor: str


class Synapses(NamedTuple):
    """Synapses of a projection by source, then target: neurons ``(synapses)``, weights, delays in seconds."""

    source: Tensor
    target: Tensor
    weight: Tensor
    delay: Tensor
