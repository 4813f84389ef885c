"""Spiking against dense networks as HTML: the section of a page, the page of several tasks, the command."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from protocol_results import drawn, judged, row
from test_cli import run  # noqa: F401
from test_report import Reader

from neurosparse import report
from neurosparse.report.page import MANY, definitions, selected

CHEAPEST = "cmos-45nm/cheapest dataflow per layer"


def few(task: str = "digits", joules: float = 0.5) -> dict[str, Any]:
    """One pair in one cost model."""
    models = [row("relu", "relu", {CHEAPEST: 1.0}), row("lif", "lif", {CHEAPEST: joules}, steps=4)]
    return judged(task, models, {"lif": (-0.004, 0.0, 0.004)})


@pytest.fixture(scope="module")
def page() -> str:
    return report.render(few())


def read(html: str) -> Reader:
    """The tags of a page, which are closed in order."""
    reader = Reader(html)
    assert reader.open == []
    return reader


def test_the_forest_opens_the_page_after_the_answer_and_the_frontier_comes_after_it(page: str) -> None:
    read(page)
    at = [page.index(text) for text in ("</h1>", 'id="forest-', "On static images at T", 'id="frontier0-')]
    assert at == sorted(at)
    assert "On event streams" not in page  # the task has none


def test_the_section_names_networks_losses_and_holes(page: str) -> None:
    section = page[page.index('<section id="spiking">') : page.index("<h2>Models</h2>")]
    assert '<td class="word">lif</td><td class="word">relu</td><td class="word">cross entropy</td>' in section
    assert 'class="none">not run</td>' in section and 'download="factorial.csv"' in section


def test_each_on_its_own_silicon_is_defined_with_its_chip() -> None:
    found = definitions(drawn("digits", 0, 0.02))
    assert "does not compare like with like" in found["own silicon"] and "loihi" in found
    assert "own silicon" not in definitions(few())


def test_results_without_a_pair_have_no_section() -> None:
    alone = judged("digits", [row("relu", "relu", {CHEAPEST: 1.0})], {})
    assert 'id="spiking"' not in report.render(alone)
    assert "No pair of a spiking and a dense network was run." in report.overview(alone)


def test_the_overview_has_a_group_for_each_task_and_all_clauses() -> None:
    html = report.overview(few(), few("fashion-mnist", 2.0))
    read(html)
    text = re.sub(r"<[^>]+>", " ", html)
    assert "digits" in text and "fashion-mnist" in text
    assert "On event streams no pair" in text and "No direction holds for all of them" in text
    assert "http" not in html.replace("http://www.w3.org", "")


def test_a_page_of_many_models_shows_those_that_its_answers_rest_on() -> None:
    found = drawn("digits", 5, 0.5)
    assert len(found["models"]) > 80
    part = selected(found)
    names = [model["name"] for model in part["models"]]
    assert len(names) <= MANY and found["reference"] in names
    for pair in report.forest_rows(found):
        assert set(pair["models"]) <= set(names)
    assert {verdict[side] for verdict in part["verdicts"] for side in "ab"} <= set(names)
    assert selected(few()) == few()


def test_a_page_of_many_models_keeps_all_of_them_in_a_closed_table_and_in_its_files() -> None:
    found = drawn("digits", 5, 0.12)
    models = found["models"]
    assert len(models) > MANY
    html = report.render(found)
    read(html)
    assert f"<details><summary>All {len(models)} models</summary>" in html
    for model in models:
        assert html.count(model["name"]) >= 2  # the table, the file
    head = html[html.index('<table class="matrix') :]
    assert head[: head.index("</thead>")].count('<th scope="col"><span>') < MANY


def test_the_command_prints_and_writes_one_page(run, tmp_path: Path) -> None:  # noqa: F811
    paths = []
    for task in ("digits", "nmnist"):
        paths.append(tmp_path / f"{task}.json")
        paths[-1].write_text(json.dumps(few(task)))
    code, out, _ = run("report", *paths, "--out", tmp_path / "page")
    assert code == 0 and "On static images at T >= 4" in " ".join(out.split()) and "not run" in out
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["overview.html"]
    code, out, _ = run("report", paths[0], "--json")
    assert code == 0 and json.loads(out)["rows"][0]["spiking"] == "lif"


def test_the_command_refuses_two_results_of_one_task(run, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "one.json").write_text(json.dumps(few()))
    code, _, error = run("report", tmp_path / "one.json", tmp_path / "one.json")
    assert code == 2 and "two results of 'digits'" in error and error.count("\n") == 1
    code, _, error = run("report", tmp_path / "none.json")
    assert code == 2 and error.count("\n") == 1
