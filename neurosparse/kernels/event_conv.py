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
from neurosparse.kernels.dispatch import event_driven_pays, kernel, prange, workers
from neurosparse.kernels.input_grad import count_inside, dot_four, dot_two, list_inside
from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.rows import copy_row, scatter_rows, values_of
from neurosparse.kernels.weight_grad import add_four, add_scaled

__all__ = ["conv2d_reference", "event_conv2d"]

# Densities up to which kernels are used, over those of a linear layer; a quarter below the crossovers measured on one
# machine for 1 to 256 channels.
FORWARD, WEIGHT, INPUT = 1.5, 1.25, 1.65


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


@kernel
def _sort(index, channel, number, pixel, start, count):
    """Sort the inputs ``index = channel * pixels + pixel`` of an image by pixel; returns how many pixels have any.

    Those of pixel ``pixel[n]`` are ``start[n]:start[n + 1]``, with their channel and their number in ``index``.
    """
    n_pixels, n, at = count.shape[0], 0, 0
    for p in range(n_pixels):
        count[p] = 0
    for e in range(index.shape[0]):
        count[index[e] % n_pixels] += 1
    for p in range(n_pixels):
        pixel[n], start[n] = p, at
        n += count[p] > 0
        at, count[p] = at + count[p], at
    start[n] = at
    for e in range(index.shape[0]):
        c, p = index[e] // n_pixels, index[e] % n_pixels
        channel[count[p]], number[count[p]] = c, e
        count[p] += 1
    return n


@kernel
def _channels_last(image, lines):
    """Channels x pixels to pixels x channels, the inner loop along the contiguous pixels."""
    for c in range(image.shape[0]):
        for p in range(image.shape[1]):
            lines[p, c] = image[c, p]


@kernel
def _channels_first(lines, image):
    for c in range(image.shape[0]):
        for p in range(image.shape[1]):
            image[c, p] = lines[p, c]


@kernel
def _add_weights(lines, taps, value, run, row, n_out, n, channel, number, pixel, start):
    """lines[y, x out] += value * taps[ky, channel, kx out] for the events of an image."""
    graded, one, width = value.shape[0] > 0, lines.dtype.type(1), run.shape[0]
    for ky in range(taps.shape[0]):
        for i in range(n):
            y, x = row[ky, pixel[i] // width], pixel[i] % width
            if y < 0 or run[x, 2] == 0:
                continue
            tap, size = run[x, 0] * n_out, run[x, 2] * n_out
            upto = tap + size
            weights, target = taps[ky], lines[y, run[x, 1] * n_out :][:size]
            e, end = start[i], start[i + 1]
            while not graded and e + 4 <= end:
                a, b, c, d = channel[e], channel[e + 1], channel[e + 2], channel[e + 3]
                add_four(target, weights[a, tap:upto], weights[b, tap:upto], weights[c, tap:upto], weights[d, tap:upto])
                e += 4
            while e < end:
                add_scaled(target, weights[channel[e], tap:upto], value[number[e]] if graded else one)
                e += 1


@kernel
def _add_gradients(taps, lines, value, run, row, n_out, n, channel, number, pixel, start):
    """taps[ky, channel, kx out] += value * lines[y, x out]: the same loop with taps and lines exchanged."""
    graded, one, width = value.shape[0] > 0, lines.dtype.type(1), run.shape[0]
    for ky in range(taps.shape[0]):
        for i in range(n):
            y, x = row[ky, pixel[i] // width], pixel[i] % width
            if y < 0 or run[x, 2] == 0:
                continue
            tap, size = run[x, 0] * n_out, run[x, 2] * n_out
            gradient = lines[y, run[x, 1] * n_out :][:size]
            for e in range(start[i], start[i + 1]):
                add_scaled(taps[ky, channel[e], tap : tap + size], gradient, value[number[e]] if graded else one)


@kernel
def _dot_products(out, lines, taps, run, row, n_out, n, channel, number, pixel, start):
    """out[channel pixel] = sum of taps[ky, channel, kx out] * lines[y, x out] for inputs in the order of pixels."""
    width, n_pixels = run.shape[0], row.shape[1] * run.shape[0]
    for ky in range(taps.shape[0]):
        for i in range(n):
            y, x = row[ky, pixel[i] // width], pixel[i] % width
            if y < 0 or run[x, 2] == 0:
                continue
            tap, size = run[x, 0] * n_out, run[x, 2] * n_out
            upto = tap + size
            weights, gradient = taps[ky], lines[y, run[x, 1] * n_out :][:size]
            e, end = start[i], start[i + 1]
            while e + 3 <= end:  # of three, the last is taken twice
                a, b, c, d = channel[e], channel[e + 1], channel[e + 2], channel[min(e + 3, end - 1)]
                p, q, r, s = dot_four(
                    gradient, weights[a, tap:upto], weights[b, tap:upto], weights[c, tap:upto], weights[d, tap:upto]
                )
                out[a * n_pixels + pixel[i]] += p
                out[b * n_pixels + pixel[i]] += q
                out[c * n_pixels + pixel[i]] += r
                if e + 4 <= end:
                    out[d * n_pixels + pixel[i]] += s
                e += 4
            if e < end:
                a, b = channel[e], channel[end - 1]
                p, q = dot_two(gradient, weights[a, tap:upto], weights[b, tap:upto])
                out[a * n_pixels + pixel[i]] += p
                if e + 1 < end:
                    out[b * n_pixels + pixel[i]] += q


@kernel
def _forward_loop(row_ptr, index, value, taps, bias, run, row, out, lines, channel, number, pixel, start, count):
    """out[r] = bias + the sum of taps over the events of image r."""
    n_workers, n_out = lines.shape[0], bias.shape[0]
    for worker in prange(n_workers):
        image = lines[worker].reshape(-1, n_out)
        order = (channel[worker], number[worker], pixel[worker], start[worker])
        for r in range(worker, out.shape[0], n_workers):
            begin, end = row_ptr[r], row_ptr[r + 1]
            for p in range(image.shape[0]):
                copy_row(image[p], bias)
            n = _sort(index[begin:end], *order, count[worker])
            _add_weights(lines[worker], taps, value[begin:end], run, row, n_out, n, *order)
            _channels_first(image, out[r])


@kernel
def _backward_loop(
    row_ptr,
    index,
    support,
    grad,
    taps,
    grad_taps,
    grad_input,
    value,
    run,
    row,
    lines,
    channel,
    number,
    pixel,
    start,
    count,
    inside,
):
    """Gradients of the taps from events, summed up by each worker, and of the inputs inside the support.

    What is not to be computed is empty.
    """
    n_workers, n_out = lines.shape[0], grad.shape[1]
    for worker in prange(n_workers):
        image = lines[worker].reshape(-1, n_out)
        order = (channel[worker], number[worker], pixel[worker], start[worker])
        for r in range(worker, grad.shape[0], n_workers):
            begin, end = row_ptr[r], row_ptr[r + 1]
            _channels_last(grad[r], image)
            if grad_taps.shape[0] > 0:
                n = _sort(index[begin:end], *order, count[worker])
                _add_gradients(grad_taps[worker], lines[worker], value[begin:end], run, row, n_out, n, *order)
            if grad_input.shape[0] > 0:
                found = inside[worker, : list_inside(support[r], inside[worker])]
                n = _sort(found, *order, count[worker])
                _dot_products(grad_input[r], lines[worker], taps, run, row, n_out, n, *order)


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
    _forward_loop(*events, *parts, out.flatten(2).numpy(), *_buffers(weight, row_ptr, image, n_out, reach))
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
    _backward_loop(*parts, *_buffers(grad, row_ptr, image, n_out, reach), inside.numpy())
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
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input ``(rows, *image)``, weight and bias; those that are not wanted are empty."""
    n_cells = grad.shape[0] * math.prod(image)
    inside = None if support is None or not wanted[0] else count_inside(support)
    by_input = inside is not None and _pays(weight, inside, n_cells, geometry, INPUT)
    by_weight = wanted[1] and _pays(weight, index.numel(), n_cells, geometry, WEIGHT)
    grad = grad.contiguous()
    to_input, to_weight = grad.new_empty(0), grad.new_empty(0)
    if by_input or by_weight:
        events = (row_ptr, index, value)
        to_input, to_weight = _by_events(grad, *events, weight, support, image, geometry, by_input, by_weight)
    dense = [wanted[0] and not by_input, wanted[1] and not by_weight, False]
    if any(dense):
        shape = (grad.shape[0], *image)
        x = _dense(row_ptr, index, value, image, grad.dtype) if dense[1] else grad.new_empty(1).expand(shape)
        stride, padding, dilation, groups = _torch_geometry(geometry)
        how = (stride, padding, dilation, False, [0, 0], groups, dense)
        by_torch = torch.ops.aten.convolution_backward(grad, x, weight, None, *how)
        to_input, to_weight = by_torch[0] if dense[0] else to_input, by_torch[1] if dense[1] else to_weight
    return to_input, to_weight, grad.sum((0, 2, 3)) if wanted[2] else grad.new_empty(0)


@_grad.register_meta
def _(grad, row_ptr, index, value, weight, support, image, geometry, wanted):
    shapes = ([grad.shape[0], *image], weight.shape, weight.shape[:1])
    return tuple(grad.new_empty(shape if want else [0]) for shape, want in zip(shapes, wanted, strict=True))


def _setup(ctx, inputs, output):
    carrier, row_ptr, index, value, weight, _, support, ctx.image, ctx.geometry = inputs
    ctx.save_for_backward(row_ptr, index, value, weight, support)
    ctx.carrier_shape = carrier.shape


def _backward(ctx, grad):
    row_ptr, index, value, weight, support = ctx.saved_tensors
    to_carrier, _, _, _, to_weight, to_bias, *_ = ctx.needs_input_grad
    wanted = [to_carrier, to_weight, to_bias]
    found = _grad(grad, row_ptr, index, value, weight, support, ctx.image, ctx.geometry, wanted)
    carrier, weight, bias = (part if want else None for part, want in zip(found, wanted, strict=True))
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
    geometry = [*stride, *padding, *dilation, groups]
    return _event_conv2d(carrier, row_ptr, index, value, weight, bias, support, list(image), geometry)
