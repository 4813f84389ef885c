"""Every name of the package that a page writes in backquotes exists."""

import re
from functools import reduce
from pathlib import Path

import pytest

import neurosparse as ns

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAME = re.compile(r"`ns((?:\.\w+)+)")


def names(text: str) -> list[str]:
    return [found.removeprefix(".") for found in NAME.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_exists(page):
    for name in names(page.read_text(encoding="utf-8")):
        reduce(getattr, name.split("."), ns)


def test_a_name_that_does_not_exist_is_found():
    (name,) = names("a call of `ns.coding.nonesuch(x)`")
    with pytest.raises(AttributeError):
        reduce(getattr, name.split("."), ns)
