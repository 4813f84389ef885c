"""The event tensor: everything that can be silent, as events."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from neurosparse.errors import InputError
from neurosparse.events.carrier import count_events, stand_in
from neurosparse.events.checks import (
    check_coordinate,
    check_lengths,
    check_shape,
    flat_unit,
    merge,
    repeats,
    silence_padding,
    valid_rows,
)
from neurosparse.events.select import bin_steps, take_samples, take_steps
from neurosparse.events.size import bits
from neurosparse.events.storage import write
from neurosparse.events.timing import Axis, Timing, check_dt, nanoseconds_to_step, step_nanoseconds, tag
from neurosparse.kernels.rows import compress, expand, scatter

__all__ = ["AER", "HANDLERS", "EventTensor", "on_dense_twin"]

HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""How torch functions act on events; filled by ``events.functions``."""


class AER(NamedTuple):
    """Address-event form: int64 coordinates of each event, and its value (None: unit spikes)."""

    step: Tensor
    sample: Tensor
    unit: Tensor
    value: Tensor | None


class EventTensor:
    """Spikes, graded transmissions or changes of ``(steps, samples, *units)``; immutable, speaks torch, counts itself.

    Held in one of three states, converted only on demand: a dense twin with its graph; events; events with a gradient carrier.
    Build it with :meth:`from_dense`, :meth:`from_aer` or :meth:`from_times`.

    Example:
        >>> spikes = EventTensor.from_dense(torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]]), dt=1e-3, spikes=True)
        >>> spikes.n_events, spikes.density, spikes.counts().tolist()
        (2, 0.5, [[1.0, 1.0]])
    """

    def __init__(
        self,
        shape: Sequence[int],
        timing: Timing,
        dtype: torch.dtype,
        *,
        binary: bool,
        dense: Tensor | None = None,
        row: Tensor | None = None,
        row_ptr: Tensor | None = None,
        index: Tensor | None = None,
        value: Tensor | None = None,
        offset: Tensor | None = None,
        carrier: Tensor | None = None,
    ):
        # Parts are trusted here: the public constructors check them.
        self._shape, self._timing, self._dtype, self._binary = tuple(shape), timing, dtype, binary
        self._dense, self._row, self._row_ptr, self._index = dense, row, row_ptr, index
        self._value, self._offset, self._carrier = value, offset, carrier

    # ---- building

    @classmethod
    def from_dense(
        cls,
        x: Tensor,
        dt: float | None = None,
        *,
        t0: float = 0.0,
        lengths: Tensor | None = None,
        axis: Axis = "time",
        spikes: bool = False,
    ) -> EventTensor:
        """The dense twin of ``x``: exact, nothing copied, gradients pass as identity.

        Args:
            x: ``(steps, samples, *units)``. A bool tensor, or ``spikes=True``, declares unit spikes; the values are never guessed from.
            dt: seconds per step.
            t0: start in seconds.
            lengths: ``(samples)``, steps that are data; beyond them ``x`` must be silent.
            axis: what a step is: ``"time"``, a solver's ``"iteration"`` or None (a static code).
            spikes: the non-zero values are all 1 and mean spikes.

        Raises:
            InputError: fewer than three axes, NaN, events beyond ``lengths``, ``spikes`` with other values than 0 and 1, bad ``dt``.

        Example:
            >>> x = torch.rand(5, 2, 3)
            >>> bool((EventTensor.from_dense(x).dense() == x).all())
            True
        """
        where = "EventTensor.from_dense"
        if not isinstance(x, Tensor):
            raise InputError(where, got=type(x).__name__, expected="a torch tensor", fix="Use torch.as_tensor(x).")
        check_shape(where, x.shape)
        timing = Timing(axis, check_dt(where, dt), float(t0), check_lengths(where, lengths, x.shape))
        if x.is_floating_point() and bool(x.detach().isnan().any()):
            raise InputError(where, got="NaN", expected="numbers", fix="Replace or drop them first (torch.nan_to_num).")
        binary = spikes or x.dtype == torch.bool
        if spikes and not bool(((x.detach() == 0) | (x.detach() == 1)).all()):
            fix = "Drop spikes=True to keep graded values."
            raise InputError(where, got="values other than 0 and 1", expected="spikes", fix=fix)
        if lengths is not None and bool((x.detach() != 0).flatten(2).any(2)[~valid_rows(timing, x.shape)].any()):
            fix = "Set x to zero there or raise the lengths."
            raise InputError(where, got="events beyond lengths", expected="silence after each sample's end", fix=fix)
        return cls(x.shape, timing, x.dtype, binary=binary, dense=x)

    @classmethod
    def from_aer(
        cls,
        step: Tensor,
        sample: Tensor,
        unit: Tensor,
        value: Tensor | None = None,
        *,
        shape: Sequence[int],
        dt: float | None = None,
        t0: float = 0.0,
        lengths: Tensor | None = None,
        axis: Axis = "time",
        on_collision: str = "error",
    ) -> EventTensor:
        """Events from coordinates, in any order.

        Args:
            step, sample, unit: integer ``(events)``; ``unit`` is flat, or ``(events, unit axes)``.
            value: ``(events)`` graded values, or None for unit spikes; a zero value is silence.
            shape: ``(steps, samples, *units)``; size is explicit, never inferred.
            dt, t0, lengths, axis: as in :meth:`from_dense`.
            on_collision: events of the same step, sample and unit: ``"error"``, ``"sum"`` (graded result) or ``"any"`` (one spike).

        Raises:
            InputError: floating-point or out-of-range coordinates, NaN values, collisions with ``on_collision="error"``.

        Example:
            >>> one = torch.tensor([0])
            >>> EventTensor.from_aer(one, one, one + 2, shape=(4, 1, 3)).aer().unit.tolist()
            [2]
        """
        where = "EventTensor.from_aer"
        check_shape(where, shape)
        steps, samples, *units = shape
        n_units = math.prod(units)
        timing = Timing(axis, check_dt(where, dt), float(t0), check_lengths(where, lengths, shape))
        unit = flat_unit(where, torch.as_tensor(unit), units)
        parts = [torch.as_tensor(part) for part in (step, sample)] + [unit]
        for name, part, size in zip(("step", "sample", "unit"), parts, (steps, samples, n_units), strict=True):
            check_coordinate(where, name, part, size)
        if len({part.numel() for part in parts} | ({len(value)} if value is not None else set())) > 1:
            raise InputError(where, got="parts of different lengths", expected="one entry per event in each part")
        if value is not None and torch.as_tensor(value).isnan().any():
            raise InputError(where, got="NaN values", expected="numbers", fix="Drop those events first.")
        if lengths is not None and bool((parts[0] >= timing.lengths[parts[1].long()]).any()):  # type: ignore[index]
            fix = "Drop those events or raise the lengths."
            raise InputError(where, got="events beyond lengths", expected="silence after each sample's end", fix=fix)
        row = parts[0].long() * samples + parts[1].long()
        row, index, value = merge(where, row, unit.long(), value, n_units, on_collision)
        dtype = torch.float32 if value is None else value.dtype
        return cls(shape, timing, dtype, binary=value is None, row=row, index=index.int(), value=value)

    @classmethod
    def from_times(
        cls,
        times: Sequence[float] | Tensor,
        units: Sequence[int] | Tensor,
        *,
        n_units: int,
        dt: float,
        duration: float | None = None,
        t0: float = 0.0,
    ) -> EventTensor:
        """Spike trains of one recording, exact to the nanosecond: integer steps plus sub-step offsets.

        Args:
            times: seconds ``(events)``, any order, none before ``t0``.
            units: which unit fired ``(events)``.
            n_units: number of recorded units, silent ones included.
            dt: seconds per step.
            duration: seconds recorded; silence up to it is real. Default: up to and including the step of the last event.
            t0: start of the recording in seconds.

        Returns:
            Events of shape ``(steps, 1, n_units)``. Where times do not fall on the grid they keep an offset and may repeat within a
            step; ``.bin(1, on_collision=...)`` gives them up.

        Example:
            >>> spikes = EventTensor.from_times([0.0021, 0.0003], [1, 0], n_units=2, dt=1e-3)
            >>> spikes.shape, spikes.times().tolist()
            ((3, 1, 2), [300000, 2100000])
        """
        where = "EventTensor.from_times"
        check_dt(where, dt)
        seconds, unit = torch.as_tensor(times, dtype=torch.float64).flatten(), torch.as_tensor(units).flatten()
        unit = unit.long() if unit.numel() == 0 else unit
        check_coordinate(where, "units", unit, n_units)
        if seconds.numel() != unit.numel():
            raise InputError(where, got=f"{seconds.numel()} times, {unit.numel()} units", expected="one unit per time")
        if not bool(torch.isfinite(seconds).all()) or bool((seconds < t0).any()):
            raise InputError(where, got="a time before t0 or not finite", expected=f"seconds >= t0 = {t0}")
        since = (seconds * 1e9).round().long() - round(t0 * 1e9)
        step = nanoseconds_to_step(since, dt)
        steps = int(step.max()) + 1 if step.numel() else 0
        if duration is not None:
            allowed = int(nanoseconds_to_step(torch.tensor([max(round(duration * 1e9) - 1, 0)]), dt)) + 1
            if steps > allowed:
                raise InputError(where, got=f"an event at {float(seconds.max())} s", expected=f"t < t0 + {duration} s")
            steps = allowed if duration > 0 else 0
        offset = since - step_nanoseconds(step, dt)
        order = torch.argsort(offset, stable=True)
        order = order[torch.argsort((step * n_units + unit.long())[order], stable=True)]
        step, unit, offset = step[order], unit[order].int(), offset[order]
        on_grid = not bool(offset.any()) and not bool(repeats(step, unit).any())
        timing = Timing("time", dt, float(t0))
        parts = {"row": step, "index": unit, "offset": None if on_grid else offset}
        return cls((steps, 1, n_units), timing, torch.float32, binary=True, **parts)

    # ---- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def timing(self) -> Timing:
        return self._timing

    @property
    def axis(self) -> Axis:
        return self._timing.axis

    @property
    def dt(self) -> float | None:
        return self._timing.dt

    @property
    def t0(self) -> float:
        return self._timing.t0

    @property
    def lengths(self) -> Tensor | None:
        return self._timing.lengths

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def device(self) -> torch.device:
        part = next(p for p in (self._dense, self._index) if p is not None)
        return part.device

    @property
    def n_units(self) -> int:
        return math.prod(self._shape[2:])

    @property
    def n_rows(self) -> int:
        """Rows that are data: step x sample, padding left out."""
        lengths = self._timing.lengths
        return self._shape[0] * self._shape[1] if lengths is None else int(lengths.sum())

    @property
    def requires_grad(self) -> bool:
        return any(p is not None and p.requires_grad for p in (self._dense, self._carrier, self._value))

    @property
    def constant(self) -> bool:
        """Whether every step is the same memory: a constant signal, to be computed and charged once."""
        return self._dense is not None and self._shape[0] > 1 and self._dense.stride(0) == 0

    # ---- events

    def _find_events(self) -> None:
        if self._index is None:
            assert self._dense is not None
            flat = self._dense.detach().reshape(-1, max(self.n_units, 1))[:, : self.n_units]
            self._row, index = flat.nonzero().unbind(1)
            self._value = None if self._binary else flat[self._row, index]
            self._index = index.int()

    @property
    def row(self) -> Tensor:
        """``step * samples + sample`` of each event, int64, sorted."""
        self._find_events()
        if self._row is None:
            assert self._row_ptr is not None
            self._row = expand(self._row_ptr)
        return self._row

    @property
    def index(self) -> Tensor:
        """Flat unit of each event, int32, sorted within a row."""
        self._find_events()
        assert self._index is not None
        return self._index

    @property
    def value(self) -> Tensor | None:
        """Value of each event; None: every event is a unit spike."""
        self._find_events()
        return self._value

    @property
    def offset(self) -> Tensor | None:
        """Nanoseconds of each event after the start of its step (recordings only)."""
        return self._offset

    @property
    def row_ptr(self) -> Tensor:
        """Compressed rows ``(steps * samples + 1)``, built on demand."""
        if self._row_ptr is None:
            self._row_ptr = compress(self.row, self._shape[0] * self._shape[1])
        return self._row_ptr

    @property
    def carrier(self) -> Tensor:
        """What stands for the dense tensor in the graph."""
        if self._carrier is not None:
            return self._carrier
        if self._dense is not None:
            return self._dense
        return torch.zeros((), device=self.device).expand(self._shape)

    @property
    def n_events(self) -> int:
        """Number of transmissions."""
        return self.index.numel()

    @property
    def density(self) -> float:
        """Events per cell that is data; silence is 0."""
        return self.n_events / max(self.n_rows * self.n_units, 1)

    def aer(self) -> AER:
        """Address-event coordinates, the inverse of :meth:`from_aer`."""
        step = self.row.div(max(self._shape[1], 1), rounding_mode="floor")
        return AER(step, self.row - step * self._shape[1], self.index.long(), self.value)

    def times(self) -> Tensor:
        """Nanoseconds of each event, int64: t0 + exact step time + offset.

        Raises:
            InputError: ``dt`` is None.
        """
        exact = step_nanoseconds(self.aer().step, self._seconds("times", "Times")) + round(self.t0 * 1e9)
        return exact if self._offset is None else exact + self._offset

    # ---- dense, counts, rates

    @property
    def is_dense(self) -> bool:
        """Whether it is held as a dense twin."""
        return self._dense is not None

    def dense(self) -> Tensor:
        """The dense tensor ``(steps, samples, *units)``, with its graph.

        Raises:
            InputError: a recording with sub-step times, which a dense tensor cannot hold.
        """
        if self._dense is not None:
            return self._dense
        if self._offset is not None:
            fix = "Give the sub-step times up by name: .bin(1, on_collision='sum')."
            raise InputError("EventTensor.dense", got="sub-step times", expected="events on the step grid", fix=fix)
        rows = self._shape[0] * self._shape[1]
        dense = scatter(self.row, self.index, self._value, rows, self.n_units, self._dtype).view(self._shape)
        return dense if self._carrier is None else stand_in(self._carrier, dense)

    def counts(self) -> Tensor:
        r"""Events of each unit ``(samples, *units)``; with a gradient where there is a graph (each event counts 1)."""
        _, samples, *units = self._shape
        position = self.aer().sample * self.n_units + self.index
        counts = torch.bincount(position, minlength=samples * self.n_units).view(samples, *units)
        counts = counts.to(self._dtype if self._dtype.is_floating_point else torch.float32)
        if not (self.requires_grad and torch.is_grad_enabled()):
            return counts
        return count_events(self._graph_source(), counts, self.lengths)

    def rates(self) -> Tensor:
        """Firing rates in hertz ``(samples, *units)``: counts over each sample's own duration.

        Raises:
            InputError: ``dt`` is None.
        """
        dt = self._seconds("rates", "Rates")
        counts = self.counts()
        if self.lengths is None:
            return counts / (self._shape[0] * dt)
        return counts / (self.lengths * dt).to(counts.dtype).view(-1, *[1] * (counts.dim() - 1))

    def cumulate(self) -> EventTensor:
        """Changes to levels: the running sum over steps."""
        levels = silence_padding(self.dense().cumsum(0), self._timing)
        return EventTensor(self._shape, self._timing, levels.dtype, binary=False, dense=levels)

    def _graph_source(self) -> Tensor:
        return self.dense() if self._value is not None and self._value.requires_grad else self.carrier

    def _seconds(self, method: str, what: str) -> float:
        if self.dt is None:
            fix = f"{what} need seconds per step; pass dt=1e-3 when you build it."
            raise InputError(f"EventTensor.{method}", got="dt=None", expected="seconds per step", fix=fix)
        return self.dt

    # ---- parts, size, file

    def steps(self, start: int, stop: int) -> EventTensor:
        """Steps ``start`` to ``stop`` (exclusive), with ``t0`` and ``lengths`` moved along."""
        a, b, _ = slice(start, stop).indices(self._shape[0])
        b = max(a, b)
        lengths = None if self.lengths is None else (self.lengths - a).clamp(0, b - a)
        timing = self._timing.with_(lengths=lengths, t0=self.t0 + a * (self.dt or 0.0))
        shape = (b - a, *self._shape[1:])
        if self.requires_grad or self._index is None:
            return EventTensor(shape, timing, self._dtype, binary=self._binary, dense=self.dense()[a:b])
        return self._from_parts(shape, timing, take_steps(self, a, b))

    def samples(self, idx: Any) -> EventTensor:
        """The samples ``idx`` (an int, slice, list or tensor), in that order."""
        which = torch.atleast_1d(torch.arange(self._shape[1])[idx])
        timing = self._timing.with_(lengths=None if self.lengths is None else self.lengths[which])
        shape = (self._shape[0], len(which), *self._shape[2:])
        if self.requires_grad or self._index is None:
            dense = self.dense()[:, which]
            return EventTensor(shape, timing, self._dtype, binary=self._binary, dense=dense)
        return self._from_parts(shape, timing, take_samples(self, which))

    def bin(self, k: int, on_collision: str = "error") -> EventTensor:
        """Merge ``k`` steps into one and drop sub-step times; collisions are refused, ``"sum"``-med or become one (``"any"``).

        Example:
            >>> spikes = EventTensor.from_times([0.001, 0.002], [0, 0], n_units=1, dt=1e-3).bin(10, on_collision="sum")
            >>> spikes.dense().flatten().tolist(), spikes.dt
            ([2.0], 0.01)
        """
        if not isinstance(k, int) or k < 1:
            raise InputError("EventTensor.bin", got=f"k={k}", expected="a whole number of steps, k >= 1")
        step, sample, unit, value = bin_steps(self, k)
        timing = self._timing
        return EventTensor.from_aer(
            step,
            sample,
            unit,
            value,
            shape=(-(-self._shape[0] // k), *self._shape[1:]),
            dt=None if self.dt is None else self.dt * k,
            t0=timing.t0,
            lengths=None if timing.lengths is None else -(-timing.lengths // k),
            axis=timing.axis,
            on_collision=on_collision,
        )

    def _from_parts(self, shape: Sequence[int], timing: Timing, parts: dict[str, Tensor | None]) -> EventTensor:
        return EventTensor(shape, timing, self._dtype, binary=self._binary, **parts)

    def bits(self, format: str) -> int:
        """Exact size of these events in bits, padding left out: ``"dense"``, ``"bitmap"``, ``"aer"``, ``"csr"`` or ``"rle"``."""
        return bits(self, format)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, atomically, as CSR or bitmap, whichever is smaller (``docs/format.md``)."""
        write(self, path)

    # ---- torch's plumbing

    @classmethod
    def __torch_function__(cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        handler = HANDLERS.get(function)
        if handler is not None:
            return handler(*args, **(kwargs or {}))
        return on_dense_twin(function, args, kwargs or {})

    def __add__(self, other: Any) -> Any:
        return torch.add(self, other)  # type: ignore[call-overload]

    def __sub__(self, other: Any) -> Any:
        return torch.sub(self, other)  # type: ignore[call-overload]

    def __rsub__(self, other: Any) -> Any:
        return torch.add(torch.mul(self, -1), other)  # type: ignore[call-overload]

    def __mul__(self, other: Any) -> Any:
        return torch.mul(self, other)  # type: ignore[call-overload]

    def __truediv__(self, other: Any) -> Any:
        return torch.div(self, other)  # type: ignore[call-overload]

    def __neg__(self) -> Any:
        return torch.mul(self, -1)  # type: ignore[call-overload]

    __radd__, __rmul__ = __add__, __mul__

    def to(self, device: torch.device | str) -> EventTensor:
        """The same events on another device."""
        return self._map(lambda part: part.to(device))

    def pin_memory(self) -> EventTensor:
        """The same events in page-locked memory."""
        return self._map(lambda part: part.pin_memory())

    def detach(self) -> EventTensor:
        """The same events without a graph."""
        copy = self._map(lambda part: part.detach())
        copy._carrier = None
        return copy

    def _map(self, move: Callable[[Tensor], Tensor]) -> EventTensor:
        copy = object.__new__(EventTensor)
        for name, part in self.__dict__.items():
            setattr(copy, name, move(part) if isinstance(part, Tensor) else part)
        if self.lengths is not None:
            copy._timing = self._timing.with_(lengths=move(self.lengths))
        return copy

    def __getstate__(self) -> dict[str, Any]:  # pickle and deepcopy: detached, as worker processes need
        return dict(self.detach().__dict__)

    def __len__(self) -> int:
        return self._shape[0]

    def __repr__(self) -> str:
        kind = "spikes" if self._binary else "graded"
        step = f"axis={self.axis!r}" if self.dt is None else f"axis={self.axis!r}, dt={self.dt:g} s"
        return f"EventTensor({self._shape}, {kind}, {step}, {self.n_events} events, density {self.density:.3g})"

    def _repr_html_(self) -> str:
        size = min(self.bits("bitmap"), self.bits("csr")) / 8
        facts = {
            "shape": self._shape,
            "events": f"{self.n_events:,} ({'spikes' if self._binary else 'graded'})",
            "density": f"{self.density:.3g}",
            "axis": self.axis,
            "dt": "not set" if self.dt is None else f"{self.dt:g} s",
            "size": f"{size:,.0f} bytes",
        }
        rows = "".join(f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items())
        return f"<table><caption>EventTensor</caption>{rows}</table>"


def on_dense_twin(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Any other torch function: on the dense twin. The result remembers its timing while it still has steps and samples."""
    events = next(a for a in tree_leaves((args, kwargs)) if isinstance(a, EventTensor))
    args, kwargs = tree_map(lambda a: a.dense() if isinstance(a, EventTensor) else a, (args, kwargs))
    result = function(*args, **kwargs)
    stepped = isinstance(result, Tensor) and result.dim() >= 3 and result.shape[:2] == events.shape[:2]
    return tag(result, events.timing) if stepped else result
