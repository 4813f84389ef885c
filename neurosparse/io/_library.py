"""Libraries that only some formats need: imported when used, and named with what to install where they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from neurosparse.errors import InputError

__all__ = ["library"]


def library(where: str, name: str, extra: str) -> ModuleType:
    """Import ``name``, or say which extra brings it.

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
