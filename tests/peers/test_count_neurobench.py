"""Counts equal those of NeuroBench 2.3.0 on snnTorch networks that are rebuilt here by formula."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurosparse.measure.count import count
from neurosparse.measure.ledger import Ledger
from neurosparse.measure.record import record

snn = pytest.importorskip("snntorch")
reset = pytest.importorskip("snntorch.utils").reset

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "neurobench.json").read_text(encoding="utf-8"))
NETWORKS = ORACLE["networks"]


def written(layer: Any, seed: int, scale: float) -> Any:
    """Weights and biases by the oracle's formula."""
    for part, start, gain, pruned in ((layer.weight, seed, scale, 0.25), (layer.bias, seed + 500, 0.05, 0.0)):
        random = np.random.RandomState(start)
        values = (random.standard_normal(tuple(part.shape)) * gain).astype(np.float32)
        values[random.random_sample(tuple(part.shape)) < pruned] = 0.0
        part.data = torch.from_numpy(values)
    return layer


def leaky(**options: Any) -> nn.Module:
    return snn.Leaky(beta=0.9, init_hidden=True, **options)


def perceptron(reset: str) -> nn.Module:
    first, second = written(nn.Linear(40, 30), 1, 0.35), written(nn.Linear(30, 10), 2, 0.35)
    return nn.Sequential(first, leaky(reset_mechanism=reset), second, leaky(reset_mechanism=reset))


def convolutional() -> nn.Module:
    first = written(nn.Conv2d(2, 4, 3, padding=1), 11, 0.5)
    second = written(nn.Conv2d(4, 6, 3, stride=2, padding=1), 12, 0.4)
    return nn.Sequential(first, leaky(), second, leaky(), nn.Flatten(), written(nn.Linear(96, 10), 13, 0.3), leaky())


def uniform(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).random_sample(shape).astype(np.float32))


def spikes(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy((np.random.RandomState(seed).random_sample(shape) < 0.2).astype(np.float32))


CASES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "mlp_subtract": (lambda: perceptron("subtract"), spikes(100, (12, 10, 40))),
    "mlp_zero": (lambda: perceptron("zero"), spikes(100, (12, 10, 40))),
    "conv": (convolutional, spikes(101, (12, 10, 2, 8, 8))),
}


def run(net: nn.Module, x: Tensor, batch: int, spiking: list[Any]) -> Ledger:
    ledgers = []
    for part in x.split(batch):
        reset(net)
        with torch.no_grad(), record(net, spiking=spiking, calls="steps") as tape:
            for step in part.unbind(1):
                net(step)
        ledgers.append(count(tape, strict=True))
    return sum(ledgers[1:], start=ledgers[0])


@pytest.mark.parametrize("batch", [5, 12])
@pytest.mark.parametrize("name", CASES)
def test_spiking_networks(name: str, batch: int) -> None:
    build, x = CASES[name]
    ledger = run(build(), x, batch, [snn.Leaky, "input"])
    want, per_sample = NETWORKS[name], ledger.per_sample
    assert sum(row["effective_acs"] for row in per_sample) == want["Effective_ACs"]
    assert sum(row["effective_macs"] for row in per_sample) == want["Effective_MACs"] == 0
    assert sum(row["dense_ops"] for row in per_sample) == want["Dense"]
    neurons = [row for row in ledger.rows if row["kind"] == "neuron"]
    sent, cells = sum(row["spikes_out"] for row in neurons), sum(row["output_cells"] for row in neurons)
    assert 1 - sent / cells == pytest.approx(want["ActivationSparsity"], abs=1e-12)
    assert sum(row["state_updates"] for row in per_sample) == want["MembraneUpdates"]
    by_layer = [1 - row["spikes_out"] / row["output_cells"] for row in neurons]
    assert by_layer == pytest.approx(list(want["ActivationSparsityByLayer"].values()), abs=1e-12)
    totals = ledger.totals
    zeros = 1 - totals["nonzero_weights"] / totals["weights"]
    assert zeros == pytest.approx(want["ConnectionSparsity"], abs=5e-5)  # the oracle rounds to four decimals


def test_relu_network() -> None:
    x = torch.from_numpy(np.maximum(np.random.RandomState(102).standard_normal((12, 40)), 0).astype(np.float32))
    net = nn.Sequential(written(nn.Linear(40, 30), 1, 0.35), nn.ReLU(), written(nn.Linear(30, 10), 2, 0.35))
    with record(net) as tape:
        net(x)
    rows, want = count(tape, strict=True).per_sample, NETWORKS["ann_relu"]
    assert sum(row["effective_macs"] for row in rows) == want["Effective_MACs"]
    assert sum(row["dense_ops"] for row in rows) == want["Dense"]
    silent = next(1 - row["input_events"] / row["input_cells"] for row in rows if row["layer"] == "2")
    assert silent == pytest.approx(want["ActivationSparsity"], abs=1e-12)


def test_analogue_input_costs_macs_in_the_first_layer_only() -> None:
    ledger = run(perceptron("subtract"), uniform(103, (12, 10, 40)), 12, [snn.Leaky])
    first, second = (row for row in ledger.per_sample if row["kind"] == "linear")
    want = NETWORKS["mlp_analog_input"]
    assert (first["effective_macs"], first["effective_acs"]) == (want["Effective_MACs"], 0)
    assert (second["effective_macs"], second["effective_acs"]) == (0, want["Effective_ACs"])


def test_the_class_is_declared_and_never_guessed_from_values() -> None:
    """The oracle bills 0/1 inputs as accumulates whoever sent them; undeclared ones are multiply-accumulates here."""
    net, x = perceptron("subtract"), spikes(100, (12, 10, 40))
    totals = run(net, x, 12, []).totals
    assert totals["effective_acs"] == 0
    assert totals["effective_macs"] == 12 * NETWORKS["mlp_subtract"]["Effective_ACs"]
