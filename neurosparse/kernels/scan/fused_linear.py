r"""A linear layer and its neurons in one pass: events in, events out, no current written.

The reference is ``scan_reference(linear_reference(...))``. The scan adds the weight rows of a step's events itself;
back in time it makes the gradient of the weights row by row, and that of the input only inside the support. Above the
density where events pay, a matrix product and the scan of a dense current do the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurosparse.kernels.dispatch import event_driven_pays
from neurosparse.kernels.event_linear import check_sizes, linear_reference
from neurosparse.kernels.input_grad import input_grad
from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.scan.backward import scan_backward
from neurosparse.kernels.scan.cell import Cell, Learned, Switches
from neurosparse.kernels.scan.cpu import (
    Spikes,
    fake_gradients,
    fake_results,
    flat,
    given_slope,
    saved_of,
    scan_of,
    spikes_of_scan,
    split,
)
from neurosparse.kernels.scan.forward import dense_source, event_source, scan_forward, width_of
from neurosparse.kernels.weight_grad import weight_grad as gradient_of_weight

__all__ = ["spiking_linear"]


def _pays(weight: Tensor, row_ptr: Tensor, index: Tensor) -> bool:
    cells = (row_ptr.numel() - 1) * weight.shape[1]
    return event_driven_pays(weight, index.numel(), cells, weight.numel() * weight.element_size())


@torch_operator("spiking_linear")
def _forward(
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    constants: list[Tensor],
    states: list[Tensor],
    lengths: Tensor,
    switches: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    samples, units = states[0].shape
    steps = (row_ptr.numel() - 1) // samples
    if _pays(weight, row_ptr, index):
        width = width_of(units, len(Learned(*constants).recurrent) > 0)
        source = event_source(row_ptr, index, value, weight, bias, width)
    else:
        source = dense_source(linear_reference(row_ptr, index, value, weight, bias).view(steps, samples, units))
    return flat(scan_forward(source, steps, constants, states, lengths, Switches(*switches)))


@_forward.register_fake
def _(row_ptr, index, value, weight, bias, constants, states, lengths, switches):
    return fake_results(weight, (row_ptr.shape[0] - 1) // states[0].shape[0], states, switches)


@torch_operator("spiking_linear_grad")
def _grad(
    grad: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    constants: list[Tensor],
    saved: list[Tensor],
    switches: list[int],
    learned: list[bool],
    keep_current: bool,
) -> list[Tensor]:
    """Gradients of weight and bias, of the current ``(rows, out)`` where it is kept, and of constants that learn."""
    scan = scan_of(saved, constants, switches)
    if _pays(weight, row_ptr, index):
        scan = scan._replace(events=(row_ptr, index, value, weight.shape[1]))
        current, to_constants, to_weight, to_bias = scan_backward(grad, scan, learned, keep_current)
    else:
        current, to_constants, *_ = scan_backward(grad, scan, learned, True)
        to_weight, to_bias = gradient_of_weight(row_ptr, index, value, current, weight.shape[1]), current.sum(0)
    return [to_weight, to_bias, current if keep_current else current[:0].clone(), *to_constants]


@_grad.register_meta
def _(grad, row_ptr, index, value, weight, constants, saved, switches, learned, keep_current):
    rows = row_ptr.shape[0] - 1 if keep_current else 0
    own = weight.new_empty(weight.shape), weight.new_empty(weight.shape[0]), weight.new_empty(rows, weight.shape[0])
    return [*own, *fake_gradients(constants, learned)]


@torch_operator("spiking_linear_carrier")
def _carrier(
    carrier: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    constants: list[Tensor],
    support: Tensor | None,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    saved: list[Tensor],
    switches: list[int],
) -> Tensor:
    """One zero, expanded to the shape of the dense spikes: a place in the graph that stores nothing."""
    samples = scan_of(saved, constants, switches).lengths.shape[0]
    return weight.new_zeros(()).expand((row_ptr.numel() - 1) // samples, samples, weight.shape[0])


@_carrier.register_meta
def _(carrier, weight, bias, constants, support, row_ptr, index, value, saved, switches):
    samples = scan_of(saved, constants, switches).lengths.shape[0]
    return weight.new_zeros(()).expand((row_ptr.shape[0] - 1) // samples, samples, weight.shape[0])


def _setup(ctx, inputs, output):
    carrier, weight, _, constants, support, row_ptr, index, value, saved, ctx.switches = inputs
    ctx.carrier_shape = carrier.shape
    ctx.save_for_backward(weight, support, row_ptr, index, value, *constants, *saved)


def _backward(ctx, grad):
    weight, support, row_ptr, index, value, *tensors = ctx.saved_tensors
    constants, saved = split(tensors)
    to_carrier, to_weight, to_bias, learned, *_ = ctx.needs_input_grad
    parts = (grad, row_ptr, index, value, weight, constants, saved, ctx.switches, list(learned), to_carrier)
    grad_weight, grad_bias, current, *found = _grad(*parts)
    grad_carrier = None
    if to_carrier:
        rows = None if support is None else support.flatten(0, 1)
        grad_carrier = input_grad(current, weight, rows).view(ctx.carrier_shape)
    found = [part if needed else None for part, needed in zip(found, learned, strict=True)]
    own = grad_carrier, grad_weight if to_weight else None, grad_bias if to_bias else None
    return *own, found, *[None] * 4, [None] * len(saved), None


_carrier.register_autograd(_backward, setup_context=_setup)


def spiking_linear(
    carrier: Tensor,
    events: tuple[Tensor, Tensor, Tensor | None],
    support: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    cell: Cell,
    derivative: Callable[[Tensor], Tensor],
) -> Spikes:
    """Events through a linear layer and its neurons.

    Args:
        carrier: stands for the dense input in the graph; its values are never read.
        events: ``(row_ptr, index, value or None)`` of the input.
        support: codes ``(steps, samples, in)`` of where the gradient of the input is of use; None: everywhere.
        weight, bias: ``(out, in)`` and ``(out)`` or None.
        cell, derivative: the neurons, as in :func:`neurosparse.kernels.scan.cpu.leaky_scan`.
    """
    check_sizes(carrier, events[0], weight)
    constants, trained = cell.constants, (carrier, weight, bias)
    graph = torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in (*trained, *constants))
    switches, fixed = list(cell.switches(graph)), [part.detach() for part in constants]
    own = weight.detach(), None if bias is None else bias.detach()
    found = _forward(*events, *own, fixed, cell.states, cell.lengths, switches)
    if not graph:
        return spikes_of_scan(found, None, cell)
    saved = saved_of(found, given_slope(found[3], cell, derivative, found[4]), cell)
    return spikes_of_scan(found, _carrier(*trained, constants, support, *events, saved, switches), cell)
