"""Leaky integrate-and-fire neurons in fixed point: membranes of few bits, a leak by an arithmetic shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.checks import as_tensor, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, dense_of, operation, timing_of
from neurosparse.events.state import check_level
from neurosparse.events.timing import Timing, refuse_chunk

__all__ = ["FixedPointLIF"]


class FixedPointLIF(nn.Module):
    """Leaky integrate-and-fire neurons whose membranes are whole numbers of ``bits`` bits.

    ``u = sat(v - (v >> leak) + I);  s = [u > threshold];  v = u - threshold s``

    The decay per step is ``1 - 2^-leak``. The arithmetic shift rounds down: a positive membrane below ``2^leak`` does
    not leak, a negative one rises by at least 1. ``sat`` keeps the width: ``-2^(bits-1)`` to ``2^(bits-1) - 1``. The
    current is that of the accumulators N, scaled by a power of two: ``I = (N + 2^(shift-1)) >> shift``, which rounds
    halves up, or ``I = N << -shift`` for a negative shift. It has the width of the accumulators.

    Args:
        threshold: whole numbers, at least 1, one number or one per unit.
        leak: of the shift; None: no leak.
        bits: width of the membrane, 8 to 32.
        shift: whole numbers, one number or one per unit.
        start: membrane before the first step, like ``threshold``.

    Returns:
        spikes ``(steps, samples, *units)`` for accumulators of that shape, whole numbers of any type;
        ``run(current, state)`` also the membranes ``(samples, *units)``, int64.

    Raises:
        InputError: bits out of range, a threshold or a start that does not fit, a current without steps.

    Example:
        >>> neurons = FixedPointLIF(100, leak=1, bits=16)
        >>> # u = 80, then 40 + 80 = 120 fires and leaves 20, then 10 + 80 = 90, then 45 + 80 = 125 fires
        >>> neurons(torch.full((4, 1, 1), 80)).dense().flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]

    Source: Davies et al. 2018, "Loihi: a neuromorphic manycore processor with on-chip learning", for integer
    membranes; Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", for the scaling of accumulators.
    """

    threshold: Tensor
    shift: Tensor
    start: Tensor

    def __init__(
        self,
        threshold: int | Tensor,
        leak: int | None,
        bits: int = 16,
        shift: int | Tensor = 0,
        start: int | Tensor = 0,
    ):
        super().__init__()
        self.bits = whole("FixedPointLIF", "bits", bits, 8, 32)
        self.leak = None if leak is None else whole("FixedPointLIF", "leak", leak, 0, 31)
        limits = {"threshold": (1, self.top), "shift": (-31, 31), "start": (-self.top - 1, self.top)}
        for name, given in {"threshold": threshold, "shift": shift, "start": start}.items():
            part = as_tensor("FixedPointLIF", name, given, "whole numbers")
            if part.is_floating_point() or part.is_complex() or part.dtype == torch.bool:
                fix = f"Pass {name}.round().long()."
                raise InputError("FixedPointLIF", got=f"{name} of {part.dtype}", expected="whole numbers", fix=fix)
            for extreme in part.aminmax() if part.numel() else ():
                whole("FixedPointLIF", name, extreme, *limits[name])
            self.register_buffer(name, part.long())

    @property
    def top(self) -> int:
        """The largest membrane."""
        return 2 ** (self.bits - 1) - 1

    def forward(self, current: Tensor | EventTensor) -> EventTensor:
        """Spikes of a whole sequence of accumulators."""
        return self.run(current)[0]

    def run(self, current: Tensor | EventTensor, state: Tensor | None = None) -> tuple[EventTensor, Tensor]:
        """The same from the membranes of the chunk before, and the membranes at the end."""
        if not isinstance(current, Tensor | EventTensor) or len(current.shape) < 3:
            shape = tuple(current.shape) if hasattr(current, "shape") else type(current).__name__
            expected = "(steps, samples, *units)"
            raise InputError("FixedPointLIF", got=f"a current {shape}", expected=expected, fix="Time comes first.")
        return _scan(self, current, state)

    def extra_repr(self) -> str:
        leak = "none" if self.leak is None else f"v >> {self.leak}"
        return f"bits={self.bits}, leak={leak}, threshold {int(self.threshold.min())}..{int(self.threshold.max())}"


def _work(result: tuple[EventTensor, Tensor], neurons: FixedPointLIF, current: Tensor, *_: object) -> list[Operation]:
    """States read, leaked and written per unit and step; of each current that is rounded, an addition and a shift."""
    events, drive = result[0], dense_of(current)
    updates, leak = events.n_rows * events.n_units, "none" if neurons.leak is None else "shift"
    work = [Operation("neuron", output=events, state_updates=updates, leak=leak, state_bits=neurons.bits)]
    units = int((neurons.shift > 0).expand(events.shape[2:]).sum())
    if units:
        scaled = units * (events.shape[1] if _is_constant(drive) else events.n_rows)
        work.append(Operation("elementwise", elementwise=2 * scaled))
    return work


def _is_constant(drive: Tensor) -> bool:
    return len(drive) > 1 and drive.stride(0) == 0


@operation(_work)
@torch.no_grad()
def _scan(
    neurons: FixedPointLIF, current: Tensor | EventTensor, state: Tensor | None = None
) -> tuple[EventTensor, Tensor]:
    timing = timing_of(current) or Timing()
    refuse_chunk("FixedPointLIF.run", timing)
    accumulated, top = dense_of(current), neurons.top
    part = accumulated[:1] if _is_constant(accumulated) else accumulated
    shift = neurons.shift
    rounded = (part.long() << (-shift).clamp(min=0)) + ((1 << shift.clamp(min=0)) >> 1)
    drive = (rounded >> shift.clamp(min=0)).expand(accumulated.shape)
    membrane = (
        neurons.start.expand(drive.shape[1:])
        if state is None
        else check_level("FixedPointLIF", state, drive.shape[1:]).long()
    )
    spikes, lengths = [], timing.lengths
    for step, arriving in enumerate(drive.unbind(0)):
        leaked = membrane if neurons.leak is None else membrane - (membrane >> neurons.leak)
        after = (leaked + arriving).clamp(-top - 1, top)
        fired = after > neurons.threshold
        after = after - fired * neurons.threshold
        if lengths is not None:  # a sample that has ended keeps its state
            alive = (step < lengths).view(-1, *[1] * (after.dim() - 1))
            fired, after = fired & alive, torch.where(alive, after, membrane)
        spikes.append(fired)
        membrane = after
    sent = torch.stack(spikes) if spikes else drive.bool()
    dense = sent.to(torch.get_default_dtype())
    return EventTensor(dense.shape, timing, dense.dtype, binary=True, dense=dense), membrane
