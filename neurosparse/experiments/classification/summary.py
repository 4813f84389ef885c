"""Results of a comparison from its single runs: means, standard deviations, verdicts; plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

import numpy as np

from neurosparse.energy import DATAFLOWS, Assumptions, EnergyReport, accuracy_difference
from neurosparse.energy.estimate import CHOICE, energy_ends
from neurosparse.energy.verdict import judge
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.campaign import Found
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.evaluate import PRIMARY, SCENARIOS, reports, sparsities
from neurosparse.experiments.classification.store import pack, unpack
from neurosparse.experiments.provenance import origin, stat
from neurosparse.meter import COUNTS, OperationCounts
from neurosparse.report.pairs import pairs_to_judge

__all__ = ["MARGIN", "energies", "provenance", "summarise", "summarise_task", "verdicts"]

MARGIN = 0.01
"""The loss of accuracy that is tolerated: a model is not inferior if it is shown to lose less."""

SELECTION = f"the least energy ({PRIMARY}) among trials within one standard error of the best validation accuracy"
"""How a search chooses."""

Outcome = Mapping[str, Any]
"""What :func:`neurosparse.experiments.evaluate` returns for one seed; of a task also the facts of its training."""


def outcome(result: Mapping[str, Any]) -> dict[str, Any]:
    """A stored result with its counts and correctness as objects, and the energies by scenario."""
    counts, sizes = OperationCounts.from_json(result["test"]["counts"]), result["sizes"]
    held = unpack(result["validation"]["correct"], sizes["validation"])
    return (
        dict(result)
        | result["test"]
        | {
            "counts": counts,
            "reports": reports(counts),
            "correct": unpack(result["test"]["correct"], sizes["test"]),
            "validation_accuracy": float(held.mean()),
        }
    )


def side_by_side(outcomes: Sequence[Outcome]) -> np.ndarray:
    """Correctness ``(repetitions, samples)``; with folds, the samples of all folds side by side.

    Every fold has equally many seeds.
    """
    by_fold: dict[Any, list[np.ndarray]] = {}
    for one in outcomes:
        by_fold.setdefault(one.get("fold"), []).append(np.asarray(one["correct"]))
    folds = [np.stack(by_fold[fold]) for fold in sorted(by_fold, key=lambda fold: -1 if fold is None else fold)]
    return np.concatenate(folds, axis=1)


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
        "layers": _layers(all_counts),
        "seconds_per_sample": stat(outcome["seconds_per_sample"] for outcome in outcomes),
        "raster": outcomes[0]["raster"],
        "latency": _latency([outcome["latency"] for outcome in outcomes]),
        "uncounted": [dict(row) for row in all_counts[0].uncounted],
        "suggestions": [dict(row) for row in all_counts[0].suggestions],
        **about,
    }


def _layers(counts: Sequence[OperationCounts]) -> list[dict[str, Any]]:
    """Rows of the operation counts per sample, the mean over the seeds."""
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for one in counts:
        for row in one.per_sample:
            found.setdefault((row["layer"], row["kind"], row["phase"]), []).append(row)
    return [
        dict(rows[0]) | {column: sum(row[column] for row in rows) / len(counts) for column in COUNTS}
        for rows in found.values()
    ]


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
    models: Sequence[dict[str, Any]],
    outcomes: Mapping[str, Sequence[Outcome]],
    reference: str,
    margin: float = MARGIN,
    validation: int | None = None,
) -> list[dict[str, Any]]:
    """Verdicts on the pairs of :func:`neurosparse.report.pairs.pairs_to_judge`, by scenario.

    Args:
        models: as :func:`summarise` returns them.
        outcomes: of each, one for each seed.
        reference: the name of the reference.
        margin: the loss of accuracy that is tolerated.
        validation: number of validation samples.
    """
    pairs = pairs_to_judge(models, reference, validation)
    return [row for a, b in pairs for row in _rows(a, b, outcomes, margin)]


def _rows(a: str, b: str, outcomes: Mapping[str, Sequence[Outcome]], margin: float) -> list[dict[str, Any]]:
    """The verdict on two models in every scenario."""
    rows = []
    accuracy = accuracy_difference(side_by_side(outcomes[a]), side_by_side(outcomes[b]))
    for scenario in outcomes[a][0]["reports"]:
        energy_a, energy_b = ([outcome["reports"][scenario] for outcome in outcomes[name]] for name in (a, b))
        # Best against best: models may differ in their precision, which is flagged in the row.
        found = judge(accuracy, energy_a, energy_b, margin, different_bits=True)
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
        {'hardware': 'cmos-45nm', 'dataflow': 'cheapest', 'memory': 'auto', 'state_bits': 'as_run'}
    """
    always = {"hardware": "cmos-45nm", "dataflow": "event_driven", "memory": "auto"}
    plain = {}
    for name, given in scenarios.items():
        assumed = asdict(given.get("assume") or Assumptions())
        values = always | {key: value for key, value in given.items() if key != "assume"} | assumed
        values |= {"state_bits": values["state_bits"] or "as_run"}
        plain[name] = {
            key: value if isinstance(value, str | int | float) else str(value) for key, value in values.items()
        }
    keys = dict.fromkeys(key for values in plain.values() for key in values)
    kept = [key for key in keys if key in always or len({values.get(key) for values in plain.values()}) > 1]
    return {name: {key: values[key] for key in kept if key in values} for name, values in plain.items()}


def provenance(
    outcomes: Mapping[str, Sequence[Outcome]], command: str | None, margin: float = MARGIN
) -> dict[str, Any]:
    """How the numbers came about: their origin, the dataflows, and every constant with its source."""
    reports = [report for runs in outcomes.values() for report in runs[0]["reports"].values()]
    used = {constant.id: constant for report in reports for constant in report.assumptions}
    scenarios = next(iter(outcomes.values()))[0]["reports"]
    return origin(command) | {
        "margin": margin,
        "scenarios": options({name: SCENARIOS[name] for name in scenarios}),
        "assumptions": [asdict(constant) for constant in used.values()],
        "dataflows": {name: flow.sentence for name, flow in DATAFLOWS.items()}
        | {"cheapest dataflow per layer": CHOICE},
    }


def summarise_task(
    task: Budget,
    models: Sequence[ModelConfig],
    seeds: list[int],
    found: Mapping[tuple[str, int | None], Found],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    command: str | None,
    *,
    reference: str | None = None,
    margin: float = MARGIN,
    missing: Sequence[str] = (),
) -> dict[str, Any]:
    """The results of a classification task.

    Args:
        task: its budget.
        models: those that were trained with all seeds, in the order of the rows.
        seeds: of the final runs.
        found: what the searches chose, by name of the model and fold.
        results: final runs of each model, one for each seed.
        command: what repeats them.
        reference: name of the model that the others are compared with; None: the plainest ReLU network, else the first.
        margin: the loss of accuracy that is tolerated.
        missing: names of models that were not trained in time.
    """
    outcomes = {model.name: [outcome(result) for result in results[model.name]] for model in models}
    base = _reference(models, reference)
    header = {
        "task": task.name,
        "title": task.title,
        "seeds": seeds,
        "reference": base,
        "split": outcomes[models[0].name][0]["sizes"],
        "folds": task.folds,
        "missing": list(missing),
        "budget": {
            "epochs": task.epochs,
            "trials": len(task.learning_rates) if task.trials is None else task.trials,
            "selection": SELECTION,
        },
    }
    searched = {model.name: [found[model.name, fold] for fold in _folds(outcomes[model.name])] for model in models}
    rows = [summarise(m.name, outcomes[m.name], **_about(m, outcomes[m.name], searched[m.name])) for m in models]
    judged = verdicts(rows, outcomes, base, margin, header["split"]["validation"])
    return header | provenance(outcomes, command, margin) | {"models": rows, "verdicts": judged}


def _folds(outcomes: Sequence[Outcome]) -> list[int | None]:
    return list(dict.fromkeys(one["fold"] for one in outcomes))


def _reference(models: Sequence[ModelConfig], named: str | None) -> str:
    """The model that all others are compared with: the task's, else the plainest ReLU network, else the first."""
    if any(model.name == named for model in models):
        return str(named)
    keys = {"family", "bits", "sparsity"}
    plain = [model for model in models if model.family == "relu" and set(model.settings) <= keys]
    return min(plain or models[:1], key=lambda model: len(model.settings)).name


def _spent(trials: Sequence[Mapping[str, Any]]) -> int:
    """Optimizer steps of a search: a trial has trained anew in every round up to its last one."""
    rounds = sorted({trial["steps"] for trial in trials})
    return sum(steps for trial in trials for steps in rounds if steps <= trial["steps"])


def _without(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}


def _about(model: ModelConfig, outcomes: Sequence[Outcome], searched: Sequence[Found]) -> dict[str, Any]:
    """The facts of a model in a report beyond its scores."""
    trials = [trial for each in searched for trial in each.trials]
    energies, most = [one["validation"]["energy"] for one in outcomes], max(trial["steps"] for trial in trials)
    return {
        "family": model.title,
        "note": model.note,
        "config": model.settings,
        "weight_bits": model.compression.bits,
        "steps": model.steps,
        "validation_accuracy": stat(one["validation_accuracy"] for one in outcomes),
        "chosen": [{"learning_rate": each.trial.learning_rate, **each.trial.parameters} for each in searched],
        "validation_energy": {PRIMARY: None if None in energies else mean(energies)},
        "training": {
            "seconds": stat(one["training"]["seconds"] for one in outcomes),
            "steps": outcomes[0]["training"]["steps"],
            "trials": [_without(trial, ("steps", "samples")) for trial in trials if trial["steps"] == most],
            "search_steps": sum(_spent(each.trials) for each in searched),
            "operations": outcomes[0]["training"].get("operations"),
            "step_energy": stat(one["training"].get("energy") for one in outcomes)["mean"],
        },
    }
