"""Optional libraries, imported when first used, and the size of the arrays in their compressed files."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from neurosparse.errors import InputError

__all__ = ["check_unpacked", "library"]

ROOM, RATIO = 1 << 26, 16  # arrays of a sound file are at most 64 MiB and 16 times its size


def library(where: str, name: str, extra: str) -> ModuleType:
    """Import ``name``; the error of a missing library names the ``extra`` that installs it.

    Example:
        >>> try:
        ...     library("io.nwb.read", "no_such_library", "nwb")
        ... except InputError as error:
        ...     print(error)
        io.nwb.read: got no no_such_library; expected it to be installed. pip install "neurosparse[nwb]"
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package, fix = name.split(".")[0], f'pip install "neurosparse[{extra}]"'
        raise InputError(where, got=f"no {package}", expected="it to be installed", fix=fix) from error


def check_unpacked(where: str, path: Path, claimed: int) -> None:
    """Refuse a small file that states very large arrays, before memory is taken for them.

    Args:
        where: the public function, for errors.
        path: the file.
        claimed: bytes of the arrays that are to be read.
    """
    stored = path.stat().st_size
    if claimed > ROOM + RATIO * stored:
        got = f"{path.name}, {stored:,} bytes that state {claimed:,} bytes of arrays"
        expected = f"at most {ROOM + RATIO * stored:,}"
        raise InputError(where, got=got, expected=expected, fix="The file is damaged: fetch or export it again.")
