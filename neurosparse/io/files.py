"""Recordings in files of any format: told by their content, read, written, converted and described."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.events.timing import check_dt, decimal, nanoseconds_to_step, step_nanoseconds
from neurosparse.io._pixels import MICRO, Damage, Salvage, refuse_silence, with_units
from neurosparse.io.formats import FORMATS, Format, Held, Wish

__all__ = ["convert", "identify", "info", "read", "retime", "salvage", "write"]

DROPPABLE = ("ids", "labels", "silence")


def identify(path: str | PathLike[str]) -> str:
    """The format of a file, a key of :data:`neurosparse.io.formats.FORMATS`: by its first bytes, then by its name.

    Args:
        path: the file.

    Raises:
        MissingFileError: no such file.
        InputError: an empty file, or neither its content nor its name is known.

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
    by_name = _by_name(path)
    both = [name for name in by_content if name in by_name]
    if not (found := both or by_content or by_name):
        got = f"{path.name}, which begins {head[:8]!r}"
        raise InputError("io.files", got=got, expected=f"one of {', '.join(FORMATS)}", fix="Name its format (--from).")
    return found[0]


def _by_name(path: Path) -> list[str]:
    return [name for name, format in FORMATS.items() if path.suffix.lower() in format.suffixes]


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise InputError("io.files", got=f"format {name!r}", expected=f"one of {', '.join(FORMATS)}")
    return FORMATS[name]


def read(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
) -> EventTensor:
    """Events of a file of any format.

    Args:
        path: the file.
        dt: seconds per step; wanted where a file keeps spike trains in seconds. Default: what the file says, or a
            microsecond (SHD: a millisecond).
        size: ``(height, width)`` of the sensor, where a file does not say.
        format: its name, where neither content nor suffix tells.

    Raises:
        MissingFileError: no such file.
        InputError: unknown, damaged, or without something that must be said.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, f"{folder}/a.h5")
        ...     read(f"{folder}/a.h5").shape
        (2000, 1, 2)
    """
    return _held(Path(path), format, Wish(_step("io.files.read", dt), size)).events


def _step(where: str, dt: Any) -> float | None:
    """Seconds per step as asked for, refused before a file is opened; times are kept in 64 bits of nanoseconds."""
    dt = check_dt(where, dt)
    if dt is not None and not 1e-9 <= dt <= 1e9:
        raise InputError(where, got=f"dt={dt:g}", expected="seconds per step, 1e-9 <= dt <= 1e9")
    return dt


def _held(path: Path, name: str | None, wish: Wish) -> Held:
    format = _format(name or identify(path))
    held = format.read(path, wish)
    return held._replace(events=retime(held.events, wish.dt))


def salvage(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
) -> Salvage:
    """What precedes the damage of a camera's recording, and what was lost; other formats are whole or nothing.

    Args: as in :func:`read`.

    Example: see :func:`neurosparse.io.evt.salvage`.
    """
    found, dt = _format(format or identify(path)), _step("io.files.salvage", dt)
    if found.salvage is None:
        return Salvage(read(path, dt, size, format), None)
    return found.salvage(Path(path), Wish(dt, size))


def write(events: EventTensor, path: str | PathLike[str], format: str | None = None) -> None:
    """Write events in the format that the suffix names (``.raw``: EVT 2.0), whole or not at all.

    Args:
        events: in the shape that the format keeps.
        path: where to.
        format: its name, where the suffix does not tell.

    Raises:
        InputError: an unknown format, events that it cannot hold.

    Example: see :func:`read`.
    """
    _write(Held(events), Path(path), format, Wish())


def _write(held: Held, path: Path, name: str | None, wish: Wish) -> str:
    names = [name] if name else _by_name(path)
    if not names:
        suffixes = ", ".join(dict.fromkeys(suffix for format in FORMATS.values() for suffix in format.suffixes))
        fix = "Name its format (--to)."
        raise InputError("io.files", got=f"{path.name}", expected=f"a name that ends in {suffixes}", fix=fix)
    _format(names[0]).write(held, path, wish)
    return names[0]


def retime(events: EventTensor, dt: float | None) -> EventTensor:
    """The same spikes on steps of another length; what falls between two steps becomes an offset, nothing is lost.

    A spike at time ``t`` falls into step ``floor((t - t0) / dt)``.

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
    if dt is None or dt == events.dt:
        return events
    if not events.binary:
        fix = "Merge whole steps: .bin(k, on_collision='sum')."
        raise InputError("io.files.retime", got="graded events", expected="spikes", fix=fix)
    if not 1e-9 <= dt < math.inf:
        raise InputError("io.files.retime", got=f"dt={dt}", expected="seconds per step, dt >= 1e-9")
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
    """Write a recording in another format. Lossless, or what is lost is asked for by name.

    Args:
        source, target: files.
        from_format, to_format: names of formats, where content and suffix do not tell.
        dt: seconds per step of the result; spikes keep their times as offsets.
        on_collision: drop sub-step times; spikes of a unit in one step are added (``"sum"``), one spike (``"any"``) or
            refused (``"error"``).
        size: ``(height, width)`` of the sensor, where the source does not say.
        units: axes of the units of the result: pixels in one row for spike trains, or back.
        sample: which one, for formats that hold one recording.
        start: when the session began, for NWB.
        drop: what the target cannot hold and may be lost: ``"ids"`` of units, ``"labels"``, ``"silence"`` at the end.
        partial: take what precedes the damage of a damaged file.

    Returns:
        Formats, shape and number of events, and under ``"lost"`` what was given up (None: nothing).

    Raises:
        InputError: what cannot be read, cannot be held or may not be lost.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     spikes.save(f"{folder}/a.safetensors")
        ...     convert(f"{folder}/a.safetensors", f"{folder}/a.npz")["to"]
        'pynapple'
    """
    dt = _step("convert", dt)
    source, target, wish = Path(source), Path(target), Wish(dt, size, start)
    if wrong := set(drop) - set(DROPPABLE):
        raise InputError("convert", got=f"drop {', '.join(sorted(wrong))}", expected=f"some of {', '.join(DROPPABLE)}")
    from_format, lost = from_format or identify(source), []
    if partial and _format(from_format).salvage:
        events, damage = salvage(source, dt, size, from_format)
        held, lost = Held(events), [damage] if damage else []
    else:
        held = _held(source, from_format, wish if on_collision is None else wish._replace(dt=_own(from_format, dt)))
    events = held.events
    if on_collision is not None:
        events = _merged(events, dt, on_collision)
    if sample is not None:
        events = events.samples(sample)
        held = held._replace(labels=None if held.labels is None else held.labels[[sample]])
    events = events if units is None else with_units(events, tuple(units))
    held = Held(events, held.ids if units is None else None, held.labels)
    to_format = to_format or next(iter(_by_name(target)), None)
    if to_format is not None:
        held, dropped = _fitted(held, to_format, drop)
        lost += dropped
    to_format = _write(held, target, to_format, wish)
    facts = {"from": from_format, "to": to_format, "shape": list(held.events.shape), "events": held.events.n_events}
    return facts | {"lost": "; ".join(lost) or None}


def _own(name: str, dt: float | None) -> float | None:
    """The step to read at before merging: spike trains have none of their own."""
    return dt if _format(name).continuous else None


def _merged(events: EventTensor, dt: float | None, on_collision: str) -> EventTensor:
    """Whole steps merged, sub-step times dropped; spikes may take any ``dt``, graded events multiples of theirs."""
    if dt is None or dt == events.dt:
        return events.bin(1, on_collision)
    if events.binary:
        return retime(events, dt).bin(1, on_collision)
    ratio = decimal(dt) / decimal(events.dt or dt)
    if ratio.denominator != 1:
        got = f"dt={dt} for graded events of dt={events.dt}"
        raise InputError("convert", got=got, expected="a multiple of it", fix="Choose another dt.")
    return events.bin(int(ratio), on_collision)


def _fitted(held: Held, name: str, drop: Sequence[str]) -> tuple[Held, list[str]]:
    """What the target can hold; the rest is refused, or dropped where that was asked for."""
    axes, units, lost, holds = _format(name).axes, held.events.shape[2:], [], _format(name).holds
    if axes and len(units) not in axes:
        shown, fix = "x".join(map(str, units)), "Lay them out (--units): the flat number of a unit stays."
        expected = f"{' or '.join('polarity, y, x' if n == 3 else 'one axis' for n in axes)} for {name}"
        raise InputError("convert", got=f"units along {shown}", expected=expected, fix=fix)
    for part in ("ids", "labels"):
        if getattr(held, part) is not None and part not in holds:
            if part not in drop:
                fix = f"Ask for it: drop {part} (--drop {part})."
                raise InputError("convert", got=f"{part} of the source", expected=f"none for {name}", fix=fix)
            held = held._replace(**{part: None})
            lost.append(part)
    if "silence" not in holds and "silence" in drop and held.events.n_events:
        last = int(held.events.aer().step.max()) + 1
        lost += [f"{held.events.shape[0] - last} steps of silence"] if last < held.events.shape[0] else []
        held = held._replace(events=held.events.steps(0, last))
    elif "silence" not in holds:
        refuse_silence("convert", held.events)
    return held, lost


def info(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
) -> dict[str, Any]:
    """What a file holds; recordings of cameras are counted block by block, whatever their length.

    Args: as in :func:`read`; spike trains in seconds are told at ``dt`` = 1e-3 where none is given.

    Returns:
        ``format, shape, axis, dt, t0, binary, events, duration`` (s), ``rate`` (events a second), ``unit_rate`` (mean
        of all units, hertz), ``density`` and ``bytes``; None where the file and its reader do not say.

    Raises: as :func:`read`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     spikes.save(f"{folder}/a.safetensors")
        ...     info(f"{folder}/a.safetensors")["unit_rate"]
        0.5
    """
    path, dt = Path(path), _step("info", dt)
    name = format or identify(path)
    found = _format(name)
    if found.scan is not None:
        facts = _scanned(found, path, dt, size)
    else:
        held = _held(path, name, Wish(dt or (1e-3 if found.continuous else None), size))
        facts = _described(held.events)
    return {"format": name, **facts, "bytes": path.stat().st_size}


def _described(events: EventTensor) -> dict[str, Any]:
    seconds = None if events.dt is None else events.n_rows * float(events.dt)
    facts = _rates(events.n_events, events.n_units, seconds)
    about = {"shape": list(events.shape), "axis": events.axis, "dt": events.dt, "t0": events.t0}
    return {**about, "binary": events.binary, "events": events.n_events, **facts, "density": events.density}


def _rates(events: int, units: int | None, seconds: float | None) -> dict[str, Any]:
    """``duration`` is that of all samples together."""
    rate = events / seconds if seconds else None
    return {"duration": seconds, "rate": rate, "unit_rate": rate / units if rate is not None and units else None}


def _scanned(found: Format, path: Path, dt: float | None, size: tuple[int, int] | None) -> dict[str, Any]:
    assert found.scan is not None
    source, events, first, last = found.scan(path), 0, 0, -1
    try:
        for block in source.blocks:
            if len(block.time):
                first, last = first if events else int(block.time[0]), int(block.time[-1])
                events += len(block.time)
    except Damage as damage:
        raise InputError(f"{damage} {events:,} events precede it: convert --partial keeps them.") from damage
    note, size = source.note, size or source.size
    if note and events != note.events:
        got = f"{events:,} events in {source.name}"
        raise InputError(source.where, got=got, expected=f"{note.events:,}, as it tells", fix="The file is cut off.")
    own, t0 = (note.dt, note.t0) if note else (MICRO, first / 1e6 if source.epoch else 0.0)
    dt = dt or own
    seconds = note.steps * decimal(own) if note else decimal((last + 1) / 1e6) - decimal(t0) if events else decimal(0)
    steps = math.ceil(seconds / decimal(dt))
    units = None if size is None else 2 * size[0] * size[1]
    about = {"shape": [steps, 1, 2, *(size or (None, None))], "axis": "time", "dt": dt, "t0": t0}
    density = events / max(steps * units, 1) if units else None
    return {
        **about,
        "binary": True,
        "events": events,
        **_rates(events, units, float(steps * decimal(dt))),
        "density": density,
    }
