"""The idx format of MNIST and its relatives: a magic number, big-endian sizes, then the values."""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from neurosparse.errors import InputError, MissingFileError

__all__ = ["read"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: str | Path) -> np.ndarray:
    """Read an idx file, plain or gzipped (told by its content, not its name).

    The layout is ``0 0 type ndim``, then ``ndim`` sizes as big-endian uint32, then the values in C order.

    Args:
        path: the file.

    Returns:
        A writable array in native byte order, of the shape that the header states.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is not an idx file, or it is truncated or longer than its header says.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "labels"
        >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read(file)
        array([7, 2, 1], dtype=uint8)

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "file formats".
    """
    content = _content(Path(path))
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        got, expected = f"{path} beginning {content[:4].hex(' ') or 'with nothing'}", "the magic number 00 00 TYPE NDIM"
        raise InputError("io.idx.read", got=got, expected=expected, fix="Check that this is an idx file.")
    dtype, start = np.dtype(_DTYPES[content[2]]), 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    expected = start + prod(shape) * dtype.itemsize
    if len(content) != expected:
        got = f"{path} with {len(content)} bytes"
        raise InputError("io.idx.read", got=got, expected=f"{expected} for shape {shape}", fix="Fetch it again.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise MissingFileError("io.idx.read", got=f"no file at {path}", expected="an idx file", fix="Check the path.")
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        got = f"{path}, a broken gzip file ({error})"
        raise InputError("io.idx.read", got=got, expected="a whole one", fix="Fetch it again.") from error
