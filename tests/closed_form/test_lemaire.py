"""The model of Lemaire 2022 for one sample: the formulas of the paper by component, and those of another library."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurosparse.energy import estimate
from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.hardware import constants
from neurosparse.events import EventTensor, fold
from neurosparse.meter import OperationCounts, count, record
from neurosparse.neurons import LIF

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "lemaire.json").read_text())
STEPS, ADD, MUL = ORACLE["steps"], 0.1, 3.1


def filled(module: nn.Module, seed: int, scale: float, zeros: float = 0.0) -> nn.Module:
    """Weights and biases by the formula of tests/oracles/make/lemaire.py."""
    for parameter, s, size, share in (
        (module.weight, seed, scale, zeros),
        (module.bias, seed + 500, 0.05, 0.0),
    ):
        random = np.random.RandomState(s)
        values = random.standard_normal(parameter.shape) * size
        values[random.random_sample(parameter.shape) < share] = 0
        parameter.data = torch.from_numpy(values.astype(np.float32))
    return module


def mlp(beta: float | None, zeros: float = 0.0) -> nn.Sequential:
    first, second = filled(nn.Linear(40, 30), 1, 0.35, zeros), filled(nn.Linear(30, 10), 2, 0.35, zeros)
    return (
        nn.Sequential(first, second) if beta is None else nn.Sequential(first, LIF(beta=beta), second, LIF(beta=beta))
    )


def random(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(100).random_sample(shape).astype(np.float32))


def events(x: torch.Tensor) -> EventTensor:
    return EventTensor.from_dense(x.float(), spikes=True)


TRAINS = (random(12, STEPS, 40) < 0.2).transpose(0, 1)
IMAGE = torch.zeros(STEPS, 1, 2, 8, 8, dtype=torch.bool)
IMAGE[..., 2:6, 2:6] = random(STEPS, 1, 2, 4, 4) < 0.2
SPIKING = {"input_formats": ("aer",), "weight_formats": ("dense",)}
DENSELY = Assumptions(input_formats=("dense",), weight_formats=("dense",))
CASES = {
    "lif": (mlp(0.9, 0.25), events(TRAINS[:, :1]), Assumptions(**SPIKING)),
    "integrate": (mlp(1.0), events(TRAINS[:, 3:4]), Assumptions(**SPIKING, leak="none")),
    "convolution": (
        nn.Sequential(fold(filled(nn.Conv2d(2, 4, 3), 11, 0.5)), LIF(beta=1.0)),
        events(IMAGE),
        Assumptions(**SPIKING, leak="none"),
    ),
    "dense": (mlp(None), random(1, 40), DENSELY),
    "dense convolution": (filled(nn.Conv2d(2, 4, 3), 11, 0.5), random(1, 2, 8, 8), DENSELY),
}


def counted(name: str) -> OperationCounts:
    model, x, _ = CASES[name]
    with record(model) as tape, torch.no_grad():
        model(x)
    return count(tape)


def components(name: str) -> dict[str, float]:
    """Picojoules, by the paper's names."""
    part = estimate(counted(name), "lemaire-45nm", "no_reuse", assume=CASES[name][2]).parts
    return {
        "ops": 1e12 * part["compute"],
        "addressing": 1e12 * part["addressing"],
        "inout": 1e12 * (part["inputs"] + part["indices"] + part["outputs"]),
        "params": 1e12 * part["weights"],
        "potential": 1e12 * (part["partial_sums"] + part["state"]),
    }


def sram(words: float) -> float:
    """Picojoules of an access to a memory of so many 32-bit words, by the paper's linear fit."""
    return 13.2 + 1.09e-5 * 32 * words


def thetas(name: str) -> list[int]:
    """Spikes into the first layer, then out of every neuron, counted without the meter."""
    model, x, _ = CASES[name]
    counts = [x.n_events]
    with torch.no_grad():
        for module in model:
            x = module(x)
            counts += [x.n_events] if isinstance(module, LIF) else []
    return counts


@pytest.mark.parametrize(("name", "leak"), [("lif", MUL + ADD), ("integrate", 0.0)])
def test_spiking_layers_by_the_formulas_of_the_paper(name, leak):
    """SNN fc: theta_in N_out synaptic additions, T N_out for biases, theta_out for resets; LIF: T N_out products."""
    theta, sizes, expected = thetas(name), (40, 30, 10), dict.fromkeys(("ops", "addressing", "inout"), 0.0)
    expected |= {"params": 0.0, "potential": 0.0}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        synapses, steps = theta[layer] * outputs, STEPS * outputs
        expected["ops"] += (synapses + steps + theta[layer + 1]) * ADD + steps * leak
        expected["addressing"] += synapses * ADD
        expected["inout"] += (theta[layer] + theta[layer + 1]) * sram(1000)
        expected["params"] += (synapses + steps) * sram(inputs * outputs + outputs)
        expected["potential"] += 2 * (synapses + steps) * sram(outputs)
    assert components(name) == pytest.approx(expected, rel=1e-12)


def test_a_spiking_convolution_by_the_formulas_of_the_paper():
    theta_in, theta_out = thetas("convolution")
    outputs, fan_out = 4 * 6 * 6, 4 * 3 * 3
    synapses, steps = theta_in * fan_out, STEPS * outputs
    expected = {
        "ops": (synapses + steps + theta_out) * ADD,
        "addressing": synapses * ADD + 2 * theta_in * (MUL + ADD),
        "inout": (theta_in + theta_out) * sram(1000),
        "params": (synapses + steps) * sram(2 * 4 * 3 * 3 + 4),
        "potential": 2 * (synapses + steps) * sram(outputs),
    }
    assert components("convolution") == pytest.approx(expected, rel=1e-12)


def test_dense_layers_by_the_formulas_of_the_paper():
    """FNN fc: N_in N_out products, N_out biases, inputs read and outputs written once; conv: read per product."""
    layers, expected = ((40, 30), (30, 10)), dict.fromkeys(("ops", "addressing", "inout", "params"), 0.0)
    for inputs, outputs in layers:
        expected["ops"] += inputs * outputs * (MUL + ADD) + outputs * ADD
        expected["addressing"] += (inputs + outputs) * ADD
        expected["inout"] += inputs * sram(inputs) + outputs * sram(outputs)
        expected["params"] += (inputs * outputs + outputs) * sram(inputs * outputs + outputs)
    assert components("dense") == pytest.approx(expected | {"potential": 0}, rel=1e-12)

    inputs, outputs, products = 2 * 8 * 8, 4 * 6 * 6, 4 * 6 * 6 * 2 * 3 * 3
    expected = {
        "ops": products * (MUL + ADD) + outputs * ADD,
        # The paper counts 4 x 3 x 3 for the kernel; here it is the mean fan-out, which is less at the borders.
        "addressing": (inputs + outputs + products / inputs) * ADD,
        "inout": products * sram(inputs) + outputs * sram(outputs),
        "params": (products + outputs) * sram(2 * 4 * 3 * 3 + 4),
        "potential": 0.0,
    }
    assert components("dense convolution") == pytest.approx(expected, rel=1e-12)


def sram_of_spikingjelly(capacity: float, draw: object, width: int) -> float:
    """SpikingJelly's price of a bit: linear between nothing and the published capacities, per 32-bit access."""
    kilobyte = 1024
    return float(np.interp(capacity, [0, 8 * kilobyte, 32 * kilobyte, 1024 * kilobyte], [0, 10, 20, 100])) / width


@pytest.mark.parametrize("name", CASES)
def test_components_are_those_of_another_reading_of_the_paper(name, monkeypatch):
    monkeypatch.setattr("neurosparse.energy.memory.sram", sram_of_spikingjelly)
    expected = {key.removesuffix("_pj"): value for key, value in ORACLE["cases"][name].items()}
    total = expected["ops"] + expected["addressing"] + expected.pop("memory")
    found = components(name)
    if name == "dense convolution":
        found["addressing"] += (36 - 4 * 6 * 6 * 18 / 128) * ADD  # as above
    assert found == pytest.approx(expected, rel=1e-6)
    assert sum(found.values()) == pytest.approx(total, rel=1e-6)


def test_published_components_of_one_network():
    """What the tool above printed for this network elsewhere: 20 895.3 pJ in all."""
    published = {"ops": 1614.6, "addressing": 289.0, "inout": 893.6, "params": 17243.7, "potential": 854.5}
    found = {key.removesuffix("_pj"): value for key, value in ORACLE["cases"]["lif"].items()}
    assert {key: found[key] for key in published} == pytest.approx(published, abs=0.06)


def test_one_sample_costs_the_same_in_any_batch():
    """With a memory of potentials that grows with the batch, twelve samples cost 1.45 times more."""
    model = mlp(0.9, 0.25)

    def nominal(x: torch.Tensor) -> float:
        with record(model) as tape, torch.no_grad():
            model(events(x))
        return estimate(count(tape), "lemaire-45nm", "no_reuse", assume=Assumptions(**SPIKING)).nominal

    each = [nominal(TRAINS[:, i : i + 1]) for i in range(12)]
    assert nominal(TRAINS) == pytest.approx(sum(each) / 12, rel=1e-12)


def test_comparisons_and_elementwise_work_are_free_in_the_paper():
    counts = counted("dense")
    relu = {"layer": "relu", "kind": "compare", "comparisons": 30, "elementwise": 30}
    one, two = (
        estimate(OperationCounts(rows, 1), "lemaire-45nm", "no_reuse") for rows in (counts.rows, (*counts.rows, relu))
    )
    assert two.nominal == one.nominal > 0 and len(two.rows) == 3


def test_the_profile_rests_on_the_constants_of_the_paper():
    assert (constants()["lemaire_sram_base"].value, constants()["lemaire_sram_slope"].value) == (13.2, 1.09e-5)


@pytest.mark.parametrize(("name", "row"), [*zip(CASES, range(5), strict=True)])
def test_the_table_on_the_page_is_this_one(name, row):
    page = (Path(__file__).parents[2] / "docs" / "energy.md").read_text(encoding="utf-8")
    lines = page[page.index("| network | operations |") :].splitlines()[2:7]
    shown = [cell.split("(")[0].strip() for cell in lines[row].strip("|").split("|")[1:]]
    found = components(name)
    expected = [*found.values(), sum(found.values())]
    assert [float(cell) for cell in shown] == pytest.approx(expected, abs=0.06)
