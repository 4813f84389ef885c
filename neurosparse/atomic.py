"""Atomic writing of files: all of a file or none of it, with an optional checksum over every bit."""

from __future__ import annotations

import os
import tempfile
import zlib
from os import PathLike
from pathlib import Path

from neurosparse.errors import MissingFileError

__all__ = ["UNSEALED", "is_sealed", "seal", "write_atomically"]

# CRC-32 of the whole file with these eight digits in place of its own: no bit is left out.
CHECKSUM, UNSEALED = b'"crc32":"', "00000000"


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """All of the file or none of it: a temporary file beside it takes its name at the end."""
    path = Path(path)
    if not path.parent.is_dir():
        fix = f"Create {path.parent} first."
        raise MissingFileError("save", got=str(path), expected="a path in an existing folder", fix=fix)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def seal(content: bytes) -> bytes:
    """A safetensors file whose header says ``"crc32":"00000000"`` with its checksum in that place."""
    start = content.index(CHECKSUM) + len(CHECKSUM)
    return content[:start] + f"{zlib.crc32(content):08x}".encode() + content[start + len(UNSEALED) :]


def is_sealed(content: bytes) -> bool:
    """Whether a file is, bit by bit, what was sealed."""
    if CHECKSUM not in content:
        return False
    start = content.index(CHECKSUM) + len(CHECKSUM)
    return seal(content[:start] + UNSEALED.encode() + content[start + len(UNSEALED) :]) == content
