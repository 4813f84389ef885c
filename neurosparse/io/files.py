"""Recordings in files of any format: identify, read, write, convert and describe them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.events.timing import decimal, nanoseconds_to_step, step_nanoseconds
from neurosparse.io._arguments import check_dt, check_size
from neurosparse.io._pixels import MICRO, Damage, PixelSource, Salvage, refuse_silence, with_units
from neurosparse.io.formats import FORMATS, FileContent, Format, ReadOptions

__all__ = ["convert", "identify", "info", "read", "retime", "salvage", "write"]

DROPPABLE = ("ids", "labels", "silence")


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
    path = Path(path)
    if not path.is_file():
        raise MissingFileError("io.files", got=str(path), expected="a recording", fix="Check the path.")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InputError("io.files", got=f"{path.name}, an empty file", expected="a recording", fix="Fetch it again.")
    by_content = [name for name, format in FORMATS.items() if format.begins(head)]
    by_suffix = _by_suffix(path)
    both = [name for name in by_content if name in by_suffix]
    if not (found := both or by_content or by_suffix):
        got, expected = f"{path.name}, which begins with {head[:8]!r}", f"a file of {', '.join(FORMATS)}"
        raise InputError("io.files", got=got, expected=expected, fix="Name its format: format=, or --from.")
    return found[0]


def _by_suffix(path: Path) -> list[str]:
    return [name for name, format in FORMATS.items() if path.suffix.lower() in format.suffixes]


def _format(name: str) -> Format:
    return FORMATS[one_of("io.files", "format", name, tuple(FORMATS))]


def read(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
) -> EventTensor:
    """Events of a file of any format.

    Args:
        path: the file.
        dt: seconds per step; required for spike trains in seconds (NWB, pynapple). Default: what the file states, or
            a microsecond (SHD: a millisecond).
        size: ``(height, width)`` of the sensor, where the file does not state it.
        format: a key of ``FORMATS``; default: :func:`identify`.

    Raises:
        MissingFileError: no such file.
        InputError: an unknown format, a damaged file, a missing ``dt`` or ``size``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, f"{folder}/a.h5")
        ...     read(f"{folder}/a.h5").shape
        (2000, 1, 2)
    """
    return _content(Path(path), format, _options("io.files.read", dt, size)).events


def _options(where: str, dt: Any, size: Any) -> ReadOptions:
    """Checked before a file is opened."""
    return ReadOptions(check_dt(where, dt), check_size(where, size))


def _content(path: Path, name: str | None, options: ReadOptions) -> FileContent:
    content = _format(name or identify(path)).read(path, options)
    return content._replace(events=retime(content.events, options.dt))


def salvage(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
) -> Salvage:
    """The part of a camera's recording that precedes its damage; other formats are read in full or refused.

    Args: as in :func:`read`.

    Returns:
        ``(events, lost)``: the events, and a sentence on what was lost (None: nothing).

    Example: see :func:`neurosparse.io.evt.salvage`.
    """
    options = _options("io.files.salvage", dt, size)
    found = _format(format or identify(path))
    if found.salvage is None:
        return Salvage(read(path, dt, size, format), None)
    return found.salvage(Path(path), options)


def write(events: EventTensor, path: str | PathLike[str], format: str | None = None) -> None:
    """Write events in the format of the suffix (``.raw``: EVT 2.0); all of the file or none of it.

    Args:
        events: in the shape that the format keeps.
        path: the file to write.
        format: a key of ``FORMATS``; default: the format of the suffix.

    Raises:
        InputError: an unknown format, events that it cannot hold.

    Example: see :func:`read`.
    """
    _write(FileContent(events), Path(path), format)


def _write(content: FileContent, path: Path, name: str | None, start: datetime | None = None) -> str:
    names = [name] if name else _by_suffix(path)
    if not names:
        suffixes = ", ".join(dict.fromkeys(suffix for format in FORMATS.values() for suffix in format.suffixes))
        fix = "Or name the format: format=, to_format= or --to."
        raise InputError("io.files", got=f"{path.name}", expected=f"a name that ends in {suffixes}", fix=fix)
    _format(names[0]).write(content, path, start)
    return names[0]


def retime(events: EventTensor, dt: float | None) -> EventTensor:
    """The same spikes on steps of another duration, without loss: the rest of a time becomes the spike's offset.

    A spike at time ``t`` belongs to step ``floor((t - t0) / dt)``.

    Args:
        events: spikes in seconds (``dt`` is known).
        dt: seconds per step; None leaves events as they are.

    Raises:
        InputError: graded events, or no ``dt``.

    Example:
        >>> spikes = EventTensor.from_times([0.002, 0.0025], [1, 0], n_units=2, dt=5e-4)
        >>> retime(spikes, 1e-3).shape, retime(spikes, 1e-3).times().tolist()
        ((3, 1, 2), [2500000, 2000000])
    """
    dt = check_dt("io.files.retime", dt)
    if dt is None or dt == events.dt:
        return events
    if not events.binary:
        fix = "Merge whole steps: .bin(k, on_collision='sum')."
        raise InputError("io.files.retime", got="graded events", expected="spikes", fix=fix)
    nano, (_, sample, unit, _) = events.times(), events.aer()
    step = nanoseconds_to_step(nano, dt, events.t0)
    offset = nano - step_nanoseconds(step, dt, events.t0)
    row = step * events.shape[1] + sample
    order = torch.from_numpy(np.lexsort((offset.numpy(), unit.numpy(), row.numpy())))
    row, unit, offset = row[order], unit[order], offset[order]
    ratio = decimal(events.dt or dt) / decimal(dt)
    lengths = None
    if events.lengths is not None:
        lengths = torch.tensor([math.ceil(n * ratio) for n in events.lengths.tolist()], dtype=torch.int64)
    again = bool(((row.diff() == 0) & (unit.diff() == 0)).any())
    parts = {"row": row, "index": unit.int(), "offset": offset if again or bool(offset.any()) else None}
    shape = (math.ceil(events.shape[0] * ratio), *events.shape[1:])
    return EventTensor(shape, events.timing.with_(dt=dt, lengths=lengths), events.dtype, binary=True, **parts)


def convert(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    from_format: str | None = None,
    to_format: str | None = None,
    dt: float | None = None,
    on_collision: str | None = None,
    size: tuple[int, int] | None = None,
    units: Sequence[int] | None = None,
    sample: int | None = None,
    start: datetime | None = None,
    drop: Sequence[str] = (),
    partial: bool = False,
) -> dict[str, Any]:
    """Write a recording in another format. Nothing is lost that the arguments do not give up by name.

    Args:
        source, target: files.
        from_format, to_format: keys of ``FORMATS``; default: by first bytes and suffix.
        dt: seconds per step of the result; the rest of a spike's time is kept as its offset.
        on_collision: give up sub-step times; spikes of a unit in one step are added (``"sum"``), become one spike
            (``"any"``) or are refused (``"error"``).
        size: ``(height, width)`` of the sensor, where the source does not state it.
        units: shape of the units of the result, for example pixels in one row for spike trains.
        sample: number of one sample, for formats that hold one recording.
        start: when the session began, for NWB.
        drop: what may be lost where the target cannot hold it: ``"ids"`` of units, ``"labels"``, ``"silence"`` at the
            end.
        partial: of a damaged file, convert what precedes the damage.

    Returns:
        ``from, to, shape, events``, and under ``"lost"`` a sentence on what was lost (None: nothing).

    Raises:
        InputError: a source that cannot be read; events that the target cannot hold.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     spikes.save(f"{folder}/a.safetensors")
        ...     convert(f"{folder}/a.safetensors", f"{folder}/a.npz")["to"]
        'pynapple'
    """
    where, source, target = "io.files.convert", Path(source), Path(target)
    options, lost = _options(where, dt, size), []
    for part in drop:
        one_of(where, "drop", part, DROPPABLE)
    from_format = from_format or identify(source)
    if partial and _format(from_format).salvage:
        events, damage = salvage(source, dt, size, from_format)
        content, lost = FileContent(events), [damage] if damage else []
    else:
        # Merging starts from the steps of the file; spike trains in seconds have none, so they are read at dt.
        merging = on_collision is not None and not _format(from_format).continuous
        content = _content(source, from_format, options._replace(dt=None) if merging else options)
    events, labels = content.events, content.labels
    if on_collision is not None:
        events = _merged(events, options.dt, on_collision)
    if sample is not None:
        sample = whole(where, "sample", sample, -events.shape[1], events.shape[1] - 1)
        events, labels = events.samples(sample), None if labels is None else labels[[sample]]
    if units is not None:
        events = with_units(events, tuple(whole(where, "units", size, 0) for size in units))
    content = FileContent(events, content.ids if units is None else None, labels)
    to_format = to_format or next(iter(_by_suffix(target)), None)
    if to_format is not None:
        content, dropped = _fitted(content, to_format, drop)
        lost += dropped
    to_format = _write(content, target, to_format, start)
    facts = {"from": from_format, "to": to_format}
    facts |= {"shape": list(content.events.shape), "events": content.events.n_events}
    return facts | {"lost": "; ".join(lost) or None}


def _merged(events: EventTensor, dt: float | None, on_collision: str) -> EventTensor:
    """Events without sub-step times, on steps of ``dt``: any for spikes, whole multiples for graded events."""
    if dt is None or dt == events.dt:
        return events.bin(1, on_collision)
    if events.binary:
        return retime(events, dt).bin(1, on_collision)
    ratio = decimal(dt) / decimal(events.dt or dt)
    if ratio.denominator != 1:
        got, expected = f"dt={dt} for graded events of dt={events.dt}", f"a multiple of {events.dt}"
        raise InputError("io.files.convert", got=got, expected=expected, fix="Choose another dt.")
    return events.bin(int(ratio), on_collision)


def _fitted(content: FileContent, name: str, drop: Sequence[str]) -> tuple[FileContent, list[str]]:
    """What the target can hold, and what was dropped; the rest is refused."""
    where, events, lost = "io.files.convert", content.events, []
    axes, holds, units = _format(name).axes, _format(name).holds, events.shape[2:]
    if axes and len(units) not in axes:
        got, fix = f"units along {'x'.join(map(str, units))}", "Reshape them: units=, or --units. Flat indices stay."
        expected = f"{' or '.join('polarity, y, x' if n == 3 else 'one axis' for n in axes)} for {name}"
        raise InputError(where, got=got, expected=expected, fix=fix)
    for part in ("ids", "labels"):
        if getattr(content, part) is not None and part not in holds:
            if part not in drop:
                got, fix = f"{part} in the source", f"Give them up: drop={[part]}, or --drop {part}."
                raise InputError(where, got=got, expected=f"no {part}, which {name} cannot hold", fix=fix)
            content = content._replace(**{part: None})
            lost.append(part)
    if "silence" not in holds and "silence" in drop and events.n_events:
        last = int(events.aer().step.max()) + 1
        lost += [f"{events.shape[0] - last} steps of silence"] if last < events.shape[0] else []
        content = content._replace(events=events.steps(0, last))
    elif "silence" not in holds:
        refuse_silence(where, events)
    return content, lost


def info(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
) -> dict[str, Any]:
    """What a file holds. Recordings of cameras are counted block by block, in bounded memory.

    Args: as in :func:`read`; for spike trains in seconds, ``dt`` is 1e-3 by default.

    Returns:
        ``format, shape, axis, dt, t0, binary, events, duration`` (seconds), ``rate`` (events per second), ``unit_rate``
        (hertz, mean of all units), ``density`` and ``bytes``; None where neither the file nor an argument states it.

    Raises: as :func:`read`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     spikes.save(f"{folder}/a.safetensors")
        ...     info(f"{folder}/a.safetensors")["unit_rate"]
        0.5
    """
    path, options = Path(path), _options("io.files.info", dt, size)
    name = format or identify(path)
    found = _format(name)
    if found.scan is not None:
        facts = _scanned(found.scan(path), options)
    else:
        options = options._replace(dt=1e-3) if found.continuous and options.dt is None else options
        facts = _described(_content(path, name, options).events)
    return {"format": name, **facts, "bytes": path.stat().st_size}


def _described(events: EventTensor) -> dict[str, Any]:
    seconds = None if events.dt is None else events.n_rows * float(events.dt)
    facts = _rates(events.n_events, events.n_units, seconds)
    about = {"shape": list(events.shape), "axis": events.axis, "dt": events.dt, "t0": events.t0}
    return {**about, "binary": events.binary, "events": events.n_events, **facts, "density": events.density}


def _rates(events: int, units: int | None, seconds: float | None) -> dict[str, Any]:
    """``duration``: of all samples together."""
    rate = events / seconds if seconds else None
    return {"duration": seconds, "rate": rate, "unit_rate": rate / units if rate is not None and units else None}


def _scanned(source: PixelSource, options: ReadOptions) -> dict[str, Any]:
    """Facts of a camera's recording, without its events in memory."""
    events, first, last = 0, 0, -1
    try:
        for block in source.blocks:
            if len(block.time):
                first, last = first if events else int(block.time[0]), int(block.time[-1])
                events += len(block.time)
    except Damage as damage:
        fix = f"{events:,} events precede it: io.files.salvage or convert --partial reads them."
        raise InputError(f"{damage} {fix}") from damage
    note, size = source.note, options.size or source.size
    if note and events != note.events:
        got, expected = f"{events:,} events in {source.name}", f"{note.events:,}, as the file states"
        raise InputError(source.where, got=got, expected=expected, fix="The file is cut off or damaged.")
    own, t0 = (note.dt, note.t0) if note else (MICRO, first / 1e6 if source.epoch else 0.0)
    dt = options.dt or own
    seconds = note.steps * decimal(own) if note else decimal((last + 1) / 1e6) - decimal(t0) if events else decimal(0)
    steps = math.ceil(seconds / decimal(dt))
    units = None if size is None else 2 * size[0] * size[1]
    about = {"shape": [steps, 1, 2, *(size or (None, None))], "axis": "time", "dt": dt, "t0": t0}
    density = events / max(steps * units, 1) if units else None
    facts = _rates(events, units, float(steps * decimal(dt)))
    return {**about, "binary": True, "events": events, **facts, "density": density}
