"""The page of a comparison: one small table, one matrix of verdicts, definitions, numbers as files, any width."""

import base64
import copy
import csv
import io
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest

from neurosparse import report
from neurosparse.report.csv_files import csv_files, link
from neurosparse.report.headline import answer
from neurosparse.report.page import SIGNS, matrix, pairs_alike, rows_of, sentences
from neurosparse.report.table import columns, families, ratio

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Tree(HTMLParser):
    """Tables as rows of (tag, class, text) cells, headings, links and text by the nearest section."""

    def __init__(self, page: str):
        super().__init__()
        self.tables: list[dict[str, Any]] = []
        self.links: dict[str, str] = {}
        self.lists: list[tuple[str, str]] = []
        self.order: list[tuple[str, str]] = []
        self.stack: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "table":
            self.tables.append({"class": found.get("class") or "", "rows": []})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
        elif tag in ("th", "td") and self.tables:
            self.tables[-1]["rows"][-1].append({"tag": tag, **found, "text": ""})
        elif tag in ("h1", "h2", "dt", "dd", "summary", "figcaption"):
            self.order.append((tag, ""))
        elif tag == "a" and found.get("download"):
            self.links[found["download"] or ""] = found["href"] or ""
        if tag not in VOID:
            self.stack.append((tag, found))

    def handle_endtag(self, tag: str) -> None:
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.stack]
        for cell in ("th", "td"):
            if cell in tags and "svg" not in tags:
                self.tables[-1]["rows"][-1][-1]["text"] += data
        for tag in ("h1", "h2", "dt", "dd", "summary", "figcaption"):
            if tag in tags and "svg" not in tags:
                self.order[-1] = (tag, self.order[-1][1] + data)


@pytest.fixture(scope="module")
def html(results: dict[str, Any]) -> str:
    return report.render(results)


@pytest.fixture(scope="module")
def page(html: str) -> Tree:
    return Tree(html)


def test_the_answer_is_the_first_thing_and_one_heading(page: Tree, results: dict) -> None:
    first, *rest = sentences(answer(results))
    assert page.order[0] == ("h1", first) and first.count(". ") == 0
    assert " ".join([first, *rest]) == answer(results)
    assert [tag for tag, _ in page.order].count("h1") == 1


def test_one_small_table_of_at_most_eight_columns_with_one_unit_in_each_head(page: Tree, results: dict) -> None:
    (small,) = [table for table in page.tables if "sortable" in table["class"]]
    head, *rows = small["rows"]
    assert 5 <= len(head) <= 8
    shown = columns(results)
    for cell, column in zip(head[1:], shown, strict=True):
        assert " ".join(cell["text"].split()) == f"{column.head} {column.unit}".strip()
    units = re.compile(r"[\d.](?: |\u00a0)?(?:[fpnµm]?J|[kMG]|[mµn]?s|%)(?!\w)")
    body = [row for row in rows if len(row) > 1]
    assert len(body) == len(results["models"])
    assert not [cell["text"] for row in body for cell in row[1:] if units.search(cell["text"])]


def test_rows_are_grouped_by_family_and_the_reference_is_marked(page: Tree, html: str, results: dict) -> None:
    (small,) = [table for table in page.tables if "sortable" in table["class"]]
    heads = [row[0]["text"].split(" ", 1)[1].strip() for row in small["rows"] if len(row) == 1]
    assert heads == list(families(results))
    order = [row[0]["text"].split()[0] for row in small["rows"][1:] if len(row) > 1]
    assert order == [model["name"] for some in families(results).values() for model in some]
    assert len(re.findall(r'<tr class="reference"><th scope="row">relu <small>reference', html)) == 1


def test_the_first_column_is_sticky_in_every_table(html: str) -> None:
    rule = re.search(r"\nth:first-child \{([^}]*)\}", html)
    assert rule and "position: sticky" in rule[1] and "left: 0" in rule[1] and "background: var(--paper)" in rule[1]
    assert len(re.findall(r'<div class="scroll(?: fit)?"><table', html)) == html.count("<table")
    phone = html[html.index("@media (max-width: 40rem)") :]
    width = re.search(r"th:first-child \{[^}]*max-width: ([\d.]+)rem", phone)
    assert width and 16 * float(width[1]) <= 0.4 * 400


def test_one_matrix_has_a_row_for_each_independent_scenario_and_a_column_for_each_model(
    page: Tree, results: dict
) -> None:
    (table,) = [table for table in page.tables if "matrix" in table["class"]]
    head, *rows = table["rows"]
    assert [cell["text"] for cell in head[1:]] == matrix(results)["models"]
    assert len(rows) == len(rows_of(results))


def test_each_cell_has_the_ratio_and_a_sign_so_that_colour_alone_says_nothing(page: Tree, results: dict) -> None:
    (table,) = [table for table in page.tables if "matrix" in table["class"]]
    kinds = set()
    for row in table["rows"][1:]:
        for cell in row[1:]:
            kinds.add(cell["class"])
            assert cell["text"].split()[:1] == ([SIGNS[cell["class"]]] if SIGNS[cell["class"]] else [])
            assert cell["class"] in ("cannot", "alone") or re.search(r"\d", cell["text"])
    assert {"cheaper", "dearer", "inferior", "cannot", "alone"} <= kinds
    assert len(set(SIGNS.values())) == len(SIGNS)


def test_the_matrix_says_what_the_verdicts_say(results: dict) -> None:
    found = matrix(results)
    cells = {
        (row["name"], name): cell
        for row in found["rows"]
        for name, cell in zip(found["models"], row["cells"], strict=True)
    }
    for verdict in results["verdicts"]:
        if "relu" not in (verdict["a"], verdict["b"]) or not verdict["ratio"] or "loihi" in verdict["scenario"]:
            continue
        other = verdict["b"] if verdict["a"] == "relu" else verdict["a"]
        flow = verdict["scenario"].split("/")[1].replace("_", " ")
        cell = cells[f"{flow}, cmos-45nm", other]
        mid = verdict["ratio"][1] if verdict["a"] == other else 1 / verdict["ratio"][1]
        assert cell["text"] == ratio(pytest.approx(mid).expected)
        side = "a" if verdict["a"] == other else "b"
        reasons = {
            "energies overlap": {"open"},
            "too few samples": {"few"},
            "accuracy inferior": {"inferior", "accurate"},
        }
        decided = {"cheaper", "better"} if verdict["verdict"] == f"{side} cheaper" else {"dearer", "worse"}
        assert cell["kind"] in reasons.get(verdict["reason"], decided)


def test_scenarios_that_agree_for_every_model_are_one_row(results: dict) -> None:
    twice = copy.deepcopy(results)
    for model in twice["models"]:
        model["energy"]["cmos-45nm/again"] = model["energy"]["cmos-45nm/no_reuse"]
    assert ("cmos-45nm/no_reuse", "cmos-45nm/again") in rows_of(twice)
    assert len(rows_of(twice)) == len(rows_of(results))
    assert any(row["same"] == ["again, cmos-45nm"] for row in matrix(twice)["rows"])


def test_the_terms_of_the_scenarios_are_defined_directly_under_the_matrix(html: str, results: dict) -> None:
    after = html[html.index('<table class="matrix') :]
    terms = after[after.index("</table>") : after.index("</section>")]
    for name, sentence in results["dataflows"].items():
        assert f"<dt>{name.replace('_', ' ')}</dt><dd>{sentence.replace('_', ' ')}</dd>" in terms
    assert "<dt>cmos-45nm</dt>" in terms and "<dt>loihi</dt>" in terms


@pytest.mark.parametrize("near", [1.0001, 0.9996, 1.002])
def test_a_verdict_close_to_one_is_not_written_as_once_as_cheap(results: dict, near: float) -> None:
    close = copy.deepcopy(results)
    base = close["models"][0]["energy"]
    close["models"][2]["energy"] = {
        name: {key: near * value for key, value in one.items()} if "nominal" in one else one
        for name, one in base.items()
    }
    texts = [(cell["text"], cell["title"]) for row in matrix(close)["rows"] for cell in row["cells"]]
    assert not [text for text, title in texts if text == "1" or re.search(r": 1(?:\.0*)?(?: |;|$)", title)]


def test_every_family_is_in_the_legend_of_the_frontier(html: str, results: dict) -> None:
    pictures = re.findall(r'<svg role="img" aria-label="Accuracy over.*?</svg>', html, re.DOTALL)
    assert len(pictures) == 2
    for picture in pictures:
        legend = picture[picture.index('-legend_1"') :]
        assert all(re.search(rf">{re.escape(family)}<", legend) for family in families(results))


def test_measured_time_has_its_spread(page: Tree, html: str) -> None:
    (small,) = [table for table in page.tables if "sortable" in table["class"]]
    times = [row[-1]["text"] for row in small["rows"][1:] if len(row) > 1]
    assert all(re.fullmatch(r"[\d.,]+± [\d.,]+", " ".join(text.split())) for text in times)
    assert "its spread" in html


def test_layers_and_training_are_folded(html: str, results: dict) -> None:
    assert html.count("<details>") == html.count("</details>") >= len(results["models"]) and "<details open" not in html
    outside = re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)
    assert outside.count("<table") == 2


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def decoded(page: Tree) -> dict[str, list[dict[str, str]]]:
    return {name: rows(unquote(link.partition(",")[2])) for name, link in page.links.items()}


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def parsed(table: list[dict[str, str]]) -> list[float]:
    found = []
    for row in table:
        for cell in row.values():
            try:
                found.append(float(cell))
            except ValueError:
                continue
    return found


def test_the_files_inside_the_page_hold_every_number_of_the_results(page: Tree, results: dict) -> None:
    files = decoded(page)
    assert list(files) == ["models.csv", "layers.csv", "verdicts.csv", "constants.csv", "spikes.csv", "setting.csv"]
    models = [{k: v for k, v in one.items() if k not in ("layers", "raster")} for one in results["models"]]
    assert sorted(parsed(files["models.csv"])) == sorted(numbers(models))
    assert sorted(parsed(files["layers.csv"])) == sorted(numbers([one["layers"] for one in results["models"]]))
    assert sorted(parsed(files["verdicts.csv"])) == sorted(numbers(results["verdicts"]))
    assert sorted(parsed(files["constants.csv"])) == sorted(numbers(results["assumptions"]))
    spikes = sum(len(one["raster"]["step"]) for one in results["models"] if one["raster"])
    assert len(files["spikes.csv"]) == spikes
    setting = {row["key"]: row["value"] for row in files["setting.csv"]}
    assert setting["seeds 2"] == "2" and setting["margin"] == "0.01" and setting["reference"] == "relu"
    assert [row["name"] for row in files["models.csv"]] == [one["name"] for one in results["models"]]


def test_names_with_every_sign_survive_in_the_files(results: dict) -> None:
    nasty = 'a,"b" #%20 &<>\n\u00e9 中'
    found = json.loads(json.dumps(results).replace('"lif"', json.dumps(nasty)))
    kind = "data:text/csv;charset=utf-8,"
    links = {f"{name}.csv": link(text) for name, text in csv_files(found).items()}
    assert all(re.fullmatch(r"[!-~]+", text) and not set(text) & set('"<>#&') for text in links.values())
    files = {name: rows(unquote(text.removeprefix(kind))) for name, text in links.items()}
    assert nasty in [row["name"] for row in files["models.csv"]]
    assert nasty in {row["model"] for row in files["layers.csv"]}
    assert nasty in {row["b"] for row in files["verdicts.csv"]}


def test_it_reads_in_the_dark_on_paper_and_without_colours_that_are_not_variables(html: str) -> None:
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@media (prefers-color-scheme: dark)" in style and "@media print" in style
    rules = re.sub(r":root \{.*?\}", "", style, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-fA-F]{3,6}\b", rules), "colours are variables of the two schemes"


def luminance(colour: str) -> float:
    colour = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("ink", "paper"),
        ("soft", "paper"),
        ("soft", "tint"),
        ("good-ink", "good"),
        ("bad-ink", "bad"),
        ("link", "paper"),
    ],
)
def test_the_contrast_of_text_is_at_least_that_of_wcag_aa(html: str, ink: str, paper: str) -> None:
    schemes = re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", scheme))
        light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_bits_in_the_results_are_not_numbers_of_a_file(results: dict) -> None:
    correct = results["models"][0]["correct"][0]
    assert base64.b64decode(correct)
    assert correct not in report.csv(results)


@pytest.mark.parametrize("flip", [False, True])
def test_a_verdict_on_weights_of_different_widths_is_flagged(results: dict, flip: bool) -> None:
    one = {"a": "relu-int8", "b": "relu", "scenario": "cmos-45nm/no_reuse", "verdict": "a cheaper"}
    one |= {"noninferior_a": True, "noninferior_b": True, "ratio": [0.1, 0.2, 0.3], "bits": [[8], [4, 32]]}
    turned = one | {"a": "relu", "b": "relu-int8", "verdict": "b cheaper", "ratio": [3, 5, 10], "bits": [[4, 32], [8]]}
    found = matrix(results | {"verdicts": [turned if flip else one]})
    row = next(row for row in found["rows"] if row["name"].startswith("no reuse"))
    cell = row["cells"][found["models"].index("relu-int8")]
    assert cell["kind"] == "cheaper" and cell["bits"]
    assert "weights of 8 against 4 and 32 bits" in cell["title"]


def test_pairs_alike_are_a_second_small_table_with_accuracy_ratio_and_sign(results: dict) -> None:
    found = json.loads(json.dumps(results))
    scenario = {"scenario": "cmos-45nm/no_reuse", "noninferior_a": True, "noninferior_b": True}
    accuracy = {"accuracy_difference": [-0.012, -0.006, 0.0], "bits": None, "reason": ""}
    pair = scenario | accuracy | {"a": "lif-int8", "b": "relu-int8", "ratio": [2.0, 2.5, 3.0], "verdict": "b cheaper"}
    found["verdicts"] = [*found["verdicts"], pair]
    (alike,) = [one for one in pairs_alike(found)["classes"] if one["reference"] == "relu-int8"]
    (row,) = [row for row in alike["rows"] if row["name"] == "lif-int8"]
    assert row["difference"] == "\u22120.6 [\u22121.2, +0.0]"
    assert (row["cells"][0]["sign"], row["cells"][0]["text"]) == (SIGNS["dearer"], "2.50")
    assert "[2.00, 3.00]" in row["cells"][0]["title"]
    assert all(one["reference"] != "relu" for one in pairs_alike(found)["classes"]), "the matrix has those"
    small = [table for table in Tree(report.render(few(found))).tables if "alike" in table["class"]]
    assert len(small) == 1 and len(small[0]["rows"][0]) <= 8


def few(results: dict[str, Any]) -> dict[str, Any]:
    """Without pictures of spikes, which take time."""
    return results | {"models": [{**model, "raster": None} for model in results["models"]]}
