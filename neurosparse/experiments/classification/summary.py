"""From outcomes of single runs to the rows of a comparison: means, spreads, verdicts; plain JSON-able values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from neurosparse.energy import DATAFLOWS, EnergyReport, verdict
from neurosparse.energy.estimate import CHOICE
from neurosparse.experiments.classification.evaluate import pack, sparsities
from neurosparse.experiments.provenance import origin, stat
from neurosparse.meter import COUNTS

__all__ = ["MARGIN", "provenance", "summarise", "verdicts"]

MARGIN = 0.01
"""Accuracies that differ by less are equal."""

Outcome = Mapping[str, Any]
"""What :func:`neurosparse.experiments.classification.evaluate` returned for one seed, and where it was trained, how."""


def summarise(name: str, outcomes: Sequence[Outcome], **about: Any) -> dict[str, Any]:
    """One contestant over its seeds: means and standard deviations; ``about`` is added as it is."""
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
            "weights": sum(row["weights"] * row["weight_bits"] / 8 for row in all_counts[0].rows),
        },
        "energy": _energies([outcome["reports"] for outcome in outcomes]),
        "layers": [dict(row) for row in all_counts[0].per_sample],
        "seconds_per_sample": stat(outcome["seconds_per_sample"] for outcome in outcomes),
        "raster": outcomes[0]["raster"],
        "latency": _latency([outcome["latency"] for outcome in outcomes]),
        "uncounted": [dict(row) for row in all_counts[0].uncounted],
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


def _energies(reports: Sequence[Mapping[str, EnergyReport]]) -> dict[str, dict[str, Any]]:
    """Joules by scenario, or why there are none."""
    energy: dict[str, dict[str, Any]] = {}
    for scenario, first in reports[0].items():
        each = [report[scenario] for report in reports]
        if first.nominal is None:
            energy[scenario] = {"unsupported": "; ".join(first.unsupported)}
        else:
            bounds = {key: mean(getattr(report, key) for report in each) for key in ("low", "nominal", "high")}
            energy[scenario] = bounds | {"sd": stat(report.nominal for report in each)["sd"]}
    return energy


def verdicts(pairs: Iterable[tuple[str, str]], outcomes: Mapping[str, Sequence[Outcome]]) -> list[dict[str, Any]]:
    """Who is cheaper at matched accuracy, for each pair and scenario."""
    rows = []
    for a, b in pairs:
        correct_a, correct_b = ([outcome["correct"] for outcome in outcomes[name]] for name in (a, b))
        for scenario in outcomes[a][0]["reports"]:
            energy_a, energy_b = ([outcome["reports"][scenario] for outcome in outcomes[name]] for name in (a, b))
            # Precision is one of the things that contestants differ in: allowed here, and flagged in the row.
            found = verdict(correct_a, correct_b, energy_a, energy_b, MARGIN, different_bits=True)
            # Energies of zero (a network that never spikes) have no ratio.
            ratio = found.ratio if found.ratio and all(0 < value < math.inf for value in found.ratio) else None
            rows.append(
                {
                    "a": a,
                    "b": b,
                    "scenario": scenario,
                    "accuracy_difference": list(found.difference),
                    "matched": found.matched,
                    "ratio": None if ratio is None else list(ratio),
                    "verdict": found.verdict,
                    "bits": [list(widths) for widths in found.bits] if found.bits[0] != found.bits[1] else None,
                }
            )
    return rows


def provenance(outcomes: Mapping[str, Sequence[Outcome]], command: str | None) -> dict[str, Any]:
    """How the numbers came about: their origin, the dataflows, and every constant with its source."""
    reports = [report for runs in outcomes.values() for report in runs[0]["reports"].values()]
    used = {constant.id: constant for report in reports for constant in report.assumptions}
    return origin(command) | {
        "margin": MARGIN,
        "assumptions": [asdict(constant) for constant in used.values()],
        "dataflows": {name: flow.sentence for name, flow in DATAFLOWS.items()}
        | {"cheapest dataflow per layer": CHOICE},
    }
