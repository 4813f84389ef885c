"""Tables of drawn comparisons: they fit, keep their units, and their numbers are those of the results."""

import csv
import io
import math
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from neurosparse.report.csv_files import csv_files
from neurosparse.report.page import matrix, rows_of
from neurosparse.report.paper import latex
from neurosparse.report.results import check
from neurosparse.report.table import columns, families, markdown, ratio, table

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co")), min_size=1, max_size=40)
NAMES = WORDS.map(lambda name: " ".join(name.split())).filter(bool)
POSITIVE = st.floats(1e-15, 1e3)
SCENARIOS = ("cmos-45nm/compute_only", "cmos-45nm/cheapest dataflow per layer", "cmos-7nm/no_reuse, weights in DRAM")
SCENARIOS += ("loihi/event_driven", "plain")


@st.composite
def stats(draw: st.DrawFn, values: st.SearchStrategy[float] = POSITIVE) -> dict[str, float | None]:
    mean = draw(values)
    return {"mean": mean, "sd": draw(st.none() | st.floats(0, 0.5).map(lambda part: part * mean))}


@st.composite
def reports(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.integers(0, 5)) == 0:
        return {"unsupported": "it cannot multiply"}
    nominal, spread = draw(POSITIVE), draw(st.sampled_from([1.0, 1.3, 30.0]))
    return {"low": nominal / spread, "nominal": nominal, "high": nominal * spread, "sd": draw(st.none() | POSITIVE)}


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    shown = draw(st.lists(st.sampled_from(SCENARIOS), max_size=4, unique=True))
    models = []
    for name in names:
        energy = {scenario: draw(reports()) for scenario in shown}
        model = {"name": name, "family": draw(st.sampled_from(["ReLU", "LIF", "mine", name]))}
        model |= {"accuracy": draw(stats(st.floats(0, 1))), "energy": energy}
        if draw(st.booleans()):
            model["operations"] = {"effective_macs": draw(stats(st.floats(0, 1e12)))}
        if draw(st.booleans()):
            model["seconds_per_sample"] = draw(stats())
        if draw(st.booleans()):
            weights = draw(st.integers(1, 10**9))
            model["layers"] = [{"layer": "a", "kind": "linear", "weights": weights, "nonzero_weights": weights // 3}]
        models.append(model)
    base = names[0]
    verdicts = [pair(draw, model, models[0], scenario) for model in models[1:] for scenario in shown]
    return check({"task": draw(NAMES), "reference": base, "margin": 0.01, "models": models, "verdicts": verdicts})


def pair(draw: st.DrawFn, model: dict[str, Any], base: dict[str, Any], scenario: str) -> dict[str, Any]:
    found = {"a": model["name"], "b": base["name"], "scenario": scenario, "reason": "", "bits": None}
    found |= {"noninferior_a": True, "noninferior_b": True, "accuracy_difference": [-0.002, 0.001, 0.004]}
    sides = [one["energy"][scenario].get("nominal") for one in (model, base)]
    if None in sides:
        return found | {"ratio": None, "verdict": "unsupported"}
    low, mid, high = (factor * sides[0] / sides[1] for factor in (0.9, 1.0, 1.1))
    verdict = "a cheaper" if high < 1 else "b cheaper" if low > 1 else "undecided"
    return found | {"ratio": [low, mid, high], "verdict": verdict}


@settings(max_examples=10, deadline=None)
@given(comparisons(), st.integers(40, 160))
def test_a_terminal_table_fits_and_its_cells_have_no_unit(results: dict[str, Any], width: int) -> None:
    found = table(results)
    assert max(map(cell_len, found.at(width).splitlines())) <= width
    for row in found.rows[1:]:
        for cell in row[1:]:
            assert re.fullmatch(r"–|cannot run|[\d.,e+-]+(?: ± [\d.,e+-]+)?(?: of [\d.,e+-]+)?", cell), cell


@settings(max_examples=10, deadline=None)
@given(comparisons())
def test_numbers_of_a_column_are_those_of_the_results_in_its_unit(results: dict[str, Any]) -> None:
    models = [model for some in families(results).values() for model in some]
    for column in columns(results):
        for value, model in zip(column.values, models, strict=True):
            if value.mean is None:
                continue
            shown = float(column.shown(value).replace(",", ""))
            assert math.isclose(shown, value.mean / column.scale, rel_tol=0.051, abs_tol=0.051)
            if column.key in model["energy"]:
                assert value.mean == model["energy"][column.key]["nominal"]


@settings(max_examples=10, deadline=None)
@given(comparisons())
def test_latex_is_ascii_balanced_and_rectangular_whatever_the_names(results: dict[str, Any]) -> None:
    for wide in (False, True):
        text = latex(results, wide=wide)
        bare = re.sub(r"\\[\\{}&%#$_]", "", text.replace(r"\\" + "\n", "\n"))
        assert text.isascii() and bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
        body = [line for line in text.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
        assert len({len(re.findall(r"(?<!\\) & ", line)) for line in body}) == 1


@settings(max_examples=10, deadline=None)
@given(comparisons())
def test_markdown_is_rectangular_and_csv_has_the_very_numbers(results: dict[str, Any]) -> None:
    lines = [len(re.findall(r"(?<!\\)\|", line)) for line in markdown(results, spread=True).split("\n")]
    assert len(set(lines)) == 1 and len(lines) == 2 + len(results["models"])
    files = csv_files(results)
    rows = list(csv.DictReader(io.StringIO(files["models"], newline="")))
    for row, model in zip(rows, results["models"], strict=True):
        assert row["name"] == model["name"] and float(row["accuracy mean"]) == model["accuracy"]["mean"]
        for scenario, report in model["energy"].items():
            found = row[f"energy {scenario} nominal"] if "nominal" in report else ""
            assert (float(found) if found else None) == report.get("nominal")


@settings(max_examples=10, deadline=None)
@given(comparisons())
def test_the_matrix_has_each_scenario_once_and_no_ratio_that_is_rounded_to_one(results: dict[str, Any]) -> None:
    found = matrix(results)
    listed = [name for group in rows_of(results) for name in group]
    assert sorted(listed) == sorted({name for model in results["models"] for name in model["energy"]})
    for row, (scenario, *_) in zip(found["rows"], rows_of(results), strict=True):
        for name, cell in zip(found["models"], row["cells"], strict=True):
            sides = [
                m["energy"][scenario].get("nominal")
                for m in results["models"]
                if m["name"] in (name, results["reference"])
            ]
            assert bool(cell["text"]) == (None not in sides)
            assert cell["text"] != "1" or sides[0] == sides[1]
            assert cell["sign"]


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-9, 1e9))
def test_a_ratio_is_on_its_side_of_one(value: float) -> None:
    shown = float(ratio(value).replace(",", ""))
    assert math.isclose(shown, value, rel_tol=0.051)
    assert (shown > 1) == (value > 1 + 1e-14) or abs(value - 1) < 1e-13
    assert shown != 1 or abs(value - 1) < 1e-13
