r"""The leaky scan on a GPU: one Triton kernel forward, one back; the only file that imports Triton.

The reference is `neurosparse.kernels.scan.reference.scan_reference`. Each program steps through time for a few units of
a few samples. A GPU multiplies faster than it gathers, so the spikes are dense, for the dense product of the layer
after. ``AHEAD`` steps are loaded before the first of them is used: steps are sequential, loads need not be.
"""

# What runs inside a kernel is Triton's language, not Python: a type checker does not know its types.
# pyright: reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportGeneralTypeIssues=false

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.scan.cpu import Cell, given_slope
from neurosparse.kernels.scan.reference import refuse_nan
from neurosparse.kernels.scan.step import RESETS, SHAPES

__all__ = ["leaky_scan_dense"]

AHEAD = 16
MOST_CELLS = 128  # units of a program; fewer where there would be too few programs to fill the machine
PROGRAMS = 512
# Triton forms fused multiply-adds by default; they round differently and would flip spikes against the reference.
EXACT = {"enable_fp_fusion": False}


@triton.jit
def _load_ahead(source, first, steps, stride, cell, inside, BACK: tl.constexpr, AHEAD: tl.constexpr):
    """Values of the next steps, in the order of walking: ``first, first + 1, ...`` or, back in time, downwards."""
    values = ()
    for k in tl.static_range(AHEAD):
        at = (first - k if BACK else first + k) * stride + cell
        known = inside & (at >= 0 if BACK else at < steps * stride)
        values = values + (tl.load(source + at, mask=known, other=0),)  # noqa: RUF005
    return values


@triton.jit
def _forward(
    current, beta, threshold, start, lengths, size, spikes, code, membrane, last,
    steps, cells: tl.int64, units,
    RESET: tl.constexpr, DELAYED: tl.constexpr, KEEP: tl.constexpr, RAGGED: tl.constexpr,
    BLOCK: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """``KEEP`` nothing (0), codes (1) or membranes (2)."""
    cell = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < cells
    unit = cell % units
    decay = tl.load(beta + unit, mask=inside, other=0)
    limit = tl.load(threshold + unit, mask=inside, other=1)
    carried = tl.load(start + cell, mask=inside, other=0)
    half_width = (tl.load(size) / 2).to(decay.dtype)
    alive = inside
    if RAGGED:
        length = tl.load(lengths + cell // units, mask=inside, other=0)
    drives = _load_ahead(current, 0, steps, cells, cell, inside, False, AHEAD)
    for first in range(0, steps, AHEAD):
        upcoming = _load_ahead(current, first + AHEAD, steps, cells, cell, inside, False, AHEAD)
        for k in tl.static_range(AHEAD):
            t = first + k
            at = t * cells + cell
            known = inside & (at < steps * cells)
            alive = known & (t < length) if RAGGED else known
            u = decay * carried + drives[k]
            if DELAYED:
                due = carried > limit
                if RESET == 0:
                    u = tl.where(due, u - limit, u)
                elif RESET == 1:
                    u = tl.where(due, 0.0, u)
            distance = u - limit
            fired = alive & (distance > 0)
            tl.store(spikes + at, fired.to(spikes.dtype.element_ty), mask=known)
            if KEEP == 1:
                near = alive & (tl.abs(distance) < half_width)
                tl.store(code + at, (fired.to(tl.uint8) * 2 + near.to(tl.uint8)).to(tl.uint8), mask=known)
            elif KEEP == 2:
                tl.store(membrane + at, tl.where(alive, u, 0.0), mask=known)
            if not DELAYED:
                if RESET == 0:
                    u = tl.where(fired, distance, u)
                elif RESET == 1:
                    u = tl.where(fired, 0.0, u)
            carried = tl.where(alive, u, carried)
        drives = upcoming
    tl.store(last + cell, carried, mask=inside)


@triton.jit
def _slope_of(distance, size, SHAPE: tl.constexpr):
    """A surrogate's slope from the distance to threshold; ``size`` in float64."""
    own = size.to(distance.dtype)
    if SHAPE == 2:
        height = 1.0 - tl.abs(distance) / own
        slope = tl.where(height > 0, height, 0.0) / own
    elif SHAPE == 3:
        x = (1.5707963267948966 * size).to(distance.dtype) * distance
        slope = (size / 2).to(distance.dtype) / (1.0 + x * x)
    else:
        x = 1.0 + own * tl.abs(distance)
        slope = 1.0 / (x * x)
    return slope


@triton.jit
def _backward(
    grad, grad_stride: tl.int64, slope, keeps, beta, threshold, lengths, size, out,
    steps, cells: tl.int64, units,
    SHAPE: tl.constexpr, RESET: tl.constexpr, RAGGED: tl.constexpr,
    BLOCK: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """``keeps``: codes of a boxcar, membranes of any other surrogate."""
    cell = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < cells
    unit = cell % units
    decay = tl.load(beta + unit, mask=inside, other=0)
    limit = tl.load(threshold + unit, mask=inside, other=1)
    if RAGGED:
        length = tl.load(lengths + cell // units, mask=inside, other=0)
    extent = tl.load(size)
    carried = decay * 0
    grads = _load_ahead(grad, steps - 1, steps, grad_stride, cell, inside, True, AHEAD)
    kept = _load_ahead(keeps, steps - 1, steps, cells, cell, inside, True, AHEAD)
    for past in range(0, steps, AHEAD):
        first = steps - 1 - past
        grads_then = _load_ahead(grad, first - AHEAD, steps, grad_stride, cell, inside, True, AHEAD)
        kept_then = _load_ahead(keeps, first - AHEAD, steps, cells, cell, inside, True, AHEAD)
        if SHAPE == 0:
            slopes = _load_ahead(slope, first, steps, cells, cell, inside, True, AHEAD)
        for k in tl.static_range(AHEAD):
            t = first - k
            at = t * cells + cell
            known = inside & (at >= 0)
            if SHAPE == 1:
                fired = (kept[k] & 2) != 0
                rise = tl.where((kept[k] & 1) != 0, (1.0 / extent).to(decay.dtype), 0.0)
            else:
                fired = kept[k] > limit
                rise = slopes[k] if SHAPE == 0 else _slope_of(kept[k] - limit, extent, SHAPE)
            later = tl.where(fired, 0.0, carried) if RESET == 1 else carried
            found = grads[k] * rise + later
            if RAGGED:
                found = tl.where(t < length, found, 0.0)
            tl.store(out + at, found, mask=known)
            later = decay * found
            carried = tl.where(known, tl.where(tl.abs(later) > 1e-35, later, 0.0), carried)
        grads, kept = grads_then, kept_then


def _grid(cells: int) -> tuple[tuple[int], dict[str, Any]]:
    """Programs, and how each is built: enough of them to keep every multiprocessor busy."""
    block = MOST_CELLS
    while block > 32 and cells < block * PROGRAMS:
        block //= 2
    return (max(triton.cdiv(cells, block), 1),), {"BLOCK": block, "AHEAD": AHEAD, "num_warps": block // 32, **EXACT}


def _kept_buffers(current: Tensor, keep: bool, shape: str) -> tuple[Tensor, Tensor]:
    """Empty tensors for codes (boxcar) or membranes (any other), where backward needs them."""
    full, none = list(current.shape), [0, 0, 0]
    code = current.new_empty(full if keep and shape == "boxcar" else none, dtype=torch.uint8)
    return code, current.new_empty(full if keep and shape != "boxcar" else none)


@torch_operator("leaky_scan_dense")
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
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    current, start = current.contiguous(), start.contiguous()
    steps, samples, units = current.shape
    spikes, last, (code, membrane) = (
        torch.empty_like(current),
        torch.empty_like(start),
        _kept_buffers(current, keep, shape),
    )
    kept = 0 if not keep else 1 if shape == "boxcar" else 2
    grid, options = _grid(samples * units)
    parts = (current, beta, threshold, start, lengths, size, spikes, code, membrane, last)
    switches = {"RESET": RESETS.index(reset), "DELAYED": delayed, "KEEP": kept, "RAGGED": len(lengths) > 0}
    if samples * units:
        _forward[grid](*parts, steps, samples * units, units, **switches, **options)
    return spikes, code, membrane, last


@_scan.register_meta
def _(current, beta, threshold, start, lengths, reset, delayed, shape, size, keep):
    return torch.empty_like(current), *_kept_buffers(current, keep, shape), torch.empty_like(start)


@torch_operator("leaky_scan_dense_grad")
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
    steps, samples, units = grad.shape
    still = grad.stride(0) == 0  # a gradient that is the same memory at every step (of counts, of a mean)
    grad = (grad[:1] if still else grad).contiguous()
    out, cells = grad.new_empty(steps, samples, units), samples * units
    grid, options = _grid(cells)
    kept = code if shape == "boxcar" else membrane
    parts = (grad, 0 if still else cells, slope.contiguous(), kept, beta, threshold, lengths, size, out)
    switches = {"SHAPE": SHAPES.index(shape), "RESET": RESETS.index(reset), "RAGGED": len(lengths) > 0}
    if cells:
        _backward[grid](*parts, steps, cells, units, **switches, **options)
    return out


@_scan_grad.register_meta
def _(grad, slope, code, membrane, beta, threshold, lengths, reset, shape, size):
    return grad.new_empty(grad.shape)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, current: Tensor, cell: Cell, derivative) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        keep = ctx.needs_input_grad[0]
        spikes, code, membrane, last = _scan(current, *cell[:8], keep)
        if keep:
            ctx.save_for_backward(code, membrane, cell.beta, cell.threshold, cell.lengths, cell.size)
            ctx.cell, ctx.derivative = cell, derivative
        ctx.mark_non_differentiable(last)
        return spikes, last

    @staticmethod
    def backward(ctx, grad: Tensor, _) -> tuple[Tensor, None, None]:  # type: ignore[override]
        code, membrane, *constants, size = ctx.saved_tensors
        slope = given_slope(membrane, ctx.cell, ctx.derivative)
        kind = ctx.cell.reset, ctx.cell.shape, size
        return _scan_grad(grad, slope, code, membrane, *constants, *kind), None, None


def leaky_scan_dense(current: Tensor, cell: Cell, derivative) -> tuple[Tensor, Tensor]:
    """The fused scan of ``current`` ``(steps, samples, units)`` where Triton runs.

    Args:
        current: input current, float32 or float64.
        cell: the neurons; no lengths mean that every sample is whole. Beta and threshold are not trained here.
        derivative: the surrogate's, of the distance to threshold; called only where ``cell.shape`` is "given".

    Returns:
        Dense spikes, through which gradients flow to the current, and the last membrane.
    """
    if cell.size.device != current.device:  # made there: a copy would wait for the GPU
        cell = cell._replace(size=torch.full((), float(cell.size), dtype=torch.float64, device=current.device))
    spikes, last = _Scan.apply(current, cell, derivative)
    # Nothing may wait for a value while a compiler traces or a CUDA graph is captured.
    if not (torch.compiler.is_compiling() or (last.is_cuda and torch.cuda.is_current_stream_capturing())):
        refuse_nan(last)
    return spikes, last
