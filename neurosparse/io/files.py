"""Recordings in files of any format: identify, read, write, convert and describe them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import torch

from neurosparse.events import EventTensor
from neurosparse.events.timing import NANO, decimal
from neurosparse.io import _camera, _content
from neurosparse.io._camera import Salvage
from neurosparse.io._content import open_recording, read_options
from neurosparse.io._conversion import convert, rebase, retime, write
from neurosparse.io._pixels import PixelSource
from neurosparse.io.formats import ReadOptions

__all__ = ["convert", "identify", "info", "read", "rebase", "retime", "salvage", "write"]


def identify(path: str | PathLike[str]) -> str:
    """The format of a file, a key of :data:`neurosparse.io.formats.FORMATS`, by its first bytes and its suffix.

    Args:
        path: the file.

    Raises:
        MissingFileError: no such file.
        InputError: an empty file; neither its first bytes nor its suffix belong to a known format.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     EventTensor.from_times([0.5], [0], n_units=1, dt=1e-3).save(f"{folder}/spikes")
        ...     identify(f"{folder}/spikes")
        'neurosparse'
    """
    return _content.identify(Path(path))


def read(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
    **options: Any,
) -> EventTensor:
    """Events of a file of any format.

    Args:
        path: the file.
        dt: seconds per step; required for spike trains in seconds (NWB, pynapple). Default: what the file states, or
            a microsecond (SHD: a millisecond).
        size: ``(height, width)`` of the sensor, or ``(1, units)``, where the file does not state it.
        format: a key of ``FORMATS``; default: :func:`identify`.
        options: further options of some formats: ``on_error`` (cameras), ``camera`` (AEDAT4), ``t0`` and ``duration``
            (spike trains, tonic), ``time_unit`` (SHD), ``table`` (NWB); see
            :class:`neurosparse.io.formats.ReadOptions`.

    Raises:
        MissingFileError: no such file.
        InputError: an unknown format, a damaged file, a missing ``dt`` or ``size``, an option that contradicts the
            file or that its format does not take.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, f"{folder}/a.h5")
        ...     read(f"{folder}/a.h5").shape
        (2000, 1, 2)
    """
    where = "io.files.read"
    opened = open_recording(where, Path(path), format, read_options(where, dt, size, **options))
    if opened.source is not None:
        return _camera.read(opened.source, opened.options.dt, opened.options.size)
    assert opened.content is not None
    return retime(opened.content.events, opened.options.dt)


def salvage(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
    **options: Any,
) -> Salvage:
    """The part of a camera's recording that precedes its damage; other formats are read in full or refused.

    Args: as in :func:`read`.

    Returns:
        ``(events, lost)``: the events, and a sentence on what was lost (None: nothing).

    Example: see :func:`neurosparse.io.evt.salvage`.
    """
    where = "io.files.salvage"
    opened = open_recording(where, Path(path), format, read_options(where, dt, size, **options))
    if opened.source is not None:
        return _camera.salvage(opened.source, opened.options.dt, opened.options.size)
    assert opened.content is not None
    return Salvage(retime(opened.content.events, opened.options.dt), None)


def info(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """What a file holds. Recordings of cameras are counted block by block, in bounded memory.

    Args: as in :func:`read`; for spike trains in seconds, ``dt`` is 1e-3 by default.

    Returns:
        ``format, shape, axis, dt, t0, binary, events``; ``first`` and ``last``, the times of the first and the last
        event in seconds, ``span`` between them and ``rate``, events per second of the span (of several samples: of the
        spans of all); ``duration``, seconds of all samples together, and ``unit_rate``, the mean of all units over it
        in hertz; ``density``, ``bytes``, and ``left_out``, what the file holds beside events. None where neither the
        file nor an argument states it.

    Raises: as :func:`read`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     spikes.save(f"{folder}/a.safetensors")
        ...     facts = info(f"{folder}/a.safetensors")
        >>> facts["first"], facts["last"], facts["unit_rate"]
        (0.0021, 0.5, 0.5)
    """
    where, path = "io.files.info", Path(path)
    name = format or identify(path)
    checked = read_options(where, dt, size, **options)
    if _content.find_format(name).continuous and checked.dt is None:
        checked = checked._replace(dt=1e-3)
    opened = open_recording(where, path, name, checked, quiet=True)
    if opened.source is not None:
        facts = _scanned(opened.source, checked)
    else:
        assert opened.content is not None
        facts = _described(retime(opened.content.events, checked.dt))
        facts["left_out"] = "; ".join(opened.content.left_out) or None
    left_out = facts.pop("left_out")
    return {"format": name, **facts, "bytes": path.stat().st_size, "left_out": left_out}


def _described(events: EventTensor) -> dict[str, Any]:
    seconds = None if events.dt is None else events.n_rows * float(events.dt)
    first = last = span = None
    if events.dt is not None and events.n_events:
        nano, sample = events.times(), events.aer().sample
        ends = torch.full((2, events.shape[1]), -1, dtype=torch.int64)
        for end, reduce in zip(ends, ("amin", "amax"), strict=True):
            end.scatter_reduce_(0, sample, nano, reduce, include_self=False)
        first, last, span = int(nano.min()), int(nano.max()), int((ends[1] - ends[0]).sum())
    times = _times(events.n_events, first, last, span)
    rates = _rates(events.n_events, events.n_units, seconds)
    about = {"shape": list(events.shape), "axis": events.axis, "dt": events.dt, "t0": events.t0}
    return {**about, "binary": events.binary, "events": events.n_events, **times, **rates, "density": events.density}


def _times(events: int, first: int | None, last: int | None, span: int | None) -> dict[str, Any]:
    """First and last time, span and rate over it, from nanoseconds."""
    seconds = {name: None if n is None else n / NANO for name, n in (("first", first), ("last", last), ("span", span))}
    return {**seconds, "rate": events / seconds["span"] if seconds["span"] else None}


def _rates(events: int, units: int | None, seconds: float | None) -> dict[str, Any]:
    rate = events / seconds if seconds else None
    return {"duration": seconds, "unit_rate": rate / units if rate is not None and units else None}


def _scanned(source: PixelSource, options: ReadOptions) -> dict[str, Any]:
    """Facts of a camera's recording, without its events in memory."""
    found, damage = _camera.facts(source, options.dt, options.size)
    if damage:
        raise _camera.unreadable(source, damage, found.events) from damage
    units = None if found.size is None else 2 * found.size[0] * found.size[1]
    seconds = float(found.steps * decimal(found.dt))
    nano = [None if at is None else at * 1000 for at in (found.first, found.last)]
    span = None if nano[0] is None or nano[1] is None else nano[1] - nano[0]
    about = {"shape": [found.steps, 1, 2, *(found.size or (None, None))], "axis": "time"}
    about |= {"dt": found.dt, "t0": found.t0, "binary": True, "events": found.events}
    about |= _times(found.events, nano[0], nano[1], span) | _rates(found.events, units, seconds)
    about["density"] = found.events / max(found.steps * units, 1) if units else None
    return about | {"left_out": "; ".join(source.losses()) or None}
