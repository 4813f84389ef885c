r"""A linear layer and its neurons in one pass: events in, events out, no current written.

The reference is ``scan_reference(linear_reference(...))``. Forward, one sample at a time, so that its membrane stays in
cache: add the weight rows of a step's events, leak, fire, reset, emit. Backward: the scan back in time and, row by row,
the gradient of the weight rows of those events; the gradient of the input only inside the support.
Above the density where events pay, a matrix product and :mod:`neurosparse.kernels.scan.cpu` do the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import block_width, differentiable_once, event_driven_pays, kernel, prange, workers
from neurosparse.kernels.event_linear import add_events, check_sizes, linear_reference
from neurosparse.kernels.input_grad import input_grad
from neurosparse.kernels.rows import values_of
from neurosparse.kernels.scan.cpu import (
    Cell,
    Emitted,
    Kept,
    backward_row,
    given_slope,
    kept_buffers,
    one_step_if_equal,
    scan_backward,
    scan_forward,
    switches,
)
from neurosparse.kernels.scan.reference import refuse_nan
from neurosparse.kernels.scan.step import RESETS, SHAPES, advance, backward_step, emit
from neurosparse.kernels.weight_grad import CHUNK, accumulate, add_scaled, from_blocks, join, most_events, to_blocks
from neurosparse.kernels.weight_grad import weight_grad as gradient_of_weight

__all__ = ["spiking_linear"]


@kernel.allocating
def _forward_loop(
    row_ptr,
    index,
    value,
    weights,
    bias,
    beta,
    threshold,
    last,
    lengths,
    code,
    membrane,
    counts,
    begins,
    stream,
    half_width,
    reset,
    delayed,
):
    """The loop of the leaky scan, with the current of one row at a time made from events."""
    _, steps, samples = counts.shape
    units, width, n_workers = bias.shape[0], weights.shape[2], stream.shape[0] // weights.shape[0]
    keeps_code, keeps_membrane = code.shape[0] > 0, membrane.shape[0] > 0
    for task in prange(stream.shape[0]):
        block, worker = task // n_workers, task % n_workers
        lo, hi = block * width, min((block + 1) * width, units)
        code_row, membrane_row = np.empty(hi - lo, np.uint8), np.empty(hi - lo, bias.dtype)
        drive, table = np.empty(hi - lo, bias.dtype), weights[block]
        decay, limit = beta[lo:hi], threshold[lo:hi]
        at = 0
        for b in range(worker, samples, n_workers):
            level = last[b, lo:hi]
            for t in range(lengths[b]):
                codes = code[t, b, lo:hi] if keeps_code else code_row
                membranes = membrane[t, b, lo:hi] if keeps_membrane else membrane_row
                r = t * samples + b
                drive[:] = bias[lo:hi]
                add_events(drive, row_ptr[r], row_ptr[r + 1], index, value, table)
                advance(level, drive, decay, limit, membranes, codes, half_width, reset, delayed)
                begins[block, t, b] = at
                at = emit(codes, stream[task], at, lo)
                counts[block, t, b] = at - begins[block, t, b]
            for t in range(lengths[b], steps):
                if keeps_code:
                    code[t, b, lo:hi] = 0
                if keeps_membrane:
                    membrane[t, b, lo:hi] = 0


@kernel.allocating
def _backward_loop(
    grad,
    row_ptr,
    index,
    value,
    slope,
    code,
    membrane,
    beta,
    threshold,
    lengths,
    reset,
    shape,
    size,
    grad_weights,
    grad_bias,
    grad_current,
    keep_current,
    chunk,
    most,
):
    """Back in time, sample by sample: gradients of bias and current; of the weights for every chunk of rows.

    Every worker sums up gradients of its own; ``grad_current`` holds all rows where they are kept, else one chunk
    for each task.
    """
    samples, (n_workers, units), width = lengths.shape[0], grad_bias.shape, grad_weights.shape[2]
    steps = (row_ptr.shape[0] - 1) // samples
    given, coded = slope.shape[0] > 0, code.shape[0] > 0
    one = grad_bias.dtype.type(1)
    moves = 1 if grad.shape[0] == steps else 0
    for task in prange(grad_weights.shape[0]):
        block, worker = task // n_workers, task % n_workers
        lo, hi = block * width, min((block + 1) * width, units)
        slope_row, code_row = np.empty(hi - lo, grad_bias.dtype), np.empty(hi - lo, np.uint8)
        carried, decay, limit = np.empty(hi - lo, grad_bias.dtype), beta[lo:hi], threshold[lo:hi]
        starts, order = np.empty(grad_weights.shape[1] + 1, np.int64), np.empty(most, np.int64)
        scales = np.empty(most if value.shape[0] > 0 else 1, grad_bias.dtype)
        rows, places, n = np.empty(chunk, np.int64), np.empty(chunk, np.int64), 0
        for b in range(worker, samples, n_workers):
            carried[:] = 0
            for back in range(lengths[b]):
                t = lengths[b] - 1 - back
                rows[n] = t * samples + b
                places[n] = rows[n] if keep_current else task * chunk + n
                row = grad_current[places[n], lo:hi]
                slopes = slope[t, b, lo:hi] if given else slope_row
                codes = code[t, b, lo:hi] if coded else code_row
                membranes = slope_row if coded else membrane[t, b, lo:hi]
                backward_row(slopes, codes, membranes, limit, shape, size, slope_row, code_row)
                backward_step(grad[t * moves, b, lo:hi], slope_row, code_row, decay, carried, row, reset)
                add_scaled(grad_bias[worker, lo:hi], row, one)
                n += 1
                if n == chunk:
                    found = (rows, places, row_ptr, index, value, starts, order, scales)
                    accumulate(grad_weights[task], grad_current, lo, *found)
                    n = 0
            if keep_current:
                for t in range(lengths[b], steps):
                    grad_current[t * samples + b, lo:hi] = 0
        left = (rows[:n], places[:n], row_ptr, index, value, starts, order, scales)
        accumulate(grad_weights[task], grad_current, lo, *left)


def _pays(weight: Tensor, row_ptr: Tensor, index: Tensor) -> bool:
    cells = (row_ptr.numel() - 1) * weight.shape[1]
    return event_driven_pays(weight, index.numel(), cells, weight.numel() * weight.element_size())


@torch.library.custom_op("neurosparse::spiking_linear", mutates_args=())
def _forward(
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    start: Tensor,
    lengths: Tensor,
    reset: str,
    delayed: bool,
    shape: str,
    size: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    cell = Cell(beta, threshold, start, lengths, reset, delayed, shape, size)
    samples, units = start.shape
    steps = (row_ptr.numel() - 1) // samples
    if not _pays(weight, row_ptr, index):
        current = linear_reference(row_ptr, index, value, weight, bias).view(steps, samples, units)
        rows, units_of_rows, kept, last = scan_forward(current, cell)
        return rows, units_of_rows, kept.code, kept.membrane, last
    emitted, kept, last = (
        Emitted(steps, samples, units),
        kept_buffers(weight, [steps, samples, units], shape),
        start.clone(),
    )
    weights = to_blocks(weight, emitted.width)
    bias = weight.new_zeros(units) if bias is None else bias.contiguous()
    parts = (weights, bias, beta, threshold, last, lengths, *kept)
    arrays = (row_ptr.numpy(), index.numpy(), values_of(value, weight), *(part.numpy() for part in parts))
    _forward_loop(*arrays, *emitted.arrays, *switches(cell, weight.dtype))
    refuse_nan(last)
    return *emitted.rows(), kept.code, kept.membrane, last


@_forward.register_fake
def _(row_ptr, index, value, weight, bias, beta, threshold, start, lengths, reset, delayed, shape, size):
    samples, units = start.shape
    size_kept = [(row_ptr.shape[0] - 1) // samples, samples, units]
    events = index.new_empty(torch.library.get_ctx().new_dynamic_size())
    return (
        row_ptr.new_empty(row_ptr.shape),
        events,
        *kept_buffers(weight, size_kept, shape),
        start.new_empty(start.shape),
    )


@torch.library.custom_op("neurosparse::spiking_linear_grad", mutates_args=())
def _grad(
    grad: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    slope: Tensor,
    code: Tensor,
    membrane: Tensor,
    beta: Tensor,
    threshold: Tensor,
    lengths: Tensor,
    reset: str,
    shape: str,
    size: Tensor,
    keep_current: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of weight and bias, and of the current ``(rows, out)`` where it is kept."""
    units, n_in = weight.shape
    if not _pays(weight, row_ptr, index):
        cell = Cell(beta, threshold, beta, lengths, reset, False, shape, size)
        current = scan_backward(grad, slope, Kept(code, membrane), cell).flatten(0, 1)
        return gradient_of_weight(row_ptr, index, value, current, n_in), current.sum(0), current
    width, n_workers = block_width(units), workers()
    blocks = -(-units // width)
    weights = weight.new_zeros(blocks * n_workers, n_in, width)
    bias = weight.new_zeros(n_workers, units)
    rows = row_ptr.numel() - 1 if keep_current else len(weights) * CHUNK
    current = weight.new_empty(rows, blocks * width)  # the last block writes past the units it has
    events = (row_ptr.numpy(), index.numpy(), values_of(value, weight))
    kept = (part.numpy() for part in (slope, code, membrane, beta, threshold, lengths))
    numbers = (RESETS.index(reset), SHAPES.index(shape), float(size))
    results = (weights.numpy(), bias.numpy(), current.numpy(), keep_current, CHUNK, most_events(row_ptr))
    _backward_loop(one_step_if_equal(grad).numpy(), *events, *kept, *numbers, *results)
    current = current[:, :units].contiguous() if keep_current else current[:0]
    return from_blocks(join(weights, n_workers), units), join(bias, n_workers)[0], current


@_grad.register_fake
def _(grad, row_ptr, index, value, weight, slope, code, membrane, beta, threshold, lengths, *rest):
    rows = row_ptr.shape[0] - 1 if rest[-1] else 0
    return weight.new_empty(weight.shape), weight.new_empty(weight.shape[0]), weight.new_empty(rows, weight.shape[0])


differentiable_once(_grad)


@torch.library.custom_op("neurosparse::spiking_linear_carrier", mutates_args=())
def _carrier(
    carrier: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    support: Tensor | None,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    slope: Tensor,
    code: Tensor,
    membrane: Tensor,
    beta: Tensor,
    threshold: Tensor,
    lengths: Tensor,
    reset: str,
    shape: str,
    size: Tensor,
) -> Tensor:
    """One zero, expanded to the shape of the dense spikes: a place in the graph that stores nothing."""
    samples = lengths.numel()
    return weight.new_zeros(()).expand((row_ptr.numel() - 1) // samples, samples, weight.shape[0])


@_carrier.register_fake
def _(carrier, weight, bias, support, row_ptr, index, value, slope, code, membrane, beta, threshold, lengths, *_):
    samples = lengths.shape[0]
    return weight.new_zeros(()).expand((row_ptr.shape[0] - 1) // samples, samples, weight.shape[0])


def _setup(ctx, inputs, output):
    carrier, weight, _, support, *saved, reset, shape, size = inputs
    ctx.carrier_shape, ctx.kind = carrier.shape, (reset, shape)
    ctx.save_for_backward(weight, support, size, *saved)


def _backward(ctx, grad):
    weight, support, size, row_ptr, index, value, *kept = ctx.saved_tensors
    to_carrier, to_weight, to_bias, *_ = ctx.needs_input_grad
    parts = (grad, row_ptr, index, value, weight, *kept, *ctx.kind, size, to_carrier)
    grad_weight, grad_bias, current = _grad(*parts)
    grad_carrier = None
    if to_carrier:
        rows = None if support is None else support.flatten(0, 1)
        grad_carrier = input_grad(current, weight, rows).view(ctx.carrier_shape)
    return grad_carrier, grad_weight if to_weight else None, grad_bias if to_bias else None, *[None] * 13


_carrier.register_autograd(_backward, setup_context=_setup)


def spiking_linear(
    carrier: Tensor,
    events: tuple[Tensor, Tensor, Tensor | None],
    support: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    cell: Cell,
    derivative: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor | None]:
    """Events through a linear layer and its neurons.

    Args:
        carrier: stands for the dense input in the graph; its values are never read.
        events: ``(row_ptr, index, value or None)`` of the input.
        support: codes ``(steps, samples, in)`` of where the gradient of the input is of use; None: everywhere.
        weight, bias: ``(out, in)`` and ``(out)`` or None.
        cell, derivative: the neurons, as in :func:`neurosparse.kernels.scan.cpu.leaky_scan`.

    Returns:
        what :func:`neurosparse.kernels.scan.cpu.leaky_scan` returns.
    """
    check_sizes(carrier, events[0], weight)
    fixed = weight.detach(), None if bias is None else bias.detach()
    row_ptr, index, code, membrane, last = _forward(*events, *fixed, *cell)
    if not (torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in (carrier, weight, bias))):
        return row_ptr, index, None, last, None
    kept = (given_slope(membrane, cell, derivative), code, membrane, cell.beta, cell.threshold, cell.lengths)
    out = _carrier(carrier, weight, bias, support, *events, *kept, cell.reset, cell.shape, cell.size)
    return row_ptr, index, out, last, code if cell.shape == "boxcar" else None
