"""What a recorded run did so far: running sums per layer, so that memory does not grow with steps or samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.cells import Cells
from neurosparse.meter.operation_counts import COUNTS
from neurosparse.meter.spread import Frame, spread
from neurosparse.meter.tally import n_bytes, tally

__all__ = ["Tape"]

Key = tuple[str, str]


class Tape:
    """What :func:`neurosparse.record` saw; hand it to :func:`neurosparse.count`.

    Attributes:
        samples: how many samples went through.
        rows: columns of the counts by (layer, kind).
        uncounted: calls by (layer, function) that no counter knows.
        cells: with ``detail``, counts by step and sample of each (layer, kind); ``unplaced``: those not told apart.
        weights: size, non-zeros and bits of every distinct weight by (layer, kind).

    Example:
        >>> tape = Tape()
        >>> tape.begin(samples=2)
        >>> tape.add("encoder", Operation("elementwise", elementwise=10))
        >>> tape.samples, tape.rows["encoder", "elementwise"]["elementwise"]
        (2, 10)
    """

    def __init__(self, calls: str | None = None, detail: bool = False):
        self.calls, self.samples, self.batch, self.detail = calls, 0, 0, detail
        # Counts by step and sample, and what could not be told apart; the call that they are of, and who ran in it.
        self.cells: dict[Key, Cells] = {}
        self.unplaced: set[Key] = set()
        self._frame, self._steps, self._runs = Frame(1, 0, False), 0, Counter[Hashable]()
        self.rows: dict[Key, dict[str, Any]] = {}
        self.uncounted: dict[Key, int] = {}
        self.weights: dict[Key, dict[Hashable, tuple[int, int, int]]] = {}
        # Which (sample, unit) cells fired so far, and each sample's steps.
        self._fired: dict[Key, tuple[Tensor, Tensor]] = {}
        # The last input of each weight, kept alive so that no other tensor takes its memory.
        self._met: dict[Hashable, tuple[Hashable, Any, Tensor]] = {}

    def begin(self, samples: int, steps: int | None = None) -> None:
        """A call of the model: its samples are new, unless calls are steps. ``steps``: of an input with time first."""
        before = 0 if self.calls == "steps" else self.samples
        self._frame = Frame(steps or 1, samples, steps is not None, self._steps, before)
        self._steps += self.calls == "steps"
        self._runs.clear()
        self.batch = samples
        if self.calls == "steps" and self.samples not in (0, samples):
            fix = "Use one `with` per batch and add the all_counts."
            raise InputError("record", got=f"{samples} samples after {self.samples}", expected="one batch", fix=fix)
        if self.calls == "steps":
            self.samples = samples
            return
        self.samples += samples
        self._met.clear()
        for key in list(self._fired):
            self.rows[key]["active_cells"] = self.active_cells(key)
            del self._fired[key]

    def add(self, layer: str, operation: Operation, weight_key: Hashable = None, like: Any = None, **how: Any) -> None:
        """Charge one operation to a layer; ``like`` is a tensor whose rows share scalar work."""
        key = (layer, operation.kind)
        row = self.rows.setdefault(key, {})
        columns = tally(operation, **how)
        if weight_key is None:  # a weight that is a signal has its size per sample
            for name in ("weights", "nonzero_weights"):
                columns[name] = -(-columns.get(name, 0) // max(1, self.batch))
        else:
            size = (columns.pop("weights"), columns.pop("nonzero_weights"), columns["weight_bits"])
            self.weights.setdefault(key, {})[weight_key] = size
        for name, value in columns.items():
            row[name] = row.get(name, 0) + value if name in COUNTS else max(row.get(name, 0), value)
        if operation.output is not None:
            self._note_activity(key, operation.output)
        if self.detail:
            self._place(key, operation, weight_key, like, **how)

    def _place(self, key: Key, operation: Operation, weight_key: Hashable, like: Any, **how: Any) -> None:
        runs = weight_key or (key if operation.kind == "neuron" else None)
        occurrence = self._runs[runs] if runs is not None and self.calls is None else None
        self._runs[runs] += 1
        found = spread(operation, self._frame, occurrence, like, **how)
        if found is None:
            self.unplaced.add(key)
            return
        place, counts = found
        for column, amount in counts.items():
            self.cells.setdefault(key, Cells()).add(column, place.step, place.sample, amount)

    def miss(self, layer: str, function: str) -> None:
        """Something happened that no counter knows."""
        self.uncounted[layer, function] = self.uncounted.get((layer, function), 0) + 1

    def met(self, layer: Hashable, weight: Tensor, x: Any) -> bool:
        """Whether this very input, unchanged, was the last that this weight saw for these samples: a constant input."""
        signature = (id(x),) if isinstance(x, EventTensor) else _signature(x) if isinstance(x, Tensor) else (object(),)
        before = self._met.get(layer)
        self._met[layer] = (signature, x, weight)
        # By value, because a pruned or quantised weight may be made anew for each step.
        return before is not None and before[0] == signature and torch.equal(before[2], weight)

    def active_cells(self, key: Key) -> int:
        """Steps x (sample, unit) cells that fired at least once."""
        closed = self.rows[key].get("active_cells", 0)
        if key not in self._fired:
            return closed
        fired, steps = self._fired[key]
        return closed + int((fired.sum(1) * steps).sum())

    def weight_bytes(self, key: Key) -> int:
        """Every distinct weight once per sample."""
        if key[1] == "embedding":
            return 0  # its rows are read as they are looked up
        return self.samples * sum(n_bytes(size, bits) for size, _, bits in self.weights.get(key, {}).values())

    def _note_activity(self, key: Key, sent: EventTensor) -> None:
        steps, samples, *units = sent.shape
        fired = torch.zeros(samples * math.prod(units), dtype=torch.bool, device=sent.device)
        fired[sent.aer().sample * math.prod(units) + sent.index] = True
        fired = fired.view(samples, -1)
        lengths = torch.full((samples,), steps, device=sent.device) if sent.lengths is None else sent.lengths
        before = self._fired.get(key)
        if before is not None and before[0].shape == fired.shape:
            fired, lengths = fired | before[0], lengths + before[1]
        elif before is not None:
            self.rows[key]["active_cells"] = self.active_cells(key)
        self._fired[key] = (fired, lengths)


def _signature(x: Tensor) -> Hashable:
    """The same memory, unchanged since."""
    version = 0 if x.is_inference() else x._version
    place = x.data_ptr() if x.layout == torch.strided else id(x)
    return place, version, tuple(x.shape), x.stride() if x.layout == torch.strided else (), x.dtype
