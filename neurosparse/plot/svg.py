"""Figures as SVG text inside an HTML page: reproducible, in the text colour of the page, with unique ids."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

__all__ = ["svg"]

INK = "#010203"  # replaced by the text colour of the page
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "neurosparse",
    "text.parse_math": False,  # names of models are not mathematics
    "font.size": 9,
    "legend.labelcolor": INK,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


def svg(
    draw: Callable[..., Any],
    name: str,
    label: str,
    size: tuple[float, float],
    margins: tuple[float, float, float, float],
) -> str:
    """One figure as an ``<svg>`` element.

    Args:
        draw: a plot that takes only ``ax``.
        name: prefix of its ids, unique on the page.
        label: text for screen readers.
        size: width and height in inches.
        margins: left, bottom, right, top in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # Letters are drawn by the browser, which has fonts for what matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = Figure(figsize=size)
        left, bottom, right, top = margins
        width, height = size
        box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
        draw(ax=figure.add_axes(box))
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return inline(buffer.getvalue(), name, label)


def inline(text: str, name: str, label: str) -> str:
    """A standalone SVG document as an element inside HTML."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]*)"', text)
    text = re.sub(
        r"<svg[^>]*>",
        f'<svg role="img" aria-label="{escape(label)}" viewBox="{view[1] if view else ""}">',
        text,
        count=1,
    )
    # Several figures share one page: an id must not occur twice.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    return text.replace(INK, "currentColor").replace("'DejaVu Sans', ", "")
