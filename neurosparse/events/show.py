"""Representation of events, and of small tables, at a prompt and in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import torch

from neurosparse.events.parts import EventParts
from neurosparse.events.size import bits
from neurosparse.kernels.dispatch import by_reference

__all__ = ["as_html", "as_line", "as_refusal", "html_table"]


def as_line(events: EventParts) -> str:
    """Shape, kind, step, events and density in one line."""
    kind = "spikes" if events.binary else "graded"
    step = f"axis={events.axis!r}" if events.dt is None else f"axis={events.axis!r}, dt={events.dt:g} s"
    if not events.is_found and by_reference(events.dense()):  # values that cannot be read
        return f"EventTensor({events.shape}, {kind}, {step})"
    return f"EventTensor({events.shape}, {kind}, {step}, {events.n_events} events, density {events.density:.3g})"


def as_html(events: EventParts) -> str:
    """The same as a table, with the size on disk."""
    formats = ("csr",) if events.offset is not None else ("bitmap", "csr")
    facts = {
        "shape": events.shape,
        "events": f"{events.n_events:,} ({'spikes' if events.binary else 'graded'})",
        "density": f"{events.density:.3g}",
        "axis": events.axis,
        "dt": "not set" if events.dt is None else f"{events.dt:g} s",
        "size": f"{min(bits(events, name) for name in formats) / 8:,.0f} bytes",
    }
    return html_table("EventTensor", [(name, str(fact)) for name, fact in facts.items()])


def html_table(caption: str, rows: Iterable[Sequence[str]], head: Sequence[str] = (), note: str = "") -> str:
    """A table of text for a notebook; the first cell of each row heads it, a row of one cell heads a group.

    Example:
        >>> html_table("toy", [("a", "1 < 2")])
        '<table><caption>toy</caption><tbody><tr><th>a</th><td>1 &lt; 2</td></tr></tbody></table>'
    """
    body = ""
    for first, *cells in rows:
        span = "" if cells else f' colspan="{len(head) or 1}"'
        body += f"<tr><th{span}>{escape(first)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    top = f"<thead><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr></thead>" if head else ""
    below = f"<p>{escape(note)}</p>" if note else ""
    return f"<table><caption>{escape(caption)}</caption>{top}<tbody>{body}</tbody></table>{below}"


def as_refusal(name: str) -> str:
    """The message for an attribute that events do not have."""
    hint = f" Use events.dense().{name}." if hasattr(torch.Tensor, name) else ""
    return f"EventTensor has no attribute {name!r}.{hint}"
