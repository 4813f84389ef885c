"""State of a simulation between two steps: what a later process needs to go on bit by bit, in memory or in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from neurosparse.atomic import UNSEALED, is_sealed, seal, write_atomically
from neurosparse.errors import InputError, MissingFileError
from neurosparse.simulate.instance import NetworkInstance
from neurosparse.simulate.neurons import Neuron

__all__ = ["State", "first_state", "load_state"]

FORMAT, VERSION = "neurosparse-network-state", "1"


class MembranePlace(NamedTuple):
    """A population with membranes: its neurons in the arrays of a state, and its potentials in volts."""

    name: str
    start: int
    size: int
    rest: float
    reset: float


@dataclass(frozen=True, eq=False)
class State:
    """State of a network between two steps: the explicit carry of ``Network.advance``, for any number of threads.

    It is complete: with the same network it continues a simulation bit by bit, also after ``pickle``,
    ``copy.deepcopy``, or ``save`` and `load_state` in another process.

    Args:
        network: fingerprint of the network as drawn.
        populations: those with membranes.
        seed: of Poisson spikes; which are a function of seed, name and step, so that there is no other position.
        now: steps done.
        time: seconds simulated, as the exact sum of the durations; at most the begin of step ``now``.
        values: membrane above rest and both synaptic variables, (3, neurons), with gaps between populations.
        step, neuron: spikes that have not arrived everywhere, or whose neurons are refractory.
        weights: of plastic projections, by name.
        traces: of plastic projections, by name: a ring of past traces by source, and the traces by target.
    """

    network: str
    populations: tuple[MembranePlace, ...]
    seed: int
    now: int
    time: Fraction
    values: np.ndarray
    step: np.ndarray
    neuron: np.ndarray
    weights: dict[str, np.ndarray]
    traces: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def membrane(self) -> dict[str, Tensor]:
        """Volts of every neuron by population; a refractory neuron is at its reset."""
        found = {}
        for p in self.populations:
            v = self.values[0, p.start : p.start + p.size]
            found[p.name] = torch.from_numpy(np.where(np.isneginf(v), p.reset, v + p.rest))
        return found

    def save(self, path: str | PathLike[str]) -> None:
        """Write the state as one safetensors file under a checksum: all of it, or nothing.

        Args:
            path: of the file; the folder exists.

        Raises:
            InputError: no such folder, or it cannot be written.

        Example:
            >>> import tempfile
            >>> from neurosparse import Network, simulate
            >>> net = Network(dt=1e-4)
            >>> noise = net.population("noise", 10, simulate.poisson(50.0))
            >>> spikes, state = net.advance(0.1, seed=7)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     state.save(folder + "/net.state")
            ...     loaded = simulate.load_state(folder + "/net.state")
            >>> loaded.seed, loaded.now
            (7, 1000)
        """
        parts = {"values": self.values, "step": self.step, "neuron": self.neuron}
        for k, (name, weight) in enumerate(self.weights.items()):
            before, after = self.traces[name]
            parts |= {f"weight {k}": weight, f"before {k}": before, f"after {k}": after}
        facts = {
            "network": self.network,
            "populations": self.populations,
            "seed": self.seed,
            "now": self.now,
            "time": str(self.time),
            "plastic": list(self.weights),
        }
        header = {"format": FORMAT, "version": VERSION, "crc32": UNSEALED, "facts": json.dumps(facts)}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(part)) for name, part in parts.items()}
        write_atomically(path, seal(save(tensors, metadata=header)), "State.save")


def first_state(instance: NetworkInstance, seed: int) -> State:
    """The state before the first step: no spikes yet."""
    weights, traces = {}, {}
    for c in instance.connections:
        if c.projection.plasticity is not None:
            name, sources, targets = c.projection.name, c.projection.source.size, c.projection.target.size
            weights[name] = np.broadcast_to(c.weight, c.target.shape).copy()
            traces[name] = np.zeros((c.ring(instance.shortest_delay()), sources)), np.zeros(targets)
    places = tuple(
        MembranePlace(p.name, p.start, p.size, p.model.parameters["rest"], p.model.parameters["reset"])
        for p in instance.populations
        if isinstance(p.model, Neuron)
    )
    none = np.zeros(0, dtype=np.int64)
    parts = (instance.values.copy(), none, none.astype(np.int32), weights, traces)
    return State(instance.fingerprint, places, seed, 0, Fraction(0), *parts)


def load_state(path: str | PathLike[str]) -> State:
    """The state that ``State.save`` wrote, to go on with ``Network.advance`` of the same network.

    Args:
        path: of the file.

    Returns:
        the state, the same bit by bit.

    Raises:
        InputError: no such file, another or a damaged file. ``Network.advance`` refuses a state of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError("simulate.load_state", got=str(path), expected="a state file", fix="Check the path.")
    content = path.read_bytes()
    try:
        return _decode(content)
    except (SafetensorError, KeyError, ValueError, AttributeError, TypeError, RuntimeError, IndexError) as error:
        got, fix = f"{path.name}: {error}", "Save the state again: the file is damaged or of another kind."
        raise InputError("simulate.load_state", got=got, expected=f"a complete {FORMAT} file", fix=fix) from error


def _decode(content: bytes) -> State:
    tensors = load(content)
    meta = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    if meta.get("format") != FORMAT or meta.get("version") != VERSION:
        raise ValueError(f"format {meta.get('format')!r} version {meta.get('version')!r}")
    if not is_sealed(content):
        raise ValueError("its checksum does not fit its content")
    facts: dict[str, Any] = json.loads(meta["facts"])
    parts = {name: part.numpy().copy() for name, part in tensors.items()}
    names = facts["plastic"]
    return State(
        facts["network"],
        tuple(MembranePlace(*place) for place in facts["populations"]),
        facts["seed"],
        facts["now"],
        Fraction(facts["time"]),
        parts["values"],
        parts["step"],
        parts["neuron"],
        {name: parts[f"weight {k}"] for k, name in enumerate(names)},
        {name: (parts[f"before {k}"], parts[f"after {k}"]) for k, name in enumerate(names)},
    )
