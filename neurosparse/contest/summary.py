"""From outcomes of single runs to the rows of a comparison: means, spreads, verdicts; plain JSON-able values."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from neurosparse.contest.evaluate import pack, sparsities
from neurosparse.measure import COUNTS, DATAFLOWS, verdict

__all__ = ["provenance", "stat", "summarise", "verdicts"]

Outcome = Mapping[str, Any]
"""What :func:`neurosparse.contest.evaluate` returned for one seed, and where it was trained, how."""


def stat(values: Iterable[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation of what is known."""
    known = [v for v in values if v is not None]
    if not known:
        return {"mean": None, "sd": None}
    return {"mean": mean(known), "sd": stdev(known) if len(known) > 1 else 0.0}


def summarise(name: str, outcomes: Sequence[Outcome], **about: Any) -> dict[str, Any]:
    """One contestant over its seeds: means and standard deviations; ``about`` is added as it is."""
    ledgers = [outcome["ledger"] for outcome in outcomes]
    scores = [float(outcome["correct"].mean()) for outcome in outcomes]
    sparse = [sparsities(ledger) for ledger in ledgers]
    weight_bytes = sum(row["weights"] * row["weight_bits"] / 8 for row in ledgers[0].rows)
    return {
        "name": name,
        "accuracy": stat(scores) | {"seeds": scores},
        "correct": [pack(outcome["correct"]) for outcome in outcomes],
        "sparsity": {key: stat(s[key] for s in sparse) if sparse[0][key] is not None else None for key in sparse[0]},
        "operations": {name: stat(led.totals[name] / led.samples for led in ledgers) for name in COUNTS},
        "bytes": {
            "read": mean(led.totals["bytes_read"] / led.samples for led in ledgers),
            "written": mean(led.totals["bytes_written"] / led.samples for led in ledgers),
            "weights": weight_bytes,
        },
        "energy": _energies([outcome["reports"] for outcome in outcomes]),
        "layers": [dict(row) for row in ledgers[0].per_sample],
        "seconds_per_sample": stat(outcome["seconds_per_sample"] for outcome in outcomes),
        "raster": outcomes[0]["raster"],
        "uncounted": [dict(row) for row in ledgers[0].uncounted],
        **about,
    }


def _energies(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    energy: dict[str, dict[str, Any]] = {}
    for scenario in reports[0]:
        each = [r[scenario] for r in reports]
        if each[0].nominal is None:
            energy[scenario] = {"unsupported": "; ".join(each[0].unsupported)}
        else:
            sd = stat(r.nominal for r in each)["sd"]
            energy[scenario] = {key: mean(getattr(r, key) for r in each) for key in ("low", "nominal", "high")} | {
                "sd": sd
            }
    return energy


def verdicts(pairs: Iterable[tuple[str, str]], outcomes: Mapping[str, Sequence[Outcome]]) -> list[dict[str, Any]]:
    """Who is cheaper at matched accuracy, for each pair and scenario."""
    rows = []
    for a, b in pairs:
        correct = [[outcome["correct"] for outcome in outcomes[name]] for name in (a, b)]
        for scenario in outcomes[a][0]["reports"]:
            found = verdict(
                *correct, *([outcome["reports"][scenario] for outcome in outcomes[name]] for name in (a, b))
            )
            known = found.ratio is not None and all(map(math.isfinite, found.ratio))
            rows.append(
                {
                    "a": a,
                    "b": b,
                    "scenario": scenario,
                    "accuracy_difference": list(found.difference),
                    "matched": found.matched,
                    "ratio": list(found.ratio) if known and found.ratio else None,
                    "verdict": found.verdict,
                }
            )
    return rows


def provenance(outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    """How the numbers came about: command, versions, machine, dataflows, and every constant with its source."""
    packages = ("neurosparse", "torch", "numpy", "scipy", "scikit-learn", "numba")
    used = {c.id: c for runs in outcomes.values() for r in runs[0]["reports"].values() for c in r.assumptions}
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "margin": 0.01,
        "assumptions": [asdict(constant) for constant in used.values()],
        "dataflows": {name: flow.sentence for name, flow in DATAFLOWS.items()},
    }
