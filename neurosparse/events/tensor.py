"""The event tensor: everything that can be silent, as events."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Final

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.build import aer_parts, dense_parts, times_parts
from neurosparse.events.checks import check_grid, check_timing, silence_padding
from neurosparse.events.reading import AER, addresses, counts, rates, times
from neurosparse.events.select import binned_parts, sample_parts, step_parts
from neurosparse.events.show import as_html, as_line, as_refusal
from neurosparse.events.size import bits
from neurosparse.events.storage import write
from neurosparse.events.timing import Axis, Timing
from neurosparse.kernels.rows import compress, expand, scatter

__all__ = ["HANDLERS", "EventTensor"]

# How torch functions act on events; filled by `events.functions`. The handler of None takes every other function.
HANDLERS: dict[Any, Callable[..., Any]] = {}


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda events, *other: function(events, *other)


class EventTensor:
    """Spikes, graded transmissions or changes of ``(steps, samples, *units)``; immutable, speaks torch, counts itself.

    Held in one of three states, converted only on demand: a dense twin with its graph; events; events with a gradient
    carrier. Build it with :meth:`from_dense`, :meth:`from_aer` or :meth:`from_times`.

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
        support: Tensor | None = None,
    ):
        # Parts are trusted: the public constructors check them.
        self.shape: Final = tuple(shape)
        self.timing: Final = timing
        self.dtype: Final = dtype
        self.binary: Final = binary  # every event is a unit spike, and value is None
        self._dense, self._row, self._row_ptr, self._index = dense, row, row_ptr, index
        self._value, self._offset, self._carrier = value, offset, carrier
        self.support: Final = support  # where a gradient of the carrier is of use (codes); None: everywhere

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
            x: ``(steps, samples, *units)``; bool means unit spikes.
            dt: seconds per step.
            t0: start in seconds.
            lengths: ``(samples)``, steps that are data; beyond them ``x`` must be silent.
            axis: what a step is: ``"time"``, a solver's ``"iteration"`` or None (a static code).
            spikes: the values, all 0 or 1, mean spikes; without it they are graded, whatever they are.

        Raises:
            InputError: fewer than three axes, NaN, events beyond ``lengths``, spikes other than 0 and 1, a bad ``dt``.

        Example:
            >>> x = torch.rand(5, 2, 3)
            >>> bool((EventTensor.from_dense(x).dense() == x).all())
            True
        """
        if not isinstance(x, Tensor):
            fix = "Use torch.as_tensor(x)."
            raise InputError("EventTensor.from_dense", got=type(x).__name__, expected="a torch tensor", fix=fix)
        timing = check_timing("EventTensor.from_dense", tuple(x.shape), axis, dt, t0, lengths)
        return cls(**dense_parts(x, timing, spikes))

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
            on_collision: events of one cell: ``"error"``, ``"sum"`` (a graded event) or ``"any"`` (one spike).

        Raises:
            InputError: floating-point or out-of-range coordinates, NaN values, collisions.

        Example:
            >>> one = torch.tensor([0])
            >>> EventTensor.from_aer(one, one, one + 2, shape=(4, 1, 3)).aer().unit.tolist()
            [2]
        """
        timing = check_timing("EventTensor.from_aer", shape, axis, dt, t0, lengths)
        return cls(**aer_parts(step, sample, unit, value, shape, timing, on_collision))

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
            times: seconds ``(events)`` or a Brian2 quantity, any order, none before ``t0``.
            units: which unit fired ``(events)``.
            n_units: number of recorded units, silent ones included.
            dt: seconds per step.
            duration: seconds recorded, silence included. Default: up to the end of the last event's step.
            t0: start of the recording in seconds.

        Returns: events ``(steps, 1, n_units)``; times off the grid keep an offset and may share a step.

        Example:
            >>> spikes = EventTensor.from_times([0.0021, 0.0003], [1, 0], n_units=2, dt=1e-3)
            >>> spikes.shape, spikes.times().tolist()
            ((3, 1, 2), [300000, 2100000])
        """
        return cls(**times_parts(times, units, n_units, dt, duration, t0))

    # ---- what it is

    @property
    def axis(self) -> Axis:
        return self.timing.axis

    @property
    def dt(self) -> float | None:
        return self.timing.dt

    @property
    def t0(self) -> float:
        return self.timing.t0

    @property
    def lengths(self) -> Tensor | None:
        return self.timing.lengths

    @property
    def device(self) -> torch.device:
        return next(part.device for part in (self._dense, self._index) if part is not None)

    @property
    def n_units(self) -> int:
        return math.prod(self.shape[2:])

    @property
    def n_rows(self) -> int:
        """Rows that are data: step x sample, padding left out."""
        lengths = self.timing.lengths
        return self.shape[0] * self.shape[1] if lengths is None else int(lengths.sum())

    @property
    def value_is_data(self) -> bool:
        """Whether no gradient is asked for the values of the events; then the event kernels serve."""
        return self._value is None or not self._value.requires_grad

    @property
    def requires_grad(self) -> bool:
        return any(p is not None and p.requires_grad for p in (self._dense, self._carrier, self._value))

    @property
    def constant(self) -> bool:
        """Whether every step is the same memory: a constant signal, to be computed and charged once."""
        return self._dense is not None and self.shape[0] > 1 and self._dense.stride(0) == 0

    # ---- events

    def _find_events(self) -> None:
        if self._index is None:
            assert self._dense is not None
            flat = self._dense.detach().reshape(-1, max(self.n_units, 1))[:, : self.n_units]
            self._row, index = flat.nonzero().unbind(1)
            self._value = None if self.binary else flat[self._row, index]
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
            self._row_ptr = compress(self.row, self.shape[0] * self.shape[1])
        return self._row_ptr

    @property
    def carrier(self) -> Tensor:
        """What stands for the dense tensor in the graph."""
        stand = self._dense if self._carrier is None else self._carrier
        return torch.zeros((), device=self.device).expand(self.shape) if stand is None else stand

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
        return addresses(self)

    def times(self) -> Tensor:
        """Nanoseconds of each event, int64: ``t0 + step dt``, rounded once, + offset. Refused where ``dt`` is None."""
        return times(self)

    # ---- dense, counts, rates
    @property
    def is_dense(self) -> bool:
        """Whether it is held as a dense twin."""
        return self._dense is not None

    @property
    def is_found(self) -> bool:
        """Whether its events are known: an event kernel has nothing to search for."""
        return self._index is not None

    def dense(self) -> Tensor:
        """The dense tensor ``(steps, samples, *units)``, with its graph; it cannot hold sub-step times."""
        if self._dense is not None:
            return self._dense
        check_grid("EventTensor.dense", self)
        rows = self.shape[0] * self.shape[1]
        dense = scatter(self.row, self.index, self._value, rows, self.n_units, self.dtype).view(self.shape)
        return dense if self._carrier is None else dense + self._carrier  # a carrier is zero: it adds the graph

    def counts(self) -> Tensor:
        """Events of each unit ``(samples, *units)``; with a gradient where there is a graph (each event counts 1)."""
        return counts(self)

    def rates(self) -> Tensor:
        """Firing rates in hertz ``(samples, *units)``: counts over each sample's own duration, which must not be 0."""
        return rates(self)

    def cumulate(self) -> EventTensor:
        """Changes to levels: the running sum over steps."""
        levels = silence_padding(self.dense().cumsum(0), self.timing)
        return EventTensor(self.shape, self.timing, levels.dtype, binary=False, dense=levels)

    # ---- parts, size, file
    def steps(self, start: int, stop: int) -> EventTensor:
        """Steps ``start`` to ``stop`` (exclusive), with ``t0`` and ``lengths`` moved along."""
        return EventTensor(**step_parts(self, start, stop))

    def samples(self, idx: Any) -> EventTensor:
        """The samples ``idx`` (an int, slice, list or tensor), in that order."""
        return EventTensor(**sample_parts(self, idx))

    def bin(self, k: int, on_collision: str = "error") -> EventTensor:
        """Merge ``k`` steps into one and drop sub-step times.

        Args:
            k: how many; the last bin may be partly beyond the end.
            on_collision: events of one cell are refused (``"error"``), added (``"sum"``) or one spike (``"any"``).

        Example:
            >>> spikes = EventTensor.from_times([0.001, 0.002], [0, 0], n_units=1, dt=1e-3).bin(10, on_collision="sum")
            >>> spikes.dense().flatten().tolist(), spikes.dt
            ([2.0], 0.01)
        """
        return EventTensor(**binned_parts(self, k, on_collision))

    def bits(self, format: str) -> int:
        """Exact size in bits, padding left out, as ``dense``, ``bitmap``, ``aer``, ``csr``, ``rle`` or ``2:4``."""
        return bits(self, format)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, atomically, as CSR or bitmap, whichever is smaller (``docs/format.md``)."""
        write(self, path)

    # ---- torch's plumbing
    @classmethod
    def __torch_function__(cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        handler = HANDLERS.get(function)
        return HANDLERS[None](function, args, kwargs or {}) if handler is None else handler(*args, **(kwargs or {}))

    __add__ = __radd__ = _operator(torch.add)
    __mul__ = __rmul__ = _operator(torch.mul)
    __sub__, __rsub__, __truediv__ = _operator(torch.sub), _operator(torch.rsub), _operator(torch.div)
    __neg__ = _operator(torch.neg)

    def __getattr__(self, name: str) -> Any:  # reached only by names that events do not have
        raise AttributeError(as_refusal(name))

    def dim(self, *_: int) -> Any:
        """Refused: modules that ask for it want rows and go into a fold; ``len(events.shape)`` counts the axes."""
        return HANDLERS[torch.flatten](self)

    flatten = dim

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
        if self._dense is not None and self.constant:  # one step is moved, and stays one
            copy._dense = move(self._dense[0]).expand(self.shape)
        if self.lengths is not None:
            copy.__dict__["timing"] = self.timing.with_(lengths=move(self.lengths))
        return copy

    def __getstate__(self) -> dict[str, Any]:  # pickle and deepcopy: detached, as worker processes need
        return dict(self.detach().__dict__)

    def __len__(self) -> int:
        return self.shape[0]

    __repr__, _repr_html_ = as_line, as_html  # type: ignore[assignment]
