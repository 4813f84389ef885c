"""Results of a comparison from its single runs: means, standard deviations, verdicts; plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from neurosparse.energy import DATAFLOWS, Assumptions, EnergyReport, accuracy_difference
from neurosparse.energy.estimate import CHOICE, energy_ends
from neurosparse.energy.verdict import judge
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.evaluate import SCENARIOS, pack, sparsities
from neurosparse.experiments.provenance import origin, stat
from neurosparse.meter import COUNTS
from neurosparse.report.results import class_references, weight_class

__all__ = ["MARGIN", "energies", "provenance", "summarise", "summarise_task", "verdicts"]

MARGIN = 0.01
"""The loss of accuracy that is tolerated: a model is not inferior if it is shown to lose less."""

Outcome = Mapping[str, Any]
"""What :func:`neurosparse.experiments.evaluate` returns for one seed; of a task also the facts of its training."""


def summarise(name: str, outcomes: Sequence[Outcome], **about: Any) -> dict[str, Any]:
    """One model over its seeds: means and standard deviations; ``about`` is added as it is."""
    all_counts = [outcome["counts"] for outcome in outcomes]
    scores = [float(outcome["correct"].mean()) for outcome in outcomes]
    sparse = [sparsities(counts) for counts in all_counts]
    totals = [{column: counts.totals[column] / counts.samples for column in COUNTS} for counts in all_counts]
    return {
        "name": name,
        "accuracy": stat(scores) | {"seeds": scores},
        "correct": [pack(outcome["correct"]) for outcome in outcomes],
        "sparsity": {
            key: stat(one[key] for one in sparse) if sparse[0][key] is not None else None for key in sparse[0]
        },
        "operations": {column: stat(total[column] for total in totals) for column in COUNTS},
        "bytes": {
            "read": mean(total["bytes_read"] for total in totals),
            "written": mean(total["bytes_written"] for total in totals),
            "weights": sum(
                (row["weights"] - row["shared_weights"]) * row["weight_bits"] / 8 for row in all_counts[0].rows
            ),
        },
        "energy": energies([outcome["reports"] for outcome in outcomes]),
        "layers": [dict(row) for row in all_counts[0].per_sample],
        "seconds_per_sample": stat(outcome["seconds_per_sample"] for outcome in outcomes),
        "raster": outcomes[0]["raster"],
        "latency": _latency([outcome["latency"] for outcome in outcomes]),
        "uncounted": [dict(row) for row in all_counts[0].uncounted],
        "suggestions": [dict(row) for row in all_counts[0].suggestions],
        **about,
    }


def _latency(found: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Steps and seconds until the answer is as good as the final one, and the mean accuracy after each step."""
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    curves = zip(*(one["accuracies"] for one in known), strict=True)
    return {
        "steps": stat(float(one["steps"]) for one in known),
        "seconds": stat(one["seconds"] for one in known),
        "of": len(known[0]["accuracies"]),
        "accuracies": [mean(step) for step in curves],
    }


def energies(reports: Sequence[Mapping[str, EnergyReport]]) -> dict[str, dict[str, Any]]:
    """Joules by scenario, or why there are none."""
    energy: dict[str, dict[str, Any]] = {}
    for scenario, first in reports[0].items():
        each = [report[scenario] for report in reports]
        if first.nominal is None:
            energy[scenario] = {"unsupported": "; ".join(first.unsupported)}
        else:
            bounds = {key: mean(getattr(report, key) for report in each) for key in ("low", "nominal", "high")}
            energy[scenario] = bounds | {"sd": stat(report.nominal for report in each)["sd"], "corners": _corners(each)}
    return energy


def _corners(reports: Sequence[EnergyReport]) -> list[list[float]]:
    """Least and most energy over the seeds, nominal and at each corner of the constants; once if all are the same."""
    each = zip(*(energy_ends(report) for report in reports), strict=True)
    pairs = [[min(low for low, _ in corner), max(high for _, high in corner)] for corner in each]
    return pairs[:1] if all(pair == pairs[0] for pair in pairs) else pairs


def verdicts(
    models: Sequence[dict[str, Any]], outcomes: Mapping[str, Sequence[Outcome]], reference: str
) -> list[dict[str, Any]]:
    """Verdicts on every model and the reference, and on every model and that of its weight class, by scenario.

    Args:
        models: as :func:`summarise` returns them.
        outcomes: of each, one for each seed.
        reference: the name of the reference.
    """
    (base,) = (model for model in models if model["name"] == reference)
    like = class_references(models, base)
    pairs = [(model["name"], reference) for model in models]
    pairs += [(model["name"], like[weight_class(model)]) for model in models]
    return [row for a, b in dict.fromkeys(pairs) if a != b for row in _rows(a, b, outcomes)]


def _rows(a: str, b: str, outcomes: Mapping[str, Sequence[Outcome]]) -> list[dict[str, Any]]:
    """The verdict on two models in every scenario."""
    rows = []
    correct_a, correct_b = ([outcome["correct"] for outcome in outcomes[name]] for name in (a, b))
    accuracy = accuracy_difference(correct_a, correct_b)
    for scenario in outcomes[a][0]["reports"]:
        energy_a, energy_b = ([outcome["reports"][scenario] for outcome in outcomes[name]] for name in (a, b))
        # Best against best: models may differ in their precision, which is flagged in the row.
        found = judge(accuracy, energy_a, energy_b, MARGIN, different_bits=True)
        # Energies of zero (a network that never spikes) have no ratio.
        ratio = found.ratio if found.ratio and all(0 < value < math.inf for value in found.ratio) else None
        rows.append(
            {
                "a": a,
                "b": b,
                "scenario": scenario,
                "verdict": found.verdict,
                "reason": found.reason,
                "noninferior_a": found.noninferior_a,
                "noninferior_b": found.noninferior_b,
                "accuracy_difference": list(found.difference),
                "detectable": found.detectable,
                "ratio": None if ratio is None else list(ratio),
                "bits": [list(widths) for widths in found.bits] if found.bits[0] != found.bits[1] else None,
            }
        )
    return rows


def options(scenarios: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options of :func:`neurosparse.estimate` by scenario, as plain values; of the assumptions those that vary.

    Example:
        >>> flow = {"hardware": "cmos-45nm", "dataflow": "cheapest"}
        >>> options({"a": flow, "b": flow | {"assume": Assumptions(state_bits=16)}})["a"]
        {'hardware': 'cmos-45nm', 'dataflow': 'cheapest', 'memory': 'auto', 'state_bits': 32}
    """
    always = {"hardware": "cmos-45nm", "dataflow": "event_driven", "memory": "auto"}
    plain = {}
    for name, given in scenarios.items():
        assumed = asdict(given.get("assume") or Assumptions())
        values = always | {key: value for key, value in given.items() if key != "assume"} | assumed
        plain[name] = {
            key: value if isinstance(value, str | int | float) else str(value) for key, value in values.items()
        }
    keys = dict.fromkeys(key for values in plain.values() for key in values)
    kept = [key for key in keys if key in always or len({values.get(key) for values in plain.values()}) > 1]
    return {name: {key: values[key] for key in kept} for name, values in plain.items()}


def provenance(outcomes: Mapping[str, Sequence[Outcome]], command: str | None) -> dict[str, Any]:
    """How the numbers came about: their origin, the dataflows, and every constant with its source."""
    reports = [report for runs in outcomes.values() for report in runs[0]["reports"].values()]
    used = {constant.id: constant for report in reports for constant in report.assumptions}
    scenarios = next(iter(outcomes.values()))[0]["reports"]
    return origin(command) | {
        "margin": MARGIN,
        "scenarios": options({name: SCENARIOS[name] for name in scenarios}),
        "assumptions": [asdict(constant) for constant in used.values()],
        "dataflows": {name: flow.sentence for name, flow in DATAFLOWS.items()}
        | {"cheapest dataflow per layer": CHOICE},
    }


def summarise_task(
    budget: Budget,
    models: Sequence[ModelConfig],
    seeds: list[int],
    tuned: Mapping[str, list[dict[str, float]]],
    outcomes: Mapping[str, list[dict[str, Any]]],
    command: str | None,
) -> dict[str, Any]:
    """The results of a classification task.

    Args:
        budget: of the task.
        models: the task's models, in the order of the rows.
        seeds: of the final runs.
        tuned: learning rate and validation accuracy of the tuning trials of each model.
        outcomes: final runs of each model, one for each seed.
        command: what repeats them.
    """
    base = _reference(models)
    header = {
        "task": budget.name,
        "title": budget.title,
        "seeds": seeds,
        "reference": base,
        "split": outcomes[models[0].name][0]["split"],
        "budget": {
            "epochs": budget.epochs,
            "trials": len(budget.learning_rates),
            "selection": "best validation accuracy of the first seed",
        },
    }
    rows = [summarise(m.name, outcomes[m.name], **_about(m, outcomes[m.name], tuned[m.name])) for m in models]
    return header | provenance(outcomes, command) | {"models": rows, "verdicts": verdicts(rows, outcomes, base)}


def _reference(models: Sequence[ModelConfig]) -> str:
    """The model that all others are compared with: the plainest ReLU network, pruned or in 8 bits; else the first."""
    keys = {"family", "bits", "sparsity"}
    plain = [model for model in models if model.family == "relu" and set(model.settings) <= keys]
    return min(plain or models[:1], key=lambda model: len(model.settings)).name


def _about(model: ModelConfig, outcomes: list[dict[str, Any]], trials: list[dict[str, float]]) -> dict[str, Any]:
    """The facts of a model in a report beyond its scores."""
    return {
        "family": model.title,
        "note": model.note,
        "config": model.settings,
        "weight_bits": model.compression.bits,
        "steps": model.steps,
        "validation_accuracy": stat(outcome["validation_accuracy"] for outcome in outcomes),
        "training": {
            "seconds": stat(outcome["seconds"] for outcome in outcomes),
            "steps": outcomes[0]["steps"],
            "trials": trials,
        },
    }
