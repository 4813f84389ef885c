"""Spike-triggered statistics of model neurons whose answer is known, and of any events against a plain loop."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.errors import InputError

STEPS, WINDOW, FEATURES = 40_000, 3, 4


def windows(stimulus, steps):
    """``(time, steps x features)`` of one sample, for every time with a whole window."""
    return torch.stack([stimulus[t - steps + 1 : t + 1].flatten() for t in range(steps - 1, len(stimulus))])


def neuron(log_rate, stimulus, seed=0):
    """Poisson counts at rate ``exp(log_rate(window))``, as graded events of one unit; silent before the first."""
    rate = torch.exp(log_rate(windows(stimulus, WINDOW)))
    counts = torch.poisson(rate, generator=torch.Generator().manual_seed(seed))
    return ns.EventTensor.from_dense(torch.cat([torch.zeros(WINDOW - 1).double(), counts])[:, None, None])


def white(seed=1):
    return torch.randn(STEPS, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


FILTER = torch.linspace(-0.3, 0.5, WINDOW * FEATURES, dtype=torch.float64)
OTHER = torch.tensor([1.0, -1, 0.5, 0, -0.5, 1, 0, 0, 1, 0.5, -1, 0]).double()
OTHER = OTHER - (OTHER @ FILTER) / (FILTER @ FILTER) * FILTER


def test_an_exponential_neuron_in_white_noise_has_its_filter_as_average_and_the_noise_as_covariance():
    """Gaussian density x exp(k s) is the Gaussian moved by k, and no wider: STA = k, C = 1."""
    stimulus = white()
    events = neuron(lambda s: s @ FILTER - 1, stimulus)
    spikes = float(events.dense().sum())
    average = ns.spike_triggered_average(events, stimulus[:, None], WINDOW)
    assert average.shape == (1, WINDOW, FEATURES)
    np.testing.assert_allclose(average.flatten(), FILTER, atol=5 / spikes**0.5)
    found = ns.analysis.spike_triggered_covariance(events, stimulus[:, None], WINDOW)
    assert found.spikes.tolist() == [spikes]
    np.testing.assert_allclose(found.covariance[0], np.eye(12), atol=8 / spikes**0.5)
    np.testing.assert_allclose(found.prior, np.eye(12), atol=5 * (2 / STEPS) ** 0.5)


def test_an_energy_neuron_shows_its_axes_and_the_widths_of_theory():
    """exp(b (k s)^2 / 2) multiplies the variance along the unit vector k by 1 / (1 - b): b < 0 suppresses."""
    stimulus = white()
    k, q = FILTER / FILTER.norm(), OTHER / OTHER.norm()
    events = neuron(lambda s: 0.2 * (s @ k) ** 2 - 1.0 * (s @ q) ** 2, stimulus)
    average = ns.spike_triggered_average(events, stimulus[:, None], WINDOW)
    assert average.abs().max() < 5 * (1.7 / float(events.dense().sum())) ** 0.5, "an even neuron has no average"
    ratio, filters = ns.analysis.spike_triggered_covariance(events, stimulus[:, None], WINDOW).axes()
    assert ratio[0] == pytest.approx(1 / 0.6, rel=0.05) and ratio[-1] == pytest.approx(1 / 3, rel=0.05)
    np.testing.assert_allclose(ratio[1:-1], 1, atol=0.1)
    assert abs(filters[0].flatten() @ k) > 0.98 and abs(filters[-1].flatten() @ q) > 0.98


def test_axes_are_the_neurons_even_where_the_stimulus_is_coloured_and_flat_in_one_direction():
    mix = torch.eye(FEATURES).double() + 0.6 * torch.ones(FEATURES, FEATURES).double().tril(-1)
    stimulus = white() @ mix.T
    stimulus = torch.cat([stimulus, stimulus[:, :1]], 1)  # a feature that is another's copy: no full rank
    k = torch.zeros(WINDOW, FEATURES + 1).double()
    k[1, 1], k[2, 2] = 0.6, -0.6
    events = neuron(lambda s: -0.5 * (s @ k.flatten()) ** 2, stimulus)
    found = ns.analysis.spike_triggered_covariance(events, stimulus[:, None], WINDOW)
    ratio, filters = found.axes()
    assert len(ratio) == WINDOW * FEATURES
    drive = torch.tensor([row.flatten() @ found.prior @ k.flatten() for row in filters])
    size = torch.tensor([(row.flatten() @ found.prior @ row.flatten()) ** 0.5 for row in filters])
    correlation = drive / size / (k.flatten() @ found.prior @ k.flatten()) ** 0.5
    assert abs(correlation[-1]) > 0.98 and correlation[:-1].abs().max() < 0.2
    power = float(k.flatten() @ found.prior @ k.flatten())
    assert ratio[-1] == pytest.approx(1 / (1 + power), rel=0.06)


@st.composite
def recorded(draw):
    steps, samples, units = draw(st.integers(1, 7)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    counts = torch.poisson(torch.full((steps, samples, units), 0.7), generator=generator)
    lengths = torch.tensor(draw(st.lists(st.integers(1, steps), min_size=samples, max_size=samples)))
    counts = counts * (torch.arange(steps)[:, None, None] < lengths[:, None])
    kind = draw(st.sampled_from(["counts", "spikes", "whole"]))
    lengths = None if kind == "whole" else lengths
    events = ns.EventTensor.from_dense(counts > 0 if kind == "spikes" else counts, lengths=lengths)
    stimulus = torch.randn(steps, samples, 2, dtype=torch.float64, generator=generator) + 100
    window = draw(st.integers(1, steps if lengths is None else int(lengths.max())))
    return events, stimulus, window


def by_hand(events, stimulus, window):
    """Every window as often as it spiked, and every whole window within its sample's length."""
    dense = events.dense().double()
    steps, samples, units = dense.shape
    lengths = [steps] * samples if events.lengths is None else events.lengths.tolist()
    led: list[list[np.ndarray]] = [[] for _ in range(units)]
    every = []
    for sample in range(samples):
        for t in range(window - 1, lengths[sample]):
            seen = stimulus[t - window + 1 : t + 1, sample].flatten().numpy()
            every.append(seen)
            for unit in range(units):
                led[unit] += [seen] * int(dense[t, sample, unit])
    return led, every


@given(recorded())
def test_any_events_give_what_a_plain_loop_gives(drawn):
    events, stimulus, window = drawn
    led, every = by_hand(events, stimulus, window)
    average = ns.spike_triggered_average(events, stimulus, window)
    found = ns.analysis.spike_triggered_covariance(events, stimulus, window)
    assert average.shape == (events.n_units, window, 2) and found.spikes.tolist() == [len(each) for each in led]
    for unit, each in enumerate(led):
        expected = np.mean(each, 0) if each else np.full(2 * window, np.nan)
        np.testing.assert_allclose(average[unit].flatten(), expected, rtol=1e-12)
        if len(each) > 1:
            np.testing.assert_allclose(found.covariance[unit], np.atleast_2d(np.cov(each, rowvar=False)), atol=1e-9)
        else:
            assert found.covariance[unit].isnan().all()
    if len(every) > 1:
        np.testing.assert_allclose(found.prior, np.cov(every, rowvar=False), atol=1e-9)


def test_spikes_of_one_step_each_count_and_axes_of_units_and_features_stay():
    events = ns.EventTensor.from_times([0.0011, 0.0012, 0.0021], [0, 0, 0], n_units=1, dt=1e-3, duration=0.004)
    stimulus = torch.tensor([0.0, 3.0, 9.0, 0.0])[:, None]
    assert ns.spike_triggered_average(events, stimulus, 1).flatten().tolist() == [5.0]
    two = ns.EventTensor.from_dense(torch.ones(4, 1, 2, 3, dtype=torch.bool))
    assert ns.spike_triggered_average(two, torch.ones(4, 1, 5, 6), 2).shape == (2, 3, 2, 5, 6)
    found = ns.analysis.spike_triggered_covariance(two, torch.randn(4, 1, 5, 6), 2)
    assert found.covariance.shape == (6, 60, 60) and found.axes(5)[1].shape[1:] == (2, 5, 6)
    assert repr(found) == "SpikeTriggeredCovariance(6 units, 18 spikes, window 2 x 5 x 6)"


EVENTS = ns.EventTensor.from_dense(torch.eye(4, dtype=torch.bool)[:, None])


@pytest.mark.parametrize("measure", [ns.spike_triggered_average, ns.analysis.spike_triggered_covariance])
@pytest.mark.parametrize(
    ("events", "stimulus", "steps"),
    [
        (EVENTS, torch.ones(5, 1, 2), 1),
        (EVENTS, torch.ones(4, 2, 2), 1),
        (EVENTS, torch.full((4, 1, 2), torch.nan), 1),
        (EVENTS, torch.ones(4, 1, 2), 0),
        (EVENTS, torch.ones(4, 1, 2), 5),
        (ns.EventTensor.from_dense(-torch.eye(4)[:, None]), torch.ones(4, 1, 2), 1),
    ],
)
def test_refusals(measure, events, stimulus, steps):
    with pytest.raises(InputError, match="spike_triggered_.*: got .*; expected"):
        measure(events, stimulus, steps)


def test_a_unit_without_spikes_has_no_axes():
    with pytest.raises(InputError, match="got 1 spikes of unit 2; expected at least 2"):
        ns.analysis.spike_triggered_covariance(EVENTS, torch.randn(4, 1, 2), 1).axes(2)
