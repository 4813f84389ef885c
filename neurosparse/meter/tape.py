"""Tape of a recorded run: running sums per layer, so that memory does not grow with the steps or samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.operation import Operation, worst_leak
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.operation_counts import COUNTS, CountGrid
from neurosparse.meter.provenance import Facts
from neurosparse.meter.spread import CallExtent, spread
from neurosparse.meter.tally import FanOuts, is_spikes, n_bytes, tally
from neurosparse.meter.weights import RowWeights, Weights, place_of

__all__ = ["Tape"]

Key = tuple[str, str, str]


class Tape:
    """Record of the operations of a model, made by :func:`neurosparse.record` and read by :func:`neurosparse.count`.

    Attributes:
        samples: number of samples of the model's input so far.
        running: whether its recording runs; only at its end it is clear which buffers are states.
        rows: columns of the counts by (layer, kind, phase).
        uncounted: number of calls by (layer, function) of functions without a known number of operations.
        cells: with ``detail``, counts by step and sample of each row.
        unplaced: rows of operations whose steps and samples are not separate.
        weights: the distinct weights of each row.
        idle: by layer, weights that no operation read.
        binary: by row and the module that made the input, whether inputs that are not declared to be spikes were 0
            and 1 in all calls; None: they were all 0.
        spiking: rows with an input that is declared to be spikes.
        senders: modules that returned what they made.

    Example:
        >>> tape = Tape()
        >>> tape.begin(samples=2)
        >>> _ = tape.add("encoder", Operation("elementwise", elementwise=10))
        >>> tape.samples, tape.rows["encoder", "elementwise", "forward"]["elementwise"]
        (2, 10)
    """

    def __init__(self, calls: str | None = None, detail: bool = False):
        self.calls, self.samples, self.batch, self.detail = calls, 0, 0, detail
        self.running = False
        self.cells: dict[Key, CountGrid] = {}
        self.unplaced: set[Key] = set()
        # The current call of the model, the steps before it, and how often each layer ran in it.
        self._call, self._steps, self._runs = CallExtent(1, 0, False), 0, Counter[Hashable]()
        self.rows: dict[Key, dict[str, Any]] = {}
        self.uncounted: dict[tuple[str, str], int] = {}
        self.weights, self.idle = Weights(), dict[str, RowWeights]()
        self.binary: dict[Key, dict[str | None, bool | None]] = {}
        self.spiking, self.senders = set[Key](), set[str]()
        # Whether each (sample, unit) cell has fired, and the steps of each sample.
        self._fired: dict[Key, tuple[Tensor, Tensor]] = {}
        self._charged: set[Hashable] = set()  # weights that a constant input was multiplied with in these samples
        self.fan_outs = FanOuts()

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
        self._charged.clear()
        for key in list(self._fired):
            self.rows[key]["active_cells"] = self.active_cells(key)
            del self._fired[key]

    def add(
        self,
        layer: str,
        operation: Operation,
        phase: str = "forward",
        facts: Facts | None = None,
        like: Any = None,
        spikes: bool = False,
        producer: str | None = None,
        **how: Any,
    ) -> Fraction:
        """Charge one operation to a layer.

        Args:
            layer: its name.
            operation: what was computed.
            phase: forward, backward or update.
            facts: of the weight; None for a weight that is a signal.
            like: tensor among whose rows scalar work is divided evenly.
            spikes: whether the input is spikes.
            producer: the module that made the input.
            how: ``lengths`` and ``constant`` as for :func:`~neurosparse.meter.tally.tally`.

        Returns:
            the share of the rows that was charged: less than 1 if the input is constant.
        """
        key = (layer, operation.kind, phase)
        row, charged = self.rows.setdefault(key, {}), Fraction(1)
        if how.pop("constant", False) and facts is not None:
            operation, how["constant"] = self._one_step(operation)
            if self._once(key, operation, row, facts, how["constant"]):
                return Fraction(0)
            x = operation.input
            assert x is not None
            charged = Fraction(1, max(x.shape[0], 1)) if how["constant"] else charged
        columns: dict[str, Any] = tally(operation, spikes=spikes, fan_outs=self.fan_outs, **how)
        if operation.weight is not None:
            self._note_input(key, operation, spikes, producer)
            if facts is None:  # the size of a weight that is a signal is counted per sample
                for name in ("weights", "nonzero_weights"):
                    columns[name] = -(-columns.get(name, 0) // max(1, self.batch))
            else:
                self.weights.add(key, operation.weight, facts, columns["weight_bits"])
                del columns["weights"], columns["nonzero_weights"]
        if operation.kind == "neuron":
            columns["leak"] = operation.leak
        _sum_up(row, columns)
        if isinstance(operation.output, EventTensor):
            self._note_activity(key, operation.output)
        if self.detail and phase == "forward":
            self._place(key, operation, facts, like, spikes=spikes, **how)
        return charged

    def _one_step(self, operation: Operation) -> tuple[Operation, bool]:
        """The operation with steps and samples of a constant input apart, and whether its first axis is time."""
        x, call = operation.input, self._call
        if not isinstance(x, Tensor) or not call.time_first:
            return operation, isinstance(x, EventTensor)
        if tuple(x.shape[:2]) != (call.steps, call.samples) and x.shape[0] == call.steps * call.samples:
            operation = replace(operation, input=x.unflatten(0, (call.steps, call.samples)))
        return operation, tuple(x.shape[:2]) == (call.steps, call.samples) or operation.input is not x

    def _once(self, key: Key, operation: Operation, row: dict[str, Any], facts: Facts, stepped: bool) -> bool:
        """Whether a constant input was multiplied with this weight before; its rows are noted, not charged."""
        x, weight = operation.input, operation.weight
        assert x is not None and weight is not None
        steps, others = (x.shape[0], x.shape[1:2]) if stepped else (1, x.shape[:1])
        identity = (key, place_of(key, weight, facts))
        again = identity in self._charged
        self._charged.add(identity)
        row["constant_rows"] = row.get("constant_rows", 0) + (steps if again else steps - 1) * math.prod(others)
        return again

    def _note_input(self, key: Key, operation: Operation, spikes: bool, producer: str | None) -> None:
        """Note whether an input was declared to be spikes, and if not, whether it was 0 and 1 in all calls."""
        seen, x = self.binary.setdefault(key, {}), operation.input
        if spikes or is_spikes(x):
            self.spiking.add(key)
        elif isinstance(x, Tensor) and operation.kind != "embedding" and seen.get(producer) is not False:
            x = x.detach()
            binary = _is_binary(x.flatten()[:64]) and _is_binary(x)
            seen[producer] = (seen.get(producer) or bool(x.any()) or None) if binary else False

    def _place(self, key: Key, operation: Operation, facts: Facts | None, like: Any, **how: Any) -> None:
        weight = operation.weight
        runs: Hashable = key if operation.kind == "neuron" else None
        if weight is not None and facts is not None:
            runs = (key, weight.storage_offset() if weight.layout == torch.strided else 0, *sorted(weight.shape))
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

    def suggestions(self) -> tuple[dict[str, str], ...]:
        """Layers whose inputs were 0 and 1 in all calls without being declared spikes, and how to declare them."""
        found = []
        for key, inputs in self.binary.items():
            if key in self.spiking or key[2] != "forward" or False in inputs.values():
                continue
            for producer in (producer for producer, binary in inputs.items() if binary):
                name = "input" if producer is None else producer
                declared = producer is None or producer in self.senders
                argument = f"spiking=[{name!r}]" if declared else "ns.spikes(x)"
                found.append({"layer": key[0], "producer": name, "argument": argument})
        return tuple(found)

    def absorb(self, other: Tape) -> None:
        """Add the rows of another tape."""
        for key, columns in other.rows.items():
            row = self.rows.setdefault(key, {})
            _sum_up(row, columns)
            if key in other.weights.rows:
                self.weights.rows.setdefault(key, other.weights.rows[key])
        for (layer, function), calls in other.uncounted.items():
            self.uncounted[layer, function] = self.uncounted.get((layer, function), 0) + calls

    def add_counts(self, layer: str, kind: str, phase: str, **counts: int) -> None:
        """Add to the columns of a row."""
        row = self.rows.setdefault((layer, kind, phase), {})
        for name, value in counts.items():
            row[name] = row.get(name, 0) + value

    def active_cells(self, key: Key) -> int:
        """Number of steps times the number of (sample, unit) cells that fired at least once."""
        closed = self.rows[key].get("active_cells", 0)
        if key not in self._fired:
            return closed
        fired, steps = self._fired[key]
        return closed + int((fired.sum(1) * steps).sum())

    def weight_bytes(self, key: Key) -> int:
        """Bytes of all distinct weights, each read once per sample."""
        held = self.weights.rows.get(key)
        if held is None or key[1] == "embedding":
            return 0  # the rows of an embedding that are looked up are counted with the lookup
        return self.samples * n_bytes(held.weights, held.weight_bits)

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


def _sum_up(row: dict[str, Any], columns: Mapping[str, Any]) -> None:
    """Add columns to those of a row: counts are summed, of properties the larger one holds."""
    for name, value in columns.items():
        if name == "leak":
            row[name] = worst_leak(row.get(name, "none"), value)
        else:
            row[name] = row.get(name, 0) + value if name in COUNTS else max(row.get(name, 0), value)


def _is_binary(x: Tensor) -> bool:
    return x.layout == torch.strided and bool(((x == 0) | (x == 1)).all())
