"""The table of a comparison for a terminal: it fits, nothing loses its unit, and `print` shows text."""

import copy
import json
import re
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse import report
from neurosparse.errors import InputError
from neurosparse.report.columns import TextTable
from neurosparse.report.headline import answer
from neurosparse.report.table import columns, families, ratio, table

LONG = "a-network-with-a-name-of-more-than-eighty-characters_that-nobody-would-type-twice-in-his-life"
UNIT = re.compile(r"\d\.?(?:…|[kMG]\b| ?[fpnµm]J)")


@pytest.fixture
def long(results: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(results).replace('"lif-latency"', json.dumps(LONG)))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_the_table_fits_the_terminal_and_units_stand_in_the_head_alone(long: dict, width: int) -> None:
    text = table(long).at(width)
    assert max(map(len, text.splitlines())) <= width
    body = text.split("model", 1)[1]
    assert not UNIT.search(body) and "…" not in text
    assert "(%)" in body and "not measurements" in " ".join(text.split())
    assert "(nJ)" in body or width < 60
    whole = re.sub(r"\s+", "", text)
    assert all(re.sub(r"\s+", "", one["name"])[:8] in whole for one in long["models"])


def test_the_answer_stands_first(results: dict) -> None:
    text = " ".join(table(results).at(80).split())
    assert text.startswith(f"{results['title']}. {answer(results)}")


def test_a_wider_terminal_shows_what_a_narrow_one_shows_and_more(results: dict) -> None:
    heads = []
    for width in (50, 60, 80, 100, 120, 160):
        block = table(results).at(width).split("\n\n")[-1]
        heads.append(set(re.findall(r"[a-z]+", block.split("ReLU")[0])) | set(re.findall(r"\((\S+)\)", block)))
    assert all(one <= other for one, other in pairwise(heads))
    assert {"accuracy", "energy", "ratio", "operations", "time"} <= heads[-1]


def test_each_column_has_one_unit_and_its_numbers_are_those_of_the_results(results: dict) -> None:
    models = [model for some in families(results).values() for model in some]
    found = {column.key: column for column in columns(results)}
    accuracy, energy, operations = found["accuracy"], found["cmos-45nm/no_reuse"], found["operations"]
    assert (accuracy.unit, energy.unit, operations.unit) == ("%", "nJ", "k")
    for i, model in enumerate(models):
        nominal = model["energy"]["cmos-45nm/no_reuse"]["nominal"]
        assert float(energy.shown(energy.values[i]).replace(",", "")) == pytest.approx(1e9 * nominal, rel=0.006)
        work = sum(model["operations"][name]["mean"] for name in ("effective_macs", "effective_acs"))
        assert float(operations.shown(operations.values[i]).replace(",", "")) == pytest.approx(work / 1e3, rel=0.006)
        assert accuracy.shown(accuracy.values[i]) == f"{100 * model['accuracy']['mean']:.1f}"


def test_models_are_grouped_by_family_and_sorted_by_energy(results: dict) -> None:
    grouped = families(results)
    joules = {f: [m["energy"]["cmos-45nm/no_reuse"]["nominal"] for m in models] for f, models in grouped.items()}
    assert all(energies == sorted(energies) for energies in joules.values())
    assert [min(energies) for energies in joules.values()] == sorted(min(energies) for energies in joules.values())
    assert sum(len(models) for models in grouped.values()) == len(results["models"])


def test_the_ratio_is_a_column_of_its_own_with_the_interval_of_the_verdict(results: dict) -> None:
    models = [model for some in families(results).values() for model in some]
    (column,) = [column for column in columns(results) if column.key == "ratio"]
    base = next(model for model in models if model["name"] == "relu")["energy"]["cmos-45nm/no_reuse"]["nominal"]
    verdicts = {(v["a"], v["b"], v["scenario"]): v for v in results["verdicts"]}
    for value, model in zip(column.values, models, strict=True):
        assert value.mean == pytest.approx(model["energy"]["cmos-45nm/no_reuse"]["nominal"] / base)
        verdict = verdicts.get(("relu", model["name"], "cmos-45nm/no_reuse"))
        if verdict:
            assert (value.low, value.high) == pytest.approx((1 / verdict["ratio"][2], 1 / verdict["ratio"][0]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.99996, "0.99996"),
        (1.0004, "1.0004"),
        (1, "1"),
        (0.5, "0.50"),
        (12.4, "12.4"),
        (0.0123, "0.012"),
        (2e4, "20,000"),
    ],
)
def test_a_ratio_is_never_rounded_to_one(value: float, text: str) -> None:
    assert ratio(value) == text


@pytest.mark.parametrize("format", [None, "markdown", "latex", "latex-wide"])
def test_columns_are_chosen_by_name(results: dict, format: str | None) -> None:
    keys = ["MACs", "loihi/event_driven", "time"]
    text = str(ns.Comparison(results).table(format, columns=keys))
    shown = text[text.index("model") :] if format == "markdown" else text[text.rindex("\nmodel") :]
    assert "MACs" in shown and "time" in shown and "accuracy" not in shown
    with pytest.raises(InputError, match="columns=.*'accuracy'"):
        ns.Comparison(results).table(format, columns=["beauty"])


def test_csv_has_every_number_and_no_choice(results: dict) -> None:
    with pytest.raises(InputError, match="every number"):
        ns.Comparison(results).table("csv", columns=["time"])


def test_what_cannot_run_is_said(results: dict) -> None:
    (column,) = columns(results, ["loihi/event_driven"])
    said = {column.shown(value) for value in column.values if value.mean is None}
    assert said == {"cannot run"}


def test_pruned_networks_have_their_dense_size_beside_the_weights_that_are_left(results: dict) -> None:
    for model in results["models"]:
        pruned = "pruned" in model["name"]
        row = {"layer": "a", "kind": "linear", "weights": 1000, "nonzero_weights": 100 if pruned else 1000}
        tied = {"layer": "b", "kind": "linear", "weights": 1000, "nonzero_weights": 100 if pruned else 1000}
        tied |= {"shared_weights": 1000, "shared_nonzero_weights": 100 if pruned else 1000}
        backward = row | {"phase": "backward"}
        model["layers"] = [row, tied, row | {"kind": "matmul"}, backward]
    (column,) = columns(results, ["weights"])
    names = [model["name"] for some in families(results).values() for model in some]
    cells = dict(zip(names, map(column.cell, column.values), strict=True))
    assert (cells["relu"], cells["relu-pruned"], column.unit) == ("1.00", "0.100 of 1.00", "k")


def two() -> ns.Comparison:
    torch.manual_seed(0)
    data = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    return ns.compare({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)}, data)


def test_print_is_short_and_reads_and_repr_is_one_line() -> None:
    found = two()
    assert len(str(found).splitlines()) <= 15 and answer(found.results) in " ".join(str(found).split())
    assert (
        repr(found)
        == f"Comparison('comparison': 2 models, {len(found.results['models'][0]['energy'])} scenarios, reference 'one')"
    )
    assert "object at" not in str(found.table()) and "accuracy" in str(found.table())


def test_print_of_many_models_shows_some_and_says_so(results: dict) -> None:
    text = str(ns.Comparison(results))
    assert len(text.splitlines()) <= 22 and "... 10 more; .table() has them all." in text


def test_a_notebook_shows_the_answer_and_the_table_and_not_the_page(results: dict) -> None:
    bad = copy.deepcopy(results)
    bad["title"] = "<b>&"
    html = ns.Comparison(bad)._repr_html_()
    assert len(html) < 8000 and "&lt;b&gt;&amp;" in html and answer(results) in html
    assert html.count("<tr>") == 1 + len(results["models"]) + len(families(results))


def test_a_wide_table_without_importance_continues_below() -> None:
    rows = [["model", *(f"column {i}" for i in range(12))], ["a", *("1234567" for _ in range(12))]]
    text = report.as_table("wide", rows).at(50)
    assert max(map(len, text.splitlines())) <= 50 and text.count("model") > 1
    assert re.findall(r"column", text) == ["column"] * 12


def test_letters_of_double_width_and_combining_marks_keep_columns_straight() -> None:
    lines = TextTable((("model", "x"), ("中文", "1"), ("e\u0301te", "1"), ("ab", "1"))).at(40).splitlines()
    cells = [sum(2 if c in "中文" else c != "\u0301" for c in line) for line in lines]
    assert len(set(cells)) == 1
