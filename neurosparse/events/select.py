"""Parts of events as events: steps, samples and bins, on the event form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from neurosparse.events.tensor import AER, EventTensor

__all__ = ["bin_steps", "take_samples", "take_steps"]


def _parts(events: EventTensor, row: Tensor, chosen: Tensor | slice) -> dict[str, Tensor | None]:
    value, offset = events.value, events.offset
    return {
        "row": row,
        "index": events.index[chosen],
        "value": None if value is None else value[chosen],
        "offset": None if offset is None else offset[chosen],
    }


def take_steps(events: EventTensor, start: int, stop: int) -> dict[str, Tensor | None]:
    """Rows are sorted, so a range of steps is a slice of events: no pointer per empty row is built."""
    samples = events.shape[1]
    bounds = torch.searchsorted(events.row, torch.tensor([start, stop], device=events.row.device) * samples)
    chosen = slice(int(bounds[0]), int(bounds[1]))
    return _parts(events, events.row[chosen] - start * samples, chosen)


def take_samples(events: EventTensor, which: Tensor) -> dict[str, Tensor | None]:
    """Events of the samples ``which``; a sample may be taken more than once."""
    step, sample, _, _ = events.aer()
    which = which.to(sample.device)
    copies = torch.bincount(which, minlength=events.shape[1])
    places = torch.argsort(which, stable=True)
    first = copies.cumsum(0) - copies
    n_copies = copies[sample]
    event = torch.arange(len(sample), device=sample.device).repeat_interleave(n_copies)
    nth = torch.arange(len(event), device=sample.device) - (n_copies.cumsum(0) - n_copies)[event]
    row = step[event] * len(which) + places[first[sample[event]] + nth]
    order = torch.argsort(row, stable=True)
    return _parts(events, row[order], event[order])


def bin_steps(events: EventTensor, k: int) -> AER:
    """Coordinates with the step divided by ``k``."""
    aer = events.aer()
    return aer._replace(step=aer.step.div(k, rounding_mode="floor"))
