"""The file formats of recordings, one row each: how to identify, read and write them, and what they can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from neurosparse.io import _camera, aedat, dat, evt, nmnist, nwb, pynapple, shd, tonic
from neurosparse.io._pixels import Note, Pixels, PixelSource

__all__ = ["FORMATS", "FileContent", "Format", "ReadOptions"]

HDF5, NO_LABEL = b"\x89HDF\r\n\x1a\n", -1


class ReadOptions(NamedTuple):
    """What a reader needs where the file does not state it, and what it does with single events that are wrong.

    Args:
        dt: seconds per step.
        size: ``(height, width)`` of the sensor; ``(1, units)`` for units on one axis.
        camera: number of a stream, where a file holds several cameras.
        on_error: ``"raise"``, ``"drop"`` or ``"sort"``: events off the sensor or out of order.
        t0, duration: seconds at which a recording starts, and how long it is.
        time_unit: of SHD files with integer times: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``.
        table: path of the table of units in an NWB file.
    """

    dt: float | None = None
    size: tuple[int, int] | None = None
    camera: int | None = None
    on_error: str = "raise"
    t0: float | None = None
    duration: float | None = None
    time_unit: str | None = None
    table: str | None = None


class FileContent(NamedTuple):
    """The content of a file: events, its names of units and labels of samples (None: it has none), and what else it
    holds that these have no place for."""

    events: EventTensor
    ids: list | None = None
    labels: Tensor | None = None
    left_out: tuple[str, ...] = ()


class Format(NamedTuple):
    """One format; those of cameras have ``scan`` and ``write_blocks`` too, which work in bounded memory.

    Args:
        title: its name in tables.
        suffixes: of its files, the usual one first.
        begins: whether a file that begins with these bytes may be of this format.
        read: content of a file.
        write: a file with this content; the third argument is when the session began, which NWB needs.
        scan: blocks of pixels of a camera's recording.
        write_blocks: a file of blocks in the order of time, ``(height, width)`` of the sensor and a note.
        holds: which of ``"silence"`` (steps after the last event), ``"ids"`` (of units) and ``"labels"`` (of samples)
            the format keeps.
        takes: options of the reader beside ``dt`` and ``size``.
        states: whether a file states the size of its sensor and the start; else they are arguments of the reader.
        continuous: spike trains in seconds, for which the reader chooses a step.
        axes: how many axes units may have (none: any number); three are polarity, y, x.
    """

    title: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]
    read: Callable[[Path, ReadOptions], FileContent]
    write: Callable[[FileContent, Path, datetime | None], None]
    scan: Callable[[Path, ReadOptions], PixelSource] | None = None
    write_blocks: Callable[[Iterator[Pixels], Path, tuple[int, int], Note], None] | None = None
    holds: tuple[str, ...] = ("silence",)
    takes: tuple[str, ...] = ()
    states: bool = True
    continuous: bool = False
    axes: tuple[int, ...] = ()


def _of_camera(scan: Callable[[Path, ReadOptions], PixelSource], module: Any, *takes: str) -> dict[str, Any]:
    def read(path: Path, options: ReadOptions) -> FileContent:
        source = scan(path, options)
        events = _camera.read(source, options.dt, options.size)
        return FileContent(events, left_out=tuple(source.losses()))

    write = {"write": lambda content, path, _: module.write(content.events, path), "write_blocks": module.write_blocks}
    return {"scan": scan, "read": read, **write, "takes": ("on_error", *takes), "axes": (3,)}


def _scan_evt(path: Path, options: ReadOptions, version: int = 2) -> PixelSource:
    source = evt.scan(path, "io.evt.read", options.on_error)
    if source.version != version:
        got, fix = (
            f"{path.name} of EVT {source.version}.0",
            f"Name its format: format='evt{source.version}', or omit it.",
        )
        raise InputError("io.evt.read", got=got, expected=f"EVT {version}.0", fix=fix)
    return source


def _scan_dat(path: Path, options: ReadOptions) -> PixelSource:
    return dat.scan(path, "io.dat.read", options.on_error)


def _scan_nmnist(path: Path, options: ReadOptions) -> PixelSource:
    return nmnist.scan(path, "io.nmnist.read", options.on_error, options.size)


def _scan_aedat(path: Path, options: ReadOptions) -> PixelSource:
    return aedat.scan(path, options.camera, "io.aedat.read", options.on_error)


def _write_nwb(content: FileContent, path: Path, start: datetime | None) -> None:
    if start is None or start.tzinfo is None:
        fix = "Pass start=, for example 2020-01-01T00:00+00:00."
        raise InputError("io.nwb.write", got=f"start={start}", expected="date, time and time zone", fix=fix)
    nwb.write(content.events, path, start, content.ids)


def _read_shd(path: Path, options: ReadOptions) -> FileContent:
    n_units = options.size[1] if options.size and options.size[0] == 1 else None
    events, labels = shd.read(path, options.dt, n_units=n_units, **_given(options, "duration", "t0", "time_unit"))
    known = None if bool((labels == NO_LABEL).all()) else labels
    return FileContent(events, None, known, tuple(shd.left_out(path)))


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
        raise InputError("io.tonic.read", got=got, expected="a known size", fix=fix)
    height, width = options.size
    polarities = 2 if "y" in (array.dtype.names or ()) else 1
    if polarities == 1 and height != 1:
        got, fix = f"size={options.size} for {path.name}, records without y", "Pass size=(1, units)."
        raise InputError("io.tonic.read", got=got, expected="a height of 1", fix=fix)
    given = _given(options, "duration", "t0")
    events = tonic.read(array, (width, height, polarities), options.dt or 1e-6, on_error=options.on_error, **given)
    return FileContent(events, left_out=tuple(tonic.left_out(array)))


def _write_tonic(content: FileContent, path: Path, _: datetime | None) -> None:
    array = BytesIO()
    np.save(array, tonic.write(content.events))
    write_atomically(path, array.getvalue(), "io.tonic.write")


def _given(options: ReadOptions, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _read_trains(module: Any, path: Path, options: ReadOptions) -> FileContent:
    if options.dt is None:
        got, fix = f"no dt for {path.name}, whose times are seconds", "Pass dt=, for example 1e-3."
        raise InputError("io.files.read", got=got, expected="seconds per step", fix=fix)
    table = {"table": options.table} if options.table is not None else {}
    events, ids = module.read(path, options.dt, **_given(options, "duration", "t0"), **table)
    known = None if ids == list(range(len(ids))) else ids
    return FileContent(events, known, left_out=tuple(module.left_out(path, **table)))


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
        **_of_camera(_scan_evt, evt),
    ),
    "evt3": Format(
        "EVT 3.0",
        (".raw",),
        lambda head: head[:2] == b"% " and (b"% evt 3.0" in head or b"EVT3" in head),
        **_of_camera(partial(_scan_evt, version=3), evt)
        | {
            "write": lambda content, path, _: evt.write(content.events, path, 3),
            "write_blocks": partial(evt.write_blocks, version=3),
        },
    ),
    "dat": Format(
        "DAT",
        (".dat",),
        lambda head: head[:2] == b"% " and b"% evt " not in head and b"% format " not in head,
        **_of_camera(_scan_dat, dat),
    ),
    "aedat4": Format(
        "AEDAT4",
        (".aedat4",),
        lambda head: head.startswith(aedat.MAGIC),
        **_of_camera(_scan_aedat, aedat, "camera"),
    ),
    "nmnist": Format(
        "N-MNIST",
        (".bin", ".bs2"),
        lambda head: False,  # no header: the suffix alone identifies it
        **_of_camera(_scan_nmnist, nmnist),
        holds=(),
        states=False,
    ),
    "shd": Format(
        "SHD, SSC (HDF5)",
        (".h5", ".hdf5"),
        lambda head: head.startswith(HDF5),
        _read_shd,
        _write_shd,
        holds=("silence", "labels"),
        takes=("t0", "duration", "time_unit"),
        axes=(1,),
    ),
    "tonic": Format(
        "tonic's array (npy)",
        (".npy",),
        lambda head: head.startswith(b"\x93NUMPY"),
        _read_tonic,
        _write_tonic,
        holds=(),
        takes=("on_error", "t0", "duration"),
        states=False,
        axes=(1, 3),
    ),
    "nwb": Format(
        "NWB",
        (".nwb",),
        lambda head: head.startswith(HDF5),
        partial(_read_trains, nwb),
        _write_nwb,
        holds=("silence", "ids"),
        takes=("t0", "duration", "table"),
        continuous=True,
        axes=(1,),
    ),
    "pynapple": Format(
        "pynapple (npz)",
        (".npz",),
        lambda head: head.startswith(b"PK"),
        partial(_read_trains, pynapple),
        lambda content, path, _: pynapple.save(content.events, path, content.ids),
        holds=("silence", "ids"),
        takes=("t0", "duration"),
        continuous=True,
        axes=(1,),
    ),
}
