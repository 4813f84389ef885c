"""Network simulation against closed forms: spike times, postsynaptic potentials, delays, rates, STDP, regimes."""

import math

import numpy as np
import pytest
import torch

import neurosparse as ns

sim = ns.simulate
MS, MV, DT = 1e-3, 1e-3, 1e-4


def one_spike(step: int = 0, steps: int | None = None) -> ns.EventTensor:
    zero = torch.tensor([0])
    return ns.EventTensor.from_aer(zero + step, zero, zero, shape=(steps or step + 1, 1, 1), dt=DT)


def trace(net: ns.Network, steps: int) -> np.ndarray:
    """Membrane of the population "cell" after each step."""
    state, volts = None, []
    for _ in range(steps):
        _, state = net.advance(DT, state)
        volts.append(state.membrane["cell"][0].item())
    return np.array(volts)


@pytest.mark.parametrize("make", [sim.lif, sim.delta_lif])
@pytest.mark.parametrize("refractory", [0.0, 0.1 * MS, 4 * MS])
def test_spike_times_under_constant_current(make, refractory):
    """v = rest + bias (1 - exp(-t / tau)) crosses threshold every tau ln(bias / (bias - gap))."""
    tau, gap = 20 * MS, 15 * MV
    bias = np.array([16, 20, 40, 100]) * MV
    net = ns.Network(dt=DT)
    net.population(
        "cell", 4, make(tau, rest=-65 * MV, threshold=-50 * MV, reset=-65 * MV, refractory=refractory, bias=bias)
    )
    spikes = net.run(0.5)["cell"]
    updates = np.floor(tau * np.log(bias / (bias - gap)) / DT) + 1  # the first step that ends above threshold
    held = max(round(refractory / DT) - 1, 0)
    for k in range(4):
        period = int(updates[k]) + held
        expected = np.arange(int(updates[k]) - 1, 5000, period)
        assert spikes.row[spikes.index == k].tolist() == expected.tolist()


@pytest.mark.parametrize("tau_synapse", [5 * MS, 20 * MS])
def test_the_response_to_one_spike(tau_synapse):
    """w tau_s / (tau_m - tau_s) (exp(-t / tau_m) - exp(-t / tau_s)); w t / tau exp(-t / tau) if they are equal."""
    tau, weight, delay = 20 * MS, 2 * MV, 1.5 * MS
    net = ns.Network(dt=DT)
    cell = net.population("cell", 1, sim.lif(tau, tau_excitatory=tau_synapse))
    net.connect(net.input("in", one_spike(3)), cell, sim.one_to_one(), weight=weight, delay=delay)
    t = np.maximum(np.arange(1, 401) - (3 + 15 + 1), 0) * DT  # it arrives at the end of step 18
    if tau == tau_synapse:
        expected = weight * t / tau * np.exp(-t / tau)
    else:
        expected = weight * tau_synapse / (tau - tau_synapse) * (np.exp(-t / tau) - np.exp(-t / tau_synapse))
    np.testing.assert_allclose(trace(net, 400) + 65 * MV, expected, atol=1e-15)


def test_a_constant_conductance_sets_equilibrium_and_time_constant():
    """With a conductance of negligible decay, v relaxes to (rest + g E) / (1 + g) with tau / (1 + g)."""
    net = ns.Network(dt=DT)
    model = sim.conductance_lif(20 * MS, rest=-60 * MV, threshold=10 * MV, tau_excitatory=1e9, reversal_excitatory=0.0)
    cell = net.population("cell", 1, model)
    net.connect(net.input("in", one_spike()), cell, sim.one_to_one(), weight=3.0, delay=DT)
    t = np.maximum(np.arange(1, 301) - 2, 0) * DT
    np.testing.assert_allclose(trace(net, 300), -15 * MV - 45 * MV * np.exp(-t * 4 / (20 * MS)), atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 15, 300])
def test_delays_are_exact(steps):
    """A neuron whose membrane is above threshold by an arrival fires in the next step."""
    net = ns.Network(dt=DT)
    cell = net.population("cell", 1, sim.delta_lif())
    net.connect(net.input("in", one_spike(7)), cell, sim.one_to_one(), weight=1.0, delay=steps * DT)
    assert net.run(0.05)["cell"].row.tolist() == [7 + steps + 1]


def test_rates_of_poisson_sources():
    """Mean and variance of the counts within five standard deviations of those of a Bernoulli process."""
    rate = np.repeat([0.0, 5.0, 40.0, 400.0], 300)
    net = ns.Network(dt=DT)
    net.population("cell", 1200, sim.poisson(rate))
    counts = net.run(1.0)["cell"].counts()[0].numpy().reshape(4, 300)
    for k, r in enumerate([0.0, 5.0, 40.0, 400.0]):
        assert abs(counts[k].mean() - r) <= 5 * math.sqrt(r / 300)
        variance = r * (1 - r * DT)  # of a count with probability r dt a step
        assert abs(counts[k].var() - variance) <= 5 * variance * math.sqrt(2 / 300)


def test_poisson_drive_is_shot_noise():
    """Campbell's theorem: a leaky membrane with jumps w at rate r has mean r w tau and variance r w^2 tau / 2."""
    tau, weight, rate = 10 * MS, 0.1 * MV, 2000.0
    net = ns.Network(dt=DT)
    cell = net.population("cell", 4000, sim.delta_lif(tau, rest=0.0, threshold=1.0, reset=0.0))
    net.drive(cell, sim.poisson(rate / 100, sources=100), weight=weight)
    v = net.advance(0.15)[1].membrane["cell"].numpy()
    mean, variance = rate * weight * tau, rate * weight**2 * tau / 2
    assert abs(v.mean() - mean) <= 5 * math.sqrt(variance / 4000) + mean * DT / tau
    assert abs(v.var() - variance) <= 5 * variance * math.sqrt(2 / 4000) + variance * DT / tau


@pytest.mark.parametrize("lag", [-30, -1, 0, 1, 30])
@pytest.mark.parametrize("delay", [1, 12])
def test_the_stdp_window(lag, delay):
    """One pair: an arrival ``lag`` steps before the spike of the target, for any delay of the synapse."""
    rise, fall, tau_rise, tau_fall = 0.1, 0.2, 10 * MS, 30 * MS
    net = ns.Network(dt=DT)
    post = net.population("post", 1, sim.delta_lif(1 * MS))
    net.connect(net.input("drive", one_spike(60)), post, sim.one_to_one(), weight=1000.0, delay=DT)  # fires in step 62
    rule = sim.stdp(rise=rise, fall=fall, tau_rise=tau_rise, tau_fall=tau_fall, bounds=(-1.0, 1.0))
    before = net.input("before", one_spike(62 - lag - delay))
    one = sim.from_pairs([0], [0])
    net.connect(before, post, one, weight=1e-9, delay=delay * DT, plasticity=rule, name="plastic")
    spikes, state = net.advance(0.02)
    assert spikes["post"].row.tolist() == [62]
    expected = rise * math.exp(-lag * DT / tau_rise) if lag > 0 else -fall * math.exp(lag * DT / tau_fall)
    assert state.weights["plastic"][0] - 1e-9 == pytest.approx(expected if lag else 0.0, abs=1e-12)


# g, external over threshold rate: rate (hertz), coefficient of variation of intervals, variance of the population rate
# over its squared mean, frequency of its oscillation (hertz). The ranges contain the values of Brunel's simulations:
# AI 37.7 Hz; SI fast 60.7 Hz, oscillation 180 Hz; SI slow 5.5 Hz, oscillation 22 Hz; SR near one over the refractory
# time.
REGIMES = {
    "synchronous regular": (3.0, 2.0, (250, 500), (0, 0.1), (1, 9), (250, 1000)),
    "synchronous irregular, fast": (6.0, 4.0, (48, 73), (0.6, 2), (0.35, 1), (130, 230)),
    "asynchronous irregular": (5.0, 2.0, (30, 45), (0.4, 2), (0, 0.5), (0, 1000)),
    "synchronous irregular, slow": (4.5, 0.9, (2, 16), (0.2, 2), (1, 9), (10, 60)),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_the_regimes_of_brunel(regime):
    """The four regimes with half the neurons and twice the weights: C J, and with it the mean field, is the same."""
    g, drive, *expected = REGIMES[regime]
    n_e, c_e, weight, delay = 5000, 500, 0.2 * MV, 1.5 * MS
    model = sim.delta_lif(20 * MS, rest=0.0, threshold=20 * MV, reset=10 * MV, refractory=2 * MS)
    net = ns.Network(dt=DT, seed=3)
    e, i = net.population("e", n_e, model), net.population("i", n_e // 4, model)
    for target in (e, i):
        net.connect(e, target, sim.fixed_in_degree(c_e), weight=weight, delay=delay)
        net.connect(i, target, sim.fixed_in_degree(c_e // 4), weight=-g * weight, delay=delay)
        net.drive(target, sim.poisson(drive * 20 * MV / (weight * 20 * MS)), weight=weight)
    spikes = net.run(0.3)["e"].steps(1000, 3000)
    activity = np.bincount(spikes.row.numpy() // 5, minlength=400) / (n_e * 5 * DT)  # hertz, every half millisecond
    power = np.abs(np.fft.rfft(activity - activity.mean()))
    frequency = np.fft.rfftfreq(400, 5 * DT)
    oscillation = frequency[np.argmax(np.where(frequency > 10, power, 0))]
    trains = spikes.dense()[:, 0, :500].T.numpy()
    intervals = [np.diff(np.flatnonzero(train)) for train in trains if train.sum() > 3]
    variability = float(np.mean([x.std() / x.mean() for x in intervals]))
    found = activity.mean(), variability, activity.var() / activity.mean() ** 2, oscillation
    assert all(low <= value <= high for value, (low, high) in zip(found, expected, strict=True)), found
