"""Optional libraries: imported when first used; the error of a missing one names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from neurosparse.errors import InputError

__all__ = ["library"]


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
