"""Properties of spiking families: rates before training, the penalty on rates, learned constants."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments import Split, make_model
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.train import fit


def toy(features: tuple[int, ...] = (16,), samples: int = 64) -> Split:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(samples, *features, generator=generator) - 0.3).relu()  # zeros are silent in latency coding
    part = x, torch.arange(samples) % 4
    return Split(part, part, part)


@settings(max_examples=8, deadline=None)
@given(
    rate=st.sampled_from([0.02, 0.05, 0.1, 0.2]),
    steps=st.sampled_from([1, 2, 4, 8, 16]),
    beta=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    threshold=st.floats(0.1, 10),
    recurrent=st.booleans(),
    encoding=st.sampled_from(["current", "latency"]),
    widths=st.sampled_from([(60,), (60, 50)]),
)
def test_every_hidden_layer_starts_at_its_rate(rate, steps, beta, threshold, recurrent, encoding, widths):
    keys = {"steps": steps, "beta": beta, "threshold": threshold, "recurrent": recurrent, "encoding": encoding}
    config, split = make_model("a", family="lif", initial_rate=rate, **keys), toy()
    torch.manual_seed(0)
    hidden: list = []
    config.network_for(split, widths, 4)(split.train[0], hidden)
    for layer in hidden:
        assert layer.density == pytest.approx(rate, rel=0.1, abs=2 / layer.n_rows)


def test_layers_with_batch_normalisation_start_at_their_rate():
    layers = ["conv 4 3 norm pool 2", "conv 6 3 norm", "linear 20 norm"]
    config, split = make_model("a", family="lif", steps=5, initial_rate=0.1, layers=layers), toy((1, 8, 8))
    torch.manual_seed(0)
    network, hidden = config.network_for(split, (), 4), []
    network(split.train[0], hidden)
    assert [layer.density for layer in hidden] == pytest.approx([0.1] * 3, rel=0.1)


def test_a_rate_out_of_reach_is_refused():
    silent = torch.zeros(64, 16), torch.arange(64) % 4  # and no biases
    config = make_model("a", family="lif", steps=4, encoding="latency", initial_rate=0.1, layers=["linear 20 norm"])
    with pytest.raises(InputError, match="expected about 0.1 spikes per step"):
        config.network_for(Split(silent, silent, silent), (), 4)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 7), st.floats(0, 1), st.integers(0, 10**6))
def test_the_penalty_charges_spikes_above_the_limit(steps, samples, units, limit, seed):
    spikes = (torch.rand(steps, samples, units, generator=torch.Generator().manual_seed(seed)) < 0.5).float()
    config = make_model("a", family="lif", rate_limit=limit)
    above = [max(0.0, float(spikes[..., unit].sum()) / samples - limit * steps) for unit in range(units)]
    found = config.activity(EventTensor.from_dense(spikes, spikes=True))
    assert float(found) == pytest.approx(sum(above) / units, abs=1e-5)


def test_steps_beyond_the_end_of_a_recording_raise_no_limit():
    spikes = torch.ones(6, 2, 3)
    spikes[3:, 0] = 0
    events = EventTensor.from_dense(spikes, spikes=True, lengths=torch.tensor([3, 6]))
    found = make_model("a", family="lif", rate_limit=0.5).activity(events)
    assert float(found) == pytest.approx((3 + 6) / 2 - 0.5 * (3 + 6) / 2)


def test_learned_thresholds_change_and_stay_positive():
    config = make_model("a", family="lif", steps=4, threshold=0.01, learn_threshold=True, learn_beta=True)
    budget = Budget("toy", "toy", lambda: toy(), (20,), 4, 4, 16, (0.1,))
    model = fit(config, budget, toy(), 0, 0.1).model
    neurons = model.activations[0]
    assert bool((neurons.threshold > 0).all()) and len(neurons.threshold.unique()) > 10
    assert bool(((neurons.beta >= 0) & (neurons.beta <= 1)).all()) and len(neurons.beta.unique()) > 1


def test_a_rate_limit_keeps_rates_low():
    split, budget = toy(), Budget("toy", "toy", lambda: toy(), (40,), 4, 40, 16, (0.01,))
    plain = make_model("a", family="lif", steps=8, initial_rate=0.3)
    low = dataclasses.replace(plain, initial_rate=0.05, activity_penalty=1.0, rate_limit=0.05)
    rates = []
    for config in (plain, low):
        hidden: list = []
        fit(config, budget, split, 0, 0.01).model(split.train[0], hidden)
        rates.append(hidden[0].density)
    assert rates[1] < 0.08 < rates[0]
