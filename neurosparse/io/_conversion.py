"""Conversion of recordings between formats: what the target can hold, what is lost, and the check of what was written.

Recordings of cameras go from file to file in blocks (``_blocks``), all others through an event tensor.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from neurosparse.atomic import writing
from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.timing import decimal, nanoseconds_to_step, step_nanoseconds
from neurosparse.io import _blocks, _camera
from neurosparse.io._arguments import check_dt
from neurosparse.io._content import Opened, by_suffix, find_format, identify, open_recording, read_options
from neurosparse.io._pixels import refuse_silence, with_units
from neurosparse.io.formats import FORMATS, FileContent, ReadOptions

__all__ = ["convert", "rebase", "retime", "write"]

DROPPABLE = ("ids", "labels", "silence")
LARGE = 1 << 25  # bytes of a camera's file that becomes an event tensor in pieces
COLLISIONS = ("sum", "any", "error")


def write(events: EventTensor, path: str | PathLike[str], format: str | None = None) -> None:
    """Write events in the format of the suffix (``.raw``: EVT 2.0), and read them back; all of the file or none of it.

    Args:
        events: in the shape that the format keeps.
        path: the file to write.
        format: a key of ``FORMATS``; default: the format of the suffix.

    Raises:
        InputError: an unknown format, events that it cannot hold.

    Example: see :func:`neurosparse.io.files.read`.
    """
    where, path = "io.files.write", Path(path)
    name = _target_format(path, format)
    _written(where, path, lambda draft: _write_tensor(where, FileContent(events), draft, name, None))


def _target_format(path: Path, name: str | None) -> str:
    names = [name] if name else by_suffix(path)
    if not names:
        suffixes = ", ".join(dict.fromkeys(suffix for format in FORMATS.values() for suffix in format.suffixes))
        fix = "Or name the format: format=, to_format= or --to."
        raise InputError("io.files", got=f"{path.name}", expected=f"a name that ends in {suffixes}", fix=fix)
    find_format(names[0])
    return names[0]


def _written(where: str, path: Path, make: Callable[[Path], Any]) -> Any:
    """What ``make`` returns, which writes a file in a folder of its own; then the file takes its place."""
    with writing(path, where) as file, TemporaryDirectory() as folder:
        draft = Path(folder, path.name)
        found = make(draft)
        with draft.open("rb") as content:
            shutil.copyfileobj(content, file, 1 << 20)
    return found


def _write_tensor(
    where: str, content: FileContent, draft: Path, name: str, start: datetime | None, given_up: bool = False
) -> list[str]:
    """Write a file and read it back; what it does not give back is returned, other spikes are an error."""
    format, events = FORMATS[name], content.events
    format.write(content, draft, start)
    options = ReadOptions(dt=events.dt if format.continuous or not format.states else None)
    if not format.states:
        options = options._replace(size=tuple(events.shape[-2:]) if len(events.shape) == 5 else (1, events.shape[-1]))
    try:
        opened = open_recording(where, draft, name, options)
        if opened.source is not None:
            again = FileContent(_camera.read(opened.source, options.dt, options.size))
        else:
            assert opened.content is not None
            again = opened.content
    except InputError as error:
        got = f"events that {name} does not give back ({error})"
        raise InputError(
            where, got=got, expected="events that its reader accepts", fix="Choose another format."
        ) from error
    return _differences(where, name, content, again)


def _differences(where: str, name: str, content: FileContent, again: FileContent) -> list[str]:
    """What a file that was read back does not hold."""
    events, found = content.events.detach().to("cpu"), again.events
    if events.shape[1:] != found.shape[1:] or not all(map(np.array_equal, _ordered(events), _ordered(found))):
        got, fix = f"{found.n_events} events that differ from the {events.n_events} written", "Choose another format."
        raise InputError(where, got=got, expected=f"events that {name} can hold", fix=fix)
    lost = [] if found.t0 == events.t0 else [f"t0 of {events.t0!r} s: time before it is silence from {found.t0!r} s on"]
    ends = [None if each.dt is None else _blocks.end_of(each.shape[0], each.dt, each.t0) for each in (events, found)]
    if found.shape[0] != events.shape[0] and ends[0] != ends[1]:
        lost += [f"the end of {events.shape[0]} steps, read as {found.shape[0]}"]
    lengths = [None if each.lengths is None else each.lengths.tolist() for each in (events, found)]
    if lengths[0] is not None and lengths[0] != (lengths[1] or [found.shape[0]] * found.shape[1]):
        lost += ["lengths of samples"]
    return lost


def _ordered(events: EventTensor) -> list[np.ndarray]:
    """Time, sample, unit and value of each event, in an order that does not depend on steps."""
    time = events.row if events.dt is None else events.times()
    columns = [time.numpy(), events.aer().sample.numpy(), events.index.numpy()]
    order = np.lexsort(columns[::-1])
    values = np.zeros(0) if events.value is None else events.value.numpy()[order]
    return [*(column[order] for column in columns), values]


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


def rebase(events: EventTensor) -> EventTensor:
    """The same events with times that count from the start of the recording: ``t0`` becomes 0.

    Args:
        events: events in seconds, such as those of a camera whose clock counts from 1970.

    Raises:
        InputError: no ``dt``.

    Example:
        >>> spikes = EventTensor.from_times([500.0021], [0], n_units=1, dt=1e-3, t0=500.0)
        >>> rebase(spikes).times().tolist()
        [2100000]
    """
    if events.dt is None:
        fix = "Build the events with dt=."
        raise InputError("io.files.rebase", got="dt=None", expected="events in seconds", fix=fix)
    parts = {"row": events.row, "index": events.index, "value": events.value, "offset": events.offset}
    return EventTensor(events.shape, events.timing.with_(t0=0.0), events.dtype, binary=events.binary, **parts)


@dataclass(frozen=True)
class _Plan:
    """Arguments of :func:`convert` that change the events."""

    on_collision: str | None
    units: tuple[int, ...] | None
    sample: int | None
    start: datetime | None
    drop: tuple[str, ...]
    partial: bool
    rebase: bool


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
    rebase: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Write a recording in another format. What the target cannot hold is refused, or named under ``"lost"``.

    Recordings of cameras are converted to formats of cameras in bounded memory. The result is read back before it takes
    its name.

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
        rebase: let times count from the start of the recording, for formats whose clock begins at 0; the result states
            the start under ``"t0"``.
        options: further options of the reader, as in :func:`neurosparse.io.files.read`.

    Returns:
        ``from, to, shape, events``; ``t0``, the start of the source in seconds; and under ``"lost"`` a sentence on what
        the source held and the target does not (None: nothing).

    Raises:
        InputError: a source that cannot be read; events that the target cannot hold; arguments that the formats do not
            take.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> with TemporaryDirectory() as folder:
        ...     spikes.save(f"{folder}/a.safetensors")
        ...     convert(f"{folder}/a.safetensors", f"{folder}/a.npz")["to"]
        'pynapple'
    """
    where, source, target = "io.files.convert", Path(source), Path(target)
    for part in drop:
        one_of(where, "drop", part, DROPPABLE)
    if on_collision is not None:
        on_collision = one_of(where, "on_collision", on_collision, COLLISIONS)
    if units is not None:
        units = tuple(whole(where, "units", size, 0) for size in units)
    checked = read_options(where, dt, size, **options)
    plan = _Plan(on_collision, units, sample, start, tuple(drop), partial, rebase)
    from_format, to_format = from_format or identify(source), _target_format(target, to_format)
    if start is not None and to_format != "nwb":
        raise InputError(where, got=f"start={start} for {to_format}", expected="it for nwb alone", fix="Omit it.")

    def make(draft: Path) -> dict[str, Any]:
        opened = open_recording(where, source, from_format, checked, quiet=True)
        large = to_format == "neurosparse" and source.stat().st_size > LARGE
        if opened.source is not None and units is None and (large or FORMATS[to_format].write_blocks):
            _one_sample(where, sample, 1)
            return _blocks.convert(where, opened, draft, to_format, plan)
        return _by_tensor(where, opened, draft, to_format, plan)

    found = _written(where, target, make)
    lost = "; ".join(found.pop("lost")) or None
    return {"from": from_format, "to": to_format, **found, "lost": lost}


def _one_sample(where: str, sample: Any, samples: int) -> int:
    return whole(where, "sample", sample or 0, -samples, samples - 1)


def _by_tensor(where: str, opened: Opened, draft: Path, to_format: str, plan: _Plan) -> dict[str, Any]:
    """Convert the event tensor of a file."""
    content, lost = _content(opened, plan)
    events, end = content.events, _stated_end(opened, content)
    before = events
    if plan.on_collision is not None:
        events = _merged(where, events, opened.options.dt, plan.on_collision)
        lost += _blocks.merging(
            before.n_events, events.n_events, plan.on_collision, _between(before, events), not before.binary
        )
    events = retime(events, opened.options.dt)
    lost += _blocks.moved_end(end, events.t0, events.shape[0], events.dt)
    labels, t0 = content.labels, events.t0
    if plan.sample is not None:
        sample = _one_sample(where, plan.sample, events.shape[1])
        lost += [f"{events.shape[1] - 1} other samples"] if events.shape[1] > 1 else []
        events, labels = events.samples(sample), None if labels is None else labels[[sample]]
    ids = content.ids
    if plan.units is not None:
        events = with_units(events, plan.units)
        lost += ["ids"] if ids is not None else []
        ids = None
    if plan.rebase and t0:
        events = rebase(events)
        lost += [_blocks.rebased(t0)]
    content, dropped = _fitted(where, FileContent(events, ids, labels), to_format, plan.drop)
    lost += dropped + _write_tensor(where, content, draft, to_format, plan.start)
    facts = {"shape": list(content.events.shape), "events": content.events.n_events, "t0": t0}
    return facts | {"lost": lost}


def _content(opened: Opened, plan: _Plan) -> tuple[FileContent, list[str]]:
    """Content of a file in memory, and what it holds beside events."""
    if opened.source is None:
        assert opened.content is not None
        return opened.content, list(opened.content.left_out)
    dt, size = opened.options.dt, opened.options.size
    if plan.partial:
        events, damage = _camera.salvage(opened.source, dt, size)
        lost = opened.source.losses()
        return FileContent(events), [
            *([damage] if damage else []),
            *(each for each in lost if not _camera.mended([each])),
        ]
    return FileContent(_camera.read(opened.source, dt, size, quiet=True)), opened.source.losses()


def _stated_end(opened: Opened, content: FileContent) -> int | None:
    """Nanosecond at which a recording ends, where its file states silence after the last event."""
    if opened.source is not None:
        return _blocks.stated_end(opened.source)
    events, format = content.events, FORMATS[opened.name]
    if opened.options.dt is None or events.dt is None:
        return None
    if format.continuous or opened.name == "shd":  # read in steps of the argument
        finer = opened.options._replace(dt=1e-6 if format.continuous else None)
        again = open_recording("io.files.convert", opened.path, opened.name, finer, quiet=True).content
        assert again is not None
        events = again.events
    assert events.dt is not None
    last = int(events.aer().step.max()) + 1 if events.n_events else 0
    stated = not format.continuous or events.shape[0] > last + 1
    return _blocks.end_of(events.shape[0], events.dt, events.t0) if stated else None


def _between(before: EventTensor, after: EventTensor) -> int:
    """How many spikes lie between steps of ``after``."""
    if before.dt is None or after.dt is None:
        return 0
    nano = before.times()
    step = nanoseconds_to_step(nano, after.dt, after.t0)
    return int((nano != step_nanoseconds(step, after.dt, after.t0)).sum())


def _merged(where: str, events: EventTensor, dt: float | None, on_collision: str) -> EventTensor:
    """Events without sub-step times, on steps of ``dt``: any for spikes, whole multiples for graded events."""
    if dt is None or dt == events.dt:
        return events.bin(1, on_collision)
    if events.binary:
        return retime(events, dt).bin(1, on_collision)
    ratio = decimal(dt) / decimal(events.dt or dt)
    if ratio.denominator != 1:
        got, expected = f"dt={dt} for graded events of dt={events.dt}", f"a multiple of {events.dt}"
        raise InputError(where, got=got, expected=expected, fix="Choose another dt.")
    return events.bin(int(ratio), on_collision)


def _fitted(where: str, content: FileContent, name: str, drop: Sequence[str]) -> tuple[FileContent, list[str]]:
    """What the target can hold, and what was dropped; the rest is refused."""
    events, lost = content.events, []
    axes, holds, units = FORMATS[name].axes, FORMATS[name].holds, events.shape[2:]
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
