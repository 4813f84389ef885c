"""Products in torch: ATen operators that multiply two tensors, as operations to be counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from neurosparse.events.operation import Operation
from neurosparse.meter.contraction import Equation, equation_of_matmul
from neurosparse.meter.gradients import GRADIENTS, MODES
from neurosparse.meter.matrices import Product, Role, contraction, matrices, real_products, scalar

__all__ = ["PRODUCTS", "Product", "Role"]

Reader = Callable[..., Sequence[Product]]


def _ragged(reader: Reader) -> Reader:
    """Reader that takes nested tensors apart: one call for each sample."""

    def read(role: Role, *args: Any, **named: Any) -> Sequence[Product]:
        nested = [x.unbind() if isinstance(x, Tensor) and x.is_nested else None for x in args]
        samples = next((len(parts) for parts in nested if parts is not None), None)
        if samples is None:
            return reader(role, *args, **named)
        calls = (
            (x if parts is None else parts[i] for x, parts in zip(args, nested, strict=True)) for i in range(samples)
        )
        return [product for call in calls for product in reader(role, *call, **named)]

    return read


def _matmul(role: Role, left: Tensor, right: Tensor, *_: Any, **__: Any) -> list[Product]:
    return matrices((role(left), role(right)), left, right)


def _added(role: Role, first: Tensor, left: Tensor, right: Tensor, *rest: Any, **named: Any) -> list[Product]:
    """``beta * first + alpha * (left @ right)``; with beta = 0 there is no addition."""
    products = matrices((role(left), role(right)), left, right, bias=named.get("beta", 1) != 0)
    return products + _scaling(equation_of_matmul(left.dim(), right.dim()), left, right, named)


def _added_by(equation: Equation) -> Callable[..., list[Product]]:
    """Reader of ``beta * first + alpha * product`` where the product has a fixed equation."""

    def read(role: Role, first: Tensor, left: Tensor, right: Tensor, *rest: Any, **named: Any) -> list[Product]:
        products = contraction((role(left), role(right)), equation, left, right, named.get("beta", 1) != 0)
        return products + _scaling(equation, left, right, named)

    return read


def _scaling(equation: Equation, left: Tensor, right: Tensor, named: Mapping[str, Any]) -> list[Product]:
    """Multiplication of all outputs by alpha and by beta, where these are not 0 or 1."""
    factors = sum(named.get(name, 1) not in (0, 1) for name in ("alpha", "beta"))
    if not factors:
        return []
    equation, first, second = real_products(equation, left, right)
    return scalar(left, factors * equation.outputs(first.shape, second.shape))


def _activated(role: Role, *args: Any, use_gelu: bool = False, **named: Any) -> list[Product]:
    """``addmm`` followed by a ReLU or a GELU."""
    outputs = equation_of_matmul(2, 2).outputs(args[1].shape, args[2].shape)
    return _added(role, *args, **named) + scalar(args[1], outputs, "elementwise" if use_gelu else "comparisons")


def _linear(role: Role, input: Any, weight: Any, bias: Any = None, *_: Any) -> list[Product]:
    if not isinstance(weight, Tensor):
        return _packed_linear(role, input, weight)
    across = weight if weight.dim() < 2 else weight.transpose(0, 1)
    return matrices((role(input), role(weight)), input, across, bias is not None)


def _scaled(
    role: Role, left: Tensor, right: Tensor, scale_left: Any, scale_right: Any, bias: Any = None, *_: Any
) -> list[Product]:
    """Product of 8-bit numbers; one scaling of each output for a scale of whole tensors, else one for each operand."""
    products = matrices((role(left), role(right)), left, right, bias is not None)
    by_rows = scale_left.numel() > 1 or scale_right.numel() > 1
    outputs = equation_of_matmul(2, 2).outputs(left.shape, right.shape)
    return [*(_with_bits(product, 8) for product in products), *scalar(left, outputs * (1 + by_rows))]


def _scaled_lists(role: Role, left: Tensor, right: Tensor, *rest: Any) -> list[Product]:
    """``_scaled_mm_v2``: scales are lists, each with a recipe and a permutation."""
    (scale_left, *_), (scale_right, *_), bias = rest[0], rest[3], rest[6]
    return _scaled(role, left, right, scale_left, scale_right, bias)


def _with_bits(product: Product, bits: int) -> Product:
    """The product with the precision of its operands; torch can only compare 8-bit floats after a cast."""
    operation = product.operation
    assert isinstance(operation.input, Tensor) and operation.weight is not None
    casts = {"input": operation.input.float(), "weight": operation.weight.float()}
    return product._replace(operation=replace(operation, **casts, weight_bits=bits, input_bits=bits))


def _int8_weight(role: Role, input: Tensor, weight: Tensor, scales: Tensor) -> list[Product]:
    """8-bit weights with a scale for each output."""
    outputs = input.shape[0] * weight.shape[0]
    return [Product(input, weight, Operation("linear", input, weight)), *scalar(input, outputs)]


def _int4_weight(role: Role, input: Tensor, packed: Tensor, group: int, scales: Tensor) -> list[Product]:
    """Packed 4-bit weights; the product with the identity matrix unpacks them."""
    identity = torch.eye(input.shape[1], dtype=input.dtype, device=input.device)
    weight = torch.ops.aten._weight_int4pack_mm_for_cpu(identity, packed, group, scales).transpose(0, 1)
    return [Product(input, packed, Operation("linear", input, weight, weight_bits=4))]


def _grouped(
    role: Role, left: Tensor, right: Tensor, offs: Tensor | None = None, bias: Any = None, *_: Any
) -> list[Product]:
    """A product of matrices for each group, as of experts; ``offs`` are the ends of the groups on a shared axis."""
    roles, adds = (role(left), role(right)), bias is not None
    if offs is None:
        return matrices(roles, left, right, adds)
    products = []
    for group, (start, end) in enumerate(pairwise((0, *offs.tolist()))):
        part = slice(start, end)
        if left.dim() == 3:
            pair = left[group], right[:, part]
        else:
            pair = (left[part], right[group]) if right.dim() == 3 else (left[:, part], right[part])
        products += matrices(roles, *pair, adds)
    return products


def _sampled(role: Role, pattern: Tensor, left: Tensor, right: Tensor, **named: Any) -> list[Product]:
    """Product of matrices at the places of a sparse matrix only."""
    if pattern.dim() != 2:
        return []
    rows, columns = pattern.to_sparse_coo().indices()
    first, second, each = left[rows], right.transpose(0, 1)[columns], Equation("nk", "nk", "n")
    (product,) = contraction((role(left), role(right)), each, first, second, named.get("beta", 1) != 0)
    source, weight = (left, right) if product.source is first else (right, left)
    return [product._replace(source=source, weight=weight), *_scaling(each, first, second, named)]


def _convolution(
    role: Role,
    input: Tensor,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *_: Any,
) -> list[Product]:
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if transposed:
        geometry |= {"transposed": True, "output_padding": output_padding}
    return [Product(input, weight, Operation("conv", input, weight, bias is not None, geometry=geometry))]


def _mkldnn_convolution(
    role: Role, input: Tensor, weight: Tensor, bias: Any, padding: Any, stride: Any, dilation: Any, groups: int
) -> list[Product]:
    return _convolution(role, input, weight, bias, stride, padding, dilation, False, 0, groups)


def _convolution_tbc(role: Role, input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> list[Product]:
    """Convolution of ``(time, batch, channels)`` with ``(kernel, in, out)``."""
    across = input.permute(1, 2, 0), weight.permute(2, 1, 0)
    (product,) = _convolution(role, *across, bias, 1, pad, 1, False, 0, 1)
    return [product._replace(source=input, weight=weight)]


def _packed_linear(role: Role, input: Tensor, packed: Any, *_: Any) -> list[Product]:
    """Quantised linear layer of torch: packed weights of 8 bits with 8-bit inputs, or of 16 bits."""
    weight, bias = packed.unpack()
    bits = 8 if weight.is_quantized else 16
    x, weight = (y.dequantize() if y.is_quantized else y for y in (input, weight))
    operation = Operation("linear", x, weight, bias is not None, weight_bits=bits)
    return [Product(input, weight, replace(operation, input_bits=8) if bits == 8 else operation)]


def _packed_relu(role: Role, input: Tensor, packed: Any, *_: Any) -> list[Product]:
    products = _packed_linear(role, input, packed)
    weight = products[0].weight
    assert weight is not None
    return products + scalar(input, input[..., 0].numel() * len(weight), "comparisons")


def _embedding(role: Role, weight: Tensor, indices: Tensor, *_: Any) -> list[Product]:
    """Embedding: a lookup of one row of the table for each entry."""
    return [Product(indices, weight, Operation("embedding", indices, _rows(weight)))]


def _embedding_bag(
    role: Role,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> list[Product]:
    """Sum, mean or maximum over the entries of each bag; entries ``padding_idx`` are left out."""
    geometry = {
        "bags": len(offsets) - include_last_offset,
        "mode": MODES[mode],
        "weighted": per_sample_weights is not None,
        "padding": None if padding_idx < 0 else padding_idx,
    }
    return [Product(indices, weight, Operation("embedding", indices, _rows(weight), geometry=geometry))]


def _rows(table: Tensor) -> Tensor:
    """Rows of a table; real and imaginary parts side by side."""
    return torch.view_as_real(table.resolve_conj()).flatten(1) if table.is_complex() else table


PRODUCTS: Mapping[str, Reader] = MappingProxyType(
    {
        **dict.fromkeys(
            """
            mm bmm mv dot vdot matmul _int_mm _sparse_sparse_matmul _sparse_mm_reduce_impl hspmm
            """.split(),  # noqa: SIM905
            _ragged(_matmul),
        ),
        **dict.fromkeys(("addmm", "addmv", "baddbmm", "_sparse_addmm", "sspaddmm"), _added),
        "_addmm_activation": _activated,
        "addbmm": _added_by(Equation("bxy", "byz", "xz")),
        "addr": _added_by(Equation("x", "y", "xy")),
        **dict.fromkeys(("linear", "mkldnn_linear"), _ragged(_linear)),
        "_scaled_mm": _scaled,
        "_scaled_mm_v2": _scaled_lists,
        "_weight_int8pack_mm": _int8_weight,
        "_weight_int4pack_mm_for_cpu": _int4_weight,
        "_grouped_mm": _grouped,
        "sparse_sampled_addmm": _sampled,
        **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _convolution),
        "mkldnn_convolution": _mkldnn_convolution,
        "conv_tbc": _convolution_tbc,
        **dict.fromkeys(("linear_dynamic", "linear_dynamic_fp16"), _packed_linear),
        **dict.fromkeys(("linear_relu", "linear_relu_dynamic", "linear_relu_dynamic_fp16"), _packed_relu),
        "embedding": _embedding,
        **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _embedding_bag),
        **GRADIENTS,
    }
)
"""For each ATen operator, a reader from its role and arguments to products; none for arguments it cannot read."""
