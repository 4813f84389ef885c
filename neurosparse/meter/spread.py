"""Operation counts by step and sample: the step and sample of each row of a tensor, and the operations of that row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosparse.events.fold import FoldedEvents
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.contraction import parse
from neurosparse.meter.fan_out import fan_out
from neurosparse.meter.tally import EVENTS, is_spikes, units_of, valid_mask

__all__ = ["CallExtent", "RowIndex", "spread"]


class RowIndex(NamedTuple):
    """Step and sample of each row of a tensor; ``axes`` is the number of leading axes that are steps and samples."""

    axes: int
    step: Tensor
    sample: Tensor


class CallExtent(NamedTuple):
    """Steps and samples of one call of the model; ``step`` and ``sample`` are the numbers of those before it."""

    steps: int
    samples: int
    time_first: bool
    step: int = 0
    sample: int = 0

    def rows_of(self, x: Any, occurrence: int | None) -> RowIndex | None:
        """Step and sample of each row of a tensor or of events; None if the leading axes are neither.

        A tensor without a step axis is one step: that of number ``occurrence`` in this call.
        """
        t, n = self.steps, self.samples
        shape: Sequence[int] = x.shape[:1] if isinstance(x, FoldedEvents) else x.shape
        if self.time_first and tuple(shape[:2]) == (t, n):
            axes, rows, first = 2, t * n, 0
        elif self.time_first and shape and shape[0] == t * n:
            axes, rows, first = 1, t * n, 0
        elif isinstance(x, EventTensor) and x.shape[1] == n:
            axes, rows, first = 2, shape[0] * n, shape[0] * (occurrence or 0)
        elif shape and shape[0] == n and not (occurrence is None and self.time_first and t > 1):
            axes, rows, first = 1, n, occurrence or 0
        else:
            return None
        row = torch.arange(rows)
        return RowIndex(axes, self.step + first + row // n, self.sample + row % n)


def spread(
    operation: Operation,
    call: CallExtent,
    occurrence: int | None,
    like: Any = None,
    spikes: bool = False,
    lengths: Tensor | None = None,
    constant: bool = False,
) -> tuple[RowIndex, dict[str, Tensor]] | None:
    """Index and counts of the rows of one operation; None if its rows are not single steps and samples.

    Args:
        operation: what was computed.
        call: the call of the model that contains it.
        occurrence: number of earlier runs of the layer in the same call, if each run is a step; otherwise None.
        like: for scalar work, the tensor among whose rows it is divided.
        spikes, lengths, constant: as in :func:`~neurosparse.meter.tally.tally`.
    """
    x = operation.output if operation.weight is None else operation.input
    x = like if x is None else x
    rows = None if x is None else call.rows_of(x, occurrence)
    if rows is None:
        return None
    if isinstance(x, EventTensor):
        lengths = x.lengths
    data = torch.ones(len(rows.step), dtype=torch.int64)
    step, sample = rows.step - rows.step[:1], rows.sample - call.sample
    if lengths is not None:
        data = valid_mask(lengths.cpu(), int(step.max()) + 1)[step, sample].long()
    if constant:
        data = data * (step == 0)
    if operation.weight is None:
        counts = _scalar(operation, int(data.sum()), len(data))
    else:
        counts = _synaptic(operation, x, rows.axes, "effective_acs" if spikes or is_spikes(x) else "effective_macs")
    return None if counts is None else (rows, {name: amount * data for name, amount in counts.items()})


def _synaptic(operation: Operation, x: Any, axes: int, effective: str) -> dict[str, Tensor] | None:
    weight = operation.weight
    assert weight is not None
    if operation.kind == "embedding" or (operation.kind == "matmul" and operation.equation is None):
        return None  # entries that look up rows; the weight gradient of a convolution
    weight = weight.detach() if weight.layout == torch.strided else weight.detach().to_dense()
    if operation.equation is not None:
        return _contraction(operation.equation, x.detach(), weight, axes, effective)
    units, geometry = units_of(operation), operation.geometry if operation.kind == "conv" else None
    each, full = (fan_out(held, units, geometry)[0].cpu() for held in (weight, torch.ones_like(weight)))
    width = len(each)
    if isinstance(x, EVENTS):
        rows = math.prod(x.shape[:2]) if isinstance(x, EventTensor) else x.n_rows
        row, index = x.row.cpu(), x.index.cpu().long()
        reached = torch.zeros(rows, dtype=torch.int64).index_add_(0, row, each[index % width])
        events = torch.bincount(row, minlength=rows)
        vectors = math.prod(x.shape[2:] if isinstance(x, EventTensor) else x.units) // width
    else:
        x = x.detach() if x.layout == torch.strided else x.detach().to_dense()
        nonzero = (x != 0).reshape(math.prod(x.shape[:axes]), -1, width).cpu()
        reached = (nonzero.double() @ each.double()).sum(1).round().long()
        events, vectors = nonzero.sum((1, 2)), nonzero.shape[1]
    return {"dense_ops": torch.full_like(events, vectors * int(full.sum())), effective: reached, "input_events": events}


def _contraction(equation: str, x: Tensor, weight: Tensor, axes: int, effective: str) -> dict[str, Tensor]:
    parsed = parse(equation, x.dim(), weight.dim())
    assert parsed is not None, "PRODUCTS has parsed it"
    present = [(part != 0).double() for part in (x, weight)]
    both = torch.einsum(f"{parsed.left},{parsed.right}->{parsed.left[:axes]}", *present).flatten().round().long()
    pairs = math.prod(parsed.sizes(x.shape, weight.shape).values())
    events = torch.count_nonzero(x.flatten(0, axes - 1).flatten(1), dim=1) if x.dim() > axes else (x != 0).flatten()
    return {"dense_ops": torch.full_like(both, pairs // len(both)), effective: both, "input_events": events.long()}


def _scalar(operation: Operation, charged: int, rows: int) -> dict[str, Tensor] | None:
    """Scalar work divided evenly among the rows; None if it does not divide."""
    amounts = {name: getattr(operation, name) for name in ("state_updates", "comparisons", "elementwise")}
    if not charged or any(amount % charged for amount in amounts.values()):
        return None
    counts = {name: torch.full((rows,), amount // charged) for name, amount in amounts.items() if amount}
    sent = operation.output
    if sent is not None:
        counts["spikes_out"] = torch.bincount(sent.row.cpu(), minlength=rows)
    return counts
