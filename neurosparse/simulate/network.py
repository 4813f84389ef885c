"""Networks of spiking neurons: populations, synapses with delays, Poisson drive; event tensors in and out."""

from __future__ import annotations

import math
from collections.abc import Collection
from copy import copy, deepcopy
from dataclasses import replace
from itertools import count
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.kernels.dispatch import workers
from neurosparse.simulate.distributions import scalar
from neurosparse.simulate.grid import GRIDS, LONGEST, duration, refractory_steps, start_step, steps_until
from neurosparse.simulate.instance import (
    Drive,
    NetworkInstance,
    Population,
    Projection,
    Synapses,
    draw_network,
    next_start,
    per_neuron,
)
from neurosparse.simulate.layout import NetworkLayout, make_layout
from neurosparse.simulate.neurons import Neuron, PoissonSource
from neurosparse.simulate.plasticity import Plasticity
from neurosparse.simulate.rules import Rule
from neurosparse.simulate.run import advance
from neurosparse.simulate.state import State, first_state

__all__ = ["Network"]


class Network:
    """Populations of spiking neurons, synapses between them, and Poisson drive, simulated in steps of ``dt``.

    The order within a step is Brian2's: neurons are integrated over ``dt``; those above threshold fire; arriving
    weights are added and act in the next step; neurons that fired are reset, and held for their refractory time. A
    spike of step ``n`` arrives in step ``n + delay / dt``. Spikes do not depend on the number of threads
    (``torch.set_num_threads``) or on a division of the run in parts. Random numbers are a function of a seed and the
    name of a population, projection or drive: a part that is added or removed changes those of no other part.

    Args:
        dt: seconds per step, or a Brian2 quantity, as for all arguments with a unit.
        seed: of synapses, weights, delays and initial membranes.
        grid: steps of a time that is no multiple of ``dt``. ``"brian2"``, as in Brian 2: refractory times are rounded
            down, delays to the nearest step, a half up, durations up. ``"ceil"``: all are rounded up, so that no time
            is shorter than given.

    Raises:
        InputError: a ``dt`` that is not above 0, a seed that is no whole number >= 0, another ``grid``.

    Example:
        >>> from neurosparse import simulate
        >>> net = Network(dt=1e-4)
        >>> noise = net.population("noise", 100, simulate.poisson(50.0))
        >>> cells = net.population("cells", 20, simulate.lif(tau=20e-3))
        >>> inputs = net.connect(noise, cells, simulate.fixed_in_degree(50), weight=2e-3, delay=1.5e-3)
        >>> spikes = net.run(0.1)
        >>> spikes["cells"].shape, spikes["cells"].n_events > 0
        ((1000, 1, 20), True)

    Source: Rotter & Diesmann 1999, "Exact digital simulation of time-invariant linear systems with applications to
    neuronal modeling" (integration); Morrison, Mehring, Geisel, Aertsen & Diesmann 2005, "Advancing the boundaries of
    high-connectivity network simulation with distributed computing" (spikes exchanged once per shortest delay).
    """

    def __init__(self, dt: Any = 1e-4, *, seed: int = 0, grid: str = "brian2"):
        self.dt: Final = scalar("Network", "dt", dt, "seconds")
        if not self.dt > 0:
            raise InputError("Network", got=f"dt={self.dt:g}", expected="seconds per step, dt > 0")
        self.seed: Final = whole("Network", "seed", seed, 0)
        self.grid: Final = one_of("Network", "grid", grid, GRIDS)
        self._populations: dict[str, Population] = {}
        self._projections: dict[str, Projection] = {}
        self._drives: list[Drive] = []
        self._instance: NetworkInstance | None = None  # drawn when first used, dropped when a part is added
        self._layouts: dict[int, NetworkLayout] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What ``pickle`` and ``copy`` keep: the parts as declared. The network is drawn again from its seed."""
        parts = {name: copy(self.__dict__[name]) for name in ("_populations", "_projections", "_drives")}
        return self.__dict__ | parts | {"_instance": None, "_layouts": {}}

    # ---- building

    def population(self, name: str, size: int, model: Neuron | PoissonSource, *, initial: Any = None) -> Population:
        """Add ``size`` neurons of one kind.

        Args:
            name: key of their spikes in the result of a run.
            size: number of neurons.
            model: `lif`, `delta_lif`, `conductance_lif`, or `poisson` for sources of random spikes.
            initial: membrane at the start in volts: one, one per neuron, or a distribution. Default: at rest.

        Returns:
            the population, for `connect` and `drive`.

        Raises:
            InputError: a name that is taken, a size below 1, no model, a rate of ``1 / dt`` or more, a refractory time
                of more than 2**20 steps.
        """
        where = "Network.population"
        size = whole(where, "size", size, 1, 2**31 - 1)
        if not isinstance(model, Neuron | PoissonSource):
            fix = "Pass recorded spikes to Network.input."
            raise InputError(where, got=type(model).__name__, expected="simulate.lif(...) or another model", fix=fix)
        if isinstance(model, PoissonSource) and (model.mean(self.dt) >= 1).any():
            got = f"a rate of {model.rate.max() * model.sources:g} Hz at dt={self.dt:g} s"
            fix = "Pass a smaller dt, or use Network.drive."
            raise InputError(where, got=got, expected="less than one spike per step", fix=fix)
        given = ("rate", model.rate) if isinstance(model, PoissonSource) else ("bias", model.bias)
        per_neuron(where, *given, size)
        if isinstance(model, PoissonSource) and initial is not None:
            raise InputError(where, got="initial= for Poisson sources", expected="neurons with a membrane")
        if isinstance(model, Neuron) and refractory_steps(model.parameters["refractory"], self.dt, self.grid) > LONGEST:
            got = f"refractory={model.parameters['refractory']:g} s at dt={self.dt:g} s"
            raise InputError(where, got=got, expected="at most 2**20 steps")
        return self._add(where, name, size, model, initial)

    def input(self, name: str, spikes: EventTensor) -> Population:
        """Add neurons that replay spikes; those of row ``n`` fire at ``t0 + n dt``.

        Args:
            name: of the population.
            spikes: binary events ``(steps, 1, *units)`` with this network's ``dt``; no spikes follow their last step.

        Raises:
            InputError: graded events, more than one sample, another ``dt``, spikes off the grid, a ``t0`` below 0 or
                between two steps.
        """
        where = "Network.input"
        if not isinstance(spikes, EventTensor) or not spikes.binary or spikes.shape[1] != 1:
            got = f"{type(spikes).__name__} {getattr(spikes, 'shape', '')}"
            raise InputError(where, got=got, expected="spikes (steps, 1, units)", fix="Take one sample: .samples([0]).")
        if spikes.dt is None or not math.isclose(spikes.dt, self.dt, rel_tol=1e-9):
            fix = "Bin them, or make the network with their dt."
            raise InputError(where, got=f"dt={spikes.dt}", expected=f"the network's dt={self.dt:g}", fix=fix)
        if spikes.offset is not None:
            fix = "Use .bin(1, on_collision='any')."
            raise InputError(where, got="spikes between steps", expected="spikes on the grid", fix=fix)
        first = start_step(spikes.t0, self.dt)
        if first is None:
            expected = f"a whole number of steps of dt={self.dt:g} s, from 0 on"
            fix = "A simulation begins at 0 s: leave out earlier steps by .steps(a, b), and pass t0= of a step."
            raise InputError(where, got=f"t0={spikes.t0:g} s", expected=expected, fix=fix)
        return self._add(where, name, spikes.n_units, spikes, None, first)

    def _add(self, where: str, name: str, size: int, model: Any, initial: Any, first: int = 0) -> Population:
        _new_name(where, name, self._populations)
        start = next_start(self._populations.values())
        self._populations[name] = Population(name, size, model, start, deepcopy(initial), first)
        self._discard_instance()
        return self._populations[name]

    def connect(
        self,
        source: Population | str,
        target: Population | str,
        rule: Rule,
        *,
        weight: Any = None,
        delay: Any,
        receptor: str | None = None,
        plasticity: Plasticity | None = None,
        name: str | None = None,
    ) -> Projection:
        """Add synapses from one population to another.

        Args:
            source, target: populations, or their names.
            rule: connection rule: `fixed_probability`, `fixed_in_degree`, `from_matrix`, ...
            weight: volts, or for `conductance_lif` a conductance relative to the leak: one, one per synapse, or a
                distribution. `from_matrix` has weights of its own.
            delay: seconds, in steps by the ``grid`` of the network, at least one: one, one per synapse, or a
                distribution.
            receptor: of the target. Default: the only one, or the one of the weights' sign.
            plasticity: of the weights: `stdp`.
            name: of the projection, which also chooses its random numbers. Default: ``"source -> target"``.

        Returns:
            the projection, for `synapses`.

        Raises:
            InputError: a population of another network or without a membrane, a name that is taken, an unknown
                receptor; when the network is drawn: NaN weights, a delay of no step, weights of both signs.
        """
        where = "Network.connect"
        source, target = self._find(where, source), self._find_target(where, target)
        if not isinstance(rule, Rule):
            fix = "For example simulate.fixed_probability(0.02)."
            raise InputError(where, got=f"{type(rule).__name__}", expected="a connection rule", fix=fix)
        if plasticity is not None and not isinstance(plasticity, Plasticity):
            raise InputError(where, got=f"plasticity={plasticity!r}", expected="simulate.stdp(...)")
        if receptor is not None:
            _check_receptor(where, target, receptor)
        name = _new_name(where, f"{source.name} -> {target.name}" if name is None else name, self._projections)
        # The network is drawn later: arrays that the caller changes in between must not change it.
        weight, delay = deepcopy(weight), deepcopy(delay)
        projection = Projection(name, source, target, rule, weight, delay, receptor, plasticity)
        self._projections[name] = projection
        self._discard_instance()
        return projection

    def drive(
        self,
        target: Population | str,
        source: PoissonSource,
        *,
        weight: Any,
        receptor: str | None = None,
        name: str | None = None,
    ) -> None:
        """Add independent Poisson input to every neuron of a population; its spikes are not recorded.

        Args:
            target: a population or its name.
            source: `poisson`; arrivals of a step act in the next step.
            weight: of one arrival, as in `connect`.
            receptor: as in `connect`.
            name: of the drive, which also chooses its random numbers. Default: ``"1 -> target"``, ``"2 -> target"``...

        Raises:
            InputError: as `connect`; no Poisson source; rates of another number of neurons.
        """
        where = "Network.drive"
        target = self._find_target(where, target)
        assert isinstance(target.model, Neuron)
        if not isinstance(source, PoissonSource):
            raise InputError(where, got=type(source).__name__, expected="simulate.poisson(rate)")
        per_neuron(where, "rate", source.rate, target.size)
        conductance = target.model.model == "conductance"
        strength = scalar(where, "weight", weight, "plain numbers" if conductance else "volts")
        if receptor is None:
            receptor = target.model.receptors[int(strength < 0 and len(target.model.receptors) > 1)]
        _check_receptor(where, target, receptor)
        if conductance and strength < 0:
            raise InputError(where, got="a negative conductance", expected="weight >= 0")
        names = [drive.name for drive in self._drives]
        numbered = (f"{k} -> {target.name}" for k in count(1))
        name = next(each for each in numbered if each not in names) if name is None else _new_name(where, name, names)
        self._drives.append(Drive(name, target, source, strength, receptor))
        self._discard_instance()

    def _find(self, where: str, population: Population | str) -> Population:
        name = population.name if isinstance(population, Population) else population
        found = self._populations.get(name) if isinstance(name, str) else None
        if found is None or (isinstance(population, Population) and found is not population):
            known = ", ".join(self._populations) or "none yet"
            raise InputError(where, got=f"{name!r}", expected=f"a population of this network ({known})")
        return found

    def _find_target(self, where: str, population: Population | str) -> Population:
        found = self._find(where, population)
        if not isinstance(found.model, Neuron):
            raise InputError(where, got=f"{found.name!r}, which has no membrane", expected="neurons")
        return found

    def _discard_instance(self) -> None:
        self._instance, self._layouts = None, {}

    # ---- running

    def run(self, seconds: Any, *, seed: int = 0) -> dict[str, EventTensor]:
        """Spikes of the first ``seconds`` of every population; the same at every call.

        Args:
            seconds: the steps that begin before this time are done.
            seed: of Poisson spikes.

        Returns:
            by population, binary events ``(steps, 1, size)`` with ``dt``.

        Raises:
            InputError: no population, no duration >= 0.
        """
        return self.advance(seconds, seed=seed)[0]

    def advance(
        self, seconds: Any, state: State | None = None, *, seed: int | None = None
    ) -> tuple[dict[str, EventTensor], State]:
        """As `run`, from a given state; two runs in a row give the spikes of one long run.

        Args:
            seconds: the steps that begin before the end of all durations together are done.
            state: from an earlier `advance` of this network, or of an equal one, also in another process; None: from
                the start. It is not changed.
            seed: of Poisson spikes. Default: that of the state, or 0 at the start. Another seed than the state's
                continues with other Poisson spikes.

        Returns:
            spikes by population, with ``t0`` the time of the first step, and the state after them.

        Raises:
            InputError: as `run`; a state of another network.

        Example:
            >>> from neurosparse import simulate
            >>> net = Network(dt=1e-4)
            >>> cell = net.population("cell", 1, simulate.lif(bias=20e-3))
            >>> spikes, state = net.advance(0.02, seed=7)
            >>> bool(state.membrane["cell"] > -65e-3), state.seed
            (True, 7)
        """
        where, instance = "Network.advance", self.instance()
        seed = seed if seed is None else whole(where, "seed", seed, 0)
        if state is None:
            state = first_state(instance, seed or 0)
        elif not isinstance(state, State):
            raise InputError(where, got=type(state).__name__, expected="a state of advance or simulate.load_state")
        elif state.network != instance.fingerprint:
            fix = "Build the network as it was: its parts, their order, names and numbers, dt, grid and seed."
            raise InputError(where, got="a state of another network", expected="one of this network", fix=fix)
        elif seed is not None:
            state = replace(state, seed=seed)
        time = state.time + duration(where, seconds)
        steps = steps_until(where, time, self.dt, self.grid) - state.now
        return advance(instance, self._layout(), state, steps, time)

    def synapses(self, projection: Projection | str) -> Synapses:
        """The synapses of a projection as drawn, by source, then target.

        Args:
            projection: of `connect`, or its name.

        Returns:
            ``source, target (synapses)``, numbers within their populations; ``weight``; ``delay`` in seconds.

        Raises:
            InputError: no projection of this network.
        """
        name = projection.name if isinstance(projection, Projection) else projection
        found = [c for c in self.instance().connections if c.projection.name == name]
        if not found:
            known = ", ".join(self._projections) or "none yet"
            raise InputError("Network.synapses", got=f"{name!r}", expected=f"a projection of this network ({known})")
        return found[0].synapses(self.dt)

    def fan_out(self, population: Population | str) -> Tensor:
        """Synapses of each neuron ``(size)``: events times fan-out are the synaptic operations of a run.

        Args:
            population: a population or its name.

        Example:
            >>> from neurosparse import simulate
            >>> net = Network()
            >>> cells = net.population("cells", 10, simulate.lif(bias=20e-3))
            >>> loop = net.connect(cells, cells, simulate.fixed_out_degree(4), weight=1e-4, delay=1e-3)
            >>> spikes = net.run(0.1)["cells"]
            >>> int((spikes.counts() * net.fan_out(cells)).sum()) == 4 * spikes.n_events
            True
        """
        found = self._find("Network.fan_out", population)
        counts = [np.diff(c.row_pointer) for c in self.instance().connections if c.projection.source is found]
        return torch.from_numpy(sum(counts, np.zeros(found.size, dtype=np.int64)))

    def steps(self, where: str, seconds: Any) -> int:
        """The number of steps of a run of this duration."""
        return steps_until(where, duration(where, seconds), self.dt, self.grid)

    def instance(self) -> NetworkInstance:
        """The network as drawn from its seed: synapses and initial values."""
        if self._instance is None:
            if not self._populations:
                fix = "Call Network.population first."
                raise InputError("Network.run", got="no population", expected="at least one", fix=fix)
            parts = (tuple(self._populations.values()), tuple(self._projections.values()), tuple(self._drives))
            self._instance = draw_network(self.dt, self.grid, *parts, self.seed)
        return self._instance

    def _layout(self) -> NetworkLayout:
        threads = workers()
        if threads not in self._layouts:
            self._layouts = {threads: make_layout(self.instance(), threads)}  # one at a time: it may be large
        return self._layouts[threads]


def _new_name(where: str, name: Any, taken: Collection[str]) -> str:
    if not isinstance(name, str):
        raise InputError(where, got=f"name={name!r}", expected="a string")
    if name in taken:
        raise InputError(where, got=f"name={name!r} again", expected="a name for each", fix="Pass name=.")
    return name


def _check_receptor(where: str, target: Population, receptor: str) -> None:
    assert isinstance(target.model, Neuron)
    one_of(where, "receptor", receptor, target.model.receptors)
