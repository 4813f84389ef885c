"""Events from Brian 2 monitors and as Brian 2 input: the same spikes as Brian 2 reports."""

import brian2 as b2
import numpy as np
import pytest
import torch
from brian2 import ms, mV, second
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.errors import InputError
from neurosparse.io import brian2

b2.prefs.codegen.target = "numpy"
TIMES, NEURONS = np.array([0.3, 1.0, 2.7, 2.7, 9.9]), np.array([4, 0, 1, 3, 4])


def recorded(kind=b2.SpikeMonitor, duration=10 * ms):
    b2.start_scope()
    group = b2.SpikeGeneratorGroup(6, NEURONS, TIMES * ms, dt=0.1 * ms)
    monitor = kind(group) if kind is b2.SpikeMonitor else kind(group, "spike")
    network = b2.Network(group, monitor)
    network.run(duration)
    return monitor


def test_a_simulation_is_read_exactly():
    monitor = recorded()
    events = brian2.read(monitor, dt=1e-3, duration=10e-3)
    assert events.shape == (10, 1, 6)
    assert events.times().tolist() == np.round(np.asarray(monitor.t) * 1e9).astype(int).tolist()
    assert sorted(zip(events.aer().step.tolist(), events.aer().unit.tolist(), strict=True)) == [
        (0, 4), (1, 0), (2, 1), (2, 3), (9, 4)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [b2.SpikeMonitor, b2.EventMonitor])
def test_dt_and_duration_default_to_those_of_the_clock(kind):
    events = brian2.read(recorded(kind, 20 * ms))
    assert events.shape == (200, 1, 6) and events.dt == 1e-4 and events.offset is None
    assert events.aer().step.tolist() == [3, 10, 27, 27, 99]
    assert events.aer().unit.tolist() == NEURONS.tolist()


def test_quantities_are_seconds():
    by_number, by_quantity = brian2.read(recorded(), 1e-3, 0.012), brian2.read(recorded(), 1 * ms, 12 * ms)
    assert by_number.shape == by_quantity.shape == (12, 1, 6)
    assert torch.equal(by_number.times(), by_quantity.times())


def test_a_part_of_a_group_keeps_its_silent_neurons():
    b2.start_scope()
    group = b2.NeuronGroup(7, "v : 1", threshold="v > 0", reset="v = 0")
    group.v[4] = 1
    monitor = b2.SpikeMonitor(group[3:])
    b2.Network(group, monitor).run(1 * ms)
    assert brian2.read(monitor).counts().tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_copies_side_by_side_are_samples():
    events = brian2.read(recorded(), samples=2)
    assert events.shape == (100, 2, 3)
    assert events.counts().tolist() == [[1.0, 1.0, 0.0], [1.0, 2.0, 0.0]]
    with pytest.raises(InputError, match="samples=4"):
        brian2.read(recorded(), samples=4)


def test_monitors_without_spikes_are_refused():
    b2.start_scope()
    group = b2.NeuronGroup(3, "v : 1", threshold="v > 0", reset="v = 0")
    others = [b2.PopulationRateMonitor(group), b2.StateMonitor(group, "v", record=True), group]
    others.append(b2.SpikeMonitor(group, record=False))
    b2.Network(group, *others[:2], others[3]).run(1 * ms)
    for other in others:
        with pytest.raises(InputError, match="SpikeMonitor that records"):
            brian2.read(other, dt=1e-3, duration=1e-3)


def round_trip(events: ns.EventTensor, sample: int | None = 0, **settings) -> ns.EventTensor:
    b2.start_scope()
    group = brian2.generator(events, sample, **settings)
    monitor = b2.SpikeMonitor(group)
    b2.Network(group, monitor).run(events.shape[0] * events.dt * second)
    return brian2.read(monitor, samples=events.shape[1] if sample is None else 1)


@settings(max_examples=5)
@given(st.data())
def test_events_survive_a_round_trip(data):
    steps, samples, units = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    dt = data.draw(st.sampled_from([1e-3, 1e-4, 2.5e-5, 1 / 3000]))
    cells = data.draw(st.sets(st.tuples(*(st.integers(0, n - 1) for n in (steps, samples, units))), max_size=30))
    x = torch.zeros(steps, samples, units)
    for cell in cells:
        x[cell] = 1
    events = ns.EventTensor.from_dense(x, dt=dt, spikes=True)
    assert torch.equal(round_trip(events, None).dense(), x)
    last = round_trip(events, samples - 1)
    assert torch.equal(last.dense(), x[:, -1:]) and last.dt == dt


def test_sub_step_times_survive_a_finer_clock():
    events = ns.EventTensor.from_times([0.0021, 0.0003, 0.0004], [1, 0, 0], n_units=2, dt=1e-3, duration=0.004)
    back = round_trip(events, dt=0.1 * ms)
    assert back.dt == 1e-4 and torch.equal(back.times(), events.times())


@pytest.mark.parametrize(
    ("events", "options", "complaint"),
    [
        (ns.EventTensor.from_times([0.0021], [1], n_units=2, dt=1e-3), {}, "between two steps"),
        (ns.EventTensor.from_times([0.001, 0.001], [1, 1], n_units=2, dt=1e-3), {}, "two spikes of a neuron"),
        (ns.EventTensor.from_times([0.001], [1], n_units=2, dt=1e-3), {"dt": 3 * ms}, "between two steps"),
        (ns.EventTensor.from_times([0.001], [1], n_units=2, dt=1e-3), {"dt": 3 * mV}, "seconds"),
        (ns.EventTensor.from_times([0.001], [1], n_units=2, dt=1e-3), {"sample": 1}, "a whole number, -1 to 0"),
        (ns.EventTensor.from_times([-0.001], [1], n_units=2, dt=1e-3, t0=-0.002), {}, "starts at 0"),
        (ns.EventTensor.from_dense(torch.ones(3, 1, 2), dt=1e-3), {}, "graded"),
        (ns.EventTensor.from_dense(torch.ones(3, 1, 2), spikes=True), {}, "dt=None"),
    ],
)
def test_events_that_a_generator_cannot_fire_are_refused(events, options, complaint):
    with pytest.raises(InputError, match=complaint):
        brian2.generator(events, **options)


def izhikevich(units: int):
    """A population of another model, driven by one synapse from every unit."""
    b2.start_scope()
    equations = """
        dv/dt = (0.04 * v**2 + 5 * v + 140 - u + I) / tau : 1
        du/dt = 0.02 * (0.2 * v - u) / tau : 1
        dI/dt = -I / (5 * tau) : 1
    """
    source = b2.SpikeGeneratorGroup(units, [], [] * second, dt=0.5 * ms)
    cells = b2.NeuronGroup(units, equations, threshold="v > 30", reset="v = -65; u += 8", method="euler", dt=0.5 * ms)
    cells.v = -65
    cells.u = -13
    synapses = b2.Synapses(source, cells, on_pre="I += 20", dt=0.5 * ms)
    synapses.connect(j="i")
    monitor = b2.SpikeMonitor(cells)
    return b2.Network(source, cells, synapses, monitor), source, monitor


def test_responses_of_any_model_are_those_of_single_samples():
    """The response to each sample is that of a network built for this sample alone."""
    x = (torch.rand(60, 3, 4) < 0.2).float() * (torch.arange(60)[:, None] < torch.tensor([60, 30, 60]))[..., None]
    x[:, 2] = x[:, 0]
    events = ns.EventTensor.from_dense(x, dt=1e-3, lengths=torch.tensor([60, 30, 60]), spikes=True, t0=0.25)
    tau = 1 * ms
    network, source, monitor = izhikevich(4)
    responses = brian2.respond(network, source, monitor, events)
    assert responses.shape == (120, 3, 4) and responses.dt == 5e-4 and responses.lengths.tolist() == [120, 60, 120]
    assert responses.n_events > 20 and network.t == 0 * second and len(monitor.t) == 0
    assert torch.equal(responses.samples(0).dense(), responses.samples(2).dense())
    for sample, length in enumerate([60, 30, 60]):
        network, source, monitor = izhikevich(4)
        step, unit = x[:, sample].nonzero().unbind(1)
        source.set_spikes(unit.numpy(), step.numpy() * ms)
        network.run(length * ms, namespace={"tau": tau})
        assert torch.equal(brian2.read(monitor).dense(), responses.samples(sample).dense()[: 2 * length])


def test_a_model_of_another_size_is_refused():
    network, source, monitor = izhikevich(4)
    events = ns.EventTensor.from_dense(torch.ones(2, 1, 3), dt=1e-3, spikes=True)
    with pytest.raises(InputError, match="the source's 4 neurons"):
        brian2.respond(network, source, monitor, events)


def test_seconds_may_be_quantities():
    spikes = ns.EventTensor.from_times(TIMES * ms, NEURONS, n_units=6, dt=0.1 * ms, duration=10 * ms)
    assert spikes.dt == 1e-4 and spikes.shape == (100, 1, 6)
    assert spikes.aer().step.tolist() == [3, 10, 27, 27, 99]
    assert ns.EventTensor.from_dense(torch.ones(2, 1, 1), dt=0.3 * ms, t0=5 * ms).timing.t0 == 0.005
    assert ns.poisson(torch.rand(1, 3), steps=5, dt=0.3 * ms).dt == 0.0003
    lif, plain = ns.LIF(tau=20 * ms, dt=1 * ms), ns.LIF(tau=0.02, dt=0.001)
    assert (lif.tau, lif.dt) == (plain.tau, plain.dt)


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: ns.LIF(tau=20 * mV, dt=1e-3), "LIF: got tau=.*mV|LIF: got tau=.*volt"),
        (lambda: ns.LIF(tau=0.02, dt=1 * b2.Hz), "dt"),
        (lambda: ns.poisson(torch.rand(1, 3), steps=5, dt=1 * mV), "poisson: got dt"),
        (lambda: ns.EventTensor.from_times(TIMES * mV, NEURONS, n_units=6, dt=1e-3), "times"),
        (lambda: ns.EventTensor.from_times(TIMES * ms, NEURONS, n_units=6, dt=1 * mV), "dt"),
        (lambda: ns.EventTensor.from_times(TIMES * ms, NEURONS, n_units=6, dt=[1, 2] * ms), "one number"),
    ],
)
def test_another_dimension_is_refused(build, complaint):
    with pytest.raises(InputError, match=complaint):
        build()
