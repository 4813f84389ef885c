"""Tables and method paragraphs for a paper: the tables parse back to the same numbers, the words are complete."""

import copy
import csv
import io
import re
from typing import Any

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.energy import Memory
from neurosparse.errors import InputError
from neurosparse.report import method
from neurosparse.report.paper import escape

NASTY = 'a_b & 50% of $x$ #1 {~^\\} | "c", d'
ROW = {"layer": "fc", "kind": "linear", "dense_ops": 40, "effective_acs": 10, "weights": 20, "nonzero_weights": 15}
ROW |= {"weight_bits": 8, "input_bits": 1, "input_cells": 8, "input_events": 2, "output_cells": 20, "charged_rows": 4}
COUNTS = ns.OperationCounts((ROW,), samples=4)


@pytest.fixture
def named(results: dict[str, Any]) -> dict[str, Any]:
    """The made-up results, with a name that every format has to escape."""
    found = copy.deepcopy(results)
    old = found["models"][0]["name"]
    found["models"][0]["name"] = NASTY
    for verdict in found["verdicts"]:
        verdict |= {side: NASTY for side in "ab" if verdict[side] == old}
    found["reference"] = None
    return found


def columns(line: str) -> list[str]:
    """Cells of a LaTeX row: ampersands that no backslash escapes."""
    return re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))


def test_csv_reads_back_to_the_very_numbers(named: dict) -> None:
    rows = list(csv.DictReader(io.StringIO(ns.Comparison(named).table("csv"))))
    assert [row["model"] for row in rows] == [one["name"] for one in named["models"]]
    for row, one in zip(rows, named["models"], strict=True):
        assert float(row["accuracy mean"]) == one["accuracy"]["mean"]
        assert float(row["accuracy sd"]) == one["accuracy"]["sd"]
        assert float(row["effective_macs mean"]) == one["operations"]["effective_macs"]["mean"]
        for scenario, report in one["energy"].items():
            for key in ("low", "nominal", "high", "sd"):
                cell = row[f"{scenario} {key} (J)"]
                assert (float(cell) if cell else None) == report.get(key)


def test_latex_is_one_tabular_with_three_rules_and_as_many_cells_everywhere(named: dict) -> None:
    lines = ns.Comparison(named).table("latex").splitlines()
    spec = re.fullmatch(r"\\begin\{tabular\}\{(l)(r+)\}", lines[1])
    assert spec and lines[-1] == r"\end{tabular}"
    rules = [line for line in lines if line.startswith("\\") and line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    rows = [line for line in lines if line.endswith(r" \\")]
    assert len(rows) == 1 + len(named["models"])
    assert {len(columns(row)) for row in rows} == {1 + len(spec[2])}
    first = columns(rows[1])
    assert first[1] == r"97.5 $\pm$ 0.4", "accuracies"
    assert re.fullmatch(r"[\d.]+ \$\\pm\$ [\d.]+~nJ", first[6]), "energies"


@pytest.mark.parametrize("character", "&%$#_{}~^\\")
def test_no_special_character_of_latex_stays_as_it_is(character: str) -> None:
    bare = escape(f"x{character}y")
    assert bare != f"x{character}y" and bare.startswith("x\\") and bare.endswith("y")
    assert escape("plain text, 1.5") == "plain text, 1.5"


def test_escaped_latex_says_the_name_and_nothing_else(named: dict) -> None:
    row = columns(ns.Comparison(named).table("latex").splitlines()[5])[0]
    assert row == (
        r"a\_b \& 50\% of \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\} "
        r'| "c", d'
    )


def test_markdown_has_as_many_cells_in_each_line_whatever_the_name(named: dict) -> None:
    text = ns.Comparison(named).table("markdown")
    lines = [re.split(r"(?<!\\)\|", line) for line in text.splitlines()]
    assert {len(line) for line in lines} == {len(lines[0])}
    assert " ± " in lines[2][6] and lines[2][6].strip().endswith("nJ"), "energies with their spread"


def test_a_deviation_stands_in_the_prefix_of_its_mean(named: dict) -> None:
    named["models"][0]["energy"] = {"s": {"low": 1e-9, "nominal": 2.5e-9, "high": 3e-9, "sd": 40e-12}}
    named["models"], named["verdicts"] = named["models"][:1], []
    assert ns.Comparison(named).table("latex").splitlines()[5].endswith(r"2.5 $\pm$ 0.04~nJ \\")


def test_another_format_is_refused(results: dict) -> None:
    with pytest.raises(InputError, match="'latex', 'markdown', 'csv'"):
        ns.Comparison(results).table("docx")


def test_the_method_of_operation_counts_says_samples_operations_and_what_was_not_counted() -> None:
    text = method(COUNTS)
    assert "4 samples" in text and "takes 10 multiply-accumulates; counted were 2.5 accumulates." in text
    assert "15 of 20 weights are not zero" in text and "NOT COUNTED" not in text
    holes = ns.OperationCounts((ROW,), 1, ({"layer": "head", "function": "fft", "calls": 2},))
    assert "NOT COUNTED: fft in head." in method(holes)


@pytest.mark.parametrize("hardware", ["cmos-45nm", "lemaire-45nm", "loihi"])
def test_the_method_of_a_report_names_every_constant_with_source_and_status(hardware: str) -> None:
    report = ns.estimate(COUNTS, hardware, "event_driven" if hardware != "lemaire-45nm" else "no_reuse")
    text = method(report)
    for constant in report.assumptions:
        assert f"{constant.quantity} {constant.value:g}" in text and constant.source in text
        assert {"verified": "read in the source", "verified_secondary": "work of others"}[constant.status] in text
        assert f"[{constant.low:g}, {constant.high:g}]" in text or constant.low == constant.high
    assert "not measurements" in text and hardware in text and "8 bits" in text
    assert all(sentence in text for sentence in report.sentences)


def test_the_method_says_which_memory_and_which_assumptions() -> None:
    memory, assume = Memory(capacity=4096, per_layer=True, packed=False), ns.energy.Assumptions(state_bits=12, reuse=4)
    text = method(ns.estimate(COUNTS, memory=memory, assume=assume))
    assert "All layers have memories of their own of 4096 bytes; each operand is an access of 64 bits." in text
    assert "States and partial sums have 12 bits" in text and "serves 4 operations" in text
    assert "States and partial sums" not in method(ns.estimate(COUNTS, dataflow="compute_only"))
    assert "Weights are in DRAM" in method(ns.estimate(COUNTS, memory="dram"))


def test_the_method_tells_scenarios_from_sources() -> None:
    sourced = method(ns.estimate(COUNTS, memory="dram"))
    assert "Every range is that of a source." in sourced
    assert "The range covers" not in method(ns.estimate(COUNTS, dataflow="compute_only")), "there is none"
    uncertain = ns.estimate(COUNTS, assume=ns.energy.Assumptions(uncertainty={"sram": 2.0}))
    assert uncertain.scenarios[0] in method(uncertain) and "scenarios: sram prices" in method(uncertain)
    refused = ns.OperationCounts((ROW | {"effective_acs": 0, "effective_macs": 10, "input_bits": 8},), 4)
    assert "cannot execute the network: fc: 2.5 multiply-acc" in method(ns.estimate(refused, "loihi"))
    assert "idle 15 mJ per sample" in method(ns.estimate(COUNTS).with_overhead(0.5, idle=0.03)).replace("\u00a0", " ")


def test_the_method_of_a_comparison_says_data_scenarios_constants_and_the_rule_of_the_verdicts() -> None:
    data = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    found = ns.compare({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)}, data)
    text = found.method()
    assert "2 networks (one, two) were run on the same 12 test samples" in text and "seeds (" not in text
    for scenario in found.results["models"][0]["energy"]:
        assert scenario in text
    assert "horowitz" in text.lower() and "1950 [1300, 2600]" in text and "within 0.01 of 0" in text
    assert "seeds (0, 1)" in method(found.results | {"seeds": [0, 1]})
    assert "called cheaper" not in ns.compare({"one": nn.Linear(4, 4)}, data).method()


def test_a_method_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="method: got a int"):
        method(3)
