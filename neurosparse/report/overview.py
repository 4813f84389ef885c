"""Spiking against dense networks over one or several tasks: forest plot, sentence and factorial table as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from neurosparse import plot
from neurosparse.atomic import make_folder, write_atomically
from neurosparse.plot.style import SMALL
from neurosparse.plot.svg import svg
from neurosparse.report.compared import forest_rows, points, tasks
from neurosparse.report.factorial import factorial
from neurosparse.report.sentence import clauses
from neurosparse.report.templates import template

__all__ = ["overview", "save_overview", "spiking_section"]

LABEL = "Energy of spiking networks over that of dense networks, a row for each task and class of weights"
WIDTH = 6.4  # inches


def spiking_section(*results: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the section on spiking and dense networks shows; None: no pair of them.

    Args:
        results: as :func:`neurosparse.report.check` accepts them, one of each task.
    """
    rows, found = forest_rows(*results), factorial(*results)
    if not rows and not found.rows:
        return None
    several = len(results) > 1
    return {
        "picture": _picture(rows) if rows else "",
        "champions": [row | {"accuracy": points(row["difference"])} for row in rows],
        "clauses": [clause.text for clause in clauses(found) if clause.is_possible or several],
        "grid": found.grid() if found.rows else None,
        "margins": found.margins() if found.rows else None,
        "table": found.table() if found.rows else None,
        "csv": found.table("csv"),
        "several": several,
    }


def _picture(rows: Sequence[Mapping[str, Any]]) -> str:
    """The forest plot as SVG, as high as its rows and its legend need."""
    names = [str(row["name"]) for row in rows] + [str(row["group"]) for row in rows]
    models = {label for row in rows for label in (*row["ratios"], *row["own"])}
    height = (0.36 if len(models) > 6 else 0.3) * (len(rows) + len({row["group"] for row in rows}))
    columns = 3 if height < SMALL else 2  # small axes have small letters
    margins = (0.085 * max(map(len, names)) + 0.15, 0.5, 0.1, 0.1 + 0.19 * -(-(len(models) + 1) // columns))
    return svg(partial(plot.forest, rows), "forest", LABEL, (WIDTH, height + margins[1] + margins[3]), margins)


def overview(*results: Mapping[str, Any]) -> str:
    """Several tasks on one HTML page: forest plot, sentence, factorial table with its holes.

    Args:
        results: as :func:`neurosparse.report.check` accepts them, one of each task.

    Returns:
        HTML text; the same results give the same text.

    Raises:
        InputError: a malformed key, by name, or two results of one task.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> "No pair of a spiking and a dense network" in overview({"task": "digits", "models": [relu]})
        True
    """
    named = [of.get("title") or task for task, of in tasks(results).items()]
    return template("overview.html").render(spiking=spiking_section(*results), titles=named)


def save_overview(results: Sequence[Mapping[str, Any]], folder: str | Path) -> Path:
    """Write ``overview.html`` into a folder, whole or not at all.

    Args:
        results: those of :func:`overview`.
        folder: made if it is not there.

    Returns:
        The path of the page.

    Raises:
        InputError: a malformed key, by name; nothing is written then.
    """
    page = overview(*results)
    path = make_folder(folder, "report.save_overview") / "overview.html"
    write_atomically(path, page.encode(), "report.save_overview")
    return path
