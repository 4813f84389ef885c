"""Products of the backward pass: gradients of convolutions, embeddings and recurrent layers as operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.events.operation import Operation
from neurosparse.meter.contraction import Equation
from neurosparse.meter.matrices import Product, Role, contraction, scalar

__all__ = ["GRADIENTS", "MODES"]

#: How an embedding combines the entries of a bag, by torch's number.
MODES = ("sum", "mean", "max")
LSTM = 2  # torch's number of that recurrent layer


def _convolution_backward(
    role: Role,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: Sequence[bool],
) -> list[Product]:
    """Gradient of the input: pairs of gradient and weight; of the weight: of input and gradient; of the bias: a sum."""
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "transposed": transposed}
    back = how | {"transposed": not transposed, "size": tuple(input.shape[2:])}
    products = []
    if output_mask[0]:
        products.append(Product(grad, weight, Operation("conv", grad, weight, geometry=back)))
    if output_mask[1]:
        how |= {"kernel": tuple(weight.shape[2:])}
        products.append(Product(input, grad, Operation("matmul", input, grad, geometry=how)))
    return products + (scalar(grad, grad.numel()) if output_mask[2] else [])


def _embedding_backward(
    role: Role, grad: Tensor, indices: Tensor, size: int, padding_idx: int = -1, by_frequency: bool = False, *_: Any
) -> list[Product]:
    """Each entry adds its gradient to a row of the table; divided by the entry's frequency first, if asked for."""
    entries = int((indices != padding_idx).sum())
    return scalar(grad, entries * grad.shape[-1] * (1 + by_frequency))


def _bag_backward(
    role: Role,
    grad: Tensor,
    indices: Tensor,
    offset2bag: Tensor,
    bag_size: Tensor,
    maximum_indices: Tensor,
    size: int,
    by_frequency: bool,
    mode: int,
    weights: Tensor | None = None,
    padding_idx: int = -1,
    sparse: bool = False,
) -> list[Product]:
    """Each entry adds the gradient of its bag, times its weight, to a row of the table; the mean divides it first.

    A sparse gradient holds the terms and adds none of them.
    """
    if MODES[mode] == "max":
        return scalar(grad, grad.numel())
    entries = int((indices != padding_idx).sum()) * grad.shape[1]
    each = (not sparse) + by_frequency + (weights is not None)
    return scalar(grad, entries * each + grad.numel() * (MODES[mode] == "mean"))


def _bag_backward_whole(role: Role, grad: Tensor, indices: Tensor, offsets: Tensor, *rest: Any) -> list[Product]:
    """``_embedding_bag_backward``: it also has the offsets, and whether the gradient of the table is sparse."""
    return _bag_backward(role, grad, indices, *rest[:6], *rest[7:], sparse=rest[6])


def _bag_weights_backward(
    role: Role,
    grad: Tensor,
    table: Tensor,
    indices: Tensor,
    offsets: Tensor,
    offset2bag: Tensor,
    mode: int,
    padding_idx: int = -1,
) -> list[Product]:
    """Gradient of the weight of each entry: the product of its row with the gradient of its bag."""
    valid = indices != padding_idx
    bag = torch.bucketize(torch.arange(len(indices), device=indices.device), offsets, right=True) - 1
    first, second = grad[bag[valid]], table[indices[valid]]
    (product,) = contraction((role(grad), role(table)), Equation("nd", "nd", "n"), first, second)
    return [product._replace(source=grad, weight=table)]


def _lstm_backward(
    role: Role,
    input: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
    h0: Tensor,
    c0: Tensor,
    output: Tensor,
    h_last: Tensor,
    c_last: Tensor,
    grad_output: Tensor | None,
    grad_h: Tensor | None,
    grad_c: Tensor | None,
    reverse: bool,
    mode: int,
    hidden: int,
    layers: int,
    has_biases: bool,
    *_: Any,
) -> list[Product]:
    """Backpropagation through time of an LSTM layer: gradients of the gates times weights, inputs and states.

    The gradients of the gates are computed again here, as their zeros are counted. For each unit and step they take 18
    scalar operations: 2 for each of five activations, and 8 products and sums (``dh``, ``dh o``, ``dc``, four gates,
    ``dc f``).
    """
    if mode != LSTM:
        return []
    biases = (b_ih, b_hh) if has_biases else (None, None)
    order = range(len(input))[:: -1 if reverse else 1]
    before = torch.zeros_like(output)  # the hidden state that each step receives
    before[list(order)] = torch.cat([h0[None], output[list(order)[:-1]]])
    gates = F.linear(input, w_ih, biases[0]) + F.linear(before, w_hh, biases[1])
    i, f, g, o = (gate for gate in gates.chunk(4, -1))
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c, cells = c0, {}
    for t in order:
        cells[t] = c
        c = f[t] * c + i[t] * g[t]
    dh, dc = (torch.zeros_like(c0) if grad is None else grad for grad in (grad_h, grad_c))
    gradient = torch.zeros_like(gates)
    for t in reversed(order):
        tanh = (f[t] * cells[t] + i[t] * g[t]).tanh()
        dh = dh if grad_output is None else dh + grad_output[t]
        dc = dc + dh * o[t] * (1 - tanh**2)
        parts = (dc * g[t], i[t]), (dc * cells[t], f[t]), (dc * i[t], None), (dh * tanh, o[t])
        each = [d * (1 - g[t] ** 2) if gate is None else d * gate * (1 - gate) for d, gate in parts]
        gradient[t] = torch.cat(each, -1)
        dc, dh = dc * f[t], gradient[t] @ w_hh
    return [
        Product(gradient, w_ih, Operation("linear", gradient, w_ih.t())),
        Product(gradient, w_hh, Operation("linear", gradient, w_hh.t())),
        Product(input, gradient, Operation("matmul", input, gradient, equation="tni,tng->gi")),
        Product(before, gradient, Operation("matmul", before, gradient, equation="tnh,tng->gh")),
        *scalar(output, 18 * output.numel() + (gradient.numel() if has_biases else 0)),
    ]


def _convolution_backward_overrideable(role: Role, grad: Tensor, input: Tensor, weight: Tensor, *how: Any) -> Any:
    return _convolution_backward(role, grad, input, weight, None, *how)


GRADIENTS: Mapping[str, Callable[..., Sequence[Product]]] = MappingProxyType(
    {
        "convolution_backward": _convolution_backward,
        "convolution_backward_overrideable": _convolution_backward_overrideable,
        "embedding_dense_backward": _embedding_backward,
        "_embedding_bag_backward": _bag_backward_whole,
        "_embedding_bag_dense_backward": _bag_backward,
        "_embedding_bag_per_sample_weights_backward": _bag_weights_backward,
        "mkldnn_rnn_layer_backward": _lstm_backward,
    }
)
"""For each ATen operator of the backward pass, a reader from its role and arguments to products."""
