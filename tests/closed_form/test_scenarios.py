"""Independent scenarios: those whose estimates agree by construction are one."""

import pytest

from neurosparse.energy import comparison_scenarios, estimate, same_estimates
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

ROW = {"layer": "fc", "kind": "linear", "dense_ops": 800, "input_cells": 80, "output_cells": 80, "charged_rows": 8}
ROW |= {"weights": 100, "nonzero_weights": 100, "weight_bits": 8}
SPIKES = ROW | {"effective_acs": 200, "input_events": 20, "input_bits": 1}
LEVELS = ROW | {"effective_macs": 800, "input_events": 80, "input_bits": 8}
NEURONS = {"layer": "lif", "kind": "neuron", "state_updates": 80, "charged_rows": 8}
FLOWS = ("weight_stationary", "output_stationary", "event_driven", "cheapest")


def reports(**models):
    return {
        name: {flow: estimate(OperationCounts(rows, 1), dataflow=flow) for flow in FLOWS}
        for name, rows in models.items()
    }


def test_the_cheapest_dataflow_of_each_layer_is_one_of_the_others_if_all_layers_have_the_same():
    """Partial sums move once per output and step with ``output_stationary``, and twice per operation otherwise."""
    found = reports(snn=(SPIKES, NEURONS), ann=(LEVELS,))
    chosen = {row["dataflow"] for of_model in found.values() for row in of_model["cheapest"].rows if row["dataflow"]}
    assert chosen == {"output_stationary"}
    assert same_estimates(found) == [
        ("weight_stationary",),
        ("output_stationary", "cheapest"),
        ("event_driven",),
    ]


def test_one_model_with_another_estimate_separates_two_scenarios():
    """``event_driven`` and ``weight_stationary`` agree on one pass over all weights, not over eight steps."""
    once = LEVELS | {"dense_ops": 100, "effective_macs": 100, "input_cells": 10, "input_events": 10}
    once |= {"output_cells": 10, "charged_rows": 1}
    assert ("weight_stationary", "event_driven") in same_estimates(reports(once=(once,)))
    assert ("weight_stationary",) in same_estimates(reports(once=(once,), often=(LEVELS,)))


def test_models_that_cannot_be_executed_agree():
    counts = OperationCounts((LEVELS,), 1)
    loihi, again, circuit = (estimate(counts, name) for name in ("loihi", "loihi", "cmos-45nm"))
    found = same_estimates({"ann": {"one": loihi, "two": again, "three": circuit}})
    assert found == [("one", "two"), ("three",)]


@pytest.mark.parametrize("given", [{}, [], {"a": 1}, {"a": {"x": 1}}, None])
def test_refusals(given):
    with pytest.raises(InputError, match="same_estimates"):
        same_estimates(given)


def test_models_have_the_same_scenarios():
    report = estimate(OperationCounts((SPIKES,), 1))
    with pytest.raises(InputError, match="other scenarios"):
        same_estimates({"a": {"x": report}, "b": {"y": report}})


def test_the_scenarios_of_a_comparison_are_independent():
    """A spiking and a dense network with a convolution, a linear layer and neurons: no two scenarios agree."""
    spikes = SPIKES | {"weight_bits": 8}
    models = {
        "snn": (spikes, NEURONS, SPIKES | {"layer": "second"}),
        "ann": (LEVELS, {"layer": "relu", "kind": "compare", "comparisons": 80}, LEVELS | {"kind": "conv"}),
    }
    reports = {
        name: {
            scenario: estimate(OperationCounts(rows, 1), **options)
            for scenario, options in comparison_scenarios().items()
        }
        for name, rows in models.items()
    }
    groups = same_estimates(reports)
    assert [len(group) for group in groups] == [1] * len(comparison_scenarios())
    kinds = {(report.hardware, report.dataflow) for report in reports["snn"].values()}
    nodes = {(node, flow) for node in ("cmos-45nm", "cmos-7nm") for flow in ("compute_only", "cheapest")}
    assert kinds == nodes | {("loihi", "event_driven")}
    assert reports["ann"]["loihi/event_driven"].nominal is None
