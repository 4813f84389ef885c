"""Tables and method paragraphs for a paper: the tables parse back to the same numbers, the words are complete."""

import copy
import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.energy import Memory
from neurosparse.errors import InputError
from neurosparse.report import method
from neurosparse.report.citations import references
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
    assert [row["name"] for row in rows] == [one["name"] for one in named["models"]]
    for row, one in zip(rows, named["models"], strict=True):
        assert float(row["accuracy mean"]) == one["accuracy"]["mean"]
        assert float(row["accuracy sd"]) == one["accuracy"]["sd"]
        assert float(row["operations effective_macs mean"]) == one["operations"]["effective_macs"]["mean"]
        for scenario, report in one["energy"].items():
            for key in ("low", "nominal", "high", "sd"):
                cell = row[f"energy {scenario} {key}"]
                assert (float(cell) if cell else None) == report.get(key)


@pytest.mark.parametrize("format", ["latex", "latex-wide"])
def test_latex_is_one_table_with_caption_label_and_as_many_cells_everywhere(named: dict, format: str) -> None:
    text = ns.Comparison(named).table(format)
    environment = {"latex": "table", "latex-wide": "table*"}[format]
    assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 1
    spec = re.search(r"\\begin\{tabular\}\{@\{\}(?:l|p\{\d+pt\})(r+)@\{\}\}", text)
    assert spec and re.search(r"\\label\{tab:digits\}", text)
    rows = [line for line in text.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert {len(columns(row)) for row in rows} == {1 + len(spec[1])}
    names = [re.sub(r"\\raggedright |\\allowbreak\{\}", "", columns(row)[0]) for row in rows]
    assert names[-len(named["models"]) :].count(escape(NASTY)) == 1
    assert set(names[-len(named["models"]) :]) == {escape(one["name"]) for one in named["models"]}


def test_the_caption_holds_the_answer_the_warning_and_the_keys_of_what_it_rests_on(results: dict) -> None:
    text = ns.Comparison(results).table("latex")
    (caption,) = re.findall(r"\\caption\{(.*)\}\n", text)
    assert escape(ns.report.headline.answer(results)) in caption and "estimates per sample" in caption
    cited = re.findall(r"\\cite\{([\w,]+)\}", caption)[0].split(",")
    assert {"horowitz2014computing", "yik2025neurobench"} <= set(cited) <= set(references())
    assert set(cited) == set(re.findall(r"^@\w+\{(\w+),", ns.citations(ns.Comparison(results)), re.MULTILINE))


def test_units_stand_in_the_head_of_a_latex_table_and_nowhere_else(results: dict) -> None:
    head, body = ns.Comparison(results).table("latex-wide").split(r"\midrule", 1)
    assert {"(\\%)", "(k)", "(nJ)"} <= set(re.findall(r"\(\S+\)", head.split(r"\toprule")[1]))
    assert not re.search(r"\d~?[pnk]?J\b|\dk\b|\d ?\\%", body)


def unusual(results: dict[str, Any], name: str) -> dict[str, Any]:
    found = json.loads(json.dumps(results).replace('"relu-pruned-int8"', json.dumps(name)))
    return found | {"title": f"A title with {name}"}


NAMES = {
    "long words": "averyveryverylongnameofanetworkwithoutanybreakwhatsoever-and-more",
    "signs": NASTY,
    "letters of other scripts": "β-λ Ω µ é Ł ő ∞ 中文 🙂 \u0007 ﬁ ℝ",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format", ["latex", "latex-wide"])
def test_a_latex_table_is_ascii_and_its_braces_are_balanced(results: dict, name: str, format: str) -> None:
    text = ns.Comparison(unusual(results, NAMES[name])).table(format)
    assert text.isascii() and all(line.isprintable() for line in text.splitlines())
    bare = re.sub(r"\\[\\{}]", "", text)
    assert bare.count("{") == bare.count("}")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("format", "budget"), [("latex", 240), ("latex-wide", 480)])
def test_pdflatex_takes_the_table_and_finds_it_narrow_enough(
    results: dict, tmp_path: Path, name: str, format: str, budget: float
) -> None:
    width, log = typeset(ns.Comparison(unusual(results, NAMES[name])).table(format), tmp_path)
    assert 0 < width <= budget
    assert "Overfull" not in log and "! " not in log


def typeset(table: str, folder: Path) -> tuple[float, str]:
    """Width of a table in points as pdflatex measures it, and what it says on the way."""
    (inner,) = re.findall(r"\\begin\{tabular\}.*\\end\{tabular\}", table, re.DOTALL)
    (set_up,) = re.findall(r"\\centering(.*)\n(.*)\n", table)
    lines = [r"\documentclass[twocolumn]{article}\usepackage{booktabs}\begin{document}", *set_up]
    lines += [rf"\setbox0=\hbox{{{inner}}}\typeout{{WIDTH=\the\wd0}}", table, r"\end{document}"]
    (folder / "t.tex").write_text("\n".join(lines), encoding="ascii")
    made = subprocess.run(["pdflatex", "-interaction=nonstopmode", "t.tex"], cwd=folder, capture_output=True, text=True)
    return float(re.findall(r"WIDTH=([\d.]+)pt", made.stdout)[0]), made.stdout


@pytest.mark.parametrize("character", "&%$#_{}~^\\")
def test_no_special_character_of_latex_stays_as_it_is(character: str) -> None:
    bare = escape(f"x{character}y")
    assert bare != f"x{character}y" and bare.startswith("x\\") and bare.endswith("y")
    assert escape("plain text, 1.5") == "plain text, 1.5"


def test_escaped_latex_says_the_name_and_nothing_else() -> None:
    assert escape(NASTY) == (
        r"a\_b \& 50\% of \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\} "
        r'\textbar{} "c", d'
    )


def test_markdown_has_as_many_cells_in_each_line_whatever_the_name(named: dict) -> None:
    text = ns.Comparison(named).table("markdown")
    lines = [re.split(r"(?<!\\)\|", line) for line in text.splitlines()]
    assert {len(line) for line in lines} == {len(lines[0])}
    energy = [cell.strip().endswith("(nJ)") for cell in lines[0]].index(True)
    assert " ± " in lines[2][energy] and "J" not in lines[2][energy], "energies with their spread, the unit in the head"


def test_a_deviation_stands_in_the_prefix_of_its_mean(named: dict) -> None:
    named["models"][0]["energy"] = {"s": {"low": 1e-9, "nominal": 2.5e-9, "high": 3e-9, "sd": 40e-12}}
    named["models"], named["verdicts"] = named["models"][:1], []
    assert "2.50 $\\pm$ 0.04" in ns.Comparison(named).table("latex")


def test_another_format_is_refused(results: dict) -> None:
    with pytest.raises(InputError, match="'latex', 'latex-wide', 'markdown', 'csv'"):
        ns.Comparison(results).table("docx")


def test_the_method_of_operation_counts_says_samples_operations_and_what_was_not_counted() -> None:
    text = method(COUNTS)
    assert "4 samples" in text and "takes 10 multiply-accumulates; counted were 2.5 accumulates." in text
    assert "15 of 20 weights are not zero" in text and "NOT COUNTED" not in text
    holes = ns.OperationCounts((ROW,), 1, ({"layer": "head", "function": "fft", "calls": 2},))
    assert "NOT COUNTED: fft in head." in method(holes)


@pytest.mark.parametrize("hardware", ["cmos-45nm", "cmos-7nm", "lemaire-45nm", "loihi", "spinnaker2"])
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
    alone = method(ns.estimate(COUNTS, dataflow="compute_only"))
    assert "All layers" not in alone and "SRAM" not in alone, "arithmetic alone has no memory"
    assert "by a multiplication and an addition" in alone, "but states with a leak and a width"
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
    assert "horowitz" in text.lower() and "1950 [1300, 2600]" in text and "above -0.01" in text
    assert "seeds (0, 1)" in method(found.results | {"seeds": [0, 1]})
    assert "called cheaper" not in ns.compare({"one": nn.Linear(4, 4)}, data).method()


def test_a_method_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="method: got a int"):
        method(3)


def test_the_method_says_what_was_constant_trained_suggested_and_not_counted() -> None:
    rows = [ROW | {"constant_rows": 12}, ROW | {"phase": "backward"}, ROW | {"layer": "out", "phase": "update"}]
    suggested = ({"layer": "head", "producer": "mask", "argument": "x"},)
    counts = ns.OperationCounts(tuple(rows), 4, ({"layer": "a", "function": "fft", "calls": 1},), suggested)
    text = method(counts)
    assert "declared constant were charged once; rows that were not computed again: fc (12)." in text
    assert "Counts include training: the backward pass and the update of the weights." in text
    assert "not declared as spikes, in head." in text and "NOT COUNTED: fft in a." in text
    assert not {"constant", "training", "declared"} & set(re.findall(r"\w+", method(COUNTS)))


def test_the_method_of_a_comparison_begins_with_its_answer_and_names_exceptions_by_model(results: dict) -> None:
    found = copy.deepcopy(results)
    found["models"][1]["layers"][0]["constant_rows"] = 7
    found["models"][2]["suggestions"] = [{"layer": "head", "producer": "mask", "argument": "x"}]
    text = method(found)
    assert text.startswith(f"Result: {ns.report.headline.answer(found)}")
    names = [one["name"] for one in found["models"]]
    assert f"{names[1]}: Inputs declared constant" in text and f"{names[2]}: Only 0 and 1 were sent" in text


def test_the_method_in_latex_is_escaped_and_cites_by_keys_of_the_bibtex() -> None:
    data = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    found = ns.compare({"a_b": nn.Linear(4, 4), "two": nn.Linear(4, 4)}, data)
    plain, text = found.method(), found.method("latex")
    assert text.isascii() and r"a\_b" in text and "a_b" not in text and r"95 \% bound" in text
    (cited,) = re.findall(r"\\cite\{([\w,]+)\}", text)
    assert set(cited.split(",")) == set(re.findall(r"^@\w+\{(\w+),", ns.citations(found), re.MULTILINE))
    assert "Horowitz (2014)" in plain and "cite" not in plain
    with pytest.raises(InputError, match="format='html'"):
        found.method("html")


def test_the_method_lists_no_constant_of_a_precision_that_no_network_used() -> None:
    data = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    text = ns.compare({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)}, data).method()
    assert re.search(r"floating-point multiplication 32 bit", text)
    assert not re.search(r"(?:multiplication|addition) (?:4|8) bit", text), "16 bits are those of narrow states"
