"""neo: spike trains of many recording systems (Blackrock, Plexon, Neuralynx, PyNN ...), by the extra ``neo``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.batch import collate
from neurosparse.events.timing import NANO
from neurosparse.io._arguments import required_dt
from neurosparse.io._library import library
from neurosparse.io._trains import SCALES, Recording, join_trains, nanoseconds, split_trains

__all__ = ["left_out", "read", "write"]


def read(source: Any, dt: float, duration: float | None = None, t0: float | None = None) -> Recording:
    """Spike trains in any unit of time as events, exact to the nanosecond.

    A spike belongs to step ``floor((t - t0) / dt)``, computed in whole nanoseconds; the rest is kept as its offset. A
    recording lasts from the first ``t_start`` to the last ``t_stop`` of its trains.

    Args:
        source: a neo ``Block``, whose segments (trials, stimuli) become samples; a ``Segment``; or spike trains.
        dt: seconds per step.
        duration: seconds of every recording after ``t0``; default: up to the last ``t_stop`` of each segment.
        t0: start of every recording in seconds; default: the first ``t_start``.

    Returns:
        ``(events, units)``: spikes ``(steps, segments, units)``, with ``lengths`` where segments differ in duration,
        and the names of the trains (None for a train without a name). A warning is given where trains are shorter
        than their segment, and where times are not in order. :func:`left_out` names what is not read.

    Raises:
        InputError: no spike trains; a spike outside the segment; segments that start at different times (pass
            ``t0=``) or hold other units.

    Example:
        >>> import neo
        >>> a, b = (neo.SpikeTrain(t, units="ms", t_stop=10, name=n) for t, n in (([2.1, 4], "a"), ([], None)))
        >>> events, units = read([a, b], dt=1e-3)
        >>> events.shape, events.times().tolist(), units
        ((10, 1, 2), [2100000, 4000000], ['a', None])

    Source: Garcia et al. 2014, "Neo: an object model for handling electrophysiology data in multiple formats".
    """
    dt = required_dt("io.neo.read", dt)
    segments = [_in_nanoseconds(segment, t0 is not None) for segment in getattr(source, "segments", [source])]
    if not segments:
        raise InputError("io.neo.read", got="a block without segments", expected="spike trains")
    first = segments[0]
    for other in segments[1:]:
        if other.names != first.names:
            fix = "Give the trains of one unit the same name in every segment, or read one segment at a time."
            raise InputError("io.neo.read", got=f"{first.names} and {other.names}", expected="the same units", fix=fix)
        if other.start != first.start and t0 is None:
            got = f"segments that start at {first.start / NANO} and {other.start / NANO} s"
            fix = "Use segment.time_shift(-segment.t_start), or pass t0=."
            raise InputError("io.neo.read", got=got, expected="one start", fix=fix)
    recordings = []
    for each in segments:
        time = np.concatenate([np.zeros(0, np.int64), *each.times])
        unit = np.repeat(np.arange(len(each.times)), [len(train) for train in each.times])
        recordings.append(join_trains("io.neo.read", time, unit, len(each.times), dt, each.observed, duration, t0))
    return Recording(collate(recordings), first.names)


def left_out(source: Any) -> list[str]:
    """Names of what :func:`read` leaves out: signals, epochs and events of segments; waveforms and notes of trains.

    Example:
        >>> import neo
        >>> left_out([neo.SpikeTrain([0.5], units="s", t_stop=1, area="CA1")])
        ["annotation 'area' of trains"]
    """
    found: dict[str, None] = {}
    for segment in getattr(source, "segments", [source]):
        for part in ("analogsignals", "irregularlysampledsignals", "imagesequences", "events", "epochs"):
            found |= {part: None} if len(getattr(segment, part, ())) else {}
        for train in getattr(segment, "spiketrains", segment):
            found |= {"waveforms of trains": None} if getattr(train, "waveforms", None) is not None else {}
            found |= {f"annotation {name!r} of trains": None for name in getattr(train, "annotations", ())}
            names = getattr(train, "array_annotations", None) or ()
            found |= {f"annotation {name!r} of spikes": None for name in names}
    return list(found)


class _Segment(NamedTuple):
    times: list[np.ndarray]
    observed: np.ndarray
    names: list[str | None]

    @property
    def start(self) -> int:
        return int(self.observed.min())


def _in_nanoseconds(segment: Any, far: bool) -> _Segment:
    trains = [train.load() if hasattr(train, "load") else train for train in getattr(segment, "spiketrains", segment)]
    if not trains or not all(hasattr(train, "t_stop") for train in trains):
        kind = type(segment).__name__
        got = f"{kind} of {type(trains[0]).__name__}" if trains else f"an empty {kind}"
        fix = "Pass a Block, a Segment or its spiketrains."
        raise InputError("io.neo.read", got=got, expected="spike trains", fix=fix)
    try:
        scales = [float(train.units.rescale("s")) for train in trains]
    except ValueError as error:
        raise InputError("io.neo.read", got=str(error), expected="spike trains in a unit of time") from error

    def integers(name: str) -> list[np.ndarray]:
        """Nanoseconds. Floats in other units than SI are scaled in float64: 0.3 * 0.001 is 0.00030000000000000003."""
        found = []
        for train, scale in zip(trains, scales, strict=True):
            unit = next((unit for unit, n in SCALES.items() if math.isclose(n, scale * NANO, rel_tol=1e-12)), None)
            times = np.asarray(getattr(train, name).magnitude)
            found.append(
                nanoseconds("io.neo.read", times if unit else times.astype(np.float64) * scale, unit or "s", far)
            )
        return found

    observed = np.stack([integers("t_start"), integers("t_stop")], 1)
    return _Segment(integers("times"), observed, [train.name for train in trains])


def write(events: EventTensor, units: Sequence[str | None] | None = None) -> Any:
    """Spikes as a neo ``Block``: a segment per sample, a train in seconds per unit, silent units included.

    Args:
        events: spikes ``(steps, samples, units)`` in seconds (``dt`` is known).
        units: names of the units.

    Raises:
        InputError: graded events, no ``dt``, another number of names.

    Example:
        >>> spikes = EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
        >>> write(spikes, ["a", "b"]).segments[0].spiketrains[1]
        <SpikeTrain(array([0.0021]) * s, [0.0 s, 2.0 s])>
    """
    neo = library("io.neo.write", "neo", "neo")
    samples, stops = split_trains("io.neo.write", events, units)
    block = neo.Block()
    for index, (trains, stop) in enumerate(zip(samples, stops, strict=True)):
        segment = neo.Segment(index=index)
        options = {"units": "s", "t_start": events.t0, "t_stop": stop}
        for train, name in zip(trains, [None] * len(trains) if units is None else units, strict=True):
            segment.spiketrains.append(neo.SpikeTrain(train, name=name, **options))
        block.segments.append(segment)
    return block
