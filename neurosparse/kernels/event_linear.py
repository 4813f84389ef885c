r"""Events times weights: ``out[r] = bias + sum over events e of row r of value[e] * weight[:, index[e]]``.

The law is ``torch.nn.functional.linear`` on the dense rows. The event-driven kernels add one weight row per event;
which of the two runs is decided inside the custom op from the measured density and the size of the fan-out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.kernels.dispatch import event_driven_pays, kernel, prange, workers
from neurosparse.kernels.input_grad import input_grad
from neurosparse.kernels.rows import expand, scatter

__all__ = ["add_events", "add_scaled", "check_sizes", "event_linear", "linear_reference", "values_of", "weight_grad"]


def linear_reference(
    row_ptr: Tensor, index: Tensor, value: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """The law: scatter the events into dense rows and multiply."""
    rows = scatter(expand(row_ptr), index, value, row_ptr.numel() - 1, weight.shape[1], weight.dtype)
    return torch.nn.functional.linear(rows, weight, bias)


@kernel
def add_scaled(target, source, scale):
    for k in range(target.shape[0]):
        target[k] += scale * source[k]


@kernel
def _add_four(target, a, b, c, d):
    for k in range(target.shape[0]):
        target[k] += (a[k] + b[k]) + (c[k] + d[k])


@kernel
def add_events(row, event, end, index, value, weight_t):
    """row += the weight rows of the events ``event`` to ``end``; an empty ``value`` means unit spikes."""
    if value.shape[0] > 0:
        for e in range(event, end):
            add_scaled(row, weight_t[index[e]], value[e])
    else:
        while event + 4 <= end:  # four rows a pass: a quarter of the traffic on `row`
            a, b, c, d = index[event], index[event + 1], index[event + 2], index[event + 3]
            _add_four(row, weight_t[a], weight_t[b], weight_t[c], weight_t[d])
            event += 4
        for e in range(event, end):
            add_scaled(row, weight_t[index[e]], row.dtype.type(1))


@kernel
def _gather_loop(row_ptr, index, value, weight_t, out, n_workers):
    """out[r] += sum of weight rows of the events of row r."""
    for worker in prange(n_workers):
        for r in range(worker, out.shape[0], n_workers):
            add_events(out[r], row_ptr[r], row_ptr[r + 1], index, value, weight_t)


@kernel
def _weight_grad_loop(row_ptr, index, value, grad, partial):
    """partial[worker, i] += value[e] * grad[r] for the events e = (r, i) of the rows of that worker."""
    graded = value.shape[0] > 0
    one = grad.dtype.type(1)
    n_workers = partial.shape[0]
    for worker in prange(n_workers):
        for r in range(worker, grad.shape[0], n_workers):
            for e in range(row_ptr[r], row_ptr[r + 1]):
                add_scaled(partial[worker, index[e]], grad[r], value[e] if graded else one)


def values_of(value: Tensor | None, like: Tensor) -> np.ndarray:
    return like.new_empty(0).numpy() if value is None else value.to(like.dtype).contiguous().numpy()


@torch.library.custom_op("neurosparse::event_linear", mutates_args=())
def _event_linear(
    carrier: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    support: Tensor | None,
) -> Tensor:
    n_rows, (n_out, n_in) = row_ptr.numel() - 1, weight.shape
    if not event_driven_pays(weight, index.numel(), n_rows * n_in, weight.numel() * weight.element_size()):
        return linear_reference(row_ptr, index, value, weight, bias)
    out = weight.new_zeros(n_rows, n_out) if bias is None else bias.repeat(n_rows, 1)
    weight_t = weight.t().contiguous()
    arrays = (row_ptr.numpy(), index.numpy(), values_of(value, weight), weight_t.numpy(), out.numpy())
    _gather_loop(*arrays, workers())
    return out


@_event_linear.register_fake
def _(carrier, row_ptr, index, value, weight, bias, support):
    return weight.new_empty(row_ptr.numel() - 1, weight.shape[0])


@torch.library.custom_op("neurosparse::event_linear_weight_grad", mutates_args=())
def weight_grad(row_ptr: Tensor, index: Tensor, value: Tensor | None, grad: Tensor, n_in: int) -> Tensor:
    """Gradient of the weight ``(out, in)`` from that of the output rows."""
    n_rows, n_out = grad.shape
    if not event_driven_pays(grad, index.numel(), n_rows * n_in, n_in * n_out * grad.element_size()):
        return grad.t() @ scatter(expand(row_ptr), index, value, n_rows, n_in, grad.dtype)
    partial = grad.new_zeros(workers(), n_in, n_out)
    arrays = (row_ptr.numpy(), index.numpy(), values_of(value, grad), grad.contiguous().numpy(), partial.numpy())
    _weight_grad_loop(*arrays)
    return (partial[0] if len(partial) == 1 else partial.sum(0)).t().contiguous()


@weight_grad.register_fake
def _(row_ptr, index, value, grad, n_in):
    return grad.new_empty(grad.shape[1], n_in)


def _setup(ctx, inputs, output):
    carrier, row_ptr, index, value, weight, _, support = inputs
    ctx.save_for_backward(row_ptr, index, value, weight, support)
    ctx.carrier_shape = carrier.shape


def _backward(ctx, grad):
    row_ptr, index, value, weight, support = ctx.saved_tensors
    to_carrier, _, _, _, to_weight, to_bias, _ = ctx.needs_input_grad
    grad_carrier = input_grad(grad, weight, support).view(ctx.carrier_shape) if to_carrier else None
    grad_weight = weight_grad(row_ptr, index, value, grad, weight.shape[1]) if to_weight else None
    return grad_carrier, None, None, None, grad_weight, grad.sum(0) if to_bias else None, None


_event_linear.register_autograd(_backward, setup_context=_setup)


def event_linear(
    carrier: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    support: Tensor | None = None,
) -> Tensor:
    """Events x weights -> ``(rows, out)``.

    Args:
        carrier: ``(rows, in)`` or any shape of that size; stands for the dense input in the graph, its values are
            never read.
        row_ptr: int64 ``(rows + 1)``.
        index: int32 ``(events)``.
        value: ``(events)`` or None for unit spikes; detached.
        weight: ``(out, in)``.
        bias: ``(out)`` or None.
        support: codes ``(rows, in)`` of where the gradient of the carrier is of use; None: everywhere.
    """
    check_sizes(carrier, row_ptr, weight)
    return _event_linear(carrier, row_ptr, index, value, weight, bias, support)


def check_sizes(carrier: Tensor, row_ptr: Tensor, weight: Tensor) -> None:
    """Refuse a weight that does not fit the events."""
    if weight.dim() != 2 or carrier.numel() != (row_ptr.numel() - 1) * weight.shape[1]:
        got = f"weight of shape {tuple(weight.shape)}"
        raise InputError("linear", got=got, expected=f"(out, {carrier.shape[-1]})", fix="Check the layer's sizes.")
