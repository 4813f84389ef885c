"""The experiment of bars for readers: one picture, a terminal table, a Markdown table, and the JSON behind them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosparse import plot
from neurosparse.atomic import write_atomically
from neurosparse.plot.files import write
from neurosparse.predictive import PredictiveNetwork
from neurosparse.predictive.rao_ballard import AREA, SIDE, fields
from neurosparse.report.columns import as_markdown, as_table, mean_sd
from neurosparse.report.table import percent

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["columns", "markdown", "save", "table"]

SHOWN = 48  # fields of level 2 in the picture
LEGEND = {"feedback": "with feedback", "no_feedback": "feedback cut"}


def columns(results: Mapping[str, Any]) -> list[list[str]]:
    """The table as text: a head, then a row for each of the settings."""
    short = results["bars"]["short"]
    head = ["prior", "index", "index, feedback cut", "index before learning", f"units best below {short} px, %"]
    rows = [[*head, "their index", "their index, feedback cut", "r predicted %", "SNR dB", "oriented %"]]
    for one in results["settings"]:
        row = [one["name"], mean_sd(one["index_feedback"], 3), mean_sd(one["index_no_feedback"], 3)]
        row += [mean_sd(one["index_before_learning"], 3), percent(one["chosen"])]
        row += [mean_sd(one[f"index_of_chosen_{key}"], 3) for key in LEGEND]
        rows.append([*row, percent(one["predicted"]), mean_sd(one["snr"], 1), percent(one["oriented"])])
    return rows


def markdown(results: Mapping[str, Any]) -> str:
    """The table for a document."""
    return as_markdown(columns(results))


def table(results: Mapping[str, Any]) -> Table:
    """The table for a terminal."""
    return as_table(results["title"], columns(results))


def save(results: Mapping[str, Any], networks: Mapping[str, PredictiveNetwork], folder: Path) -> Path:
    """Write ``end-stopping.json`` and ``end-stopping.png`` into a folder, each whole or not at all.

    Args:
        results, networks: of :func:`neurosparse.experiments.show_bars`.
        folder: made if it is not there.

    Returns:
        The path of the picture: for each of the settings the fields of both levels, and tuning of all units of the
        centre module and of those that prefer short bars.
    """
    draws = [draw for one in results["settings"] for draw in _row(one, results["bars"], networks[one["name"]])]
    picture = write(draws, folder / "end-stopping.png", (17.0, 4.2 * len(results["settings"])), columns=4, dpi=90)
    write_atomically(folder / "end-stopping.json", f"{json.dumps(results, ensure_ascii=False)}\n".encode())
    return picture


def _row(one: Mapping[str, Any], bars: Mapping[str, Any], network: PredictiveNetwork) -> list[Callable[..., Any]]:
    """Pictures of one of the settings."""
    level1, level2 = fields(network)
    strongest = level2[level2.norm(dim=1).argsort(descending=True)[:SHOWN]]
    name = one["name"]
    said = {
        f"{name}: the fields of level 1": partial(plot.atoms, level1, (SIDE, SIDE), 12),
        f"{name}: the {SHOWN} strongest fields of level 2": partial(plot.atoms, strongest, AREA, 6),
        f"{name}: all error units of the centre": _tuning(one, bars, "curves"),
        f"{name}: units that prefer short bars": _tuning(one, bars, "cells"),
    }
    return [partial(_titled, draw, title) for title, draw in said.items()]


def _tuning(one: Mapping[str, Any], bars: Mapping[str, Any], kind: str) -> Callable[..., Any]:
    curves = {said: np.array(one[f"{kind}_{key}"]["rows"]) for key, said in LEGEND.items()}
    if not all(map(len, curves.values())):
        return _nothing
    return partial(plot.length_tuning, bars["lengths"], curves, "|r - r_td|, share of the best length")


def _nothing(ax: Any) -> Any:
    ax.set_axis_off()
    ax.annotate("none", (0.5, 0.5), ha="center")
    return ax


def _titled(draw: Callable[..., Any], title: str, ax: Any) -> Any:
    draw(ax=ax).set_title(title, fontsize="medium")
    return ax
