"""Conversion of a camera's recording in blocks, in bounded memory: to another camera's format, or to our own.

A first pass finds the facts of the recording, so that nothing is written that the target cannot hold; a second one
writes; a third one reads the result back and compares (our own format has a checksum instead).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Timing
from neurosparse.events.spool import write_pieces
from neurosparse.events.timing import NANO, nanoseconds_to_step, step_nanoseconds
from neurosparse.io import _camera, _pixels
from neurosparse.io._camera import Facts
from neurosparse.io._content import Opened
from neurosparse.io._pixels import Damage, Note, Pixels, PixelSource
from neurosparse.io.formats import FORMATS, ReadOptions

__all__ = ["convert", "merging", "end_of", "moved_end", "rebased", "stated_end"]

EVENTS = 1 << 18  # of a block


def convert(where: str, opened: Opened, draft: Path, to_format: str, plan: Any) -> dict[str, Any]:
    """Convert a recording block by block; returns shape, number of events, start, and what was lost."""
    source, options, target = opened.source, opened.options, FORMATS[to_format]
    assert source is not None
    facts, damage = _camera.facts(source, options.dt, options.size)
    if damage and not plan.partial:
        raise _camera.unreadable(source, damage, facts.events) from damage
    size = _camera.known_size(source, options.size)
    lost = [_camera.lost_by(source, damage, facts.events)] if damage else []
    lost += source.losses()
    flow = _Flow(where, opened, facts, size, plan)
    events, steps, t0 = facts.events, facts.steps, 0.0 if plan.rebase else facts.t0
    lost += moved_end(stated_end(source), facts.t0, steps, facts.dt)
    if plan.rebase and facts.t0:
        lost.append(rebased(facts.t0))
    shape = (steps, 1, 2, *size)
    if target.write_blocks is None:
        events = write_pieces(flow.pieces(), draft, shape, Timing("time", facts.dt, t0), where)
        return {"shape": list(shape), "events": events, "t0": facts.t0, "lost": lost + flow.merging()}
    if plan.on_collision is not None:
        for _ in flow.blocks():
            pass
        events = flow.events
        lost += flow.merging()
    if "silence" not in target.holds:
        silence = steps - _last_step(facts) if facts.events else 0
        if not events or (silence and "silence" not in plan.drop):
            fix = "Give it up: drop=['silence'], or --drop silence." if events else ""
            got = f"{silence} steps of silence after the last event" if events else "no events"
            raise InputError(where, got=got, expected="a recording that ends with an event", fix=fix)
        lost += [f"{silence} steps of silence"] * (silence > 0)
        steps -= silence
    if "silence" not in target.holds and t0:
        lost.append(f"t0 of {t0!r} s: time before it is silence from 0.0 s on")
    target.write_blocks(flow.blocks(), draft, size, Note(steps, facts.dt, t0, events))
    assert target.scan is not None
    again, _ = _camera.facts(target.scan(draft, ReadOptions()), facts.dt, None if target.states else size)
    if again.sums != flow.sums or again.events != events or (target.states and again[3:6] != (steps, facts.dt, t0)):
        got, expected = f"{again.events:,} events read back", f"the {events:,} that were written"
        raise InputError(where, got=got, expected=expected, fix="Choose another format.")
    return {"shape": [steps, 1, 2, *size], "events": events, "t0": facts.t0, "lost": lost}


class _Flow:
    """The blocks of a recording as they are written, which may be read several times, and facts of the last reading."""

    def __init__(self, where: str, opened: Opened, facts: Facts, size: tuple[int, int], plan: Any):
        self.where, self.opened, self.facts, self.size, self.plan = where, opened, facts, size, plan
        self.events, self.between, self.sums = 0, 0, (0, 0, 0, 0)

    def blocks(self) -> Iterator[Pixels]:
        """Blocks of a camera's format."""
        sums, events = np.zeros(4, np.int64), 0
        for block in self._shifted() if self.plan.on_collision is None else self._merged():
            events += len(block.time)
            sums += _camera.sums(block)
            yield block
        self.events, self.sums = events, tuple(sums.tolist())

    def merging(self) -> list[str]:
        """What merging gave up, once the events were read."""
        if self.plan.on_collision is None:
            return []
        return merging(self.facts.events, self.events, self.plan.on_collision, self.between)

    def pieces(self) -> Iterator[tuple[int, EventTensor]]:
        """First step and events of each piece of whole steps, up to the first damage (named by the first pass)."""
        self.events, self.between = 0, 0
        try:
            for piece in _camera.pieces(self._source(), EVENTS, self.facts.dt, self.size, large_steps=True):
                events = piece.events()
                if self.plan.on_collision is not None:
                    self.between += int(np.count_nonzero(piece.placed.offset))
                    events = events.bin(1, self.plan.on_collision)
                self.events += events.n_events
                yield piece.start, events
        except Damage:
            pass

    def _source(self) -> PixelSource:
        scan = FORMATS[self.opened.name].scan
        assert scan is not None
        return scan(self.opened.path, self.opened.options)

    def _shifted(self) -> Iterator[Pixels]:
        start = end_of(0, self.facts.dt, self.facts.t0)
        try:
            for block in _pixels.checked(self._source(), self.size):
                if self.plan.rebase:
                    block = block._replace(time=_pixels.whole_microseconds(self.where, block.time * 1000 - start))
                yield block
        except Damage:
            pass

    def _merged(self) -> Iterator[Pixels]:
        t0 = 0.0 if self.plan.rebase else self.facts.t0
        for start, events in self.pieces():
            if not events.binary:
                fix = "Pass on_collision='any'."
                raise InputError(self.where, got="several spikes of a pixel in a step", expected="one", fix=fix)
            nano = step_nanoseconds(events.row + start, self.facts.dt, t0).numpy()
            time = _pixels.whole_microseconds(self.where, nano)
            yield _pixels.as_pixels(time, events.index.numpy().astype(np.int64), events.shape)


def _last_step(facts: Facts) -> int:
    """Steps up to the last event."""
    last = 0 if facts.last is None else facts.last * 1000
    return int(nanoseconds_to_step(torch.tensor([last]), facts.dt, facts.t0)[0]) + 1


def stated_end(source: PixelSource) -> int | None:
    """Nanosecond at which a recording ends, where its file states it."""
    note = source.note
    return None if note is None else end_of(note.steps, note.dt, note.t0)


def end_of(steps: int, dt: float, t0: float) -> int:
    """Nanosecond at which a recording of so many steps ends."""
    return int(step_nanoseconds(torch.tensor([steps]), dt, t0)[0])


def moved_end(end: int | None, t0: float, steps: int, dt: float | None) -> list[str]:
    """An end between two steps, which the step that holds it moves."""
    if end is None or dt is None:
        return []
    moved = end_of(steps, dt, t0)
    return [] if moved == end else [f"the end at {end / NANO} s, now at {moved / NANO} s, {steps} steps of {dt} s"]


def merging(before: int, after: int, on_collision: str, between: int, graded: bool = False) -> list[str]:
    """What ``on_collision`` gives up."""
    how = f"on_collision={on_collision!r}"
    lost = [f"times of {between:,} events between steps ({how})"] if between else []
    lost += (
        [f"{before - after:,} of {before:,} events of a unit in one step ({how})"]
        if after < before and on_collision == "any"
        else []
    )
    return lost + ([f"values of events ({how})"] if graded and on_collision == "any" else [])


def rebased(t0: float) -> str:
    """The start of a recording whose times count from 0 in the target."""
    return f"t0 of {t0!r} s: times count from it"
