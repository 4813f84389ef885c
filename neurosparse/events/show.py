"""Representation of events at a prompt and in a notebook."""

from __future__ import annotations

import torch

from neurosparse.events.parts import EventParts
from neurosparse.events.size import bits
from neurosparse.kernels.dispatch import by_reference

__all__ = ["as_html", "as_line", "as_refusal"]


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
    rows = "".join(f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items())
    return f"<table><caption>EventTensor</caption>{rows}</table>"


def as_refusal(name: str) -> str:
    """The message for an attribute that events do not have."""
    hint = f" Use events.dense().{name}." if hasattr(torch.Tensor, name) else ""
    return f"EventTensor has no attribute {name!r}.{hint}"
