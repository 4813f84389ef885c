"""A comparison of models: its results as a table, JSON, a page, and words for a paper."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

from neurosparse.atomic import write_atomically
from neurosparse.checks import one_of
from neurosparse.report.method import method
from neurosparse.report.page import render
from neurosparse.report.paper import csv, latex
from neurosparse.report.table import markdown, table

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Comparison"]

FORMATS = {"latex": latex, "markdown": partial(markdown, spread=True), "csv": csv}


@dataclass(frozen=True)
class Comparison:
    """What :func:`neurosparse.compare` returns; ``results`` is the mapping behind table, JSON and page."""

    results: dict[str, Any]

    @overload
    def table(self, format: None = None) -> Table: ...
    @overload
    def table(self, format: str) -> str: ...
    def table(self, format: str | None = None) -> Table | str:
        """A table for the terminal; or the text of one: ``"latex"`` (booktabs), ``"markdown"`` or ``"csv"``.

        Raises:
            InputError: another format.
        """
        if format is None:
            return table(self.results)
        return FORMATS[one_of("Comparison.table", "format", format, FORMATS)](self.results)

    def method(self) -> str:
        """What was counted, assumed and compared, in words for the methods section of a paper."""
        return method(self.results)

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.results, indent=1)

    def save(self, path: str | PathLike[str]) -> None:
        """One self-contained HTML page, written atomically."""
        write_atomically(path, render(self.results).encode(), "Comparison.save")

    def _repr_html_(self) -> str:
        return render(self.results)
