r"""The leaky scan over a dense current as torch operators: the scan forward, its gradient, its place in the graph.

The reference is `neurosparse.kernels.scan.reference.scan_reference`. The events come out of the scan itself, with a
gradient carrier that stands for the dense spikes in the graph.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.kernels.operator import torch_operator
from neurosparse.kernels.rows import scatter_rows
from neurosparse.kernels.scan.backward import Scan, scan_backward
from neurosparse.kernels.scan.cell import Cell, Learned, Switches
from neurosparse.kernels.scan.forward import Kept, Scanned, dense_source, kept_buffers, scan_forward
from neurosparse.kernels.scan.step import SHAPES

__all__ = ["Cell", "Spikes", "dense_spikes", "given_slope", "leaky_scan", "saved_of", "scan_of", "spikes_of_scan"]


class Spikes(NamedTuple):
    """Events, their carrier (None without a graph), the support of their gradient (None: everywhere), and the last
    membrane, hidden state and refractory steps left; the two are empty where there are none.
    """

    row_ptr: Tensor
    index: Tensor
    carrier: Tensor | None
    support: Tensor | None
    membrane: Tensor
    hidden: Tensor
    waiting: Tensor


def flat(scanned: Scanned) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The results of a scan as those of an operator."""
    row_ptr, index, kept, *states = scanned
    return (row_ptr, index, *kept, *states)  # type: ignore[return-value]


def fake_results(like: Tensor, steps: int, states: list[Tensor], switches: list[int]) -> tuple:
    """Tensors of the shapes of :func:`flat`."""
    membrane, hidden, _, waiting = states
    samples, units = membrane.shape
    row_ptr = like.new_empty(steps * samples + 1, dtype=torch.int64)
    index = like.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int32)
    kept = kept_buffers(like, [steps, samples, units], Switches(*switches))
    return (row_ptr, index, *kept, *(torch.empty_like(part) for part in (membrane, hidden, waiting)))


def saved_of(found: tuple, slope: Tensor, cell: Cell) -> list[Tensor]:
    """What :func:`scan_of` reads besides constants and switches."""
    row_ptr, index, code, membrane, hidden, *_ = found
    return [slope, code, membrane, hidden, row_ptr, index, cell.lengths, *cell.states]


def scan_of(saved: list[Tensor], constants: list[Tensor], switches: list[int]) -> Scan:
    """A scan from what was saved of it."""
    slope, code, membrane, hidden, row_ptr, index, lengths, *states = saved
    kept = Kept(code, membrane, hidden)
    return Scan(Switches(*switches), constants, states, lengths, kept, slope, row_ptr, index)


def split(tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Constants and what was saved behind them."""
    return tensors[: len(Learned._fields)], tensors[len(Learned._fields) :]


@torch_operator("leaky_scan")
def _scan(
    current: Tensor, constants: list[Tensor], states: list[Tensor], lengths: Tensor, switches: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    source = dense_source(current)
    return flat(scan_forward(source, len(current), constants, states, lengths, Switches(*switches)))


@_scan.register_fake
def _(current, constants, states, lengths, switches):
    return fake_results(current, current.shape[0], states, switches)


@torch_operator("leaky_scan_grad")
def _scan_grad(
    grad: Tensor, constants: list[Tensor], saved: list[Tensor], switches: list[int], learned: list[bool]
) -> list[Tensor]:
    """Gradients of the current and of the constants that learn."""
    current, to_constants, *_ = scan_backward(grad, scan_of(saved, constants, switches), learned, True)
    return [current.view(grad.shape), *to_constants]


@_scan_grad.register_meta
def _(grad, constants, saved, switches, learned):
    return [torch.empty_like(grad), *fake_gradients(constants, learned)]


def fake_gradients(constants: list[Tensor], learned: list[bool]) -> list[Tensor]:
    """Tensors of the shapes of the gradients of constants."""
    none = [part.new_empty([0] * part.dim()) for part in constants]
    return [p.new_empty(p.shape) if needed else e for p, e, needed in zip(constants, none, learned, strict=True)]


@torch_operator("spike_carrier")
def _carrier(current: Tensor, constants: list[Tensor], saved: list[Tensor], switches: list[int]) -> Tensor:
    """One zero, expanded to the shape of the dense spikes: a place in the graph that stores nothing."""
    return current.new_zeros(()).expand(current.shape)


@_carrier.register_meta
def _(current, constants, saved, switches):
    return current.new_zeros(()).expand(current.shape)


def _setup(ctx, inputs, output):
    _, constants, saved, ctx.switches = inputs
    ctx.save_for_backward(*constants, *saved)


def _backward(ctx, grad):
    tensors = list(ctx.saved_tensors)
    constants, saved = split(tensors)
    to_current, learned, *_ = ctx.needs_input_grad
    current, *found = _scan_grad(grad, constants, saved, ctx.switches, list(learned))
    found = [part if needed else None for part, needed in zip(found, learned, strict=True)]
    return current if to_current else None, found, [None] * len(saved), None


_carrier.register_autograd(_backward, setup_context=_setup)


@torch_operator("dense_spikes")
def dense_spikes(carrier: Tensor, row_ptr: Tensor, index: Tensor, units: int) -> Tensor:
    """Spikes of rows as a dense tensor of the carrier's shape, type and graph: its gradient is that of the carrier."""
    return scatter_rows(row_ptr, index, None, units, carrier.dtype).view(carrier.shape)


@dense_spikes.register_meta
def _(carrier, row_ptr, index, units):
    return carrier.new_empty(carrier.shape)


dense_spikes.register_autograd(lambda ctx, grad: (grad, None, None, None))


def leaky_scan(current: Tensor, cell: Cell, derivative) -> Spikes:
    """The fused scan of ``current`` ``(steps, samples, units)`` on the CPU.

    Args:
        current: input current.
        cell: the neurons; constants that require a gradient get it.
        derivative: the surrogate's, of the distance to threshold; called only where ``cell.shape`` is "given".
    """
    constants, graph = cell.constants, torch.is_grad_enabled()
    graph = graph and (current.requires_grad or any(part.requires_grad for part in constants))
    switches, fixed = list(cell.switches(graph)), [part.detach() for part in constants]
    found = _scan(current.detach(), fixed, cell.states, cell.lengths, switches)
    if not graph:
        return spikes_of_scan(found, None, cell)
    slope = given_slope(found[3], cell, derivative, found[4])
    return spikes_of_scan(found, _carrier(current, constants, saved_of(found, slope, cell), switches), cell)


def spikes_of_scan(found: tuple, carrier: Tensor | None, cell: Cell) -> Spikes:
    """The results of a scan with their place in the graph."""
    row_ptr, index, code, _, _, *states = found
    return Spikes(row_ptr, index, carrier, code if carrier is not None and cell.shape == "boxcar" else None, *states)


def given_slope(membrane: Tensor, cell: Cell, derivative, adaptation: Tensor | None = None) -> Tensor:
    """The slope of a surrogate that is a Python function; empty for those that the kernels compute."""
    if cell.shape != SHAPES[0]:
        return membrane.new_empty(0, 0, 0)
    level = cell.threshold.detach()
    if cell.dynamics == "adaptive":
        level = level + cell.strength.detach() * adaptation  # type: ignore[union-attr]
    return derivative(membrane - level).contiguous()
