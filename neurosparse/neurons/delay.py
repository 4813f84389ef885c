"""Delay lines: copies of every event, each delayed by a number of steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.operation import moves
from neurosparse.events.timing import refuse_chunk

__all__ = ["delay_lines"]


@moves
def delay_lines(events: EventTensor, delays: Sequence[int]) -> EventTensor:
    """Copies of every event after each delay, on separate units: ``out[t, b, d] = events[t - delays[d], b]``.

    Args:
        events: spikes or graded events ``(steps, samples, *units)``.
        delays: in steps, 0 or more; events beyond a sample's length are dropped.

    Returns:
        Events ``(steps, samples, len(delays) * units[0], *units[1:])``, one delay after the other; without a graph.

    Raises:
        InputError: no delay, or a negative one.

    Example:
        >>> spikes = EventTensor.from_dense(torch.tensor([[[1.0]], [[0.0]], [[0.0]]]), spikes=True)
        >>> delay_lines(spikes, [0, 2]).dense().tolist()
        [[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]]

    Source: Hopfield & Tank 1987, "Concentrating information in time".
    """
    if not isinstance(events, EventTensor):
        fix = "Build them first: ns.EventTensor.from_dense(x)."
        raise InputError(
            "delay_lines", got=f"events of type {type(events).__name__}", expected="an EventTensor", fix=fix
        )
    if not hasattr(delays, "__len__") or getattr(delays, "ndim", 1) != 1 or len(delays) == 0:
        raise InputError("delay_lines", got=f"delays={delays!r}", expected="delays in steps, such as [0, 1, 2]")
    delays = [whole("delay_lines", "delays", delay, 0) for delay in delays]
    refuse_chunk("delay_lines", events.timing)
    (steps, samples, *units), aer, n = events.shape, events.aer(), len(delays)
    copy = torch.arange(n).repeat_interleave(events.n_events)
    step, sample, unit = (part.repeat(n) for part in aer[:3])
    step, unit = step + torch.tensor(delays)[copy], unit + copy * events.n_units
    arrives = step < (steps if events.lengths is None else events.lengths[sample])
    value = None if aer.value is None else aer.value.detach().repeat(n)[arrives]
    timing = {"dt": events.dt, "t0": events.t0, "lengths": events.lengths, "axis": events.axis}
    return EventTensor.from_aer(
        step[arrives], sample[arrives], unit[arrives], value, shape=(steps, samples, n * units[0], *units[1:]), **timing
    )
