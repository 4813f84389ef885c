"""What must hold for the energy of any counts."""

import pytest
from hypothesis import given
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


@given(
    layers(), steps_, st.tuples(shares, shares), st.tuples(st.integers(1, 9), st.integers(1, 9)), dataflows, memories
)
def test_joined_runs_cost_the_weighted_mean(layer, steps, activities, samples, dataflow, memory):
    """Exactly where both runs execute alike; one circuit for both can only be dearer than the best one for each."""
    pair = [OperationCounts(rows_of(layer, steps, n, share), n) for n, share in zip(samples, activities, strict=True)]
    reports = [estimate(counts, dataflow=dataflow, memory=memory) for counts in (*pair, pair[0] + pair[1])]
    a, b, both = (report.nominal for report in reports)
    mean = (samples[0] * a + samples[1] * b) / sum(samples)
    assert both >= mean * (1 - 1e-9)
    ways = ("inputs_as", "weights_as", "dataflow")
    if (
        len({tuple(row[way] for way in ways) for report in reports for row in report.rows if row["kind"] == "linear"})
        == 1
    ):
        assert both == pytest.approx(mean, rel=1e-9)


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
