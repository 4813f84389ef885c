"""idx files: round trips of every type and shape; damaged files are refused."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neurosparse.errors import InputError, MissingFileError
from neurosparse.io import idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def _written(array: np.ndarray) -> bytes:
    """The published layout, written without the reader."""
    code = CODES[array.dtype.str[1:]]
    return (
        struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@given(data=st.data(), dtype=st.sampled_from(sorted(CODES)), zipped=st.booleans())
def test_round_trip(file, data, dtype, zipped):
    shape = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
    array = data.draw(arrays.arrays(np.dtype(dtype), shape))
    file.write_bytes(gzip.compress(_written(array)) if zipped else _written(array))
    result = idx.read(file)
    assert result.dtype == array.dtype and result.dtype.isnative and result.flags.writeable
    np.testing.assert_array_equal(result, array)


@given(cut=st.integers(0, 27), zipped=st.booleans())
def test_a_truncated_file_is_refused(file, cut, zipped):
    whole = _written(np.arange(16, dtype="u1").reshape(4, 4))
    assert len(whole) == 28
    file.write_bytes(gzip.compress(whole)[:cut] if zipped else whole[:cut])
    with pytest.raises(InputError, match=r"io\.idx\.read: got"):
        idx.read(file)


@pytest.mark.parametrize("head", [b"\0\1\x08\1", b"\0\0\x0a\1", b"PK\3\4"])
def test_a_wrong_magic_number_is_refused(file, head):
    file.write_bytes(head + bytes(8))
    with pytest.raises(InputError, match="magic number"):
        idx.read(file)


def test_trailing_bytes_are_refused(file):
    file.write_bytes(_written(np.zeros(3, "u1")) + b"\0")
    with pytest.raises(InputError, match=r"expected 11 for shape \(3,\)"):
        idx.read(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="no file at"):
        idx.read(tmp_path / "none")
