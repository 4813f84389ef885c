"""Energies calculated by hand from the published constants."""

import pytest
from energy_rows import ANALOG, SPIKES

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import DATAFLOWS
from neurosparse.energy.estimate import PARTS, EnergyReport, estimate, ratio
from neurosparse.energy.hardware import profile
from neurosparse.energy.memory import sram
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

PJ = 1e-12
BIT = 10 / 64  # pJ per bit of an 8 KB SRAM

COUNTED = ("dense_ops", "effective_macs", "bias_adds", "input_cells", "input_events", "output_cells", "charged_rows")


def picojoules(row, dataflow, **options):
    samples = 2 if row is SPIKES else 1
    return estimate(OperationCounts((row,), samples), dataflow=dataflow, **options).nominal / PJ


# Per sample, run on events: 12 additions, 6 bias additions, 4 events with 2 address bits, 6 outputs, 3 biases; an
# address is computed for every addition. Run densely: 24 additions, 8 inputs of 1 bit, a counter for 8 inputs and 6
# outputs. Inputs are also written once, except if neurons are charged for that (no reuse).
AS_EVENTS = {
    "compute_only": 18 * 0.1,
    "no_reuse": 18 * 0.1 + 12 * 0.1 + BIT * (12 * 8 + 6 * 32 + 4 * 2 + 2 * 12 * 32),
    "weight_stationary": 18 * 0.1 + 12 * 0.1 + BIT * (12 * 8 + 3 * 32 + (4 + 4) * 2 + 2 * 18 * 32),
    "output_stationary": 18 * 0.1 + 12 * 0.1 + BIT * (12 * 8 + 6 * 32 + (12 + 4) * 2 + 6 * 32),
    "event_driven": 18 * 0.1 + 12 * 0.1 + BIT * (12 * 8 + 6 * 32 + (4 + 4) * 2 + 2 * 18 * 32),
}
DENSELY = {
    "compute_only": 30 * 0.1,
    "no_reuse": 30 * 0.1 + 14 * 0.1 + BIT * (24 * 8 + 6 * 32 + 8 + 6 * 32),
    "weight_stationary": 30 * 0.1 + 14 * 0.1 + BIT * (12 * 8 + 3 * 32 + 8 + 8 + 2 * 30 * 32),
    "output_stationary": 30 * 0.1 + 14 * 0.1 + BIT * (24 * 8 + 6 * 32 + 24 + 8 + 6 * 32),
    "event_driven": 30 * 0.1 + 14 * 0.1 + BIT * (24 * 8 + 6 * 32 + 8 + 8 + 2 * 30 * 32),
}
ANALOG_BY_HAND = {
    "compute_only": 12 * 0.3 + 3 * 0.1,
    "no_reuse": 12 * 0.3 + 0.3 + 0.7 + BIT * (12 * 8 + 3 * 32 + 4 * 8 + 3 * 32),
    "weight_stationary": 12 * 0.3 + 0.3 + 0.7 + BIT * (12 * 8 + 3 * 32 + (4 + 4) * 8 + 2 * 15 * 32),
    "output_stationary": 12 * 0.3 + 0.3 + 0.7 + BIT * (12 * 8 + 3 * 32 + (12 + 4) * 8 + 3 * 32),
    "event_driven": 12 * 0.3 + 0.3 + 0.7 + BIT * (12 * 8 + 3 * 32 + (4 + 4) * 8 + 2 * 15 * 32),
}


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_each_dataflow_by_hand(dataflow):
    for form, by_hand in (("aer", AS_EVENTS), ("dense", DENSELY)):
        found = picojoules(SPIKES, dataflow, assume=Assumptions(input_formats=(form,)))
        assert found == pytest.approx(by_hand[dataflow], rel=1e-12)
    cheapest = min(AS_EVENTS[dataflow], DENSELY[dataflow])
    assert picojoules(SPIKES, dataflow) == pytest.approx(cheapest, rel=1e-12), "the cheaper format is chosen"
    assert picojoules(ANALOG, dataflow) == pytest.approx(ANALOG_BY_HAND[dataflow], rel=1e-12)


def test_cheapest_dataflow_per_layer():
    flows = ("weight_stationary", "output_stationary", "event_driven")
    rows = SPIKES, ANALOG | {"layer": "second"} | {key: 2 * ANALOG[key] for key in COUNTED}
    each = [estimate(OperationCounts(rows, 2), dataflow=flow) for flow in flows]
    found = estimate(OperationCounts(rows, 2), dataflow="cheapest")
    assert found.nominal == pytest.approx(sum(min(report.rows[i]["nominal"] for report in each) for i in (0, 1)))
    assert [row["dataflow"] for row in found.rows] == ["output_stationary", "output_stationary"]
    # With wide weights, 1000 steps and narrow sums, weight stationary is cheapest.
    often = SPIKES | {key: 1000 * SPIKES[key] for key in COUNTED if key in SPIKES}
    often |= {"effective_acs": 24000, "weight_bits": 32}
    kept = estimate(OperationCounts((often,), 2), dataflow="cheapest", assume=Assumptions(state_bits=8))
    assert kept.rows[0]["dataflow"] == "weight_stationary"


def test_neurons_and_comparisons_have_the_precision_of_their_input_sums():
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 12, "comparisons": 12, "charged_rows": 4}
    report = estimate(OperationCounts((SPIKES, neuron), 2), dataflow="no_reuse")
    assert report.rows[1]["compute"] / PJ == pytest.approx(6 * (3.1 + 0.1) + 6 * 0.1)  # int32
    assert report.rows[1]["state"] / PJ == pytest.approx(6 * 64 * BIT)
    alone = estimate(OperationCounts((neuron,), 2), dataflow="compute_only")
    assert alone.nominal / PJ == pytest.approx(6 * (3.7 + 0.9) + 6 * 0.9)  # fp32
    assert estimate(
        OperationCounts(({"layer": "add", "kind": "elementwise", "elementwise": 5},), 1)
    ).nominal == pytest.approx(5 * 0.9 * PJ)


@pytest.mark.parametrize(
    ("bits", "mac", "ac"), [(4, 0.3, 0.1), (8, 0.3, 0.1), (16, 1.1 + 0.9, 0.9), (32, 3.7 + 0.9, 0.9)]
)
def test_price_of_an_operation_by_precision(bits, mac, ac):
    analog, spikes = ANALOG | {"weight_bits": bits, "input_bits": bits, "bias_adds": 0}, SPIKES | {"weight_bits": bits}
    assert picojoules(analog, "compute_only") == pytest.approx(12 * mac)
    assert estimate(OperationCounts((spikes,), 2), dataflow="compute_only").nominal / PJ == pytest.approx(18 * ac)


def test_break_even_of_arithmetic_alone():
    """3.0 accumulates per multiply-accumulate in int8, 5.1 in fp32: the ratio behind the common claim."""
    for bits, expected in ((8, 3.0), (32, 4.6 / 0.9)):
        row = {
            "layer": "",
            "kind": "linear",
            "dense_ops": 100,
            "weight_bits": bits,
            "input_cells": 1,
            "charged_rows": 1,
        }
        macs = estimate(
            OperationCounts((row | {"effective_macs": 100, "input_bits": bits},), 1), dataflow="compute_only"
        )
        acs = estimate(OperationCounts((row | {"effective_acs": 100, "input_bits": 1},), 1), dataflow="compute_only")
        assert ratio(macs, acs) == pytest.approx((expected,) * 3)


def test_published_speech_command_pair_in_arithmetic():
    """Operation counts of two published keyword networks: 2.96 and 7.95 uJ at 0.9 and 4.6 pJ."""
    bits = {"kind": "linear", "layer": "", "weight_bits": 32}
    spiking = bits | {"effective_acs": 328_983_432, "dense_ops": 2_903_040_000, "input_bits": 1}
    analog = bits | {"effective_macs": 172_807_117, "dense_ops": 188_025_600, "input_bits": 32}
    energies = [estimate(OperationCounts((row,), 100), dataflow="compute_only").nominal for row in (spiking, analog)]
    assert energies == pytest.approx([2.96e-6, 7.95e-6], rel=1e-3)


def test_pruned_layer_takes_the_cheaper_execution():
    """16 of 256 inputs, 10 % of the weights: events and indices pay. All weights but one: indices do not."""
    row = {
        "layer": "fc",
        "kind": "linear",
        "dense_ops": 65536,
        "effective_acs": 410,
        "input_cells": 256,
        "input_events": 16,
        "output_cells": 256,
        "charged_rows": 1,
        "weights": 65536,
        "nonzero_weights": 6554,
        "weight_bits": 8,
        "input_bits": 1,
    }
    pruned = estimate(OperationCounts((row,), 1), dataflow="event_driven").rows[0]
    bit = sram(6554 * 16 / 8, profile("cmos-45nm").draws()[0])  # stored compressed: 8 bits and an index of 8 bits
    assert pruned["execution"] == "skip both"
    assert pruned["indices"] / PJ == pytest.approx(bit * (2 * 16 * 8 + 410 * 8))
    assert pruned["addressing"] / PJ == pytest.approx(410 * 0.1)
    assert pruned["weights"] / PJ == pytest.approx(bit * 410 * 8)
    full = row | {"nonzero_weights": 65535, "effective_acs": 4095}
    assert estimate(OperationCounts((full,), 1)).rows[0]["execution"] == "skip zero inputs"
    busy = row | {"input_events": 256, "nonzero_weights": 65536, "effective_acs": 65536}
    assert estimate(OperationCounts((busy,), 1)).rows[0]["execution"] == "dense"


def test_a_layer_without_spikes_is_charged_for_its_biases():
    silent = SPIKES | {"effective_acs": 0, "input_events": 0}
    row = estimate(OperationCounts((silent,), 2)).rows[0]
    assert row["compute"] / PJ == pytest.approx(6 * 0.1)
    assert row["weights"] / PJ == pytest.approx(6 * 32 * BIT)


def test_a_convolution_uses_the_exact_counts():
    """Events at a border reach fewer weights, those in the centre more, than the mean of 10 per input."""
    row = SPIKES | {"dense_ops": 1000, "input_cells": 100, "input_events": 10, "bias_adds": 0, "weights": 40}
    border, centre = (
        row | {"effective_acs": 60, "nonzero_weights": 40},
        row | {"effective_acs": 130, "nonzero_weights": 39},
    )
    for case, operations in ((border, 60), (centre, 130)):
        report = estimate(OperationCounts((case,), 1), dataflow="event_driven").rows[0]
        assert report["execution"] == "skip zero inputs"
        assert report["compute"] / PJ == pytest.approx(operations * 0.1)


def test_a_dense_layer_of_zero_graded_inputs_multiplies():
    dense = Assumptions(input_formats=("dense",))
    silent = ANALOG | {"effective_macs": 0, "input_events": 0}
    assert picojoules(silent, "compute_only", assume=dense) == pytest.approx(ANALOG_BY_HAND["compute_only"])


def test_loihi_by_hand_is_below_the_measured_energy():
    """A 390-256-256-29 keyword network with every neuron firing in each of 10 steps.

    Synaptic operations alone are 40.8 uJ at 23.6 pJ. A chip took 271.6 uJ per inference: the rest is host, idle and
    routing, which an estimate from counts must not claim to cover.
    """
    operations = {"dense_ops": 1_728_000, "effective_acs": 1_728_000}
    synapses = {"layer": "net", "kind": "linear", "input_bits": 1, "weight_bits": 8} | operations
    neurons = {"layer": "lif", "kind": "neuron", "state_updates": 5410, "spikes_out": 5410}
    report = estimate(OperationCounts((synapses, neurons), 1), "loihi")
    assert report.low == pytest.approx((1_728_000 * 23.6 + 5410 * (72.8 + 69.3)) * PJ)
    assert report.nominal == pytest.approx((1_728_000 * 35.5 + 5410 * (72.8 + 69.3)) * PJ)
    assert report.high == pytest.approx((1_728_000 * 35.5 + 5410 * (81 + 69.3)) * PJ)
    assert report.rows[0]["low"] == pytest.approx(40.8e-6, rel=1e-3)
    assert report.high < 271.6e-6


@pytest.mark.parametrize("silent", [False, True])
def test_loihi_lists_operations_it_cannot_execute(silent):
    row = ANALOG | ({"effective_macs": 0, "input_events": 0} if silent else {})
    relu = {"layer": "relu", "kind": "compare", "comparisons": 3}
    report = estimate(OperationCounts((row, relu), 1), "loihi")
    assert (report.low, report.nominal, report.high) == (None, None, None)
    assert [line.split(":")[0] for line in report.unsupported] == ["fc", "relu"]
    assert report.rows[0]["nominal"] is None and report.rows[0]["execution"] == "not executable on this hardware"
    assert "fc" in repr(report)
    with pytest.raises(InputError, match="above zero"):
        ratio(report, report)


def test_both_sides_of_a_ratio_have_the_same_prices():
    """If DRAM is the only price, its uncertainty cancels."""
    row = ANALOG | {"bias_adds": 0, "input_bits": 8}
    once, twice = (
        estimate(
            OperationCounts((row | {"dense_ops": ops, "effective_macs": ops},), 1), memory="dram", dataflow="no_reuse"
        )
        for ops in (10**6, 2 * 10**6)
    )
    assert ratio(twice, once) == pytest.approx((2, 2, 2), rel=1e-4)
    assert twice.high / once.low > 3  # the ratio of independent intervals
    mixed = estimate(OperationCounts((row,), 1), memory="auto", dataflow="no_reuse")
    low, nominal, high = ratio(estimate(OperationCounts((row,), 1), memory="dram", dataflow="no_reuse"), mixed)
    assert 1 < low < nominal < high


def test_ratio_is_extreme_at_a_corner_and_covers_seeds():
    synapses = {"layer": "a", "kind": "linear", "effective_acs": 1000, "dense_ops": 1000}
    synapses |= {"input_bits": 1, "weight_bits": 8}
    neurons = {"layer": "b", "kind": "neuron", "state_updates": 1000}
    a, b = (estimate(OperationCounts((row,), 1), "loihi") for row in (synapses, neurons))
    # Neurons without a layer before them: nominally all are active; at least none.
    assert ratio(a, b) == pytest.approx((23.6 / 81, 35.5 / 72.8, 35.5 / 51.2))
    double = estimate(OperationCounts((synapses, synapses | {"layer": "c"}), 1), "loihi")
    assert ratio([a, double], b) == pytest.approx((23.6 / 81, 1.5 * 35.5 / 72.8, 2 * 35.5 / 51.2))


def test_refusals():
    counts = OperationCounts((ANALOG,), 1, ({"layer": "rnn", "function": "lstm", "calls": 1},))
    with pytest.raises(InputError, match="lstm in rnn"):
        estimate(counts)
    assert estimate(counts, allow_uncounted=True).nominal == estimate(OperationCounts((ANALOG,), 1)).nominal
    counted = OperationCounts((ANALOG,), 1)
    for options in ({"hardware": "gpu"}, {"dataflow": "magic"}, {"memory": "big"}, {"memory": 2**21}, {"memory": 0}):
        with pytest.raises(InputError):
            estimate(counted, **options)
    with pytest.raises(InputError, match="'cheapest'. Its name is 'cheapest'"):
        estimate(counted, dataflow="best")
    with pytest.raises(InputError, match="event_driven"):
        estimate(counted, "loihi", "no_reuse")
    with pytest.raises(InputError, match="0 samples"):
        estimate(OperationCounts((), 0))
    with pytest.raises(InputError, match="64-bit"):
        estimate(OperationCounts((ANALOG | {"input_bits": 64},), 1))
    with pytest.raises(InputError, match="one hardware"):
        ratio(estimate(counted), estimate(counted, dataflow="no_reuse"))
    with pytest.raises(InputError, match="the same assumptions"):
        ratio(estimate(counted), estimate(counted, assume=Assumptions(uncertainty={"sram": 2.0})))


def test_static_and_host_energy_are_reported_apart_from_the_estimate():
    report = estimate(OperationCounts((ANALOG,), 1))
    beside = report.with_overhead(seconds=1 / 296.5, idle=0.0297, host=0.07)
    assert beside.overhead == pytest.approx({"idle": 100.2e-6, "host": 236.1e-6}, rel=1e-3)
    assert (beside.nominal, beside.rows, beside.corners) == (report.nominal, report.rows, report.corners)
    assert "host" in repr(beside) and isinstance(beside, EnergyReport) and sum(beside.parts.values()) > 0
    assert set(beside.parts) == set(PARTS)
    for options in ({"seconds": 0}, {"seconds": 1, "idle": -1}):
        with pytest.raises(InputError):
            report.with_overhead(**options)
