"""Predictive networks of torch modules of any kind: a finite energy and the autograd gradient, or one InputError."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurosparse.errors import InputError
from neurosparse.predictive import BlockLinear, EnergyIncreased, PredictiveNetwork

UNITS = 6


class Noise(nn.Module):
    """Adds noise of its own generator."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        return x + torch.randn(x.shape, generator=self.generator)


class Counter(nn.Module):
    """Adds the number of its calls, which is no buffer."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + self.calls


class Centred(nn.Module):
    """Subtracts the mean over samples."""

    def forward(self, x):
        return x - x.mean(0)


MODULES = {
    "Linear": lambda: nn.Linear(UNITS, UNITS), "BlockLinear": lambda: BlockLinear(2, 3, 3),
    "Conv1d": lambda: nn.Conv1d(2, 2, 3, padding=1), "Conv2d": lambda: nn.Conv2d(1, 1, 3, padding=1),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(2, 2, 3, padding=1), "Bilinear": lambda: nn.Bilinear(6, 6, 6),
    "Embedding": lambda: nn.Embedding(10, UNITS), "EmbeddingBag": lambda: nn.EmbeddingBag(10, UNITS),
    "LSTM": lambda: nn.LSTM(UNITS, UNITS, batch_first=True), "GRU": lambda: nn.GRU(UNITS, UNITS),
    "MultiheadAttention": lambda: nn.MultiheadAttention(UNITS, 2), "TransformerEncoderLayer": lambda:
    nn.TransformerEncoderLayer(UNITS, 2, 8, dropout=0.0, batch_first=True),
    "ReLU in place": lambda: nn.ReLU(inplace=True), "ReLU6": nn.ReLU6, "GELU": nn.GELU, "PReLU": nn.PReLU,
    "Hardshrink": nn.Hardshrink, "GLU": nn.GLU, "Softmax": lambda: nn.Softmax(-1), "Identity": nn.Identity,
    "Flatten": nn.Flatten, "Flatten all": lambda: nn.Flatten(0), "Unflatten": lambda: nn.Unflatten(1, (2, 3)),
    "LayerNorm": lambda: nn.LayerNorm(UNITS), "GroupNorm": lambda: nn.GroupNorm(2, 2),
    "BatchNorm": lambda: nn.BatchNorm1d(UNITS).eval(), "MaxPool1d": lambda: nn.MaxPool1d(2),
    "AdaptiveAvgPool1d": lambda: nn.AdaptiveAvgPool1d(UNITS), "Upsample": lambda: nn.Upsample(scale_factor=2),
    "CosineSimilarity": nn.CosineSimilarity, "PairwiseDistance": nn.PairwiseDistance,
    "MSELoss": nn.MSELoss, "ModuleList": lambda: nn.ModuleList([nn.Linear(UNITS, UNITS)]),
    "Sequential": lambda: nn.Sequential(nn.Linear(UNITS, UNITS), nn.ReLU(inplace=True), nn.LayerNorm(UNITS)),
    "empty Sequential": nn.Sequential,
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(UNITS, UNITS)),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(1, 1, 3, padding=1), "Noise": Noise, "Counter": Counter,
    "Centred": Centred, "Dropout": nn.Dropout, "RReLU": nn.RReLU, "BatchNorm, training": lambda: nn.BatchNorm1d(UNITS),
    "BatchNorm of one channel": lambda: nn.BatchNorm2d(1),
    "BatchNorm without statistics": lambda: nn.BatchNorm1d(UNITS, track_running_stats=False).eval(),
    "InstanceNorm": lambda: nn.InstanceNorm1d(2, track_running_stats=True),
    "Sequential with Dropout": lambda: nn.Sequential(nn.Linear(UNITS, UNITS), nn.Dropout(0.2)),
    "spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(UNITS, UNITS)),
    "float64": lambda: nn.Linear(UNITS, UNITS).double(),
}  # fmt: skip
SHAPES = [(UNITS,), (2, UNITS), (2, 3), (1, UNITS, UNITS), (1,)]
names = st.lists(st.sampled_from(sorted(MODULES)), min_size=1, max_size=3)


def build(kinds: list[str], **options) -> PredictiveNetwork:
    torch.manual_seed(0)
    return PredictiveNetwork([MODULES[kind]() for kind in kinds], steps=4, **options)


@settings(max_examples=200)
@given(
    kinds=names, shape=st.sampled_from(SHAPES), samples=st.sampled_from([0, 1, 3]), free=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float32, torch.int64, torch.bool]),
    output=st.sampled_from(["squared", "squared", "cross_entropy"]), order=st.sampled_from(["act_after", "act_before"]),
)  # fmt: skip
def test_any_modules_have_a_finite_energy_or_are_refused(kinds, shape, samples, free, dtype, output, order):
    network = build(kinds, output=output, order=order)
    x = (2 * torch.rand(samples, *shape)).to(dtype)
    given_x, weights = x.clone(), [parameter.detach().clone() for parameter in network.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EnergyIncreased)
        try:
            y = network(x).detach()
            y = y.softmax(-1) if output == "cross_entropy" else torch.zeros_like(y)
            buffers, random = [buffer.clone() for buffer in network.buffers()], torch.get_rng_state()
            states = network.infer(x, None if free else y)
            network.learn(states)
        except InputError as error:
            assert "\n" not in str(error) and "expected" in str(error)
        else:
            assert bool(states.energies.isfinite().all()) and states.energies.shape == (5, samples)
            assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)
        if "random" in locals():  # the predictions of `network` are possible: inference has run or refused
            assert torch.equal(random, torch.get_rng_state())
            torch.testing.assert_close(list(network.buffers()), buffers, atol=0, rtol=0, equal_nan=True)
    assert torch.equal(x, given_x)
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))


WORKING = [
    ["Linear", "ReLU in place", "Linear"], ["ReLU in place", "LayerNorm"], ["Sequential", "GELU"],
    ["TransformerEncoderLayer"], ["Identity", "weight_norm"], ["ReLU in place"],
]  # fmt: skip


@pytest.mark.parametrize("kinds", WORKING, ids=" ".join)
def test_gradients_of_other_modules_are_those_of_the_energy(kinds):
    network, units = build(kinds).double(), (2, UNITS) if kinds == ["TransformerEncoderLayer"] else (UNITS,)
    x, y = torch.randn(2, 3, *units, dtype=torch.float64)
    states = network.infer(x, y, dt=0.1)
    network.learn(states)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if parameters:
        expected = torch.autograd.grad(network.energy(states).mean(), parameters)
        for parameter, gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, atol=1e-10, rtol=1e-10)
    assert bool((states.energies[-1] <= states.energies[0]).all())


@pytest.mark.parametrize("kinds", [["LSTM"], ["Embedding"], ["MultiheadAttention"], ["Flatten all"], ["GRU", "Linear"]])
def test_modules_without_one_floating_point_output_per_sample_are_refused(kinds):
    with pytest.raises(InputError, match="PredictiveNetwork.infer: got .*expected"):
        build(kinds, input_shape=(UNITS,)).infer(torch.rand(3, UNITS))
    with pytest.raises(InputError, match="PredictiveNetwork: got .*expected"):
        build(kinds)(torch.rand(3, UNITS))


@pytest.mark.parametrize(("kind", "said"), [
    ("Dropout", "Dropout in training mode, which draws random numbers"), ("RReLU", "RReLU in training .* draws"),
    ("Sequential with Dropout", "Sequential of Linear, Dropout in training mode, which draws .*Call network.eval"),
    ("BatchNorm, training", "BatchNorm1d in training mode, which changes running_mean, running_var, num_batches"),
    ("BatchNorm without statistics", "BatchNorm1d in evaluation mode, which gives a sample another prediction"),
    ("spectral_norm", ".*which changes .*_u"), ("Noise", ".*another prediction"), ("Counter", ".*another prediction"),
    ("Centred", ".*another prediction"),
])  # fmt: skip
@pytest.mark.parametrize("mode", ["strict", "fixed_prediction", "z_il"])
def test_modules_that_are_no_fixed_function_of_each_sample_are_refused_and_restored(kind, said, mode):
    network, x, y = build([kind, "Linear"]), torch.randn(5, UNITS), torch.zeros(5, UNITS)
    buffers, random = [buffer.clone() for buffer in network.buffers()], torch.get_rng_state()
    with pytest.raises(InputError, match=f"PredictiveNetwork.infer: got {said}"):
        network.infer(x, y, mode=mode, check=False)
    torch.testing.assert_close(list(network.buffers()), buffers, atol=0, rtol=0)
    assert torch.equal(random, torch.get_rng_state())
    if kind not in ("BatchNorm without statistics", "Noise", "Counter", "Centred"):
        network.eval().infer(x, y, mode=mode)


@pytest.mark.parametrize("order", ["act_after", "act_before"])
def test_every_module_with_weights_by_hand_has_the_activation(order):
    torch.manual_seed(0)
    transposed, linear = nn.ConvTranspose2d(2, 3, 3, stride=2), nn.Linear(75, 4)
    x = torch.randn(5, 2, 2, 2)
    network = PredictiveNetwork([transposed, linear], "relu", order=order)
    torch.testing.assert_close(network(x), linear(transposed(x).relu().flatten(1)))
