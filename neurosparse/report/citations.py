"""BibTeX of the methods that were used: authors and years in their sources, found in one file of references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unicodedata import normalize

from neurosparse.report.sources import sources

__all__ = ["authors", "citations", "cited", "entries", "keys_of", "references"]

ACCENT = re.compile(r"\\([`'^~\"])\{?(\w)\}?")  # as TeX writes it
COMBINING = {"`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", '"': "\u0308"}
ENTRY = re.compile(r"^@\w+\{([^,\s]+),\n.*?^\}", re.DOTALL | re.MULTILINE)


def entries(text: str) -> dict[str, str]:
    """The entries of BibTeX by key; each ends with a brace at the beginning of a line."""
    return {found[1]: found[0] for found in ENTRY.finditer(text)}


@cache
def references() -> Mapping[str, str]:
    """Every reference by its key, read from ``references.bib``.

    Example:
        >>> "Mark" in references()["horowitz2014computing"]
        True
    """
    text = Path(__file__).with_name("references.bib").read_text(encoding="utf-8")
    return MappingProxyType(entries(text))


def cited(text: str) -> dict[str, str]:
    """The references that a source names by first author and year, and those it holds as BibTeX, by key.

    Where one name and year fit two references, those whose first word of the title is in the text.

    Example:
        >>> list(cited("Davies 2018 (Loihi); Blumensath & Davies (2008); Efron & Tibshirani 1996"))
        ['blumensath2008iterative', 'davies2018loihi']
    """
    own = entries(text)
    if own:
        return {key: references().get(key, entry) for key, entry in own.items()}
    fits = {key: name_and_year for key, name_and_year in _names().items() if re.search(name_and_year, text)}
    patterns = list(fits.values())
    return {
        key: references()[key]
        for key, pattern in fits.items()
        if patterns.count(pattern) == 1 or _first_word(key).lower() in text.lower()
    }


@cache
def _names() -> dict[str, str]:
    """How a source may name each reference: first author, others, year, with no other title or year between."""
    found = {}
    for key, entry in references().items():
        surname = re.escape(_field(entry, "author").partition(",")[0])
        surname = re.sub(r"\\\{\\\\.\w\\\}", ".", surname)  # an accent as TeX writes it is one letter
        found[key] = rf"(?<!& )\b{surname}\b[^\d;:\"]*?\(?\b{_field(entry, 'year')}\b"
    return found


def _field(entry: str, name: str) -> str:
    return re.findall(rf"^  {name} = \{{(.*)\}},$", entry, re.MULTILINE)[0]


def _first_word(key: str) -> str:
    return re.findall(r"\w[\w-]*", _field(references()[key], "title"))[0]


def keys_of(texts: Iterable[str]) -> list[str]:
    """Keys of the references that sources name, in order."""
    return sorted({key for text in texts for key in cited(text)})


def authors(key: str) -> str:
    """A reference by its authors and year, as a text names it.

    Example:
        >>> authors("horowitz2014computing"), authors("beck2009fast"), authors("lemaire2022analytical")
        ('Horowitz (2014)', 'Beck and Teboulle (2009)', 'Lemaire et al. (2022)')
    """
    entry = references()[key]
    names = [name.partition(",")[0] for name in _field(entry, "author").split(" and ")]
    names = [ACCENT.sub(lambda found: found[2] + COMBINING[found[1]], name) for name in names]
    shown = " and ".join(names) if len(names) < 3 and names[-1] != "others" else f"{names[0]} et al."
    shown = normalize("NFC", shown.translate({ord("{"): None, ord("}"): None}))
    return f"{shown} ({_field(entry, 'year')})"


def citations(*objects: Any) -> str:
    """BibTeX of exactly the methods and constants that these objects rest on, each once, by key.

    Sources are read from docstrings of methods and from the rows of constants.

    Args:
        objects: energy reports, operation counts, comparisons; networks, of other libraries too; penalties, codes,
            learners, surrogates, channels, prunings; manifests of data sets; and functions or classes of this library.

    Returns:
        BibTeX; empty if nothing has a source. Each entry has a DOI, or an eprint, a book number or an address.

    Raises:
        InputError: something that this library has not made and no network.

    Example:
        >>> from neurosparse.neurons import LIF, atan
        >>> print(*[line for line in citations(LIF(beta=0.9, surrogate=atan())).splitlines() if line[:1] == "@"])
        @article{eshraghian2023training, @inproceedings{fang2021incorporating, @article{neftci2019surrogate,
    """
    found: dict[str, str] = {}
    for thing in objects:
        for text in sources(thing):
            found |= cited(text)
    return "\n\n".join(found[key] for key in sorted(found))
