"""A comparison of models: its results as a table, JSON, a page, and words for a paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any, overload

from neurosparse.atomic import write_atomically
from neurosparse.checks import one_of
from neurosparse.errors import InputError
from neurosparse.report.columns import TextTable
from neurosparse.report.csv_files import csv
from neurosparse.report.method import method
from neurosparse.report.page import render
from neurosparse.report.paper import latex
from neurosparse.report.results import reference, scenarios
from neurosparse.report.sources import of_results, sources
from neurosparse.report.table import markdown, table

__all__ = ["Comparison"]

FORMATS: dict[str, Callable[..., str]] = {
    "latex": latex,
    "latex-wide": partial(latex, wide=True),
    "markdown": partial(markdown, spread=True),
    "csv": csv,
}
ROWS = 8
"""Models that ``print`` shows."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """What :func:`neurosparse.compare` returns; ``results`` is the mapping behind table, JSON and page."""

    results: dict[str, Any]

    @overload
    def table(self, format: None = None, columns: Sequence[str] | None = None) -> TextTable: ...
    @overload
    def table(self, format: str, columns: Sequence[str] | None = None) -> str: ...
    def table(self, format: str | None = None, columns: Sequence[str] | None = None) -> TextTable | str:
        """A table to print; or the text of one for a document.

        Args:
            format: None: for a terminal, with as many columns as its width takes. ``"latex"``: for one column of a
                two-column paper (240 pt); ``"latex-wide"``: over both; ``"markdown"``; ``"csv"``: every number.
            columns: their names: ``"accuracy"``, ``"weights"``, ``"operations"``, ``"MACs"``, ``"ACs"``,
                ``"updates"``, ``"energy"`` (of the main scenario), ``"ratio"``, ``"time"``, ``"latency"``,
                ``"weight sparsity"`` (also activation, temporal, operation), or a scenario such as
                ``"cmos-45nm/no_reuse"``. None: the usual ones.

        Raises:
            InputError: another format or column; columns of CSV.
        """
        if format is None:
            return table(self.results, columns)
        one_of("Comparison.table", "format", format, FORMATS)
        if format == "csv":
            if columns is not None:
                got, fix = f"columns={columns!r} of CSV", "Leave columns out, or take another format."
                raise InputError("Comparison.table", got=got, expected="every number", fix=fix)
            return csv(self.results)
        return FORMATS[format](self.results, columns)

    def method(self, format: str = "text") -> str:
        r"""What was counted, assumed and compared, and the answer, in words for the methods section of a paper.

        Args:
            format: ``"text"``, or ``"latex"`` with ``\\cite`` keys.
        """
        return method(self.results, format)

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.results, indent=1)

    def save(self, path: str | PathLike[str]) -> None:
        """One self-contained HTML page, written atomically."""
        write_atomically(path, render(self.results).encode(), "Comparison.save")

    def __repr__(self) -> str:
        models, places = len(self.results["models"]), len(scenarios(self.results))
        counted = f"{models} model{'s' * (models != 1)}, {places} scenario{'s' * (places != 1)}"
        return f"Comparison({self.results['task']!r}: {counted}, reference {reference(self.results)['name']!r})"

    def __str__(self) -> str:
        found = table(self.results)
        head, *body = [row for row in found.rows if len(row) > 1]
        more = f"... {len(body) - ROWS} more; .table() has them all.\n" if len(body) > ROWS else ""
        rows = tuple((row[0].strip(), *row[1:]) for row in (head, *body[:ROWS]))
        return str(TextTable(rows, found.title, more + found.note, found.order))

    def _repr_html_(self) -> str:
        return table(self.results)._repr_html_()


@sources.register
def _(found: Comparison) -> list[str]:
    return of_results(found.results)
