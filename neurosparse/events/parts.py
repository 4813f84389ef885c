"""The parts of an event tensor: a dense twin, events in sorted rows, or events with a gradient carrier.

Each of the three is made from the others when it is first read. What reads, selects, counts or saves events
takes these parts; :class:`neurosparse.events.EventTensor` adds the public methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from neurosparse.events.checks import check_grid
from neurosparse.events.operation import moves
from neurosparse.events.timing import Axis, Timing
from neurosparse.kernels.dispatch import by_reference
from neurosparse.kernels.rows import compress, expand, scatter
from neurosparse.kernels.scan.cpu import dense_spikes

__all__ = ["EventParts"]

_compress, _expand = moves(compress), moves(expand)


class EventParts:
    """Events of ``(steps, samples, *units)``, as they are stored.

    Args:
        shape: ``(steps, samples, *units)``.
        timing: what a step is.
        dtype: of the dense twin.
        binary: every event is a unit spike, and ``value`` is None.
        dense: the dense twin, with its graph.
        row, row_ptr: ``step * samples + sample`` of each event, sorted, or the pointers of compressed rows.
        index: flat unit of each event, int32.
        value: value of each graded event.
        offset: nanoseconds after the start of the step (recordings only).
        carrier: the zero that stands for the dense twin in the graph.
        support: where a gradient of the carrier is of use, as codes of the scan; None: everywhere.
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
        self.binary: Final = binary
        self._dense, self._row, self._row_ptr, self._index = dense, row, row_ptr, index
        self._value, self._offset, self._carrier = value, offset, carrier
        self.support: Final = support

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
        """Whether the values of the events need no gradient; then event kernels can be used."""
        return self._value is None or not self._value.requires_grad

    @property
    def requires_grad(self) -> bool:
        return any(p is not None and p.requires_grad for p in (self._dense, self._carrier, self._value))

    @property
    def constant(self) -> bool:
        """Whether every step is the same memory: a constant current, to be computed and charged once."""
        return self._dense is not None and self.shape[0] > 1 and self._dense.stride(0) == 0

    @moves
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
            self._row = _expand(self._row_ptr)
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
            self._row_ptr = _compress(self.row, self.shape[0] * self.shape[1])
        return self._row_ptr

    @property
    def carrier(self) -> Tensor:
        """The dense tensor in the graph, or the zero that stands for it."""
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

    @property
    def is_dense(self) -> bool:
        """Whether it is held as a dense twin."""
        return self._dense is not None

    @property
    def is_found(self) -> bool:
        """Whether its events are known: no search is needed."""
        return self._index is not None

    @moves
    def dense(self) -> Tensor:
        """The dense tensor ``(steps, samples, *units)``, with its graph; it cannot hold sub-step times."""
        if self._dense is not None:
            return self._dense
        check_grid("EventTensor.dense", self._offset)
        if self._carrier is not None and self.binary and self.device.type == "cpu" and not by_reference(self.index):
            return self._with_gradient(dense_spikes(self._carrier, self.row_ptr, self.index, self.n_units))
        rows = self.shape[0] * self.shape[1]
        dense = scatter(self.row, self.index, self._value, rows, self.n_units, self.dtype).view(self.shape)
        if self._carrier is None:
            return dense
        return self._with_gradient(dense + self._carrier)  # a carrier is zero: it adds the graph

    def _with_gradient(self, dense: Tensor) -> Tensor:
        """The dense twin, kept: the layers behind read the events through it, so that it gets their gradient."""
        if dense.requires_grad:
            self._dense, self._carrier = dense, None
            self.__dict__["support"] = None
        return dense
