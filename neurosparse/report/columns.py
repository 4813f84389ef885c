"""Rows of text, the head first, as a table for a document or a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurosparse.plot.units import MISSING

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["as_markdown", "as_table", "plain"]


def plain(stat: Mapping[str, Any], digits: int) -> str:
    """Mean and spread.

    Example:
        >>> plain({"mean": 1.25, "sd": 0.5}, 2), plain({"mean": 3.0}, 0)
        ('1.25 ± 0.50', '3')
    """
    if stat.get("mean") is None:
        return MISSING
    spread = "" if stat.get("sd") is None else f" ± {stat['sd']:.{digits}f}"
    return f"{stat['mean']:.{digits}f}{spread}"


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table for a document."""
    head, *body = rows
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def as_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """The table for a terminal."""
    from rich.table import Table

    (first, *others), *body = rows
    found = Table(title=title)
    found.add_column(first, overflow="fold")
    for name in others:
        found.add_column(name, justify="right")
    for row in body:
        found.add_row(*row)
    return found
