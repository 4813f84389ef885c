"""Scenarios of a comparison: no two agree by construction."""

from itertools import combinations

from neurosparse.energy import comparison_scenarios, estimate
from neurosparse.meter.operation_counts import OperationCounts

ROW = {"layer": "fc", "kind": "linear", "dense_ops": 800, "input_cells": 80, "output_cells": 80, "charged_rows": 8}
ROW |= {"weights": 100, "nonzero_weights": 100, "weight_bits": 8}
SPIKES = ROW | {"effective_acs": 200, "input_events": 20, "input_bits": 1}
LEVELS = ROW | {"effective_macs": 800, "input_events": 80, "input_bits": 8}
NEURONS = {"layer": "lif", "kind": "neuron", "state_updates": 80, "charged_rows": 8, "output_bits": 1, "leak": "shift"}


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
    for one, other in combinations(comparison_scenarios(), 2):
        assert any(of_model[one].nominal != of_model[other].nominal for of_model in reports.values())
    own = {f"own silicon ({chip}, cmos-45nm)" for chip in ("loihi", "spinnaker2")}
    assert own < set(comparison_scenarios())
    for model, of_model in reports.items():
        assert all(of_model[name].hardware == name for name in own)
        assert all("does not compare like with like" in " ".join(of_model[name].sentences) for name in own)
        assert {
            of_model[name].nominal == of_model["cmos-45nm/cheapest dataflow per layer"].nominal for name in own
        } == {model == "ann"}
