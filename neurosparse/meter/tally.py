"""Exact counts of one operation: the non-zero inputs of each unit times the fan-out of that unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.grad import conv2d_input

from neurosparse.events.fold import FoldedEvents
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.contraction import Pairs, contract, n_nonzero, parse
from neurosparse.meter.fan_out import correlate, fan_out

__all__ = ["EVENTS", "FanOuts", "is_spikes", "n_bytes", "tally", "units_of", "valid_mask"]

EVENTS = (EventTensor, FoldedEvents)


class Signal(NamedTuple):
    """Input of a product: the number of vectors, and of vectors that are not zero at each unit, or at all units."""

    at_unit: Tensor
    vectors: int


class FanOut(NamedTuple):
    """Fan-out of a weight.

    ``each``: non-zero weights of each input unit; ``full``: zeros included; ``sums``: of both over the units; ``even``:
    whether both are the number of outputs at each unit; ``nonzero``: non-zero weights; ``outputs``: for one input.
    """

    each: Tensor
    full: Tensor
    sums: tuple[int, int]
    even: bool
    nonzero: int
    outputs: int


class FanOuts:
    """Fan-outs of weights, kept until the weight changes: a layer in a loop is counted once for all its steps."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Any, StorageWeakRef, FanOut]] = {}
        self._sweep_at = 256

    def of(self, weight: Tensor, units: tuple[int, ...], geometry: dict[str, Any] | None) -> FanOut:
        """Fan-out of a weight in a layer."""
        if weight.layout != torch.strided or weight.is_inference():
            return _fan_out(_strided(weight), units, geometry)
        how = None if geometry is None else tuple((name, str(value)) for name, value in sorted(geometry.items()))
        key = (weight.data_ptr(), weight.dtype, tuple(weight.shape), weight.stride(), units, how)
        version, _, found = self._kept.get(key, (None, None, None))
        now = (weight._version, weight.untyped_storage()._cdata)
        if found is None or version != now:
            found = _fan_out(weight.detach(), units, geometry)
            # A weak reference is kept, so that no other weight takes the address of the storage.
            self._kept[key] = (now, StorageWeakRef(weight.untyped_storage()), found)
            if len(self._kept) > self._sweep_at:  # weights that are computed anew in every call
                self._kept = {key: held for key, held in self._kept.items() if not held[1].expired()}
                self._sweep_at = max(256, 2 * len(self._kept))
        return found


def _fan_out(weight: Tensor, units: tuple[int, ...], geometry: dict[str, Any] | None) -> FanOut:
    each, outputs = fan_out(weight, units, geometry)
    if geometry is None:
        total, every = int(each.sum()), outputs * len(each)
        return FanOut(each, torch.full_like(each, outputs), (total, every), total == every, total, outputs)
    full, _ = fan_out(torch.ones_like(weight), units, geometry)
    return FanOut(each, full, (int(each.sum()), int(full.sum())), False, n_nonzero(weight), outputs)


def is_spikes(x: Any) -> bool:
    """Whether events are marked as spikes; a tensor is never taken for spikes by its values."""
    return isinstance(x, EVENTS) and getattr(x, "events", x).binary


def n_bytes(cells: int, bits: int) -> int:
    """Whole bytes that hold ``cells`` values of ``bits`` each."""
    return -(-cells * bits // 8)


def valid_mask(lengths: Tensor, steps: int) -> Tensor:
    """Mask ``(steps, samples)`` of the data; padding is False."""
    return torch.arange(steps, device=lengths.device)[:, None] < lengths


def _signal(x: Any, width: int, lengths: Tensor | None, constant: bool, apart: bool) -> Signal:
    """Non-zero entries of each of ``width`` units (``apart``) or of all; of a constant signal one step is counted."""
    if constant and isinstance(x, EventTensor) and x.is_dense:
        x = x.dense()  # without a search for the events of all its steps
    if isinstance(x, EVENTS):
        rows, units, index = x.n_rows, math.prod(x.shape[2:] if isinstance(x, EventTensor) else x.units), x.index
        if constant:
            samples = x.shape[1]
            rows, index = (samples if lengths is None else int((lengths > 0).sum())), index[x.row < samples]
        vectors = units // width if width else 1
        if not apart:
            return Signal(torch.tensor(index.numel()), rows * vectors)
        at_unit = torch.bincount(index.long(), minlength=units).view(vectors, width)
        return Signal(at_unit.sum(0), rows * vectors)
    data = _strided(_data(x, lengths, constant))
    vectors = data.numel() // width if width else math.prod(data.shape[:-1])
    nonzero = torch.count_nonzero(data.reshape(vectors, width), dim=0) if apart else torch.count_nonzero(data)
    return Signal(nonzero, vectors)


def _data(x: Tensor, lengths: Tensor | None, constant: bool) -> Tensor:
    """The entries that are counted: one step if all steps are the same, without padding."""
    if lengths is None:
        return x[0] if constant else x
    return x[0][lengths > 0] if constant else x[valid_mask(lengths, len(x))]


def _bits(x: Any) -> int:
    """Bits of one value: 1 for spikes, ``level_bits`` of a quantised layer, otherwise those of the dtype."""
    if is_spikes(x) or x.dtype == torch.bool:
        return 1
    return getattr(x, "level_bits", 8 * x.dtype.itemsize)


def units_of(operation: Operation) -> tuple[int, ...]:
    """Shape of one input of a linear or convolutional operation."""
    x, weight = operation.input, operation.weight
    assert x is not None and weight is not None
    return (weight.shape[1],) if operation.kind == "linear" else tuple(x.shape[-(weight.dim() - 1) :])


def _product(
    operation: Operation, spikes: bool, lengths: Tensor | None, constant: bool, fan_outs: FanOuts
) -> dict[str, int]:
    """Counts of a linear layer or convolution: the same weight for every input vector."""
    x, weight = operation.input, operation.weight
    assert x is not None and weight is not None, "a linear or conv operation has an input and a weight"
    units = units_of(operation)
    x = x.detach() if isinstance(x, Tensor) else x
    geometry = operation.geometry if operation.kind == "conv" else None
    fan_out = fan_outs.of(weight, units, geometry)
    each, full, outputs = fan_out.each, fan_out.full, fan_out.outputs
    at_unit, vectors = _signal(x, math.prod(units), lengths, constant, apart=not fan_out.even)
    events = int(at_unit.sum())
    reached = [events * outputs] * 2 if fan_out.even else [int((at_unit * fan).sum()) for fan in (full, each)]
    pairs = Pairs(vectors * fan_out.sums[1], reached[0], vectors * fan_out.sums[0], reached[1])
    if operation.support is not None:
        inside = _inside if geometry is None else partial(_inside_images, geometry=geometry)
        pairs = pairs._replace(both=inside(x, weight, operation.support))
    spikes = spikes or is_spikes(x)
    bits = _precision(operation, spikes)
    return _synaptic(pairs, spikes, bits) | {
        "bias_adds": vectors * outputs if operation.bias else 0,
        "input_cells": vectors * len(each),
        "input_events": events,
        "routed_events": events if spikes else 0,
        "output_cells": vectors * outputs,
        "charged_rows": vectors,
        "weights": weight.numel(),
        "nonzero_weights": fan_out.nonzero,
        "bytes_read": vectors * n_bytes(len(each), bits["input_bits"]),
        "bytes_written": vectors * n_bytes(outputs, bits["output_bits"]),
    }


def _inside(x: Any, weight: Tensor, support: Tensor) -> int:
    """Pairs of a non-zero input and a non-zero weight of the outputs inside the support."""
    nonzero, support = x.reshape(-1, x.shape[-1]) != 0, support.reshape(-1, len(weight))
    if bool((weight != 0).all()):
        return int((nonzero.sum(1) * support.sum(1)).sum())
    reached = nonzero.float() @ (weight != 0).float().t()
    return int(reached[support].sum(dtype=torch.float64))


def _inside_images(x: Any, weight: Tensor, support: Tensor, geometry: dict[str, Any]) -> int:
    """The same of a transposed convolution of images, whose size ``geometry`` gives."""
    stride, padding, dilation, groups = (geometry[name] for name in ("stride", "padding", "dilation", "groups"))
    nonzero, of_x = (weight != 0).float(), (x != 0).float()
    reached = conv2d_input(tuple(support.shape), nonzero, of_x, stride, padding, dilation, groups)
    return int(reached[support].sum(dtype=torch.float64))


def _contraction(
    operation: Operation, spikes: bool, lengths: Tensor | None, constant: bool, fan_outs: FanOuts
) -> dict[str, int]:
    """Counts of any other product of two tensors; the second may also be a signal."""
    x, weight = operation.input, operation.weight
    assert isinstance(x, Tensor) and weight is not None
    x, weight = _strided(x), _strided(weight)
    if operation.equation is None:  # the weight gradient of a convolution
        assert operation.geometry is not None
        pairs, outputs = correlate(x, weight, operation.geometry)
        alone = outputs
    else:
        equation = parse(operation.equation, x.dim(), weight.dim())
        assert equation is not None, "PRODUCTS has parsed it"
        if constant and equation.left[0] not in equation.right:  # all steps are the same
            x = x[:1]
        sizes = equation.sizes(x.shape, weight.shape)
        outputs = math.prod(sizes[letter] for letter in equation.out)
        alone = math.prod(sizes[letter] for letter in equation.out if letter not in equation.left)
        pairs = contract(equation, x, weight)
    bits = _precision(operation, spikes)
    events = n_nonzero(x)
    return _synaptic(pairs, spikes, bits) | {
        "bias_adds": outputs if operation.bias else 0,
        "input_cells": x.numel(),
        "input_events": events,
        "routed_events": events if spikes else 0,
        "output_cells": outputs,
        "charged_rows": outputs // alone if alone else 0,
        "weights": weight.numel(),
        "nonzero_weights": n_nonzero(weight),
        "bytes_read": n_bytes(x.numel(), bits["input_bits"])
        + (n_bytes(weight.numel(), bits["weight_bits"]) if operation.kind == "matmul" else 0),
        "bytes_written": n_bytes(outputs, bits["output_bits"]),
    }


def _embedding(
    operation: Operation, spikes: bool, lengths: Tensor | None, constant: bool, fan_outs: FanOuts
) -> dict[str, int]:
    """Counts of an embedding: each entry adds one row of the table, as a linear layer of one-hot spikes does."""
    indices, table, how = operation.input, operation.weight, operation.geometry or {}
    assert isinstance(indices, Tensor) and table is not None, "an embedding has entries and a table"
    table, entries = _strided(table), _data(indices, lengths, constant).flatten()
    bags = how.get("bags", entries.numel())
    entries = entries[entries != how["padding"]] if how.get("padding") is not None else entries
    width, tokens = table.shape[1], entries.numel()
    pairs = tokens * width
    nonzero = int(torch.count_nonzero(table, dim=1)[entries].sum())
    index = max(1, (len(table) - 1).bit_length())
    bits = _precision(operation, False) | {"input_bits": index}
    counts = _synaptic(Pairs(pairs, pairs, nonzero, nonzero), not how.get("weighted"), bits)
    if how.get("mode") == "max":  # no additions: the largest value is kept
        counts |= {"effective_acs": 0, "effective_macs": 0, "skipped_zero_weights": 0, "dense_ops": 0}
    return counts | {
        "comparisons": pairs if how.get("mode") == "max" else 0,
        "elementwise": bags * width if how.get("mode") == "mean" else 0,
        "input_cells": tokens,
        "input_events": tokens,
        "routed_events": tokens,
        "output_cells": bags * width,
        "charged_rows": bags,
        "weights": table.numel(),
        "nonzero_weights": n_nonzero(table),
        "bytes_read": tokens * (n_bytes(1, index) + n_bytes(width, bits["weight_bits"])),
        "bytes_written": bags * n_bytes(width, bits["output_bits"]),
    }


def _synaptic(pairs: Pairs, spikes: bool, bits: dict[str, int]) -> dict[str, int]:
    return {
        "dense_ops": pairs.all,
        "skipped_zero_inputs": pairs.all - pairs.left,
        "skipped_zero_weights": pairs.all - pairs.right,
        "effective_acs" if spikes else "effective_macs": pairs.both,
        **bits,
    }


def _precision(operation: Operation, spikes: bool) -> dict[str, int]:
    x, weight = operation.input, operation.weight
    assert weight is not None
    return {
        "weight_bits": operation.weight_bits or _bits(weight),
        "input_bits": operation.input_bits or (1 if spikes else _bits(x)),
        "output_bits": 8 * weight.dtype.itemsize if weight.dtype.is_floating_point else 32,
    }


def _strided(x: Tensor) -> Tensor:
    x = x.detach()
    return x if x.layout == torch.strided else x.to_dense()


def _scalar(
    operation: Operation, spikes: bool, lengths: Tensor | None, constant: bool, fan_outs: FanOuts
) -> dict[str, int]:
    """Counts of neurons, comparisons and element-wise operations: those of the operation, and the events it sent."""
    moved = n_bytes(operation.state_updates, operation.state_bits)  # every update reads a state and writes it
    counts = {
        "state_updates": operation.state_updates,
        "comparisons": operation.comparisons,
        "elementwise": operation.elementwise,
        "bytes_read": moved,
        "bytes_written": moved,
    }
    if operation.kind == "neuron":
        counts["state_bits"] = operation.state_bits
    sent = operation.output
    if sent is None:
        return counts
    units, bits = math.prod(sent.shape[2:]), _bits(sent)
    return counts | {
        "spikes_out": int(sent.index.numel()),
        "output_cells": sent.n_rows * units,
        "charged_rows": sent.n_rows,
        "output_bits": bits,
        "bytes_written": counts["bytes_written"] + sent.n_rows * n_bytes(units, bits),
    }


#: The counter of each kind of operation.
COUNTERS: dict[str, Callable[[Operation, bool, Tensor | None, bool, FanOuts], dict[str, int]]] = {
    "linear": _product,
    "conv": _product,
    "matmul": _contraction,
    "embedding": _embedding,
    "neuron": _scalar,
    "compare": _scalar,
    "elementwise": _scalar,
}


def tally(
    operation: Operation,
    *,
    spikes: bool = False,
    lengths: Tensor | None = None,
    constant: bool = False,
    fan_outs: FanOuts | None = None,
) -> dict[str, int]:
    """Columns of the counts for one operation, as exact integers.

    Args:
        operation: what was computed.
        spikes: whether its input, a tensor, is declared to be spikes; events carry that mark.
        lengths: number of valid steps of each sample, if a dense input has padding.
        constant: whether all steps of the input are the same, so that one is counted.
        fan_outs: those of weights that were counted before.

    Example:
        >>> x, weight = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
        >>> counts = tally(Operation("linear", x, weight))
        >>> counts["dense_ops"], counts["effective_macs"]
        (6, 3)
    """
    counter = _contraction if operation.equation is not None else COUNTERS[operation.kind]
    return counter(operation, spikes, lengths, constant, fan_outs or FanOuts())
