"""Measured energy: joules per call of a function, read from an energy counter of the machine (not an estimate)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from neurosparse.checks import one_of, positive, whole
from neurosparse.energy.counters import Nvml, Rapl, processor
from neurosparse.errors import InputError

__all__ = ["EnergyCounter", "MeasuredEnergy", "Spread", "measured"]

PERIODS = 50  # in one run, at least: a reading is late by up to one update, so an energy is off by 2 % at most
STILL = 1.0  # seconds without an update after which a counter is taken as standing still
UPDATES = 5  # whose longest distance is the update period
WRAPS = 1.0  # seconds between two readings in a run, so that a counter of small range wraps around once at most


class EnergyCounter(Protocol):
    """Energy counter: a name, the smallest energy it shows in joules, and the joules since it was made."""

    @property
    def name(self) -> str: ...

    @property
    def resolution(self) -> float: ...

    def read(self) -> float: ...


class Spread(NamedTuple):
    """Mean and standard deviation over runs (n - 1 in the denominator), and the values of the runs."""

    mean: float
    sd: float
    runs: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class MeasuredEnergy:
    """Measured energy and time of one call. No energy estimate: nothing adds, divides or compares the two.

    Args:
        joules: energy per call over the runs, with the idle power of the machine in it.
        seconds: time per call over the runs.
        calls: number of calls in each run.
        idle_watts: power of the machine without the function, before the runs and after them.
        counter: name of the counter, and what it covers.
        resolution: smallest energy that the counter shows, in joules.
        period: longest time between two updates of the counter, in seconds.
        device: processor or GPU on which the function ran.
    """

    joules: Spread
    seconds: Spread
    calls: int
    idle_watts: tuple[float, float]
    counter: str
    resolution: float
    period: float
    device: str

    @property
    def above_idle(self) -> Spread:
        """Joules per call without the idle power: ``joules - mean(idle_watts) * seconds``, run by run."""
        idle = sum(self.idle_watts) / 2
        pairs = zip(self.joules.runs, self.seconds.runs, strict=True)
        return _spread([joules - idle * seconds for joules, seconds in pairs])

    def __repr__(self) -> str:
        return f"MeasuredEnergy({'; '.join(f'{name}: {text}' for name, text in self._facts().items())})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self._facts().items()
        )
        return f"<table><caption>Measured energy of one call</caption>{rows}</table>"

    def _facts(self) -> dict[str, str]:
        before, after = self.idle_watts
        return {
            "measured": f"{self.joules.mean:.4g} +- {self.joules.sd:.2g} J per call",
            "time": f"{self.seconds.mean:.4g} +- {self.seconds.sd:.2g} s per call",
            "runs": f"{len(self.joules.runs)} of {self.calls} calls",
            "idle": f"{before:.3g} W before, {after:.3g} W after, included",
            "counter": f"{self.counter}, {self.resolution:.2g} J, an update every {self.period:.2g} s",
            "device": self.device,
        }


def measured(
    function: Callable[..., Any],
    *inputs: Any,
    seconds: float = 1.0,
    repeats: int = 5,
    counter: EnergyCounter | Literal["rapl", "nvml"] | None = None,
) -> MeasuredEnergy:
    """Measure the energy and the time of one call with the energy counter of the machine.

    ``joules = (counter after - counter before) / calls`` of each run. A run calls the function as often as fills
    ``seconds``, and at least 50 updates of the counter. The counter covers the whole processor or GPU, other programs
    included: measure on a quiet machine. Idle power is measured before and after, and is not subtracted.

    Args:
        function: a model or any function; it is called as it is, with the gradients and the mode that are set.
        inputs: its arguments.
        seconds: duration of one run, and of the idle measurements before and after, at least.
        repeats: number of runs, 2 or more.
        counter: ``"rapl"`` (processor and memory), ``"nvml"`` (one GPU), or an object with ``name``, ``resolution`` in
            joules, and ``read()``, the joules since any fixed time. None: the GPU if a parameter or an input is on
            one, else the processor.

    Returns:
        joules and seconds per call with their spread, and the idle power.

    Raises:
        InputError: a machine without such a counter, no permission to read it, a counter that stands still or falls,
            something that cannot be called, a number out of range.

    Example:
        >>> class Counter:
        ...     name, resolution = "10 watts", 1e-6
        ...     def read(self):
        ...         return 10 * time.perf_counter()
        >>> found = measured(torch.exp, torch.zeros(1000), seconds=0.01, repeats=2, counter=Counter())
        >>> f"{found.joules.mean / found.seconds.mean:.3g} watts", found.calls > 1
        ('10 watts', True)

    Source:
        Linux kernel, "Power Capping Framework" (RAPL); NVIDIA Management Library, nvmlDeviceGetTotalEnergyConsumption.
    """
    where = "measured"
    if not callable(function):
        got, fix = f"function of type {type(function).__name__}", "Pass the model and its inputs."
        raise InputError(where, got=got, expected="a model or a function", fix=fix)
    seconds, repeats = positive(where, "seconds", seconds, unit="seconds"), whole(where, "repeats", repeats, 2)
    device = _device_of(function, inputs)
    counter = _counter(where, counter, device)
    period = _update_period(where, counter)
    seconds = max(seconds, PERIODS * period)

    calls = _calls_that_last(function, inputs, seconds)
    before = _idle_power(where, counter, seconds)
    runs = [_run(where, function, inputs, calls, counter) for _ in range(repeats)]
    after = _idle_power(where, counter, seconds)
    joules, durations = (_spread([run[part] / calls for run in runs]) for part in (0, 1))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return MeasuredEnergy(joules, durations, calls, (before, after), counter.name, counter.resolution, period, name)


def _device_of(function: Any, inputs: tuple[Any, ...]) -> torch.device:
    """The first GPU that holds a parameter or an input, else the processor."""
    held = [*function.parameters(), *function.buffers()] if isinstance(function, nn.Module) else []
    devices = (getattr(each, "device", None) for each in (*held, *pytree.tree_leaves(inputs)))
    found = (device for device in devices if isinstance(device, torch.device) and device.type == "cuda")
    return next(found, torch.device("cpu"))


def _counter(where: str, counter: EnergyCounter | str | None, device: torch.device) -> EnergyCounter:
    if counter is None:
        counter = "nvml" if device.type == "cuda" else "rapl"
    if isinstance(counter, str):
        one_of(where, "counter", counter, ("rapl", "nvml"))
        return Rapl() if counter == "rapl" else Nvml(device.index or 0)
    if not all(hasattr(counter, name) for name in ("name", "resolution", "read")):
        got, fix = f"counter of type {type(counter).__name__}", "Pass 'rapl', 'nvml' or such an object."
        raise InputError(where, got=got, expected="a counter with name, resolution and read()", fix=fix)
    return counter


def _update_period(where: str, counter: EnergyCounter) -> float:
    """Longest of several times between two updates."""
    changes, value = [], counter.read()
    since = time.perf_counter()
    while len(changes) <= UPDATES:
        new, now = counter.read(), time.perf_counter()
        if new != value:
            changes.append(now)
            value, since = new, now
        elif now - since > STILL:
            fix = "Use another counter, or a machine whose counter works."
            got = f"{counter.name} without an update in {STILL:g} s"
            raise InputError(where, got=got, expected="an energy counter that rises", fix=fix)
    return float(np.diff(changes).max())


def _calls_that_last(function: Callable[..., Any], inputs: tuple[Any, ...], seconds: float) -> int:
    """Number of calls that fill ``seconds``; the first call, which may compile or allocate, is left out."""
    function(*inputs)
    calls = 1
    while True:
        elapsed = _timed(function, inputs, calls)
        if elapsed >= seconds / 10:
            return math.ceil(calls * seconds / elapsed)
        calls *= 2


def _timed(
    function: Callable[..., Any], inputs: tuple[Any, ...], calls: int, counter: EnergyCounter | None = None
) -> float:
    """Seconds of so many calls; a counter is read every ``WRAPS`` seconds."""
    _finish()
    begun = time.perf_counter()
    due = begun + WRAPS
    for _ in range(calls):
        function(*inputs)
        if counter is not None and time.perf_counter() > due:
            counter.read()
            due = time.perf_counter() + WRAPS
    _finish()
    return time.perf_counter() - begun


def _finish() -> None:
    """Wait for what GPUs still compute."""
    if torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.synchronize(index)


def _run(where: str, function: Any, inputs: tuple[Any, ...], calls: int, counter: EnergyCounter) -> tuple[float, float]:
    """Joules and seconds of one run."""
    begun = counter.read()
    seconds = _timed(function, inputs, calls, counter)
    return _rise(where, counter, begun, counter.read()), seconds


def _idle_power(where: str, counter: EnergyCounter, seconds: float) -> float:
    pauses = math.ceil(seconds / WRAPS)
    joules, seconds = _run(where, time.sleep, (seconds / pauses,), pauses, counter)
    return joules / seconds


def _rise(where: str, counter: EnergyCounter, before: float, after: float) -> float:
    if not after > before:
        got = f"{counter.name} from {before:g} to {after:g} J in one run"
        fix = "Let read() undo wraparounds, or use another counter."
        raise InputError(where, got=got, expected="an energy counter that rises", fix=fix)
    return after - before


def _spread(values: list[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)), tuple(values))
