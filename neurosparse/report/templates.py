"""Jinja templates of the HTML pages, with the filters that write numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from neurosparse.plot.units import MISSING, plain, si
from neurosparse.report.columns import mean_sd
from neurosparse.report.csv_files import link
from neurosparse.report.table import percent, words

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["template"]


@lru_cache(maxsize=4)
def template(name: str) -> Template:
    """A page of this subpackage; a value that is missing prints as nothing, at any depth."""
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("neurosparse.report", "."), autoescape=True, undefined=ChainableUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "si": lambda value, unit="": si(value, unit) if isinstance(value, int | float) else str(value or MISSING),
        "plain": lambda value: plain(value) if isinstance(value, int | float) else MISSING,
        "constant": lambda value: f"{value:g}" if isinstance(value, int | float) else MISSING,
        "percent": percent,
        "stat": lambda value, digits: mean_sd(value or {}, digits),
        "words": lambda text: words(str(text)),
        "link": link,
    }
    return environment.get_template(name)
