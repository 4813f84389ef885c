"""The file formats of recordings, one row each: how to identify, read and write them, and what they can hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.atomic import write_atomically
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, load_events
from neurosparse.events.storage import FORMAT
from neurosparse.io import aedat, dat, evt, nmnist, nwb, pynapple, shd, tonic
from neurosparse.io._pixels import PixelSource, Salvage

__all__ = ["FORMATS", "FileContent", "Format", "ReadOptions"]

HDF5, NO_LABEL = b"\x89HDF\r\n\x1a\n", -1


class ReadOptions(NamedTuple):
    """What a reader needs where the file does not state it: seconds per step, ``(height, width)`` of the sensor."""

    dt: float | None = None
    size: tuple[int, int] | None = None


class FileContent(NamedTuple):
    """The content of a file: events, and its names of units and labels of samples (None: it has none)."""

    events: EventTensor
    ids: list | None = None
    labels: Tensor | None = None


class Format(NamedTuple):
    """One format.

    Args:
        title: its name in tables.
        suffixes: of its files, the usual one first.
        begins: whether a file that begins with these bytes may be of this format.
        read: content of a file.
        write: a file with this content; the third argument is when the session began, which NWB needs.
        holds: which of ``"silence"`` (steps after the last event), ``"ids"`` (of units) and ``"labels"`` (of samples)
            the format keeps.
        scan: blocks of pixels of a camera's recording, in bounded memory.
        salvage: what precedes the damage of a damaged file.
        continuous: spike trains in seconds, for which the reader chooses a step.
        axes: how many axes units may have (none: any number); three are polarity, y, x.
    """

    title: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]
    read: Callable[[Path, ReadOptions], FileContent]
    write: Callable[[FileContent, Path, datetime | None], None]
    holds: tuple[str, ...] = ("silence",)
    scan: Callable[[Path], PixelSource] | None = None
    salvage: Callable[[Path, ReadOptions], Salvage] | None = None
    continuous: bool = False
    axes: tuple[int, ...] = ()


def _camera(module: Any) -> dict[str, Any]:
    return {
        "read": lambda path, options: FileContent(module.read(path, options.dt, options.size)),
        "scan": module.scan,
        "salvage": lambda path, options: module.salvage(path, options.dt, options.size),
        "axes": (3,),
    }


def _write_nwb(content: FileContent, path: Path, start: datetime | None) -> None:
    if start is None or start.tzinfo is None:
        fix = "Pass start=, for example 2020-01-01T00:00+00:00."
        raise InputError("io.nwb.write", got=f"start={start}", expected="date, time and time zone", fix=fix)
    nwb.write(content.events, path, start, content.ids)


def _read_shd(path: Path, options: ReadOptions) -> FileContent:
    events, labels = shd.read(path, options.dt)
    return FileContent(events, None, None if bool((labels == NO_LABEL).all()) else labels)


def _write_shd(content: FileContent, path: Path, _: datetime | None) -> None:
    none = torch.full((content.events.shape[1],), NO_LABEL)
    shd.write(content.events, none if content.labels is None else content.labels, path)


def _read_tonic(path: Path, options: ReadOptions) -> FileContent:
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, whose tokenizer has errors of its own
        fix = "Save it again: np.save(path, array)."
        raise InputError("io.tonic.read", got=f"{path.name}: {error}", expected="a NumPy array", fix=fix) from error
    if options.size is None:
        fix = "Pass size=(height, width), or size=(1, units) for records without y."
        got = f"{path.name} without the size of its sensor"
        raise InputError("io.tonic.read", got=got, expected="(height, width)", fix=fix)
    height, width = options.size
    polarities = 2 if "y" in (array.dtype.names or ()) else 1
    return FileContent(tonic.read(array, (width, height, polarities), options.dt or 1e-6))


def _write_tonic(content: FileContent, path: Path, _: datetime | None) -> None:
    array = BytesIO()
    np.save(array, tonic.write(content.events))
    write_atomically(path, array.getvalue(), "io.tonic.write")


def _read_trains(read: Callable[..., Any], path: Path, options: ReadOptions) -> FileContent:
    if options.dt is None:
        got, fix = f"no dt for {path.name}, whose times are seconds", "Pass dt=, for example 1e-3."
        raise InputError("io.files.read", got=got, expected="seconds per step", fix=fix)
    events, ids = read(path, options.dt)
    return FileContent(events, None if ids == list(range(len(ids))) else ids)


FORMATS = {
    "neurosparse": Format(
        "EventTensor.save",
        (".safetensors",),
        lambda head: FORMAT.encode() in head,
        lambda path, _: FileContent(load_events(path)),
        lambda content, path, _: content.events.save(path),
    ),
    "evt2": Format(
        "EVT 2.0",
        (".raw",),
        lambda head: head[:2] == b"% " and (b"% evt 2.0" in head or b"EVT2" in head),
        write=lambda content, path, _: evt.write(content.events, path, 2),
        **_camera(evt),
    ),
    "evt3": Format(
        "EVT 3.0",
        (".raw",),
        lambda head: head[:2] == b"% " and (b"% evt 3.0" in head or b"EVT3" in head),
        write=lambda content, path, _: evt.write(content.events, path, 3),
        **_camera(evt),
    ),
    "dat": Format(
        "DAT",
        (".dat",),
        lambda head: head[:2] == b"% " and b"% evt " not in head and b"% format " not in head,
        write=lambda content, path, _: dat.write(content.events, path),
        **_camera(dat),
    ),
    "aedat4": Format(
        "AEDAT4",
        (".aedat4",),
        lambda head: head.startswith(aedat.MAGIC),
        write=lambda content, path, _: aedat.write(content.events, path),
        **_camera(aedat),
    ),
    "nmnist": Format(
        "N-MNIST",
        (".bin", ".bs2"),
        lambda head: False,  # no header: the suffix alone identifies it
        lambda path, options: FileContent(nmnist.read(path, options.dt or 1e-6)),
        lambda content, path, _: nmnist.write(content.events, path),
        (),
        nmnist.scan,
        lambda path, options: nmnist.salvage(path, options.dt or 1e-6),
        axes=(3,),
    ),
    "shd": Format(
        "SHD, SSC (HDF5)",
        (".h5", ".hdf5"),
        lambda head: head.startswith(HDF5),
        _read_shd,
        _write_shd,
        ("silence", "labels"),
        axes=(1,),
    ),
    "tonic": Format(
        "tonic's array (npy)",
        (".npy",),
        lambda head: head.startswith(b"\x93NUMPY"),
        _read_tonic,
        _write_tonic,
        (),
        axes=(1, 3),
    ),
    "nwb": Format(
        "NWB",
        (".nwb",),
        lambda head: head.startswith(HDF5),
        partial(_read_trains, nwb.read),
        _write_nwb,
        ("silence", "ids"),
        continuous=True,
        axes=(1,),
    ),
    "pynapple": Format(
        "pynapple (npz)",
        (".npz",),
        lambda head: head.startswith(b"PK"),
        partial(_read_trains, pynapple.read),
        lambda content, path, _: pynapple.save(content.events, path, content.ids),
        ("silence", "ids"),
        continuous=True,
        axes=(1,),
    ),
}
