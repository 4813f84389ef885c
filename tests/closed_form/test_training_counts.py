"""Counts of training steps by hand: forward pass, loss, backward pass and the optimizer's update."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import neurosparse as ns
from neurosparse.meter import modules

SAMPLES, INPUTS, HIDDEN, OUTPUTS = 4, 3, 5, 2
WEIGHTS, BIASES = INPUTS * HIDDEN + HIDDEN * OUTPUTS, HIDDEN + OUTPUTS


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS))


def step(net: nn.Module, x: Any) -> None:
    F.mse_loss(net(x), torch.zeros(len(x), OUTPUTS)).backward()


def counted(net: nn.Module, train: Callable[[], Any], **how: Any) -> ns.OperationCounts:
    with ns.record(net, backward=True, **how) as tape:
        train()
    return ns.count(tape, strict=True)


def amounts(counts: ns.OperationCounts, phase: str, column: str) -> dict[str, int]:
    """A column by layer, in one phase."""
    found: Counter[str] = Counter()
    for row in counts.rows:
        if row["phase"] == phase:
            found[row["layer"]] += row[column]
    return {layer: amount for layer, amount in found.items() if amount}


def test_one_step_of_a_dense_network() -> None:
    net, x = network(), torch.rand(SAMPLES, INPUTS) + 0.5
    counts = counted(net, lambda: step(net, x))
    first, second = SAMPLES * INPUTS * HIDDEN, SAMPLES * HIDDEN * OUTPUTS
    assert counts.samples == SAMPLES
    assert amounts(counts, "forward", "dense_ops") == {"0": first, "2": second}
    # The first layer has a gradient of its weight only, the second of its input too.
    assert amounts(counts, "backward", "dense_ops") == {"0": first, "2": 2 * second}
    # A bias is the sum of the gradients of its outputs; the derivative of a ReLU is a comparison.
    work = amounts(counts, "backward", "elementwise")
    assert (work["0"], work["2"]) == (SAMPLES * HIDDEN, SAMPLES * OUTPUTS)
    assert amounts(counts, "backward", "comparisons") == {"1": SAMPLES * HIDDEN}
    assert amounts(counts, "forward", "elementwise").keys() == {"loss"}
    assert amounts(counts, "update", "elementwise") == {}


#: Scalar operations of a step of Adam per parameter: two moving averages (3 and 4), a root, a division by the bias
#: correction, the sum with eps, and the update by a quotient and a rate (3).
ADAM = 13


@pytest.mark.parametrize("variant", [{"foreach": False}, {"foreach": True}, {"fused": True}], ids=str)
def test_variants_of_adam_cost_the_same(variant: dict[str, Any]) -> None:
    net, x = network(), torch.rand(SAMPLES, INPUTS)
    optimizer = torch.optim.Adam(net.parameters(), **variant)

    def train() -> None:
        for _ in range(3):
            step(net, x)
            optimizer.step()
            optimizer.zero_grad()

    counts = counted(net, train)
    assert amounts(counts, "update", "elementwise") == {"optimizer": 3 * ADAM * (WEIGHTS + BIASES)}
    assert counts.samples == 3 * SAMPLES
    # Weights that are updated remain weights.
    assert amounts(counts, "forward", "dense_ops") == {"0": 3 * 4 * 3 * 5, "2": 3 * 4 * 5 * 2}
    assert {row["kind"] for row in counts.rows if row["phase"] == "forward" and row["dense_ops"]} == {"linear"}
    assert counts.totals["weights"] == WEIGHTS


@pytest.mark.parametrize("foreach", [False, True])
def test_momentum_costs_two_products_and_a_sum(foreach: bool) -> None:
    net, x = network(), torch.rand(SAMPLES, INPUTS)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, foreach=foreach)

    def train() -> None:
        for _ in range(2):
            step(net, x)
            optimizer.step()
            optimizer.zero_grad()

    # The first step copies the gradient; the second decays it and adds; both take a product and a sum for the weight.
    expected = (2 + 2 + 2) * (WEIGHTS + BIASES)
    assert amounts(counted(net, train), "update", "elementwise") == {"optimizer": expected}


def test_clipped_gradients_belong_to_the_update() -> None:
    net, x = network(), torch.rand(SAMPLES, INPUTS)

    def train() -> None:
        step(net, x)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        with torch.no_grad():
            for parameter in net.parameters():
                assert parameter.grad is not None
                parameter -= 0.1 * parameter.grad

    counts = counted(net, train)
    unclipped = amounts(counted(net, lambda: step(net, x)), "forward", "elementwise")
    assert amounts(counts, "forward", "elementwise") == unclipped
    # Norm of each tensor (a square and a sum per number), scaling, and the update by hand (a product and a difference).
    least = 5 * (WEIGHTS + BIASES)
    assert least <= amounts(counts, "update", "elementwise")["optimizer"] < least + 30


def test_accumulated_gradients_are_sums() -> None:
    net, x = network(), torch.rand(SAMPLES, INPUTS)
    once = amounts(counted(net, lambda: step(net, x)), "backward", "elementwise")
    net.zero_grad()
    twice = amounts(counted(net, lambda: [step(net, x), step(net, x)]), "backward", "elementwise")
    sums = {"0": INPUTS * HIDDEN + HIDDEN, "2": HIDDEN * OUTPUTS + OUTPUTS, "loss": 0}
    assert {layer: twice[layer] - 2 * once[layer] for layer in once} == sums


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_is_computed_again_in_the_backward_pass(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.inner, x, use_reentrant=reentrant)

    net, x = Checkpointed(), torch.rand(SAMPLES, INPUTS, requires_grad=True)
    counts = counted(net, lambda: step(net, x))
    first, second = SAMPLES * INPUTS * HIDDEN, SAMPLES * HIDDEN * OUTPUTS
    assert counts.samples == SAMPLES
    assert amounts(counts, "forward", "dense_ops") == {"inner.0": first, "inner.2": second}
    backward = amounts(counts, "backward", "dense_ops")
    assert backward["inner.0"] == 3 * first
    assert backward["inner.2"] in (2 * second, 3 * second)  # torch stops when all saved tensors are there again


def test_the_gradient_of_a_gradient_belongs_to_its_layer() -> None:
    net, x = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh()), torch.rand(SAMPLES, INPUTS, requires_grad=True)

    def train() -> None:
        (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()

    counts = counted(net, train)
    assert set(amounts(counts, "backward", "dense_ops")) == {"0"}
    assert {"0", "1"} <= set(amounts(counts, "backward", "elementwise")) <= {"0", "1", "loss"}
    assert amounts(counts, "update", "elementwise") == {}


def test_the_function_transform_counts_as_the_backward_pass() -> None:
    net, x = network(), torch.rand(SAMPLES, INPUTS)
    parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return F.mse_loss(torch.func.functional_call(net, parameters, (x,)), torch.zeros(SAMPLES, OUTPUTS))

    counts = counted(net, lambda: torch.func.grad(loss)(parameters) and None)
    same = counted(net, lambda: step(net, x))
    for phase in ("forward", "backward"):
        assert sum(amounts(counts, phase, "dense_ops").values()) == sum(amounts(same, phase, "dense_ops").values())


def test_inference_by_gradients_belongs_to_the_forward_pass() -> None:
    class Inference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generate = nn.Linear(HIDDEN, INPUTS, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            z = torch.zeros(len(x), HIDDEN, requires_grad=True)
            with torch.enable_grad():
                error = (x - self.generate(z)).square().sum()
            return z - torch.autograd.grad(error, z)[0]

    net = Inference()
    counts = counted(net, lambda: net(torch.rand(SAMPLES, INPUTS)))
    assert {row["phase"] for row in counts.rows} == {"forward"}
    assert counts.totals["dense_ops"] == 2 * SAMPLES * INPUTS * HIDDEN


def test_layers_are_found_after_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the layers of the last nodes of the graph are kept."""
    monkeypatch.setattr(modules, "MOST_STARTS", 32)
    net, x = network(), torch.rand(SAMPLES, INPUTS)
    counts = counted(net, lambda: [step(net, x) for _ in range(20)])
    first, second = SAMPLES * INPUTS * HIDDEN, SAMPLES * HIDDEN * OUTPUTS
    assert amounts(counts, "backward", "dense_ops") == {"0": 20 * first, "2": 40 * second}


def test_weights_that_the_loss_makes_anew_count_once() -> None:
    net, x = network(), torch.rand(SAMPLES, INPUTS)

    def train() -> None:
        for _ in range(5):
            (net(x) @ torch.eye(OUTPUTS)).sum().backward()

    (row,) = [
        r for r in counted(net, train).rows if r["layer"] == "loss" and r["dense_ops"] and r["phase"] == "forward"
    ]
    assert row["weights"] == OUTPUTS * OUTPUTS


def test_a_step_of_spiking_neurons() -> None:
    """One input spike at each of two steps into two neurons far above threshold, then one output neuron."""
    hidden, output = nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)
    nn.init.constant_(hidden.weight, 2.0)
    nn.init.constant_(output.weight, 2.0)
    net = nn.Sequential(hidden, ns.LIF(beta=0.5, reset="zero"), output, ns.neurons.Readout(0.5))
    spikes = torch.zeros(2, 1, 3)
    spikes[0, 0, 0] = spikes[1, 0, 2] = 1
    counts = counted(net, lambda: net(ns.EventTensor.from_dense(spikes, spikes=True)).sum().backward())
    assert amounts(counts, "forward", "dense_ops") == {"0": 2 * 3 * 2, "2": 2 * 2 * 1}
    assert amounts(counts, "backward", "dense_ops") == {"0": 2 * 3 * 2, "2": 2 * (2 * 2 * 1)}
    # Weight gradients: 2 input spikes reach 2 units, 4 hidden spikes reach 1. Input gradient: 2 steps x 1 x 2 weights.
    assert amounts(counts, "backward", "effective_acs") == {"0": 2 * 2, "2": 4 * 1}
    assert amounts(counts, "backward", "effective_macs") == {"2": 2 * 1 * 2}
    # One state update per step and unit, as in the forward pass; slopes of the surrogate and their products.
    assert amounts(counts, "backward", "state_updates") == amounts(counts, "forward", "state_updates")
    assert amounts(counts, "backward", "state_updates") == {"1": 2 * 2, "3": 2 * 1}
    assert amounts(counts, "backward", "elementwise")["1"] == 2 * (2 * 2)


def test_each_phase_has_an_energy() -> None:
    net, x = network(), torch.rand(SAMPLES, INPUTS)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def train() -> None:
        step(net, x)
        optimizer.step()

    report = ns.estimate(counted(net, train))
    assert list(report.by_phase) == ["forward", "backward", "update"]
    assert all(joules > 0 for joules in report.by_phase.values())
    assert report.nominal == pytest.approx(sum(report.by_phase.values()))
