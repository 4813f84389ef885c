"""Properties of the energy estimate for all counts."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neurosparse.energy.dataflow import DATAFLOWS
from neurosparse.energy.estimate import PARTS, estimate, ratio
from neurosparse.meter.operation_counts import COUNTS, OperationCounts

dataflows = st.sampled_from([*sorted(DATAFLOWS), "cheapest"])
memories = st.sampled_from(["auto", "dram", "per_layer", 9000])


@st.composite
def layers(draw, name="fc"):
    """The shape of a layer: inputs, outputs, pruned weights, precision, and whether its inputs are spikes."""
    inputs, outputs = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    nonzero = inputs * draw(st.integers(1, outputs))  # each input keeps as many weights: then every count is exact
    binary, bits = draw(st.booleans()), draw(st.sampled_from([4, 8, 16, 32]))
    return {
        "layer": name,
        "kind": "linear",
        "inputs": inputs,
        "outputs": outputs,
        "weights": inputs * outputs,
        "nonzero_weights": nonzero,
        "weight_bits": bits,
        "input_bits": 1 if binary else bits,
    }


def rows_of(layer, steps, samples, activity):
    """Rows of that layer and its neurons, for a share ``activity`` of its inputs (uniformly spread weights)."""
    cells = layer["inputs"] * steps * samples
    events = round(activity * cells)
    effective = events * layer["nonzero_weights"] // layer["inputs"]
    outputs = layer["outputs"] * steps * samples
    synaptic = {key: value for key, value in layer.items() if key not in ("inputs", "outputs")} | {
        "dense_ops": cells * layer["outputs"],
        "effective_acs" if layer["input_bits"] == 1 else "effective_macs": effective,
        "bias_adds": outputs,
        "input_cells": cells,
        "input_events": events,
        "output_cells": outputs,
        "charged_rows": steps * samples,
    }
    neurons = {
        "layer": layer["layer"] + ".lif",
        "kind": "neuron",
        "state_updates": outputs,
        "comparisons": outputs,
        "charged_rows": steps * samples,
    }
    return synaptic, neurons


shares = st.floats(0, 1)
steps_ = st.integers(1, 9)


@given(layers(), steps_, shares, st.integers(1, 50), dataflows, memories)
def test_the_batch_changes_nothing(layer, steps, activity, batch, dataflow, memory):
    rows = rows_of(layer, steps, 1, activity)
    repeated = tuple({key: batch * value if key in COUNTS else value for key, value in row.items()} for row in rows)
    one = estimate(OperationCounts(rows, 1), dataflow=dataflow, memory=memory)
    many = estimate(OperationCounts(repeated, batch), dataflow=dataflow, memory=memory)
    assert (many.low, many.nominal, many.high, many.rows) == (one.low, one.nominal, one.high, one.rows)


def loads_all_weights(counts, row):
    """Whether a sample has at least as many operations as the layer has weights, by the input vectors it is charged."""
    (synaptic, _), inputs_per_step = counts.per_sample, counts.rows[0]["input_cells"] / counts.rows[0]["charged_rows"]
    return synaptic["input_cells" if row["inputs_as"] == "dense" else "input_events"] >= inputs_per_step


HALF_AND_QUARTER = {
    "layer": {
        "layer": "fc",
        "kind": "linear",
        "inputs": 16,
        "outputs": 1,
        "weights": 16,
        "nonzero_weights": 16,
        "weight_bits": 4,
        "input_bits": 4,
    },
    "steps": 3,
    "activities": (0.5, 0.25),
    "samples": (1, 1),
}


@example(**HALF_AND_QUARTER, dataflow="weight_stationary", memory="auto")
@given(
    layer=layers(),
    steps=steps_,
    activities=st.tuples(shares, shares),
    samples=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dataflow=dataflows,
    memory=memories,
)
def test_joined_runs_cost_the_weighted_mean(layer, steps, activities, samples, dataflow, memory):
    """Equal if both runs have the same formats and dataflow; otherwise the joined run costs more.

    ``weight_stationary`` loads ``min(weights, operations)`` weights per sample, which is concave in the operations: the
    energies are equal only if both runs load all weights or neither does.
    """
    pair = [OperationCounts(rows_of(layer, steps, n, share), n) for n, share in zip(samples, activities, strict=True)]
    reports = [estimate(counts, dataflow=dataflow, memory=memory) for counts in (*pair, pair[0] + pair[1])]
    a, b, both = (report.nominal for report in reports)
    mean = (samples[0] * a + samples[1] * b) / sum(samples)
    assert both >= mean * (1 - 1e-9)
    linear = [report.rows[0] for report in reports]
    alike = len({tuple(row[way] for way in ("inputs_as", "weights_as", "dataflow")) for row in linear}) == 1
    loads = {loads_all_weights(counts, row) for counts, row in zip(pair, linear[:2], strict=True)}
    if alike and (linear[0]["dataflow"] != "weight_stationary" or len(loads) == 1):
        assert both == pytest.approx(mean, rel=1e-9)


def test_weight_loads_of_joined_runs_are_an_upper_bound():
    """Samples with 24 and 12 operations on 16 weights load 16 and 12; from the mean, 18 operations, 16 are charged."""
    layer, steps = HALF_AND_QUARTER["layer"], HALF_AND_QUARTER["steps"]
    pair = [OperationCounts(rows_of(layer, steps, 1, share), 1) for share in HALF_AND_QUARTER["activities"]]
    one, two, both = (
        estimate(counts, dataflow="weight_stationary").rows[0]["weights"] for counts in (*pair, pair[0] + pair[1])
    )
    # All read one bias of 32 bits; a weight has 4 bits.
    assert (one, two, both) == pytest.approx([bits * one / (16 * 4 + 32) for bits in (96, 12 * 4 + 32, 96)])


@given(layers(), steps_, st.tuples(shares, shares), dataflows, memories)
def test_more_activity_is_never_cheaper(layer, steps, activities, dataflow, memory):
    quiet, busy = (
        estimate(OperationCounts(rows_of(layer, steps, 1, share), 1), dataflow=dataflow, memory=memory).nominal
        for share in sorted(activities)
    )
    assert quiet <= busy * (1 + 1e-9)


@given(layers(), layers("second"), steps_, shares, dataflows, memories)
def test_one_more_layer_is_never_free(layer, other, steps, activity, dataflow, memory):
    first, second = rows_of(layer, steps, 1, activity), rows_of(other, steps, 1, activity)
    one, two = (
        estimate(OperationCounts(rows, 1), dataflow=dataflow, memory=memory) for rows in (first, first + second)
    )
    assert one.nominal < two.nominal and one.high < two.high


@given(layers(), steps_, shares, dataflows, memories)
def test_a_report_adds_up(layer, steps, activity, dataflow, memory):
    report = estimate(OperationCounts(rows_of(layer, steps, 1, activity), 1), dataflow=dataflow, memory=memory)
    assert report.low <= report.nominal <= report.high
    assert sum(row["nominal"] for row in report.rows) == pytest.approx(report.nominal)
    assert sum(row[part] for row in report.rows for part in PARTS) == pytest.approx(report.nominal)
    assert all(row[part] >= 0 for row in report.rows for part in PARTS)
    arithmetic = estimate(OperationCounts(rows_of(layer, steps, 1, activity), 1), dataflow="compute_only")
    assert arithmetic.nominal <= report.nominal * (1 + 1e-9)


@given(layers(), layers(), shares, dataflows, memories)
def test_ratio_mirrors_itself(layer, other, activity, dataflow, memory):
    a, b = (
        estimate(OperationCounts(rows_of(shape, 2, 1, activity), 1), dataflow=dataflow, memory=memory)
        for shape in (layer, other)
    )
    low, nominal, high = ratio(a, b)
    assert low <= nominal <= high
    assert ratio(b, a) == pytest.approx((1 / high, 1 / nominal, 1 / low))
    assert ratio(a, a) == (1, 1, 1)
