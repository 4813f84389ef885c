"""The common evaluation: counts and energies by hand, in evaluation mode, for tensors and events alike."""

import pytest
import torch
from torch import nn

from neurosparse.energy import Assumptions, estimate
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments import evaluate
from neurosparse.experiments.classification.evaluate import SCENARIOS, sparsities
from neurosparse.experiments.classification.store import pack
from neurosparse.meter import OperationCounts, count, record
from neurosparse.neurons import LIF


def reader() -> nn.Linear:
    """The class is the input of four that is on."""
    model = nn.Linear(4, 4, bias=False)
    model.weight.data.copy_(torch.eye(4))
    return model


DATA = (torch.eye(4), torch.tensor([0, 1, 2, 0]))


def test_scores_counts_and_energies_by_hand():
    found = evaluate(reader(), DATA)
    assert found["correct"].tolist() == [True, True, True, False]
    totals = found["counts"].totals
    # Four samples with one non-zero input each, and one non-zero weight of four for each input.
    assert (totals["dense_ops"], totals["effective_macs"], totals["effective_acs"]) == (64, 4, 0)
    compute = found["reports"]["cmos-45nm/compute_only"]
    assert compute.nominal == pytest.approx(1 * (3.7e-12 + 0.9e-12)), "one float32 multiply-accumulate per sample"
    assert found["raster"] is None and found["seconds_per_sample"] > 0


def test_energies_are_the_estimates_of_the_counts():
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.rand(11, 6)
    with record(model) as tape, torch.no_grad():
        model(x)
    counts, found = count(tape), evaluate(model, (x, torch.zeros(11).long()), batch_size=4)
    assert found["counts"].rows == counts.rows and found["counts"].samples == 11
    dear, cheapest = Assumptions(leak="multiply", state_bits=32), "cheapest dataflow per layer"
    expected = {
        "cmos-45nm/compute_only": estimate(counts, "cmos-45nm", "compute_only"),
        f"cmos-45nm/{cheapest}": estimate(counts, "cmos-45nm", "cheapest"),
        "cmos-45nm/no_reuse": estimate(counts, "cmos-45nm", "no_reuse"),
        f"cmos-45nm/{cheapest}, weights in DRAM": estimate(counts, "cmos-45nm", "cheapest", memory="dram"),
        f"cmos-7nm/{cheapest}": estimate(counts, "cmos-7nm", "cheapest"),
        f"cmos-45nm/{cheapest}, sums in registers": estimate(
            counts, "cmos-45nm", "cheapest", assume=Assumptions(sums_in_registers=True)
        ),
        f"cmos-45nm/{cheapest}, leak by multiplication, 32-bit states": estimate(
            counts, "cmos-45nm", "cheapest", assume=dear
        ),
        "own silicon (loihi, cmos-45nm)": estimate(counts, "loihi", "cheapest", otherwise="cmos-45nm"),
        "own silicon (spinnaker2, cmos-45nm)": estimate(counts, "spinnaker2", "cheapest", otherwise="cmos-45nm"),
    }
    assert {n: r.nominal for n, r in found["reports"].items()} == {n: r.nominal for n, r in expected.items()}
    assert list(SCENARIOS) == list(expected)


def test_events_are_data_like_any_other():
    spikes = EventTensor.from_dense(torch.eye(4).repeat(3, 1, 1), spikes=True)
    found = evaluate(nn.Sequential(reader(), LIF(beta=1.0, threshold=0.5)), (spikes, DATA[1]), batch_size=3)
    assert found["correct"].tolist() == [True, True, True, False], "counts of output spikes are the logits"
    assert found["counts"].totals["effective_acs"] == 12 and found["counts"].totals["effective_macs"] == 0
    assert found["raster"] == {"shape": [3, 4], "step": [0, 1, 2], "unit": [0, 0, 0]}


def test_models_run_in_evaluation_mode_and_are_left_as_they_were():
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(4), reader())
    model.train()
    model[1].eval()
    before = {name: part.clone() for name, part in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    found = evaluate(model, DATA)
    assert found["correct"].tolist() == [True, True, True, False], "dropout would lose nine inputs in ten"
    assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes == [True, True, False, True]
    with pytest.raises(InputError):
        evaluate(model, (torch.eye(4), torch.zeros(3).long()))
    with pytest.raises(RuntimeError):
        evaluate(model, (torch.rand(2, 5), torch.zeros(2).long()))
    assert [module.training for module in model.modules()] == modes, "also after an error"


class Stepped(nn.Module):
    """An output with steps that are not averaged."""

    def forward(self, x):
        return x.expand(5, *x.shape)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (reader(), (torch.eye(4), torch.full((4,), 0.5)), "whole numbers, the classes"),
        (reader(), (torch.eye(4), torch.zeros(4, 4).long()), r"labels \(4, 4\); expected one label for each input"),
        (reader(), (torch.zeros(0, 4), torch.zeros(0).long()), "0 inputs"),
        (Stepped(), DATA, r"shape \(5, 4, 4\); expected \(4, classes\)\. Return logits\.mean\(0\)"),
        (lambda x: [x], DATA, "an output of list"),
        (lambda x: 2 * torch.from_numpy(x.numpy().copy()), DATA, "outside"),
    ],
)
def test_what_is_refused(model, data, message):
    with pytest.raises(InputError, match=message):
        evaluate(model, data)


def linear(weights: int, nonzero: int, cells: int, events: int, dense: int, **effective: int) -> dict:
    row = {"weights": weights, "nonzero_weights": nonzero, "input_cells": cells, "input_events": events}
    return {"layer": f"fc{weights}", "kind": "linear", "dense_ops": dense} | row | effective


def test_sparsities_of_a_network_without_time():
    first = linear(100, 25, 20, 20, dense=200, effective_macs=50)
    last = linear(50, 50, 10, 4, dense=100, effective_macs=40)
    found = sparsities(OperationCounts((first, last), samples=2))
    assert found == {
        "weight": pytest.approx(1 - 75 / 150),
        "activation": pytest.approx(1 - 4 / 10),  # of the hidden layer; the data are no activation
        "temporal": None,
        "operation": pytest.approx(1 - 90 / 300),
    }


def test_sparsities_over_time():
    hidden = {"layer": "lif", "kind": "neuron", "spikes_out": 6, "active_cells": 16, "charged_rows": 8}
    silent = {"layer": "dead", "kind": "neuron", "spikes_out": 0, "active_cells": 0, "charged_rows": 8}
    last = linear(50, 50, 40, 6, dense=400, effective_acs=60)
    found = sparsities(
        OperationCounts((linear(100, 100, 20, 20, 200, effective_macs=200), hidden, silent, last), samples=2)
    )
    assert found["temporal"] == pytest.approx(1 - 6 / 16), "steps in silence of units that fired at least once"
    assert found["activation"] == pytest.approx(1 - 6 / 40)
    assert found["operation"] == pytest.approx(1 - 260 / 600)


def test_a_network_of_one_layer_has_no_activations():
    assert sparsities(OperationCounts((linear(10, 10, 5, 5, 50, effective_macs=50),), samples=1))["activation"] is None


def test_temporal_sparsity_from_spikes():
    """Two of three units fire, one spike and two, over four steps: three of their eight cells are events."""
    current = torch.zeros(4, 1, 3)
    current[0, 0, 0] = current[1, 0, 1] = current[3, 0, 1] = 1.0
    model = LIF(beta=0.0, threshold=0.5, reset="zero")
    with record(model, samples=1) as tape:
        assert model(current).n_events == 3
    assert sparsities(count(tape))["temporal"] == pytest.approx(1 - 3 / 8)


def test_packed_answers_are_one_bit_each():
    found = evaluate(reader(), DATA)["correct"]
    assert pack(found) == "4A==", "1110 0000"


@pytest.mark.parametrize("data", [None, torch.eye(4), (torch.eye(4),), "ab", ([[1.0]], [0]), (torch.eye(4), None)])
def test_data_are_a_pair_of_inputs_and_labels(data):
    with pytest.raises(InputError, match="evaluate: got"):
        evaluate(nn.Linear(4, 4), data)


def test_labels_may_be_lists_and_the_batch_size_is_a_whole_number():
    assert evaluate(nn.Linear(4, 4), (torch.eye(4), [0, 1, 2, 3]))["correct"].shape == (4,)
    for size in (0, True, 2.0, "2"):
        with pytest.raises(InputError, match="batch_size"):
            evaluate(nn.Linear(4, 4), (torch.eye(4), torch.arange(4)), batch_size=size)
    with pytest.raises(InputError, match="a module or a function"):
        evaluate(3, (torch.eye(4), torch.arange(4)))
