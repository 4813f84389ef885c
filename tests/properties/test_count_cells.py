"""Counts by step and sample: they sum to the counts's, and each sample's are those it has alone."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_counts import LENGTHS, network, signal
from torch import Tensor, nn

from neurosparse.events.fold import fold
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.record import as_module, record
from neurosparse.neurons.encode import constant_current
from neurosparse.neurons.lif import LIF

COLUMNS = ("dense_ops", "effective_macs", "effective_acs", "input_events", "spikes_out", "state_updates")
SCALARS = ("comparisons", "elementwise")


def metered(model: Any, *inputs: Any, **options: Any) -> OperationCounts:
    with torch.no_grad(), record(model, detail=True, **options) as tape:
        model(*inputs)
    return count(tape, strict=True)


def sums(counts: OperationCounts) -> dict[tuple, dict[str, int]]:
    return {key: {name: int(grid.sum()) for name, grid in grids.items()} for key, grids in counts.detail.items()}


def agree(counts: OperationCounts) -> bool:
    """Every row has a grid that sums to its column."""
    rows = {(row["layer"], row["kind"]): row for row in counts.rows}
    expected = {key: {name: row[name] for name in COLUMNS + SCALARS if row[name]} for key, row in rows.items()}
    return expected == {key: {name: n for name, n in grids.items() if n} for key, grids in sums(counts).items()}


@settings(max_examples=15)
@given(st.integers(0, 1000), LENGTHS, st.booleans())
def test_grids_sum_to_the_rows_and_samples_stand_alone(seed: int, lengths: list[int], spikes: bool) -> None:
    net, x = network(seed), signal(seed, lengths, max(lengths), spikes)
    counts = metered(net, x)
    assert agree(counts)
    for sample in range(len(lengths)):
        alone = metered(net, x.samples([sample]))
        for key, grids in alone.detail.items():
            for name, grid in grids.items():
                assert torch.equal(counts.detail[key][name][: len(grid), sample], grid[:, 0])
                assert not counts.detail[key][name][lengths[sample] :, sample].any()


@settings(max_examples=10)
@given(st.integers(0, 1000), LENGTHS)
def test_joined_counts_stand_side_by_side(seed: int, lengths: list[int]) -> None:
    net, x = network(seed), signal(seed, lengths, max(lengths), True)
    whole, ones = metered(net, x), [metered(net, x.samples([s])) for s in range(len(lengths))]
    joined = sum(ones[1:], start=ones[0])
    assert sums(joined) == sums(whole)
    for key, grids in whole.detail.items():
        assert all(torch.equal(grid, joined.detail[key][name]) for name, grid in grids.items())


@settings(max_examples=10)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000))
def test_one_call_and_a_call_for_each_step_are_one(steps: int, samples: int, seed: int) -> None:
    """Folded convolutions over all steps, and the same modules step by step."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)]
    x = torch.rand(steps, samples, 1, 4, 4) * (torch.rand(steps, samples, 1, 4, 4) < 0.5)
    whole = metered(fold(*layers), x, samples=1)
    net = nn.Sequential(*layers)
    with torch.no_grad(), record(net, calls="steps", detail=True) as tape:
        for step in x:
            net(step)
    stepped = count(tape, strict=True)
    assert agree(whole) and agree(stepped)
    for key, grids in whole.detail.items():
        for name, grid in grids.items():
            assert torch.equal(grid, stepped.detail[key][name])


def test_spikes_by_step() -> None:
    """Two units, one of which is driven: the count of each step is on paper."""
    first, last = nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False)
    first.weight.data, last.weight.data = torch.eye(2) * 2, torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    x = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]])
    detail = metered(nn.Sequential(first, LIF(beta=0.0), last), EventTensor.from_dense(x, spikes=True)).detail
    assert detail["0", "linear"]["effective_acs"].tolist() == [[2, 0], [0, 1], [1, 2]]
    assert detail["1", "neuron"]["spikes_out"].tolist() == [[2, 0], [0, 1], [1, 2]]
    assert detail["1", "neuron"]["state_updates"].tolist() == [[2, 2]] * 3
    assert detail["2", "linear"]["effective_acs"].tolist() == [[4, 0], [0, 2], [2, 4]]
    assert detail["2", "linear"]["dense_ops"].tolist() == [[6, 6]] * 3


@pytest.mark.parametrize("build", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_by_step(build: Any) -> None:
    """Nothing reaches the recurrent weights at the first step."""
    x = torch.rand(4, 3, 5) + 0.1
    counts = metered(build(5, 2), x, samples=1)
    inner, outer = (counts.detail[name, "linear"]["effective_macs"] for name in ("weight_ih_l0", "weight_hh_l0"))
    gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[build]
    assert inner.tolist() == [[gates * 2 * 5] * 3] * 4
    assert outer.tolist() == [[0] * 3] + [[gates * 2 * 2] * 3] * 3


def test_products_of_signals_by_sample() -> None:
    x = torch.ones(3, 4, 5)
    x[0] = 0
    counts = metered(as_module(lambda x: x @ x.mT), x)
    assert counts.detail["model", "matmul"]["effective_macs"].tolist() == [[0, 4 * 4 * 5, 4 * 4 * 5]]


def test_what_does_not_keep_samples_apart_is_not_told() -> None:
    def mixes(x: Tensor) -> Tensor:
        return F.relu(x.repeat(2, 1)) @ torch.ones(4, 2)

    counts = metered(as_module(mixes), torch.ones(3, 4))
    assert counts.detail == {} and counts.totals["dense_ops"] == 6 * 8


def test_detail_is_asked_for() -> None:
    net = nn.Linear(3, 2)
    with record(net) as tape:
        net(torch.ones(5, 3))
    assert count(tape).detail == {}


def test_a_constant_input_is_charged_at_its_first_step() -> None:
    held = constant_current(torch.ones(2, 4), 3)
    assert metered(nn.Linear(4, 5), held).detail["model", "linear"]["dense_ops"].tolist() == [[20, 20], [0, 0], [0, 0]]
