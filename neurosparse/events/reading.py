"""Reading events as numbers: addresses, times, counts and firing rates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.checks import silence_padding
from neurosparse.events.parts import EventParts
from neurosparse.events.timing import Timing, step_nanoseconds
from neurosparse.kernels.dispatch import by_reference
from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.rows import count_of_samples

__all__ = ["AER", "addresses", "counts", "rates", "times"]


class AER(NamedTuple):
    """Address-event form: int64 coordinates of each event, and its value (None: unit spikes)."""

    step: Tensor
    sample: Tensor
    unit: Tensor
    value: Tensor | None


def addresses(events: EventParts) -> AER:
    """Rows taken apart into step and sample."""
    step = events.row.div(max(events.shape[1], 1), rounding_mode="floor")
    return AER(step, events.row - step * events.shape[1], events.index.long(), events.value)


def counts(events: EventParts) -> Tensor:
    """Events of each unit, with a gradient where there is a graph."""
    _, samples, *units = events.shape
    dtype = torch.float64 if events.dtype == torch.float64 else torch.float32
    if events.binary and not events.is_found and events.lengths is None:
        return events.dense().sum(0, dtype=dtype)
    if not events.is_found and by_reference(events.dense()):
        return _count_by_reference(events.dense(), events.timing).to(dtype)
    counts = _counted(events).view(samples, *units).to(dtype)
    if not (events.requires_grad and torch.is_grad_enabled()):
        return counts
    return _count_events(events.carrier if events.value_is_data else events.dense(), counts, events.lengths)


def _counted(events: EventParts) -> Tensor:
    """Whole numbers ``(samples, units)``."""
    samples, n_units = events.shape[1], events.n_units
    compiled = torch.compiler.is_compiling() or by_reference(events.index)
    if events.index.device.type == "cpu" and not compiled:
        return count_of_samples(events.row_ptr, events.index, samples, n_units)
    position = addresses(events).sample * n_units + events.index
    return torch.bincount(position, minlength=samples * n_units)


def _count_by_reference(dense: Tensor, timing: Timing) -> Tensor:
    """Counts in plain torch; the gradient of a graded event, too, is that of one event."""
    ones = (dense.detach() != 0).to(dense.dtype) + (dense - dense.detach())
    return silence_padding(ones, timing).sum(0)


@torch_operator("count_events")
def _count(source: Tensor, counts: Tensor, weight: Tensor) -> Tensor:
    return counts.clone()


@_count.register_meta
def _(source, counts, weight):
    return torch.empty_like(counts)


def _setup(ctx, inputs, output):
    source, _, weight = inputs
    ctx.shape = source.shape
    ctx.save_for_backward(weight)


def _backward(ctx, grad):
    (weight,) = ctx.saved_tensors
    return (grad * weight).expand(ctx.shape), None, None


_count.register_autograd(_backward, setup_context=_setup)


def _count_events(source: Tensor, counts: Tensor, lengths: Tensor | None) -> Tensor:
    """Event counts whose gradient reaches every step that is data, silent ones too (a surrogate needs them)."""
    steps, samples = source.shape[:2]
    weight = torch.ones((), dtype=source.dtype, device=source.device)
    if lengths is not None:
        inside = torch.arange(steps, device=source.device)[:, None] < lengths
        weight = inside.to(source.dtype).view(steps, samples, *[1] * (source.dim() - 2))
    return _count(source, counts, weight)


def rates(events: EventParts) -> Tensor:
    """Counts over each sample's own duration."""
    dt, found, lengths = _seconds(events, "rates", "Rates"), counts(events), events.lengths
    if events.shape[0] == 0 or (lengths is not None and bool((lengths == 0).any())):
        fix = "Leave such samples out: .samples(lengths > 0)."
        raise InputError("EventTensor.rates", got="a sample without steps", expected="some duration", fix=fix)
    steps = events.shape[0] if lengths is None else lengths.double().view(-1, *[1] * (found.dim() - 1))
    return (found.double() / (steps * dt)).to(found.dtype)


def times(events: EventParts) -> Tensor:
    """Start of the recording, exact time of the step and offset within it, in nanoseconds."""
    exact = step_nanoseconds(addresses(events).step, _seconds(events, "times", "Times"), events.t0)
    return exact if events.offset is None else exact + events.offset


def _seconds(events: EventParts, method: str, what: str) -> float:
    if events.dt is None:
        fix = f"{what} need seconds per step; pass dt=1e-3 when you build it."
        raise InputError(f"EventTensor.{method}", got="dt=None", expected="seconds per step", fix=fix)
    return events.dt
