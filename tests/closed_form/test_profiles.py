"""Energies of the 7 nm circuit and of neuromorphic chips, recomputed from published constants written down here."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import DATAFLOWS
from neurosparse.energy.estimate import estimate, ratio
from neurosparse.energy.hardware import constants, profile
from neurosparse.meter.operation_counts import OperationCounts

PJ = 1e-12
# Jouppi 2021, table 2: additions, multiplications, and 64-bit accesses to an SRAM of so many bytes.
ADD = {"int8": 0.007, "int16": math.sqrt(0.007 * 0.03), "int32": 0.03, "fp16": 0.16, "fp32": 0.38}
MUL = {"int8": 0.07, "int16": math.sqrt(0.07 * 1.48), "int32": 1.48, "fp16": 0.34, "fp32": 1.31}
SRAM = {2**13: 7.5, 2**15: 8.5, 2**20: 14.0}


def layer(inputs, outputs, events, bits, binary, steps=3, biases=True):
    """A row whose zeros are spread evenly, so that operations are proportional to the inputs."""
    cells = inputs * steps
    return {
        "layer": "fc",
        "kind": "linear",
        "dense_ops": cells * outputs,
        "effective_acs" if binary else "effective_macs": events * outputs,
        "bias_adds": outputs * steps * biases,
        "input_cells": cells,
        "input_events": events,
        "output_cells": outputs * steps,
        "charged_rows": steps,
        "weights": inputs * outputs,
        "nonzero_weights": inputs * outputs,
        "weight_bits": bits,
        "input_bits": 1 if binary else bits,
    }


def per_bit(size: float) -> float:
    """Price of a bit of a memory of ``size`` bytes, log-log between the published ones."""
    known = sorted(SRAM)
    size = min(max(size, known[0]), known[-1])
    low = max(one for one in known[:-1] if one <= size)
    high = known[known.index(low) + 1]
    share = math.log(size / low) / math.log(high / low)
    return SRAM[low] ** (1 - share) * SRAM[high] ** share / 64


def by_hand(row, dataflow, wide, narrow, memory=None):
    """Picojoules run on events with dense weights, as docs/energy.md has it; ``wide``, ``narrow``: product and sum."""
    ops, events, outputs, biases = (
        row["effective_acs" if row["input_bits"] == 1 else "effective_macs"],
        row["input_events"],
        row["output_cells"],
        row["bias_adds"],
    )
    units = row["input_cells"] // row["charged_rows"]
    one_step = outputs // row["charged_rows"]
    multiply = 0.0 if row["input_bits"] == 1 else MUL[wide]
    energy = ops * (multiply + ADD[narrow]) + biases * ADD[narrow]
    if dataflow == "compute_only":
        return energy
    stored = (row["weights"] * row["weight_bits"] + 32 * (one_step if biases else 0)) / 8
    bit = per_bit(stored)
    weights = 1300 / 64 if memory == "dram" else bit
    message = (0 if row["input_bits"] == 1 else row["input_bits"]) + max(0, math.ceil(math.log2(units)))
    kept = one_step if biases else 0
    reads = {"weight_stationary": (min(row["weights"], ops), kept)}.get(dataflow, (ops, biases))
    moved = {"output_stationary": ops + events, "no_reuse": events}.get(dataflow, 2 * events)
    sums = {"output_stationary": outputs, "no_reuse": 2 * ops}.get(dataflow, 2 * (ops + biases))
    energy += (reads[0] * row["weight_bits"] + reads[1] * 32) * weights
    if memory == "dram":
        bit = per_bit(0)
    return energy + moved * message * bit + sums * 32 * bit + ops * ADD["int32"]


EVENTS = Assumptions(input_formats=("aer",), weight_formats=("dense",))


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(
    ("bits", "product", "total"), [(8, "int8", "int32"), (16, "fp16", "fp32"), (32, "fp32", "fp32")]
)
@settings(max_examples=8, deadline=None)
@given(st.integers(2, 300), st.integers(1, 300), st.floats(0, 1), st.booleans(), st.booleans())
def test_a_7nm_circuit_by_hand(dataflow, bits, product, total, inputs, outputs, activity, binary, biases):
    row = layer(inputs, outputs, round(activity * inputs * 3), bits, binary, biases=biases)
    for memory in ("auto", "dram"):
        found = estimate(OperationCounts((row,), 1), "cmos-7nm", dataflow, memory=memory, assume=EVENTS)
        expected = by_hand(row, dataflow, product, total, memory)
        assert found.nominal / PJ == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("bits", "fast"), [(8, "int32"), (16, "fp32"), (32, "fp32")])
def test_neurons_of_a_7nm_circuit_by_hand(bits, fast):
    row = layer(40, 30, 20, bits, True)
    neurons = {"layer": "lif", "kind": "neuron", "state_updates": 90, "spikes_out": 7, "charged_rows": 3}
    report = estimate(OperationCounts((row, neurons), 1), "cmos-7nm", "compute_only")
    assert report.rows[1]["nominal"] / PJ == pytest.approx(90 * (MUL[fast] + ADD[fast]) + 7 * ADD[fast], rel=1e-12)


def test_the_range_of_dram_at_7nm_is_that_of_its_kinds():
    row = layer(40, 30, 20, 8, True, biases=False)
    report = estimate(OperationCounts((row,), 1), "cmos-7nm", "no_reuse", memory="dram", assume=EVENTS)
    reads = report.rows[0]["weights"] / PJ
    assert reads == pytest.approx(600 * 8 * 1300 / 64)
    assert (report.nominal - report.low) / PJ == pytest.approx(600 * 8 * (1300 - 250) / 64)
    assert report.high == report.nominal


@pytest.mark.parametrize("node", ["cmos-45nm", "cmos-7nm"])
def test_unpublished_prices_lie_between_their_neighbours(node):
    """16 bits: the geometric mean of 8 and 32, between proportional scalings; 4 bits: at most 8, at least a quarter."""
    prices = profile(node).prices
    for kind in ("add", "mul"):
        eight, sixteen, wide = (prices[f"{kind}_int{bits}"] for bits in (8, 16, 32))
        if sixteen.scenario:
            assert sixteen.nominal == pytest.approx(math.sqrt(eight.nominal * wide.nominal), rel=2e-3)
            assert (sixteen.low, sixteen.high) == pytest.approx((2 * eight.nominal, wide.nominal / 2))
        assert eight.nominal < sixteen.low <= sixteen.nominal <= sixteen.high < wide.nominal
    four = prices["mul_int4"]
    assert (four.low, four.nominal) == (prices["mul_int8"].nominal / 4, prices["mul_int8"].nominal)


@pytest.mark.parametrize("node", ["cmos-45nm", "cmos-7nm"])
@pytest.mark.parametrize(("leak", "operations"), [("multiply", (1, 1)), ("shift", (0, 1)), ("none", (0, 0))])
@pytest.mark.parametrize(
    ("bits", "width", "format"),
    [(8, 8, "int8"), (8, 16, "int16"), (8, 32, "int32"), (32, 16, "fp16"), (16, 12, "fp16"), (32, 32, "fp32")],
)
def test_a_leak_costs_operations_of_the_width_of_the_states(node, leak, operations, bits, width, format):
    row = layer(40, 30, 20, bits, True)
    neurons = {"layer": "lif", "kind": "neuron", "state_updates": 90, "spikes_out": 7, "charged_rows": 3}
    assume = Assumptions(leak=leak, state_bits=width)
    report = estimate(OperationCounts((row, neurons), 1), node, "event_driven", assume=assume)
    price = {kind: profile(node).prices[f"{kind}_{format}"] for kind in ("mul", "add")}
    products, sums = operations
    for end in ("low", "nominal", "high"):
        expected = 90 * (products * getattr(price["mul"], end) + sums * getattr(price["add"], end))
        expected += 7 * getattr(price["add"], end)
        state = report.rows[1]["state"] / PJ
        assert report.rows[1][end] / PJ - state == pytest.approx(expected, rel=1e-9)
    # Read and written once per update; the row before it holds the sums.
    assert report.rows[1]["state"] / report.rows[0]["partial_sums"] == pytest.approx(180 / (2 * (600 + 90)))
    named = any("16 bit" in sentence for sentence in report.scenarios)
    assert named == (format == "int16" and (leak == "multiply" or node == "cmos-7nm"))
    words = {"multiply": "multiplication", "shift": "1 - 2^-k", "none": "without a leak"}[leak]
    assert any(words in sentence and f"{width} bits" in sentence for sentence in report.sentences)


# SANA-FE (Boyle 2025): pJ of a synaptic operation, an inactive update, an active one, a spike, a message to a core.
SANAFE = {"synop": 35.5, "inactive": 51.2, "active": 51.2 + 21.6, "spike": 69.3, "message": 111.0}


def spiking_chip(inputs, outputs, events, spikes, steps=4, fan_out=None):
    """A layer and its neurons, without biases."""
    fan_out = outputs if fan_out is None else fan_out
    synapses = layer(inputs, fan_out, events, 8, True, steps, biases=False) | {"output_cells": outputs * steps}
    updates = outputs * steps
    neurons = {"layer": "lif", "kind": "neuron", "state_updates": updates, "spikes_out": spikes, "charged_rows": steps}
    return synapses, neurons


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1), st.integers(1, 5), st.booleans())
@settings(max_examples=30, deadline=None)
def test_loihi_by_hand(inputs, outputs, activity, firing, steps, biases):
    events, updates = round(activity * inputs * steps), outputs * steps
    spikes = round(firing * updates)
    synapses, neurons = spiking_chip(inputs, outputs, events, spikes, steps)
    synapses["bias_adds"] = updates * biases
    report = estimate(OperationCounts((synapses, neurons), 1), "loihi")
    synops, cores = events * outputs, math.ceil(outputs / 1024)
    received = updates if biases else min(updates, synops)

    def total(active, synop, inactive, update, message, spread):
        chip = synops * synop + (updates - active) * inactive + active * update + spikes * 69.3
        return PJ * (chip + events * cores * spread * message)

    nominal = total(max(received, spikes), 35.5, 51.2, 72.8, 111.0, 1)
    assert report.nominal == pytest.approx(nominal, rel=1e-12)
    assert report.low == pytest.approx(total(spikes, 23.6, 51.2, 72.8, 76.8, 1), rel=1e-12)
    assert report.high == pytest.approx(total(updates, 35.5, 52, 81, 111.0, 4), rel=1e-12)
    assert sum(report.parts.values()) == pytest.approx(report.nominal, rel=1e-12)
    assert len(report.bounds) == 1 + len(report.corners) == 1 + 2**5


def test_an_update_of_a_silent_neuron_without_input_is_inactive():
    """Ten thousand neurons, three of which receive a spike in one of four steps."""
    synapses, neurons = spiking_chip(100, 10_000, 1, 0, fan_out=3)
    report = estimate(OperationCounts((synapses, neurons), 1), "loihi")
    assert report.rows[1]["nominal"] / PJ == pytest.approx(39_997 * 51.2 + 3 * 72.8)
    assert report.rows[1]["low"] / PJ == pytest.approx(40_000 * 51.2)
    assert report.rows[1]["high"] / PJ == pytest.approx(40_000 * 81)
    assert report.rows[0]["inputs"] / PJ == pytest.approx(111), "one message to the core of the three"
    assert any("targets" in sentence for sentence in report.scenarios)


def test_a_spike_is_a_message_to_each_core_of_its_targets_and_to_each_layer():
    one, _ = spiking_chip(100, 1024, 10, 0)
    two, _ = spiking_chip(100, 1025, 10, 0)
    for rows, messages in (((one,), 10), ((two,), 20), ((one, two | {"layer": "skip"}), 30)):
        report = estimate(OperationCounts(rows, 1), "loihi")
        assert sum(row["inputs"] for row in report.rows) / PJ == pytest.approx(messages * 111.0)


def test_what_the_counts_leave_open_is_independent_on_both_sides_of_a_ratio():
    """Prices are the same on both sides; which neurons are active is not."""
    _, few = spiking_chip(1, 100, 0, 0)
    _, many = spiking_chip(1, 200, 0, 0)
    a, b = (estimate(OperationCounts((row,), 1), "loihi") for row in (few, many))
    assert ratio(a, b) == pytest.approx((51.2 / (2 * 81), 0.5, 81 / (2 * 51.2)))
    assert ratio(b, a) == pytest.approx((2 * 51.2 / 81, 2, 2 * 81 / 51.2))


def test_spinnaker2_by_hand():
    """Two prices of the prototype: 450 pJ a synaptic operation, 2.19 nJ an update of every neuron in every step."""
    synapses, neurons = spiking_chip(100, 50, 30, 12)
    report = estimate(OperationCounts((synapses, neurons), 1), "spinnaker2")
    assert report.nominal == pytest.approx(PJ * (30 * 50 * 450 + 200 * 2190), rel=1e-12)
    assert report.low == report.nominal == report.high
    assert report.parts["inputs"] == report.parts["outputs"] == 0
    graded = synapses | {"effective_macs": 5, "effective_acs": 0, "input_bits": 8}
    assert estimate(OperationCounts((graded,), 1), "spinnaker2").nominal is None


def test_constants_of_the_chips_are_those_of_their_sources():
    values = {id: constants()[id].value for id in constants()}
    assert [values[f"sanafe_{name}"] for name in ("syn_dense", "neuron_access", "neuron_update", "spike_out")] == [
        35.5,
        51.2,
        21.6,
        69.3,
    ]
    message = constants()["sanafe_message"]
    assert (message.low, message.value, message.high, message.range) == (76.8, 111.0, 111.0, "source")
    assert (values["loihi_neuron_inactive"], values["loihi_neuron_active"], values["loihi_synop"]) == (52, 81, 23.6)
