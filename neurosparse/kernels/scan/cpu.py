r"""The leaky scan over a dense current: one pass over time forward, one back.

The reference is `neurosparse.kernels.scan.reference.scan_reference`. The fused form emits the events itself (without a
search through a dense tensor) and a gradient carrier that stands for the dense spikes in the graph. Of every step it
keeps what backward needs: a byte per unit for a boxcar surrogate, the membrane for any other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import block_width, differentiable_once, kernel, prange, workers
from neurosparse.kernels.rows import copy_row
from neurosparse.kernels.scan.reference import refuse_nan
from neurosparse.kernels.scan.step import RESETS, SHAPES, advance, backward_step, decode, emit, read_slope

__all__ = ["Cell", "Kept", "leaky_scan", "scan_backward", "scan_forward"]


class Cell(NamedTuple):
    """A layer of neurons, as arguments of the kernels.

    ``beta`` and ``threshold`` ``(units)``; ``start``, the carried membrane ``(samples, units)``; ``lengths`` int64
    ``(samples)``; ``reset`` and ``delayed`` as in the reference; the surrogate's ``shape`` (one of ``SHAPES``) and
    ``size``, float64 without axes: a tensor, since reading its value would wait for a GPU.
    """

    beta: Tensor
    threshold: Tensor
    start: Tensor
    lengths: Tensor
    reset: str
    delayed: bool
    shape: str
    size: Tensor


class Kept(NamedTuple):
    """What backward needs ``(steps, samples, units)``: codes (boxcar) or membranes; the other is empty."""

    code: Tensor
    membrane: Tensor


@kernel.allocating
def _forward_loop(
    current, beta, threshold, last, lengths, code, membrane, counts, begins, stream, half_width, reset, delayed, width
):
    """Scan every block of units for every worker's samples; events of row (t, b) of a block go to its task's stream,
    ``counts[block, t, b]`` of them from ``begins[block, t, b]`` on.
    """
    steps, samples, units = current.shape
    n_workers = stream.shape[0] // counts.shape[0]
    keeps_code, keeps_membrane = code.shape[0] > 0, membrane.shape[0] > 0
    for task in prange(stream.shape[0]):
        block, worker = task // n_workers, task % n_workers
        lo, hi = block * width, min((block + 1) * width, units)
        code_row, membrane_row = np.empty(hi - lo, np.uint8), np.empty(hi - lo, current.dtype)
        decay, limit = beta[lo:hi], threshold[lo:hi]
        at = 0
        for b in range(worker, samples, n_workers):
            level = last[b, lo:hi]
            for t in range(lengths[b]):
                codes = code[t, b, lo:hi] if keeps_code else code_row
                membranes = membrane[t, b, lo:hi] if keeps_membrane else membrane_row
                advance(level, current[t, b, lo:hi], decay, limit, membranes, codes, half_width, reset, delayed)
                begins[block, t, b] = at
                at = emit(codes, stream[task], at, lo)
                counts[block, t, b] = at - begins[block, t, b]
            for t in range(lengths[b], steps):
                if keeps_code:
                    code[t, b, lo:hi] = 0
                if keeps_membrane:
                    membrane[t, b, lo:hi] = 0


@kernel
def _collect_loop(row_ptr, counts, begins, stream, index, samples):
    """Copy the events from the order of computation into the order of rows."""
    n_workers = stream.shape[0] // counts.shape[0]
    for worker in prange(n_workers):
        for r in range(worker, row_ptr.shape[0] - 1, n_workers):
            at = row_ptr[r]
            for block in range(counts.shape[0]):
                source, begin = stream[block * n_workers + (r % samples) % n_workers], begins[block, r]
                for e in range(counts[block, r]):
                    index[at] = source[begin + e]
                    at += 1


class Emitted:
    """Buffers for the events of a scan, whose number is unknown; memory that is not written costs nothing."""

    def __init__(self, steps: int, samples: int, units: int):
        self.width = block_width(units)
        blocks = max(-(-units // self.width), 1)  # without units one empty block
        self.counts, self.begins = (torch.zeros(blocks, steps, samples, dtype=torch.int64) for _ in range(2))
        most = steps * -(-samples // workers()) * self.width + 1
        self.stream = torch.empty(blocks * workers(), most, dtype=torch.int32)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.counts.numpy(), self.begins.numpy(), self.stream.numpy()

    def rows(self) -> tuple[Tensor, Tensor]:
        """``(row_ptr, index)`` in the order of rows."""
        row_ptr = torch.cat([self.counts.new_zeros(1), self.counts.sum(0).flatten().cumsum(0)])
        index = torch.empty(int(row_ptr[-1]), dtype=torch.int32)
        found = (self.counts.flatten(1), self.begins.flatten(1), self.stream, index)
        _collect_loop(row_ptr.numpy(), *(part.numpy() for part in found), self.counts.shape[2])
        return row_ptr, index


def kept_buffers(like: Tensor, shape: list[int], surrogate: str) -> Kept:
    """Empty tensors for what backward needs."""
    code = torch.empty(shape if surrogate == "boxcar" else [0, 0, 0], dtype=torch.uint8)
    return Kept(code, like.new_empty([0, 0, 0] if surrogate == "boxcar" else shape))


def scan_forward(current: Tensor, cell: Cell) -> tuple[Tensor, Tensor, Kept, Tensor]:
    """``(row_ptr, index, kept, last membrane)`` of a dense current."""
    emitted, kept = Emitted(*current.shape), kept_buffers(current, list(current.shape), cell.shape)
    last = cell.start.clone().contiguous()
    state = (cell.beta.numpy(), cell.threshold.numpy(), last.numpy(), cell.lengths.numpy())
    arrays = (current.contiguous().numpy(), *state, kept.code.numpy(), kept.membrane.numpy(), *emitted.arrays)
    _forward_loop(*arrays, *switches(cell, current.dtype), emitted.width)
    refuse_nan(last)
    return *emitted.rows(), kept, last


def switches(cell: Cell, dtype: torch.dtype) -> tuple[np.floating, int, bool]:
    """Half the width of a boxcar, the reset's number and its timing."""
    kind = np.float32 if dtype == torch.float32 else np.float64
    return kind(float(cell.size) / 2 if cell.shape == "boxcar" else 0), RESETS.index(cell.reset), cell.delayed


@kernel
def backward_row(slope, code, membrane, threshold, shape, size, slope_row, code_row):
    """Slope and code of one step of a block of one sample's units, from whatever was kept."""
    if shape == 1:
        read_slope(code, slope_row.dtype.type(1 / size), slope_row)
        copy_row(code_row, code)
    else:
        decode(membrane, threshold, shape, size, slope_row, code_row)
        if shape == 0:
            copy_row(slope_row, slope)


@kernel.allocating
def _backward_loop(grad, slope, code, membrane, beta, threshold, lengths, reset, shape, size, out, width, n_workers):
    steps, samples, units = out.shape
    moves = 1 if grad.shape[0] == steps else 0  # one step of gradients may stand for all
    given, coded = 1 if slope.shape[0] else 0, 1 if code.shape[0] else 0
    for task in prange((units + width - 1) // width * n_workers):
        block, worker = task // n_workers, task % n_workers
        lo, hi = block * width, min((block + 1) * width, units)
        slope_row, code_row = np.empty(hi - lo, out.dtype), np.empty(hi - lo, np.uint8)
        carried, decay, limit = np.empty(hi - lo, out.dtype), beta[lo:hi], threshold[lo:hi]
        for b in range(worker, samples, n_workers):
            carried[:] = 0
            for t in range(lengths[b], steps):
                out[t, b, lo:hi] = 0
            for back in range(lengths[b]):
                t = lengths[b] - 1 - back
                slopes = slope[t, b, lo:hi] if given else slope_row
                codes = code[t, b, lo:hi] if coded else code_row
                membranes = slope_row if coded else membrane[t, b, lo:hi]
                backward_row(slopes, codes, membranes, limit, shape, size, slope_row, code_row)
                backward_step(grad[t * moves, b, lo:hi], slope_row, code_row, decay, carried, out[t, b, lo:hi], reset)


def one_step_if_equal(grad: Tensor) -> Tensor:
    """Gradients that are the same memory at every step (of counts, of a mean) shrink to one step."""
    return (grad[:1] if grad.stride(0) == 0 else grad).contiguous()


def scan_backward(grad: Tensor, slope: Tensor, kept: Kept, cell: Cell) -> Tensor:
    """The gradient of the current from that of the spikes."""
    out = grad.new_empty(grad.shape)
    parts = (one_step_if_equal(grad), slope, *kept, cell.beta, cell.threshold, cell.lengths)
    numbers = (RESETS.index(cell.reset), SHAPES.index(cell.shape), float(cell.size))
    _backward_loop(*(part.numpy() for part in parts), *numbers, out.numpy(), block_width(out.shape[2]), workers())
    return out


@torch.library.custom_op("neurosparse::leaky_scan", mutates_args=())
def _scan(
    current: Tensor,
    beta: Tensor,
    threshold: Tensor,
    start: Tensor,
    lengths: Tensor,
    reset: str,
    delayed: bool,
    shape: str,
    size: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    row_ptr, index, kept, last = scan_forward(
        current, Cell(beta, threshold, start, lengths, reset, delayed, shape, size)
    )
    return row_ptr, index, kept.code, kept.membrane, last


@_scan.register_fake
def _(current, beta, threshold, start, lengths, reset, delayed, shape, size):
    steps, samples, _ = current.shape
    row_ptr = current.new_empty(steps * samples + 1, dtype=torch.int64)
    index = current.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int32)
    return row_ptr, index, *kept_buffers(current, list(current.shape), shape), start.new_empty(start.shape)


@torch.library.custom_op("neurosparse::leaky_scan_grad", mutates_args=())
def _scan_grad(
    grad: Tensor,
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
    cell = Cell(beta, threshold, beta, lengths, reset, False, shape, size)
    return scan_backward(grad, slope, Kept(code, membrane), cell)


@_scan_grad.register_fake
def _(grad, slope, code, membrane, beta, threshold, lengths, reset, shape, size):
    return grad.new_empty(grad.shape)


differentiable_once(_scan_grad)


@torch.library.custom_op("neurosparse::spike_carrier", mutates_args=())
def _carrier(
    current: Tensor,
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
    return current.new_zeros(()).expand(current.shape)


@_carrier.register_fake
def _(current, slope, code, membrane, beta, threshold, lengths, reset, shape, size):
    return current.new_zeros(()).expand(current.shape)


def _setup(ctx, inputs, output):
    _, *saved, reset, shape, size = inputs
    ctx.kind = reset, shape
    ctx.save_for_backward(*saved, size)


def _backward(ctx, grad):
    *saved, size = ctx.saved_tensors
    return _scan_grad(grad, *saved, *ctx.kind, size), *[None] * 9


_carrier.register_autograd(_backward, setup_context=_setup)


def leaky_scan(current: Tensor, cell: Cell, derivative) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor | None]:
    """The fused scan of ``current`` ``(steps, samples, units)`` on the CPU.

    Args:
        current: input current.
        cell: the neurons; beta and threshold are not trained here.
        derivative: the surrogate's, of the distance to threshold; called only where ``cell.shape`` is "given".

    Returns:
        ``(row_ptr, index, carrier, last membrane, support)``. The carrier is None where no gradient is required;
        the support, codes ``(steps, samples, units)``, is known of a boxcar only.
    """
    row_ptr, index, code, membrane, last = _scan(current.detach(), *cell)
    if not (current.requires_grad and torch.is_grad_enabled()):
        return row_ptr, index, None, last, None
    slope = given_slope(membrane, cell, derivative)
    fixed = (slope, code, membrane, cell.beta, cell.threshold, cell.lengths)
    carrier = _carrier(current, *fixed, cell.reset, cell.shape, cell.size)
    return row_ptr, index, carrier, last, code if cell.shape == "boxcar" else None


def given_slope(membrane: Tensor, cell: Cell, derivative) -> Tensor:
    """The slope of a surrogate that is a Python function; empty for those that the kernels compute."""
    if cell.shape != "given":
        return membrane.new_empty(0, 0, 0)
    return derivative(membrane - cell.threshold)
