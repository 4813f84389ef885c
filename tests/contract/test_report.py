"""The report: complete, self-contained, with missing keys named, and names of models as text only."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from neurosparse import report
from neurosparse.errors import InputError

VOID = {"meta", "br", "img", "link", "input", "hr"}


def few(results: dict[str, Any]) -> dict[str, Any]:
    """The same with two models and one scenario: pictures take time."""
    scenario = "cmos-45nm/event_driven"
    kept = [copy.deepcopy(c) for c in results["models"] if c["name"] in ("relu", "lif")]
    for c in kept:
        c["energy"] = {scenario: c["energy"][scenario]}
    verdicts = [v for v in results["verdicts"] if (v["a"], v["b"], v["scenario"]) == ("relu", "lif", scenario)]
    return {**results, "models": kept, "verdicts": verdicts}


@pytest.fixture(scope="module")
def html(results: dict[str, Any]) -> str:
    return report.render(results)


class Reader(HTMLParser):
    """Keeps tags, ids, attributes and text, and checks that every element is closed in order."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_is_well_formed_and_its_ids_are_unique(html: str) -> None:
    page = Reader(html)
    assert page.open == []
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 100
    inner = {value[1:] for name, value in page.attributes if name.endswith("href") and value and value[0] == "#"}
    clips = set(re.findall(r"url\(#([^)]*)\)", html))
    assert inner | clips <= set(ids)


def test_the_page_holds_every_contestant_scenario_source_and_the_way_to_repeat_it(html: str, results: dict) -> None:
    text = Reader(html).text
    for c in results["models"]:
        assert text.count(c["name"]) >= 4
    for scenario in results["models"][0]["energy"]:
        assert scenario.split("/")[1].replace("_", " ") in text
    facts = [a["source"] for a in results["assumptions"]]
    facts += [sentence.replace("_", " ") for sentence in results["dataflows"].values()]
    facts += [results["command"], "2.13.0", "some processor", "0, 1, 2", "1077", "estimates, not measurements"]
    assert [fact for fact in facts if fact not in text] == []


def test_the_page_loads_nothing_and_its_one_script_is_at_its_end(html: str) -> None:
    page = Reader(html)
    assert not {"iframe", "link", "img", "object", "embed"} & set(page.tags)
    assert page.tags.count("script") == 1 and page.tags[-1] == "script"
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert "http" not in html and "@import" not in html and "currentColor" in html
    links = [value for name, value in page.attributes if name in ("href", "xlink:href") and value]
    assert {value.partition(",")[0] for value in links if value[:1] != "#"} == {"data:text/csv;charset=utf-8"}


def test_the_same_results_give_the_same_page(html: str, results: dict) -> None:
    assert report.render(copy.deepcopy(results)) == html


EVIL = '<script>alert("x")</script>&"\' $\\frac$ </svg><img src=x onerror=y>'


def test_names_are_text_and_never_markup(results: dict) -> None:
    evil = json.loads(json.dumps(few(results)).replace('"lif"', json.dumps(EVIL)))
    for key in ("note", "config"):
        evil["models"][0][key] = EVIL if key == "note" else {EVIL: EVIL}
    evil["title"] = evil["command"] = evil["assumptions"][0]["source"] = evil["references"][0] = EVIL
    evil["models"][1]["uncounted"] = [{"layer": EVIL, "function": "lstm", "calls": 1}]
    page = Reader(report.render(evil))
    assert page.open == []
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert " ".join(EVIL.split()) in page.text
    assert "not counted" in page.text


MINIMAL = {"task": "t", "models": [{"name": "one", "family": "x", "accuracy": {"mean": 0.5}, "energy": {}}]}
OPTIONAL = (
    *("title", "command", "created", "reference", "margin", "versions", "machine", "seeds", "split", "budget"),
    *("verdicts", "assumptions", "dataflows", "references"),
)
OPTIONAL_OF_MODEL = (
    *("note", "config", "weight_bits", "steps", "validation_accuracy", "correct", "sparsity", "operations", "bytes"),
    *("layers", "training", "seconds_per_sample", "raster", "uncounted"),
)


def test_these_lists_hold_every_optional_key(results: dict) -> None:
    assert {*OPTIONAL, *MINIMAL} == set(results)
    assert {*OPTIONAL_OF_MODEL, *MINIMAL["models"][0]} == set(results["models"][0])


def test_the_least_there_can_be_still_makes_a_page_and_a_table() -> None:
    assert "one" in Reader(report.render(MINIMAL)).text
    assert "Undecided" in report.render(MINIMAL)
    assert shown(MINIMAL)


@pytest.mark.parametrize("key", OPTIONAL)
def test_a_missing_optional_key_leaves_a_page(results: dict, key: str) -> None:
    less = few(results)
    del less[key]
    assert Reader(report.render(less)).open == []


@pytest.mark.parametrize("key", OPTIONAL_OF_MODEL)
def test_a_missing_or_null_optional_key_of_a_contestant_leaves_a_page(results: dict, key: str) -> None:
    less = few(results)
    one, two = less["models"]
    del one[key]
    two[key] = None
    page = Reader(report.render(less))
    assert page.open == [] and one["name"] in page.text and two["name"] in page.text


BAD = {
    "models": lambda r: r.pop("models"),
    "task": lambda r: r.update(task=3),
    "models[1].accuracy.mean": lambda r: r["models"][1]["accuracy"].update(mean="high"),
    "models[0].accuracy": lambda r: r["models"][0].pop("accuracy"),
    "models[2].energy.cmos-45nm/no_reuse.low": lambda r: r["models"][2]["energy"]["cmos-45nm/no_reuse"].update(
        low=float("nan")
    ),
    "models[2].energy.cmos-45nm/no_reuse:": lambda r: r["models"][2]["energy"]["cmos-45nm/no_reuse"].update(low=1.0),
    "models[6].raster": lambda r: r["models"][6]["raster"].update(unit=[1]),
    "verdicts[0]": lambda r: r["verdicts"][0].update(a="nobody"),
    "verdicts[0].ratio": lambda r: r["verdicts"][0].update(ratio=[1, 2]),
    "reference": lambda r: r.update(reference="nobody"),
    "seeds[1]": lambda r: r.update(seeds=[0, True]),
}


@pytest.mark.parametrize("key", BAD)
def test_a_malformed_key_is_refused_by_name(results: dict, key: str, tmp_path: Path) -> None:
    bad = copy.deepcopy(results)
    BAD[key](bad)
    for use in (report.render, report.table, report.markdown, lambda r: report.save(r, tmp_path / "out")):
        with pytest.raises(InputError, match=re.escape(f"results: {key}")):
            use(bad)
    assert not (tmp_path / "out").exists()


def test_repeated_names_are_refused(results: dict) -> None:
    with pytest.raises(InputError, match="repeated names"):
        report.check(results | {"models": results["models"][:1] * 2})


def test_saved_results_come_back_and_leave_nothing_else(results: dict, tmp_path: Path) -> None:
    path = report.save(few(results), tmp_path / "deep" / "folder")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.html", "results.json"]
    assert report.load(path.parent / "results.json") == few(results)


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    odd = copy.deepcopy(MINIMAL)
    odd["models"][0]["config"] = {"model": object()}
    with pytest.raises(InputError, match=re.escape("report.save")):
        report.save(odd, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b'{"task": "digits", "cont', b"\xff\xfe\x00", b"[]", b"{}"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(InputError):
        report.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="got .*expected"):
        report.load(tmp_path / "none.json")


def shown(results: dict[str, Any], width: int = 120) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(report.table(results))
    return capture.get()


def test_markup_in_a_name_is_printed_as_it_is(results: dict) -> None:
    named = copy.deepcopy(MINIMAL)
    named["models"][0]["name"] = "[red]x[/red]"
    assert "[red]x[/red]" in shown(named)
