"""Convolution of events: each event adds one column of the kernel to the outputs within its reach.

The reference is ``torch.nn.functional.conv2d`` on the dense rows. Rows are images ``(channels, height, width)``; the
result is laid out with channels last, so every addition is a contiguous vector over output channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import grad as conv_grad

from neurosparse.errors import InputError
from neurosparse.kernels.dispatch import differentiable_once, event_driven_pays, kernel, prange, workers
from neurosparse.kernels.rows import scatter_rows, values_of
from neurosparse.kernels.weight_grad import add_scaled

__all__ = ["conv2d_reference", "event_conv2d"]


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


def _out_size(image: list[int], kernel_size: Sequence[int], geometry: list[int]) -> tuple[int, int]:
    stride, padding, dilation, _ = _torch_geometry(geometry)
    height, width = (
        (image[1 + a] + 2 * padding[a] - dilation[a] * (kernel_size[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)
    )
    return height, width


@kernel
def _reached(position, tap, stride, padding, dilation, size):
    """The output position that a kernel tap maps an input position to, or -1."""
    shifted = position + padding - tap * dilation
    if shifted < 0 or shifted % stride != 0 or shifted // stride >= size:
        return -1
    return shifted // stride


@kernel
def _forward_loop(row_ptr, index, value, taps, out, image, geometry, n_workers):
    """out[r, y, x, group] += value * taps[channel, ky, kx] for every event and kernel tap."""
    graded = value.shape[0] > 0
    one = out.dtype.type(1)
    n_channels, height, width = image[0], image[1], image[2]
    _, size_y, size_x, group_out = taps.shape
    per_group = n_channels // geometry[6]
    for worker in prange(n_workers):
        for r in range(worker, out.shape[0], n_workers):
            for e in range(row_ptr[r], row_ptr[r + 1]):
                channel, pixel = index[e] // (height * width), index[e] % (height * width)
                scale = value[e] if graded else one
                lo = (channel // per_group) * group_out
                for ky in range(size_y):
                    y = _reached(pixel // width, ky, geometry[0], geometry[2], geometry[4], out.shape[1])
                    for kx in range(size_x if y >= 0 else 0):
                        x = _reached(pixel % width, kx, geometry[1], geometry[3], geometry[5], out.shape[2])
                        if x >= 0:
                            add_scaled(out[r, y, x, lo : lo + group_out], taps[channel, ky, kx], scale)


@kernel
def _weight_grad_loop(row_ptr, index, value, grad, partial, image, geometry):
    """partial[worker, channel, ky, kx] += value * grad[r, y, x, group]: the forward loop, taps and out swapped."""
    graded = value.shape[0] > 0
    one = grad.dtype.type(1)
    n_channels, height, width = image[0], image[1], image[2]
    n_workers, _, size_y, size_x, group_out = partial.shape
    per_group = n_channels // geometry[6]
    for worker in prange(n_workers):
        for r in range(worker, grad.shape[0], n_workers):
            for e in range(row_ptr[r], row_ptr[r + 1]):
                channel, pixel = index[e] // (height * width), index[e] % (height * width)
                scale = value[e] if graded else one
                lo = (channel // per_group) * group_out
                for ky in range(size_y):
                    y = _reached(pixel // width, ky, geometry[0], geometry[2], geometry[4], grad.shape[1])
                    for kx in range(size_x if y >= 0 else 0):
                        x = _reached(pixel % width, kx, geometry[1], geometry[3], geometry[5], grad.shape[2])
                        if x >= 0:
                            add_scaled(partial[worker, channel, ky, kx], grad[r, y, x, lo : lo + group_out], scale)


def _to_taps(weight: Tensor, groups: int) -> Tensor:
    """``(out, in / groups, ky, kx)`` -> ``(in, ky, kx, out / groups)``, contiguous."""
    n_out, per_group, *size = weight.shape
    taps = weight.view(groups, n_out // groups, per_group, *size).permute(0, 2, 3, 4, 1)
    return taps.reshape(groups * per_group, *size, n_out // groups).contiguous()


def _from_taps(taps: Tensor, groups: int) -> Tensor:
    n_in, *size, group_out = taps.shape
    weight = taps.view(groups, n_in // groups, *size, group_out).permute(0, 4, 1, 2, 3)
    return weight.reshape(groups * group_out, n_in // groups, *size).contiguous()


@torch.library.custom_op("neurosparse::event_conv2d", mutates_args=())
def _event_conv2d(
    carrier: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    image: list[int],
    geometry: list[int],
) -> Tensor:
    n_rows, n_cells = row_ptr.numel() - 1, image[0] * image[1] * image[2] * (row_ptr.numel() - 1)
    if not event_driven_pays(weight, index.numel(), n_cells, weight.numel() * weight.element_size()):
        out = conv2d_reference(row_ptr, index, value, image, weight, bias, geometry)
        return out.contiguous(memory_format=torch.channels_last)
    out = weight.new_zeros(n_rows, *_out_size(image, weight.shape[2:], geometry), weight.shape[0])
    if bias is not None:
        out += bias
    taps = _to_taps(weight, geometry[6])
    arrays = (row_ptr.numpy(), index.numpy(), values_of(value, weight), taps.numpy(), out.numpy())
    _forward_loop(*arrays, torch.tensor(image).numpy(), torch.tensor(geometry).numpy(), workers())
    return out.permute(0, 3, 1, 2)


@_event_conv2d.register_fake
def _(carrier, row_ptr, index, value, weight, bias, image, geometry):
    height, width = _out_size(image, weight.shape[2:], geometry)
    return weight.new_empty(row_ptr.numel() - 1, height, width, weight.shape[0]).permute(0, 3, 1, 2)


@torch.library.custom_op("neurosparse::event_conv2d_weight_grad", mutates_args=())
def _weight_grad(
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    grad: Tensor,
    image: list[int],
    weight_shape: list[int],
    geometry: list[int],
) -> Tensor:
    n_cells = image[0] * image[1] * image[2] * grad.shape[0]
    if not event_driven_pays(grad, index.numel(), n_cells, 4 * image[0] * grad.shape[1] * 9):
        dense = _dense(row_ptr, index, value, image, grad.dtype)
        return conv_grad.conv2d_weight(dense, tuple(weight_shape), grad, *_torch_geometry(geometry))  # type: ignore[arg-type]
    groups = geometry[6]
    taps_shape = (image[0], *weight_shape[2:], weight_shape[0] // groups)
    partial = grad.new_zeros(workers(), *taps_shape)
    last = grad.permute(0, 2, 3, 1).contiguous()
    arrays = (row_ptr.numpy(), index.numpy(), values_of(value, grad), last.numpy(), partial.numpy())
    _weight_grad_loop(*arrays, torch.tensor(image).numpy(), torch.tensor(geometry).numpy())
    return _from_taps(partial.sum(0), groups)


@_weight_grad.register_fake
def _(row_ptr, index, value, grad, image, weight_shape, geometry):
    return grad.new_empty(weight_shape)


differentiable_once(_weight_grad)


def _setup(ctx, inputs, output):
    carrier, row_ptr, index, value, weight, _, ctx.image, ctx.geometry = inputs
    ctx.save_for_backward(row_ptr, index, value, weight)
    ctx.carrier_shape = carrier.shape


def _backward(ctx, grad):
    row_ptr, index, value, weight = ctx.saved_tensors
    to_carrier, _, _, _, to_weight, to_bias, *_ = ctx.needs_input_grad
    grad_carrier = grad_weight = None
    if to_carrier:
        shape = (grad.shape[0], *ctx.image)
        grad_carrier = conv_grad.conv2d_input(shape, weight, grad, *_torch_geometry(ctx.geometry))  # type: ignore[arg-type]
        grad_carrier = grad_carrier.reshape(ctx.carrier_shape)
    if to_weight:
        grad_weight = _weight_grad(row_ptr, index, value, grad, ctx.image, list(weight.shape), ctx.geometry)
    grad_bias = grad.sum((0, 2, 3)) if to_bias else None
    return grad_carrier, None, None, None, grad_weight, grad_bias, None, None


_event_conv2d.register_autograd(_backward, setup_context=_setup)


def event_conv2d(
    carrier: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    image: tuple[int, int, int],
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Events of images x kernels -> ``(rows, out channels, height, width)``, channels last in memory."""
    if weight.shape[1] * groups != image[0]:
        expected = f"{image[0]} // {groups} input channels"
        raise InputError("conv2d", got=f"weight of shape {tuple(weight.shape)}", expected=expected)
    geometry = [*stride, *padding, *dilation, groups]
    return _event_conv2d(carrier, row_ptr, index, value, weight, bias, list(image), geometry)
