"""Networks: refused arguments, and the contract of every neuron model and every connection rule."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

import neurosparse as ns
from neurosparse.simulate.rules import Rule

sim = ns.simulate
MS, MV = 1e-3, 1e-3
LIF = sim.lif()
NAN = float("nan")


def network() -> ns.Network:
    net = ns.Network(dt=1e-4)
    net.population("a", 10, LIF)
    net.population("b", 5, sim.conductance_lif())
    net.population("noise", 4, sim.poisson(10.0))
    return net


def connected(source: str = "a", target: str = "a", rule: Rule | None = None, **options) -> object:
    net = network()
    net.connect(source, target, rule or sim.all_to_all(), **{"weight": MV, "delay": MS, **options})
    return net.run(0.001)


def train(**options) -> ns.EventTensor:
    shape = options.pop("shape", (5, 1, 2))
    return ns.EventTensor.from_dense(torch.zeros(shape, dtype=torch.bool), **{"dt": 1e-4, **options})


graded = ns.EventTensor.from_dense(torch.full((5, 1, 2), 0.5), dt=1e-4)
between = ns.EventTensor.from_times([0.00013], [0], n_units=2, dt=1e-4)

REFUSED = {
    "dt of 0": (lambda: ns.Network(dt=0), "dt > 0"),
    "two dt": (lambda: ns.Network(dt=[1e-4, 1e-3]), "one number"),
    "seed of -1": (lambda: ns.Network(seed=-1), "whole number, at least 0"),
    "no population": (lambda: ns.Network().run(0.1), "no population"),
    "population of 0": (lambda: ns.Network().population("a", 0, LIF), "got size=0"),
    "half a neuron": (lambda: ns.Network().population("a", 0.5, LIF), "got size=0.5"),
    "no model": (lambda: ns.Network().population("a", 3, "lif"), "simulate.lif"),
    "name twice": (lambda: network().population("a", 3, LIF), "'a' again"),
    "initial NaN": (lambda: _initial(NAN), "NaN"),
    "initial for two": (lambda: _initial([0.0, 0.0]), "one number or 3"),
    "initial upside down": (lambda: _initial(sim.uniform(1, 0)), "low <= high"),
    "negative deviation": (lambda: _initial(sim.normal(0, -1)), "deviation >= 0"),
    "initial of sources": (lambda: network().population("x", 3, sim.poisson(1.0), initial=0.0), "membrane"),
    "bias for two": (lambda: _biased([0.0, 0.0]), "one number or 3"),
    "negative rate": (lambda: sim.poisson(-1.0), "rate >= 0"),
    "no source": (lambda: sim.poisson(1.0, sources=0), "whole number, at least 1"),
    "spike every step": (lambda: network().population("x", 3, sim.poisson(1e4)), "less than one spike per step"),
    "rates for two": (lambda: network().population("x", 3, sim.poisson([1.0, 2.0])), "one number or 3"),
    "tau of 0": (lambda: sim.lif(0.0), "tau > 0"),
    "synapse tau of 0": (lambda: sim.lif(tau_excitatory=0.0), "tau_excitatory > 0"),
    "negative refractory": (lambda: sim.delta_lif(refractory=-MS), "refractory >= 0"),
    "reset above threshold": (lambda: sim.conductance_lif(reset=-40 * MV), "threshold > reset"),
    "unknown source": (lambda: connected("c"), "(a, b, noise)"),
    "foreign population": (lambda: connected(ns.Network().population("a", 10, LIF)), "of this network"),
    "target that sends": (lambda: connected(target="noise"), "no membrane"),
    "no rule": (lambda: connected(rule=0.1), "a connection rule"),
    "delay under dt": (lambda: connected(delay=0.04 * MS), "1 to 2**20 steps"),
    "negative delay": (lambda: connected(delay=-MS), "1 to 2**20 steps"),
    "delay of minus infinity": (lambda: connected(delay=-1e300), "1 to 2**20 steps"),
    "delay NaN": (lambda: connected(delay=NAN), "NaN"),
    "one short delay": (lambda: connected(delay=[MS] * 99 + [0.0]), "1 to 2**20 steps"),
    "endless delay": (lambda: connected(delay=1e6), "2**20 steps"),
    "weight NaN": (lambda: connected(weight=NAN), "NaN"),
    "weights for two": (lambda: connected(weight=[MV, MV]), "one number or 100"),
    "no weight": (lambda: connected(weight=None), "no weight"),
    "both signs": (lambda: connected(weight=sim.normal(0, MV)), "both signs"),
    "negative conductance": (lambda: connected(target="b", weight=-1.0), "weight >= 0"),
    "unknown receptor": (lambda: connected(receptor="nmda"), "one of 'excitatory', 'inhibitory'"),
    "projection twice": (lambda: _twice(), "Pass name="),
    "probability of 2": (lambda: sim.fixed_probability(2.0), "0 <= p <= 1"),
    "plasticity of another kind": (lambda: connected(plasticity=0.1), "simulate.stdp"),
    "degree of -1": (lambda: sim.fixed_in_degree(-1), "got k=-1"),
    "half a degree": (lambda: sim.fixed_out_degree(0.5), "got k=0.5"),
    "one to two": (lambda: connected(target="b", rule=sim.one_to_one(), weight=1.0), "as many sources as targets"),
    "neuron not there": (lambda: connected(rule=sim.from_pairs([0], [10])), "0..9"),
    "pairs of floats": (lambda: sim.from_pairs([0.5], [1]), "integers"),
    "pairs of odd lengths": (lambda: sim.from_pairs([0, 1], [1]), "(synapses) twice"),
    "matrix of other size": (lambda: connected(rule=sim.from_matrix(np.ones((5, 10)))), "(10, 10)"),
    "matrix of NaN": (lambda: sim.from_matrix([[NAN]]), "finite"),
    "vector for a matrix": (lambda: sim.from_matrix([1.0]), "a matrix"),
    "driven sources": (lambda: network().drive("noise", sim.poisson(1.0), weight=MV), "no membrane"),
    "drive by neurons": (lambda: network().drive("a", LIF, weight=MV), "simulate.poisson"),
    "drive for two": (lambda: network().drive("a", sim.poisson([1.0, 1.0]), weight=MV), "one number or 10"),
    "drive NaN": (lambda: network().drive("a", sim.poisson(1.0), weight=NAN), "NaN"),
    "negative drive": (lambda: network().drive("b", sim.poisson(1.0), weight=-1.0), "weight >= 0"),
    "no events": (lambda: network().input("x", torch.zeros(5, 1, 2)), "spikes (steps, 1, units)"),
    "two samples": (lambda: network().input("x", train(shape=(5, 2, 2))), "one sample"),
    "graded events": (lambda: network().input("x", graded), "spikes (steps, 1, units)"),
    "other dt": (lambda: network().input("x", train(dt=1e-3)), "the network's dt"),
    "no dt": (lambda: network().input("x", train(dt=None)), "the network's dt"),
    "spikes between steps": (lambda: network().input("x", between), "on the grid"),
    "time backwards": (lambda: network().run(-0.1), "seconds >= 0"),
    "endless time": (lambda: network().run(float("inf")), "seconds >= 0"),
    "a time without end": (lambda: network().run(1e300), "2**40 steps"),
    "another grid": (lambda: ns.Network(grid="floor"), "'brian2', 'ceil'"),
    "endless refractory time": (lambda: network().population("x", 3, sim.lif(refractory=1e9)), "2**20 steps"),
    "spikes before the start": (lambda: network().input("x", train(t0=-1e-4)), "from 0 on"),
    "a start between steps": (lambda: network().input("x", train(t0=1.5e-4)), "whole number of steps"),
    "drive twice": (lambda: _driven_twice(), "'x' again"),
    "unknown projection": (lambda: network().synapses("x"), "none yet"),
    "tau of plasticity": (lambda: sim.stdp(rise=1, fall=1, tau_rise=0, bounds=(0, 1)), "tau > 0"),
    "bounds that cross": (lambda: sim.stdp(rise=1, fall=1, bounds=(1, 0)), "low <= high"),
    "weights out of bounds": (lambda: connected(plasticity=sim.stdp(rise=0, fall=0, bounds=(2, 3))), "bounds 2..3"),
}  # fmt: skip


def _initial(value: object) -> object:
    net = ns.Network()
    net.population("a", 3, LIF, initial=value)
    return net.run(0.1)


def _biased(value: object) -> object:
    net = ns.Network()
    net.population("a", 3, sim.lif(bias=value))
    return net.run(0.1)


def _driven_twice() -> None:
    net = network()
    for _ in range(2):
        net.drive("a", sim.poisson(1.0), weight=MV, name="x")


def _twice() -> None:
    net = network()
    for _ in range(2):
        net.connect("a", "a", sim.all_to_all(), weight=MV, delay=MS)


@pytest.mark.parametrize("call, says", REFUSED.values(), ids=REFUSED)
def test_invalid_arguments_are_refused_in_one_sentence(call, says):
    with pytest.raises(ns.InputError) as refusal:
        call()
    assert says in str(refusal.value) and "\n" not in str(refusal.value) and "expected" in str(refusal.value)


NEURONS = {"lif": sim.lif, "delta_lif": sim.delta_lif, "conductance_lif": sim.conductance_lif}


@pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS)
def test_every_neuron(make):
    """No spikes at rest; intervals under a strong bias are at least refractory; arrivals act by their receptor."""
    net = ns.Network(dt=1e-4)
    net.population("quiet", 3, make())
    net.population("pushed", 3, make(refractory=3 * MS, bias=1.0))
    pulled = net.population("pulled", 2, make())
    one = ns.EventTensor.from_dense(torch.tensor([[[True, True]]]), dt=1e-4)
    receptors = make().receptors
    for k, receptor in enumerate((receptors[0], receptors[-1])):
        spike = net.input(f"spike {k}", one)
        sign = -1 if k and make is not sim.conductance_lif else 1
        rule = sim.from_pairs([k], [k])
        net.connect(spike, pulled, rule, weight=sign * 0.01, delay=1 * MS, receptor=receptor)
    spikes, state = net.advance(0.0012)
    rest = make().parameters["rest"]
    up, down = state.membrane["pulled"] - rest
    assert up > 0 > down
    spikes, state = net.advance(0.1, state)
    assert spikes["quiet"].n_events == 0
    assert (state.membrane["quiet"] == rest).all()
    steps = spikes["pushed"].row[spikes["pushed"].index == 0]
    assert len(steps) > 20 and int(steps.diff().min()) >= 30


RULES = {
    "probability": (sim.fixed_probability(0.1), 0.1 * 300 * 200),
    "in-degree": (sim.fixed_in_degree(7), 7 * 200),
    "out-degree": (sim.fixed_out_degree(7), 7 * 300),
    "all": (sim.all_to_all(), 300 * 200),
    "pairs": (sim.from_pairs([5, 5, 2], [1, 1, 3]), 3),
    "matrix": (sim.from_matrix(np.eye(200, 300)), 200),
}


@pytest.mark.parametrize("rule, expected", RULES.values(), ids=RULES)
def test_every_rule(rule, expected):
    """The number of synapses, their order, and the same synapses from the same seed."""

    def drawn(seed: int = 0) -> ns.simulate.instance.Synapses:
        net = ns.Network(seed=seed)
        net.connect(net.population("a", 300, LIF), net.population("b", 200, LIF), rule, weight=MV, delay=MS)
        return net.synapses("a -> b")

    s = drawn()
    assert abs(len(s.source) - expected) <= (5 * (expected * 0.9) ** 0.5 if "probability" in rule.name else 0)
    assert ((s.source.diff() > 0) | (s.source.diff() == 0) & (s.target.diff() >= 0)).all()
    assert torch.equal(s.target, drawn().target)
    if rule.name.startswith("fixed"):
        assert len(drawn(1).target) != len(s.target) or not torch.equal(drawn(1).target, s.target)
    if rule.name == "fixed_in_degree":
        assert (torch.bincount(s.target) == 7).all()
    if rule.name == "fixed_out_degree":
        assert (torch.bincount(s.source) == 7).all()


WRONG_TYPES = {
    "a probability": lambda: sim.fixed_probability("a"),  # type: ignore[arg-type]
    "a degree": lambda: sim.fixed_in_degree(True),
    "a size": lambda: ns.Network().population("a", True, LIF),
    "one bound": lambda: sim.stdp(rise=1e-5, fall=1e-5, bounds=1),
    "a state": lambda: network().advance(0.01, "x"),  # type: ignore[arg-type]
    "a duration that is a boolean": lambda: network().run(True),
    "a duration that is a string": lambda: network().run("0.1"),
    "a seed that is a boolean": lambda: ns.Network(seed=True),
    "a seed of a run": lambda: network().run(0.001, seed=0.5),  # type: ignore[arg-type]
    "a dt that is a string": lambda: ns.Network("1e-4"),
    "a name": lambda: ns.Network().population(["a"], 3, LIF),  # type: ignore[arg-type]
    "a name of a projection": lambda: connected(name=["a"]),
}


@pytest.mark.parametrize("call", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_arguments_of_another_type_are_refused_in_one_sentence(call):
    with pytest.raises(ns.InputError, match="expected"):
        call()


@pytest.mark.parametrize("p", [0, 0.0, 1e-17, 1e-300])
def test_a_probability_of_zero_makes_no_synapses(p):
    net = network()
    assert len(net.synapses(net.connect("a", "a", sim.fixed_probability(p), weight=MV, delay=MS)).source) == 0


@pytest.mark.parametrize("make", [sim.fixed_probability, sim.fixed_in_degree, sim.fixed_out_degree, sim.all_to_all])
def test_without_autapses_no_neuron_is_connected_to_itself(make):
    arguments = {sim.fixed_probability: (0.5,), sim.all_to_all: ()}.get(make, (30,))
    for autapses in (True, False):
        net = ns.Network()
        cells = net.population("a", 40, LIF)
        net.connect(cells, cells, make(*arguments, autapses=autapses), weight=MV, delay=MS)
        s = net.synapses("a -> a")
        assert bool((s.source == s.target).any()) == autapses
        assert s.source.unique().numel() == s.target.unique().numel() == 40


def test_sources_and_targets_are_uniform():
    net = ns.Network(seed=2)
    cells = net.population("a", 50, LIF)
    for rule in (sim.fixed_out_degree(400), sim.fixed_in_degree(400), sim.fixed_probability(0.4)):
        net.connect(cells, cells, rule, weight=MV, delay=MS, name=rule.name)
        s = net.synapses(rule.name)
        for side in (s.source, s.target):
            counts = torch.bincount(side, minlength=50).double()
            chi2 = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
            assert chi2 < 100  # 49 degrees of freedom: p < 1e-4


@pytest.mark.parametrize("form", [torch.tensor, np.array, scipy.sparse.csr_array, scipy.sparse.coo_matrix, "torch"])
def test_rows_of_a_matrix_are_targets(form):
    weight = [[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]]
    rule = sim.from_matrix(torch.tensor(weight).to_sparse() if form == "torch" else form(weight))
    net = ns.Network()
    net.connect(net.population("a", 3, LIF), net.population("b", 2, LIF), rule, delay=MS)
    s = net.synapses("a -> b")
    assert (s.source.tolist(), s.target.tolist(), s.weight.tolist()) == ([0, 1, 2], [1, 0, 1], [3.0, 2.0, 4.0])


def test_weights_and_delays_of_pairs_keep_their_order():
    net = ns.Network(dt=1e-4)
    cells = net.population("a", 3, LIF)
    rule = sim.from_pairs([2, 0, 2], [1, 2, 0])
    net.connect(cells, cells, rule, weight=[1.0, 2.0, 3.0], delay=[1 * MS, 2 * MS, 3 * MS])
    s = net.synapses("a -> a")
    assert (s.source.tolist(), s.target.tolist(), s.weight.tolist()) == ([0, 2, 2], [2, 0, 1], [2.0, 3.0, 1.0])
    assert torch.allclose(s.delay, torch.tensor([2, 3, 1], dtype=torch.float64) * MS)


def test_numbers_of_numpy_and_tensors_are_numbers():
    """The same network and spikes from NumPy scalars and tensors of no axes as from Python numbers."""

    def spikes(whole, real) -> ns.EventTensor:
        net = ns.Network(real(1e-4), seed=whole(3))
        noise = net.population("noise", whole(20), sim.poisson(real(100.0), sources=whole(2)))
        cells = net.population("cells", whole(10), sim.lif(real(20 * MS), bias=real(16 * MV)))
        net.connect(noise, cells, sim.fixed_in_degree(whole(3)), weight=real(MV), delay=real(MS))
        net.connect(cells, cells, sim.fixed_probability(real(0.5)), weight=real(MV), delay=real(MS))
        return net.run(real(0.05), seed=whole(1))["cells"]

    plain = spikes(int, float)
    assert plain.n_events > 0
    for whole, real in ((np.int64, np.float64), (torch.tensor, lambda x: torch.tensor(x, dtype=torch.float64))):
        other = spikes(whole, real)
        assert torch.equal(other.row, plain.row) and torch.equal(other.index, plain.index)


def test_draws_of_a_normal_distribution_are_clipped_at_both_bounds():
    net = ns.Network()
    rule = sim.fixed_in_degree(50)
    net.connect(net.population("a", 40, LIF), net.population("b", 40, LIF), rule, name="x",
                weight=sim.normal(MV, MV, low=0.5 * MV, high=1.5 * MV), delay=MS)  # fmt: skip
    weight = net.synapses("x").weight
    assert float(weight.min()) == 0.5 * MV and float(weight.max()) == 1.5 * MV and len(weight.unique()) > 100
    with pytest.raises(ns.InputError, match="low <= high"):
        connected(weight=sim.normal(0, MV, low=MV, high=0))


@pytest.mark.parametrize("form", [np.array, torch.tensor, scipy.sparse.coo_array])
def test_arrays_that_change_later_change_no_network(form):
    """A network is drawn when it is used, from what was passed."""
    weight = form([[0.0, 2.0], [3.0, 0.0]])
    net, delay, initial = ns.Network(), np.full(2, MS), np.full(2, -60 * MV)
    cells = net.population("a", 2, LIF, initial=initial)
    net.connect(cells, cells, sim.from_matrix(weight), delay=delay)
    (weight.data if scipy.sparse.issparse(weight) else weight)[:] = 7.0
    initial += MV
    delay *= 5
    assert net.synapses("a -> a").weight.tolist() == [3.0, 2.0]
    assert net.synapses("a -> a").delay.tolist() == [MS, MS]
    assert net.instance().values[0, :2].tolist() == [-60 * MV + 65 * MV] * 2


PICKLED = {**{name: make() for name, make in NEURONS.items()}, **{name: rule for name, (rule, _) in RULES.items()},
           "one to one": sim.one_to_one(), "poisson": sim.poisson(3.0), "normal": sim.normal(0, 1),
           "stdp": sim.stdp(rise=0.1, fall=0.1, bounds=(0, 1))}  # fmt: skip


@pytest.mark.parametrize("part", PICKLED.values(), ids=PICKLED)
def test_parts_of_a_network_can_be_pickled_and_copied(part):
    for kept in (pickle.loads(pickle.dumps(part)), copy.deepcopy(part)):
        if isinstance(part, Rule):
            drawn = [
                each.draw(np.random.default_rng(0), 300, 300 - 100 * ("one" not in part.name), False)
                for each in (kept, part)
            ]
            assert all(np.array_equal(x, y) for x, y in zip(*(each[:2] for each in drawn), strict=True))
        else:
            assert repr(kept) == repr(part)
