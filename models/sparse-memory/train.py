"""Capacity of a sparse associative memory (Tsodyks & Feigelman 1988), simulated and by mean-field theory.

neurosparse run models/sparse-memory            # four activities, three seeds: minutes
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import neurosparse as ns
from neurosparse.coding import capacity, covariance_weights, mean_field, overlap, recall, sparse_patterns

FINE = 60  # loads at which the mean field is drawn
BELOW = 0.9  # of the capacity: up to there, theory and a network of finite size should agree


@dataclass(frozen=True)
class MemoryTask:
    """Patterns of several activities, stored at several loads, each recalled from itself.

    Args:
        name, title: for reports.
        units: N of the network.
        activities: shares f of active units, one network each.
        loads: stored patterns, as multiples of the mean-field capacity of each activity.
        samples: patterns that are recalled. Each starts the recall itself: the theory says whether it is a fixed point.
        steps: most updates of a recall.
    """

    name: str
    title: str
    units: int
    activities: tuple[float, ...]
    loads: tuple[float, ...]
    samples: int = 50
    steps: int = 50

    def run(
        self,
        seeds: Sequence[int] = (0, 1, 2),
        callback: ns.experiments.Callback | None = None,
        *,
        folder: Path | None = None,
    ) -> dict[str, Any]:
        """Store patterns at every load, recall some of them, and set their overlap beside the mean field's.

        For each activity: the capacity, the curve of the mean field, and a point for each load with means and standard
        deviations over the seeds. ``additions`` of a recall are what its events cost, one for each target.
        """
        seeds, rows = ns.experiments.check_seeds(seeds), []
        total = len(self.activities) * len(self.loads)
        for activity in self.activities:
            most, points = capacity(activity), []
            for load in self.loads:
                patterns = max(1, round(load * most.load * self.units))
                found = [self.recalled(activity, patterns, seed) for seed in seeds]
                theory = known(mean_field(activity, patterns / self.units).overlap)
                point = {"load": patterns / self.units, "patterns": patterns, "theory": theory}
                points.append(point | {key: ns.experiments.stat(one[key] for one in found) for key in found[0]})
                if callback:
                    done = len(rows) * len(self.loads) + len(points)
                    callback(f"{activity:g} active, {patterns} patterns", done, total)
            loads = (most.load * (1 - np.linspace(1, 0, FINE) ** 2)).tolist()  # denser towards the capacity
            row = {"activity": activity, "capacity": most.load, "overlap_at_capacity": most.overlap}
            row |= {"asymptote": 1 / (2 * activity * abs(math.log(activity))), "points": points}
            rows.append(row | {"curve": [loads, [known(mean_field(activity, load).overlap) for load in loads]]})
        header = {"task": self.name, "title": self.title, "seeds": seeds}
        origin = ns.experiments.origin(ns.experiments.command(Path(__file__).parent, seeds))
        budget = {"units": self.units, "samples": self.samples, "steps": self.steps}
        return header | origin | {"budget": budget, "activities": rows}

    def recalled(self, activity: float, patterns: int, seed: int) -> dict[str, float]:
        """One network: means over the patterns recalled."""
        stored = sparse_patterns(patterns, self.units, activity, seed)
        cue = stored[: self.samples]
        found = recall(covariance_weights(stored), cue, round(activity * self.units), self.steps)
        events = found.events.n_events / len(cue)
        return {
            "overlap": float(overlap(found.state, cue).mean()),
            "settled": float(found.settled.double().mean()),
            "events": events,
            "additions": events * (self.units - 1),
        }

    def table(self, results: dict[str, Any]) -> Any:
        """The table for a terminal."""
        return ns.report.as_table(results["title"], columns(results))

    def markdown(self, results: dict[str, Any]) -> str:
        """The table for a document."""
        return ns.report.as_markdown(columns(results))

    def save(self, results: dict[str, Any], folder: Path) -> Path:
        """Write ``results.json`` and ``recall.png``: overlap over load, simulated and by the mean field."""
        ns.report.write_results(results, folder)
        return ns.report.write_figure(partial(ns.plot.recall, curves(results)), Path(folder, "recall.png"), (7.0, 4.2))


def known(value: float) -> float | None:
    """None instead of NaN: above the capacity there is no overlap."""
    return None if math.isnan(value) else value


def columns(results: Mapping[str, Any]) -> list[list[str]]:
    """The table as rows of text: a head, then a row for each activity."""
    head = ["active %", "capacity, mean field", "1 / (2 f ln 1/f)", f"largest error of theory up to {BELOW:g} capacity"]
    rows = [[*head, "overlap at the largest load", "sent per recall", "additions per recall"]]
    for one in results["activities"]:
        points, limit = one["points"], 1.005 * BELOW * one["capacity"]
        inside = [point for point in points if point["load"] <= limit and point["theory"] is not None]
        errors = [abs(point["overlap"]["mean"] - point["theory"]) for point in inside]
        last, first = points[-1], (inside or points)[0]
        row = [f"{100 * one['activity']:g}", f"{one['capacity']:.3f}", f"{one['asymptote']:.2f}"]
        row += [f"{max(errors):.3f}" if errors else "-"]
        row += [f"{ns.report.mean_sd(last['overlap'], 2)} at {last['load'] / one['capacity']:.2g}"]
        rows.append([*row, ns.report.si(first["events"]["mean"]), ns.report.si(first["additions"]["mean"])])
    return rows


def curves(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What `ns.plot.recall` draws."""
    return {
        f"{100 * one['activity']:g} % active": {
            "load": [point["load"] for point in one["points"]],
            "overlap": [point["overlap"]["mean"] for point in one["points"]],
            "sd": [point["overlap"]["sd"] or 0.0 for point in one["points"]],
            "theory": one["curve"],
        }
        for one in results["activities"]
    }


task = MemoryTask(
    name="sparse-memory",
    title="Sparse associative memory: 2000 units, covariance rule, k winners",
    units=2000,
    activities=(0.5, 0.1, 0.05, 0.02),
    loads=(0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3, 1.6),
)
