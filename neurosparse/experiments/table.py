"""TOML files of contestants: read whole, refused with a hint."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from neurosparse.errors import InputError, MissingFileError

__all__ = ["read_table", "refuse_unknown"]


def read_table(path: Path, where: str) -> dict[str, Any]:
    """The keys of one file.

    Raises:
        MissingFileError: no such file, naming those beside it.
        InputError: not TOML.
    """
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.toml"))) or "none"
        raise MissingFileError("contestant", got=str(path), expected=f"one of: {known}", fix="Check the name.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(where, got=f"{path.name}: {error}", expected="TOML") from error


def refuse_unknown(table: Iterable[str], known: list[str], where: str) -> None:
    """Every key is one that will be read; otherwise the nearest is named."""
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            fix = f"Did you mean {near[0]!r}?" if near else ""
            raise InputError(where, got=f"key {key!r}", expected=", ".join(known), fix=fix)
