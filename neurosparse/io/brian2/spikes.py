"""Spike trains of Brian 2 as events, and events as input of its models."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, cat
from neurosparse.events.batch import collate
from neurosparse.events.timing import NANO, start_of_step, step_nanoseconds
from neurosparse.io._arguments import check_duration, required_dt
from neurosparse.io._trains import FAR, nanosecond, place

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

    An event at time ``t`` belongs to step ``floor(t / dt)``; where it was not recorded on a step of this ``dt`` (the
    clock had another ``dt`` then, or ``dt`` is passed), the rest is kept as its offset, exact to the nanosecond.

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
    size, time = total // samples, _on_clock(times, dt)
    copies = (units // max(size, 1) == sample for sample in range(samples))
    return cat([place(where, time[of], units[of] % size, size, dt, 0.0, duration=duration) for of in copies])


def _recorded(where: str, monitor: Any) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and neurons, copied: a monitor overwrites its buffers. The array of a quantity is in SI units."""
    fix = "Pass a SpikeMonitor that records."
    if not (hasattr(monitor, "i") and hasattr(monitor, "t")):
        raise InputError(where, got=type(monitor).__name__, expected="a monitor with .i and .t", fix=fix)
    times, units = np.array(monitor.t, dtype=np.float64), np.array(monitor.i, dtype=np.int64)
    if times.ndim != 1 or times.shape != units.shape:  # a group of neurons has .i and one .t
        raise InputError(where, got=type(monitor).__name__, expected="a time for every spike", fix=fix)
    if not np.all(np.abs(times) < FAR):  # so that NaN is refused
        raise InputError(where, got="times that are NaN or too late", expected=f"seconds below {FAR}")
    return times, units


def _known(where: str, name: str, value: Any, instead: str) -> Any:
    if value is None:
        raise InputError(where, got=f"a monitor without .{name}", expected=instead, fix=f"Pass {instead}=.")
    return value


def _on_clock(times: np.ndarray, dt: float, since: float = 0.0) -> np.ndarray:
    """Nanoseconds after ``since``: of the step, where a time is ``step * dt`` up to rounding, else of the time itself.

    The start of a step of 1/3 ms, rounded once as a decimal, can differ by a nanosecond from its rounded product.
    """
    after = times - since
    step = np.rint(after / dt)
    rounding = 4 * np.spacing(np.maximum(np.abs(times), abs(since)))
    exact = np.rint((after - np.floor(after)) * NANO).astype(np.int64) + np.floor(after).astype(np.int64) * NANO
    on_step = step_nanoseconds(torch.from_numpy(step.astype(np.int64)), dt).numpy()
    return np.where(np.abs(after - step * dt) <= rounding, on_step, exact)


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
    nanoseconds = events.times().cpu() - nanosecond(dt, since)
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
    for the duration of the sample. Its present state, the spikes of ``source`` included, is restored at the end, also
    after an error; random numbers continue, so that repeated samples have independent noise.

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
    inputs = [_spikes(where, events.samples(n), float(source.clock.dt_), since=events.t0) for n in range(samples)]
    now, kept = float(network.t_), len(monitor.t)
    with _restored(network, source, where):
        for (neuron, times), length in zip(inputs, lengths, strict=True):
            network.restore(where)
            source.set_spikes(neuron, (now + times) * brian2.second, sorted=True)
            duration = start_of_step(length, events.dt, 0.0)
            network.run(duration * brian2.second, namespace=namespace, level=1)
            times, units = (part[kept:] for part in _recorded(where, monitor))
            time, n_units = _on_clock(times, clock, now), len(monitor.source)
            responses.append(place(where, time, units, n_units, clock, 0.0, duration=duration))
    return collate(responses)


@contextmanager
def _restored(network: Any, source: Any, name: str) -> Iterator[None]:
    """Run the network, then restore its state; what a spike generator keeps outside of that state is restored too."""
    network.store(name)
    spikes = source._neuron_index, source._spike_time
    try:
        yield
    finally:
        network.restore(name)
        source._neuron_index, source._spike_time = spikes
        del network._stored_state[name]
