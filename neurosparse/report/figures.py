"""The pictures of the page, as SVG text."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from neurosparse import plot
from neurosparse.events.tensor import EventTensor
from neurosparse.plot.svg import svg
from neurosparse.report.results import reference, scenarios

__all__ = ["figures", "savings"]


def savings(results: dict[str, Any]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Energy and speed of the reference over those of every other model: estimated per scenario, and measured."""
    base = reference(results)
    estimated: dict[str, dict[str, float]] = {}
    measured: dict[str, float] = {}
    for model in results["models"]:
        if model is base:
            continue
        name = model["name"]
        estimated[name] = {
            scenario: base["energy"][scenario]["nominal"] / report["nominal"]
            for scenario, report in model["energy"].items()
            if report.get("nominal") and base["energy"].get(scenario, {}).get("nominal")
        }
        base_time, time = ((c.get("seconds_per_sample") or {}).get("mean") for c in (base, model))
        if base_time and time:
            measured[name] = base_time / time
    return estimated, measured


def raster(spikes: dict[str, Any]) -> EventTensor:
    """The events of one sample, back from their coordinates."""
    step, unit = torch.tensor(spikes["step"], dtype=torch.long), torch.tensor(spikes["unit"], dtype=torch.long)
    steps, units = spikes["shape"]
    return EventTensor.from_aer(step, torch.zeros_like(step), unit, shape=(steps, 1, units))


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """The pictures of the page: ``frontier`` by scenario, ``operations``, ``savings``, ``rasters`` by model."""
    models = results["models"]
    wide = (0.062 * max(len(c["name"]) for c in models) + 0.35, 0.5, 0.3, 0.55)
    tall = 1.05 + 0.24 * len(models)
    pictures: dict[str, Any] = {"frontier": {}, "rasters": {}}
    for i, scenario in enumerate(scenarios(results)):
        points = [
            {**c, "energy": c["energy"][scenario]} for c in models if c["energy"].get(scenario, {}).get("nominal")
        ]
        if points:
            label = f"Accuracy over estimated energy per sample, {scenario}"
            draw = partial(plot.frontier, points)
            pictures["frontier"][scenario] = svg(draw, f"frontier{i}", label, (5.4, 4.3), (0.65, 0.5, 0.15, 0.1))
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
    for i, model in enumerate(models):
        if model.get("raster"):
            events = raster(model["raster"])
            label = f"Spikes of {model['name']} for one sample"
            draw = partial(plot.raster, events)
            pictures["rasters"][model["name"]] = svg(draw, f"raster{i}", label, (4.2, 2.6), (0.55, 0.45, 0.1, 0.1))
    return pictures
