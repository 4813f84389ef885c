"""The file formats of recordings, one row each: how to tell them, read them, write them, and what they can hold."""

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

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, load_events
from neurosparse.events.storage import FORMAT, write_atomically
from neurosparse.io import aedat, dat, evt, nmnist, nwb, pynapple, shd, tonic
from neurosparse.io._pixels import Source

__all__ = ["FORMATS", "Format", "Held", "Wish"]

HDF5, NO_LABEL = b"\x89HDF\r\n\x1a\n", -1


class Wish(NamedTuple):
    """What a file does not say and its reader or writer wants to know."""

    dt: float | None = None
    size: tuple[int, int] | None = None
    start: datetime | None = None


class Held(NamedTuple):
    """What a file holds: events, and what it calls its units and samples (None: numbers and no labels)."""

    events: EventTensor
    ids: list | None = None
    labels: Tensor | None = None


class Format(NamedTuple):
    """One format. ``holds``: of ids of units, labels of samples and silence after the last event, which survive."""

    title: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]
    read: Callable[[Path, Wish], Held]
    write: Callable[[Held, Path, Wish], None]
    holds: tuple[str, ...] = ("silence",)
    scan: Callable[[Path], Source] | None = None
    salvage: Callable[..., Any] | None = None
    continuous: bool = False  # spike trains in seconds: a step is the reader's choice
    axes: tuple[int, ...] = ()  # how many its units may have (none: any): three are polarity, y, x


def _camera(module: Any) -> dict[str, Any]:
    return {
        "read": lambda path, wish: Held(module.read(path, wish.dt, wish.size)),
        "scan": module.scan,
        "salvage": lambda path, wish: module.salvage(path, wish.dt, wish.size),
        "axes": (3,),
    }


def _write_nwb(held: Held, path: Path, wish: Wish) -> None:
    if wish.start is None or wish.start.tzinfo is None:
        fix = "Pass start=, for example 2020-01-01T00:00+00:00."
        raise InputError("io.nwb.write", got=f"start={wish.start}", expected="a date, time and zone", fix=fix)
    nwb.write(held.events, path, wish.start, held.ids)


def _read_shd(path: Path, wish: Wish) -> Held:
    events, labels = shd.read(path, wish.dt)
    return Held(events, None, None if bool((labels == NO_LABEL).all()) else labels)


def _write_shd(held: Held, path: Path, wish: Wish) -> None:
    none = torch.full((held.events.shape[1],), NO_LABEL)
    shd.write(held.events, none if held.labels is None else held.labels, path)


def _read_tonic(path: Path, wish: Wish) -> Held:
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, whose tokenizer has errors of its own
        fix = "Save it again: np.save(path, array)."
        raise InputError("io.tonic.read", got=f"{path.name}: {error}", expected="an array", fix=fix) from error
    if wish.size is None:
        fix = "Pass size=(height, width); (1, units) where there is no y."
        raise InputError("io.tonic.read", got=f"no size of the sensor in {path.name}", expected="one", fix=fix)
    height, width = wish.size
    polarities = 2 if "y" in (array.dtype.names or ()) else 1
    return Held(tonic.read(array, (width, height, polarities), wish.dt or 1e-6))


def _write_tonic(held: Held, path: Path, wish: Wish) -> None:
    content = BytesIO()
    np.save(content, tonic.write(held.events))
    write_atomically(path, content.getvalue())


def _trains(read: Callable[..., Any], path: Path, wish: Wish) -> Held:
    if wish.dt is None:
        got, fix = f"no dt for {path.name}, whose times are seconds", "Pass dt=, for example 1e-3."
        raise InputError("io.files.read", got=got, expected="seconds per step", fix=fix)
    events, ids = read(path, wish.dt)
    return Held(events, None if ids == list(range(len(ids))) else ids)


FORMATS = {
    "neurosparse": Format(
        "EventTensor.save",
        (".safetensors",),
        lambda head: FORMAT.encode() in head,
        lambda path, _: Held(load_events(path)),
        lambda held, path, _: held.events.save(path),
    ),
    "evt2": Format(
        "EVT 2.0",
        (".raw",),
        lambda head: head[:2] == b"% " and (b"% evt 2.0" in head or b"EVT2" in head),
        write=lambda held, path, _: evt.write(held.events, path, 2),
        **_camera(evt),
    ),
    "evt3": Format(
        "EVT 3.0",
        (".raw",),
        lambda head: head[:2] == b"% " and (b"% evt 3.0" in head or b"EVT3" in head),
        write=lambda held, path, _: evt.write(held.events, path, 3),
        **_camera(evt),
    ),
    "dat": Format(
        "DAT",
        (".dat",),
        lambda head: head[:2] == b"% " and b"% evt " not in head and b"% format " not in head,
        write=lambda held, path, _: dat.write(held.events, path),
        **_camera(dat),
    ),
    "aedat4": Format(
        "AEDAT4",
        (".aedat4",),
        lambda head: head.startswith(aedat.MAGIC),
        write=lambda held, path, _: aedat.write(held.events, path),
        **_camera(aedat),
    ),
    "nmnist": Format(
        "N-MNIST",
        (".bin", ".bs2"),
        lambda head: False,  # no header at all: told by its name
        lambda path, wish: Held(nmnist.read(path, wish.dt or 1e-6)),
        lambda held, path, _: nmnist.write(held.events, path),
        (),
        nmnist.scan,
        lambda path, wish: nmnist.salvage(path, wish.dt or 1e-6),
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
        partial(_trains, nwb.read),
        _write_nwb,
        ("silence", "ids"),
        continuous=True,
        axes=(1,),
    ),
    "pynapple": Format(
        "pynapple (npz)",
        (".npz",),
        lambda head: head.startswith(b"PK"),
        partial(_trains, pynapple.read),
        lambda held, path, _: pynapple.save(held.events, path, held.ids),
        ("silence", "ids"),
        continuous=True,
        axes=(1,),
    ),
}
