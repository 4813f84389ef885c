"""Products in torch: ATen operators that multiply two tensors, forward and backward, as operations to be counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from neurosparse.events.operation import Operation
from neurosparse.meter.contraction import Equation, equation_of_matmul

__all__ = ["PRODUCTS", "Product", "Role"]

#: Role of a tensor: computed from parameters alone, dependent on the samples (a signal), or neither (a constant).
Role = Callable[[Any], Literal["parameter", "signal", "constant"]]
#: Of two operands, the one whose role comes first here is the weight.
ORDER = ("parameter", "constant", "signal")
Roles = tuple[str, str]


class Product(NamedTuple):
    """An operation with the input and weight of the call; the operation may hold views or parts of them.

    ``weight`` is None for scalar work that belongs to a product, such as the scaling by ``alpha``; ``source`` is then
    a tensor among whose rows that work is divided.
    """

    source: Any
    weight: Tensor | None
    operation: Operation


def _scalar(like: Any, amount: int, column: str = "elementwise") -> list[Product]:
    """Scalar work beside a product; nothing if the amount is zero."""
    kind: Any = "compare" if column == "comparisons" else column
    counts: dict[str, Any] = {column: amount}
    return [Product(like, None, Operation(kind, **counts))] if amount else []


def _matrices(roles: Roles, left: Tensor, right: Tensor, bias: bool = False) -> list[Product]:
    """Product of matrices. The weight is the one that does not depend on the samples, else the right one."""
    first, second = (ORDER.index(role) for role in roles)
    if not (left.is_complex() or right.is_complex()):
        if left.dim() == 2 and right.dim() < 3 and first < second:
            columns = right if right.dim() == 1 else right.transpose(0, 1)
            return [Product(right, left, Operation("linear", columns, left, bias))]
        if right.dim() < 3 and roles[1] != "signal":
            rows = right.unsqueeze(0) if right.dim() == 1 else right.transpose(0, 1)
            return [Product(left, right, Operation("linear", left, rows, bias))]
    return _contraction(roles, equation_of_matmul(left.dim(), right.dim()), left, right, bias)


def _contraction(roles: Roles, equation: Equation, left: Tensor, right: Tensor, bias: bool = False) -> list[Product]:
    """Any product of two tensors, of which both may be signals."""
    equation, first, second = _real(equation, left, right)
    if roles[1] == "signal" != roles[0]:
        equation, left, right, first, second = equation.swapped, right, left, second, first
    kind = "matmul" if roles == ("signal", "signal") else "linear"
    return [Product(left, right, Operation(kind, first, second, bias, equation=str(equation)))]


def _real(equation: Equation, left: Tensor, right: Tensor) -> tuple[Equation, Tensor, Tensor]:
    """A complex product as its four real ones (two if one operand is real): the parts are one more axis, P or Q."""
    a, b = ("P" if left.is_complex() else ""), ("Q" if right.is_complex() else "")
    parts = [torch.view_as_real(_dense(x).resolve_conj()) if x.is_complex() else x for x in (left, right)]
    return Equation(equation.left + a, equation.right + b, equation.out + (a or b)), parts[0], parts[1]


def _dense(x: Tensor) -> Tensor:
    return x if x.layout == torch.strided else x.to_dense()


def _matmul(role: Role, left: Tensor, right: Tensor, *_: Any, **__: Any) -> list[Product]:
    return _matrices((role(left), role(right)), left, right)


def _added(
    role: Role, first: Tensor, left: Tensor, right: Tensor, *_: Any, beta: Any = 1, alpha: Any = 1, **__: Any
) -> list[Product]:
    """``beta * first + alpha * (left @ right)``; with beta = 0 there is no addition."""
    products = _matrices((role(left), role(right)), left, right, bias=beta != 0)
    return products + _scaling(equation_of_matmul(left.dim(), right.dim()), left, right, alpha, beta)


def _scaling(equation: Equation, left: Tensor, right: Tensor, *factors: Any) -> list[Product]:
    """Multiplication of all outputs by each factor other than 0 and 1."""
    equation, first, second = _real(equation, left, right)
    amount = equation.outputs(first.shape, second.shape) * sum(factor not in (0, 1) for factor in factors)
    return _scalar(left, amount)


def _by(equation: Equation, added: bool = False) -> Callable[..., list[Product]]:
    """Reader of an operator with a fixed equation; of one that is ``added`` to a first tensor with alpha and beta."""

    def read(role: Role, *operands: Tensor, beta: Any = 1, alpha: Any = 1, **_: Any) -> list[Product]:
        left, right = operands[added : added + 2]
        products = _contraction((role(left), role(right)), equation, left, right, added and beta != 0)
        return products + (_scaling(equation, left, right, alpha, beta) if added else [])

    return read


def _activated(role: Role, *args: Any, use_gelu: bool = False, **named: Any) -> list[Product]:
    """``addmm`` followed by a ReLU or a GELU."""
    outputs = equation_of_matmul(2, 2).outputs(args[1].shape, args[2].shape)
    return _added(role, *args, **named) + _scalar(args[1], outputs, "elementwise" if use_gelu else "comparisons")


def _linear(role: Role, input: Any, weight: Any, bias: Any = None, *_: Any) -> list[Product]:
    if not isinstance(weight, Tensor):
        return _packed_linear(role, input, weight)
    across = weight if weight.dim() < 2 else weight.transpose(0, 1)
    return _matrices((role(input), role(weight)), input, across, bias is not None)


def _scaled(role: Role, left: Tensor, right: Tensor, scale_left: Any, scale_right: Any, *rest: Any) -> list[Product]:
    """Product of 8-bit numbers; one scaling of each output for a scale of whole tensors, else one for each operand."""
    bias = next((x for x in rest if isinstance(x, Tensor) and x.dim() == 1), None)
    parts = scale_left.numel() > 1 or scale_right.numel() > 1
    products = _matrices((role(left), role(right)), left, right, bias is not None)
    return [_with_bits(product, 8) for product in products] + _scaling(
        equation_of_matmul(2, 2), left, right, *((2, 2) if parts else (2,))
    )


def _scaled_lists(role: Role, left: Tensor, right: Tensor, *rest: Any) -> list[Product]:
    """``_scaled_mm_v2``: scales are lists, each with a recipe and a permutation."""
    (scale_left, *_), (scale_right, *_) = rest[0], rest[3]
    return _scaled(role, left, right, scale_left, scale_right, *rest[6:7])


def _with_bits(product: Product, bits: int) -> Product:
    """The product with the precision of its operands; torch can only compare 8-bit floats after a cast."""
    operation = product.operation
    assert isinstance(operation.input, Tensor) and operation.weight is not None
    casts = {"input": operation.input.float(), "weight": operation.weight.float()}
    return product._replace(operation=replace(operation, **casts, weight_bits=bits, input_bits=bits))


def _int8_weight(role: Role, input: Tensor, weight: Tensor, scales: Tensor) -> list[Product]:
    """8-bit weights with a scale for each output."""
    outputs = input.shape[0] * weight.shape[0]
    return [Product(input, weight, Operation("linear", input, weight)), *_scalar(input, outputs)]


def _int4_weight(role: Role, input: Tensor, packed: Tensor, group: int, scales: Tensor) -> list[Product]:
    """Packed 4-bit weights; the product with the identity matrix unpacks them."""
    identity = torch.eye(input.shape[1], dtype=input.dtype)
    weight = torch.ops.aten._weight_int4pack_mm_for_cpu(identity, packed, group, scales).transpose(0, 1)
    return [Product(input, packed, Operation("linear", input, weight, weight_bits=4))]


def _grouped(
    role: Role, left: Tensor, right: Tensor, offs: Tensor | None = None, bias: Any = None, *_: Any
) -> list[Product]:
    """A product of matrices for each group, as of experts; ``offs`` are the ends of the groups on a shared axis."""
    roles, adds = (role(left), role(right)), bias is not None
    if offs is None:
        return _matrices(roles, left, right, adds)
    products = []
    for group, (start, end) in enumerate(pairwise((0, *offs.tolist()))):
        part = slice(start, end)
        if left.dim() == 3:
            pair = left[group], right[:, part]
        else:
            pair = (left[part], right[group]) if right.dim() == 3 else (left[:, part], right[part])
        products += _matrices(roles, *pair, adds)
    return products


def _sampled(
    role: Role, pattern: Tensor, left: Tensor, right: Tensor, *, beta: Any = 1, alpha: Any = 1, **_: Any
) -> list[Product]:
    """Product of matrices at the places of a sparse matrix only."""
    if pattern.dim() != 2:
        return []
    rows, columns = pattern.to_sparse_coo().indices()
    first, second = left[rows], right.transpose(0, 1)[columns]
    each = Equation("nk", "nk", "n")
    (product,) = _contraction((role(left), role(right)), each, first, second, beta != 0)
    source, weight = (left, right) if product.source is first else (right, left)
    return [product._replace(source=source, weight=weight), *_scaling(each, first, second, alpha, beta)]


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
    return products + _scalar(input, input[..., 0].numel() * len(weight), "comparisons")


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


MODES = ("sum", "mean", "max")


def _rows(table: Tensor) -> Tensor:
    """Rows of a table; real and imaginary parts side by side."""
    return torch.view_as_real(table.resolve_conj()).flatten(1) if table.is_complex() else table


# ---- backward


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
    return products + (_scalar(grad, grad.numel()) if output_mask[2] else [])


def _embedding_backward(
    role: Role, grad: Tensor, indices: Tensor, size: int, padding_idx: int = -1, by_frequency: bool = False, *_: Any
) -> list[Product]:
    """Each entry adds its gradient to a row of the table; divided by the entry's frequency first, if asked for."""
    entries = int((indices != padding_idx).sum())
    return _scalar(grad, entries * grad.shape[-1] * (1 + by_frequency))


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
) -> list[Product]:
    """Each entry adds the gradient of its bag, times its weight, to a row of the table; the mean divides it first."""
    if MODES[mode] == "max":
        return _scalar(grad, grad.numel())
    entries = int((indices != padding_idx).sum()) * grad.shape[1]
    return _scalar(grad, entries * (1 + by_frequency + (weights is not None)) + grad.numel() * (MODES[mode] == "mean"))


def _bag_backward_whole(role: Role, grad: Tensor, indices: Tensor, offsets: Tensor, *rest: Any) -> list[Product]:
    """``_embedding_bag_backward``: it also has the offsets, and whether the gradient of the table is sparse."""
    return _bag_backward(role, grad, indices, *rest[:6], *rest[7:])


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
    bag = torch.bucketize(torch.arange(len(indices)), offsets, right=True) - 1
    first, second = grad[bag[valid]], table[indices[valid]]
    (product,) = _contraction((role(grad), role(table)), Equation("nd", "nd", "n"), first, second)
    return [product._replace(source=grad, weight=table)]


PRODUCTS: Mapping[str, Callable[..., Sequence[Product]]] = MappingProxyType(
    {
        **dict.fromkeys(
            """
            mm bmm mv dot vdot matmul _int_mm _sparse_mm _sparse_sparse_matmul _sparse_mm_reduce_impl hspmm
            """.split(),  # noqa: SIM905
            _matmul,
        ),
        **dict.fromkeys(("addmm", "addmv", "baddbmm", "_sparse_addmm", "sspaddmm"), _added),
        "_addmm_activation": _activated,
        "addbmm": _by(Equation("bxy", "byz", "xz"), added=True),
        "addr": _by(Equation("x", "y", "xy"), added=True),
        **dict.fromkeys(("ger", "outer"), _by(Equation("x", "y", "xy"))),
        **dict.fromkeys(("linear", "mkldnn_linear"), _linear),
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
        "convolution_backward": _convolution_backward,
        **dict.fromkeys(("embedding_dense_backward", "embedding_sparse_backward"), _embedding_backward),
        "_embedding_bag_backward": _bag_backward_whole,
        "_embedding_bag_dense_backward": _bag_backward,
        "_embedding_bag_per_sample_weights_backward": _bag_weights_backward,
    }
)
"""For each ATen operator, a reader from its role and arguments to products; none for arguments it cannot read."""
