"""Times on the grid of a network: delays, refractory times and durations as whole numbers of steps."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from neurosparse.checks import number
from neurosparse.errors import InputError
from neurosparse.events.timing import decimal

__all__ = ["GRIDS", "LONGEST", "delay_steps", "duration", "refractory_steps", "start_step", "steps_until"]

GRIDS = ("brian2", "ceil")
LONGEST = 1 << 20  # steps of a delay or a refractory time
LAST = 1 << 40  # steps of a simulation

# Brian 2 takes a time as a multiple of dt if it is this close to one, in steps.
NEAR_DURATION, NEAR_REFRACTORY = 1e-4, 1e-3
# A computed time, such as 11 * 1e-4, differs from the time that is meant by rounding only.
ROUNDING = 1e-12


def delay_steps(delay: np.ndarray, dt: float, grid: str) -> np.ndarray:
    """Steps of delays, at most ``LONGEST + 1``: rounded, a half up (``"brian2"``), or never shorter (``"ceil"``)."""
    steps = np.clip(delay / dt, 0.0, LONGEST + 1.0)
    return (np.floor(steps + 0.5) if grid == "brian2" else _ceil(steps)).astype(np.int64)


def refractory_steps(refractory: float, dt: float, grid: str) -> int:
    """Steps of the shortest interval between two spikes: rounded down (``"brian2"``), or never shorter (``"ceil"``)."""
    # The same operations as timestep() of Brian 2: 0.3 / 0.1 is less than 3.
    steps = (refractory + NEAR_REFRACTORY * dt) / dt if grid == "brian2" else float(_ceil(refractory / dt))
    return int(min(steps, LONGEST + 1.0))


def _ceil(steps: np.ndarray | float) -> np.ndarray:
    return np.ceil(np.asarray(steps) * (1 - ROUNDING))


def duration(where: str, seconds: Any) -> Fraction:
    """A duration as the decimal that is written: the sum of ten times 0.1 s is 1 s."""
    return decimal(number(where, "seconds", seconds, 0, unit="seconds"))


def steps_until(where: str, time: Fraction, dt: float, grid: str) -> int:
    """The number of steps that begin before a time; a time just after the begin of a step is at its begin.

    "Just after" is within 1e-4 steps, as in Brian 2, or with ``"ceil"`` within the rounding of a float.
    """
    exact = time / decimal(dt)
    nearest = round(exact)
    near = Fraction(NEAR_DURATION) if grid == "brian2" else exact * Fraction(ROUNDING)
    if nearest > LAST:
        raise InputError(where, got=f"{float(time):g} s at dt={dt:g} s", expected="at most 2**40 steps")
    return nearest if abs(exact - nearest) <= near else math.ceil(exact)


def start_step(t0: float, dt: float) -> int | None:
    """The step that begins at a time; None if there is none, before the start or between two steps."""
    exact = decimal(t0) / decimal(dt)
    nearest = round(exact)
    return nearest if 0 <= nearest <= LAST and abs(exact - nearest) <= Fraction(NEAR_DURATION) else None
