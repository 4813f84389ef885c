"""Products of the backward pass in the custom operators of this library, and their scalar work.

The forward pass of these operators is described by the functions that call them (``@operation``). The backward pass
calls them by name, so that it is read from their arguments:

* weight gradient of a linear layer or convolution (``event_linear_weight_grad``, ``event_conv2d_grad``): pairs of an
  input event and a non-zero gradient of an output of the same row; accumulates where the events are spikes;
* input gradient (``input_grad``, ``event_conv2d_grad``): pairs of a non-zero gradient and a non-zero weight, at input
  units inside the compact support of the surrogate gradient below, if it has one; outside the support the gradient is
  multiplied by zero. As in the forward pass this does not depend on which kernel runs: a dense product needs the same
  pairs;
* gradient of leaky neurons (``leaky_scan_grad``, ``leaky_scan_dense_grad``): for each step and unit one state update
  (the gradient of the membrane is read, decayed and written back) and two element-wise operations (slope of the
  surrogate, and its product with the gradient of the spike); a hidden state and a refractory counter are states too, a
  learned constant takes two more operations, and recurrent weights their products;
* leaky filter (``leaky_filter``), which is its own gradient back in time: one state update for each step and unit;
* linear layer and neurons in one kernel (``spiking_linear_grad``): the gradients of both, and one addition per current
  for the bias. The input gradient is a call of its own.

Dense operations are those of the same gradients of dense layers. Counting events (``count_events``) and placeholders of
spikes in the graph (``spike_carrier``, ``spiking_linear_carrier``) are free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from neurosparse.events.operation import Operation, leak_of
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timing import Timing
from neurosparse.kernels.rows import scatter_rows
from neurosparse.kernels.scan.backward import Scan, scan_backward
from neurosparse.kernels.scan.cpu import scan_of
from neurosparse.meter.matrices import Product, Role, scalar

__all__ = ["FREE_KERNELS", "KERNELS"]

#: Custom operators that compute nothing.
FREE_KERNELS = frozenset(f"neurosparse.{name}" for name in ("count_events", "spike_carrier", "spiking_linear_carrier"))


def _events(
    row_ptr: Tensor, index: Tensor, value: Tensor | None, units: int, like: Tensor
) -> tuple[EventTensor, Tensor]:
    """The events of rows, with the mark of spikes, and their dense form; True and False for spikes."""
    shape = (row_ptr.numel() - 1, 1, units)
    events = EventTensor(shape, Timing(), like.dtype, binary=value is None, row_ptr=row_ptr, index=index, value=value)
    return events, scatter_rows(row_ptr, index, value, units, torch.bool if value is None else like.dtype)


def _linear_weight_grad(
    role: Role, row_ptr: Tensor, index: Tensor, value: Tensor | None, grad: Tensor, units: int
) -> list[Product]:
    events, dense = _events(row_ptr, index, value, units, grad)
    return [Product(events, grad, Operation("matmul", dense, grad, equation="ri,ro->oi"))]


def _conv2d_grad(
    role: Role,
    grad: Tensor,
    row_ptr: Tensor,
    index: Tensor,
    value: Tensor | None,
    weight: Tensor,
    support: Tensor | None,
    image: Sequence[int],
    geometry: Sequence[int],
    wanted: Sequence[bool],
) -> list[Product]:
    events, dense = _events(row_ptr, index, value, math.prod(image), grad)
    stride, padding, dilation, groups = geometry[:2], geometry[2:4], geometry[4:6], geometry[6]
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    products = []
    if wanted[0]:
        inside = None if support is None else (support & 1).bool().view(-1, *image)
        back = how | {"transposed": True, "size": tuple(image[1:])}
        products.append(Product(grad, weight, Operation("conv", grad, weight, geometry=back, support=inside)))
    if wanted[1]:
        of_weight = how | {"kernel": weight.shape[2:]}
        products.append(Product(events, grad, Operation("matmul", dense.view(-1, *image), grad, geometry=of_weight)))
    return products + (scalar(grad, grad.numel()) if wanted[2] else [])


def _input_grad(role: Role, grad: Tensor, weight: Tensor, support: Tensor | None) -> list[Product]:
    """Gradient of the input of a linear layer; codes of the scan are odd inside the support."""
    inside = None if support is None else (support & 1).bool()
    return [Product(grad, weight, Operation("linear", grad, weight.transpose(0, 1), support=inside))]


def _scan_grad(
    role: Role, grad: Tensor, constants: list[Tensor], saved: list[Tensor], switches: list[int], learned: list[bool]
) -> list[Product]:
    scan = scan_of(saved, constants, switches)
    return _neurons(role, grad, scan, learned, scan_backward(grad, scan, learned, True).current)


def _neurons(role: Role, grad: Tensor, scan: Scan, learned: list[bool], current: Tensor) -> list[Product]:
    """Updates of gradients of states, slopes, sums over learned constants, and products of recurrent weights."""
    switches, constants, cells = scan.switches, scan.constants, grad.numel()
    leak = leak_of(constants[0], *([constants[3]] if switches.dynamics else []))
    states = 1 + (switches.dynamics > 0) + (switches.waits > 0)
    updates = Product(grad, None, Operation("neuron", state_updates=states * cells, leak=leak))
    found = [updates, *scalar(grad, (2 + 2 * sum(learned[:5])) * cells)]
    steps, samples, units = grad.shape
    if len(constants[5]) and steps > 1:
        later = current[samples:]
        found.append(Product(later, constants[5], Operation("linear", later, constants[5].transpose(0, 1))))
        if learned[5]:
            before = scan.row_ptr[:-samples], scan.index[: int(scan.row_ptr[-samples - 1])]
            found += _linear_weight_grad(role, *before, None, later, units)
        found += scalar(current, current.numel()) if learned[6] else []
    return found


def _dense_scan_grad(
    role: Role, grad: Tensor, slope: Tensor, code: Tensor, membrane: Tensor, beta: Tensor, *_: object
) -> list[Product]:
    updates = Product(grad, None, Operation("neuron", state_updates=grad.numel(), leak=leak_of(beta)))
    return [updates, *scalar(grad, 2 * grad.numel())]


def _filter(role: Role, x: Tensor, alpha: Tensor, *_: object) -> list[Product]:
    return [Product(x, None, Operation("neuron", state_updates=x.numel(), leak=leak_of(alpha)))]


def _spiking_linear_grad(
    role: Role,
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
) -> list[Product]:
    """Gradients of neurons and of the layer before them; the one of the current is computed again, for its zeros."""
    scan = scan_of(saved, constants, switches)
    current = scan_backward(grad, scan, learned, True).current
    weights = _linear_weight_grad(role, row_ptr, index, value, current, weight.shape[1])
    return [*_neurons(role, grad, scan, learned, current), *weights, *scalar(current, current.numel())]


KERNELS: Mapping[str, Callable[..., list[Product]]] = MappingProxyType(
    {
        f"neurosparse.{name}": reader
        for name, reader in (
            ("event_linear_weight_grad", _linear_weight_grad),
            ("event_conv2d_grad", _conv2d_grad),
            ("input_grad", _input_grad),
            ("leaky_scan_grad", _scan_grad),
            ("leaky_scan_dense_grad", _dense_scan_grad),
            ("leaky_filter", _filter),
            ("spiking_linear_grad", _spiking_linear_grad),
        )
    }
)
"""For each custom operator, a reader from its role and arguments to products."""
