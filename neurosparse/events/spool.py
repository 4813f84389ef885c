"""Events that arrive in pieces of whole steps, written to disk in bounded memory (``docs/format.md``, layout csr)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from os import PathLike
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import torch

from neurosparse.atomic import CHECKSUM, writing
from neurosparse.errors import InputError
from neurosparse.events.checks import check_shape
from neurosparse.events.parts import EventParts
from neurosparse.events.storage import described
from neurosparse.events.timing import Timing

__all__ = ["write_pieces"]

BLOCK = 1 << 20  # numbers that are copied together
NAMES = {"<i8": "I64", "<i4": "I32", "<u2": "U16", "<f4": "F32"}


def write_pieces(
    pieces: Iterable[tuple[int, EventParts]],
    path: str | PathLike[str],
    shape: Sequence[int],
    timing: Timing,
    where: str = "EventTensor.save",
) -> int:
    """Write one recording that arrives in pieces; all of the file or none of it.

    Args:
        pieces: the first step and the events ``(steps, 1, *units)`` of each piece, in order; columns that are needed
            (values, offsets) are those that any piece has.
        path: the file to write.
        shape: ``(steps, 1, *units)`` of all.
        timing: of all.
        where: the public function, for errors.

    Returns:
        The number of events.
    """
    check_shape(where, tuple(shape))
    n_units = int(np.prod(shape[2:]))
    kinds = {"row": "<i8", "offset": "<i8", "value": "<f4", "index": "<u2" if n_units <= 2**16 else "<i4"}
    with ExitStack() as stack:
        columns = {name: stack.enter_context(TemporaryFile()) for name in kinds}
        events, needed, last = 0, {"row", "index"}, -1
        for start, piece in pieces:
            found = _columns(start, piece)
            row, index = found["row"], found["index"]
            if len(row) and not (last <= row[0] and row[-1] < shape[0] and 0 <= index.min() <= index.max() < n_units):
                raise InputError(where, got="pieces out of order", expected="steps and units in order")
            needed |= {name for name in ("offset", "value") if getattr(piece, name) is not None}
            for name, column in found.items():
                columns[name].write(column.astype(kinds[name]).tobytes())
            events, last = events + len(row), int(row[-1]) if len(row) else last
        if 2 * events >= shape[0]:
            columns["row_ptr"] = stack.enter_context(TemporaryFile())
            kinds["row_ptr"] = "<i4" if events < 2**31 else "<i8"
            for block in _pointers(columns["row"], events, shape[0]):
                columns["row_ptr"].write(block.astype(kinds["row_ptr"]).tobytes())
            needed = needed - {"row"} | {"row_ptr"}
        order = sorted(
            needed, key=lambda name: -np.dtype(kinds[name]).itemsize
        )  # wide numbers first, so all are aligned
        sizes = {name: shape[0] + 1 if name == "row_ptr" else events for name in order}
        meta = described(shape, timing, torch.float32, "csr")
        _assemble(path, where, meta, {name: (kinds[name], sizes[name], columns[name]) for name in order})
    return events


def _columns(start: int, piece: EventParts) -> dict[str, np.ndarray]:
    row = piece.row.numpy() + start
    zeros, ones = np.zeros(len(row), np.int64), np.ones(len(row), np.float32)
    return {
        "row": row,
        "index": piece.index.numpy(),
        "offset": zeros if piece.offset is None else piece.offset.numpy(),
        "value": ones if piece.value is None else piece.value.numpy(),
    }


def _blocks(file: IO[bytes], kind: str, count: int) -> Iterator[np.ndarray]:
    file.seek(0)
    for at in range(0, count, BLOCK):
        yield np.frombuffer(file.read(min(BLOCK, count - at) * np.dtype(kind).itemsize), kind)


def _pointers(rows: IO[bytes], events: int, n_rows: int) -> Iterator[np.ndarray]:
    """For each row, how many events come before it; then the number of all events."""
    done, before = 0, 0
    for block in _blocks(rows, "<i8", events):
        stop = int(block[-1]) + 1
        for first in range(done, stop, BLOCK):
            yield before + np.searchsorted(block, np.arange(first, min(first + BLOCK, stop)))
        done, before = max(done, stop), before + len(block)
    for first in range(done, n_rows + 1, BLOCK):
        yield np.full(min(BLOCK, n_rows + 1 - first), before)


def _assemble(path: Any, where: str, meta: dict[str, str], columns: dict[str, tuple[str, int, IO[bytes]]]) -> None:
    """A safetensors file: its header, then each column; the checksum is filled in at the end."""
    header: dict[str, Any] = {"__metadata__": meta}
    at = 0
    for name, (kind, count, _) in columns.items():
        stop = at + count * np.dtype(kind).itemsize
        header[name] = {"dtype": NAMES[kind], "shape": [count], "data_offsets": [at, stop]}
        at = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    content = len(text).to_bytes(8, "little") + text
    with writing(path, where) as file:
        file.write(content)
        check = zlib.crc32(content)
        for kind, count, column in columns.values():
            for block in _blocks(column, kind, count):
                file.write(block.tobytes())
                check = zlib.crc32(block.tobytes(), check)
        file.seek(content.index(CHECKSUM) + len(CHECKSUM))
        file.write(f"{check:08x}".encode())
