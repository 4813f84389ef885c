"""Conversion of ReLU networks against its closed form: the spike count of a neuron is a rounded mean current."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns
from neurosparse.baselines import LevelReLU
from neurosparse.errors import InputError
from neurosparse.experiments import Split, evaluate, make_model
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.families.converted import ConvertedConfig
from neurosparse.experiments.classification.families.feedforward import Feedforward
from neurosparse.experiments.classification.train import fit
from neurosparse.neurons import IF, FixedPointLIF, HalfCharged


def split(units: tuple[int, ...] = (16,)) -> Split:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(96) % 4
    part = torch.rand(4, *units, generator=generator)[y] * torch.rand(96, *units, generator=generator), y
    return Split(part, part, part)


def spikes_in(steps: int, current: Fraction, threshold: Fraction) -> int:
    return min(max(math.floor(steps * current / threshold + Fraction(1, 2)), 0), steps)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 32),
    st.lists(st.integers(-200, 400), min_size=1, max_size=8),
    st.sampled_from([Fraction(1, 4), Fraction(1), Fraction(3), Fraction(5, 4)]),
)
def test_counts_are_rounded_currents_ties_included(steps, sixteenths, threshold):
    current = torch.tensor(sixteenths) / 64
    found = HalfCharged(threshold=float(threshold))(current.expand(steps, 1, -1)).counts()[0]
    assert found.tolist() == [spikes_in(steps, Fraction(n, 64), threshold) for n in sixteenths]
    # In whole numbers: half of the threshold, and one more because a spike needs a membrane above the threshold.
    unit = int(64 * threshold)
    whole = FixedPointLIF(unit, None, 32, start=unit // 2 + 1)
    assert whole(torch.tensor(sixteenths).expand(steps, 1, -1)).counts()[0].tolist() == found.tolist()


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_one_hidden_layer_runs_as_its_twin_of_levels(steps, monkeypatch):
    """The mean of the outputs over T steps is the output of the network whose hidden units have T + 1 levels."""
    config, data = make_model("a", family="converted", steps=steps), split()
    twins: list[Feedforward] = []
    finish = type(config).finish

    def observed(self, model, x):
        twins.append(model)
        return finish(self, model, x)

    monkeypatch.setattr(type(config), "finish", observed)
    model = fit(config, Budget("toy", "toy", lambda: data, (40,), 4, 10, 16, (0.01,)), data, 0, 0.01).model
    (twin,), spikes, levels = twins, [], []
    assert isinstance(twin.activations[0], LevelReLU) and twin.activations[0].steps == steps
    x = data.test[0]
    torch.testing.assert_close(model(x, spikes), twin(x, levels), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(spikes[0].counts() / steps, levels[0], rtol=0, atol=1e-6)
    assert len(levels[0].unique()) == steps + 1, "all levels occur"
    found = evaluate(model, data.test)
    first, last = [row for row in found["counts"].rows if row["kind"] == "linear"]
    assert first["effective_macs"] <= 96 * 16 * 40, "the constant current is computed once"
    assert last["effective_macs"] == 0 and last["effective_acs"] == 4 * int(spikes[0].n_events)
    (neurons,) = [row for row in found["counts"].rows if row["kind"] == "neuron"]
    assert neurons["leak"] == "none" and neurons["state_updates"] == 96 * steps * 40


@pytest.mark.parametrize("keys", [{"levels": 8}, {"normalisation": 100.0}], ids=["levels", "percentile"])
@pytest.mark.parametrize("layers", [["linear 30", "linear 20"], ["conv 4 3 norm", "average 2", "linear 9"]])
def test_deep_networks_approach_the_trained_one_over_time(keys, layers, monkeypatch):
    """The mean over T steps ends at the output of plain ReLU units, or of those that are clipped at 1."""
    data, twins = split((1, 8, 8)), []
    budget, finish = Budget("toy", "toy", lambda: data, (), 4, 6, 16, (0.01,)), ConvertedConfig.finish

    def observed(self, model, x):
        twins.append(copy.deepcopy(model).eval())
        return finish(self, model, x)

    monkeypatch.setattr(ConvertedConfig, "finish", observed)
    errors = []
    for steps in (8, 512):
        config = make_model("a", family="converted", steps=steps, layers=layers, **keys)
        model, x = fit(config, budget, data, 0, 0.01).model, config.prepare(data.train[0])
        twins[-1].activations = nn.ModuleList(nn.ReLU() if "normalisation" in keys else Clip() for _ in layers[-2:])
        assert len(twins[-1].activations) == len(model.activations)
        errors.append((model(x) - twins[-1](x)).detach().abs().mean().item())
    assert errors[1] < 0.1 * errors[0]


class Clip(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(0, 1)


def test_a_percentile_is_the_threshold():
    config, data = make_model("a", family="converted", steps=4, normalisation=90.0), split()
    model = fit(config, Budget("toy", "toy", lambda: data, (40,), 4, 3, 16, (0.01,)), data, 0, 0.01).model
    activation = model.linears[0][0](data.train[0]).detach().relu()
    positive = activation[activation > 0].sort().values
    assert float(model.activations[0].threshold) == pytest.approx(float(positive[round(0.9 * len(positive)) - 1]))


def test_integers_run_as_the_converted_network():
    data = split()
    budget = Budget("toy", "toy", lambda: data, (40,), 4, 10, 16, (0.01,))
    plain, whole = (
        fit(make_model("a", family="converted", steps=6, bits=8, **keys), budget, data, 0, 0.01).model
        for keys in ({}, {"state_bits": 16})
    )
    counts = []
    for model in (plain, whole):
        hidden: list = []
        model(data.test[0], hidden)
        counts.append(hidden[0].counts())
    assert float((counts[0] != counts[1]).float().mean()) < 0.01 and float((counts[0] - counts[1]).abs().max()) <= 1


@pytest.mark.parametrize("write", [
    lambda net: ns.io.nir.write(net, dt=1e-3),
    lambda net: ns.io.snntorch.write(net),
    lambda net: ns.io.brian2.write(net, "unused.py", ns.poisson(torch.full((1, 4), 0.2), steps=3, dt=1e-3)),
], ids=["nir", "snntorch", "brian2"])  # fmt: skip
def test_formats_without_an_initial_membrane_refuse_it(write):
    with pytest.raises(InputError, match="start at half of the threshold"):
        write(nn.Sequential(nn.Linear(4, 3), HalfCharged()))
    with pytest.raises(InputError, match="start='half of the threshold'"):
        nn.Sequential(nn.Linear(4, 3), IF()).load_state_dict(nn.Sequential(nn.Linear(4, 3), HalfCharged()).state_dict())
