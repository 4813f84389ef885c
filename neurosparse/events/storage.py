"""Events on disk: one safetensors file, written atomically (``docs/format.md`` is normative)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from neurosparse.atomic import UNSEALED, is_sealed, seal, write_atomically
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events.checks import check_shape, check_timing
from neurosparse.events.parts import EventParts
from neurosparse.events.timing import Timing

__all__ = ["FORMAT", "described", "read", "write"]

FORMAT, VERSION = "neurosparse-events", "1"


def write(events: EventParts, path: str | PathLike[str]) -> None:
    """Write events that are on the CPU and have no graph, as CSR or bitmap, whichever takes fewer bytes."""
    steps, samples = events.shape[:2]
    n_cells = steps * samples * events.n_units
    csr = _csr_parts(events)
    csr_bytes = sum(part.numel() * part.element_size() for part in csr.values())
    as_bitmap = events.offset is None and (n_cells + 7) // 8 < csr_bytes
    parts = {"bitmap": _pack(events)} if as_bitmap else csr
    extras = {"value": events.value, "offset": events.offset, "lengths": events.lengths}
    parts |= {name: part.contiguous() for name, part in extras.items() if part is not None}
    header = described(events.shape, events.timing, events.dtype, "bitmap" if as_bitmap else "csr")
    write_atomically(path, seal(save(parts, metadata=header)), "EventTensor.save")


def described(shape: Sequence[int], timing: Timing, dtype: torch.dtype, layout: str) -> dict[str, str]:
    """The metadata of a file, before its checksum is known."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "layout": layout,
        "shape": json.dumps(list(shape)),
        "axis": json.dumps(timing.axis),
        "dt": json.dumps(timing.dt),
        "t0": json.dumps(timing.t0),
        "dtype": str(dtype).removeprefix("torch."),
        "crc32": UNSEALED,
    }


def _csr_parts(events: EventParts) -> dict[str, Tensor]:
    """Pointers, or the rows themselves where most rows are empty; indices in 16 bits where they fit."""
    n_rows = events.shape[0] * events.shape[1]
    index = events.index.to(torch.uint16) if events.n_units <= 2**16 else events.index
    if events.n_events * 2 < n_rows:
        return {"row": events.row, "index": index}
    return {"row_ptr": events.row_ptr.to(torch.int32 if events.n_events < 2**31 else torch.int64), "index": index}


def _pack(events: EventParts) -> Tensor:
    cells = np.zeros(events.shape[0] * events.shape[1] * events.n_units, dtype=np.uint8)
    cells[(events.row * events.n_units + events.index).numpy()] = 1
    return torch.from_numpy(np.packbits(cells, bitorder="little"))


def read(path: str | PathLike[str]) -> EventParts:
    """Events of a file, checked."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError("load_events", got=str(path), expected="an event file", fix="Check the path.")
    content = path.read_bytes()
    try:
        return _decode(content)
    except (SafetensorError, KeyError, ValueError, AttributeError, TypeError, RuntimeError, IndexError) as error:
        fix = "The file is damaged or is not ours; save it again from the source."
        got = f"{path.name}: {error}"
        raise InputError("load_events", got=got, expected=f"a complete {FORMAT} file", fix=fix) from error


def _decode(content: bytes) -> EventParts:
    parts = load(content)
    meta = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    if meta.get("format") != FORMAT or meta.get("version") != VERSION:
        raise ValueError(f"format {meta.get('format')!r} version {meta.get('version')!r}")
    if not is_sealed(content):
        raise ValueError("its checksum does not fit its content")
    shape, axis, dt, t0 = (json.loads(meta[name]) for name in ("shape", "axis", "dt", "t0"))
    dtype, layout = getattr(torch, meta["dtype"]), meta["layout"]
    if not isinstance(dtype, torch.dtype) or layout not in ("csr", "bitmap"):
        raise ValueError(f"dtype {meta['dtype']!r} and layout {layout!r}")
    parts = _rows(shape, layout, parts)
    _check(shape, parts)
    timing = check_timing("load_events", check_shape("load_events", shape), axis, dt, t0, parts.get("lengths"))
    events = {name: parts.get(name) for name in ("row", "index", "value", "offset")}
    return EventParts(shape, timing, dtype, binary="value" not in parts, **events)


def _rows(shape: list[int], layout: str, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    steps, samples, *units = shape
    n_units = int(np.prod(units))
    if layout == "bitmap":
        n_cells = steps * samples * n_units
        cells = np.unpackbits(parts.pop("bitmap").numpy(), bitorder="little", count=n_cells)
        cell = torch.from_numpy(np.flatnonzero(cells))
        row = cell.div(max(n_units, 1), rounding_mode="floor")
        return parts | {"row": row, "index": (cell - row * n_units).int()}
    if "row_ptr" in parts:
        counts = parts.pop("row_ptr").long().diff()
        if counts.numel() != steps * samples:
            raise ValueError(f"{counts.numel()} rows for shape {shape}")
        parts["row"] = torch.arange(counts.numel()).repeat_interleave(counts)
    return parts | {"index": parts["index"].int()}


def _check(shape: list[int], parts: dict[str, Tensor]) -> None:
    """The invariants of the event tensor, so that a damaged file never becomes a wrong number."""
    steps, samples, *units = shape
    row, index = parts["row"], parts["index"]
    n_units = int(np.prod(units))
    cell = row * n_units + index
    good = [
        _within(row, steps * samples) and _within(index, n_units),
        bool((cell.diff() >= 0).all() if "offset" in parts else (cell.diff() > 0).all()),
        all(parts[name].shape == index.shape for name in ("row", "value", "offset") if name in parts),
        "value" not in parts or bool(((parts["value"] != 0) & ~parts["value"].isnan()).all()),
        "offset" not in parts or bool((parts["offset"] >= 0).all()),
        "lengths" not in parts or bool((row // max(samples, 1) < parts["lengths"][row % max(samples, 1)]).all()),
    ]
    if not all(good):
        raise ValueError("events out of range, out of order or incomplete")


def _within(part: Tensor, size: int) -> bool:
    return part.dim() == 1 and (part.numel() == 0 or (int(part.min()) >= 0 and int(part.max()) < size))
