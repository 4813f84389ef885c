"""Properties of prices and assumptions for all counts: leaks, widths of states, nodes, used constants, chips."""

from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.energy.assumptions import LEAKS, Assumptions
from neurosparse.energy.estimate import estimate, ratio
from neurosparse.energy.hardware import profiles
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import COUNTS, OperationCounts

CIRCUITS = ("cmos-45nm", "cmos-7nm")
FLOWS = ("compute_only", "no_reuse", "weight_stationary", "output_stationary", "event_driven", "cheapest")
PHASES = ("forward", "backward", "update")
BITS = (1, 2, 4, 8, 12, 16, 32)


@st.composite
def rows(draw, name: str, phases: tuple[str, ...] = ("forward",), binary: bool | None = None):
    """A layer with some of its weights shared, its scalar operations, and weights that nothing reads."""
    inputs, outputs, steps = draw(st.integers(1, 60)), draw(st.integers(1, 60)), draw(st.integers(1, 4))
    cells, events = inputs * steps, draw(st.integers(0, inputs * steps))
    kept = draw(st.integers(1, outputs))
    spikes = draw(st.booleans()) if binary is None else binary
    weights, phase = inputs * outputs, draw(st.sampled_from(phases))
    shared = draw(st.sampled_from([0, kept]))
    layer = {
        "layer": name,
        "kind": draw(st.sampled_from(["linear", "conv", "embedding"])),
        "phase": phase,
        "dense_ops": cells * outputs,
        "effective_acs" if spikes else "effective_macs": events * kept,
        "bias_adds": draw(st.sampled_from([0, outputs * steps])),
        "input_cells": cells,
        "input_events": events,
        "output_cells": outputs * steps,
        "charged_rows": steps,
        "weights": weights,
        "nonzero_weights": inputs * kept,
        "shared_weights": shared,
        "shared_nonzero_weights": shared,
        "weight_bits": draw(st.sampled_from(BITS)),
        "input_bits": 1 if spikes else draw(st.sampled_from(BITS[1:])),
    }
    updates = outputs * steps
    scalars = {
        "layer": f"{name}.act",
        "kind": "neuron" if binary else draw(st.sampled_from(["neuron", "compare", "elementwise"])),
        "phase": phase,
        "state_updates": updates if binary else draw(st.sampled_from([0, updates])),
        "leak": draw(st.sampled_from(["none", "shift", "multiply", None])),
        "state_bits": draw(st.sampled_from([8, 12, 16, 32])),
        "spikes_out": draw(st.integers(0, updates)),
        "comparisons": 0 if binary else draw(st.integers(0, 50)),
        "elementwise": 0 if binary else draw(st.integers(0, 50)),
        "charged_rows": steps,
    }
    idle = {"layer": f"{name}.idle", "kind": "idle", "weights": weights, "nonzero_weights": kept, "weight_bits": 8}
    return (layer, scalars, *([idle] if draw(st.booleans()) else []))


@st.composite
def networks(draw, phases: tuple[str, ...] = ("forward",), binary: bool | None = None):
    layers = [draw(rows(f"l{i}", phases, binary)) for i in range(draw(st.integers(1, 3)))]
    return OperationCounts(tuple(row for layer in layers for row in layer), draw(st.integers(1, 4)))


@given(networks(), st.sampled_from(CIRCUITS), st.sampled_from(FLOWS), st.integers(1, 32))
@settings(max_examples=15, deadline=None)
def test_a_cheaper_leak_and_narrower_states_never_cost_more(counts, node, flow, width):
    def energy(**assume):
        return estimate(counts, node, flow, assume=Assumptions(**assume)).nominal

    by_leak = [energy(leak=leak, state_bits=width) for leak in ("none", "shift", "multiply")]
    assert by_leak == sorted(by_leak) and len(by_leak) == len(LEAKS) - 1
    assert by_leak[0] <= energy(state_bits=width) <= by_leak[2], "as the network ran"
    by_width = [energy(state_bits=bits) for bits in (8, 16, 32)]
    assert by_width == sorted(by_width)
    assert energy(state_bits=width) <= by_width[-1] * (1 + 1e-12)
    updates = sum(row["state_updates"] for row in counts.rows)
    assert (by_leak[0] < by_leak[1] < by_leak[2]) == (updates > 0)


@given(
    networks(), st.sampled_from(FLOWS), st.sampled_from(["auto", "dram", "per_layer", 9000]), st.sampled_from([16, 32])
)
@settings(max_examples=15, deadline=None)
def test_no_operation_is_dearer_at_the_smaller_node(counts, flow, memory, bits):
    old, new = (estimate(counts, node, flow, memory=memory, assume=Assumptions(state_bits=bits)) for node in CIRCUITS)
    assert new.nominal <= old.nominal and new.low <= old.low


@given(
    networks(),
    st.sampled_from(CIRCUITS),
    st.sampled_from(FLOWS),
    st.sampled_from(sorted(LEAKS)),
    st.sampled_from([8, 16, 32]),
)
@settings(max_examples=15, deadline=None)
def test_an_estimate_depends_on_the_constants_it_lists_and_on_no_others(counts, node, flow, leak, bits):
    """Prices that are not listed may be anything; of those of arithmetic every one that is listed matters."""
    assume, model = Assumptions(leak=leak, state_bits=bits), profiles()[node]
    report = estimate(counts, node, flow, assume=assume)
    listed = {constant.id for constant in report.assumptions}

    def with_prices(names: set[str]) -> float:
        prices = {
            name: replace(price, nominal=price.nominal * 3) if name in names else price
            for name, price in model.prices.items()
        }
        changed = replace(model, prices=MappingProxyType(prices))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(import_module("neurosparse.energy.estimate"), "profile", lambda _: changed)
            return estimate(counts, node, flow, assume=assume).nominal

    named = {name for name, price in model.prices.items() if set(price.ids) <= listed}
    assert with_prices(set(model.prices) - named) == report.nominal
    if flow == "compute_only" and report.nominal:
        assert with_prices(named) == pytest.approx(3 * report.nominal)


@given(networks(PHASES), st.sampled_from(CIRCUITS), st.sampled_from(FLOWS))
@settings(max_examples=12, deadline=None)
def test_phases_add_up(counts, node, flow):
    report = estimate(counts, node, flow)
    assert sum(report.by_phase.values()) == pytest.approx(report.nominal)
    assert set(report.by_phase) == {row["phase"] for row in counts.rows}
    if flow == "compute_only" and set(report.by_phase) == {"forward"}:
        assert report.by_phase["forward"] == pytest.approx(report.nominal)


@given(networks(binary=True), networks(binary=True))
@settings(max_examples=15, deadline=None)
def test_a_chip_is_bounded_by_the_neurons_that_may_be_active(one, other):
    a, b = (estimate(counts, "loihi") for counts in (one, other))
    for report in (a, b):
        energies = (report.nominal, *report.corners)
        assert all(low <= energy <= high for energy, (low, high) in zip(energies, report.bounds, strict=True))
        assert report.low == min(low for low, _ in report.bounds) and report.high == max(h for _, h in report.bounds)
        assert sum(row["nominal"] for row in report.rows) == pytest.approx(report.nominal)
    low, nominal, high = ratio(a, b)
    assert low <= nominal <= high
    assert ratio(b, a) == pytest.approx((1 / high, 1 / nominal, 1 / low))
    spread = [estimate(counts, "spinnaker2") for counts in (one, other)]
    assert all(report.low == report.high for report in spread)


@given(networks(binary=True), st.integers(2, 5), st.sampled_from(["loihi", "spinnaker2"]))
@settings(max_examples=12, deadline=None)
def test_the_batch_changes_nothing_on_a_chip(counts, batch, chip):
    repeated = [{key: batch * value if key in COUNTS else value for key, value in row.items()} for row in counts.rows]
    once, often = estimate(counts, chip), estimate(OperationCounts(tuple(repeated), batch * counts.samples), chip)
    assert (often.low, often.nominal, often.high) == pytest.approx((once.low, once.nominal, once.high))


@given(
    networks(), st.sampled_from(sorted(profiles())), st.sampled_from(["weight_bits", "input_bits"]), st.integers(-3, 0)
)
@settings(max_examples=15, deadline=None)
def test_a_row_without_bits_is_refused_wherever_it_is(counts, hardware, column, bits):
    flow = profiles()[hardware].dataflows[0]
    places = [
        i for i, row in enumerate(counts.rows) if row["weights"] and (row["kind"] != "idle" or column == "weight_bits")
    ]
    for place in places:
        spoilt = [row | {column: bits} if i == place else row for i, row in enumerate(counts.rows)]
        with pytest.raises(InputError, match="at least 1 bit.*"):
            estimate(OperationCounts(tuple(spoilt), counts.samples), hardware, flow)


@given(networks(), st.sampled_from(CIRCUITS))
@settings(max_examples=12, deadline=None)
def test_sharing_weights_never_costs_more_and_idle_weights_never_less(counts, node):
    apart = [row | {"shared_weights": 0, "shared_nonzero_weights": 0} for row in counts.rows]
    busy = [row for row in counts.rows if row["kind"] != "idle"]
    energies = [
        estimate(OperationCounts(tuple(rows), counts.samples), node, "event_driven").nominal
        for rows in (busy, counts.rows, apart)
    ]
    assert all(less <= more * (1 + 1e-12) for less, more in pairwise(energies))
