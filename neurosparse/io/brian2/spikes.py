"""Spike trains of Brian 2 as events, and events as input of its models."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, cat
from neurosparse.events.batch import collate
from neurosparse.events.timing import NANO, start_of_step, step_nanoseconds
from neurosparse.io._arguments import check_duration, required_dt

__all__ = ["generator", "read", "respond"]


def read(
    monitor: Any,
    dt: float | None = None,
    duration: float | None = None,
    n_units: int | None = None,
    *,
    samples: int = 1,
) -> EventTensor:
    """Spikes of a ``SpikeMonitor`` or an ``EventMonitor`` as events.

    An event at time ``t`` belongs to its step of Brian 2's clock. With another ``dt`` it belongs to step
    ``floor(t / dt)``, computed in whole nanoseconds, and the rest is kept as its offset.

    Args:
        monitor: any object with ``.i`` (neuron of each spike) and ``.t`` (its time in seconds).
        dt: seconds per step of the result; default: that of the monitor's clock.
        duration: seconds that were simulated, silence included; default: the time of the monitor's clock.
        n_units: number of neurons, silent ones included; default: the size of ``monitor.source``.
        samples: number of copies of the network in one simulation, one per sample, in the order of :func:`generator`
            and :func:`write`.

    Returns:
        Binary events ``(steps, samples, n_units / samples)``.

    Raises:
        InputError: no ``.i`` and ``.t``; an unknown clock or number of neurons; a spike outside the duration.

    Example:
        >>> from types import SimpleNamespace
        >>> monitor = SimpleNamespace(i=[1, 0, 1], t=[0.001, 0.002, 0.004], source=range(3))
        >>> read(monitor, dt=1e-3, duration=0.01).counts().tolist()
        [[1.0, 2.0, 0.0]]

    Source: Stimberg, Brette & Goodman 2019, "Brian 2, an intuitive and efficient neural simulator", eLife 8:e47314.
    """
    where, clock = "io.brian2.read", getattr(monitor, "clock", None)
    times, units = _recorded(where, monitor)
    samples = whole(where, "samples", samples)
    if n_units is None:
        total = len(_known(where, "source", getattr(monitor, "source", None), "n_units"))
    else:
        total = whole(where, "n_units", n_units, 0)
    if total % samples:
        got = f"{total} neurons for samples={samples}"
        raise InputError(where, got=got, expected="the same number of neurons for every sample")
    if len(units) and units.max() >= total:
        raise InputError(where, got=f"a spike of neuron {units.max()}", expected=f"units below n_units={total}")
    dt = float(_known(where, "clock", clock, "dt").dt_) if dt is None else required_dt(where, dt)
    duration = check_duration(where, duration)
    if duration is None:
        duration = float(np.asarray(_known(where, "clock", clock, "duration").t_).item())
    if clock is not None and math.isclose(dt, float(clock.dt_), rel_tol=1e-9):
        times = _start_of(torch.round(times / dt), dt)
    size = total // samples
    copies = (units // max(size, 1) == sample for sample in range(samples))
    settings = {"n_units": size, "dt": dt, "duration": duration}
    return cat([EventTensor.from_times(times[of], units[of] % size, **settings) for of in copies])


def _recorded(where: str, monitor: Any) -> tuple[Tensor, Tensor]:
    """Seconds and neurons, copied: a monitor overwrites its buffers. The array of a quantity is in SI units."""
    fix = "Pass a SpikeMonitor that records."
    if not (hasattr(monitor, "i") and hasattr(monitor, "t")):
        raise InputError(where, got=type(monitor).__name__, expected="a monitor with .i and .t", fix=fix)
    times, units = np.array(monitor.t, dtype=np.float64), np.array(monitor.i, dtype=np.int64)
    if times.ndim != 1 or times.shape != units.shape:  # a group of neurons has .i and one .t
        raise InputError(where, got=type(monitor).__name__, expected="a time for every spike", fix=fix)
    return torch.from_numpy(times), torch.from_numpy(units)


def _known(where: str, name: str, value: Any, instead: str) -> Any:
    if value is None:
        raise InputError(where, got=f"a monitor without .{name}", expected=instead, fix=f"Pass {instead}=.")
    return value


def _start_of(step: Tensor, dt: float) -> Tensor:
    """Seconds at which steps start, exact to the nanosecond."""
    return step_nanoseconds(step.long(), dt).double() / NANO


def generator(events: EventTensor, sample: int | None = 0, *, dt: float | None = None, **settings: Any) -> Any:
    """Events as a ``SpikeGeneratorGroup`` with exactly their spike times.

    Args:
        events: spikes ``(steps, samples, *units)``; neuron ``u`` of the group is flat unit ``u``.
        sample: number of the sample; None: all samples, sample ``s`` on neurons ``s * n_units`` and up.
        dt: seconds per step of the group's clock; default: that of the events. A finer clock keeps sub-step times
            that are multiples of its ``dt``.
        settings: further arguments of ``SpikeGeneratorGroup`` (``name``, ``when``, ``order``, ``period``).

    Returns:
        The group, for a Brian 2 network. :func:`read` returns the same events from its monitor.

    Raises:
        InputError: graded events, no ``dt``, times before 0 or between two steps of the clock, a sample out of range.

    Example:
        >>> import brian2
        >>> spikes = EventTensor.from_times([0.002, 0.0003], [1, 0], n_units=2, dt=1e-4)
        >>> generator(spikes).spike_time
        <spikegeneratorgroup.spike_time: array([0.3, 2. ]) * msecond>
    """
    where = "io.brian2.generator"
    if sample is not None:
        events = events.samples(whole(where, "sample", sample, -events.shape[1], events.shape[1] - 1))
    _check_spikes(where, events)
    dt = required_dt(where, events.dt if dt is None else dt)
    neuron, times = _spikes(where, events, dt)
    brian2 = importlib.import_module("brian2")
    n_neurons, second = events.shape[1] * events.n_units, brian2.second
    return brian2.SpikeGeneratorGroup(n_neurons, neuron, times * second, dt=dt * second, sorted=True, **settings)


def _check_spikes(where: str, events: EventTensor) -> None:
    if not events.binary:
        fix = "Build them as spikes: EventTensor.from_dense(x, spikes=True)."
        raise InputError(where, got="graded events", expected="spikes", fix=fix)
    if events.axis != "time" or events.dt is None:
        fix = "Pass dt= where the events are built, for example 1e-3."
        raise InputError(where, got=f"axis={events.axis!r}, dt={events.dt}", expected="events in seconds", fix=fix)


def _spikes(where: str, events: EventTensor, dt: float, since: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Neuron, and seconds after ``since``, of each spike in the order of time and neuron; all on steps of the clock."""
    nanoseconds = events.times().cpu() - round(since * NANO)
    if bool((nanoseconds < 0).any()):
        raise InputError(where, got="spikes before 0 s", expected="t >= 0", fix="Brian 2 starts at 0.")
    step = torch.round(nanoseconds.double() / (dt * NANO)).long()
    if bool((nanoseconds != step_nanoseconds(step, dt)).any()):
        fix = "Pass a finer dt=, or give up sub-step times: events.bin(1, on_collision='any')."
        raise InputError(where, got="spikes between two steps", expected=f"times on a clock of {dt} s", fix=fix)
    neuron = (events.aer().sample * events.n_units + events.index).cpu().numpy()
    order = np.lexsort((neuron, step.numpy()))
    step, neuron = step.numpy()[order], neuron[order]
    if bool(((np.diff(step) == 0) & (np.diff(neuron) == 0)).any()):
        raise InputError(where, got="two spikes of a neuron in one step", expected="one", fix="Pass a finer dt=.")
    return neuron, step * dt


def respond(
    network: Any, source: Any, monitor: Any, events: EventTensor, *, namespace: dict[str, Any] | None = None
) -> EventTensor:
    """Responses of any Brian 2 model to each sample, for example as input of a readout.

    The network starts every sample in its present state, receives the spikes of the sample through ``source`` and runs
    for the duration of the sample. Its present state is restored at the end.

    Args:
        network: a ``brian2.Network`` that contains ``source`` and ``monitor``, with any equations.
        source: a ``SpikeGeneratorGroup`` with one neuron per unit; its spikes are replaced.
        monitor: the ``SpikeMonitor`` of the neurons whose spikes are returned.
        events: spikes ``(steps, samples, *units)`` on steps of the source's clock.
        namespace: names in the model's equations; default: those of the calling scope.

    Returns:
        Spikes ``(steps, samples, neurons of the monitor)`` on the monitor's clock; ``lengths`` follow those of the
        samples.

    Raises:
        InputError: graded events, a number of units that is not that of the source, times between two steps.

    Example:
        >>> import brian2
        >>> brian2.prefs.codegen.target = "numpy"
        >>> source = brian2.SpikeGeneratorGroup(1, [], [] * brian2.second, dt=0.001 * brian2.second)
        >>> monitor = brian2.SpikeMonitor(source)
        >>> spikes = EventTensor.from_dense(torch.eye(3)[:, :, None], dt=1e-3, spikes=True)
        >>> responses = respond(brian2.Network(source, monitor), source, monitor, spikes)
        >>> bool((responses.dense() == spikes.dense()).all())
        True
    """
    where, brian2 = "io.brian2.respond", importlib.import_module("brian2")
    _check_spikes(where, events)
    if len(source) != events.n_units:
        raise InputError(where, got=f"events of {events.n_units} units", expected=f"the source's {len(source)} neurons")
    (steps, samples), clock, responses = events.shape[:2], float(monitor.clock.dt_), []
    lengths = [steps] * samples if events.lengths is None else events.lengths.tolist()
    network.store(where)
    now = float(network.t_)
    for sample, length in enumerate(lengths):
        neuron, times = _spikes(where, events.samples(sample), float(source.clock.dt_), since=events.t0)
        network.restore(where)
        source.set_spikes(neuron, (now + times) * brian2.second, sorted=True)
        duration = start_of_step(length, events.dt, 0.0)
        network.run(duration * brian2.second, namespace=namespace, level=1)
        times, units = _recorded(where, monitor)
        step = torch.round((times - now) / clock)
        times, units = _start_of(step[step >= 0], clock), units[step >= 0]
        responses.append(EventTensor.from_times(times, units, n_units=len(monitor.source), dt=clock, duration=duration))
    network.restore(where)
    return collate(responses)
