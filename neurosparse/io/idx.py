"""idx: the file format of MNIST and similar data sets; a magic number, big-endian sizes, then the values."""

import gzip
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import one_of
from neurosparse.errors import InputError, MissingFileError
from neurosparse.io._library import check_unpacked

__all__ = ["labelled_images", "read"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: str | Path) -> np.ndarray:
    """Read an idx file, plain or gzipped (detected by its first bytes).

    The layout is ``0 0 type ndim``, then ``ndim`` sizes as big-endian uint32, then the values in C order.

    Args:
        path: the file.

    Returns:
        A writable array in native byte order, of the shape in the header.

    Raises:
        MissingFileError: there is no such file.
        InputError: not an idx file, or its length differs from what its header states.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "labels"
        >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read(file)
        array([7, 2, 1], dtype=uint8)

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "file formats".
    """
    content = _content(Path(path), 4)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        got, expected = f"{path} beginning {content[:4].hex(' ') or 'with nothing'}", "the magic number 00 00 TYPE NDIM"
        raise InputError("io.idx.read", got=got, expected=expected, fix="Check that this is an idx file.")
    dtype, start = np.dtype(_DTYPES[content[2]]), 4 + 4 * content[3]
    content = _content(Path(path), start)
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    expected = start + prod(shape) * dtype.itemsize
    check_unpacked("io.idx.read", Path(path), expected)
    content = _content(Path(path), expected + 1)
    if len(content) != expected:
        got = f"{path} with {'more' if len(content) > expected else len(content)} bytes"
        raise InputError("io.idx.read", got=got, expected=f"{expected} for shape {shape}", fix="Fetch the file again.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def labelled_images(files: Mapping[str, Path], part: str) -> tuple[Tensor, Tensor]:
    """Images and labels of one part of MNIST, or of a data set with the same four files.

    Args:
        files: paths by file name, as :func:`neurosparse.io.manifest.locate` returns them.
        part: ``"train"`` or ``"t10k"``.

    Returns:
        Images ``(samples, 1, height, width)``, 0..255 scaled to 0..1, and labels ``(samples)``.

    Raises:
        MissingFileError: a file of that part is not among them.
        InputError: as :func:`read`; unequal numbers of images and labels.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> contents = (0, 0, 8, 3, *(0, 0, 0, 1) * 3, 255), (0, 0, 8, 1, 0, 0, 0, 1, 7)
        >>> files = {f"train-{kind}-ubyte.gz": folder / kind for kind in ("images-idx3", "labels-idx1")}
        >>> for path, content in zip(files.values(), contents):
        ...     _ = path.write_bytes(bytes(content))
        >>> labelled_images(files, "train")
        (tensor([[[[1.]]]]), tensor([7]))
    """
    one_of("io.idx.labelled_images", "part", part, ("train", "t10k"))
    names = [f"{part}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
    if missing := [name for name in names if name not in files]:
        got = f"files without {' and '.join(missing)}"
        raise MissingFileError("io.idx.labelled_images", got=got, expected="images and labels of the part")
    images, labels = (torch.from_numpy(read(files[name])) for name in names)
    if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
        got = f"images {tuple(images.shape)}, labels {tuple(labels.shape)}"
        raise InputError("io.idx.labelled_images", got=got, expected="(samples, height, width) and (samples)")
    return images.unsqueeze(1).float() / 255, labels.long()


def _content(path: Path, size: int) -> bytes:
    """The first bytes of a file, decompressed; fewer where it ends earlier."""
    if not path.is_file():
        raise MissingFileError("io.idx.read", got=f"no file at {path}", expected="an idx file", fix="Check the path.")
    with path.open("rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            raw.seek(0)
            return raw.read(size)
    try:
        with gzip.open(path) as file:
            return file.read(size)
    except (EOFError, OSError, zlib.error) as error:
        got = f"{path}, a broken gzip file ({error})"
        raise InputError("io.idx.read", got=got, expected="a complete file", fix="Fetch the file again.") from error
