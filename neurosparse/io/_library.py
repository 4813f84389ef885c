"""Optional libraries, imported when first used, and the size of the arrays in their compressed files."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

from neurosparse.errors import InputError

__all__ = ["check_hdf5", "check_unpacked", "claimed", "library"]

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


def check_unpacked(where: str, path: Path, claimed: int, room: int = ROOM) -> None:
    """Refuse a small file that states very large arrays, before memory is taken for them.

    Args:
        where: the public function, for errors.
        path: the file.
        claimed: bytes of the arrays that are to be read.
        room: bytes that a file of any size may unpack to.
    """
    stored = path.stat().st_size
    if claimed > room + RATIO * stored:
        got = f"{path.name}, {stored:,} bytes that state {claimed:,} bytes of arrays"
        expected = f"at most {room + RATIO * stored:,}"
        raise InputError(where, got=got, expected=expected, fix="The file is damaged: fetch or export it again.")


def claimed(part: Any) -> int:
    """Bytes in memory of an HDF5 data set, 16 for each element of any size; 0 of a group."""
    if not hasattr(part, "dtype"):
        return 0
    wide = 1 if part.dtype.kind in "biufc" else 16
    return math.prod(part.shape or ()) * max(int(part.dtype.itemsize), wide)


def check_hdf5(where: str, path: Path, room: int = ROOM) -> None:
    """:func:`check_unpacked` of all arrays of an HDF5 file; a file that is none passes."""
    h5py, sizes = library(where, "h5py", "shd"), []
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            file.visititems(lambda _, part: sizes.append(claimed(part)))
        check_unpacked(where, path, sum(sizes), room)
