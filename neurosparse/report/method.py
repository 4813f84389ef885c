"""What was counted, assumed and compared, in words for the methods section of a paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import singledispatch
from typing import Any

from neurosparse.energy import EnergyReport
from neurosparse.errors import InputError
from neurosparse.meter import OperationCounts
from neurosparse.plot.units import si
from neurosparse.report.results import check, scenarios

__all__ = ["method"]

STATUS = {"verified": "read in the source", "verified_secondary": "read in the work of others that use it"}
COUNTING = (
    "An effective operation is a pair of a non-zero input and a non-zero weight: an accumulate where the input is a "
    "spike, a multiply-accumulate otherwise; zero padding is not counted."
)
ESTIMATE = "Energies are estimates from these counts and published constants, not measurements."
KEPT = ("effective_macs", "effective_acs", "state_updates", "spikes_out")


@singledispatch
def method(thing: Any) -> str:
    """Say in words what the operation counts counted, what an energy report assumed, or how a comparison was made.

    Args:
        thing: a `OperationCounts`, an `EnergyReport`, a `Comparison`'s ``results``.

    Returns:
        one paragraph: what was counted, over how many samples; the dataflow and what else was assumed; every constant
        with its source and how it was read; which ranges are scenarios; data, seeds, margin and versions.

    Raises:
        InputError: something else.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=12, effective_acs=5, weights=6, nonzero_weights=5)
        >>> method(OperationCounts((row,), samples=2))[:71]
        'Operations were counted exactly over 2 samples, in whole numbers, while'
    """
    got, fix = f"a {type(thing).__name__}", "For a comparison, call its method()."
    raise InputError("method", got=got, expected="the operation counts, an energy report or results", fix=fix)


@method.register
def _(counts: OperationCounts) -> str:
    totals = counts.totals
    each = {name: totals[name] / max(1, counts.samples) for name in ("dense_ops", *KEPT)}
    kinds = ", ".join(f"{number(each[name])} {_words(name)}" for name in KEPT if each[name])
    counted = f"Operations were counted exactly over {counts.samples} samples, in whole numbers, while the network ran."
    share = f"{totals['nonzero_weights']:,} of {totals['weights']:,} weights are not zero."
    per = (
        f"Per sample, a dense computation takes {number(each['dense_ops'])} multiply-accumulates; counted were {kinds}."
    )
    alarm = ", ".join(sorted({f"{one['function']} in {one['layer']}" for one in counts.uncounted}))
    return _join([counted, COUNTING, per, share, f"NOT COUNTED: {alarm}." if alarm else ""])


@method.register
def _(report: EnergyReport) -> str:
    ranged = report.low is not None and report.low != report.high
    where = f"The hardware is {report.hardware}, the dataflow {_words(report.dataflow)}."
    bits = f"Weights have {' and '.join(map(str, report.bits))} bits." if report.bits else ""
    if report.nominal is None:
        found = f"This hardware cannot execute the network: {'; '.join(report.unsupported)}."
    else:
        found = (
            f"One sample takes {si(report.nominal, 'J')}" + _range(report.low, report.high, report.nominal, "J") + "."
        )
    beside = [f"{name} {si(joules, 'J')}" for name, joules in report.overhead.items()]
    return _join(
        [
            ESTIMATE,
            where,
            *report.sentences,
            bits,
            _constants(asdict(constant) for constant in report.assumptions),
            found,
            f"The range covers every corner of the uncertain constants. {_scenarios(report.scenarios)}"
            if ranged
            else "",
            f"Not in it, and beside it: {', '.join(beside)} per sample." if beside else "",
        ]
    )


@method.register
def _(results: dict) -> str:
    check(results)
    names, seeds = [c["name"] for c in results["models"]], results.get("seeds") or []
    test = (results.get("split") or {}).get("test")
    ran = f"{len(names)} networks ({', '.join(names)}) were run" if len(names) > 1 else f"{names[0]} was run"
    over = f"{ran} on the same {test} test samples" if test else ran
    trained = f", each trained with {len(seeds)} seeds ({', '.join(map(str, seeds))})" if seeds else ""
    flows = {name.partition("/")[2].partition(",")[0] for name in scenarios(results)}
    sentences = [f"{_words(name)}: {text}" for name, text in (results.get("dataflows") or {}).items() if name in flows]
    ours = [row["quantity"] for row in results.get("assumptions") or () if row.get("range") == "scenario"]
    versions = results.get("versions") or {}
    return _join(
        [
            f"{over}{trained}; tables give mean ± standard deviation over seeds where there are several.",
            "Operations were counted exactly, in whole numbers, while the networks ran.",
            COUNTING,
            ESTIMATE if names and scenarios(results) else "",
            f"Scenarios (hardware/dataflow): {'; '.join(scenarios(results))}." if scenarios(results) else "",
            *sentences,
            _constants(results.get("assumptions") or ()),
            _scenarios([f"the range of {quantity}" for quantity in ours]) if results.get("assumptions") else "",
            _verdicts(results),
            f"Software: {', '.join(f'{name} {version}' for name, version in versions.items())}." if versions else "",
        ]
    )


def _verdicts(results: Mapping[str, Any]) -> str:
    """When a network is called cheaper; nothing where none was compared."""
    if not results.get("verdicts") or results.get("margin") is None:
        return ""
    return (
        "A network is called cheaper only where the accuracies match, the 95 % interval of their difference (paired "
        f"bootstrap over the test samples) within {results['margin']:g} of 0, and where its energy is lower at "
        "every corner of the uncertain constants, which both sides share."
    )


def _constants(rows: Iterable[Mapping[str, Any]]) -> str:
    """Every constant, gathered by source, with its range and how it was read."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        value = f"{row['quantity']} {row['value']:g}" + _range(row["low"], row["high"], row["value"])
        value += f" {row['unit']}" + (" (range: a scenario)" if row.get("range") == "scenario" else "")
        found.setdefault((row["source"], row["status"]), []).append(value)
    each = [f"{source} ({STATUS.get(status, status)}): {', '.join(made)}" for (source, status), made in found.items()]
    return f"Constants: {'; '.join(each)}." if each else ""


def _scenarios(ours: Iterable[str]) -> str:
    names = "; ".join(ours)
    return f"No source gives, so scenarios: {names}." if names else "Every range is that of a source."


def _range(low: float | None, high: float | None, nominal: float, unit: str = "") -> str:
    if low is None or high is None or low == high:
        return ""
    return f" [{si(low, unit)}, {si(high, unit)}]" if unit else f" [{low:g}, {high:g}]"


def number(count: float) -> str:
    """A count per sample, exact to a tenth."""
    return f"{count:,.1f}" if count % 1 else f"{count:,.0f}"


def _words(name: str) -> str:
    kinds = {"effective_macs": "multiply-accumulates", "effective_acs": "accumulates", "spikes_out": "spikes"}
    return kinds.get(name, name.replace("_", " "))


def _join(sentences: Iterable[str]) -> str:
    return " ".join(sentence.strip() for sentence in sentences if sentence.strip())
