"""Counts that an estimate takes or refuses, number formats, stored weights, phases of training, and the report."""

import re

import pytest
from energy_rows import ANALOG, SPIKES
from torch import nn

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.estimate import PARTS, estimate
from neurosparse.energy.hardware import profile
from neurosparse.energy.layer import annotated
from neurosparse.energy.memory import footprint, sram
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

PJ = 1e-12


@pytest.mark.parametrize("hardware", ["cmos-45nm", "cmos-7nm", "lemaire-45nm", "loihi", "spinnaker2"])
def test_rows_without_bits_are_refused(hardware):
    """An operand of 0 bits would cost nothing to fetch."""
    flow = "no_reuse" if hardware == "lemaire-45nm" else "event_driven"
    for missing in ({"weight_bits": 0}, {"input_bits": 0}, {"weight_bits": 0, "input_bits": 0}):
        with pytest.raises(InputError, match="'fc' with weight_bits=.* at least 1 bit"):
            estimate(OperationCounts((SPIKES | missing,), 2), hardware, flow)
    idle = {"layer": "expert", "kind": "idle", "weights": 12, "nonzero_weights": 12}
    with pytest.raises(InputError, match="'expert' with weight_bits=0"):
        estimate(OperationCounts((SPIKES, idle), 2), hardware, flow)


@pytest.mark.parametrize("given", [nn.Linear(2, 2), [OperationCounts((ANALOG,), 1)], None, 3, "counts"])
def test_what_is_no_counts_is_refused_in_one_sentence(given):
    with pytest.raises(
        InputError, match=r"^estimate: got counts of type \w+; expected operation counts\. Pass ns.count"
    ):
        estimate(given)
    with pytest.raises(InputError, match="assume of type"):
        estimate(OperationCounts((ANALOG,), 1), assume={"state_bits": 16})


def test_counts_without_rows_need_no_energy():
    assert estimate(OperationCounts((), 1)).nominal == estimate(OperationCounts((), 1), "loihi").nominal == 0


# Operand bits, and the prices in pJ of a product and of a sum at 45 nm with sums of 32, 16 and 8 bits.
ARITHMETIC = {
    4: (0.2, {32: 0.1, 16: 0.05, 8: 0.03}),
    8: (0.2, {32: 0.1, 16: 0.05, 8: 0.03}),
    9: (1.1, {32: 0.9, 16: 0.4, 8: 0.4}),
    16: (1.1, {32: 0.9, 16: 0.4, 8: 0.4}),
    32: (3.7, {32: 0.9, 16: 0.4, 8: 0.4}),
}


@pytest.mark.parametrize("bits", ARITHMETIC)
@pytest.mark.parametrize("weights_are_wider", [False, True])
def test_products_have_the_width_of_the_wider_operand_and_sums_that_of_the_states(bits, weights_are_wider):
    multiply, sums = ARITHMETIC[bits]
    row = ANALOG | {"weight_bits": bits if weights_are_wider else 4, "input_bits": 4 if weights_are_wider else bits}
    for width, add in sums.items():
        assume = Assumptions(state_bits=width)
        found = estimate(OperationCounts((row,), 1), dataflow="compute_only", assume=assume).nominal / PJ
        assert found == pytest.approx(12 * (multiply + add) + 3 * add, rel=1e-12)
    sentences = " ".join(estimate(OperationCounts((row,), 1)).sentences)
    assert ("bfloat16" in sentences) == (8 < bits <= 16)


def test_only_constants_that_were_used_are_listed():
    def listed(row, **options):
        return {constant.id for constant in estimate(OperationCounts((row,), 2), **options).assumptions}

    assert listed(SPIKES, dataflow="compute_only") == {"horowitz_add_int32"}
    assert listed(ANALOG, dataflow="compute_only") == {"horowitz_add_int32", "horowitz_mul_int8"}
    memory = {"horowitz_sram_8k", "horowitz_sram_32k", "horowitz_sram_1m", "horowitz_dram"}
    assert listed(SPIKES) == {"horowitz_add_int32"} | memory
    assert listed(SPIKES | {"kind": "conv"}) == {"horowitz_add_int32", "horowitz_mul_int32"} | memory
    wide = listed(ANALOG | {"weight_bits": 32}, assume=Assumptions(state_bits=16), dataflow="compute_only")
    assert wide == {"horowitz_mul_fp32", "horowitz_add_fp16"}
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 12}
    assert listed(neuron, dataflow="compute_only") == {"horowitz_mul_fp32", "horowitz_add_fp32"}
    assert listed(neuron, dataflow="compute_only", assume=Assumptions(leak="none")) == set()


def test_each_weight_is_stored_once_and_idle_weights_too():
    """A tied layer adds no weights; an expert that ran on nothing adds its own."""
    kilobyte = 8192
    big = ANALOG | {"weights": 4 * kilobyte, "nonzero_weights": 4 * kilobyte, "bias_adds": 0}
    tied = big | {"layer": "tied", "shared_weights": big["weights"], "shared_nonzero_weights": big["weights"]}
    apart = {"shared_weights": 0, "shared_nonzero_weights": 0}
    idle = {"layer": "expert", "kind": "idle", "weights": 4 * kilobyte, "nonzero_weights": 4 * kilobyte}
    idle |= {"weight_bits": 8}
    for rows, size in (((big,), 32), ((big, tied), 32), ((big, tied | apart), 64), ((big, idle), 64)):
        report = estimate(OperationCounts(rows, 1), dataflow="no_reuse")
        per_bit = sram(size * 1024, profile("cmos-45nm").draws()[0])
        assert report.rows[0]["weights"] / PJ == pytest.approx(12 * 8 * per_bit, rel=1e-12), size
    report = estimate(OperationCounts((big, idle), 1), dataflow="no_reuse")
    assert report.rows[1]["nominal"] == 0 and report.rows[1]["kind"] == "idle"
    half = tied | dict.fromkeys(apart, big["weights"] // 2)
    report = estimate(OperationCounts((big, half), 1), dataflow="no_reuse")
    assert report.rows[0]["weights"] / PJ == pytest.approx(96 * sram(48 * 1024, profile("cmos-45nm").draws()[0]))
    alone = estimate(OperationCounts((big, tied), 1), dataflow="no_reuse", memory="per_layer")
    assert alone.rows[1]["weights"] == alone.rows[0]["weights"], "read from the memory that holds all of them"


def test_idle_weights_are_stored_in_the_smallest_format_that_fits():
    """100 of 4000 weights kept, 8 bits and an index of 12: a row without operations has no fan-out."""
    idle = {"layer": "expert", "kind": "idle", "weights": 4000, "nonzero_weights": 100, "weight_bits": 8}
    row = annotated(OperationCounts((idle,), 1))[0]
    assert footprint(row, Assumptions(weight_formats=("csr",)))[0] == 100 * (8 + 12) / 8
    assert footprint(row, Assumptions(weight_formats=("bitmap",)))[0] == (100 * 8 + 4000) / 8
    assert footprint(row, Assumptions())[0] == 100 * (8 + 12) / 8
    assert footprint(row, Assumptions(weight_formats=("2:4",)))[0] == 4000, "a pattern is that of layers that ran"


def test_training_is_priced_by_the_same_formulas_and_reported_by_phase():
    forward = ANALOG | {"phase": "forward"}
    backward = ANALOG | {
        "phase": "backward",
        "shared_weights": 12,
        "shared_nonzero_weights": 12,
        "bias_adds": 0,
        "weight_bits": 32,
        "input_bits": 32,
    }
    update = {"layer": "fc", "kind": "elementwise", "phase": "update", "elementwise": 24}
    report = estimate(OperationCounts((forward, backward, update), 1), dataflow="compute_only")
    expected = {"forward": 12 * 0.3 + 3 * 0.1, "backward": 12 * 4.6, "update": 24 * 0.9}
    assert {phase: energy / PJ for phase, energy in report.by_phase.items()} == pytest.approx(expected, rel=1e-12)
    assert report.nominal == pytest.approx(sum(report.by_phase.values()), rel=1e-12)
    assert [row["phase"] for row in report.rows] == ["forward", "backward", "update"] and report.bits == (8,)
    assert estimate(OperationCounts((ANALOG,), 1)).by_phase.keys() == {"forward"}
    states = {"layer": "lif", "kind": "neuron", "state_updates": 12, "charged_rows": 4, "phase": "backward"}
    assert annotated(OperationCounts((states,), 1))[0]["states"] == 0, "the states are those of the forward pass"


def test_a_report_is_a_table_in_a_notebook():
    report = estimate(OperationCounts((ANALOG,), 1), memory="dram")
    html = report._repr_html_()
    assert html.startswith("<table>") and "color" not in html and html.count("<tr>") == 1 + len(PARTS)
    rows = re.findall(r"<td>([\w ]+)</td><td>([\d.e+-]+)</td><td>([\d.]+)%</td>", html)
    assert [name for name, _, _ in rows] == [part.replace("_", " ") for part in PARTS]
    unit = re.findall(r"<th>(\w+)</th><th>share", html)[0]
    size = {"nJ": 1e-9, "pJ": 1e-12}[unit]
    assert [float(value) * size for _, value, _ in rows] == pytest.approx(list(report.parts.values()), rel=1e-3)
    assert sum(float(share) for _, _, share in rows) == pytest.approx(100, abs=0.5)
    assert f"{report.nominal / size:.4g} [" in html and "an estimate" in html
    assert repr(report).startswith("EnergyReport(")
    refused = estimate(OperationCounts((ANALOG | {"layer": "<fc>"},), 1), "loihi")._repr_html_()
    assert "not executable" in refused and "&lt;fc&gt;" in refused and "<table>" not in refused
    beside = report.with_overhead(seconds=1, idle=0.1)._repr_html_()
    assert "beside it: idle" in beside
