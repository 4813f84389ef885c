"""Encoders from signals to events: Poisson, latency and delta codes, constant currents."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.checks import generator, number, tensor, whole
from neurosparse.events import EventTensor, Operation, operation
from neurosparse.events.timing import Timing, check_dt

__all__ = ["constant_current", "delta", "latency", "poisson"]


def _in_unit_range(where: str, x: Tensor) -> Tensor:
    """A signal ``(samples, *units)`` of values 0 to 1."""
    x = tensor(where, "x", x, "samples, *units", "Add a sample axis: x[None].")
    for extreme in x.detach().aminmax() if x.numel() else ():
        number(where, "x", extreme, 0, 1, fix="Rescale the signal.")
    return x


def constant_current(x: Tensor, steps: int, dt: float | None = None) -> EventTensor:
    """The same graded value at every step: direct coding. It is stored, computed and charged once.

    Args:
        x: ``(samples, *units)``.
        steps: number of steps.
        dt: seconds per step.

    Returns:
        EventTensor ``(steps, samples, *units)`` whose steps share one memory.

    Raises:
        InputError: no step, no sample axis, NaN.

    Example:
        >>> constant_current(torch.ones(2, 3), steps=5).constant
        True
    """
    steps = whole("constant_current", "steps", steps)
    x = tensor("constant_current", "x", x, "samples, *units", "Add a sample axis: x[None].")
    timing = Timing(dt=check_dt("constant_current", dt))
    dense = x.expand(steps, *x.shape)
    return EventTensor(dense.shape, timing, x.dtype, binary=False, dense=dense)


def _draws(events: EventTensor, *_: object, **__: object) -> list[Operation]:
    return [Operation("elementwise", elementwise=events.n_rows * events.n_units)]


@operation(_draws)
def poisson(x: Tensor, steps: int, dt: float | None = None, *, seed: int | torch.Generator = 0) -> EventTensor:
    """Independent spikes with probability ``x`` at every step (a Bernoulli train, the discrete Poisson process).

    Args:
        x: spike probability per step ``(samples, *units)``, 0..1.
        steps: number of steps.
        dt: seconds per step.
        seed: an int or a generator; never global state.

    Returns:
        Spikes ``(steps, samples, *units)``.

    Raises:
        InputError: no step, no sample axis, NaN, values outside 0..1.

    Example:
        >>> poisson(torch.tensor([[0.0, 1.0]]), steps=3).counts().tolist()
        [[0.0, 3.0]]
    """
    x, steps = _in_unit_range("poisson", x), whole("poisson", "steps", steps)
    draws = torch.rand((steps, *x.shape), generator=generator("poisson", seed, "seed", x.device), device=x.device)
    spikes = (draws < x).to(torch.get_default_dtype())
    timing = Timing(dt=check_dt("poisson", dt))
    return EventTensor(spikes.shape, timing, spikes.dtype, binary=True, dense=spikes)


def _thresholds(events: EventTensor, *_: object, **__: object) -> list[Operation]:
    return [Operation("compare", comparisons=events.shape[1] * events.n_units, output=events)]


@operation(_thresholds)
def latency(x: Tensor, steps: int, dt: float | None = None) -> EventTensor:
    """One spike per non-zero unit, the stronger the earlier: step ``round((1 - x) (steps - 1))``; zero stays silent.

    Args:
        x: intensity ``(samples, *units)``, 0..1.
        steps: number of steps.
        dt: seconds per step.

    Returns:
        Spikes ``(steps, samples, *units)``.

    Raises:
        InputError: no step, no sample axis, NaN, values outside 0..1.

    Example:
        >>> latency(torch.tensor([[1.0, 0.5, 0.0]]), steps=5).aer().step.tolist()
        [0, 2]

    Source: Thorpe, Delorme & Van Rullen (2001), "Spike-based strategies for rapid processing".
    """
    x, steps = _in_unit_range("latency", x), whole("latency", "steps", steps)
    sample, unit = x.flatten(1).nonzero().unbind(1)
    step = ((1 - x.flatten(1)[sample, unit]) * (steps - 1)).round().long()
    return EventTensor.from_aer(step, sample, unit, shape=(steps, *x.shape), dt=dt)


def _differences(events: EventTensor, *_: object, **__: object) -> list[Operation]:
    cells = events.n_rows * events.n_units
    return [Operation("elementwise", elementwise=cells), Operation("compare", comparisons=cells, output=events)]


@operation(_differences)
def delta(x: Tensor, threshold: float = 0.0, dt: float | None = None) -> EventTensor:
    """Changes that exceed ``threshold`` since the last one sent, as graded events; ``.cumulate()`` gives levels back.

    Args:
        x: signal ``(steps, samples, *units)``.
        threshold: changes up to it stay silent; the level tracked is that of the receiver, so errors do not
            accumulate.
        dt: seconds per step.

    Returns:
        Graded events ``(steps, samples, *units)``.

    Raises:
        InputError: a negative threshold, fewer than three axes, NaN.

    Example:
        >>> changes = delta(torch.tensor([1.0, 1.0, 3.0]).view(3, 1, 1))
        >>> changes.n_events, changes.cumulate().dense().flatten().tolist()
        (2, [1.0, 1.0, 3.0])
    """
    threshold = number("delta", "threshold", threshold, 0)
    x = tensor("delta", "x", x, "steps, samples, *units")
    known, changes = x.new_zeros(x.shape[1:]), []
    for level in x.unbind(0):
        change = level - known
        sent = torch.where(change.abs() > threshold, change, torch.zeros_like(change))
        known = known + sent
        changes.append(sent)
    return EventTensor.from_dense(torch.stack(changes) if changes else x, dt=dt)
