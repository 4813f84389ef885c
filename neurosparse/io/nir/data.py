"""Spikes and signals as NIR's data (EventData, ValuedEventData, TimeGriddedData), both ways, by the extra ``nir``."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neurosparse.atomic import write_atomically
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor, cat
from neurosparse.events.timing import NANO, check_dt, start_of_step

__all__ = ["read", "write"]

NEAR = 5e-10  # seconds: a time this close to the start of a step is that start


def read(
    source: Any, dt: float | None = None, *, t0: float = 0.0, on_collision: str = "error"
) -> EventTensor | dict[str, Any]:
    """NIR's data as events. Times are rounded to steps, never floored: ``0.3 / 0.1`` is step 3.

    Where some time is no start of a step, spikes keep the rest as their offset, as in a recording. A value of zero is
    silence. The last step may be a part of one where ``dt`` does not divide ``t_max``.

    Args:
        source: an ``EventData``, ``ValuedEventData`` or ``TimeGriddedData``; a ``NIRGraphData``, or the path of one.
        dt: seconds per step; data on a grid know theirs.
        t0: start in seconds, which NIR has no field for.
        on_collision: two events in one step of one unit: ``"error"``, or ``"sum"`` or ``"any"`` (one spike).

    Returns:
        Events ``(steps, samples, units)``: spikes for booleans and plain events, else graded. For a graph's data: the
        same by node and observable.

    Raises:
        InputError: no ``dt``, or another than the data's; a unit or a time out of range; values between steps; a
            damaged file.

    Example:
        >>> import nir
        >>> data = nir.EventData(np.array([[1, 0, -1]]), np.array([[0.1, 0.3, np.inf]]), n_neurons=2, t_max=0.5)
        >>> events = read(data, dt=0.1)
        >>> events.shape, events.aer().step.tolist()
        ((5, 1, 2), [1, 3])

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation", for the graphs whose data these are.
    """
    nir = importlib.import_module("nir")
    if isinstance(source, nir.NIRGraphData):
        return {name: read(node, dt, t0=t0, on_collision=on_collision) for name, node in source.nodes.items()}
    if isinstance(source, nir.NIRNodeData):
        return {k: read(part, dt, t0=t0, on_collision=on_collision) for k, part in source.observables.items()}
    if isinstance(source, nir.TimeGriddedData):
        if dt is not None and dt != source.dt:
            raise InputError("io.nir.data.read", got=f"dt={dt:g}", expected=f"the data's dt={source.dt:g}")
        dense = torch.from_numpy(np.ascontiguousarray(source.data.swapaxes(0, 1)))
        spikes = dense.dtype == torch.bool
        return EventTensor.from_dense(dense.float() if spikes else dense, source.dt, t0=t0, spikes=spikes)
    if isinstance(source, nir.EventData):
        return _events(source, check_dt("io.nir.data.read", dt), t0, on_collision)
    return read(_loaded(source), dt, t0=t0, on_collision=on_collision)


def write(
    events: EventTensor | Mapping[str, EventTensor],
    path: str | os.PathLike[str] | None = None,
    *,
    form: str = "events",
) -> Any:
    """Events as NIR's data, and as a file.

    Args:
        events: ``(steps, samples, units)`` in seconds (``dt`` is known), of one node; or by name of the node.
        path: HDF5 file to write, atomically.
        form: ``"events"``, or ``"grid"`` with a value for every step and unit.

    Returns:
        ``EventData`` for spikes, ``ValuedEventData`` for graded events, ``TimeGriddedData`` for a grid; for several
        nodes, or a file, a ``NIRGraphData`` whose observables are ``"spikes"`` or ``"values"`` (one node: ``"input"``).

    Raises:
        InputError: what NIR's data have no field for: lengths, several unit axes, and on a grid a start other than 0
            or sub-step times; no ``dt``.

    Example:
        >>> spikes = EventTensor.from_dense(torch.eye(3)[:, None], dt=0.1, spikes=True)
        >>> data = write(spikes)
        >>> data.idx.tolist(), data.n_neurons, round(data.t_max, 3)
        ([[0, 1, 2]], 3, 0.3)

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation", for the graphs whose data these are.
    """
    nir = importlib.import_module("nir")
    if form not in ("events", "grid"):
        raise InputError("io.nir.data.write", got=f"form={form!r}", expected="'events' or 'grid'")
    if isinstance(events, EventTensor):
        found = _data(events, form)
        if path is None:
            return found
        events = {"input": events}
    nodes = {
        name: nir.NIRNodeData({"spikes" if part.binary else "values": _data(part, form)})
        for name, part in events.items()
    }
    graph = nir.NIRGraphData(nodes)
    if path is not None:
        buffer = io.BytesIO()
        nir.write_data(buffer, graph)
        write_atomically(path, buffer.getvalue())
    return graph


def _events(data: Any, dt: float | None, t0: float, on_collision: str) -> EventTensor:
    where = "io.nir.data.read"
    if dt is None:
        raise InputError(where, got="event times without a grid", expected="dt", fix="Pass seconds per step, dt=1e-3.")
    sample, place = np.nonzero(data.idx != -1)
    unit, seconds = data.idx[sample, place], data.time[sample, place].astype(np.float64)
    if not ((unit >= 0) & (unit < data.n_neurons)).all():
        raise InputError(where, got=f"units {unit.min()} to {unit.max()}", expected=f"0 to {data.n_neurons - 1}, or -1")
    # Times are kept with the precision of their own type; beyond it a step is no less exact.
    precision = 4 * float(np.finfo(data.time.dtype).eps) if np.issubdtype(data.time.dtype, np.floating) else 0.0
    steps = _steps(float(data.t_max) - t0, dt, max(NEAR, precision * abs(float(data.t_max))))
    if not ((seconds > t0 - NEAR) & (seconds < data.t_max)).all():
        got = f"times from {seconds.min():g} to {seconds.max():g} s"
        raise InputError(where, got=got, expected=f"{t0:g} <= time < t_max = {data.t_max:g} s")
    step = np.rint((seconds - t0) / dt)
    near = np.abs(seconds - t0 - step * dt) <= np.maximum(min(NEAR, dt / 1000), precision * np.abs(seconds))
    values = getattr(data, "value", None)
    shape = (steps, len(data.idx), data.n_neurons)
    timing: dict[str, Any] = {"dt": dt, "t0": t0}
    if near.all():
        at, of, by = (torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in (step, sample, unit))
        value = None if values is None else torch.from_numpy(values[sample, place])
        return EventTensor.from_aer(at, of, by, value, shape=shape, **timing, on_collision=on_collision)
    if values is not None:
        fix = "Choose a dt that divides the times."
        got = f"a value at {seconds[~near][0]:g} s, between steps of {dt:g} s"
        raise InputError(where, got=got, expected="values at the start of a step", fix=fix)
    options = {**timing, "n_units": data.n_neurons, "duration": steps * dt}
    parts = [sample == number for number in range(len(data.idx))]
    return cat([EventTensor.from_times(seconds[part], unit[part], **options) for part in parts])


def _steps(duration: float, dt: float, near: float) -> int:
    whole = round(duration / dt)
    return max(whole if abs(whole * dt - duration) <= near else int(np.ceil(duration / dt)), 0)


def _data(events: EventTensor, form: str) -> Any:
    nir = importlib.import_module("nir")
    where, events = "io.nir.data.write", events.detach().to("cpu")
    if events.dt is None or len(events.shape) != 3:
        fix = "Build it with dt=1e-3." if events.dt is None else "Flatten the units: ns.fold(torch.nn.Flatten())."
        got = f"events of shape {events.shape}, dt={events.dt}"
        raise InputError(where, got=got, expected="(steps, samples, units) in seconds", fix=fix)
    if events.lengths is not None:
        fix = "Write sample by sample: events.samples([k]).steps(0, length)."
        raise InputError(where, got="lengths", expected="samples that last equally", fix=fix)
    if form == "grid":
        if events.t0 != 0 or events.offset is not None:
            got = "sub-step times" if events.offset is not None else f"t0={events.t0:g}"
            raise InputError(where, got=got, expected="steps from 0 on", fix="Use form='events'.")
        dense = events.dense().swapaxes(0, 1).contiguous()
        return nir.TimeGriddedData((dense.bool() if events.binary else dense).numpy(), events.dt)
    aer = events.aer()
    on_grid = events.t0 + aer.step.numpy() * events.dt
    seconds = on_grid if events.offset is None else events.times().numpy() / NANO
    sample = aer.sample.numpy()
    order = np.lexsort((aer.unit.numpy(), seconds, sample))
    counts = np.bincount(sample, minlength=events.shape[1])
    place = np.arange(len(sample)) - np.repeat(counts.cumsum() - counts, counts)
    size = (events.shape[1], int(counts.max(initial=0)))

    def padded(part: np.ndarray, silence: float) -> np.ndarray:
        out = np.full(size, silence, dtype=part.dtype)
        out[sample[order], place] = part[order]
        return out

    end = start_of_step(events.shape[0], events.dt, events.t0)
    parts = {"idx": padded(events.index.numpy().astype(np.int64), -1), "time": padded(seconds, np.inf)}
    parts |= {"n_neurons": events.shape[2], "t_max": end}
    if events.value is None:
        return nir.EventData(**parts)
    return nir.ValuedEventData(**parts, value=padded(events.value.numpy(), 0))


def _loaded(source: Any) -> Any:
    nir = importlib.import_module("nir")
    if not isinstance(source, str | os.PathLike):
        expected = "NIR's data, or a path"
        raise InputError("io.nir.data.read", got=type(source).__name__, expected=expected)
    if not os.path.isfile(source):
        raise MissingFileError("io.nir.data.read", got=str(source), expected="a file")
    try:
        return nir.read_data(os.fspath(source))
    except Exception as error:  # whatever h5py or nir trip over
        raise InputError("io.nir.data.read", got=f"{source} ({error})", expected="data of a NIR graph") from error
