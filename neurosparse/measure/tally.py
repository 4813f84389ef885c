"""One operation to exact numbers: non-zero inputs of each unit times the fan-out of that unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.events.fold import FoldedEvents
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.measure.functions import cells_of

__all__ = ["EVENTS", "STATE_BYTES", "fan_out", "is_spikes", "n_bytes", "tally", "valid_mask"]

EVENTS = (EventTensor, FoldedEvents)
STATE_BYTES = 4  # a neuron's state is one 32-bit word, read and written by every update
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Signal(NamedTuple):
    """What came in: non-zero vectors at each unit, and how many vectors there were."""

    at_unit: Tensor
    vectors: int


def is_spikes(x: Any) -> bool:
    """Events that say so; a tensor never says so by its values."""
    return isinstance(x, EVENTS) and x.value is None


def n_bytes(cells: int, bits: int) -> int:
    """Whole bytes that hold so many cells."""
    return -(-cells * bits // 8)


def valid_mask(lengths: Tensor, steps: int) -> Tensor:
    """Mask ``(steps, samples)`` of what is data, not padding."""
    return torch.arange(steps, device=lengths.device)[:, None] < lengths


def _signal(x: Any, width: int, lengths: Tensor | None, constant: bool) -> Signal:
    """Non-zero entries of each of ``width`` units; a constant signal is one step, padding is nothing."""
    if isinstance(x, EVENTS):
        rows, units, index = x.n_rows, math.prod(x.shape[2:] if isinstance(x, EventTensor) else x.units), x.index
        if constant:
            samples = x.shape[1]
            rows, index = (samples if lengths is None else int((lengths > 0).sum())), index[x.row < samples]
        at_unit = torch.bincount(index.long(), minlength=units).view(-1, width)
        return Signal(at_unit.sum(0), rows * (units // width))
    if lengths is not None:
        x = x[valid_mask(lengths, len(x))] if not constant else x[0][lengths > 0]
    elif constant:
        x = x[0]
    rows = (x.to_dense() if x.layout != torch.strided else x).reshape(-1, width)
    return Signal(torch.count_nonzero(rows, dim=0), len(rows))


def fan_out(weight: Tensor, units: tuple[int, ...], geometry: dict[str, Any] | None) -> tuple[Tensor, int]:
    """Non-zero weights that each input unit reaches, and the number of outputs, for one input.

    The sum of all outputs of a layer, with 0/1 weights, has exactly this gradient: border, stride, dilation and
    groups included.

    Args:
        weight: ``(out, in)``, or ``(out, in / groups, *kernel)`` with a geometry.
        units: shape of one input, ``(in,)`` or ``(channels, *space)``.
        geometry: stride, padding, dilation and groups of a convolution; None for a linear layer.

    Returns:
        int64 ``(units)`` flat, and the number of output cells.

    Example:
        >>> each, outputs = fan_out(torch.ones(1, 1, 3), (1, 4), {"padding": 1})
        >>> each.tolist(), outputs
        ([2, 3, 3, 2], 4)
    """
    if geometry is None:
        return torch.count_nonzero(weight, dim=0), len(weight)
    with torch.inference_mode(False), torch.enable_grad():
        image = torch.zeros(1, *units, dtype=torch.float64, device=weight.device, requires_grad=True)
        out = CONVOLUTIONS[len(units) - 1](image, (weight != 0).double(), **geometry)
        (each,) = torch.autograd.grad(out.sum(), image)
    return each.flatten().round().long(), out.numel()


def _bits(x: Any) -> int:
    """Bits of one value: spikes have one, a layer with few levels says ``level_bits``, the rest is its dtype."""
    if is_spikes(x) or x.dtype == torch.bool:
        return 1
    return getattr(x, "level_bits", 8 * x.dtype.itemsize)


def _product(operation: Operation, spikes: bool, lengths: Tensor | None, constant: bool) -> dict[str, int]:
    x, weight = operation.input, operation.weight
    assert x is not None and weight is not None, "a linear or conv operation names its input and weight"
    weight = weight.detach()
    weight = weight if weight.layout == torch.strided else weight.to_dense()
    units = (weight.shape[1],) if operation.kind == "linear" else tuple(x.shape[-(weight.dim() - 1) :])
    x = x.detach() if isinstance(x, Tensor) else x
    signal = _signal(x, math.prod(units), lengths, constant)
    geometry = operation.geometry if operation.kind == "conv" else None
    each, outputs = fan_out(weight, units, geometry)
    full, _ = fan_out(torch.ones_like(weight), units, geometry)
    effective = int((signal.at_unit * each).sum())
    spikes = spikes or is_spikes(x)
    weight_bits = operation.weight_bits or 8 * weight.dtype.itemsize
    input_bits = 1 if spikes else operation.input_bits or _bits(x)
    output_bits = 8 * weight.dtype.itemsize if weight.dtype.is_floating_point else 32
    return {
        "dense_ops": signal.vectors * int(full.sum()),
        "effective_acs" if spikes else "effective_macs": effective,
        "bias_adds": signal.vectors * outputs if operation.bias else 0,
        "input_cells": signal.vectors * len(each),
        "input_events": int(signal.at_unit.sum()),
        "output_cells": signal.vectors * outputs,
        "charged_rows": signal.vectors,
        "weights": weight.numel(),
        "nonzero_weights": int(torch.count_nonzero(weight)),
        "weight_bits": weight_bits,
        "input_bits": input_bits,
        "output_bits": output_bits,
        "bytes_read": signal.vectors * n_bytes(len(each), input_bits),
        "bytes_written": signal.vectors * n_bytes(outputs, output_bits),
    }


def _scalar(operation: Operation, spikes: bool, lengths: Tensor | None, constant: bool) -> dict[str, int]:
    """A neuron, a comparison or element-wise work: its own counts, and the events it sent."""
    counts = {
        "state_updates": operation.state_updates,
        "comparisons": operation.comparisons,
        "elementwise": operation.elementwise,
        "bytes_read": STATE_BYTES * operation.state_updates,
        "bytes_written": STATE_BYTES * operation.state_updates,
    }
    sent = operation.output
    if sent is None:
        return counts
    units, bits = math.prod(sent.shape[2:]), _bits(sent)
    return counts | {
        "spikes_out": cells_of(sent),
        "output_cells": sent.n_rows * units,
        "charged_rows": sent.n_rows,
        "output_bits": bits,
        "bytes_written": counts["bytes_written"] + sent.n_rows * n_bytes(units, bits),
    }


#: One counter per kind; a new kind is one function and one row.
COUNTERS: dict[str, Callable[[Operation, bool, Tensor | None, bool], dict[str, int]]] = {
    "linear": _product,
    "conv": _product,
    "neuron": _scalar,
    "compare": _scalar,
    "elementwise": _scalar,
}


def tally(
    operation: Operation, *, spikes: bool = False, lengths: Tensor | None = None, constant: bool = False
) -> dict[str, int]:
    """The ledger's columns for one operation, as exact integers.

    Args:
        operation: what was done.
        spikes: its input, a tensor, is declared to be spikes; events know it themselves.
        lengths: steps that are data, per sample, where a dense input has padding.
        constant: all steps of the input are the same, so one is charged.

    Example:
        >>> x, weight = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
        >>> counts = tally(Operation("linear", x, weight))
        >>> counts["dense_ops"], counts["effective_macs"]
        (6, 3)
    """
    return COUNTERS[operation.kind](operation, spikes, lengths, constant)
