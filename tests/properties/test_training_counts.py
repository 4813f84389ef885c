"""Counts of drawn training steps: the gradients of event kernels against dense layers and against the gradients."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurosparse as ns

SURROGATES = ("boxcar", "triangle", "atan", "fast_sigmoid")
PRODUCTS = ("linear", "conv", "matmul")


class Drawn(NamedTuple):
    """Sizes and settings of a network of two layers of neurons, and its input."""

    spikes: Tensor
    lengths: Tensor | None
    hidden: int
    outputs: int
    settings: dict[str, Any]
    surrogate: str
    seed: int

    def network(self, reference: bool) -> nn.Sequential:
        torch.manual_seed(self.seed)
        surrogate = getattr(ns.neurons, self.surrogate)()
        neurons = [ns.LIF(**self.settings, surrogate=surrogate, reference=reference) for _ in range(2)]
        layers = nn.Linear(self.spikes.shape[2], self.hidden), nn.Linear(self.hidden, self.outputs)
        for layer in layers:
            layer.weight.data *= 4 * (torch.rand_like(layer.weight) < 0.7)
        return nn.Sequential(layers[0], neurons[0], layers[1], neurons[1])

    @property
    def events(self) -> ns.EventTensor:
        spikes = bool(((self.spikes == 0) | (self.spikes == 1)).all())
        return ns.EventTensor.from_dense(self.spikes, lengths=self.lengths, spikes=spikes)


def drawn(seed: int) -> Drawn:
    rng = np.random.default_rng(seed)
    steps, samples, inputs = (int(n) for n in rng.integers(1, 7, 3))
    torch.manual_seed(seed)
    spikes = (torch.rand(steps, samples, inputs) < rng.choice([0.1, 0.5])).float()
    if rng.random() < 0.3:  # graded events
        spikes = spikes * torch.rand_like(spikes)
    lengths = None
    if rng.random() < 0.4:
        lengths = torch.from_numpy(rng.integers(1, steps + 1, samples))
        spikes = spikes * (torch.arange(steps)[:, None] < lengths)[..., None]
    settings = {"beta": float(rng.choice([0.5, 0.9])), "reset": str(rng.choice(["subtract", "zero", "none"]))}
    hidden, outputs = int(rng.integers(1, 9)), int(rng.choice([1, 5, 70]))
    return Drawn(spikes, lengths, hidden, outputs, settings, str(rng.choice(SURROGATES)), seed)


def loss(net: nn.Module, x: Any) -> Tensor:
    counts = net(x).counts()
    return (counts * torch.arange(counts.numel()).view(counts.shape)).sum()


def counted(net: nn.Module, x: Any) -> ns.OperationCounts:
    with ns.record(net, backward=True) as tape:
        loss(net, x).backward()
    return ns.count(tape, strict=True)


def products(counts: ns.OperationCounts, phase: str = "backward") -> dict[tuple[str, str], tuple[int, int]]:
    """Dense and effective operations by layer and kind; those of a gradient of the weight are of kind matmul."""
    return {
        (row["layer"], row["kind"]): (row["dense_ops"], row["effective_macs"] + row["effective_acs"])
        for row in counts.rows
        if row["phase"] == phase and row["kind"] in PRODUCTS
    }


def pairs(case: Drawn) -> dict[tuple[str, str], tuple[int, int]]:
    """The same from gradients that autograd keeps, one row after the other."""
    layers: Any = list(case.network(reference=True))
    first, hidden, second, output = layers
    currents = [first(case.events)]
    currents[0].retain_grad()
    trace = hidden.trace(currents[0].detach())
    currents.append(second(hidden(currents[0])))
    currents[1].retain_grad()
    loss(output, currents[1]).backward()
    steps, samples = case.spikes.shape[:2]
    lengths = torch.full((samples,), steps) if case.lengths is None else case.lengths
    membrane, threshold = ns.events.dense_of(trace.membrane), float(hidden.threshold)
    found: dict[tuple[str, str], tuple[int, int]] = dict.fromkeys(
        [("0", "matmul"), ("2", "matmul"), ("2", "linear")], (0, 0)
    )

    def add(key: tuple[str, str], dense: int, effective: int) -> None:
        found[key] = found[key][0] + dense, found[key][1] + effective

    for b in range(samples):
        for t in range(int(lengths[b])):
            to_first, to_second = ((x.grad[t, b] != 0) for x in currents)
            sent, weight = trace.events.dense()[t, b] != 0, second.weight != 0
            add(("0", "matmul"), first.weight.numel(), int(to_first.sum() * (case.spikes[t, b] != 0).sum()))
            add(("2", "matmul"), weight.numel(), int(to_second.sum() * sent.sum()))
            inside = torch.ones(case.hidden, dtype=torch.bool)
            if case.surrogate == "boxcar":
                inside = (membrane[t, b] - threshold).abs() < 0.5
            add(("2", "linear"), weight.numel(), int((weight & to_second[:, None] & inside).sum()))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_gradients_of_kernels_are_those_that_autograd_computes(seed: int) -> None:
    case = drawn(seed)
    counts = counted(case.network(reference=False), case.events)
    assert products(counts) == pairs(case)
    assert all(row["effective_macs"] + row["effective_acs"] <= row["dense_ops"] for row in counts.rows)


@pytest.mark.parametrize("seed", range(6))
def test_dense_operations_are_those_of_dense_layers(seed: int) -> None:
    case = drawn(seed)
    kernels, dense = (products(counted(case.network(reference), case.events)) for reference in (False, True))
    assert {key: pair[0] for key, pair in kernels.items()} == {key: pair[0] for key, pair in dense.items()}
    if case.surrogate != "boxcar":  # dense layers compute gradients outside the support too
        assert kernels == dense


@pytest.mark.parametrize("seed", range(3))
def test_convolutions_of_events_are_those_of_dense_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    kernel, stride, padding, groups = (int(rng.integers(low, high)) for low, high in ((1, 4), (1, 3), (0, 2), (1, 3)))
    images = (torch.rand(3, 2, 2, 6, 5) < 0.3).float()

    def network(reference: bool) -> nn.Sequential:
        torch.manual_seed(seed)
        convolution = nn.Conv2d(2, 4, kernel, stride, padding, groups=groups)
        size = convolution(images[0]).flatten(1).shape[1]
        neurons = [ns.LIF(beta=0.9, threshold=0.2, reference=reference) for _ in range(2)]
        return nn.Sequential(ns.fold(convolution), neurons[0], ns.fold(nn.Flatten(), nn.Linear(size, 3)), neurons[1])

    events = ns.EventTensor.from_dense(images, spikes=True)
    sparse = ns.EventTensor.from_aer(*events.aer()[:3], shape=events.shape)
    kernels, dense = products(counted(network(False), sparse)), products(counted(network(True), events))
    assert kernels == dense
    assert any(kind == "matmul" and pair[1] for (_, kind), pair in kernels.items())


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_dense_operations_are_linear_in_the_batch(phase: str) -> None:
    case = drawn(3)._replace(spikes=(torch.rand(4, 3, 5) < 0.4).float(), lengths=None)
    twice = case._replace(spikes=case.spikes.repeat(1, 2, 1))
    one, two = (products(counted(c.network(False), c.events), phase) for c in (case, twice))
    assert {key: pair[0] for key, pair in two.items()} == {key: 2 * pair[0] for key, pair in one.items()}


def test_silence_needs_no_gradient_of_the_first_weights() -> None:
    case = drawn(1)._replace(spikes=torch.zeros(4, 3, 5), lengths=None)
    found = products(counted(case.network(reference=False), case.events))
    assert found["0", "matmul"][0] > 0 and found["0", "matmul"][1] == 0


SETTINGS: dict[str, dict[str, Any]] = {
    "delayed reset": {"delayed_reset": True},
    "refractory": {"refractory": 2},
    "recurrent": {"recurrent": nn.Linear(6, 6)},
    "adaptive": {"dynamics": ns.neurons.adaptive(0.9, 0.1)},
    "current based": {"dynamics": ns.neurons.current_based(0.8)},
    "learned decay": {"beta": nn.Parameter(torch.tensor(0.9))},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_kind_of_neuron_is_counted(name: str) -> None:
    torch.manual_seed(0)
    settings = {"beta": 0.9} | SETTINGS[name]
    net = nn.Sequential(nn.Linear(4, 6), ns.LIF(**settings), nn.Linear(6, 3), ns.LIF(beta=0.9))
    counts = counted(net, ns.EventTensor.from_dense((torch.rand(5, 2, 4) < 0.5).float(), spikes=True))
    rows = 5 * 2
    assert products(counts)["2", "linear"][0] == products(counts)["2", "matmul"][0] == rows * 6 * 3
    if name == "recurrent":  # torch multiplies with the silence before the first step too
        assert products(counts)["1.recurrent", "linear"][0] >= (5 - 1) * 2 * 6 * 6


def test_chunks_are_computed_again() -> None:
    class InChunks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = drawn(2).network(reference=False)

        def forward(self, x: ns.EventTensor) -> Tensor:
            return torch.stack([part.counts() for part in ns.learning.through_time(self.net, x, 2)]).sum(0)

    net, x = InChunks(), drawn(2).events
    with ns.record(net, backward=True) as tape:
        net(x).sum().backward()
    counts = ns.count(tape, strict=True)
    forward, backward = products(counts, "forward"), products(counts)
    assert counts.samples == x.shape[1]
    assert backward["net.0", "linear"][0] == forward["net.0", "linear"][0]
    assert backward["net.2", "linear"][0] == 2 * forward["net.2", "linear"][0]


@pytest.mark.parametrize("gradients", ["hand", "autograd"])
def test_predictive_learning_is_counted(gradients: str) -> None:
    net = ns.PredictiveNetwork([5, 4, 3], gradients=gradients)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step = ns.meter.as_module(lambda x, y: net.learn(net.infer(x, y)))
    with ns.record(step, backward=True) as tape:
        for _ in range(2):
            step(torch.rand(2, 5), torch.rand(2, 3))
            optimizer.step()
    counts = ns.count(tape, strict=True)
    assert {row["phase"] for row in counts.rows} == {"forward", "update"}
    # Gradients of both weights are products of errors and activations.
    assert [row["dense_ops"] for row in counts.rows if row["kind"] == "matmul"] == [2 * 2 * (5 * 4 + 4 * 3)]


def test_local_rules_are_counted() -> None:
    net = nn.Sequential(nn.Linear(4, 6), ns.LIF(beta=0.9), nn.Linear(6, 2), ns.neurons.Readout(0.8))
    spikes = ns.EventTensor.from_dense((torch.rand(5, 3, 4) < 0.5).float(), spikes=True, dt=1e-3)
    after = ns.EventTensor.from_dense((torch.rand(5, 3, 2) < 0.5).float(), spikes=True, dt=1e-3)
    eprop = ns.meter.as_module(lambda x: ns.learning.eprop(net, x, torch.zeros(5, 3, 2)))
    stdp = ns.meter.as_module(lambda x, y: ns.learning.stdp(torch.zeros(2, 4), x, y))
    for rule, inputs in ((eprop, (spikes,)), (stdp, (spikes, after))):
        with ns.record(rule, backward=True) as tape:
            rule(*inputs)
        assert ns.count(tape, strict=True).totals["dense_ops"]
    # Traces of one side at the spikes of the other, of both sides: steps x samples x pairs of units.
    assert ns.count(tape).totals["dense_ops"] == 2 * 5 * 3 * 4 * 2
