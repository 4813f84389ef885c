r"""Events times weights: ``out[r] = bias + sum over events e of row r of value[e] * weight[:, index[e]]``.

The reference is ``torch.nn.functional.linear`` on the dense rows. The event-driven kernels add one weight row per
event; which of the two runs is decided inside the custom op from the density, which is counted, and the size of the
fan-out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.kernels.dispatch import event_driven_pays, kernel, prange, workers
from neurosparse.kernels.input_grad import input_grad
from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.rows import scatter_rows, values_of
from neurosparse.kernels.weight_grad import add_four, add_scaled, weight_grad

__all__ = ["add_events", "check_sizes", "event_linear", "linear_reference"]


def linear_reference(
    row_ptr: Tensor, index: Tensor, value: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """The reference: scatter the events into dense rows and multiply."""
    rows = scatter_rows(row_ptr, index, value, weight.shape[1], weight.dtype)
    return torch.nn.functional.linear(rows, weight, bias)


@kernel
def add_events(row, event, end, index, value, weight_t):
    """row += the weight rows of the events ``event`` to ``end``; an empty ``value`` means unit spikes."""
    if value.shape[0] > 0:
        for e in range(event, end):
            add_scaled(row, weight_t[index[e]], value[e])
    else:
        while event + 4 <= end:  # four rows a pass: a quarter of the traffic on `row`
            a, b, c, d = index[event], index[event + 1], index[event + 2], index[event + 3]
            add_four(row, weight_t[a], weight_t[b], weight_t[c], weight_t[d])
            event += 4
        for e in range(event, end):
            add_scaled(row, weight_t[index[e]], row.dtype.type(1))


@kernel
def _gather_loop(row_ptr, index, value, weight_t, out, n_workers):
    """out[r] += sum of weight rows of the events of row r."""
    for worker in prange(n_workers):
        for r in range(worker, out.shape[0], n_workers):
            add_events(out[r], row_ptr[r], row_ptr[r + 1], index, value, weight_t)


@torch_operator("event_linear")
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


@_event_linear.register_meta
def _(carrier, row_ptr, index, value, weight, bias, support):
    return weight.new_empty(row_ptr.numel() - 1, weight.shape[0])


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
