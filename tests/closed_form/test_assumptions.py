"""Formats and assumptions of energy estimates, calculated by hand."""

from itertools import product

import pytest
from energy_rows import ANALOG, SPIKES

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.estimate import estimate, ratio
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

PJ = 1e-12
BIT = 10 / 64  # pJ per bit of an 8 KB SRAM


def test_operations_with_one_kind_of_zeros_skipped_are_exact_if_counted():
    """A convolution whose zeros have fewer operations than the mean."""
    row = SPIKES | {"kind": "conv", "dense_ops": 1000, "input_cells": 100, "input_events": 10, "bias_adds": 0}
    row |= {"weights": 40, "nonzero_weights": 20, "effective_acs": 30}
    row |= {"skipped_zero_inputs": 940, "skipped_zero_weights": 450}
    for inputs, weights, operations in (("aer", "dense", 60), ("dense", "csr", 550), ("aer", "csr", 30)):
        assume = Assumptions(input_formats=(inputs,), weight_formats=(weights,))
        report = estimate(OperationCounts((row,), 1), dataflow="compute_only", assume=assume)
        assert report.nominal / PJ == pytest.approx(operations * 0.1)


def test_the_second_signal_of_a_product_is_stored_with_the_states():
    """It is on the chip when weights are in DRAM, and has its own width."""
    row = ANALOG | {"kind": "matmul", "weight_bits": 32, "bias_adds": 0, "layer": "attention"}
    near, far = (
        estimate(OperationCounts((ANALOG, row), 1), dataflow="no_reuse", memory=memory) for memory in ("auto", "dram")
    )
    assert near.rows[1]["weights"] == far.rows[1]["weights"]
    assert near.rows[0]["weights"] < far.rows[0]["weights"] and near.bits == (8,)


def test_a_large_table_is_not_loaded_for_a_few_entries():
    row = {"layer": "table", "kind": "embedding", "dense_ops": 32, "effective_acs": 32, "input_cells": 2}
    row |= {"input_events": 2, "output_cells": 32, "charged_rows": 2, "weights": 16000, "nonzero_weights": 16000}
    row |= {"weight_bits": 8, "input_bits": 10}
    found = estimate(OperationCounts((row,), 1), dataflow="weight_stationary", memory=8192 * 4).rows[0]
    assert found["weights"] / PJ == pytest.approx(32 * 8 * 20 / 64)


def test_formats_of_a_pruned_layer_by_hand():
    """100 of 400 weights kept, 4 of 20 inputs: bits of masks, indices and groups by definition."""
    row = {"layer": "fc", "kind": "linear", "dense_ops": 400, "effective_macs": 20, "input_cells": 20}
    row |= {"input_events": 4, "output_cells": 20, "charged_rows": 1, "weights": 400, "nonzero_weights": 100}
    row |= {"weight_bits": 8, "input_bits": 8}
    # Per format: operations left where inputs are skipped too, bits per fetched weight, bits of its index.
    weights = {"dense": (80, 0), "bitmap": (20, 400 / 100), "csr": (20, 5), "2:4": (40, 2)}
    inputs = {"aer": (4 * 8, 4 * 5), "bitmap": (4 * 8, 20)}
    for (kept, (operations, index)), (sent, (values, addresses)) in product(weights.items(), inputs.items()):
        assume = Assumptions(weight_formats=(kept,), input_formats=(sent,))
        found = estimate(OperationCounts((row,), 1), dataflow="event_driven", assume=assume).rows[0]
        assert (found["weights_as"], found["inputs_as"]) == (kept, sent)
        assert found["compute"] / PJ == pytest.approx(operations * 0.3)
        assert found["weights"] / PJ == pytest.approx(operations * 8 * BIT)
        assert found["inputs"] / PJ == pytest.approx(2 * values * BIT)
        assert found["indices"] / PJ == pytest.approx((2 * addresses + operations * index) * BIT)
    with pytest.raises(InputError, match="at most 2 of 4"):
        estimate(OperationCounts((row | {"nonzero_weights": 201},), 1), assume=Assumptions(weight_formats=("2:4",)))


def test_an_empty_bitmap_is_written_and_read():
    silent = SPIKES | {"effective_acs": 0, "input_events": 0}
    row = estimate(OperationCounts((silent,), 2), assume=Assumptions(input_formats=("bitmap",))).rows[0]
    assert row["indices"] / PJ == pytest.approx(2 * 8 * BIT)


def test_addresses_of_a_convolution_need_counters_or_corners():
    """Lemaire 2022: counters for inputs, outputs and kernel; per event, two products and an addition per target."""
    row = SPIKES | {"kind": "conv", "bias_adds": 0}
    found = {
        form: estimate(OperationCounts((row,), 2), assume=Assumptions(input_formats=(form,))).rows[0]["addressing"] / PJ
        for form in ("dense", "aer")
    }
    assert found["dense"] == pytest.approx((8 + 6 + 2 * 3) * 0.1)  # two steps; each input reaches three outputs
    assert found["aer"] == pytest.approx(12 * 0.1 + 2 * 4 * 3.2)


def test_assumptions_change_the_estimate():
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 12, "spikes_out": 4, "charged_rows": 4}
    counts = OperationCounts((SPIKES, neuron), 2)
    leaky, pure = (
        estimate(counts, assume=Assumptions(leak=leak)).rows[1]["compute"] / PJ for leak in ("multiply", "none")
    )
    assert (leaky, pure) == pytest.approx((6 * 3.2 + 2 * 0.1, 2 * 0.1))  # a reset is one subtraction per spike
    events = Assumptions(input_formats=("aer",), state_bits=16)
    half = estimate(counts, assume=events)
    assert half.rows[0]["partial_sums"] / PJ == pytest.approx(2 * 18 * 16 * BIT)
    assert half.rows[1]["state"] / PJ == pytest.approx(2 * 6 * 16 * BIT)


def test_reuse_of_a_fetched_weight():
    """If no input is skipped, the samples of a batch share each fetched weight."""
    for reuse, reads in ((1, 24), (2, 12), (48, 0.5)):
        for form, expected in (("dense", reads), ("aer", 12)):
            assume = Assumptions(input_formats=(form,), reuse=reuse)
            row = estimate(OperationCounts((SPIKES | {"bias_adds": 0},), 2), assume=assume).rows[0]
            assert row["weights"] / PJ == pytest.approx(expected * 8 * BIT)


def test_the_range_of_int4_is_reported_as_a_scenario():
    four, eight = (ANALOG | {"weight_bits": bits, "input_bits": bits, "bias_adds": 0} for bits in (4, 8))
    report = estimate(OperationCounts((four,), 1), dataflow="compute_only")
    assert (report.low, report.nominal, report.high) == pytest.approx((12 * 0.15 * PJ, 12 * 0.3 * PJ, 12 * 0.3 * PJ))
    assert len(report.scenarios) == 1 and "4 bit" in report.scenarios[0]
    assert estimate(OperationCounts((eight,), 1)).scenarios == ()


def test_uncertainty_scales_a_group_of_prices_together():
    sure = estimate(OperationCounts((ANALOG,), 1), dataflow="no_reuse")
    report = estimate(OperationCounts((ANALOG,), 1), dataflow="no_reuse", assume=Assumptions(uncertainty={"sram": 3.0}))
    memory = sure.nominal - sure.parts["compute"] - sure.parts["addressing"]
    assert report.nominal == sure.nominal
    assert report.low == pytest.approx(sure.nominal - 2 / 3 * memory)
    assert report.high == pytest.approx(sure.nominal + 2 * memory)
    assert report.scenarios == ("sram prices higher or lower by a factor of 3",)
    assert ratio(report, report) == (1, 1, 1), "the factor is the same on both sides"
    with pytest.raises(InputError, match="sun"):
        estimate(OperationCounts((ANALOG,), 1), assume=Assumptions(uncertainty={"sun": 2.0}))


def test_assumptions_out_of_range_are_refused():
    for options in (
        {"state_bits": 0},
        {"reuse": 0.5},
        {"uncertainty": {"sram": 0.5}},
        {"input_formats": ()},
        {"input_formats": ("csr",)},
        {"weight_formats": ("4:2",)},
    ):
        with pytest.raises(InputError):
            Assumptions(**options)
