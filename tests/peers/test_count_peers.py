"""Counts equal those of NeuroBench and SpikingJelly on the networks of tests/oracles/make, or the reason is named."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import parity
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch.utils import reset

from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.record import record

CASES, PEERS = parity.zoo.CASES, parity.PEERS["cases"]
NAMES = list(CASES)


pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # torch is about to move it elsewhere


@pytest.mark.parametrize("name", NAMES)
def test_counts_equal_loops(name: str) -> None:
    few = replace(CASES[name], data=CASES[name].data[:2])
    assert parity.agrees(parity.ours(few), parity.by_loops(few))


@pytest.mark.parametrize("name", NAMES)
def test_a_peer_agrees_or_differs_for_a_reason(name: str) -> None:
    """In both directions: a listed difference must exist."""
    ours, peers = parity.ours(CASES[name]), parity.by_peers(name)
    assert {peer for peer in peers if not parity.agrees(ours, peers[peer])} == set(CASES[name].differs or {})


def test_the_table_marks_every_difference() -> None:
    ours = {"dense": 3.0, "effective": 2.0, "events": 3.0}
    row = {"network": "net", "ours": ours, "loops": ours, "NeuroBench": ours, "SpikingJelly": ours, "differs": {}}
    assert "| net | 3 | 3 | 2 | 2 | 3 | 3 |" in parity.table([row])
    wrong = row | {"ours": ours | {"dense": 1.0}, "SpikingJelly": {"events": 4.0}, "differs": {"SpikingJelly": "why"}}
    table = parity.table([wrong])
    assert "| net | 1 (!) | 3 | 2 | 2 | 3 | 4 [1] |" in table and "[1] why." in table


def run(name: str, batch: int, spiking: Any = None) -> OperationCounts:
    case, runs = CASES[name], []
    net = case.build()
    for part in case.data.split(batch):
        reset(net)
        steps = part.unbind(1) if case.steps else [part]
        with torch.no_grad(), record(net, case.spiking if spiking is None else spiking, "steps") as tape:
            for step in steps:
                net(step)
        runs.append(count(tape, strict=True))
    return sum(runs[1:], start=runs[0])


@pytest.mark.parametrize("batch", [5, 12])
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("spiking")])
def test_spiking_networks_as_in_neurobench(name: str, batch: int) -> None:
    counts = run(name, batch)
    want, per_sample = PEERS[name]["NeuroBench"], counts.per_sample
    assert sum(row["effective_acs"] for row in per_sample) == want["Effective_ACs"]
    assert sum(row["effective_macs"] for row in per_sample) == want["Effective_MACs"]
    neurons = [row for row in counts.rows if row["kind"] == "neuron"]
    sent, cells = sum(row["spikes_out"] for row in neurons), sum(row["output_cells"] for row in neurons)
    assert 1 - sent / cells == pytest.approx(want["ActivationSparsity"], abs=1e-12)
    # It counts states that changed; these do at every step.
    assert sum(row["state_updates"] for row in per_sample) == want["MembraneUpdates"]
    by_layer = [1 - row["spikes_out"] / row["output_cells"] for row in neurons]
    assert by_layer == pytest.approx(list(want["ActivationSparsityByLayer"].values()), abs=1e-12)
    totals = counts.totals
    zeros = 1 - totals["nonzero_weights"] / totals["weights"]
    assert zeros == pytest.approx(want["ConnectionSparsity"], abs=5e-5)  # the oracle rounds to four decimals


def test_zeros_after_a_relu_are_skipped_in_the_next_layer() -> None:
    second = next(row for row in run("ReLU MLP", 12).rows if row["layer"] == "2")
    silent = 1 - second["input_events"] / second["input_cells"]
    assert silent == pytest.approx(PEERS["ReLU MLP"]["NeuroBench"]["ActivationSparsity"], abs=1e-12)


def test_the_class_is_declared_and_never_guessed_from_values() -> None:
    """NeuroBench counts all 0/1 inputs as accumulates; undeclared ones are multiply-accumulates here."""
    totals = run("spiking MLP", 12, ()).totals
    assert totals["effective_acs"] == 0
    assert totals["effective_macs"] == 12 * PEERS["spiking MLP"]["NeuroBench"]["Effective_ACs"]


def test_the_class_does_not_depend_on_the_batch() -> None:
    """The same eight samples: 9 MACs and 1.125 ACs in batches of four, 10.125 MACs in one of eight, by NeuroBench."""
    four, eight = (PEERS[name]["NeuroBench"] for name in ("batches of 4", "the same in one batch"))
    assert four["Effective_ACs"] > 0 == eight["Effective_ACs"]
    net, data = CASES["batches of 4"].build(), CASES["batches of 4"].data
    for batch in (1, 4, 8):
        with torch.no_grad(), record(net) as tape:
            for part in data.split(batch):
                net(part)
        totals = count(tape, strict=True).totals
        assert (totals["effective_macs"], totals["effective_acs"]) == (8 * eight["Effective_MACs"], 0)


@settings(max_examples=8)
@given(st.integers(100, 10_000), st.floats(0.0, 1.0))
def test_counts_of_random_spiking_networks_equal_loops(seed: int, rate: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    data = (torch.rand(2, 2, 2, 7, 7, generator=generator) < rate).float()
    case = parity.zoo.Case(lambda: parity.zoo.drawn(seed), data, True, parity.zoo.SNN)
    assert parity.agrees(parity.ours(case), parity.by_loops(case))


def test_the_published_dense_count_of_a_spoken_command_network() -> None:
    """NeuroBench's line for Google speech commands: 20-256-256-256-35 for 200 steps, 29 030 400 operations."""
    sizes = (20, 256, 256, 256, 35)
    net = torch.nn.Sequential(*(torch.nn.Linear(n, m) for n, m in pairwise(sizes)))
    with record(net, calls="steps") as tape:
        for _ in range(200):
            net(torch.rand(1, 20) + 0.1)
    assert count(tape, strict=True).per_sample[0]["dense_ops"] == 20 * 256 * 200
    assert count(tape).totals["dense_ops"] == 29_030_400
