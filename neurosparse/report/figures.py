"""The pictures of the page, as SVG text."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch

from neurosparse import plot
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.svg import svg
from neurosparse.report.results import reference, scenarios
from neurosparse.report.table import families, main_scenarios, scenario_words

__all__ = ["figures", "savings"]

RASTERS = 4
"""Models whose spikes are shown, the cheapest first; the spikes of all are in a file."""


def savings(
    results: dict[str, Any],
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[float, float, float]]]:
    """Energy and time of the reference over those of every other model: estimated per scenario, and measured.

    The measured ratio is low, mean, high: relative deviations of both times add in quadrature.
    """
    base = reference(results)
    estimated: dict[str, dict[str, float]] = {}
    measured: dict[str, tuple[float, float, float]] = {}
    for model in (model for some in families(results).values() for model in some):
        if model is base:
            continue
        name = model["name"]
        estimated[name] = {
            scenario: base["energy"][scenario]["nominal"] / report["nominal"]
            for scenario, report in model["energy"].items()
            if report.get("nominal") and base["energy"].get(scenario, {}).get("nominal")
        }
        times = [c.get("seconds_per_sample") or {} for c in (base, model)]
        if all(time.get("mean") for time in times):
            spread = 1 + math.hypot(*((time.get("sd") or 0) / time["mean"] for time in times))
            mean = times[0]["mean"] / times[1]["mean"]
            measured[name] = mean / spread, mean, mean * spread
    return estimated, measured


def raster(spikes: dict[str, Any]) -> EventTensor:
    """The events of one sample, back from their coordinates."""
    step, unit = torch.tensor(spikes["step"], dtype=torch.long), torch.tensor(spikes["unit"], dtype=torch.long)
    steps, units = spikes["shape"]
    return EventTensor.from_aer(step, torch.zeros_like(step), unit, shape=(steps, 1, units))


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """The pictures: ``frontier`` of the main scenarios, ``operations``, ``savings``, ``rasters`` by model."""
    models = [model for some in families(results).values() for model in some]
    wide = (0.062 * max(len(c["name"]) for c in models) + 0.35, 0.5, 0.3, 0.55)
    tall = 1.05 + 0.24 * len(models)
    pictures: dict[str, Any] = {"frontier": {}, "rasters": {}}
    names = scenarios(results)
    lines = -(-(len({model["family"] for model in models}) + 1) // 3)  # of the legend
    for i, scenario in enumerate(main_scenarios(results)):
        points = [
            {**c, "energy": c["energy"][scenario]} for c in models if c["energy"].get(scenario, {}).get("nominal")
        ]
        if points:
            label = f"Accuracy over estimated energy per sample, {scenario_words(scenario, names)}"
            margins = (0.65, 0.5, 0.15, 0.1 + 0.19 * lines)
            picture = svg(partial(plot.frontier, points), f"frontier{i}", label, (5.4, 4.2 + 0.19 * lines), margins)
            pictures["frontier"][scenario_words(scenario, names)] = picture
    counts = {c["name"]: {k: v.get("mean") or 0 for k, v in (c.get("operations") or {}).items()} for c in models}
    if any(count > 0 for row in counts.values() for count in row.values()):
        label = "Operations per sample of every model, by kind"
        pictures["operations"] = svg(partial(plot.operations, counts), "operations", label, (7.0, tall), wide)
    estimated, measured = savings(results)
    if any(estimated.values()) or measured:
        base = reference(results)["name"]
        label = f"Estimated energy saving and measured speed relative to {base}"
        draw = partial(plot.savings, estimated, measured, base)
        pictures["savings"] = svg(draw, "savings", label, (7.0, tall), wide)
    for i, model in enumerate([model for model in models if model.get("raster")][:RASTERS]):
        events = raster(model["raster"])
        label = f"Spikes of {model['name']} for one sample"
        draw = partial(plot.raster, events)
        pictures["rasters"][model["name"]] = svg(draw, f"raster{i}", label, (4.2, 2.6), (0.55, 0.45, 0.1, 0.1))
    return pictures
