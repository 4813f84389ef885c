"""Checks of arguments that many formats share: seconds per step, duration, size of a sensor, labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import number, whole
from neurosparse.errors import InputError

__all__ = ["check_chunk", "check_dt", "check_duration", "check_labels", "check_size", "check_t0", "required_dt"]

CHUNK = 1 << 20  # events


def required_dt(where: str, dt: Any) -> float:
    """Seconds per step. Its bounds are those of times in nanoseconds of 64 bits."""
    return number(where, "dt", dt, 1e-9, 1e9, unit="seconds", fix="Pass seconds per step, for example dt=1e-3.")


def check_dt(where: str, dt: Any) -> float | None:
    """Seconds per step, or None: what the file states, or the default of its format."""
    return None if dt is None else required_dt(where, dt)


def check_duration(where: str, duration: Any) -> float | None:
    """Seconds of recording, or None: up to the last spike, or to the end that the file states."""
    return None if duration is None else number(where, "duration", duration, 0, 1e9, unit="seconds")


def check_t0(where: str, t0: Any) -> float | None:
    """Start of a recording in seconds, or None: what the file states, or 0."""
    return None if t0 is None else number(where, "t0", t0, -(2.0**32), 2.0**32, unit="seconds")


def check_size(where: str, size: Any) -> tuple[int, int] | None:
    """``(height, width)`` of a sensor in pixels, or None: what the file states."""
    if size is None:
        return None
    try:
        height, width = size
    except (TypeError, ValueError):
        raise InputError(where, got=f"size={size!r}", expected="size=(height, width) of the sensor") from None
    return whole(where, "size[0]", height), whole(where, "size[1]", width)


def check_labels(where: str, labels: Any, samples: int) -> Tensor:
    """Classes, integers ``(samples)``."""
    try:
        found = labels if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
    except (TypeError, ValueError):
        raise InputError(where, got=f"labels={labels!r}", expected=f"{samples} integers") from None
    if found.shape != (samples,) or found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        got = f"labels {tuple(found.shape)} of {found.dtype}"
        raise InputError(where, got=got, expected=f"{samples} integers")
    return found


def check_chunk(where: str, events: Any) -> int:
    """Number of events in a chunk of a stream."""
    return whole(where, "events", events, fix=f"Pass about how many events a chunk holds, for example events={CHUNK}.")
