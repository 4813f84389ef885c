"""Spike trains recorded in Brian2. Works on the recorded numbers, so Brian2 itself is never imported."""

from typing import Any

import numpy as np

from neurosparse.errors import InputError
from neurosparse.events import EventTensor

__all__ = ["read"]


def read(monitor: Any, dt: float, duration: float, n_units: int | None = None) -> EventTensor:
    """Turn what a ``SpikeMonitor`` recorded into one recording of events.

    An event of neuron ``i`` at time ``t`` falls into step ``floor(t / dt)``, taken in whole nanoseconds, and keeps the
    rest as its offset: nothing is lost when ``dt`` is coarser than the simulation's clock.

    Args:
        monitor: any object with ``.i`` (neuron of each spike) and ``.t`` (its time in seconds).
        dt: seconds per step of the result.
        duration: seconds that were simulated; silence up to there is real.
        n_units: number of neurons, silent ones included. By default the size of ``monitor.source``.

    Returns:
        Binary events ``(steps, 1, n_units)``.

    Raises:
        InputError: no ``.i`` and ``.t``, the number of neurons is unknown, or a spike lies outside the duration.

    Example:
        >>> from types import SimpleNamespace
        >>> monitor = SimpleNamespace(i=[1, 0, 1], t=[0.001, 0.002, 0.004], source=range(3))
        >>> read(monitor, dt=1e-3, duration=0.01).counts().tolist()
        [[1.0, 2.0, 0.0]]

    Source: Stimberg, Brette & Goodman 2019, "Brian 2, an intuitive and efficient neural simulator", eLife 8:e47314.
    """
    if not (hasattr(monitor, "i") and hasattr(monitor, "t")):
        fix = "Pass a SpikeMonitor that records."
        raise InputError("io.brian2.read", got=type(monitor).__name__, expected="a monitor with .i and .t", fix=fix)
    if n_units is None:
        if not hasattr(monitor, "source"):
            raise InputError(
                "io.brian2.read", got="a monitor without .source", expected="n_units", fix="Pass n_units=."
            )
        n_units = len(monitor.source)
    # A Brian2 quantity is an array in SI units underneath; copies detach from the monitor's growing buffers.
    times, units = np.array(monitor.t, dtype=np.float64), np.array(monitor.i, dtype=np.int64)
    return EventTensor.from_times(times, units, n_units=n_units, dt=dt, duration=duration)  # pyright: ignore[reportArgumentType]
