"""Timing of events: what a step is, its duration, the start, and the steps of each sample that are data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import positive

__all__ = [
    "NANO",
    "Axis",
    "Timing",
    "check_dt",
    "decimal",
    "nanoseconds_to_step",
    "start_of_step",
    "step_nanoseconds",
    "with_timing",
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

    def with_(self, **changes: Any) -> Timing:
        return replace(self, **changes)


def with_timing(tensor: Tensor, timing: Timing) -> Tensor:
    """Attach a timing to a dense ``(steps, samples, ...)`` tensor, for the next layer to read."""
    tensor.timing = timing  # type: ignore[attr-defined]
    return tensor


def timing_of(x: Any) -> Timing | None:
    """The timing of events or of a dense tensor that came out of events; None for any other tensor."""
    return getattr(x, "timing", None)


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
