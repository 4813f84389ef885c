"""Tables of results for a terminal and for Markdown, from rows of text, the head first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurosparse.plot.units import MISSING

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["as_markdown", "as_table", "mean_sd"]


def mean_sd(stat: Mapping[str, Any], digits: int) -> str:
    """Mean and standard deviation; a dash where the mean is unknown.

    Example:
        >>> mean_sd({"mean": 1.25, "sd": 0.5}, 2), mean_sd({"mean": 3.0}, 0)
        ('1.25 ± 0.50', '3')
    """
    if stat.get("mean") is None:
        return MISSING
    spread = "" if stat.get("sd") is None else f" ± {stat['sd']:.{digits}f}"
    return f"{stat['mean']:.{digits}f}{spread}"


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table.

    Example:
        >>> print(as_markdown([["model", "SNR"], ["l1", "3"]]))
        | model | SNR |
        | :-- | --: |
        | l1 | 3 |
    """
    head, *body = rows
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def as_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """Rows as a table for a terminal.

    Example:
        >>> as_table("A toy", [["model", "SNR"], ["l1", "3"]]).row_count
        1
    """
    from rich.table import Table

    (first, *others), *body = rows
    found = Table(title=title)
    found.add_column(first, overflow="fold")
    for name in others:
        found.add_column(name, justify="right")
    for row in body:
        found.add_row(*row)
    return found
