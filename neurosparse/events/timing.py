"""Timing of events: what a step is, its duration, the start, and the steps of each sample that are data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import positive
from neurosparse.errors import InputError

__all__ = [
    "NANO",
    "Axis",
    "Timing",
    "agreed_timing",
    "check_dt",
    "decimal",
    "joined_timing",
    "nanoseconds_to_step",
    "refuse_from_end",
    "start_of_step",
    "step_nanoseconds",
    "step_timing",
    "timing_of",
]

Axis = Literal["time", "iteration"] | None
NANO = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Timing:
    """The meaning of the step axis, shared by events and by the dense tensors that come out of them."""

    axis: Axis = "time"
    dt: float | None = None
    t0: float = 0.0
    lengths: Tensor | None = None
    partial: bool = False  # a chunk of a sequence, in which a reduction over steps is not that of the sequence

    def with_(self, **changes: Any) -> Timing:
        return replace(self, **changes)


def timing_of(x: Any) -> Timing | None:
    """The timing of events or of a dense tensor that came out of events; None for any other tensor."""
    return getattr(x, "timing", None)


def agreed_timing(where: str, timings: Sequence[Timing]) -> Timing:
    """The one timing of tensors that are combined step by step; a ``dt`` that is not given is that of the others.

    Raises:
        InputError: contradicting axis, ``dt``, ``t0`` or lengths.
    """
    first = timings[0]
    for other in timings[1:]:
        if other is first:
            continue
        if first.dt is None and other.dt is not None:
            first = first.with_(dt=other.dt)
        for name in ("axis", "dt", "t0"):
            a, b = getattr(first, name), getattr(other, name)
            if a != b and not (name == "dt" and b is None):
                fix = "Bin or cut them alike first."
                one = "one start" if name == "t0" else f"one {name}"
                raise InputError(where, got=f"{name} = {a} and {b}", expected=one, fix=fix)
        if not _same_lengths(first.lengths, other.lengths):
            fix = "Pad and cut them alike first."
            raise InputError(where, got="samples of different lengths", expected="samples that end together", fix=fix)
    return first


def _same_lengths(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and torch.equal(a, b))


def joined_timing(where: str, timings: Sequence[Timing], shapes: Sequence[Sequence[int]], dim: int) -> Timing:
    """The timing of tensors ``(steps, samples, *units)`` that are joined along axis ``dim``.

    Raises:
        InputError: contradicting axis, ``dt``, ``t0`` or lengths; joining steps of samples that end early.
    """
    plain = [timing.with_(lengths=None, t0=timing.t0 if dim else timings[0].t0) for timing in timings]
    agreed = agreed_timing(where, plain)
    if all(timing.lengths is None for timing in timings):
        return agreed
    device = next(timing.lengths.device for timing in timings if timing.lengths is not None)
    full = [
        torch.full((shape[1],), shape[0], device=device) if timing.lengths is None else timing.lengths
        for timing, shape in zip(timings, shapes, strict=True)
    ]
    if dim == 1:
        return agreed.with_(lengths=torch.cat(full))
    if dim > 1:
        if not all(_same_lengths(full[0], other) for other in full[1:]):
            raise InputError(where, got="units of different lengths", expected="samples that end together")
        return agreed.with_(lengths=full[0])
    ended = torch.zeros_like(full[0], dtype=torch.bool)
    for n, shape in zip(full, shapes, strict=True):
        if bool((ended & (n > 0)).any()):
            expected = "no steps after a sample has ended"
            raise InputError(where, got="samples that end early", expected=expected, fix="Slice first.")
        ended = ended | (n < shape[0])
    return agreed.with_(lengths=torch.stack(full).sum(0))


def step_timing(timing: Timing, start: int, stop: int) -> Timing:
    """The timing of steps ``start`` to ``stop`` (exclusive)."""
    lengths = None if timing.lengths is None else (timing.lengths - start).clamp(0, stop - start)
    return timing.with_(lengths=lengths, t0=start_of_step(start, timing.dt, timing.t0))


def refuse_chunk(where: str, timing: Timing | None) -> None:
    """Refuse a function over steps on a chunk of a sequence: over chunks it is not that of the sequence.

    Raises:
        InputError: a timing of a chunk.
    """
    if timing is not None and timing.partial:
        fix = (
            "Call it on the outputs of all chunks, behind the network; or give the module run(x, state) -> (y, state)."
        )
        raise InputError(where, got="a chunk of a sequence", expected="all steps of it", fix=fix)


def refuse_from_end(where: str, timing: Timing, steps: int, *bounds: int | None) -> None:
    """Refuse steps counted from the end of a batch of samples that end earlier.

    Raises:
        InputError: a negative bound, and a sample with fewer steps than the batch.
    """
    if timing.lengths is None or not any(bound is not None and bound < 0 for bound in bounds):
        return
    if bool((timing.lengths < steps).any()):
        got, fix = (
            "steps counted from the end, where samples end early",
            "Cut each sample to its length first, or index .dense().",
        )
        raise InputError(where, got=got, expected="steps counted from the start", fix=fix)


def check_dt(where: str, dt: float | None) -> float | None:
    """Seconds per step, above 0 (a number or a Brian 2 quantity), or None."""
    return None if dt is None else positive(where, "dt", dt, unit="seconds", fix="Pass for example dt=1e-3.")


def decimal(seconds: float) -> Fraction:
    """The decimal a float is written as: 0.1 is one tenth."""
    return Fraction(repr(float(seconds)))


def start_of_step(step: int, dt: float | None, t0: float) -> float:
    """Seconds at which a step starts, rounded once."""
    return t0 if dt is None else float(decimal(t0) + step * decimal(dt))


def step_nanoseconds(step: Tensor, dt: float, t0: float = 0.0) -> Tensor:
    """Start of each step in nanoseconds: the decimals ``t0 + step dt``, rounded once (half up), never accumulated."""
    whole, rest = divmod(decimal(dt) * NANO, 1)
    whole_start, rest_start = divmod(decimal(t0) * NANO, 1)
    # A float only guesses the fractions of a nanosecond; where it comes too close to one half, integers decide.
    steps = step.cpu().numpy()
    guess = steps * float(rest) + float(rest_start) + 0.5
    rounded = np.floor(guess).astype(np.int64)
    exact = Fraction(float(rest)) == rest and Fraction(float(rest_start)) == rest_start
    exact = exact and (rest == 0 or not steps.size or int(steps.max()) < 1 << 50)
    near = np.abs(guess - np.rint(guess)) <= (steps + 2) * 2.0**-51
    for i in () if exact else np.flatnonzero(near):
        rounded[i] = math.floor(int(steps[i]) * rest + rest_start + Fraction(1, 2))
    return step * whole + whole_start + torch.as_tensor(rounded, device=step.device)


def nanoseconds_to_step(nanoseconds: Tensor, dt: float, t0: float = 0.0) -> Tensor:
    """The last step that starts at or before each time, for ``dt`` >= 1 ns; a float guesses, integers decide."""
    guess = ((nanoseconds.double() - t0 * NANO) / (dt * NANO)).floor().to(torch.int64).clamp(min=0)
    if guess.numel() and int(nanoseconds.abs().max()) >= 1 << 52:  # the float guess can be many steps off
        rest = nanoseconds - step_nanoseconds(guess, dt, t0)
        guess = (guess + (rest / (dt * NANO)).floor().to(torch.int64)).clamp(min=0)
    guess = guess - (step_nanoseconds(guess, dt, t0) > nanoseconds).to(torch.int64)
    return guess + (step_nanoseconds(guess + 1, dt, t0) <= nanoseconds).to(torch.int64)
