"""Where a network stands after some steps: everything that the next step depends on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurosparse.simulate.drawn import Connections, Drawn
from neurosparse.simulate.neurons import Neuron

__all__ = ["State", "first_state", "held_steps", "history", "shortest_delay"]


@dataclass(frozen=True, eq=False)
class State:
    """Explicit carry of ``Network.advance``: nothing in it depends on the number of threads.

    ``values`` holds the membrane above rest and both synaptic variables of every neuron; ``step`` and ``neuron`` are
    the spikes that are still on their way or whose neurons are still held; ``weights`` and ``traces`` belong to plastic
    projections, by name.
    """

    drawn: Drawn
    now: int
    values: np.ndarray
    step: np.ndarray
    neuron: np.ndarray
    weights: dict[str, np.ndarray]
    traces: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def membrane(self) -> dict[str, Tensor]:
        """Volts of every neuron by population; a refractory neuron is at its reset."""
        found = {}
        for p in self.drawn.populations:
            if isinstance(p.model, Neuron):
                v = self.values[0, p.start : p.start + p.size]
                volts = np.where(np.isneginf(v), p.model.parameters["reset"], v + p.model.parameters["rest"])
                found[p.name] = torch.from_numpy(volts)
        return found


def history(drawn: Drawn) -> int:
    """How many steps a spike matters after it was fired."""
    delays = [int(c.delay.max()) for c in drawn.connections if c.delay.size]
    held = [held_steps(p.model.refractory, drawn.dt) for p in drawn.populations if isinstance(p.model, Neuron)]
    return max([1, *delays, *held]) + 1


def shortest_delay(drawn: Drawn) -> int:
    """Steps before which no spike reaches anyone."""
    return min((int(c.delay.min()) for c in drawn.connections if c.target.size), default=100)


def held_steps(refractory: float, dt: float) -> int:
    """Steps for which a neuron that fired is held: so that ``refractory`` is the shortest time between two spikes."""
    return max(round(refractory / dt) - 1, 0)


def ring(connections: Connections, shortest: int) -> int:
    """Traces that are kept: back to the longest delay, while another thread may be ahead by the shortest."""
    return int(connections.delay.max(initial=1)) + shortest + 1


def first_state(drawn: Drawn) -> State:
    """Before the first step: no spike has ever been fired."""
    weights, traces = {}, {}
    for c in drawn.connections:
        if c.projection.plasticity is not None:
            name, sources, targets = c.projection.name, c.projection.source.size, c.projection.target.size
            weights[name] = np.broadcast_to(c.weight, c.target.shape).copy()
            traces[name] = np.zeros((ring(c, shortest_delay(drawn)), sources)), np.zeros(targets)
    none = np.zeros(0, dtype=np.int64)
    return State(drawn, 0, drawn.values.copy(), none, none.astype(np.int32), weights, traces)
