"""Properties of network runs: equal to the reference, for any threads, division in parts and numbering of neurons."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.simulate import layout
from neurosparse.simulate.reference import run_reference

sim = ns.simulate
MS, MV = 1e-3, 1e-3


def recording(steps: int = 40, units: int = 30) -> ns.EventTensor:
    generator = torch.Generator().manual_seed(4)
    return ns.EventTensor.from_dense(torch.rand(steps, 1, units, generator=generator) < 0.1, dt=1e-4)


def everything(seed: int = 0, scale: float = 1.0) -> ns.Network:
    """All neuron models, sources, synapses and delays; several blocks of neurons, so that several threads are used."""
    net = ns.Network(dt=1e-4, seed=seed)
    bias = np.linspace(10, 20, 300) * MV
    cells = net.population(
        "current", 300, sim.lif(refractory=1 * MS, bias=bias), initial=sim.uniform(-65 * MV, -50 * MV)
    )
    jumps = net.population("delta", 280, sim.delta_lif(refractory=2 * MS, bias=14 * MV))
    soft = net.population("conductance", 270, sim.conductance_lif(bias=8 * MV))
    noise = net.population("noise", 300, sim.poisson(200.0))
    film = net.input("film", recording())
    k, late = sim.fixed_in_degree(20), sim.uniform(0.3 * MS, 1.2 * MS)
    net.connect(film, cells, sim.fixed_probability(0.3), weight=scale * 2 * MV, delay=0.5 * MS)
    net.connect(noise, cells, k, weight=sim.normal(scale * MV, 0.3 * scale * MV, low=0.0), delay=late)
    net.connect(cells, jumps, k, weight=scale * 0.5 * MV, delay=late)
    net.connect(cells, cells, k, weight=-scale * MV, delay=0.3 * MS)
    net.connect(jumps, soft, sim.fixed_out_degree(15), weight=scale * 0.2, delay=1 * MS)
    net.connect(soft, soft, k, weight=scale * 0.3, delay=late, receptor="inhibitory")
    rule = sim.stdp(rise=0.05 * MV, fall=0.06 * MV, bounds=(0.0, 3 * scale * MV), tau_fall=30 * MS)
    net.connect(noise, jumps, k, weight=scale * MV, delay=late, plasticity=rule)
    rule = sim.stdp(rise=0.02, fall=0.03, bounds=(0.0, 2 * scale * MV), multiplicative=True)
    net.connect(jumps, jumps, k, weight=scale * MV, delay=0.4 * MS, plasticity=rule)
    net.drive(jumps, sim.poisson(5.0, sources=100), weight=scale * MV)
    net.drive(soft, sim.poisson(np.linspace(0, 900, 270)), weight=scale * 0.4)
    return net


def pairs(spikes: dict[str, ns.EventTensor]) -> dict[str, tuple[list, list]]:
    return {name: (events.row.tolist(), events.index.tolist()) for name, events in spikes.items()}


@pytest.fixture
def divided(monkeypatch):
    """Even the smallest networks are divided."""
    monkeypatch.setattr(layout, "PARALLEL_PAYS", 0)


@pytest.fixture
def two_threads(divided):
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def assert_equals_the_reference(net: ns.Network, steps: int) -> None:
    spikes, state = net.advance(steps * net.dt, seed=3)
    reference = run_reference(net.instance(), steps, seed=3)
    found = np.zeros((steps, state.values.shape[1]), dtype=bool)
    for p in net.instance().populations:
        found[spikes[p.name].row, spikes[p.name].index + p.start] = True
    expected = np.zeros_like(found)
    for step, fired in enumerate(reference.fired):
        expected[step, fired] = True
    assert expected.sum(0)[:850].any() and (found == expected).all()
    np.testing.assert_allclose(state.values, reference.values, rtol=1e-12, atol=1e-15)
    for name, weight in reference.weights.items():
        np.testing.assert_allclose(state.weights[name], weight, rtol=1e-9)
        assert (weight != weight[0]).any()  # something was learned


def test_the_loop_equals_the_reference():
    assert_equals_the_reference(everything(), 150)


def test_two_threads_equal_the_reference(two_threads):
    assert_equals_the_reference(everything(), 150)


@settings(max_examples=8)
@given(stops=st.lists(st.integers(1, 149), max_size=3, unique=True), seed=st.integers(0, 5))
def test_parts_of_a_run_equal_one_run(stops, seed):
    net = everything(seed)
    whole, end = net.advance(0.015, seed=seed)
    state, steps, parts = None, [0, *sorted(stops), 150], []
    for begin, stop in pairwise(steps):
        spikes, state = net.advance((stop - begin) * net.dt, state, seed=seed)
        assert all(abs(events.t0 - begin * net.dt) < 1e-12 for events in spikes.values())
        parts.append({name: events.dense() for name, events in spikes.items()})
    for name, events in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), events.dense())
    assert state is not None and np.array_equal(state.values, end.values)
    assert all(np.array_equal(state.weights[name], end.weights[name]) for name in end.weights)


def test_a_run_does_not_change_the_network():
    net = everything()
    first = pairs(net.run(0.01))
    assert pairs(net.run(0.01)) == first == pairs(everything().run(0.01))
    assert pairs(net.run(0.01, seed=1)) != first != pairs(everything(seed=1).run(0.01))


def test_renumbered_neurons_fire_renumbered_spikes():
    """Weights are powers of two, so that their sums are exact in any order."""
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 400, 8000), rng.integers(0, 400, 8000)
    weight, delay = rng.choice([2.0**-10, 2.0**-9], 8000), rng.integers(1, 20, 8000) * 1e-4
    new = rng.permutation(400)
    initial = rng.uniform(-65 * MV, -45 * MV, 400)

    def fired(name: np.ndarray) -> torch.Tensor:
        net = ns.Network(dt=1e-4)
        first = np.empty(400)
        first[name] = initial
        cells = net.population("cells", 400, sim.lif(refractory=2 * MS, bias=14 * MV), initial=first)
        net.connect(cells, cells, sim.from_pairs(name[source], name[target]), weight=weight, delay=delay)
        return net.run(0.05)["cells"].dense()

    plain = fired(np.arange(400))
    assert plain.sum() > 100 and torch.equal(plain, fired(new)[:, :, new])


def test_weights_of_zero_have_no_effect():
    loud, mute = everything(), everything(scale=0.0)
    alone = ns.Network(dt=1e-4)
    alone.population("delta", 280, sim.delta_lif(refractory=2 * MS, bias=14 * MV))
    assert mute.run(0.02)["delta"].n_events == alone.run(0.02)["delta"].n_events == 0
    assert loud.run(0.02)["delta"].n_events > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_full_record_loses_no_spikes(threads, divided, monkeypatch):
    """The record of a thread is filled and emptied several times."""
    net = everything()
    expected = pairs(net.run(0.02))
    assert len(layout.make_layout(net.instance(), threads).bounds) == threads + 1
    monkeypatch.setattr("neurosparse.simulate.run.CAPACITY", 1)
    monkeypatch.setattr("neurosparse.simulate.run.CHUNK", 37)
    torch.set_num_threads(threads)
    try:
        assert pairs(net.run(0.02)) == expected
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("neurons", "delay", "bounds"),
    [(20_000, 0.1, [0, 20_000]), (20_000, 1.5, [0, 10_240, 20_000]), (800, 1.5, [0, 800])],
)
def test_little_work_between_arrivals_is_not_divided(neurons, delay, bounds):
    """Threads synchronise once per shortest delay, which costs as much as many neurons."""
    net = ns.Network(dt=1e-4)
    cells = net.population("cells", neurons, sim.lif())
    net.connect(cells, cells, sim.from_pairs([0], [1]), weight=MV, delay=delay * MS)
    assert layout.make_layout(net.instance(), 2).bounds.tolist() == bounds


def test_populations_begin_on_cache_lines():
    instance = everything().instance()
    values = layout.aligned(instance.values)
    assert np.array_equal(values, instance.values) and values is not instance.values
    for p in instance.populations:
        assert all(values[row, p.start :].ctypes.data % 64 == 0 for row in range(3))
