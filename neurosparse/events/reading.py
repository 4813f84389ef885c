"""Reading events as numbers: addresses, times, counts and firing rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.carrier import count_events
from neurosparse.events.timing import step_nanoseconds

if TYPE_CHECKING:
    from neurosparse.events.tensor import EventTensor

__all__ = ["AER", "addresses", "counts", "rates", "times"]


class AER(NamedTuple):
    """Address-event form: int64 coordinates of each event, and its value (None: unit spikes)."""

    step: Tensor
    sample: Tensor
    unit: Tensor
    value: Tensor | None


def addresses(events: EventTensor) -> AER:
    """Rows taken apart into step and sample."""
    step = events.row.div(max(events.shape[1], 1), rounding_mode="floor")
    return AER(step, events.row - step * events.shape[1], events.index.long(), events.value)


def counts(events: EventTensor) -> Tensor:
    """Events of each unit, with a gradient where there is a graph."""
    _, samples, *units = events.shape
    dtype = torch.float64 if events.dtype == torch.float64 else torch.float32
    if events.binary and not events.is_found and events.lengths is None:
        return events.dense().sum(0, dtype=dtype)
    position = addresses(events).sample * events.n_units + events.index
    counts = torch.bincount(position, minlength=samples * events.n_units).view(samples, *units).to(dtype)
    if not (events.requires_grad and torch.is_grad_enabled()):
        return counts
    return count_events(events.carrier if events.value_is_data else events.dense(), counts, events.lengths)


def rates(events: EventTensor) -> Tensor:
    """Counts over each sample's own duration."""
    dt, found, lengths = _seconds(events, "rates", "Rates"), counts(events), events.lengths
    if events.shape[0] == 0 or (lengths is not None and bool((lengths == 0).any())):
        fix = "Leave such samples out: .samples(lengths > 0)."
        raise InputError("EventTensor.rates", got="a sample without steps", expected="some duration", fix=fix)
    steps = events.shape[0] if lengths is None else lengths.double().view(-1, *[1] * (found.dim() - 1))
    return (found.double() / (steps * dt)).to(found.dtype)


def times(events: EventTensor) -> Tensor:
    """Start of the recording, exact time of the step and offset within it, in nanoseconds."""
    exact = step_nanoseconds(addresses(events).step, _seconds(events, "times", "Times"), events.t0)
    return exact if events.offset is None else exact + events.offset


def _seconds(events: EventTensor, method: str, what: str) -> float:
    if events.dt is None:
        fix = f"{what} need seconds per step; pass dt=1e-3 when you build it."
        raise InputError(f"EventTensor.{method}", got="dt=None", expected="seconds per step", fix=fix)
    return events.dt
