"""Event-driven convolution: each event adds its taps of the kernel to the outputs within its reach.

The reference is ``torch.nn.functional.conv2d`` on the dense rows. Rows are images ``(channels, height, width)``. Inside
the kernels an image of outputs or of gradients has its channels last, so that the taps of one row of the kernel and all
output channels are one contiguous run of numbers, both of weights and of outputs:

* forward, a run of weights is added to a run of outputs for every event and row of the kernel;
* weight gradient, a run of gradients is added to a run of weights;
* input gradient, the dot product of both, only at inputs inside the support of the surrogate.

The rows of the kernel are the outer loop, so that their weights stay in cache. Dilated and grouped convolutions, and
those above the density where events pay, are torch's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.kernels.conv_loops import backward_loop, forward_loop
from neurosparse.kernels.dispatch import event_driven_pays, workers
from neurosparse.kernels.input_grad import count_inside
from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.rows import scatter_rows, values_of

__all__ = ["conv2d_reference", "event_conv2d"]

# Densities up to which kernels are used, over those of a linear layer; a little below the crossovers measured on one
# machine for 1 to 256 channels.
FORWARD, WEIGHT, INPUT = 2.0, 1.8, 2.0


def conv2d_reference(
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    image: list[int],
    weight: Tensor,
    bias: Tensor | None,
    geometry: list[int],
) -> Tensor:
    """The reference: scatter the events into dense images and convolve."""
    return F.conv2d(_dense(row_ptr, index, value, image, weight.dtype), weight, bias, *_torch_geometry(geometry))


def _dense(row_ptr: Tensor, index: Tensor, value: Tensor | None, image: list[int], dtype: torch.dtype) -> Tensor:
    n_rows, n_units = row_ptr.numel() - 1, image[0] * image[1] * image[2]
    return scatter_rows(row_ptr, index, value, n_units, dtype).view(n_rows, *image)


def _torch_geometry(geometry: list[int]) -> tuple[list[int], list[int], list[int], int]:
    """[stride y, x, padding y, x, dilation y, x, groups] as torch's arguments."""
    return geometry[0:2], geometry[2:4], geometry[4:6], geometry[6]


class Reach(NamedTuple):
    """Which outputs the taps of the kernel reach from each input, for kernels without dilation.

    From column x the taps of one row of the kernel reach ``run[x] = (first tap, first output, number)``: consecutive
    outputs, in the order of ``taps``, columns of the kernel sorted by their rest modulo the stride, the last first.
    From row y, tap row k reaches output row ``row[k, y]``, or -1.
    """

    taps: list[int]
    run: np.ndarray
    row: np.ndarray
    size: tuple[int, int]


def _reach(image: list[int], kernel_size: torch.Size | list[int], geometry: list[int]) -> Reach:
    stride, padding, dilation, _ = _torch_geometry(geometry)
    size = [(image[1 + a] + 2 * padding[a] - dilation[a] * (kernel_size[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    step, wide = stride[1], kernel_size[1]
    rests = [list(range(rest, wide, step))[::-1] for rest in range(step)]
    run = np.zeros((image[2], 3), np.int64)
    for x in range(image[2]):
        at, rest = divmod(x + padding[1], step)
        last = len(rests[rest]) - 1
        few, many = max(0, at - size[1] + 1), min(last, at)  # taps few * step + rest up to many * step + rest
        if few <= many:
            run[x] = sum(map(len, rests[:rest])) + last - many, at - many, many - few + 1
    y = np.arange(image[1]) + padding[0] - np.arange(kernel_size[0])[:, None]
    row = np.where((y >= 0) & (y % stride[0] == 0) & (y // stride[0] < size[0]), y // stride[0], -1)
    return Reach([tap for taps in rests for tap in taps], run, row, (size[0], size[1]))


def _to_taps(weight: Tensor, reach: Reach) -> Tensor:
    """``(out, in, ky, kx)`` -> ``(ky, in, kx out)``: the columns in the order of a run, with all output channels."""
    return weight[..., reach.taps].permute(2, 1, 3, 0).flatten(2).contiguous()


def _from_taps(taps: Tensor, reach: Reach, n_out: int) -> Tensor:
    weight = taps.new_empty(n_out, taps.shape[1], taps.shape[0], len(reach.taps))
    weight[..., reach.taps] = taps.unflatten(2, (-1, n_out)).permute(3, 1, 0, 2)
    return weight


def _buffers(like: Tensor, row_ptr: Tensor, image: list[int], n_out: int, reach: Reach) -> tuple[np.ndarray, ...]:
    """For each worker one image of outputs with its channels last, and the order of the inputs of an image."""
    pixels = image[1] * image[2]
    most = max(image[0] * pixels, int(row_ptr.diff().max()))
    lines = like.new_empty(workers(), reach.size[0], reach.size[1] * n_out)
    order = (torch.empty(workers(), size, dtype=torch.int32) for size in (most, most, pixels + 1, pixels + 1, pixels))
    return lines.numpy(), *(part.numpy() for part in order)


def _pays(weight: Tensor, n_inputs: int, n_cells: int, geometry: list[int], share: float) -> bool:
    """Whether kernels beat torch's convolution for so many of the cells.

    The limit of long runs is ``share`` times that of a linear layer. To find a run costs as much as 80 of its numbers.
    """
    if geometry[4:] != [1, 1, 1] or n_cells == 0:
        return False
    run = len(weight) * -(-weight.shape[3] // geometry[1])
    row_bytes = weight[:, :, 0].numel() * weight.element_size()
    return event_driven_pays(weight, n_inputs, int(share * run / (run + 80) * n_cells), row_bytes)


@torch_operator("event_conv2d")
def _event_conv2d(
    carrier: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    support: Tensor | None,
    image: list[int],
    geometry: list[int],
) -> Tensor:
    n_rows, n_out = row_ptr.numel() - 1, len(weight)
    taps_of_output = math.prod(weight.shape[1:])  # of few taps, to write the output is most of the time
    share = FORWARD * taps_of_output / (taps_of_output + 100)
    if not _pays(weight, index.numel(), n_rows * math.prod(image), geometry, share):
        return conv2d_reference(row_ptr, index, value, image, weight, bias, geometry).contiguous()
    reach = _reach(image, weight.shape[2:], geometry)
    out = weight.new_empty(n_rows, n_out, *reach.size)
    added = weight.new_zeros(n_out) if bias is None else bias
    events = row_ptr.numpy(), index.numpy(), values_of(value, weight)
    parts = _to_taps(weight, reach).numpy(), added.numpy(), reach.run, reach.row
    forward_loop(*events, *parts, out.flatten(2).numpy(), *_buffers(weight, row_ptr, image, n_out, reach))
    return out


@_event_conv2d.register_meta
def _(carrier, row_ptr, index, value, weight, bias, support, image, geometry):
    size = _reach(image, weight.shape[2:], geometry).size
    return weight.new_empty(row_ptr.numel() - 1, weight.shape[0], *size)


def _by_events(
    grad: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    support: Tensor | None,
    image: list[int],
    geometry: list[int],
    by_input: bool,
    by_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of input and weight by the kernels; the one that they do not compute is empty."""
    n_rows, n_out = len(grad), len(weight)
    reach, units = _reach(image, weight.shape[2:], geometry), math.prod(image)
    taps = _to_taps(weight, reach)
    grad_taps = grad.new_zeros(workers() if by_weight else 0, *taps.shape)
    grad_input = grad.new_zeros(n_rows if by_input else 0, units)
    codes = grad.new_empty(0, 0, dtype=torch.uint8) if support is None else support.view(n_rows, units)
    inside = torch.empty(workers(), units + 1, dtype=torch.int32)
    arrays = (row_ptr, index, codes, grad.flatten(2), taps, grad_taps, grad_input)
    parts = (*(part.numpy() for part in arrays), values_of(value, grad), reach.run, reach.row)
    backward_loop(*parts, *_buffers(grad, row_ptr, image, n_out, reach), inside.numpy())
    grad_weight = _from_taps(grad_taps.sum(0), reach, n_out) if by_weight else grad_taps
    return grad_input.view(-1, *image), grad_weight


@torch_operator("event_conv2d_grad")
def _grad(
    grad: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    support: Tensor | None,
    image: list[int],
    geometry: list[int],
    needed: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input ``(rows, *image)``, weight and bias; those that are not needed are empty."""
    n_cells = grad.shape[0] * math.prod(image)
    inside = None if support is None or not needed[0] else count_inside(support)
    by_input = inside is not None and _pays(weight, inside, n_cells, geometry, INPUT)
    by_weight = needed[1] and _pays(weight, index.numel(), n_cells, geometry, WEIGHT)
    grad = grad.contiguous()
    to_input, to_weight = grad.new_empty(0), grad.new_empty(0)
    if by_input or by_weight:
        events = (row_ptr, index, value)
        to_input, to_weight = _by_events(grad, *events, weight, support, image, geometry, by_input, by_weight)
    dense = [needed[0] and not by_input, needed[1] and not by_weight, False]
    if any(dense):
        shape = (grad.shape[0], *image)
        x = _dense(row_ptr, index, value, image, grad.dtype) if dense[1] else grad.new_empty(1).expand(shape)
        stride, padding, dilation, groups = _torch_geometry(geometry)
        how = (stride, padding, dilation, False, [0, 0], groups, dense)
        by_torch = torch.ops.aten.convolution_backward(grad, x, weight, None, *how)
        to_input, to_weight = by_torch[0] if dense[0] else to_input, by_torch[1] if dense[1] else to_weight
    return to_input, to_weight, grad.sum((0, 2, 3)) if needed[2] else grad.new_empty(0)


@_grad.register_meta
def _(grad, row_ptr, index, value, weight, support, image, geometry, needed):
    shapes = ([grad.shape[0], *image], weight.shape, weight.shape[:1])
    return tuple(grad.new_empty(shape if want else [0]) for shape, want in zip(shapes, needed, strict=True))


def _setup(ctx, inputs, output):
    carrier, row_ptr, index, value, weight, _, support, ctx.image, ctx.geometry = inputs
    ctx.save_for_backward(row_ptr, index, value, weight, support)
    ctx.carrier_shape = carrier.shape


def _backward(ctx, grad):
    row_ptr, index, value, weight, support = ctx.saved_tensors
    to_carrier, _, _, _, to_weight, to_bias, *_ = ctx.needs_input_grad
    needed = [to_carrier, to_weight, to_bias]
    found = _grad(grad, row_ptr, index, value, weight, support, ctx.image, ctx.geometry, needed)
    carrier, weight, bias = (part if want else None for part, want in zip(found, needed, strict=True))
    carrier = carrier if carrier is None else carrier.view(ctx.carrier_shape)
    return carrier, None, None, None, weight, bias, None, None, None


_event_conv2d.register_autograd(_backward, setup_context=_setup)


def event_conv2d(
    carrier: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    support: Tensor | None,
    image: tuple[int, int, int],
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Events of images x kernels -> ``(rows, out channels, height, width)``.

    Args:
        carrier: ``(rows, *image)`` or any shape of that size; stands for the dense input in the graph.
        row_ptr, index, value: int64 ``(rows + 1)``, int32 ``(events)``, ``(events)`` or None for unit spikes.
        support: codes ``(rows, units)`` of where the gradient of the carrier is of use; None: everywhere.
        image: ``(channels, height, width)``.
        weight, bias, stride, padding, dilation, groups: as in ``torch.nn.functional.conv2d``.
    """
    if weight.shape[1] * groups != image[0]:
        expected = f"{image[0]} // {groups} input channels"
        raise InputError("conv2d", got=f"weight of shape {tuple(weight.shape)}", expected=expected)
    padded = [image[1 + a] + 2 * padding[a] for a in (0, 1)]
    reach = [dilation[a] * (weight.shape[2 + a] - 1) + 1 for a in (0, 1)]
    if padded[0] < reach[0] or padded[1] < reach[1]:
        got, expected = f"a kernel that spans {reach[0]} x {reach[1]} pixels", f"at most {padded[0]} x {padded[1]}"
        raise InputError("conv2d", got=got, expected=f"{expected}, the input with its padding")
    geometry = [*stride, *padding, *dilation, groups]
    return _event_conv2d(carrier, row_ptr, index, value, weight, bias, support, list(image), geometry)
