"""Recall for readers: one picture, a terminal table, a Markdown table, and the JSON behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosparse import plot
from neurosparse.atomic import write_atomically
from neurosparse.plot.files import write
from neurosparse.plot.units import si
from neurosparse.report.columns import as_markdown, as_table, plain

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["columns", "curves", "markdown", "save", "table"]

BELOW = 0.9  # of the capacity: up to there theory and a network of finite size should agree


def columns(results: Mapping[str, Any]) -> list[list[str]]:
    """The table as text: a head, then a row for each activity."""
    head = ["active %", "capacity, mean field", "1 / (2 f ln 1/f)", f"largest error of theory up to {BELOW:g} capacity"]
    rows = [[*head, "overlap at the largest load", "sent per recall", "additions per recall"]]
    for one in results["activities"]:
        points = one["points"]
        inside = [
            point
            for point in points
            if point["load"] <= 1.005 * BELOW * one["capacity"] and point["theory"] is not None
        ]
        errors = [abs(point["overlap"]["mean"] - point["theory"]) for point in inside]
        last, first = points[-1], (inside or points)[0]
        row = [f"{100 * one['activity']:g}", f"{one['capacity']:.3f}", f"{one['asymptote']:.2f}"]
        row += [f"{max(errors):.3f}" if errors else "-"]
        row += [f"{plain(last['overlap'], 2)} at {last['load'] / one['capacity']:.2g}"]
        rows.append([*row, si(first["events"]["mean"]), si(first["additions"]["mean"])])
    return rows


def markdown(results: Mapping[str, Any]) -> str:
    """The table for a document."""
    return as_markdown(columns(results))


def table(results: Mapping[str, Any]) -> Table:
    """The table for a terminal."""
    return as_table(results["title"], columns(results))


def curves(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What `neurosparse.plot.recall` draws."""
    return {
        f"{100 * one['activity']:g} % active": {
            "load": [point["load"] for point in one["points"]],
            "overlap": [point["overlap"]["mean"] for point in one["points"]],
            "sd": [point["overlap"]["sd"] or 0.0 for point in one["points"]],
            "theory": one["curve"],
        }
        for one in results["activities"]
    }


def save(results: Mapping[str, Any], folder: Path) -> Path:
    """Write ``recall.json`` and ``recall.png`` into a folder, each whole or not at all.

    Args:
        results: of :func:`neurosparse.experiments.show_recall`.
        folder: made if it is not there.

    Returns:
        The path of the picture: overlap over load, simulated and by mean field.
    """
    picture = write(partial(plot.recall, curves(results)), folder / "recall.png", (7.0, 4.2))
    write_atomically(folder / "recall.json", f"{json.dumps(results, ensure_ascii=False)}\n".encode())
    return picture
