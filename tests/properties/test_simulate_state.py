"""The state of a simulation: a run in parts, saved, pickled and copied between them, equals one run; added parts."""

import copy
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import DT, MS, MV, own, random_network, sim

import neurosparse as ns
from neurosparse.simulate import layout
from neurosparse.simulate.reference import run_reference
from neurosparse.simulate.run import advance
from neurosparse.simulate.state import first_state

END = 0.02
SEEDS = st.integers(0, 2**32 - 1)
TIMES = st.lists(st.floats(0, END) | st.integers(0, 200).map(lambda k: k * DT), max_size=4)
CARRIES = ("as it is", "saved", "pickled", "copied", "a new network")


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


def carried(how: str, net: ns.Network, state, folder, build) -> tuple[ns.Network, ns.simulate.State]:
    """The network and a state of it, after one of the ways to keep them."""
    if how == "saved":
        state.save(folder / "state")
        return net, sim.load_state(folder / "state")
    if how == "pickled":
        return pickled((net, state))
    if how == "copied":
        return copy.deepcopy(net), copy.deepcopy(state)
    return (build(), state) if how == "a new network" else (net, state)


def same_state(a: ns.simulate.State, b: ns.simulate.State) -> bool:
    arrays = [(getattr(a, name), getattr(b, name)) for name in ("values", "step", "neuron")]
    arrays += [(a.weights[name], b.weights[name]) for name in a.weights | b.weights]
    arrays += [pair for name in a.traces | b.traces for pair in zip(a.traces[name], b.traces[name], strict=True)]
    plain = [(a.network, a.populations, a.seed, a.now), (b.network, b.populations, b.seed, b.now)]
    return plain[0] == plain[1] and all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in arrays)


@settings(max_examples=25)
@given(network=SEEDS, seed=SEEDS, times=TIMES, hows=st.lists(st.sampled_from(CARRIES), min_size=5, max_size=5),
       grid=st.sampled_from(["brian2", "ceil"]))  # fmt: skip
def test_parts_of_a_run_equal_one_run(tmp_path_factory, network, seed, times, hows, grid):
    """At any times, on the grid or off it, with the state kept in any way between the parts."""
    folder = tmp_path_factory.getbasetemp()
    net = random_network(network, grid)
    whole, end = net.advance(END, seed=seed)
    parts, state, stops, option = [], None, sorted(times), {"seed": seed}
    for begin, stop, how in zip([0.0, *stops], [*stops, END], hows, strict=False):
        spikes, state = net.advance(stop - begin, state, **option)
        parts.append({name: events.dense() for name, events in spikes.items()})
        net, state = carried(how, net, state, folder, lambda: random_network(network, grid))
        option = {}
    # stop - begin is rounded, so that the sum may end a step later where the durations do not add up exactly.
    assert state is not None and state.now >= end.now
    for name, events in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts])[: end.now], events.dense())
    if state.now == end.now:
        assert same_state(state, end)


@settings(max_examples=25)
@given(network=SEEDS, added=SEEDS, seed=SEEDS)
def test_added_parts_change_no_other_part(network, added, seed):
    """Spikes, synapses, weights and membranes of the others stay the same bit by bit."""
    plain, grown = random_network(network), random_network(network, added=added)
    (a, end_a), (b, end_b) = plain.advance(END, seed=seed), grown.advance(END, seed=seed)
    for name in own(plain):
        assert torch.equal(a[name].row, b[name].row) and torch.equal(a[name].index, b[name].index)
        assert name not in end_a.membrane or torch.equal(end_a.membrane[name], end_b.membrane[name])
    for name in plain._projections:
        for x, y in zip(plain.synapses(name), grown.synapses(name), strict=True):
            assert torch.equal(x, y)
    assert all(np.array_equal(end_a.weights[name], end_b.weights[name]) for name in end_a.weights)


def test_parts_of_other_names_draw_other_numbers():
    net = ns.Network(dt=DT)
    for name in ("a", "b"):
        net.population(name, 100, sim.lif(), initial=sim.uniform(-65 * MV, -50 * MV))
        net.population(f"noise {name}", 100, sim.poisson(400.0))
        net.drive(name, sim.poisson(400.0), weight=MV)
    for name in ("a", "b"):
        weight, delay = sim.uniform(0.0, MV), sim.uniform(MS, 9 * MS)
        net.connect("a", "b", sim.fixed_in_degree(3), weight=weight, delay=delay, name=name)
    for x, y in zip(net.synapses("a")[1:], net.synapses("b")[1:], strict=True):
        assert (x != y).double().mean() > 0.5
    spikes, state = net.advance(0.05)
    assert not torch.equal(spikes["noise a"].counts(), spikes["noise b"].counts())
    assert (state.membrane["a"] != state.membrane["b"]).all()
    drives = [drive.name for drive in net.instance().drives]
    assert drives == ["1 -> a", "1 -> b"]


@settings(max_examples=10)
@given(network=SEEDS, seed=SEEDS, grid=st.sampled_from(["brian2", "ceil"]))
def test_random_networks_equal_the_reference(network, seed, grid):
    net = random_network(network, grid)
    spikes, state = net.advance(0.006, seed=seed)
    reference = run_reference(net.instance(), 60, seed=seed)
    for p in net.instance().populations:
        found = [
            (s, n - p.start) for s, fired in enumerate(reference.fired) for n in fired if 0 <= n - p.start < p.size
        ]
        assert found == list(zip(spikes[p.name].row.tolist(), spikes[p.name].index.tolist(), strict=True))
    np.testing.assert_allclose(state.values, reference.values, rtol=1e-12, atol=1e-15)


@settings(max_examples=20)
@given(network=SEEDS, seed=SEEDS, n_parts=st.integers(2, 5))
def test_networks_in_any_number_of_parts_are_the_same(network, seed, n_parts):
    """Spikes, membranes, weights and traces, bit by bit; with one thread the parts take turns."""
    instance = random_network(network).instance()
    start = first_state(instance, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "PARALLEL_PAYS", 0)
        divided = layout.make_layout(instance, n_parts)
    assert len(divided.bounds) > 2
    one, end = advance(instance, layout.make_layout(instance, 1), start, 200, Fraction(1, 50))
    found, other = advance(instance, divided, start, 200, Fraction(1, 50))
    assert same_state(end, other)
    for name, events in one.items():
        assert torch.equal(found[name].row, events.row) and torch.equal(found[name].index, events.index)


CONTINUE = """
import pickle, sys
from neurosparse import simulate
folder = sys.argv[1]
net = pickle.load(open(folder + "/net", "rb"))
spikes, state = net.advance(0.01, simulate.load_state(folder + "/state"))
pickle.dump((spikes, state), open(folder + "/end", "wb"))
"""


def test_another_process_continues_bit_by_bit(tmp_path):
    """Poisson noise, weights and traces of STDP, delays in flight and refractory neurons."""
    net = ns.Network(dt=DT, seed=3)
    cells = net.population("cells", 300, sim.lif(refractory=3 * MS), initial=sim.uniform(-65 * MV, -50 * MV))
    noise = net.population("noise", 300, sim.poisson(100.0))
    rule = sim.stdp(rise=0.1 * MV, fall=0.1 * MV, bounds=(0.0, 4 * MV))
    net.connect(noise, cells, sim.fixed_in_degree(20), weight=3 * MV, delay=sim.uniform(DT, 5 * MS), plasticity=rule)
    net.connect(cells, cells, sim.fixed_in_degree(20), weight=-MV, delay=8 * MS)
    net.drive(cells, sim.poisson(2000.0), weight=MV)
    _, half = net.advance(0.01, seed=7)
    before = copy.deepcopy(half)
    spikes, end = net.advance(0.01, half)
    assert same_state(half, before)  # a run does not change the state from which it starts
    whole, same = net.advance(0.02, seed=7)
    assert same_state(end, same) and len(half.step) > 0 and np.isneginf(half.values).any()
    half.save(tmp_path / "state")
    (tmp_path / "net").write_bytes(pickle.dumps(net))
    subprocess.run([sys.executable, "-W", "error", "-c", CONTINUE, str(tmp_path)], check=True)
    later, state = pickle.loads((tmp_path / "end").read_bytes())
    assert same_state(state, end)
    for name, events in spikes.items():
        assert torch.equal(later[name].dense(), events.dense()) and later[name].t0 == events.t0
        assert torch.equal(whole[name].dense()[100:], events.dense()) and events.n_events > 100


def test_the_seed_stays_until_another_is_given():
    net = ns.Network(dt=DT)
    net.population("noise", 50, sim.poisson(100.0))
    _, state = net.advance(0.1, seed=7)
    rest, end = net.advance(0.1, state)
    assert end.seed == 7
    assert torch.equal(rest["noise"].dense(), net.run(0.2, seed=7)["noise"].dense()[1000:])
    other, end = net.advance(0.1, state, seed=8)
    assert end.seed == 8
    assert torch.equal(other["noise"].dense(), net.run(0.2, seed=8)["noise"].dense()[1000:])


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickled], ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_a_network_is_its_own(how):
    net = random_network(5)
    before = {name: events.dense() for name, events in net.run(0.005).items()}
    other = how(net)
    other.connect("cells", "cells", sim.all_to_all(), weight=10 * MV, delay=DT, name="strong")
    other.drive("cells", sim.poisson(3000.0), weight=10 * MV)
    assert not torch.equal(other.run(0.005)["cells"].dense(), before["cells"])
    net.population("last", 1, sim.lif())
    assert all(torch.equal(net.run(0.005)[name].dense(), dense) for name, dense in before.items())


CHANGES = {
    "a population more": lambda net: net.population("more", 3, sim.lif()),
    "a drive more": lambda net: net.drive("cells", sim.poisson(1.0), weight=MV),
    "synapses more": lambda net: net.connect("noise", "cells", sim.all_to_all(), weight=MV, delay=MS),
}


def small(
    name="cells", size=5, seed=0, dt=DT, grid="brian2", weight=MV, delay=MS, source=1, rise=MV, rate=9.0,
    strength=MV, t0=0.0, rates=5.0, **model,
) -> ns.Network:  # fmt: skip
    """A network of few neurons with every kind of part."""
    net = ns.Network(dt=dt, seed=seed, grid=grid)
    cells = net.population(name, size, sim.lif(**model), initial=sim.uniform(-65 * MV, -50 * MV))
    net.population("noise", 2, sim.poisson(rates))
    film = net.input("film", ns.EventTensor.from_dense(torch.ones(1, 1, 2, dtype=torch.bool), dt=dt, t0=t0))
    rule = sim.stdp(rise=rise, fall=MV, bounds=(0, 10 * MV))
    net.connect(film, cells, sim.from_pairs([source], [0]), weight=weight, delay=delay, plasticity=rule)
    net.drive(cells, sim.poisson(rate), weight=strength)
    return net


OTHERS = {
    "name": {"name": "neurons"}, "size": {"size": 6}, "seed": {"seed": 1}, "dt": {"dt": 2e-4}, "grid": {"grid": "ceil"},
    "bias": {"bias": MV}, "time constant": {"tau": 10 * MS}, "refractory time": {"refractory": MS},
    "rate": {"rates": 6.0},
    "weight": {"weight": 2 * MV}, "delay": {"delay": 2 * MS}, "synapse": {"source": 0}, "plasticity": {"rise": 2 * MV},
    "rate of a drive": {"rate": 10.0}, "weight of a drive": {"strength": 2 * MV}, "start of spikes": {"t0": MS},
}  # fmt: skip


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_state_of_another_network_is_refused(change):
    _, state = small().advance(MS)
    assert small().advance(MS, state)[1].now == 20
    with pytest.raises(ns.InputError, match="a state of another network"):
        small(**change).advance(MS, state)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_state_from_before_a_change_is_refused(change):
    net = small()
    _, state = net.advance(MS)
    change(net)
    with pytest.raises(ns.InputError, match="a state of another network"):
        net.advance(MS, state)


@settings(max_examples=30)
@given(data=st.data())
def test_damaged_state_files_are_refused(tmp_path_factory, data):
    """One bit in another state, a part missing, bytes more."""
    path = tmp_path_factory.getbasetemp() / "damaged"
    net = ns.Network(dt=DT)
    net.connect(net.population("a", 3, sim.lif()), "a", sim.all_to_all(), weight=MV, delay=MS,
                plasticity=sim.stdp(rise=MV, fall=MV, bounds=(0, MV)))  # fmt: skip
    net.advance(MS)[1].save(path)
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["bit", "cut", "more"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "bit":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    content = content[:at] if kind == "cut" else content + b"\0" if kind == "more" else content
    path.write_bytes(content)
    with pytest.raises(ns.InputError, match="a complete neurosparse-network-state file") as refusal:
        sim.load_state(path)
    assert "\n" not in str(refusal.value)


def test_other_files_are_no_states(tmp_path):
    with pytest.raises(FileNotFoundError, match="Check the path"):
        sim.load_state(tmp_path / "none")
    ns.EventTensor.from_dense(torch.ones(2, 1, 3), dt=1e-3).save(tmp_path / "events")
    with pytest.raises(ns.InputError, match="neurosparse-events"):
        sim.load_state(tmp_path / "events")


def test_spikes_begin_at_their_t0():
    net = ns.Network(dt=DT)
    train = ns.EventTensor.from_times([0.0, 0.002], [0, 1], n_units=2, dt=DT).steps(0, 21)
    shifted = ns.EventTensor.from_dense(train.dense().bool(), dt=DT, t0=0.01)
    net.input("in", shifted)
    spikes, state = net.advance(0.005)
    assert spikes["in"].n_events == 0
    spikes = net.advance(0.01, state)[0]["in"]
    assert spikes.times().tolist() == [10_000_000, 12_000_000] == shifted.times().tolist()


@pytest.mark.parametrize("added", [0, 1])
def test_blocks_of_sources_and_drives_are_independent(added):
    """Counts of neuron k of one block of 256 and of neuron k of the next: no correlation; drives of one target too."""
    net = ns.Network(dt=DT)
    net.population("noise", 1024, sim.poisson(200.0))
    cells = net.population("cells", 512, sim.delta_lif(1e3, threshold=1.0, reset=-1.0, rest=0.0), initial=0.0)
    for _ in range(2 if added else 1):
        net.drive(cells, sim.poisson(300.0), weight=MV)
    spikes, state = net.advance(0.2)
    blocks = spikes["noise"].counts()[0].reshape(4, 256).double()
    blocks = torch.cat([blocks, state.membrane["cells"].reshape(2, 256) / MV])
    table = torch.corrcoef(blocks)
    assert float((table - torch.eye(6)).abs().max()) < 5 / 256**0.5  # five standard deviations
    # The sum of two independent drives of rate r has the variance 2 r T, that of one drive taken twice 4 r T.
    mean = (1 + added) * 300 * 0.2
    assert abs(float(blocks[4:].var()) - mean) < 5 * mean * (2 / 512) ** 0.5 * 1.1
