"""The event tensor: spikes, graded transmissions or changes of units over steps and samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import as_tensor
from neurosparse.errors import InputError
from neurosparse.events.build import aer_parts, dense_parts, times_parts
from neurosparse.events.checks import check_shape, check_timing, silence_padding
from neurosparse.events.operation import Operation, moves, operation
from neurosparse.events.parts import EventParts
from neurosparse.events.reading import AER, addresses, counts, rates, times
from neurosparse.events.select import binned_parts, cast_parts, sample_parts, step_parts
from neurosparse.events.show import as_html, as_line, as_refusal
from neurosparse.events.size import bits
from neurosparse.events.storage import write
from neurosparse.events.timed import dense_of
from neurosparse.events.timing import Axis, agreed_timing, refuse_chunk, timing_of

__all__ = ["HANDLERS", "EventTensor"]

# How torch functions act on events; filled by `events.functions`. The handler of None takes every other function.
HANDLERS: dict[Any, Callable[..., Any]] = {}
OPERANDS = (int, float, complex, Tensor, np.ndarray, np.generic)


def _operator(function: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    """An operator as a torch function; what is no number, array or tensor is left to Python."""

    def act(events: EventTensor, *others: Any) -> Any:
        if not all(isinstance(other, (EventTensor, *OPERANDS)) for other in others):
            return NotImplemented
        given = [torch.as_tensor(other) if isinstance(other, np.ndarray) else other for other in others]
        given = [other.item() if isinstance(other, np.generic) else other for other in given]
        return function(torch.as_tensor(given[0]), events) if reflected else function(events, *given)

    return act


def _no(method: str, fix: str) -> Callable[..., Any]:
    """Refuse what Python would make of events by itself."""

    def refuse(events: EventTensor, *_: Any, **__: Any) -> Any:
        raise InputError(f"EventTensor.{method}", got=f"events {events.shape}", expected="a tensor", fix=fix)

    return refuse


class EventTensor(EventParts):
    """Spikes, graded transmissions or changes of ``(steps, samples, *units)``; immutable; torch functions act on it.

    Held in one of three states, converted only on demand: a dense twin with its graph; events; events with a gradient
    carrier. Build it with :meth:`from_dense`, :meth:`from_aer` or :meth:`from_times`.

    Example:
        >>> spikes = EventTensor.from_dense(torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]]), dt=1e-3, spikes=True)
        >>> spikes.n_events, spikes.density, spikes.counts().tolist()
        (2, 0.5, [[1.0, 1.0]])
    """

    @classmethod
    def _of(cls, parts: EventParts) -> EventTensor:
        """Parts with the public methods."""
        events = object.__new__(cls)
        events.__dict__.update(parts.__dict__)
        return events

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
            x: ``(steps, samples, *units)``, a tensor or an array; bool means unit spikes. A timed tensor has its own
                ``dt``, ``t0`` and ``lengths``; its padding becomes silence.
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
        where, x = "EventTensor.from_dense", as_tensor("EventTensor.from_dense", "x", x)
        known = timing_of(x)
        if known is None:
            timing = check_timing(where, check_shape(where, x.shape), axis, dt, t0, lengths)
            return cls._of(dense_parts(x, timing, spikes))
        given = (axis, dt or known.dt, t0 or known.t0, known.lengths if lengths is None else lengths)
        timing = agreed_timing(where, [known, check_timing(where, check_shape(where, x.shape), *given)])
        return cls._of(dense_parts(silence_padding(dense_of(x), timing), timing, spikes))

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
        shape = check_shape("EventTensor.from_aer", shape)
        timing = check_timing("EventTensor.from_aer", shape, axis, dt, t0, lengths)
        return cls._of(aer_parts(step, sample, unit, value, shape, timing, on_collision))

    @classmethod
    def from_times(
        cls,
        times: Sequence[Any] | Tensor,
        units: Sequence[int] | Tensor | None = None,
        *,
        n_units: int | None = None,
        dt: float,
        duration: float | None = None,
        t0: float = 0.0,
    ) -> EventTensor:
        """Spike trains of one recording, exact to the nanosecond: integer steps plus sub-step offsets.

        Args:
            times: seconds ``(events)`` or a Brian2 quantity, any order, none before ``t0``; without ``units`` a list of
                such arrays, one for each unit.
            units: which unit fired ``(events)``.
            n_units: number of recorded units, silent ones included; of a list its length.
            dt: seconds per step.
            duration: seconds recorded, silence included. Default: up to the end of the last event's step.
            t0: start of the recording in seconds.

        Returns: events ``(steps, 1, n_units)``; times off the grid keep an offset and may share a step.

        Example:
            >>> spikes = EventTensor.from_times([0.0021, 0.0003], [1, 0], n_units=2, dt=1e-3)
            >>> spikes.shape, spikes.times().tolist()
            ((3, 1, 2), [300000, 2100000])
            >>> EventTensor.from_times([[0.0003], [0.0021], []], dt=1e-3).shape
            (3, 1, 3)
        """
        return cls._of(times_parts(times, units, n_units, dt, duration, t0))

    # ---- reading
    @moves
    def aer(self) -> AER:
        """Address-event coordinates, the inverse of :meth:`from_aer`."""
        return addresses(self)

    def times(self) -> Tensor:
        """Nanoseconds of each event, int64: ``t0 + step dt``, rounded once, + offset. Refused where ``dt`` is None."""
        return times(self)

    @operation(lambda counts, events: [Operation("elementwise", elementwise=events.n_events)])
    def counts(self) -> Tensor:
        """Events of each unit ``(samples, *units)``; with a gradient where there is a graph (each event counts 1)."""
        refuse_chunk("EventTensor.counts", self.timing)
        return counts(self)

    @operation(lambda rates, events: [Operation("elementwise", elementwise=events.n_events + rates.numel())])
    def rates(self) -> Tensor:
        """Firing rates in hertz ``(samples, *units)``: counts over each sample's own duration, which must not be 0."""
        refuse_chunk("EventTensor.rates", self.timing)
        return rates(self)

    def cumulate(self) -> EventTensor:
        """Changes to levels: the running sum over steps."""
        refuse_chunk("EventTensor.cumulate", self.timing)
        levels = silence_padding(self.dense().cumsum(0), self.timing)
        return EventTensor(self.shape, self.timing, levels.dtype, binary=False, dense=levels)

    # ---- parts, size, file
    @moves
    def steps(self, start: int, stop: int) -> EventTensor:
        """Steps ``start`` to ``stop`` (exclusive), with ``t0`` and ``lengths`` moved along."""
        refuse_chunk("EventTensor.steps", self.timing)
        return self._of(step_parts(self, start, stop))

    @moves
    def samples(self, idx: Any) -> EventTensor:
        """The samples ``idx`` (an int, slice, list or tensor), in that order."""
        return self._of(sample_parts(self, idx))

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
        refuse_chunk("EventTensor.bin", self.timing)
        return self._of(binned_parts(self, k, on_collision))

    def bits(self, format: str) -> int:
        """Exact size in bits, padding left out, as ``dense``, ``bitmap``, ``aer``, ``csr``, ``rle`` or ``2:4``."""
        return bits(self, format)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, atomically, as CSR or bitmap, whichever is smaller (``docs/format.md``)."""
        write(self.detach().to("cpu"), path)

    # ---- torch's plumbing
    @classmethod
    def __torch_function__(cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        handler = HANDLERS.get(function)
        return HANDLERS[None](function, args, kwargs or {}) if handler is None else handler(*args, **(kwargs or {}))

    __add__ = __radd__ = _operator(torch.add)
    __mul__ = __rmul__ = _operator(torch.mul)
    __sub__, __rsub__, __neg__ = _operator(torch.sub), _operator(torch.rsub), _operator(torch.neg)
    __truediv__, __rtruediv__ = _operator(torch.div), _operator(torch.div, True)
    __floordiv__, __rfloordiv__ = _operator(torch.floor_divide), _operator(torch.floor_divide, True)
    __mod__, __rmod__ = _operator(torch.remainder), _operator(torch.remainder, True)
    __pow__, __rpow__ = _operator(torch.pow), _operator(torch.pow, True)
    __matmul__, __rmatmul__ = _operator(torch.matmul), _operator(torch.matmul, True)
    __and__ = __rand__ = _operator(torch.bitwise_and)
    __or__ = __ror__ = _operator(torch.bitwise_or)
    __xor__ = __rxor__ = _operator(torch.bitwise_xor)
    __abs__, __invert__ = _operator(torch.abs), _operator(torch.bitwise_not)
    __lt__, __le__, __gt__, __ge__ = (_operator(f) for f in (torch.lt, torch.le, torch.gt, torch.ge))
    __eq__, __ne__ = _operator(torch.eq), _operator(torch.ne)  # type: ignore[assignment]
    __hash__ = object.__hash__
    __array_ufunc__ = None  # NumPy leaves its operators to these
    __array__ = _no("__array__", "Take .dense().numpy(), or .aer() for the addresses.")
    __bool__ = _no("__bool__", "Compare .n_events, len(events) or .dense().")
    __float__ = __int__ = __index__ = __complex__ = _no("__float__", "Take .dense().item(), or .n_events.")
    __iter__ = __reversed__ = _no("__iter__", "Take .dense().unbind(0), or .steps(t, t + 1) for each t.")
    __contains__ = _no("__contains__", "Compare .dense(), or search .aer().")

    def __pos__(self) -> EventTensor:
        return self

    def __getitem__(self, key: Any) -> EventTensor | Tensor:
        """Units freely, a range of steps, a range or a list of samples: events; one step or sample: a tensor."""
        return HANDLERS[Tensor.__getitem__](self, key)

    def __getattr__(self, name: str) -> Any:  # reached only by names that events do not have
        raise AttributeError(as_refusal(name))

    def dim(self) -> Any:
        """Refused: modules that call it take rows and go into a fold; ``len(events.shape)`` is the number of axes."""
        fix = "Wrap the module: ns.fold(module) runs it on rows; len(events.shape) is the number of axes."
        raise InputError("EventTensor.dim", got="events (steps, samples, *units)", expected="rows", fix=fix)

    def flatten(self, *args: int, **kwargs: int) -> Tensor:
        """Unit axes from ``start_dim`` on become one, as a timed tensor; steps and samples go into a fold."""
        return HANDLERS[None](torch.flatten, (self, *args), kwargs)

    def to(
        self,
        device: torch.device | str | int | torch.dtype | None = None,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> EventTensor:
        """The same events on another device, or with values of another floating-point type; addresses stay as they are.

        Raises:
            InputError: a type that is not floating-point.

        Example:
            >>> EventTensor.from_dense(torch.eye(2)[None]).to(torch.float64).dense().dtype
            torch.float64
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        moved = self if device is None else self._map(lambda part: part.to(device, non_blocking=non_blocking))
        return moved if dtype is None else self._of(cast_parts(moved, dtype))

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
