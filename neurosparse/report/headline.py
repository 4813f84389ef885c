"""Answer of a comparison in a sentence, from its verdicts alone; undecided where they are."""

from __future__ import annotations

from collections import Counter
from typing import Any

from neurosparse.report.results import reference, scenarios

__all__ = ["answer", "standings", "winner"]


def winner(verdict: dict[str, Any]) -> str | None:
    """The name of the model that the verdict calls cheaper (or better in both), or None.

    Example:
        >>> pair = {"a": "lif", "b": "relu"}
        >>> winner({**pair, "verdict": "b cheaper"}), winner({**pair, "verdict": "undecided"})
        ('relu', None)
    """
    side = verdict["verdict"].split()[:1]
    return {"a": verdict["a"], "b": verdict["b"]}.get(side[0].lower() if side else "")


def standings(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Models that no other beats at the accuracy of the reference, for each scenario.

    Returns:
        One mapping per scenario: ``scenario``; ``field`` (the reference and those shown to match its accuracy, or to
        beat it in accuracy and energy); ``unbeaten`` (those that no other of the field beats) and their ``families``;
        ``cheaper`` (name -> how many times less energy than the reference, nominal, of those decided to be cheaper);
        ``worse`` (those that the reference beats in accuracy and energy); ``open`` (like ``cheaper``, of those
        that only mean accuracy and nominal energy speak for).
    """
    families = {c["name"]: c["family"] for c in results["models"]}
    means = {c["name"]: c["accuracy"]["mean"] for c in results["models"]}
    base, table = reference(results)["name"], []
    for scenario in scenarios(results):
        pairs = [v for v in results.get("verdicts") or () if v["scenario"] == scenario and v.get("ratio")]
        met = {v["b"] if v["a"] == base else v["a"]: v for v in pairs if base in (v["a"], v["b"])}
        matched = {name for name, v in met.items() if v.get("matched") or winner(v) == name}
        field = [name for name in families if matched and name in matched | {base}]
        inside = [v for v in pairs if v["a"] in field and v["b"] in field and winner(v)]
        beaten = {v["b"] if winner(v) == v["a"] else v["a"] for v in inside}
        savings = {n: 1 / v["ratio"][1] if v["a"] == n else v["ratio"][1] for n, v in met.items()}
        ranked = sorted(savings, key=lambda name: -savings[name])
        cheaper = {name: savings[name] for name in ranked if winner(met[name]) == name}
        near = [name for name in ranked if means[name] >= means[base] - (results.get("margin") or 0.01)]
        likely = {name: savings[name] for name in near if winner(met[name]) is None and savings[name] > 1}
        unbeaten = sorted((n for n in field if n not in beaten), key=lambda n: -cheaper.get(n, 1.0))
        worse = [name for name, v in met.items() if winner(v) == base and not v.get("matched")]
        row = {"scenario": scenario, "field": field, "unbeaten": unbeaten, "cheaper": cheaper}
        table.append(row | {"worse": worse, "open": likely, "families": sorted({families[name] for name in unbeaten})})
    return table


def listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def answer(results: dict[str, Any]) -> str:
    """The cheapest family of networks at matched accuracy, in a sentence or two, as far as the verdicts decide.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> answer({"task": "digits", "models": [relu]})
        'Undecided: no pair of models was compared.'
    """
    if not results.get("verdicts"):
        return "Undecided: no pair of models was compared."
    base = reference(results)["name"]
    rows = [row for row in standings(results) if row["field"]]
    if not rows:
        return f"No model was shown to match the accuracy of {base}, so no saving at equal accuracy is shown."
    n, settled = len(rows), Counter(row["families"][0] for row in rows if len(row["families"]) == 1)
    places = "the one energy scenario" if n == 1 else f"{n} energy scenarios"
    if not settled:
        return f"Undecided in {places}: at the accuracy of {base}, no family of networks is the cheapest."
    parts = listed([f"{family} in {count}" for family, count in settled.most_common()])
    if settled.most_common(1)[0][1] == n:
        where = places if n == 1 else f"all {places}"
        return f"At the accuracy of {base}, the cheapest family of networks is {next(iter(settled))} in {where}."
    lead = "It depends on the hardware and the dataflow" if len(settled) > 1 else "It is not settled everywhere"
    tail = f"; {n - settled.total()} undecided" if n > settled.total() else ""
    return f"{lead}: at the accuracy of {base}, the cheapest family of networks is {parts} of {places}{tail}."
