"""What was counted, assumed and compared, in words for the methods section of a paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import singledispatch
from typing import Any

from neurosparse.checks import one_of
from neurosparse.energy import EnergyReport
from neurosparse.errors import InputError
from neurosparse.meter import OperationCounts
from neurosparse.plot.units import bounded, si
from neurosparse.report.citations import authors, keys_of
from neurosparse.report.headline import answer
from neurosparse.report.paper import cite, escape
from neurosparse.report.results import check, scenarios
from neurosparse.report.sources import of_results, sources

__all__ = ["method"]

STATUS = {"verified": "read in the source", "verified_secondary": "read in the work of others that use it"}
COUNTING = (
    "An effective operation is a pair of a non-zero input and a non-zero weight: an accumulate where the input is a "
    "spike, a multiply-accumulate otherwise; zero padding is not counted."
)
ESTIMATE = "Energies are estimates from these counts and published constants, not measurements."
KEPT = ("effective_macs", "effective_acs", "state_updates", "spikes_out")
FORMATS = ("text", "latex")


def method(thing: Any, format: str = "text") -> str:
    r"""Methods section of a paper: what was counted, what an energy report assumes, how models were compared.

    Args:
        thing: `OperationCounts`, an `EnergyReport`, a `Comparison`'s ``results``.
        format: ``"text"`` names authors and years; ``"latex"`` is escaped and has ``\\cite`` keys, whose BibTeX
            `neurosparse.citations` returns.

    Returns:
        one paragraph: what was counted, over how many samples, and what was not; what was declared constant; the
        dataflow and what else was assumed; the constants of the precisions that were used, with source and how it was
        read; which ranges are scenarios; data, seeds, margin, versions; of a comparison, its answer.

    Raises:
        InputError: something else.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=12, effective_acs=5, weights=6, nonzero_weights=5)
        >>> method(OperationCounts((row,), samples=2))[:71]
        'Operations were counted exactly over 2 samples, in whole numbers, while'
    """
    one_of("method", "format", format, FORMATS)
    text, rests_on = _said(thing)
    keys = keys_of(rests_on)
    if format == "text":
        named = ", ".join(sorted(map(authors, keys)))
        return f"{text} Counts, constants and verdicts follow {named}." if named else text
    return f"{escape(text)} Counts, constants and verdicts follow~{cite(keys)}." if keys else escape(text)


@singledispatch
def _said(thing: Any) -> tuple[str, list[str]]:
    """The sentences, and the sources that they rest on."""
    got, fix = f"a {type(thing).__name__}", "For a comparison, call its method()."
    raise InputError("method", got=got, expected="operation counts, an energy report or results", fix=fix)


@_said.register
def _(counts: OperationCounts) -> tuple[str, list[str]]:
    totals = counts.totals
    each = {name: totals[name] / max(1, counts.samples) for name in ("dense_ops", *KEPT)}
    kinds = ", ".join(f"{number(each[name])} {_words(name)}" for name in KEPT if each[name])
    counted = f"Operations were counted exactly over {counts.samples} samples, in whole numbers, while the network ran."
    share = f"{totals['nonzero_weights']:,} of {totals['weights']:,} weights are not zero."
    per = (
        f"Per sample, a dense computation takes {number(each['dense_ops'])} multiply-accumulates; counted were {kinds}."
    )
    exceptions = _exceptions(counts.rows, counts.uncounted, counts.suggestions)
    return _join([counted, COUNTING, per, share, *exceptions]), sources(counts)


def _exceptions(rows: Iterable[Mapping[str, Any]], uncounted: Iterable[Any], suggested: Iterable[Any]) -> list[str]:
    """What a reader has to know about counts: constants, training, undeclared spikes, operations without a count."""
    rows = list(rows)
    constant = {row["layer"]: row["constant_rows"] for row in rows if row.get("constant_rows")}
    phases = {"backward": "the backward pass", "update": "the update of the weights"}
    trained = [name for phase, name in phases.items() if any(row.get("phase") == phase for row in rows)]
    seen = sorted({str(entry.get("layer", entry)) if isinstance(entry, Mapping) else str(entry) for entry in suggested})
    missed = sorted({f"{one['function']} in {one['layer']}" for one in uncounted if isinstance(one, Mapping)})
    repeats = ", ".join(f"{layer} ({number(count)})" for layer, count in constant.items())
    return [
        f"Inputs declared constant were charged once; rows that were not computed again: {repeats}."
        if constant
        else "",
        f"Counts include training: {' and '.join(trained)}." if trained else "",
        f"Only 0 and 1 were sent, but not declared as spikes, in {', '.join(seen)}." if seen else "",
        f"NOT COUNTED: {', '.join(missed)}." if missed else "",
    ]


@_said.register
def _(report: EnergyReport) -> tuple[str, list[str]]:
    ranged = report.low is not None and report.low != report.high
    where = f"The hardware is {report.hardware}, the dataflow {_words(report.dataflow)}."
    bits = f"Weights have {' and '.join(map(str, report.bits))} bits." if report.bits else ""
    if report.nominal is None:
        found = f"This hardware cannot execute the network: {'; '.join(report.unsupported)}."
    else:
        found = f"One sample takes {bounded(report.low, report.nominal, report.high, 'J')}."
    beside = [f"{name} {si(joules, 'J')}" for name, joules in report.overhead.items()]
    sentences = [
        ESTIMATE,
        where,
        *report.sentences,
        bits,
        _constants(asdict(constant) for constant in report.assumptions),
        found,
        f"The range covers every corner of the uncertain constants. {_scenarios(report.scenarios)}" if ranged else "",
        f"Not in it, and beside it: {', '.join(beside)} per sample." if beside else "",
    ]
    return _join(sentences), sources(report)


@_said.register
def _(results: dict) -> tuple[str, list[str]]:
    check(results)
    names, seeds = [c["name"] for c in results["models"]], results.get("seeds") or []
    test = (results.get("split") or {}).get("test")
    ran = f"{len(names)} networks ({', '.join(names)}) were run" if len(names) > 1 else f"{names[0]} was run"
    folds = results.get("folds") or 1
    each = f" of each of {folds} folds" if folds > 1 else ""
    over = f"{ran} on the same {test} test samples{each}" if test else ran
    trained = f", each trained with {len(seeds)} seeds ({', '.join(map(str, seeds))})" if seeds else ""
    flows = {name.partition("/")[2].partition(",")[0] for name in scenarios(results)}
    sentences = [f"{_words(name)}: {text}" for name, text in (results.get("dataflows") or {}).items() if name in flows]
    used = [row for row in results.get("assumptions") or () if row.get("quantity")]
    ours = [row["quantity"] for row in used if row.get("range") == "scenario"]
    versions = results.get("versions") or {}
    said = [
        f"Result: {answer(results)}" if results.get("verdicts") else "",
        f"{over}{trained}; tables give mean ± standard deviation over seeds where there are several.",
        "Operations were counted exactly, in whole numbers, while the networks ran.",
        COUNTING,
        *(
            f"{model['name']}: {sentence}"
            for model in results["models"]
            for sentence in _exceptions(
                model.get("layers") or (), model.get("uncounted") or (), model.get("suggestions") or ()
            )
            if sentence
        ),
        ESTIMATE if names and scenarios(results) else "",
        f"Scenarios (hardware/dataflow): {'; '.join(scenarios(results))}." if scenarios(results) else "",
        *sentences,
        _constants(used),
        _scenarios([f"the range of {quantity}" for quantity in ours]) if used else "",
        _verdicts(results),
        f"Software: {', '.join(f'{name} {version}' for name, version in versions.items())}." if versions else "",
    ]
    return _join(said), of_results(results)


def _verdicts(results: Mapping[str, Any]) -> str:
    """When a network is called cheaper; nothing where none was compared."""
    if not results.get("verdicts") or results.get("margin") is None:
        return ""
    return (
        "A network is called cheaper only where its accuracy is not inferior, the one-sided 95 % bound of the accuracy "
        f"difference (Gaffke's bound over the test samples) above -{results['margin']:g}, and where its energy is "
        "lower at every corner of the uncertain constants, which both sides share."
    )


def _constants(rows: Iterable[Mapping[str, Any]]) -> str:
    """Every constant, gathered by source, with its range and how it was read."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        value = f"{row['quantity']} {row['value']:g}"
        low, high = row.get("low"), row.get("high")
        value += f" [{low:g}, {high:g}]" if low is not None and high is not None and low != high else ""
        value += f" {row['unit']}" + (" (range: a scenario)" if row.get("range") == "scenario" else "")
        found.setdefault((row["source"], row.get("status", "")), []).append(value)
    each = [
        f"{source}{f' ({STATUS.get(status, status)})' if status else ''}: {', '.join(made)}"
        for (source, status), made in found.items()
    ]
    return f"Constants: {'; '.join(each)}." if each else ""


def _scenarios(ours: Iterable[str]) -> str:
    names = "; ".join(ours)
    return f"No source gives, so scenarios: {names}." if names else "Every range is that of a source."


def number(count: float) -> str:
    """A count per sample, exact to a tenth."""
    return f"{count:,.1f}" if count % 1 else f"{count:,.0f}"


def _words(name: str) -> str:
    kinds = {"effective_macs": "multiply-accumulates", "effective_acs": "accumulates", "spikes_out": "spikes"}
    return kinds.get(name, name.replace("_", " "))


def _join(sentences: Iterable[str]) -> str:
    return " ".join(sentence.strip() for sentence in sentences if sentence.strip())
