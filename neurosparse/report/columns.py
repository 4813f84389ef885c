"""Tables of text for a terminal, for Markdown and for a notebook, from rows of cells, the head first."""

from __future__ import annotations

import shutil
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neurosparse.events.show import html_table
from neurosparse.plot.units import MISSING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["TextTable", "as_markdown", "as_table", "mean_sd"]

GAP, NAME, HEAD = 2, 16, 11  # characters: between columns, least width of a name that is wrapped, of a wrapped head


@dataclass(frozen=True, repr=False)
class TextTable:
    """A table of text; ``print`` shows it at the width of the terminal, a notebook as HTML.

    Args:
        rows: cells of text, the head first; a row of one cell heads a group of rows.
        title: above it.
        note: below it.
        order: indices of columns by importance, of which a narrow terminal shows the first that fit. None: all
            columns, below one another where the terminal is too narrow.
    """

    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""
    order: tuple[int, ...] | None = None

    def at(self, width: int) -> str:
        """The table as text of at most ``width`` characters a line, as far as a single column allows it.

        Example:
            >>> print(TextTable((("model", "energy (nJ)"), ("relu", "9.81"))).at(80))
            model       energy
                          (nJ)
            relu          9.81
        """
        blocks = ["\n".join(self._lines(shown, width)) for shown in self._blocks(width)]
        parts = [*_wrapped(self.title, width), *_wrapped(self.title and " ", width), "\n\n".join(blocks)]
        return "\n".join([*parts, *_wrapped(self.note, width)])

    def __str__(self) -> str:
        return self.at(shutil.get_terminal_size((100, 24)).columns)

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        yield Text(self.at(options.max_width), no_wrap=True, overflow="ignore")

    def _repr_html_(self) -> str:
        head, *body = self.rows
        return html_table(self.title, body, head, self.note)

    def _size(self, column: int) -> int:
        """Characters of the longest cell and of the longest word of the head."""
        head, *body = self.rows
        return max([_width(part) for part in _head(head[column])] + [_width(r[column]) for r in body if len(r) > 1])

    def _name(self, width: int) -> int:
        """Characters for the first column: all that it needs, unless that is more than a third of the line."""
        return min(self._size(0), max(NAME, width // 3))

    def _blocks(self, width: int) -> Iterator[list[int]]:
        """Columns of each part of the table, beside the first one."""
        free, wanted = width - self._name(width), range(1, len(self.rows[0]))
        if self.order is not None:
            kept: list[int] = []
            for column in self.order:
                if kept and sum(self._size(i) + GAP for i in [*kept, column]) > free:
                    break
                kept.append(column)
            yield sorted(kept)
            return
        block: list[int] = []
        for column in wanted:
            if block and sum(self._size(i) + GAP for i in [*block, column]) > free:
                yield block
                block = []
            block.append(column)
        yield block

    def _lines(self, shown: Sequence[int], width: int) -> Iterator[str]:
        sizes = [self._name(width), *(self._size(column) for column in shown)]
        head, *body = self.rows
        yield from _row([_wrapped(head[0], sizes[0]), *(_head(head[column]) for column in shown)], sizes, bottom=True)
        for row in body:
            if len(row) == 1:
                yield from _wrapped(row[0], width)
            else:
                yield from _row([_wrapped(row[0], sizes[0]), *([row[column]] for column in shown)], sizes)


def _row(cells: Sequence[Sequence[str]], sizes: Sequence[int], bottom: bool = False) -> Iterator[str]:
    """Lines of a row whose cells have several lines: on the last one, or on the first one."""
    height = max(map(len, cells))
    empty = [[""] * (height - len(cell)) for cell in cells]
    columns = [[*gap, *cell] if bottom else [*cell, *gap] for cell, gap in zip(cells, empty, strict=True)]
    for name, *others in zip(*columns, strict=True):
        padded = (_pad(text, size) for text, size in zip(others, sizes[1:], strict=True))
        yield (" " * GAP).join([_pad(name, sizes[0], left=True), *padded]).rstrip()


def _head(text: str) -> list[str]:
    return textwrap.wrap(text, HEAD, break_long_words=False) or [""]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text; what is indented stays so. Letters that take two columns leave half of the letters to a line."""
    indent = text[: len(text) - len(text.lstrip(" "))]
    letters = max(4, width // 2 if _width(text) > len(text) else width)
    after = indent + "  " * bool(indent)
    lines = (textwrap.wrap(line, letters, subsequent_indent=after) or [""] for line in text.split("\n"))
    return [line for some in lines for line in some] if text else []


def _width(text: str) -> int:
    """Columns of a terminal: letters of East Asian scripts take two, combining marks none."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def _pad(text: str, width: int, left: bool = False) -> str:
    space = " " * (width - _width(text))
    return text + space if left else space + text


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
    head, *body = [[cell.replace("|", "\\|").replace("\u00a0", " ") for cell in row] for row in rows]
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def as_table(title: str, rows: Sequence[Sequence[str]]) -> TextTable:
    """Rows as a table for a terminal.

    Example:
        >>> print(as_table("A toy", [["model", "SNR"], ["l1", "3"]]).at(80))
        A toy
        <BLANKLINE>
        model  SNR
        l1       3
    """
    return TextTable(tuple(tuple(row) for row in rows), title)
