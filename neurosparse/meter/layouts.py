"""Padding in batches of sequences that end early: where a tensor holds steps and samples, and products without padding.

Timed tensors and events have the lengths of their samples. Operators receive plain tensors, so that layouts are noted
by storage, and follow element-wise operations. Gradients have no such history: a gradient has the layout of the tensor
of the current forward pass with as many steps and samples.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timing import timing_of
from neurosparse.meter.contraction import parse
from neurosparse.meter.provenance import Facts, Provenance, StepLayout, tensors_in
from neurosparse.meter.tally import EVENTS, valid_mask

__all__ = ["Layouts", "without_padding"]


class Layouts:
    """Steps and samples of tensors in a batch of which some samples end early."""

    def __init__(self, known: Provenance):
        self.known = known
        self.ragged = False  # whether some samples end early
        self._forward: dict[tuple[int, int], StepLayout] = {}  # of the current forward pass, by steps and samples

    def begin(self) -> None:
        """A forward pass starts."""
        self._forward.clear()

    def note(self, x: Any) -> None:
        """Note the lengths of timed tensors and events in nested containers."""
        for timed in tensors_in(x, *EVENTS):
            timing = timing_of(timed)
            if timing is None or timing.lengths is None or len(timed.shape) < 2:
                continue
            if self.known.of(timing.lengths) is None:  # which rows are data is bookkeeping, no work of the model
                self.known.note(timing.lengths, Facts("parameter"))
            layout, self.ragged = StepLayout(timing.lengths, *timed.shape[:2]), True
            self._forward[layout.steps, layout.samples] = layout
            if isinstance(timed, Tensor):
                self.known.change(timed, layout=layout)

    def of(self, x: Any, backward: bool) -> StepLayout | None:
        """Layout of a tensor or of events; None if no sample is known to end early."""
        if isinstance(x, EventTensor):
            lengths = None if x.timing is None else x.timing.lengths
            return None if lengths is None else StepLayout(lengths, *x.shape[:2])
        if not isinstance(x, Tensor):
            return None
        facts = self.known.of(x)
        if facts is not None and facts.layout is not None:
            return facts.layout
        guesses = self._forward.values() if backward and (facts is None or facts.origin == "signal") else ()
        return next((layout for layout in guesses if _rows_axis(x, layout) is not None or layout.fits(x)), None)


def _rows_axis(x: Tensor, layout: StepLayout) -> int | None:
    """Axis of a tensor that holds steps and samples as one axis of rows: the outer one of several that fit."""
    fitting = [axis for axis, size in enumerate(x.shape) if size == layout.steps * layout.samples]
    return max(fitting, key=x.stride) if fitting else None


def without_padding(operation: Operation, layout: StepLayout) -> Operation | None:
    """A product of two tensors without the rows that are padding; None if neither tensor has an axis of rows.

    Example:
        >>> import torch
        >>> x, gradient = torch.ones(6, 3), torch.ones(6, 2)  # three steps of two samples
        >>> whole = Operation("matmul", x, gradient, equation="ri,ro->oi")
        >>> without_padding(whole, StepLayout(torch.tensor([3, 1]), 3, 2)).input.shape
        torch.Size([4, 3])
    """
    x, weight = operation.input, operation.weight
    assert isinstance(x, Tensor) and weight is not None and operation.equation is not None
    equation = parse(operation.equation, x.dim(), weight.dim())
    if equation is None or not x.numel():
        return None
    terms = ((equation.left, x), (equation.right, weight))
    rows = next((term[axis] for term, part in terms if (axis := _rows_axis(part, layout)) is not None), None)
    if rows is None:
        return None
    kept = valid_mask(layout.lengths, layout.steps).flatten().nonzero().flatten()
    first, second = (part.index_select(term.index(rows), kept) if rows in term else part for term, part in terms)
    return replace(operation, input=first, weight=second)
