"""Break-even points by algebra, and published thresholds under their assumptions."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from neurosparse.energy import Memory, estimate
from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.break_even import AXES, break_even, thresholds
from neurosparse.energy.scaling import operating_point, scale_counts
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.meter import OperationCounts, count, record
from neurosparse.neurons import LIF

PAPER = Assumptions(state_bits=16, input_formats=("dense", "aer"), weight_formats=("dense",))


def spiking(width: int, steps: int = 10, bits: int = 8, rate: float = 0.1) -> dict:
    """A square layer without biases whose inputs are spikes."""
    cells = width * steps
    return {
        "layer": "fc",
        "kind": "linear",
        "dense_ops": cells * width,
        "effective_acs": rate * cells * width,
        "input_cells": cells,
        "input_events": rate * cells,
        "output_cells": cells,
        "charged_rows": steps,
        "weights": width**2,
        "nonzero_weights": width**2,
        "weight_bits": bits,
        "input_bits": 1,
    }


def dense(width: int, bits: int = 8) -> dict:
    """The same layer, once, on graded inputs."""
    row = spiking(width, 1, bits, 1.0)
    return row | {"effective_macs": row["effective_acs"], "effective_acs": 0, "input_bits": bits}


def threshold(spikes: dict, graded: dict, axis: str = "steps", value: float = 10, **options) -> float:
    assume = options.pop("assume", PAPER)
    where = {"here": {"dataflow": "compute_only"} | options}
    found = break_even(
        OperationCounts((spikes,), 1), OperationCounts((graded,), 1), axis, [value], where=where, assume=assume
    )
    return float(found.curves["here"][0, 1])


@pytest.mark.parametrize(
    ("bits", "sums", "expected"),
    [(8, 32, 3.0), (16, 32, 2.0 / 0.9), (32, 32, 4.6 / 0.9), (8, 16, 5.0), (16, 16, 3.75)],
)
def test_arithmetic_alone_is_the_ratio_of_product_and_sum(bits, sums, expected):
    assume = Assumptions(**{**vars(PAPER), "state_bits": sums})
    assert threshold(spiking(20, bits=bits), dense(20, bits), assume=assume) == pytest.approx(expected)
    assert threshold(spiking(20), dense(20), "bits", bits, assume=assume) == pytest.approx(expected)


# Picojoules per byte of memory, and break-even spikes per synapse for int8 weights and 16-bit potentials that are read
# and written at every synaptic operation: (0.25 + w) / (0.05 + 5 w), and with 16 uses of each fetched weight. Sums of
# 16 bits cost 0.05 pJ, and an address 0.1 pJ.
TABLE = {8 * 1024: (1.25, 0.238, 0.052), 32 * 1024: (2.5, 0.219, 0.032), 1024 * 1024: (12.5, 0.204, 0.0165)}


@pytest.mark.parametrize("capacity", TABLE)
def test_break_even_with_memory(capacity):
    """Exact: each spike of a synapse costs a sum, an address, a weight, a potential and a share of the event."""
    byte, alone, reused = TABLE[capacity]
    assert (0.25 + byte) / (0.05 + 5 * byte) == pytest.approx(alone, abs=6e-4)
    assert (0.25 + byte / 16) / (0.05 + 5 * byte) == pytest.approx(reused, abs=6e-4)
    width = {8 * 1024: 64, 32 * 1024: 128, 1024 * 1024: 900}[capacity]
    address = math.ceil(math.log2(width))
    per_synapse = 0.05 + 0.1 + byte + 4 * byte + address / 8 * byte / width
    for reuse, approximate in ((1, alone), (16, reused)):
        per_pass = width**2 * (0.25 + byte / reuse) + 2 * width * 0.1 + width * byte + 2 * width * byte
        assume = Assumptions(**{**vars(PAPER), "reuse": reuse})
        options = {"dataflow": "no_reuse", "memory": capacity, "assume": assume}
        found = threshold(spiking(width), dense(width), **options)
        assert found == pytest.approx(per_pass / width**2 / per_synapse, rel=1e-9)
        assert found == pytest.approx(approximate, abs=0.009), "which leaves out what enters and leaves a layer"
        assert threshold(spiking(width), dense(width), "memory", capacity, dataflow="no_reuse", assume=assume) == found
        assert threshold(spiking(width), dense(width), "reuse", reuse, **options | {"assume": PAPER}) == found


@pytest.mark.parametrize(("capacity", "approximate"), [(8 * 1024, 1.15), (32 * 1024, 1.08), (1024 * 1024, 1.02)])
def test_break_even_with_potentials_in_registers(capacity, approximate):
    """(0.25 + w) / (0.05 + w) spikes per synapse; addresses, which that table leaves out, bring it to about 1."""
    byte, width = TABLE[capacity][0], {8 * 1024: 64, 32 * 1024: 128, 1024 * 1024: 900}[capacity]
    assert (0.25 + byte) / (0.05 + byte) == pytest.approx(approximate, abs=6e-3)
    assume = Assumptions(**{**vars(PAPER), "sums_in_registers": True})
    found = threshold(spiking(width), dense(width), dataflow="no_reuse", memory=capacity, assume=assume)
    per_pass = width**2 * (0.25 + byte) + 2 * width * 0.1 + 3 * width * byte
    per_synapse = 0.15 + byte + math.ceil(math.log2(width)) / 8 * byte / width
    assert found == pytest.approx(per_pass / width**2 / per_synapse, rel=1e-9)
    assert found == pytest.approx((0.25 + byte) / (0.15 + byte), abs=0.04)


@pytest.mark.parametrize("steps", [5, 8, 10])
def test_break_even_with_weights_alone_is_one_use_per_synapse(steps):
    """Rates of 20.0, 12.5 and 10.0 % for 5, 8 and 10 steps: equal weights on both sides, fetched from DRAM."""
    assume = Assumptions(state_bits=1, input_formats=("dense", "aer"), weight_formats=("dense",))
    found = threshold(spiking(500), dense(500), "steps", steps, dataflow="no_reuse", memory="dram", assume=assume)
    assert found / steps == pytest.approx({5: 0.2, 8: 0.125, 10: 0.1}[steps], rel=0.01)


def test_at_the_threshold_both_energies_are_equal():
    spikes = OperationCounts(
        (spiking(40), {"layer": "lif", "kind": "neuron", "state_updates": 400, "charged_rows": 10}), 1
    )
    graded = OperationCounts((dense(40),), 1)
    where = {"cheapest": {"dataflow": "cheapest"}, "dram": {"dataflow": "event_driven", "memory": "dram"}}
    found = break_even(spikes, graded, "steps", [2, 4], where=where)
    for name, options in where.items():
        for steps, (_, middle, _) in zip((2, 4), found.curves[name], strict=True):
            longer = scale_counts(spikes, steps=steps)
            busy = scale_counts(longer, activity=middle / operating_point(longer).spikes_per_synapse)
            assert operating_point(busy).spikes_per_synapse == pytest.approx(middle)
            pair = [estimate(counts, **options).nominal for counts in (busy, graded)]
            assert pair[0] == pytest.approx(pair[1], rel=1e-8)
    low, middle, high = found.curves["dram"][0]
    assert low < middle < high, "DRAM has a range, and both sides pay the same draw of it"


def test_along_the_rate_the_curve_is_the_ratio_and_passes_through_the_network():
    counts, graded = OperationCounts((spiking(40),), 1), OperationCounts((dense(40),), 1)
    found = break_even(counts, graded, values=[0.05, 0.1, 0.2, 1.0])
    assert found.at == found.point.rate == pytest.approx(0.1)
    for name, curve in found.curves.items():
        assert curve[1] == pytest.approx(found.ratios[name])
        assert (np.diff(curve[:, 1]) >= 0).all(), "more spikes are never cheaper"
    assert found.curves["arithmetic only"][:, 1] == pytest.approx(np.array([0.05, 0.1, 0.2, 1.0]) * 10 / 3)


def test_there_may_be_no_break_even():
    neurons = {"layer": "lif", "kind": "neuron", "state_updates": 10**6, "charged_rows": 10}
    graded = OperationCounts((dense(20),), 1)
    where = {"here": {"dataflow": "no_reuse"}}
    lost = break_even(OperationCounts((spiking(20), neurons), 1), graded, "steps", [10], where=where)
    assert lost.curves["here"].tolist() == [[0, 0, 0]], "without spikes the network needs more than the dense one"
    many = OperationCounts(tuple(dense(20) | {"layer": str(i)} for i in range(200)), 1)
    won = break_even(OperationCounts((spiking(20),), 1), many, "steps", [10], where=where)
    assert np.isinf(won.curves["here"]).all(), "with a spike in every cell the network needs less than the dense one"


def test_the_operating_point_of_a_recorded_network():
    net = nn.Sequential(nn.Linear(30, 20), LIF(beta=0.9), nn.Linear(20, 5))
    x = torch.rand(8, 7, 30) < 0.3
    x[:, 3] = False
    with record(net) as tape, torch.no_grad():
        hidden = net[1](net[0](x.float()))
        net(EventTensor.from_dense(x))
    rates = [float(part.float().mean()) for part in (x, hidden.dense())]
    expected = (rates[0] * 30 * 20 + rates[1] * 20 * 5) / (30 * 20 + 20 * 5)
    point = operating_point(count(tape))
    assert (point.rate, point.steps, point.bits) == pytest.approx((expected, 8, 32))
    assert point.spikes_per_synapse == pytest.approx(8 * expected)


def test_scale_counts_changes_only_counts_that_depend_on_spikes_and_steps():
    first = dense(10) | {"layer": "first"}  # a constant input, charged once
    neurons = {"layer": "lif", "kind": "neuron", "state_updates": 100, "spikes_out": 10, "output_cells": 100}
    neurons |= {"charged_rows": 10}
    counts = OperationCounts((first, neurons, spiking(10)), 1)
    assert scale_counts(counts).rows == counts.rows
    busy = scale_counts(counts, activity=3)
    assert busy.rows[0] == counts.rows[0]
    assert (busy.rows[1]["spikes_out"], busy.rows[1]["state_updates"]) == (30, 100)
    assert busy.rows[2]["effective_acs"] == pytest.approx(300) and busy.rows[2]["dense_ops"] == 1000
    assert scale_counts(counts, activity=1000).rows[2]["input_events"] == 100, "no cell spikes more than once a step"
    long = scale_counts(counts, steps=20)
    assert long.rows[0] == counts.rows[0]
    assert (long.rows[1]["state_updates"], long.rows[2]["dense_ops"]) == (200, 2000)
    narrow = scale_counts(counts, bits=4)
    assert [(row["weight_bits"], row["input_bits"]) for row in narrow.rows] == [(4, 4), (0, 0), (4, 1)]


def test_published_thresholds_are_restricted_by_their_assumptions():
    known = {one.id: one for one in thresholds()}
    assert {one.status for one in known.values()} <= {"verified", "verified_secondary"}
    assert all(one.assumption and one.source for one in known.values())
    old, new = known["yan_2024_v3"], known["yan_2024_v4"]
    assert old.spikes_per_synapse(5) == pytest.approx((0.32, 0.32))
    assert old.spikes_per_synapse(10) == pytest.approx((0.64, 0.64))
    assert new.spikes_per_synapse(5) == pytest.approx((0.285, 0.285))
    assert old.spikes_per_synapse(4) is None and new.spikes_per_synapse(6) is None
    assert known["dampfhoffer_2023"].spikes_per_synapse(100) == (0.15, 1.38)
    assert known["davidson_furber_2021"].low == pytest.approx(12 / 7, abs=0.01)


def test_the_published_band_is_a_range_of_reuse():
    """0.15 to 1.38 spikes per synapse: with reuse of weights the estimate is above and below its lower end."""
    weights = [threshold(spiking(128), dense(128), "reuse", reuse, dataflow="no_reuse") for reuse in (1, 16)]
    assert weights[1] < 0.15 < weights[0] < 1.38


def test_refusals():
    counts, graded = OperationCounts((spiking(10),), 1), OperationCounts((dense(10),), 1)
    for options in (
        {"axis": "weather"},
        {"values": []},
        {"values": [0.0]},
        {"values": [1.5]},
        {"axis": "steps", "values": [[1.0]]},
    ):
        with pytest.raises(InputError, match="break_even"):
            break_even(counts, graded, **options)
    with pytest.raises(InputError, match="no layer with spikes"):
        break_even(graded, graded)
    with pytest.raises(InputError, match="above zero|two energies"):
        break_even(counts, graded, "steps", where={"loihi": {"hardware": "loihi"}})
    assert set(AXES) == {"rate", "steps", "bits", "memory", "reuse"}
    assert Memory() == Memory(None)


@pytest.mark.parametrize("given", [nn.Linear(2, 2), None, [OperationCounts((spiking(10),), 1)]])
def test_what_is_no_counts_is_refused_in_one_sentence(given):
    counts = OperationCounts((spiking(10),), 1)
    for use in (
        lambda: operating_point(given),
        lambda: scale_counts(given),
        lambda: break_even(given, counts),
        lambda: break_even(counts, given),
    ):
        with pytest.raises(InputError, match="counts of type .* Pass ns.count"):
            use()
