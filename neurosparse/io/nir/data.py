"""Events as NIR's data (EventData, ValuedEventData, TimeGriddedData), both ways, by the extra ``nir``."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurosparse.atomic import write_atomically
from neurosparse.checks import number, one_of
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor, cat
from neurosparse.events.timing import NANO, start_of_step
from neurosparse.io._arguments import check_dt
from neurosparse.io._library import check_hdf5

__all__ = ["read", "write"]

NEAR = 5e-10  # seconds: times this close to the start of a step are on it


def read(
    source: Any, dt: float | None = None, *, t0: float = 0.0, on_collision: str = "error"
) -> EventTensor | dict[str, Any]:
    """NIR's data as events. Times are rounded to steps and not floored: ``0.3 / 0.1`` is step 3.

    Spikes between two steps keep the rest of their time as an offset. A value of 0 is silence. Where ``dt`` does not
    divide ``t_max``, the last step is longer than the rest of the recording.

    Args:
        source: an ``EventData``, ``ValuedEventData`` or ``TimeGriddedData``; a ``NIRGraphData``, or the path of one.
        dt: seconds per step; data on a grid state theirs.
        t0: start in seconds; NIR has no field for it.
        on_collision: two events of a unit in one step are refused (``"error"``), added (``"sum"``) or become one spike
            (``"any"``).

    Returns:
        Events ``(steps, samples, units)``: spikes for booleans and ``EventData``, else graded events. For a graph's
        data, a dictionary by node and observable.

    Raises:
        InputError: no ``dt``, or not that of the data; a unit or a time out of range; values between two steps; a
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
    where = "io.nir.data.read"
    dt = check_dt(where, dt)
    t0 = number(where, "t0", t0, -1e9, 1e9, unit="seconds")
    one_of(where, "on_collision", on_collision, ("error", "sum", "any"))
    if isinstance(source, nir.NIRGraphData):
        return {name: read(node, dt, t0=t0, on_collision=on_collision) for name, node in source.nodes.items()}
    if isinstance(source, nir.NIRNodeData):
        return {k: read(part, dt, t0=t0, on_collision=on_collision) for k, part in source.observables.items()}
    if isinstance(source, nir.TimeGriddedData):
        if dt is not None and dt != source.dt:
            raise InputError(where, got=f"dt={dt:g}", expected=f"the data's dt={source.dt:g}")
        dense = torch.from_numpy(np.ascontiguousarray(source.data.swapaxes(0, 1)))
        spikes = dense.dtype == torch.bool
        return EventTensor.from_dense(dense.float() if spikes else dense, source.dt, t0=t0, spikes=spikes)
    if isinstance(source, nir.EventData):
        return _events(source, dt, t0, on_collision)
    return read(_loaded(source), dt, t0=t0, on_collision=on_collision)


def write(
    events: EventTensor | Mapping[str, EventTensor],
    path: str | os.PathLike[str] | None = None,
    *,
    form: str = "events",
) -> Any:
    """Events as NIR's data, and as a file.

    Args:
        events: ``(steps, samples, units)`` in seconds (``dt`` is known) of one node, or a dictionary by node.
        path: HDF5 file to write; all of it or none of it.
        form: ``"events"``, or ``"grid"``: a value for every step and unit.

    Returns:
        ``EventData`` for spikes, ``ValuedEventData`` for graded events, ``TimeGriddedData`` for a grid; for several
        nodes, or a file, a ``NIRGraphData`` whose observables are ``"spikes"`` or ``"values"`` (one node: ``"input"``).

    Raises:
        InputError: no ``dt``; what NIR's data have no field for (lengths, several axes of units; on a grid, a start
            other than 0 and sub-step times).

    Example:
        >>> spikes = EventTensor.from_dense(torch.eye(3)[:, None], dt=0.1, spikes=True)
        >>> data = write(spikes)
        >>> data.idx.tolist(), data.n_neurons, round(data.t_max, 3)
        ([[0, 1, 2]], 3, 0.3)

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation", for the graphs whose data these are.
    """
    nir = importlib.import_module("nir")
    one_of("io.nir.data.write", "form", form, ("events", "grid"))
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
        write_atomically(path, buffer.getvalue(), "io.nir.data.write")
    return graph


def _events(data: Any, dt: float | None, t0: float, on_collision: str) -> EventTensor:
    where = "io.nir.data.read"
    if dt is None:
        raise InputError(
            where, got="no dt for times in seconds", expected="dt", fix="Pass seconds per step, for example dt=1e-3."
        )
    sample, place = np.nonzero(data.idx != -1)
    unit, seconds = data.idx[sample, place], data.time[sample, place].astype(np.float64)
    if not ((unit >= 0) & (unit < data.n_neurons)).all():
        raise InputError(where, got=f"units {unit.min()} to {unit.max()}", expected=f"0 to {data.n_neurons - 1}, or -1")
    # Times are exact to the precision of their type only, so a larger distance from a step is within rounding.
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
        fix = "Choose a dt of which the times are multiples."
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
        fix = "Write one sample at a time: events.samples([k]).steps(0, length)."
        raise InputError(where, got="lengths", expected="samples of one length", fix=fix)
    if form == "grid":
        if events.t0 != 0 or events.offset is not None:
            got = "sub-step times" if events.offset is not None else f"t0={events.t0:g}"
            raise InputError(where, got=got, expected="events on a grid that starts at 0", fix="Use form='events'.")
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
        check_hdf5("io.nir.data.read", Path(os.fsdecode(source)), room=1 << 29)  # dense spikes compress well
        return nir.read_data(os.fspath(source))
    except InputError:
        raise
    except Exception as error:  # h5py and nir raise errors of many types
        raise InputError("io.nir.data.read", got=f"{source} ({error})", expected="data of a NIR graph") from error
