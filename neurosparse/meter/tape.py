"""Tape of a recorded run: running sums per layer, so that memory does not grow with the steps or samples."""

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
from neurosparse.meter.operation_counts import COUNTS, CountGrid
from neurosparse.meter.spread import CallExtent, spread
from neurosparse.meter.tally import n_bytes, tally

__all__ = ["Tape"]

Key = tuple[str, str]


class Tape:
    """Record of the operations of a model, made by :func:`neurosparse.record` and read by :func:`neurosparse.count`.

    Attributes:
        samples: number of samples of the model's input so far.
        rows: columns of the counts by (layer, kind).
        uncounted: number of calls by (layer, function) of functions without a known number of operations.
        cells: with ``detail``, counts by step and sample of each (layer, kind).
        unplaced: (layer, kind) of operations whose steps and samples are not separate.
        weights: number, non-zeros and bits of every distinct weight by (layer, kind).

    Example:
        >>> tape = Tape()
        >>> tape.begin(samples=2)
        >>> tape.add("encoder", Operation("elementwise", elementwise=10))
        >>> tape.samples, tape.rows["encoder", "elementwise"]["elementwise"]
        (2, 10)
    """

    def __init__(self, calls: str | None = None, detail: bool = False):
        self.calls, self.samples, self.batch, self.detail = calls, 0, 0, detail
        self.cells: dict[Key, CountGrid] = {}
        self.unplaced: set[Key] = set()
        # The current call of the model, the steps before it, and how often each layer ran in it.
        self._call, self._steps, self._runs = CallExtent(1, 0, False), 0, Counter[Hashable]()
        self.rows: dict[Key, dict[str, Any]] = {}
        self.uncounted: dict[Key, int] = {}
        self.weights: dict[Key, dict[Hashable, tuple[int, int, int]]] = {}
        # Whether each (sample, unit) cell has fired, and the steps of each sample.
        self._fired: dict[Key, tuple[Tensor, Tensor]] = {}
        # The last input of each weight, kept alive so that no other tensor takes its memory.
        self._last_input: dict[Hashable, tuple[Hashable, Any, Tensor]] = {}

    def begin(self, samples: int, steps: int | None = None) -> None:
        """Start a call of the model, with new samples unless calls are steps.

        Args:
            samples: size of the batch.
            steps: number of steps of an input whose first axis is time.
        """
        before = 0 if self.calls == "steps" else self.samples
        self._call = CallExtent(steps or 1, samples, steps is not None, self._steps, before)
        self._steps += self.calls == "steps"
        self._runs.clear()
        self.batch = samples
        if self.calls == "steps" and self.samples not in (0, samples):
            fix = "Use one `with` per batch and add the counts."
            raise InputError("record", got=f"{samples} samples after {self.samples}", expected="one batch", fix=fix)
        if self.calls == "steps":
            self.samples = samples
            return
        self.samples += samples
        self._last_input.clear()
        for key in list(self._fired):
            self.rows[key]["active_cells"] = self.active_cells(key)
            del self._fired[key]

    def add(self, layer: str, operation: Operation, weight_key: Hashable = None, like: Any = None, **how: Any) -> None:
        """Charge one operation to a layer.

        Args:
            layer: its name.
            operation: what was computed.
            weight_key: identity of the weight; None for a weight that is a signal.
            like: tensor among whose rows scalar work is divided evenly.
            how: ``spikes``, ``lengths`` and ``constant`` as for :func:`~neurosparse.meter.tally.tally`.
        """
        key = (layer, operation.kind)
        row = self.rows.setdefault(key, {})
        columns = tally(operation, **how)
        if weight_key is None:  # the size of a weight that is a signal is counted per sample
            for name in ("weights", "nonzero_weights"):
                columns[name] = -(-columns.get(name, 0) // max(1, self.batch))
        else:
            size = (columns.pop("weights"), columns.pop("nonzero_weights"), columns["weight_bits"])
            self.weights.setdefault(key, {})[weight_key] = size
        for name, value in columns.items():
            row[name] = row.get(name, 0) + value if name in COUNTS else max(row.get(name, 0), value)
        if isinstance(operation.output, EventTensor):
            self._note_activity(key, operation.output)
        if self.detail:
            self._place(key, operation, weight_key, like, **how)

    def _place(self, key: Key, operation: Operation, weight_key: Hashable, like: Any, **how: Any) -> None:
        runs = weight_key or (key if operation.kind == "neuron" else None)
        occurrence = self._runs[runs] if runs is not None and self.calls is None else None
        self._runs[runs] += 1
        found = spread(operation, self._call, occurrence, like, **how)
        if found is None:
            self.unplaced.add(key)
            return
        rows, counts = found
        for column, amount in counts.items():
            self.cells.setdefault(key, CountGrid()).add(column, rows.step, rows.sample, amount)

    def add_uncounted(self, layer: str, function: str) -> None:
        """Note a call of a function whose operations are not known."""
        self.uncounted[layer, function] = self.uncounted.get((layer, function), 0) + 1

    def seen_before(self, weight_key: Hashable, weight: Tensor, x: Any) -> bool:
        """Whether the last input of this weight for these samples was the same tensor, unchanged: a constant input."""
        signature = (id(x),) if isinstance(x, EventTensor) else _signature(x) if isinstance(x, Tensor) else (object(),)
        before = self._last_input.get(weight_key)
        self._last_input[weight_key] = (signature, x, weight)
        # Weights are compared by value: a pruned or quantised weight may be computed anew in each step.
        return before is not None and before[0] == signature and torch.equal(before[2], weight)

    def active_cells(self, key: Key) -> int:
        """Number of steps times the number of (sample, unit) cells that fired at least once."""
        closed = self.rows[key].get("active_cells", 0)
        if key not in self._fired:
            return closed
        fired, steps = self._fired[key]
        return closed + int((fired.sum(1) * steps).sum())

    def weight_bytes(self, key: Key) -> int:
        """Bytes of all distinct weights, each read once per sample."""
        if key[1] == "embedding":
            return 0  # the rows that are looked up are counted with the lookup
        return self.samples * sum(n_bytes(size, bits) for size, _, bits in self.weights.get(key, {}).values())

    def _note_activity(self, key: Key, sent: EventTensor) -> None:
        steps, samples, *units = sent.shape
        fired = torch.zeros(samples * math.prod(units), dtype=torch.bool, device=sent.device)
        fired[sent.aer().sample * math.prod(units) + sent.index] = True
        fired = fired.view(samples, math.prod(units))
        lengths = torch.full((samples,), steps, device=sent.device) if sent.lengths is None else sent.lengths
        before = self._fired.get(key)
        if before is not None and before[0].shape == fired.shape:
            fired, lengths = fired | before[0], lengths + before[1]
        elif before is not None:
            self.rows[key]["active_cells"] = self.active_cells(key)
        self._fired[key] = (fired, lengths)


def _signature(x: Tensor) -> Hashable:
    """Identity of a tensor's memory and its version."""
    version = 0 if x.is_inference() else x._version
    place = x.data_ptr() if x.layout == torch.strided else id(x)
    return place, version, tuple(x.shape), x.stride() if x.layout == torch.strided else (), x.dtype
