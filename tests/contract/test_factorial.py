"""The factorial table, its margins and the generated sentence, on results made by hand."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import pytest
from protocol_results import drawn, judged, row

from neurosparse import report
from neurosparse.errors import InputError
from neurosparse.report.compared import compare_pair, label
from neurosparse.report.factorial import Cell, boxes, cell_of
from neurosparse.report.results import is_own
from neurosparse.report.sentence import clauses

GOOD, FEW, BAD = (-0.004, 0.0, 0.004), (-0.031, -0.01, 0.011), (-0.06, -0.05, -0.04)
ARITHMETIC, CHEAPEST, DRAM = (
    "cmos-45nm/compute_only",
    "cmos-45nm/cheapest dataflow per layer",
    "cmos-45nm/cheapest dataflow per layer, weights in DRAM",
)
LABELS = ("arithmetic only", "cheapest dataflow", "weights in DRAM")


def made(pairs: dict[str, tuple[dict, Sequence[float], Sequence[float]]], task: str = "digits") -> dict[str, Any]:
    """Results of spiking models (name -> keys, ratios to the dense network in three cost models, difference)."""
    models = [row("relu", "relu", {ARITHMETIC: 1.0, CHEAPEST: 1.0, DRAM: 1.0})]
    for name, (keys, ratios, _) in pairs.items():
        models.append(row(name, "lif", dict(zip((ARITHMETIC, CHEAPEST, DRAM), ratios, strict=True)), **keys))
    return judged(task, models, {name: difference for name, (_, _, difference) in pairs.items()})


FOUR, EIGHT, TWO = {"steps": 4}, {"steps": 8}, {"steps": 2}
LATENCY = {"steps": 8, "encoding": "latency"}
RESULTS = made(
    {"a": (FOUR, (0.5, 2.0, 3.0), GOOD), "b": (EIGHT, (0.6, 4.0, 5.0), GOOD), "c": (LATENCY, (0.1, 0.5, 2.0), FEW)}
)


@pytest.mark.parametrize(
    ("difference", "outcome"),
    [
        ((-0.0099, 0.0, 0.01), "yes"),
        ((0.02, 0.03, 0.04), "yes"),
        ((-0.01, 0.0, 0.01), "undecided"),
        ((-0.03, -0.01, -0.002), "undecided"),
        ((-0.03, -0.02, -0.011), "no"),
    ],
)
def test_the_accuracy_is_not_inferior_inferior_or_undecided(difference: tuple, outcome: str) -> None:
    found = made({"a": (FOUR, (1.0, 1.0, 1.0), difference)})
    assert compare_pair(found, "a", "relu").outcome == outcome


def test_a_verdict_on_the_pair_in_the_other_order_is_turned_round() -> None:
    found = made({"a": (FOUR, (0.5, 2.0, 3.0), (-0.004, 0.001, 0.006))})
    turned = []
    for verdict in found["verdicts"]:
        (low, mid, high), (least, mean, most) = verdict["ratio"], verdict["accuracy_difference"]
        flags = {"noninferior_a": verdict["noninferior_b"], "noninferior_b": verdict["noninferior_a"]}
        ratio = {"ratio": [1 / high, 1 / mid, 1 / low], "accuracy_difference": [-most, -mean, -least]}
        turned.append(verdict | flags | ratio | {"a": "relu", "b": "a", "verdict": "undecided"})
    one, other = compare_pair(found, "a", "relu"), compare_pair(found | {"verdicts": turned}, "a", "relu")
    assert one.difference == other.difference == (-0.004, 0.001, 0.006)
    assert [other.ratios[name] for name in LABELS] == [pytest.approx(one.ratios[name]) for name in LABELS]


def test_without_a_verdict_there_are_energies_and_no_accuracy() -> None:
    pair = compare_pair(RESULTS | {"verdicts": []}, "a", "relu")
    assert pair.outcome == "not judged" and pair.difference is None
    assert pair.ratios["cheapest dataflow"] == pytest.approx((2 * 0.9 / 1.1, 2.0, 2 * 1.1 / 0.9))


def test_cost_models_have_names_of_their_own() -> None:
    names = [
        ARITHMETIC,
        CHEAPEST,
        DRAM,
        "cmos-7nm/compute_only",
        "loihi/event_driven",
        "own silicon (loihi, cmos-45nm)",
    ]
    assert len({label(name) for name in names}) == len(names)
    assert [is_own(name) for name in names] == [*[False] * 5, True]


@pytest.mark.parametrize(
    ("config", "more", "cell"),
    [
        ({"depth": 3, "bits": 8, "sparsity": 0.9, **LATENCY}, {}, (3, 8, "latency", 8, 0.9)),
        ({"layers": ["conv 12 5 norm", "pool 2", "linear 64"], **TWO}, {}, ("2 conv", 2, "current", 32, 0.0)),
        ({"encoding": "events"}, {"latency": {"of": 15}}, (1, 15, "events", 32, 0.0)),
        ({"encoding": "events", "steps": 5}, {"latency": {"of": 5}}, (1, 5, "events", 32, 0.0)),
    ],
)
def test_the_cell_of_a_model(config: dict, more: dict, cell: tuple) -> None:
    assert cell_of({"config": {"family": "lif", **config}, **more}) == Cell(*cell)


def test_depth_is_read_from_the_layers_that_have_weights_where_the_file_does_not_set_it() -> None:
    layers = [{"layer": f"fc{i}", "kind": "linear", "weights": 9, "phase": "forward"} for i in range(4)]
    assert cell_of({"config": {"family": "lif"}, "layers": [*layers, {"layer": "n", "kind": "neuron"}]}).depth == 3


def test_holes_are_the_cells_of_the_design_without_a_pair() -> None:
    found = report.factorial(RESULTS)
    assert len(found.rows) == 3 and len(found.holes["digits"]) == 3 * 4 * 2 * 3 * 2 - 3
    assert Cell(1, 4, "current", 32, 0.0) not in found.holes["digits"]
    assert Cell(1, 4, "latency", 32, 0.0) in found.holes["digits"]
    events = report.factorial(made({"a": ({"encoding": "events", "steps": 8}, (1.0, 2.0, 3.0), GOOD)}, "nmnist"))
    assert len(events.holes["nmnist"]) == 3 * 4 * 3 * 2 - 1
    assert {cell.input for cell in events.holes["nmnist"]} == {"events"}


def test_holes_in_words_are_those_holes() -> None:
    cells = [Cell(depth, 0, "current", bits, 0.0) for depth in (1, 3) for bits in (8, 4)]
    assert boxes(cells) == ["depth 1, 3; input current; bits 8, 4; pruned no"]
    parts = ["depth 1; input current; bits 8, 4; pruned no", "depth 3; input current; bits 8; pruned no"]
    assert boxes(cells[:3]) == parts
    assert boxes([]) == []


def test_the_grid_has_a_ratio_for_each_pair_and_names_its_holes() -> None:
    text = report.factorial(RESULTS).grid().at(100)
    lines = {line.split("  ")[0]: line.split()[-8:] for line in text.splitlines()}
    assert " ".join(lines["1, current, 32-bit"]).endswith("not run not run 2.00 4.00")
    assert " ".join(lines["1, latency, 32-bit"]).endswith("not run not run not run 0.50?")
    assert "not run: depth 3, 6; input current, latency; bits 32, 8, 4; pruned no, 90 %" in text
    written = report.factorial(RESULTS).grid("markdown", "arithmetic only")
    assert "0.60" in written and "* digits, not run: depth" in written and "? the accuracy is undecided" in written


def test_the_table_states_accuracy_and_every_cost_model() -> None:
    found = report.factorial(RESULTS)
    (line,) = (line for line in found.table("markdown").splitlines() if "3 c / relu" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "digits", "3 c / relu", "1", "8", "latency", "32", "no", "\u22121.0 [\u22123.1]", "2.1", "undecided",
        "0.10?", "0.50?", "2.00?",
    ]  # fmt: skip
    records = list(csv.DictReader(io.StringIO(found.table("csv"))))
    assert [record["status"] for record in records] == ["run"] * 3 + ["not run"] * 141
    assert float(records[1]["weights in DRAM nominal"]) == 5.0 and records[1]["not inferior"] == "yes"


def test_margins_are_geometric_means_of_pairs_that_are_not_inferior() -> None:
    lines = {line.split(" |")[0]: line for line in report.factorial(RESULTS).margins("markdown").splitlines()}
    mean = math.sqrt(2.0 * 4.0)
    assert lines["| task digits"].split(" | ")[1:6] == ["3", "2", "1", "0", "141"]
    assert f"{mean:.2f} [2.00, 4.00]" in lines["| task digits"]
    assert lines["| T 4"].split(" | ")[1:6] == ["1", "1", "0", "0", "35"] and "2.00" in lines["| T 4"]
    assert lines["| input latency"].split(" | ")[1:6] == ["1", "0", "1", "0", "71"]
    assert lines["| bits 4"].split(" | ")[1:] == ["0", "0", "0", "0", "48", "–", "–", "– |"]


def test_two_results_of_one_task_and_unknown_formats_are_refused() -> None:
    with pytest.raises(InputError, match="two results of 'digits'"):
        report.factorial(RESULTS, RESULTS)
    with pytest.raises(InputError, match="no results"):
        report.factorial()
    with pytest.raises(InputError, match="'markdown', 'csv'"):
        report.factorial(RESULTS).table("html")
    with pytest.raises(InputError, match="arithmetic only"):
        report.factorial(RESULTS).grid(cost_model="nonesuch")


def static(ratios: dict[str, Sequence[float]], difference: Sequence[float] = GOOD) -> str:
    """The clause of static images with many steps, from the ratios of each pair."""
    steps = dict(zip(ratios, (4, 8, 16, 32), strict=False))
    found = made({name: ({"steps": steps[name]}, of, difference) for name, of in ratios.items()})
    return clauses(report.factorial(found))[0].text


def test_the_clause_counts_pairs_and_names_rows_and_what_turns_it() -> None:
    assert static({"a": (0.5, 2.0, 3.0), "b": (0.6, 4.0, 5.0)}) == (
        "On static images at T >= 4 the spiking networks need 2.00 to 4.00 times the energy of their dense twins at "
        "the cheapest dataflow, more in all 2 pairs whose accuracy is not inferior. The direction is the same in 2 of "
        "3 cost models; turned by arithmetic only (0.50 to 0.60). Rows 1-2 (digits)."
    )


def test_pairs_below_the_reference_are_left_out_and_shared_trainings_counted() -> None:
    one = {"steps": 4, "sparsity": 0.9}
    found = made({"a": (FOUR, (1.0, 2.0, 1.0), GOOD), "a8": (FOUR | {"state_bits": 16}, (1.0, 3.0, 1.0), GOOD)})
    assert "in all 2 pairs whose accuracy is not inferior (1 training)" in clauses(report.factorial(found))[0].text
    pruned = row("pruned", "relu", {ARITHMETIC: 1.0, CHEAPEST: 1.0, DRAM: 1.0}, sparsity=0.9)
    spiking = row("s", "lif", {ARITHMETIC: 1.0, CHEAPEST: 9.0, DRAM: 1.0}, **one)
    found = made({"a": (FOUR, (1.0, 2.0, 1.0), GOOD)})
    found["models"] += [pruned, spiking]
    template = found["verdicts"][0]
    for a, b, difference in (("s", "pruned", GOOD), ("pruned", "relu", BAD)):
        found["verdicts"].append(template | {"a": a, "b": b, "accuracy_difference": list(difference)})
    text = clauses(report.factorial(found))[0].text
    assert "needs 2.00 times" in text and "1 with both inferior to the reference" in text


def test_the_clause_turns_with_the_ratios() -> None:
    less = static({"a": (0.5, 0.25, 3.0), "b": (0.6, 0.5, 5.0)})
    assert "need 0.25 to 0.50 times" in less and "less in all 2 pairs" in less
    assert "2 of 3 cost models; turned by weights in DRAM (3.00 to 5.00)" in less
    same = static({"a": (0.5, 0.25, 0.3)})
    assert "network needs 0.25 times the energy of its dense twin" in same and "less in the one pair" in same
    assert "the same in all 3 cost models. Row 1 (digits)." in same


def test_the_clause_names_no_direction_where_pairs_differ() -> None:
    text = static({"a": (0.5, 2.0, 3.0), "b": (0.6, 0.5, 5.0), "c": (0.2, 1.0, 0.5)})
    assert "less in 1, more in 1, open within the range of the constants in 1 of the 3 pairs" in text
    assert "No direction holds for all of them; in all 3 pairs it is less with arithmetic only (0.20 to 0.60)." in text


def test_a_cost_model_in_which_pairs_differ_leaves_the_direction_open() -> None:
    text = static({"a": (2.0, 2.0, 3.0), "b": (0.5, 4.0, 5.0)})
    assert "2 of 3 cost models; left open by arithmetic only (0.50 to 2.00)" in text


def test_a_clause_without_a_pair_says_why() -> None:
    texts = [clause.text for clause in clauses(report.factorial(RESULTS))]
    assert texts[1] == (
        "On static images at T <= 2 or with latency coding the one pair is not shown to have an accuracy that is not "
        "inferior: with these samples, a loss of up to 3.1 points could not be excluded. Row 3 (digits)."
    )
    assert texts[2].endswith("was run: no task has event streams.")
    assert "none of 2 pairs is shown to have" in static({"a": (1, 1, 1), "b": (1, 1, 1)}, BAD)
    assert "2 inferior. Rows 1-2 (digits)." in static({"a": (1, 1, 1), "b": (1, 1, 1)}, BAD)


def test_the_sentence_covers_tasks_and_keeps_pairs_of_other_inputs_apart() -> None:
    events = made({"e": ({"encoding": "events", "steps": 8}, (0.2, 0.4, 0.6), GOOD)}, "nmnist")
    found = clauses(report.factorial(RESULTS, events))
    assert [clause.rows for clause in found] == [(1, 2), (), (4,)]
    assert report.sentence(RESULTS, events) == " ".join(clause.text for clause in found)
    assert "0.40 times" in found[2].text and "Row 4 (nmnist)." in found[2].text


def test_each_on_its_own_silicon_is_never_counted_with_the_cost_models() -> None:
    found = drawn("digits", 0, 0.2)
    table = report.factorial(found)
    assert table.cost_models[-1] == "own silicon (loihi)"
    text = clauses(table)[0].text
    assert "of 5 cost models" in text and "Each on its own silicon, which compares two chips as well:" in text
    (first,) = (row for row in report.forest_rows(found) if row["name"] == "32-bit, dense")
    assert list(first["own"]) == ["own silicon (loihi)"] and len(first["ratios"]) == 5


def test_rows_of_a_forest_are_champions_by_class() -> None:
    small = row("relu-8", "relu", {CHEAPEST: 0.5}, bits=8)
    spiking = row("lif-8", "lif", {CHEAPEST: 0.25}, bits=8, steps=2, loss="squared")
    found = judged("digits", [row("relu", "relu", {CHEAPEST: 1.0}), small, spiking], {"lif-8": GOOD})
    (only,) = report.forest_rows(found)
    assert (only["group"], only["name"], only["models"]) == ("digits", "8-bit, dense", ("lif-8", "relu-8"))
    assert only["losses"] == ("squared", "cross_entropy") and only["outcome"] == "yes"
    assert only["ratios"]["cheapest dataflow"] == pytest.approx((0.45, 0.5, 0.55))
