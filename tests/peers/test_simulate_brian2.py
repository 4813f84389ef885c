"""Brian2 with the same synapses: every spike of linear and conductance-based networks, weights under STDP.

Brian2 integrates the linear equations by its own exact method, and those with conductances by its exponential Euler.
"""

import numpy as np
import pytest

import neurosparse as ns

sim = ns.simulate
MS, MV = 1e-3, 1e-3


@pytest.fixture(scope="module")
def b2():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRIAN2_LOG", "0")
        module = pytest.importorskip("brian2")
    module.prefs.codegen.target = "numpy"
    module.BrianLogger.suppress_name("base")
    module.BrianLogger.suppress_hierarchy("brian2")
    return module


EXPONENTIAL = "dge/dt = -ge/(5*ms) : {unit}\ndgi/dt = -gi/(10*ms) : {unit}\n"
CURRENT = "dv/dt = (ge + gi - (v + 49*mV))/(20*ms) : volt (unless refractory)\n" + EXPONENTIAL.format(unit="volt")
CONDUCTANCE = (
    "dv/dt = (ge*(0*mV - v) + gi*(-80*mV - v) - (v + 60*mV) + 15*mV)/(20*ms) : volt (unless refractory)\n"
    + EXPONENTIAL.format(unit="1")
)
DELTA = "dv/dt = -(v + 49*mV)/(20*ms) : volt (unless refractory)\n"


def pairs_of(spikes: ns.EventTensor) -> set[tuple[int, int]]:
    return set(zip(spikes.row.tolist(), spikes.index.tolist(), strict=True))


def in_brian2(b2, net, equations, method, refractory, on_pre, seconds) -> set[tuple[int, int]]:
    """Spikes in Brian2 of a network's only population, with the same synapses; ``on_pre`` by projection."""
    drawn = net.instance()
    population = drawn.populations[0]
    group = b2.NeuronGroup(
        *(population.size, equations),
        threshold="v > -50*mV",
        reset="v = -60*mV",
        refractory=refractory * b2.ms,
        method=method,
        dt=net.dt * b2.second,
    )
    group.v = (drawn.values[0, : population.size] + population.model.parameters["rest"]) * b2.volt
    unit = "1" if equations is CONDUCTANCE else "volt"
    parts = [group]
    for name, code in on_pre.items():
        s = net.synapses(name)
        synapses = b2.Synapses(group, group, f"w : {unit}", on_pre=code, dt=net.dt * b2.second)
        synapses.connect(i=s.source.numpy(), j=s.target.numpy())
        synapses.w = s.weight.numpy() * (1 if unit == "1" else b2.volt)
        synapses.delay = s.delay.numpy() * b2.second
        parts.append(synapses)
    monitor = b2.SpikeMonitor(group)
    b2.Network(*parts, monitor).run(seconds * b2.second)
    steps = np.rint(np.asarray(monitor.t) / net.dt).astype(int)
    return set(zip(steps.tolist(), np.asarray(monitor.i).tolist(), strict=True))


def balanced(model, excite, inhibit, delay, n=400, k=40) -> ns.Network:
    """One population; the first four fifths are excitatory and the others inhibitory."""
    rng = np.random.default_rng(1)
    net = ns.Network(dt=1e-4, seed=1)
    cells = net.population("cells", n, model, initial=sim.uniform(-60 * MV, -50 * MV))
    for name, first, last, weight in (("e", 0, 4 * n // 5, excite), ("i", 4 * n // 5, n, inhibit)):
        source = np.repeat(np.arange(first, last), k)
        receptor = None if "membrane" in model.receptors else {"e": "excitatory", "i": "inhibitory"}[name]
        rule = sim.from_pairs(source, rng.integers(0, n, len(source)))
        net.connect(cells, cells, rule, weight=weight, delay=delay, receptor=receptor, name=name)
    return net


DELAYS = {"one step": 0.1 * MS, "15 steps": 1.5 * MS, "one each": sim.uniform(0.1 * MS, 3 * MS)}


@pytest.mark.parametrize("delay", DELAYS.values(), ids=DELAYS)
def test_currents(b2, delay):
    """CUBA of Brette et al. 2007 with a tenth of its neurons."""
    model = sim.lif(20 * MS, rest=-49 * MV, threshold=-50 * MV, reset=-60 * MV, refractory=5 * MS)
    net = balanced(model, 1.62 * MV, -9 * MV, delay)
    ours = pairs_of(net.run(0.1)["cells"])
    theirs = in_brian2(b2, net, CURRENT, "exact", 5, {"e": "ge_post += w", "i": "gi_post += w"}, 0.1)
    assert len(ours) > 200 and ours == theirs


def test_a_weight_and_a_delay_each(b2):
    model = sim.lif(20 * MS, rest=-49 * MV, threshold=-50 * MV, reset=-60 * MV, refractory=5 * MS)
    net = balanced(model, sim.uniform(0, 3 * MV), sim.normal(-9 * MV, 2 * MV, high=0.0), DELAYS["one each"])
    ours = pairs_of(net.run(0.1)["cells"])
    theirs = in_brian2(b2, net, CURRENT, "exact", 5, {"e": "ge_post += w", "i": "gi_post += w"}, 0.1)
    assert len(ours) > 200 and ours == theirs


def test_delta_synapses(b2):
    """Arrivals at a neuron that is refractory, or fires in this step, are lost."""
    model = sim.delta_lif(20 * MS, rest=-49 * MV, threshold=-50 * MV, reset=-60 * MV, refractory=2 * MS)
    net = balanced(model, 0.4 * MV, -2 * MV, 1.5 * MS)
    ours = pairs_of(net.run(0.1)["cells"])
    theirs = in_brian2(b2, net, DELTA, "exact", 2, {"e": "v_post += w", "i": "v_post += w"}, 0.1)
    assert len(ours) > 300 and ours == theirs


def test_conductances(b2):
    model = sim.conductance_lif(20 * MS, refractory=5 * MS, bias=15 * MV)
    net = balanced(model, 0.6, 6.7, DELAYS["one each"])
    ours = pairs_of(net.run(0.1)["cells"])
    theirs = in_brian2(b2, net, CONDUCTANCE, "exponential_euler", 5, {"e": "ge_post += w", "i": "gi_post += w"}, 0.1)
    assert len(ours) > 200 and ours == theirs


@pytest.mark.parametrize("multiplicative", [False, True])
def test_plasticity(b2, multiplicative):
    """Weights after 100 ms: Poisson-like spikes, a delay each; arrivals and spikes of one step are no pair."""
    rng = np.random.default_rng(0)
    before, after = (rng.random((1000, 12)) < 0.02 for _ in range(2))
    source, target = np.divmod(np.arange(144), 12)
    delay = rng.integers(1, 40, 144) * 0.1 * MS
    first = rng.uniform(0.2, 0.8, 144) * MV

    net = ns.Network(dt=1e-4)
    pre = net.input("pre", ns.EventTensor.from_dense(torch_of(before), dt=1e-4))
    drive = net.input("drive", ns.EventTensor.from_dense(torch_of(after), dt=1e-4))
    post = net.population("post", 12, sim.delta_lif(1 * MS))
    net.connect(drive, post, sim.one_to_one(), weight=1000.0, delay=0.1 * MS)
    rise, fall = (0.1, 0.12) if multiplicative else (0.1 * MV, 0.12 * MV)
    rule = sim.stdp(
        rise=rise, fall=fall, tau_rise=10 * MS, tau_fall=15 * MS, bounds=(0.0, MV), multiplicative=multiplicative
    )
    net.connect(pre, post, sim.from_pairs(source, target), weight=first, delay=delay, plasticity=rule, name="plastic")
    spikes, state = net.advance(0.1)

    b2.start_scope()
    sources = [
        b2.SpikeGeneratorGroup(12, events.index.numpy(), events.row.numpy() * 0.1 * b2.ms, dt=0.1 * b2.ms)
        for events in (spikes["pre"], spikes["post"])
    ]
    grow, shrink = ("(1 - w)", "w") if multiplicative else ("1", "1")
    synapses = b2.Synapses(
        *sources,
        "w : 1\ndx/dt = -x/(10*ms) : 1 (event-driven)\ndy/dt = -y/(15*ms) : 1 (event-driven)\narrived : second",
        on_pre=f"w = clip(w - 0.12*{shrink}*y, 0, 1)\nx += 1\narrived = t",
        on_post=f"w = clip(w + 0.1*{grow}*(x - int(abs(arrived - t) < dt/2)), 0, 1)\ny += 1",
        dt=0.1 * b2.ms,
    )
    synapses.connect(i=source, j=target)
    synapses.w, synapses.delay, synapses.arrived = first / MV, delay * b2.second, -1 * b2.second
    b2.Network(*sources, synapses).run(0.1 * b2.second)
    assert spikes["post"].n_events > 100
    np.testing.assert_allclose(state.weights["plastic"] / MV, np.asarray(synapses.w), rtol=1e-9)


def torch_of(spikes: np.ndarray):
    import torch

    return torch.from_numpy(spikes)[:, None]


def test_quantities_equal_their_numbers(b2):
    model = sim.lif(
        20 * b2.ms, rest=-49 * b2.mV, threshold=-50 * b2.mV, reset=-60 * b2.mV, refractory=5 * b2.ms, bias=2 * b2.mV
    )
    net = ns.Network(dt=0.1 * b2.ms)
    cells = net.population("cells", 50, model, initial=sim.uniform(-60 * b2.mV, -50 * b2.mV))
    net.connect(cells, cells, sim.fixed_probability(0.2), weight=1 * b2.mV, delay=1.5 * b2.ms)
    net.drive(cells, sim.poisson(20 * b2.Hz, sources=10), weight=0.5 * b2.mV)
    plain = ns.Network(dt=1e-4)
    model = sim.lif(20 * MS, rest=-49 * MV, threshold=-50 * MV, reset=-60 * MV, refractory=5 * MS, bias=2 * MV)
    cells = plain.population("cells", 50, model, initial=sim.uniform(-60 * MV, -50 * MV))
    plain.connect(cells, cells, sim.fixed_probability(0.2), weight=1 * MV, delay=1.5 * MS)
    plain.drive(cells, sim.poisson(20.0, sources=10), weight=0.5 * MV)
    assert pairs_of(net.run(50 * b2.ms)["cells"]) == pairs_of(plain.run(0.05)["cells"])
    with pytest.raises(ns.InputError, match="seconds"):
        sim.lif(20 * b2.mV)


def off_grid(rng: np.random.Generator, n: int, low: int, high: int) -> np.ndarray:
    """Times in units of dt: whole numbers, halves, both with what rounding adds, and any other."""
    whole = rng.integers(low, high, n) + rng.choice([0.0, 0.5], n)
    near = rng.choice([0.0, 1e-15, -1e-15, 1e-9, -1e-9, 5e-4, -5e-4, 2e-3, -2e-3], n)
    return np.where(rng.random(n) < 0.7, whole + near, rng.uniform(low, high, n))


@pytest.mark.parametrize("dt", [0.1, 0.05, 0.3, 1.0, 0.07])
def test_times_off_the_grid(b2, dt):
    """Intervals of neurons that are always above threshold, and the steps in which spikes arrive."""
    rng, dt, n = np.random.default_rng(int(dt * 100)), dt * MS, 400
    refractory, delay = (np.maximum(off_grid(rng, n, 0, 9), least) * dt for least in (0.0, 0.5))
    fires = "pause : second (constant)\narrived : integer\nv : 1"
    group = b2.NeuronGroup(n, fires, threshold="True", refractory="pause", dt=dt * b2.second)
    group.pause = refractory * b2.second
    first = b2.SpikeGeneratorGroup(n, range(n), np.zeros(n) * b2.second, dt=dt * b2.second)
    synapses = b2.Synapses(first, group, on_pre="arrived = int(t / dt + 0.5)", dt=dt * b2.second)
    synapses.connect(j="i")
    synapses.delay = delay * b2.second
    monitor = b2.SpikeMonitor(group)
    b2.Network(group, first, synapses, monitor).run(30 * dt * b2.second)
    steps = np.rint(np.asarray(monitor.t) / dt).astype(int)

    net = ns.Network(dt=dt)
    for k, each in enumerate(refractory):
        net.population(f"{k}", 1, sim.lif(dt / 1e3, bias=1.0, refractory=each))
    one = ns.EventTensor.from_dense(torch_of(np.ones((1, n), dtype=bool)), dt=dt)
    cells = net.population("cells", n, sim.delta_lif())
    net.connect(net.input("in", one), cells, sim.one_to_one(), weight=1.0, delay=delay)
    spikes = net.run(30 * dt)
    for k in range(n):
        assert spikes[f"{k}"].row.tolist() == steps[np.asarray(monitor.i) == k].tolist(), refractory[k]
    arrived = spikes["cells"].row[spikes["cells"].index.argsort()] - 1  # a neuron fires in the step after
    assert arrived.tolist() == np.asarray(group.arrived).tolist()
    assert arrived.unique().tolist() == list(range(1, 10))


def test_durations_off_the_grid(b2):
    """A run ends at the first step that is not before the end of all durations, as in Brian2."""
    rng = np.random.default_rng(0)
    for dt in (0.1 * MS, 0.3 * MS, 0.07 * MS):
        durations = np.abs(off_grid(rng, 200, 0, 4)) * dt
        durations[::5] = 1e-9
        clock, time, net, state = b2.Clock(dt * b2.second), 0.0, ns.Network(dt=dt), None
        net.population("cells", 1, sim.lif())
        for k, duration in enumerate(durations):
            clock.set_interval(time * b2.second, (time + duration) * b2.second)
            time += duration
            _, state = net.advance(duration, state)
            assert state.now == clock._i_end, (k, duration)


def test_no_time_is_shorter_on_the_ceiling_grid():
    rng, dt = np.random.default_rng(0), 0.1 * MS
    times = off_grid(rng, 200, 1, 9)
    expected = np.ceil(np.round(times, 11)).astype(int)  # what rounding adds is no time
    assert set(expected) == set(range(1, 10))
    net = ns.Network(dt=dt, grid="ceil")
    one = ns.EventTensor.from_dense(torch_of(np.ones((1, len(times)), dtype=bool)), dt=dt)
    cells = net.population("cells", len(times), sim.delta_lif())
    net.connect(net.input("in", one), cells, sim.one_to_one(), weight=1.0, delay=times * dt)
    spikes = net.run(15 * dt)["cells"]
    assert spikes.row[spikes.index.argsort()].tolist() == (expected + 1).tolist()
    for time, steps in zip(times[:40], expected[:40], strict=True):
        net = ns.Network(dt=dt, grid="ceil")
        net.population("cells", 1, sim.lif(dt / 1e3, bias=1.0, refractory=time * dt))
        assert net.run(30 * dt)["cells"].row.diff().unique().tolist() == [steps]
        assert net.run(time * dt)["cells"].shape[0] == steps
