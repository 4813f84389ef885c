"""Random networks of all neuron models, sources, rules, delays and plasticity; further parts may be added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import neurosparse as ns

sim = ns.simulate
MS, MV, DT = 1e-3, 1e-3, 1e-4


def recorded(rng: np.random.Generator, t0: float) -> ns.EventTensor:
    dense = torch.from_numpy(rng.random((int(rng.integers(1, 80)), 1, int(rng.integers(1, 20)))) < 0.1)
    return ns.EventTensor.from_dense(dense, dt=DT, t0=t0)


def model(rng: np.random.Generator, size: int) -> Any:
    refractory = rng.choice([0.0, rng.uniform(0, 3 * MS)])
    kind = int(rng.integers(4))
    bias = rng.choice([0.0, 18 * MV]) if rng.random() < 0.5 else rng.uniform(0, 25, size) * MV
    if kind == 3:
        return sim.poisson(rng.uniform(0, 400, size) if rng.random() < 0.5 else rng.uniform(10, 400))
    if kind == 2:
        return sim.conductance_lif(refractory=refractory, bias=bias)
    return (sim.lif if kind == 0 else sim.delta_lif)(refractory=refractory, bias=bias)


def rule(rng: np.random.Generator, n: int, m: int) -> Any:
    pairs = int(rng.integers(0, 60))
    return [
        sim.fixed_probability(rng.uniform(0, 0.3), autapses=bool(rng.integers(2))),
        sim.fixed_in_degree(int(rng.integers(0, 8))),
        sim.fixed_out_degree(int(rng.integers(0, 8))),
        sim.from_pairs(rng.integers(0, n, pairs), rng.integers(0, m, pairs)),
    ][rng.integers(4)]


def connection(rng: np.random.Generator, source: ns.simulate.instance.Population, target, name: str) -> Callable:
    conductance, delta = target.model.model == "conductance", target.model.model == "delta"
    unit = 0.2 if conductance else 2 * MV
    weight = [rng.uniform(0, unit), sim.uniform(0.0, unit), sim.normal(unit, unit, low=0.0, high=2 * unit)][
        rng.integers(3)
    ]
    delay = [rng.uniform(0.6 * DT, 3 * MS), sim.uniform(0.6 * DT, 3 * MS), sim.normal(MS, MS, low=DT)][rng.integers(3)]
    plasticity = None
    if rng.random() < 0.4:
        scaled = bool(rng.integers(2))
        change = 0.1 if scaled else 0.1 * unit
        times = {"tau_rise": rng.uniform(5, 30) * MS, "tau_fall": rng.uniform(5, 30) * MS}
        plasticity = sim.stdp(rise=change, fall=change, bounds=(0.0, 2 * unit), multiplicative=scaled, **times)
    receptor = None if delta or plasticity is None else "excitatory"
    options = {"weight": weight, "delay": delay, "plasticity": plasticity, "receptor": receptor, "name": name}
    chosen = rule(rng, source.size, target.size)
    return lambda net: net.connect(source.name, target.name, chosen, **options)


def random_network(seed: int, grid: str = "brian2", added: int | None = None) -> ns.Network:
    """A network of 3 to 5 populations; ``added`` is a seed of further parts, which send no spikes to the others."""
    rng, net = np.random.default_rng(seed), ns.Network(dt=DT, seed=int(seed % 97), grid=grid)
    more = None if added is None else np.random.default_rng(added)
    names = [f"p{k}" for k in range(int(rng.integers(1, 4)))]
    for name in names:
        size = int(rng.choice([1, 12, 40, 300], p=[0.2, 0.4, 0.3, 0.1]))
        kind = model(rng, size)
        initial = None if isinstance(kind, ns.simulate.neurons.PoissonSource) else sim.uniform(-65 * MV, -50 * MV)
        _add(net, more)
        net.population(name, size, kind, initial=initial)
    net.population(
        "cells", 30, sim.lif(bias=20 * MV, refractory=rng.uniform(0, 2 * MS)), initial=sim.uniform(-65 * MV, -50 * MV)
    )
    net.input("film", recorded(rng, t0=int(rng.integers(0, 100)) * DT))
    names += ["cells", "film"]
    parts = {name: net._populations[name] for name in names}
    targets = [part for part in parts.values() if isinstance(part.model, ns.simulate.neurons.Neuron)]
    for k in range(int(rng.integers(1, 6))):
        source, target = parts[str(rng.choice(names))], targets[rng.integers(len(targets))]
        connect = connection(rng, source, target, f"c{k}")
        _add(net, more)
        connect(net)
    for _ in range(int(rng.integers(0, 3))):
        target = targets[rng.integers(len(targets))]
        weight = 0.1 if target.model.model == "conductance" else MV
        _add(net, more)
        net.drive(target, sim.poisson(rng.uniform(10, 2000)), weight=weight)
    _add(net, more)
    return net


def _add(net: ns.Network, rng: np.random.Generator | None) -> None:
    """Perhaps one population more, with synapses from the populations so far, and a drive."""
    if rng is None or rng.random() < 0.4:
        return
    known = list(net._populations.values())
    size = int(rng.integers(1, 30))
    name = f"added {len(known)}"
    new = net.population(name, size, model(rng, size))
    if isinstance(new.model, ns.simulate.neurons.Neuron):
        for source in [*known, new][: int(rng.integers(0, 3))]:
            connection(rng, source, new, f"{source.name} -> {name}")(net)
        if rng.random() < 0.5:
            net.drive(new, sim.poisson(100.0), weight=0.1 if new.model.model == "conductance" else MV)


def own(net: ns.Network) -> list[str]:
    """The populations that no seed has added."""
    return [name for name in net._populations if not name.startswith("added")]
