"""`citations`: BibTeX of exactly what was used, each entry once, and every source in the library has its entry."""

import ast
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.energy.break_even import thresholds
from neurosparse.errors import InputError
from neurosparse.io.manifest import read_manifest
from neurosparse.report.citations import cited, entries, references

ROOT = Path(__file__).parents[2]
REQUIRED = {
    "article": {"title", "author", "year", "journal"},
    "book": {"title", "author", "year", "publisher"},
    "inproceedings": {"title", "author", "year", "booktitle"},
    "misc": {"title", "author", "year"},
}
FOUND_BY = {"doi", "eprint", "isbn", "url"}
WITHOUT_ADDRESS = {"gaffke2005three", "hopfield1987concentrating"}  # proceedings of 1987, on paper
ROW = {"layer": "fc", "kind": "linear", "dense_ops": 9, "effective_acs": 9, "weight_bits": 8, "input_bits": 1}
COUNTS = ns.OperationCounts((ROW | {"input_cells": 3, "input_events": 3, "output_cells": 3, "charged_rows": 1},), 1)
LIF = {"eshraghian2023training", "neftci2019surrogate"}


def parse(bibtex: str) -> dict[str, tuple[str, dict[str, str]]]:
    """A grammar of its own: ``@kind{key, name = {balanced braces}, ...}`` and white space, nothing else."""
    found, at = {}, 0
    while at < len(bibtex):
        head = re.compile(r"\s*@(\w+)\{([\w-]+),\s*").match(bibtex, at)
        assert head, f"no entry at {bibtex[at : at + 60]!r}"
        at, fields = head.end(), {}
        while bibtex[at] != "}":
            name = re.compile(r"(\w+) = ").match(bibtex, at)
            assert name and bibtex[name.end()] == "{", f"no field at {bibtex[at : at + 60]!r}"
            begin = end = name.end()
            depth = 0
            while depth or end == begin:
                depth += {"{": 1, "}": -1}.get(bibtex[end], 0)
                end += 1
            assert name[1] not in fields
            fields[name[1]] = bibtex[begin + 1 : end - 1]
            at = re.compile(r",?\s*").match(bibtex, end).end()
        at = re.compile(r"\s*").match(bibtex, at + 1).end()
        assert head[2] not in found, f"{head[2]} twice"
        found[head[2]] = (head[1], fields)
    return found


def keys(*objects) -> set[str]:
    return set(parse(ns.citations(*objects)))


def test_the_references_are_bibtex_and_keys_are_author_year_and_a_word() -> None:
    text = "\n\n".join(references().values())
    found = parse(text)
    assert len(found) == len(references()) == len(re.findall(r"^@", text, re.MULTILINE)) > 90
    assert (ROOT / "neurosparse/report/references.bib").read_text("utf-8").count("\n@") == len(found)
    for key, (kind, fields) in found.items():
        assert REQUIRED[kind] <= set(fields), key
        assert all(fields.values()), key
        assert re.fullmatch(rf"[a-z]+{fields['year']}[a-z]+", key), key
        for author in fields["author"].split(" and ")[:1]:
            assert "," in author, key
        surname = re.sub(r"\W", "", fields["author"].partition(",")[0]).lower()
        assert surname.startswith(re.match("[a-z]+", key)[0]), key
    assert list(found) == sorted(found)


def test_every_reference_has_an_identifier_and_a_doi_or_another_where_there_is_none() -> None:
    found = parse("\n\n".join(references().values()))
    assert {key for key, (_, fields) in found.items() if not FOUND_BY & set(fields)} == WITHOUT_ADDRESS
    assert sum("doi" in fields for _, fields in found.values()) > 0.8 * len(found)
    dois = [fields["doi"].lower() for _, fields in found.values() if "doi" in fields]
    assert len(set(dois)) == len(dois)
    for key, (_, fields) in found.items():
        assert re.fullmatch(r"10\.\d{4,5}/[!-~]+", fields.get("doi", "10.1000/none")), key
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1000.0000")), key
        assert ("eprint" in fields) == (fields.get("archiveprefix") == "arXiv"), key
        assert re.fullmatch(r"https://[!-~]+", fields.get("url", "https://none")), key
        if fields.get("doi", "").startswith("10.48550"):
            assert fields["doi"] == f"10.48550/arXiv.{fields['eprint']}", key
        if "isbn" in fields:
            digits = [int(digit) for digit in fields["isbn"].replace("-", "")]
            assert len(digits) == 13 and sum((1, 3)[i % 2] * digit for i, digit in enumerate(digits)) % 10 == 0, key
        assert all(value.isascii() for value in fields.values()), key
        assert re.fullmatch(r"\d+(--\d+)?|[A-Z]\d+--[A-Z]\d+", fields.get("pages", "1")) or "eid" in fields, key


def test_what_tex_reads_as_a_command_is_an_accent_or_mathematics() -> None:
    for key, (_, fields) in parse("\n\n".join(references().values())).items():
        for value in (value for name, value in fields.items() if name not in ("doi", "url")):
            commands = set(re.findall(r"\\([A-Za-z]+|.)", value))
            assert commands <= {"'", "`", '"', "^", "~", "c", "&", "ell"}, key
            assert not re.search(r"(?<!\\)[&%#_~]", re.sub(r"\$.*?\$", "", value)), key


def docstrings() -> list[tuple[str, str]]:
    found = []
    for file in sorted((ROOT / "neurosparse").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node) or ""
                found += [
                    (f"{file.name}: {part}", part)
                    for part in re.findall(r"^Source:\s*(.+?)(?=\n\n|\Z)", text, re.S | re.M)
                ]
    return found


def tables() -> list[tuple[str, str]]:
    constants = [(constant.id, constant.source) for constant in ns.energy.constants().values()]
    return constants + [(threshold.id, threshold.source) for threshold in thresholds()]


@pytest.mark.parametrize("text", [pytest.param(text, id=name[:40]) for name, text in docstrings() + tables()])
def test_every_year_in_a_source_of_the_library_is_that_of_a_reference(text: str) -> None:
    text = " ".join(text.split())
    years = {year for year in re.findall(r"\b(?:19|20)\d\d\b", text) if not re.search(rf"arXiv[ :]*\d*\.?{year}", text)}
    assert years == {re.search(r"\d{4}", key)[0] for key in cited(text)}


USED = {
    "a neuron and its surrogate": (
        lambda: [ns.LIF(beta=0.9, surrogate=ns.triangle())],
        LIF | {"esser2016convolutional"},
    ),
    "dynamics inside": (
        lambda: [nn.Sequential(nn.Linear(2, 2), ns.LIF(beta=0.9, dynamics=ns.neurons.adaptive(0.5, 0.1)))],
        LIF | {"bellec2018long", "fang2021incorporating"},
    ),
    "a dense network": (lambda: [nn.Sequential(nn.Linear(2, 2), nn.ReLU())], set()),
    "a penalty": (lambda: [ns.l0(0.1)], {"blumensath2008iterative"}),
    "a code": (
        lambda: [ns.solve(torch.eye(3), torch.eye(3), ns.elastic_net(0.1, 0.1), "lca")],
        {"rozell2008sparse", "zou2005regularization"},
    ),
    "a learner": (
        lambda: [ns.DictionaryLearning(4)],
        {"mairal2010online", "li2009coordinate", "nutini2015coordinate"}
        | {"tibshirani1996regression", "olshausen1997sparse"},
    ),
    "a predictive network": (
        lambda: [ns.PredictiveNetwork((2, 2))],
        {"rao1999predictive", "whittington2017approximation"},
    ),
    "a channel": (lambda: [ns.predictive.delta(0.1)], {"oconnor2016sigma"}),
    "pruning": (lambda: [ns.baselines.pruning("gradual", 0.9)], {"han2015learning", "zhu2017prune"}),
    "sparse training": (lambda: [ns.baselines.pruning("rigl", 0.9)], {"evci2020rigging", "mocanu2018scalable"}),
    "a quantised layer": (
        lambda: [ns.baselines.quantise(nn.Linear(2, 2), 8, calibration=torch.rand(4, 2))],
        {"jacob2018quantization", "krishnamoorthi2018quantizing"},
    ),
    "the operation counts": (lambda: [COUNTS], {"yik2025neurobench"}),
    "arithmetic": (lambda: [ns.estimate(COUNTS, dataflow="compute_only")], {"horowitz2014computing"}),
    "no reuse": (
        lambda: [ns.estimate(COUNTS, dataflow="no_reuse")],
        {"horowitz2014computing", "lemaire2022analytical"},
    ),
    "a stationary dataflow": (
        lambda: [ns.estimate(COUNTS, dataflow="cheapest")],
        {"horowitz2014computing", "lemaire2022analytical", "sze2017efficient"},
    ),
    "a neuromorphic chip": (lambda: [ns.estimate(COUNTS, "loihi")], {"davies2018loihi", "boyle2025sanafe"}),
    "a constant": (lambda: [ns.energy.constants()["sanafe_spike_out"]], {"boyle2025sanafe"}),
    "a data set": (lambda: [read_manifest(ROOT / "datasets/digits/manifest.toml")], {"alpaydin1998optical"}),
    "functions": (
        lambda: [ns.baselines.snip, ns.poisson, ns.kwta],
        {"lee2019snip", "maass2000computational", "ahmad2019how", "bengio2013estimating"},
    ),
    "one name and year, two papers": (lambda: [ns.baselines.narrow], {"fang2023depgraph", "li2017pruning"}),
}


@pytest.mark.parametrize("case", USED)
def test_exactly_what_was_used_is_cited(case: str) -> None:
    made, expected = USED[case]
    assert keys(*made()) == expected


def test_networks_of_another_library_cite_it() -> None:
    snn = pytest.importorskip("snntorch")
    assert keys(nn.Sequential(nn.Linear(2, 2), snn.Leaky(beta=0.9))) == {"eshraghian2023training"}


def test_a_comparison_cites_its_constants_models_and_verdicts() -> None:
    data = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    one = ns.compare({"a": nn.Linear(4, 4)}, data)
    base = {"horowitz2014computing", "lemaire2022analytical", "sze2017efficient", "yik2025neurobench"}
    base |= {"jouppi2021ten"}
    assert keys(one) == base
    assert keys(ns.compare({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}, data)) == base | {
        "gaffke2005three",
        "wellek2010testing",
    }


def test_each_entry_comes_once_whatever_is_asked_twice_and_nothing_gives_nothing() -> None:
    lif = ns.LIF(beta=0.9)
    assert ns.citations(lif, lif, nn.Sequential(lif)) == ns.citations(lif)
    assert ns.citations() == ""
    data = read_manifest(ROOT / "datasets/olshausen-images/manifest.toml")
    assert keys(data, ns.log(0.1)) == {"olshausen1996emergence"}, "a data set and a method from one paper"


def test_a_name_behind_an_ampersand_is_no_first_author() -> None:
    assert set(cited("Blumensath & Davies 2018; Zenke 2018")) == {"zenke2018superspike"}
    assert not cited("Horowitz (memory); others 2014")
    assert entries("@misc{a,\n  year = {1}\n}\n@misc{b,\n}") == {"a": "@misc{a,\n  year = {1}\n}", "b": "@misc{b,\n}"}


@pytest.mark.parametrize("thing", [3, "lca", {"a": 1}, None])
def test_what_this_library_has_not_made_is_refused(thing) -> None:
    with pytest.raises(InputError, match="citations: got"):
        ns.citations(thing)
