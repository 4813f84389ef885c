r"""The leaky scan over time: membranes, spikes and resets of a whole sequence at once.

``u[t] = beta v[t-1] + I[t];  s[t] = [u[t] > threshold];  v[t] = u[t] - threshold s[t]`` (subtract),
``u[t] (1 - s[t])`` (zero) or ``u[t]`` (none). The gradient of a spike is the surrogate's derivative; the reset is a
constant for the gradient.

:func:`scan_reference` is the law; :func:`leaky_scan` is the fused form, which emits the events itself (nobody
searches a dense tensor for spikes) and a gradient carrier that stands for the dense spikes in the graph.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.kernels.dispatch import kernel, prange, workers

__all__ = ["RESETS", "leaky_scan", "refuse_nan", "scan_reference"]

RESETS = ("subtract", "zero", "none")


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, distance: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.derivative = derivative
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (distance,) = ctx.saved_tensors
        return grad * ctx.derivative(distance), None


def scan_reference(
    current: Tensor,
    beta: Tensor,
    threshold: Tensor,
    start: Tensor,
    reset: str,
    derivative: Callable[[Tensor], Tensor],
    *,
    lengths: Tensor | None = None,
    recurrent: Callable[[Tensor], Tensor] | None = None,
    start_spikes: Tensor | None = None,
    spike: Callable[[Tensor, Callable], Tensor] = _Spike.apply,
) -> tuple[Tensor, Tensor, Tensor]:
    """The law: spikes and membranes before reset ``(steps, samples, units)``, and the last membrane after reset.

    ``lengths`` has the axes of samples and units but the last; ``spike`` is the step with its surrogate.
    """
    after, spikes, membranes = start, [], []
    sent = torch.zeros_like(start) if start_spikes is None else start_spikes
    for step, drive in enumerate(current.unbind(0)):
        if recurrent is not None:
            drive = drive + recurrent(sent)
        before = beta * after + drive
        sent = spike(before - threshold, derivative)
        alive = None if lengths is None else (step < lengths).unsqueeze(-1)
        if alive is not None:
            sent = torch.where(alive, sent, torch.zeros_like(sent))
        fired = sent.detach() > 0
        if reset == "none":
            moved = before
        else:
            moved = torch.where(fired, before - threshold if reset == "subtract" else torch.zeros_like(before), before)
        after = moved if alive is None else torch.where(alive, moved, after)
        spikes.append(sent)
        membranes.append(before if alive is None else torch.where(alive, before, torch.zeros_like(before)))
    if not spikes:
        return torch.zeros_like(current), torch.zeros_like(current), after
    return torch.stack(spikes), torch.stack(membranes), after


def refuse_nan(last: Tensor) -> None:
    """A NaN current stays in the membrane to the end, so the last membrane tells of any."""
    if not torch.compiler.is_compiling() and bool(last.detach().isnan().any()):
        fix = "Check the weights and inputs before this layer."
        raise InputError("LIF", got="NaN in the current", expected="numbers", fix=fix)


@kernel
def _step(after, drive, beta, threshold, before, subtract, zero):
    """Leak, integrate, fire and reset all units of one sample; returns how many fired."""
    fired, rest = 0, after.dtype.type(0)
    for k in range(after.shape[0]):
        u = beta[k] * after[k] + drive[k]
        spiked = u > threshold[k]
        before[k] = u
        fired += spiked
        if subtract:
            u = u - threshold[k] if spiked else u
        elif zero:
            u = rest if spiked else u
        after[k] = u
    return fired


@kernel
def _forward_loop(current, beta, threshold, last, membrane, counts, lengths, subtract, zero, n_workers):
    steps, samples, _ = current.shape
    for worker in prange(n_workers):
        for b in range(worker, samples, n_workers):
            for t in range(lengths[b]):
                counts[t, b] = _step(last[b], current[t, b], beta, threshold, membrane[t, b], subtract, zero)
            for t in range(lengths[b], steps):
                membrane[t, b] = 0


@kernel
def _emit_loop(membrane, threshold, row_ptr, index, n_workers):
    """Write the units above threshold of every row that has any."""
    for worker in prange(n_workers):
        for r in range(worker, membrane.shape[0], n_workers):
            at, end, row = row_ptr[r], row_ptr[r + 1], membrane[r]
            k = 0
            while at < end:
                index[at] = k
                at += row[k] > threshold[k]  # branch-free: a wrong guess is overwritten by the next unit
                k += 1


@kernel
def _grad_step(grad_after, grad_spikes, slope, beta, before, threshold, zero, out):
    for k in range(out.shape[0]):
        carried = grad_after[k]
        if zero:
            carried = carried * 0 if before[k] > threshold[k] else carried
        g = grad_spikes[k] * slope[k] + carried
        out[k] = g
        grad_after[k] = beta[k] * g


@kernel
def _backward_loop(grad, slope, beta, membrane, threshold, lengths, zero, grad_after, out, n_workers):
    steps, samples, _ = grad.shape
    for worker in prange(n_workers):
        for b in range(worker, samples, n_workers):
            for t in range(lengths[b], steps):
                out[t, b] = 0
            for back in range(lengths[b]):
                t = lengths[b] - 1 - back
                _grad_step(grad_after[b], grad[t, b], slope[t, b], beta, membrane[t, b], threshold, zero, out[t, b])


@torch.library.custom_op("neurosparse::leaky_scan", mutates_args=())
def _scan(
    current: Tensor, beta: Tensor, threshold: Tensor, start: Tensor, lengths: Tensor, reset: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    steps, samples, units = current.shape
    current, last, membrane = current.contiguous(), start.clone().contiguous(), torch.empty_like(current).contiguous()
    counts = torch.zeros(steps, samples, dtype=torch.int64)
    state = (last.numpy(), membrane.numpy(), counts.numpy(), lengths.numpy())
    _forward_loop(
        current.numpy(), beta.numpy(), threshold.numpy(), *state, reset == "subtract", reset == "zero", workers()
    )
    refuse_nan(last)
    row_ptr = torch.cat([counts.new_zeros(1), counts.flatten().cumsum(0)])
    index = torch.empty(int(row_ptr[-1]), dtype=torch.int32)
    rows = membrane.view(steps * samples, units)
    _emit_loop(rows.numpy(), threshold.numpy(), row_ptr.numpy(), index.numpy(), workers())
    return row_ptr, index, membrane, last


@_scan.register_fake
def _(current, beta, threshold, start, lengths, reset):
    steps, samples, _ = current.shape
    n_events = torch.library.get_ctx().new_dynamic_size()
    row_ptr = current.new_empty(steps * samples + 1, dtype=torch.int64)
    membrane = current.new_empty(current.shape)
    return row_ptr, current.new_empty(n_events, dtype=torch.int32), membrane, start.new_empty(start.shape)


@torch.library.custom_op("neurosparse::leaky_scan_grad", mutates_args=())
def _scan_grad(
    grad: Tensor, slope: Tensor, beta: Tensor, membrane: Tensor, threshold: Tensor, lengths: Tensor, zero: bool
) -> Tensor:
    grad, out = grad.contiguous(), torch.empty_like(membrane)
    grad_after = torch.zeros_like(membrane[0])
    arrays = (grad, slope.contiguous(), beta, membrane, threshold, lengths)
    _backward_loop(*(a.numpy() for a in arrays), zero, grad_after.numpy(), out.numpy(), workers())
    return out


@_scan_grad.register_fake
def _(grad, slope, beta, membrane, threshold, lengths, zero):
    return torch.empty_like(membrane)


@torch.library.custom_op("neurosparse::spike_carrier", mutates_args=())
def _carrier(
    current: Tensor, slope: Tensor, beta: Tensor, membrane: Tensor, threshold: Tensor, lengths: Tensor, zero: bool
) -> Tensor:
    """One zero, expanded to the shape of the dense spikes: a place in the graph that stores nothing."""
    return current.new_zeros(()).expand(current.shape)


@_carrier.register_fake
def _(current, slope, beta, membrane, threshold, lengths, zero):
    return current.new_zeros(()).expand(current.shape)


def _setup(ctx, inputs, output):
    _, *saved, ctx.zero = inputs
    ctx.save_for_backward(*saved)


def _backward(ctx, grad):
    return _scan_grad(grad, *ctx.saved_tensors, ctx.zero), None, None, None, None, None, None


_carrier.register_autograd(_backward, setup_context=_setup)


def leaky_scan(
    current: Tensor,
    beta: Tensor,
    threshold: Tensor,
    start: Tensor,
    reset: str,
    derivative: Callable[[Tensor], Tensor],
    lengths: Tensor,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """The fused scan: ``(row_ptr, index, carrier, last membrane)``; the carrier is None where no gradient is asked for.

    Args:
        current: ``(steps, samples, units)`` on the CPU.
        beta, threshold: ``(units)``, not trained here.
        start: ``(samples, units)``, membrane after the last reset.
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        derivative: the surrogate, a function of the distance to threshold.
        lengths: int64 ``(samples)``, steps that are data.
    """
    fixed = (beta.detach(), threshold.detach(), start.detach(), lengths, reset)
    row_ptr, index, membrane, last = _scan(current.detach(), *fixed)
    if not (current.requires_grad and torch.is_grad_enabled()):
        return row_ptr, index, None, last
    slope = derivative(membrane - threshold.detach())
    carrier = _carrier(current, slope, fixed[0], membrane, fixed[1], lengths, reset == "zero")
    return row_ptr, index, carrier, last
