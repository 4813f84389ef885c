"""Recall from sparse associative memories, beside its mean-field theory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np

from neurosparse.coding.associative_memory import covariance_weights, overlap, recall, sparse_patterns
from neurosparse.coding.mean_field import capacity, mean_field
from neurosparse.errors import InputError
from neurosparse.experiments.associative_memory.task import MemoryTask, load_memory_task
from neurosparse.experiments.provenance import origin, stat

__all__ = ["show_recall"]

FINE = 60  # loads at which the mean field is drawn


def show_recall(
    folder: str | PathLike[str],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Callable[[str, int, int], None] = lambda message, done, total: None,
) -> dict[str, Any]:
    """Store patterns at every load, recall some of them, and put their overlap beside the mean field's.

    Args:
        folder: the task's folder.
        seeds: of the patterns, one network each.
        progress: called with a message, done, total.

    Returns:
        Plain JSON-able values: for each activity capacity, the mean field's curve and a point for each load; means and
        standard deviations over the seeds. ``additions`` of a recall are what its events cost: one for each target.

    Raises:
        InputError: no such task, no seed.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> script = '''
        ... import neurosparse as ns
        ... task = ns.experiments.MemoryTask("toy", "A toy", 200, (0.1,), (0.3,), samples=5)
        ... '''
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.py").write_text(script)
        ...     results = show_recall(folder, seeds=[0])
        >>> round(results["activities"][0]["points"][0]["overlap"]["mean"], 2)
        1.0
    """
    task = load_memory_task(folder)
    if not len(seeds):
        raise InputError("show_recall", got="no seed", expected="at least one", fix="Pass seeds=[0].")
    rows, total = [], len(task.activities) * len(task.loads)
    for activity in task.activities:
        most, points = capacity(activity), []
        for load in task.loads:
            patterns = task.patterns(activity, load)
            found = [_recalled(task, activity, patterns, seed) for seed in seeds]
            theory = mean_field(activity, patterns / task.units).overlap
            about = {"load": patterns / task.units, "patterns": patterns, "theory": _known(theory)}
            points.append(about | {key: stat(one[key] for one in found) for key in found[0]})
            progress(f"{activity:g} active, {patterns} patterns", len(rows) * len(task.loads) + len(points), total)
        loads = (most.load * (1 - np.linspace(1, 0, FINE) ** 2)).tolist()  # the closer, the nearer the end
        row = {"activity": activity, "capacity": most.load, "overlap_at_capacity": most.overlap}
        row |= {"asymptote": 1 / (2 * activity * abs(math.log(activity))), "points": points}
        rows.append(row | {"curve": [loads, [_known(mean_field(activity, load).overlap) for load in loads]]})
    header = {"task": task.name, "title": task.title, "seeds": list(seeds)}
    budget = {key: getattr(task, key) for key in ("units", "samples", "steps")}
    return header | origin(None) | {"budget": budget, "activities": rows}


def _recalled(task: MemoryTask, activity: float, patterns: int, seed: int) -> dict[str, float]:
    """One network: means over the patterns recalled."""
    stored = sparse_patterns(patterns, task.units, activity, seed)
    cue = stored[: task.samples]
    found = recall(covariance_weights(stored), cue, round(activity * task.units), task.steps)
    events = found.events.n_events / len(cue)
    return {
        "overlap": float(overlap(found.state, cue).mean()),
        "settled": float(found.settled.double().mean()),
        "events": events,
        "additions": events * (task.units - 1),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
