"""What a step is: its axis, its duration, where it starts and how many steps of each sample are data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError

__all__ = ["Timing", "check_dt", "step_nanoseconds", "tag", "timing_of"]

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


def tag(tensor: Tensor, timing: Timing) -> Tensor:
    """Let a dense ``(steps, samples, ...)`` tensor remember its timing, so that the next layer of ours can read it."""
    tensor.timing = timing  # type: ignore[attr-defined]
    return tensor


def timing_of(x: Any) -> Timing | None:
    """The timing of events or of a dense tensor that came out of events; None for any other tensor."""
    return getattr(x, "timing", None)


def check_dt(where: str, dt: float | None) -> float | None:
    """A step lasts a positive, finite number of seconds."""
    if dt is not None and not (isinstance(dt, (int, float)) and 0 < dt < float("inf")):
        raise InputError(where, got=f"dt={dt}", expected="seconds per step, dt > 0", fix="Pass for example dt=1e-3.")
    return dt


def step_nanoseconds(step: Tensor, dt: float) -> Tensor:
    """Exact start of each step in nanoseconds: the decimal ``dt`` times an integer, rounded once, never accumulated."""
    exact = Fraction(repr(float(dt))) * NANO
    whole, rest = divmod(exact, 1)
    # The fraction of a nanosecond is below one, so float64 keeps it exact enough for 2**50 steps.
    rounded = np.rint(step.double().cpu().numpy() * float(rest)).astype(np.int64) if rest else 0
    return step * int(whole) + torch.as_tensor(rounded, device=step.device)


def nanoseconds_to_step(nanoseconds: Tensor, dt: float) -> Tensor:
    """The last step that starts at or before each time; a float only guesses, integers decide."""
    guess = (nanoseconds.double() / (dt * NANO)).floor().to(torch.int64).clamp(min=0)
    guess = guess - (step_nanoseconds(guess, dt) > nanoseconds).to(torch.int64)
    return guess + (step_nanoseconds(guess + 1, dt) <= nanoseconds).to(torch.int64)
