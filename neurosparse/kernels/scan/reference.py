r"""Reference of every scan over time, in plain torch: spikes, membranes and state of a whole sequence.

``u[t] = beta v[t-1] + I[t];  s[t] = [u[t] > threshold];  v[t] = u[t] - threshold s[t]`` (subtract),
``u[t] (1 - s[t])`` (zero) or ``u[t]`` (none). A delayed reset acts one step later:
``u[t] = beta u[t-1] + I[t] - threshold s[t-1]``, or ``(beta u[t-1] + I[t]) (1 - s[t-1])``. The gradient of a spike is
the surrogate's derivative; the reset is a constant for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.kernels.dispatch import by_reference

__all__ = ["Dynamics", "LIFState", "refuse_nan", "scan_reference", "spike", "without_tangents"]

Dynamics = Callable[[Tensor, tuple[Tensor, ...], Tensor], tuple[Tensor, Tensor | None, tuple[Tensor, ...]]]
"""``(drive, hidden, last spikes) -> (drive, what is added to the threshold or None, hidden)``."""


class LIFState(NamedTuple):
    """State of a LIF layer between two chunks of time.

    Membrane ``(samples, *units)``, after the reset (before it where the reset is delayed); the last spikes of a
    recurrent layer; the states of its dynamics (synaptic current, adaptation); steps of refractoriness left.
    """

    membrane: Tensor
    spikes: Tensor | None = None
    hidden: tuple[Tensor, ...] = ()
    waiting: Tensor | None = None


def without_tangents(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """The same function without its rule of forward mode, which torch.compile cannot trace."""
    return type(f"{function.__name__}Traced", (function,), {"jvp": staticmethod(torch.autograd.Function.jvp)})


class _Spike(torch.autograd.Function):
    """A spike where the distance to threshold is positive; the gradient is the surrogate's derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(distance: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:  # type: ignore[override]
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        distance, ctx.derivative = inputs
        ctx.save_for_backward(distance)
        ctx.save_for_forward(distance)

    @staticmethod
    def jvp(ctx, tangent, _):  # type: ignore[override]
        (distance,) = ctx.saved_tensors
        return tangent * ctx.derivative(distance)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (distance,) = ctx.saved_tensors
        return grad * ctx.derivative(distance), None


_TracedSpike = without_tangents(_Spike)


def spike(distance: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """A spike where the distance to threshold is positive; its gradient is the surrogate's derivative."""
    return (_TracedSpike if torch.compiler.is_compiling() else _Spike).apply(distance, derivative)  # type: ignore[return-value]


def scan_reference(
    current: Tensor,
    beta: Tensor,
    threshold: Tensor,
    start: LIFState,
    reset: str,
    derivative: Callable[[Tensor], Tensor],
    *,
    delayed: bool = False,
    refractory: int = 0,
    dynamics: Dynamics | None = None,
    lengths: Tensor | None = None,
    recurrent: Callable[[Tensor], Tensor] | None = None,
    spike: Callable[[Tensor, Callable], Tensor] = spike,
) -> tuple[Tensor, Tensor, LIFState]:
    """The reference: spikes and membranes before an immediate reset ``(steps, samples, units)``, and the last state.

    ``lengths`` has the axes of samples and units but the last; ``spike`` is the step with its surrogate.
    """
    state, spikes, membranes = _complete(start, refractory), [], []
    for step, drive in enumerate(current.unbind(0)):
        alive = None if lengths is None else (step < lengths).unsqueeze(-1)
        sent = state.spikes
        assert sent is not None
        returning = None if recurrent is None else recurrent(sent)
        level, hidden = threshold, state.hidden
        if dynamics is not None:
            drive, raised, hidden = dynamics(drive if returning is None else drive + returning, hidden, sent)
            level, returning = threshold if raised is None else threshold + raised, None
        membrane = beta * state.membrane + drive
        if returning is not None:
            membrane = membrane + returning
        if delayed:
            membrane = _after_reset(membrane, membrane - threshold, state.membrane.detach() > threshold, reset)
        sent = spike(membrane - level, derivative)
        if state.waiting is not None:
            ready = state.waiting == 0
            membrane = torch.where(ready, membrane, state.membrane)
            sent = torch.where(ready, sent, torch.zeros_like(sent))
        if alive is not None:
            sent = torch.where(alive, sent, torch.zeros_like(sent))
        fired = sent.detach() > 0
        waiting = None if state.waiting is None else torch.where(fired, refractory, (state.waiting - 1).clamp(min=0))
        after = membrane if delayed else _after_reset(membrane, membrane - threshold, fired, reset)
        state = _held(alive, LIFState(after, sent, hidden, waiting), state)
        spikes.append(sent)
        membranes.append(membrane if alive is None else torch.where(alive, membrane, torch.zeros_like(membrane)))
    if not spikes:
        return current.clone(), current.clone(), state
    return torch.stack(spikes), torch.stack(membranes), state


def _after_reset(membrane: Tensor, lowered: Tensor, fired: Tensor, reset: str) -> Tensor:
    if reset == "none":
        return membrane
    return torch.where(fired, lowered if reset == "subtract" else torch.zeros_like(membrane), membrane)


def _complete(start: LIFState, refractory: int) -> LIFState:
    silent = torch.zeros_like(start.membrane)
    waiting = torch.zeros_like(silent, dtype=torch.int64) if refractory and start.waiting is None else start.waiting
    return start._replace(spikes=silent if start.spikes is None else start.spikes, waiting=waiting)


def _held(alive: Tensor | None, new: LIFState, old: LIFState) -> LIFState:
    """A sample that has ended keeps its state."""
    if alive is None:
        return new
    hidden = tuple(torch.where(alive, a, b) for a, b in zip(new.hidden, old.hidden, strict=True))
    waiting = None
    if new.waiting is not None and old.waiting is not None:
        waiting = torch.where(alive, new.waiting, old.waiting)
    return LIFState(torch.where(alive, new.membrane, old.membrane), new.spikes, hidden, waiting)


def refuse_nan(last: Tensor) -> None:
    """A NaN current stays in the membrane to the end, so that the last membrane shows any."""
    if not (torch.compiler.is_compiling() or by_reference(last)) and bool(last.detach().isnan().any()):
        fix = "Check the weights and inputs before this layer, and its learned constants."
        raise InputError("LIF", got="NaN in the current", expected="numbers", fix=fix)
