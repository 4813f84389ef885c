"""Networks of spiking neurons: populations, synapses with delays, drive; events in, events out."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import si
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.kernels.dispatch import workers
from neurosparse.simulate.drawn import Drawn, draw_network, per_neuron
from neurosparse.simulate.layout import Plan, make_plan
from neurosparse.simulate.neurons import Neuron, Source
from neurosparse.simulate.parts import Drive, Population, Projection, Synapses
from neurosparse.simulate.plasticity import Plasticity
from neurosparse.simulate.rules import Rule
from neurosparse.simulate.run import advance
from neurosparse.simulate.state import State, first_state

__all__ = ["Network"]


class Network:
    """Populations of spiking neurons, synapses between them, and what drives them.

    A step is Brian2's: all neurons move on by ``dt``; those above threshold fire; what arrives in this step is added,
    and acts in the next; those that fired are reset, or held until they may fire again. A spike of step ``n`` comes in
    step ``n + delay / dt``. Spikes are the same on any number of threads (``torch.set_num_threads``), after any stop.

    Args:
        dt: seconds per step; a Brian2 quantity too, here and everywhere.
        seed: from which synapses, weights, delays and first membranes are drawn.

    Raises:
        InputError: a ``dt`` that is not above 0, a seed that is no whole number >= 0.

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

    def __init__(self, dt: Any = 1e-4, *, seed: int = 0):
        self.dt: Final = float(_one("Network", "dt", dt, "seconds"))
        if not self.dt > 0:
            raise InputError("Network", got=f"dt={self.dt:g}", expected="seconds per step, dt > 0")
        self.seed: Final = _seed("Network", seed)
        self._populations: dict[str, Population] = {}
        self._projections: dict[str, Projection] = {}
        self._drives: list[Drive] = []
        self._drawn: Drawn | None = None  # made when first needed, dropped when something is added
        self._plans: dict[int, Plan] = {}

    # ---- building

    def population(self, name: str, size: int, model: Neuron | Source, *, initial: Any = None) -> Population:
        """Add ``size`` neurons of one kind.

        Args:
            name: under which their spikes are returned.
            size: number of neurons.
            model: `lif`, `delta_lif`, `conductance_lif`, or `poisson` for sources of random spikes.
            initial: first membrane in volts: one, one per neuron, or a distribution. Default: at rest.

        Returns:
            the population, for `connect` and `drive`.

        Raises:
            InputError: a name that is taken, no neuron, a model that is none, a rate of ``1 / dt`` or more.
        """
        where = "Network.population"
        if type(size) is not int or not 0 < size < 2**31:
            raise InputError(where, got=f"size={size!r}", expected="a whole number of neurons, size > 0")
        if not isinstance(model, Neuron | Source):
            fix = "Spikes that are there already come in by Network.input."
            raise InputError(where, got=type(model).__name__, expected="simulate.lif(...) or another model", fix=fix)
        if isinstance(model, Source) and (model.mean(self.dt) >= 1).any():
            got = f"a rate of {model.rate.max() * model.sources:g} Hz at dt={self.dt:g} s"
            raise InputError(
                where, got=got, expected="less than a spike a step", fix="Take a smaller dt or Network.drive."
            )
        given = ("rate", model.rate) if isinstance(model, Source) else ("bias", model.bias)
        per_neuron(where, *given, size)
        if isinstance(model, Source) and initial is not None:
            raise InputError(where, got="initial= for Poisson sources", expected="neurons with a membrane")
        return self._add(where, name, size, model, initial)

    def input(self, name: str, spikes: EventTensor) -> Population:
        """Add neurons that fire what was recorded or trained elsewhere, from the network's first step on.

        Args:
            name: under which they are known.
            spikes: binary events ``(steps, 1, *units)`` with this network's ``dt``; after them there is silence.

        Raises:
            InputError: graded events, more than one sample, another ``dt``, spikes off the grid.
        """
        where = "Network.input"
        if not isinstance(spikes, EventTensor) or not spikes.binary or spikes.shape[1] != 1:
            got = f"{type(spikes).__name__} {getattr(spikes, 'shape', '')}"
            raise InputError(where, got=got, expected="spikes (steps, 1, units)", fix="Take one sample: .samples([0]).")
        if spikes.dt is None or not math.isclose(spikes.dt, self.dt, rel_tol=1e-9):
            fix = "Bin them, or give the network their dt."
            raise InputError(where, got=f"dt={spikes.dt}", expected=f"the network's dt={self.dt:g}", fix=fix)
        if spikes.offset is not None:
            fix = "Use .bin(1, on_collision='any')."
            raise InputError(where, got="spikes between steps", expected="spikes on the grid", fix=fix)
        return self._add(where, name, spikes.n_units, spikes, None)

    def _add(self, where: str, name: str, size: int, model: Any, initial: Any) -> Population:
        if name in self._populations:
            raise InputError(where, got=f"name={name!r} again", expected="a name for each population")
        start = sum(p.size for p in self._populations.values())
        self._populations[name] = Population(name, size, model, start, initial)
        self._forget()
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
            rule: who is connected to whom: `fixed_probability`, `fixed_in_degree`, `from_matrix`, ...
            weight: volts, or for `conductance_lif` a conductance in units of the leak's: one, one per synapse, or a
                distribution. A rule that has weights needs none.
            delay: seconds, rounded to steps: one, one per synapse, or a distribution; at least ``dt``.
            receptor: of the target. Default: the only one, or the one of the weights' sign.
            plasticity: how weights change, see `stdp`.
            name: of the projection. Default: ``"source -> target"``.

        Returns:
            the projection, for `synapses`.

        Raises:
            InputError: a population that is not of this network or cannot receive, a name that is taken, an unknown
                receptor; when the network is drawn: NaN weights, a delay under ``dt``, weights of both signs.
        """
        where = "Network.connect"
        source, target = self._find(where, source), self._find_target(where, target)
        if not isinstance(rule, Rule):
            fix = "For example simulate.fixed_probability(0.02)."
            raise InputError(where, got=f"{type(rule).__name__}", expected="a rule of connection", fix=fix)
        if plasticity is not None and not isinstance(plasticity, Plasticity):
            raise InputError(where, got=f"plasticity={plasticity!r}", expected="simulate.stdp(...)")
        if receptor is not None:
            _check_receptor(where, target, receptor)
        name = f"{source.name} -> {target.name}" if name is None else name
        if name in self._projections:
            raise InputError(where, got=f"name={name!r} again", expected="a name for each", fix="Pass name=.")
        projection = Projection(name, source, target, rule, weight, delay, receptor, plasticity)
        self._projections[name] = projection
        self._forget()
        return projection

    def drive(self, target: Population | str, source: Source, *, weight: Any, receptor: str | None = None) -> None:
        """Add independent Poisson input to every neuron of a population: no sources are kept, nothing is recorded.

        Args:
            target: a population or its name.
            source: `poisson`; all arrivals of a step act in the next.
            weight: what each arrival adds, as in `connect`.
            receptor: as in `connect`.

        Raises:
            InputError: as `connect`; no Poisson source; rates of another number of neurons.
        """
        where = "Network.drive"
        target = self._find_target(where, target)
        assert isinstance(target.model, Neuron)
        if not isinstance(source, Source):
            raise InputError(where, got=type(source).__name__, expected="simulate.poisson(rate)")
        per_neuron(where, "rate", source.rate, target.size)
        conductance = target.model.model == "conductance"
        number = _one(where, "weight", weight, "plain numbers" if conductance else "volts")
        if receptor is None:
            receptor = target.model.receptors[int(number < 0 and len(target.model.receptors) > 1)]
        _check_receptor(where, target, receptor)
        if conductance and number < 0:
            raise InputError(where, got="a negative conductance", expected="weight >= 0")
        self._drives.append(Drive(target, source, number, receptor))
        self._forget()

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
            raise InputError(where, got=f"{found.name!r}, which only sends", expected="neurons that receive")
        return found

    def _forget(self) -> None:
        self._drawn, self._plans = None, {}

    # ---- running

    def run(self, seconds: Any, *, seed: int = 0) -> dict[str, EventTensor]:
        """Spikes of the first ``seconds`` of every population; the same at every call.

        Args:
            seconds: a whole number of steps.
            seed: of Poisson spikes.

        Returns:
            by population, binary events ``(steps, 1, size)`` with ``dt``.

        Raises:
            InputError: no population, no whole number of steps.
        """
        return self.advance(seconds, seed=seed)[0]

    def advance(
        self, seconds: Any, state: State | None = None, *, seed: int = 0
    ) -> tuple[dict[str, EventTensor], State]:
        """As `run`, from a state on; two runs in a row give what one long run gives.

        Args:
            seconds: a whole number of steps.
            state: from an earlier `advance` of this network; None: from the start. It is not changed.
            seed: of Poisson spikes.

        Returns:
            spikes by population, their ``t0`` where the state was, and the state after them.

        Raises:
            InputError: as `run`; a state of another network.

        Example:
            >>> from neurosparse import simulate
            >>> net = Network(dt=1e-4)
            >>> cell = net.population("cell", 1, simulate.lif(bias=20e-3))
            >>> spikes, state = net.advance(0.02)
            >>> bool(state.membrane["cell"] > -65e-3)
            True
        """
        where, drawn = "Network.advance", self.drawn()
        steps = self.steps(where, seconds)
        if state is not None and getattr(state, "drawn", None) is not drawn:
            fix = "Take it from this network, to which nothing was added since."
            raise InputError(where, got="a state of another network", expected="one of this network", fix=fix)
        state = first_state(drawn) if state is None else state
        return advance(self._plan(), state, steps, _seed(where, seed))

    def synapses(self, projection: Projection | str) -> Synapses:
        """The synapses of a projection as drawn, by source, then target.

        Args:
            projection: what `connect` returned, or its name.

        Returns:
            ``source, target (synapses)``, numbers within their populations; ``weight``; ``delay`` in seconds.

        Raises:
            InputError: no projection of this network.
        """
        name = projection.name if isinstance(projection, Projection) else projection
        found = [c for c in self.drawn().connections if c.projection.name == name]
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
        counts = [np.diff(c.row_pointer) for c in self.drawn().connections if c.projection.source is found]
        return torch.from_numpy(sum(counts, np.zeros(found.size, dtype=np.int64)))

    def steps(self, where: str, seconds: Any) -> int:
        """How many steps so many seconds are; a fraction of one is refused."""
        length = float(_one(where, "seconds", seconds, "seconds"))
        steps = round(length / self.dt)
        if steps < 0 or abs(length / self.dt - steps) > 1e-6 * max(steps, 1):
            raise InputError(where, got=f"{length:g} s at dt={self.dt:g} s", expected="a whole number of steps")
        return steps

    def drawn(self) -> Drawn:
        """The network as drawn from its seed: every synapse, every first value."""
        if self._drawn is None:
            if not self._populations:
                raise InputError(
                    "Network.run", got="no population", expected="neurons", fix="Add some: .population(...)."
                )
            parts = (tuple(self._populations.values()), tuple(self._projections.values()), tuple(self._drives))
            self._drawn = draw_network(self.dt, *parts, self.seed)
        return self._drawn

    def _plan(self) -> Plan:
        threads = workers()
        if threads not in self._plans:
            self._plans = {threads: make_plan(self.drawn(), threads)}  # one at a time: it may be large
        return self._plans[threads]


def _one(where: str, name: str, value: Any, unit: str) -> float:
    number = si(where, name, value, unit)
    if number.shape != ():
        raise InputError(where, got=f"{name} of shape {number.shape}", expected="one number")
    return float(number)


def _seed(where: str, seed: Any) -> int:
    if not isinstance(seed, int) or seed < 0:
        raise InputError(where, got=f"seed={seed!r}", expected="a whole number, seed >= 0")
    return seed


def _check_receptor(where: str, target: Population, receptor: str) -> None:
    assert isinstance(target.model, Neuron)
    if receptor not in target.model.receptors:
        known = " or ".join(map(repr, target.model.receptors))
        raise InputError(where, got=f"receptor={receptor!r}", expected=f"{known} of {target.name!r}")
