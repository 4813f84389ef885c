"""Products in torch: functions that multiply signals with weights, or with each other, as operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.contraction import Equation, equation_of_matmul, equation_of_tensordot, parse

__all__ = ["PRODUCTS", "Product", "Role"]

#: Role of a tensor: computed from parameters alone, dependent on the samples (a signal), or neither (a constant).
Role = Callable[[Any], Literal["parameter", "signal", "constant"]]
#: Of two operands, the one that comes first here is the weight.
ORDER = ("parameter", "constant", "signal")


class Product(NamedTuple):
    """An operation with the input and weight of the call; the operation may hold transposed views of them."""

    source: Any
    weight: Tensor
    operation: Operation


def _linear(role: Role, input: Any, weight: Any, bias: Any = None) -> Product | None:
    if not isinstance(weight, Tensor):
        return None
    if role(weight) == "signal" and weight.dim() == 2 and isinstance(input, Tensor):
        across = equation_of_matmul(input.dim(), 2)
        return _contraction(role, across._replace(right=across.right[::-1]), input, weight, bias is not None)
    return Product(input, weight, Operation("linear", input, torch.atleast_2d(weight), bias is not None))


def _quantised_linear(role: Role, input: Any, packed: Any, reduce_range: bool = True) -> Product:
    """Dynamic quantisation of torch: packed 8-bit weights, inputs rounded to 8 bits."""
    weight, bias = packed.unpack()
    weight = weight.dequantize()
    return Product(input, weight, Operation("linear", input, weight, bias is not None, weight_bits=8, input_bits=8))


def _conv(
    role: Role,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Product | None:
    if not isinstance(weight, Tensor):
        return None
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Product(input, weight, Operation("conv", input, weight, bias is not None, geometry=geometry))


def _transposed(
    role: Role,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Product | None:
    product = _conv(role, input, weight, bias, stride, padding, dilation, groups)
    if product is not None and product.operation.geometry is not None:
        product.operation.geometry.update(transposed=True, output_padding=output_padding)
    return product


def _operands(args: tuple, named: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*args, *(value for name, value in named.items() if name != "out" and isinstance(value, Tensor)))


def _matmul(role: Role, *args: Any, **named: Any) -> Product | None:
    return _matrices(role, *_operands(args, named))


def _rmatmul(role: Role, right: Any, left: Any) -> Product | None:
    return _matrices(role, left, right)


def _added(role: Role, *args: Any, **named: Any) -> Product | None:
    """``beta * first + alpha * (left @ right)``; with beta = 0 there is no addition."""
    _, left, right = _operands(args, named)
    return _matrices(role, left, right, bias=named.get("beta", 1) != 0)


def _matrices(role: Role, left: Any, right: Any, bias: bool = False) -> Product | None:
    """Product of matrices. The weight is the one that does not depend on the samples, else the right one."""
    if not isinstance(right, Tensor):
        return None
    roles = role(left), role(right)
    if isinstance(left, Tensor) and left.dim() == 2 and ORDER.index(roles[0]) < ORDER.index(roles[1]):
        columns = right if right.dim() == 1 else right.transpose(-1, -2)
        return Product(right, left, Operation("linear", columns, left, bias))
    if right.dim() in (1, 2) and roles[1] != "signal":
        return Product(left, right, Operation("linear", left, torch.atleast_2d(right.t()), bias))
    return _contraction(role, equation_of_matmul(len(left.shape), right.dim()), left, right, bias)


def _contraction(role: Role, equation: Equation | None, left: Any, right: Any, bias: bool = False) -> Product | None:
    """Any product of two tensors, of which both may be signals."""
    roles = [role(left), role(right)]
    left, right = (x.dense() if isinstance(x, EventTensor) else x for x in (left, right))
    if equation is None or not (isinstance(left, Tensor) and isinstance(right, Tensor)):
        return None
    if roles[1] == "signal" != roles[0]:
        equation, left, right = equation.swapped, right, left
    kind = "matmul" if roles == ["signal", "signal"] else "linear"
    return Product(left, right, Operation(kind, left, right, bias, equation=str(equation)))


def _einsum(role: Role, equation: Any, *operands: Any) -> Product | None:
    operands = tuple(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    if not isinstance(equation, str) or len(operands) != 2:
        return None
    left, right = operands
    return _contraction(role, parse(equation, len(left.shape), len(right.shape)), left, right)


def _tensordot(role: Role, a: Any, b: Any, dims: Any = 2, out: Any = None) -> Product | None:
    axes = dims.tolist() if isinstance(dims, Tensor) else dims
    return _contraction(role, equation_of_tensordot(len(a.shape), len(b.shape), axes), a, b)


def _inner(role: Role, *args: Any, **named: Any) -> Product | None:
    return _tensordot(role, *_operands(args, named), dims=([-1], [-1]))


def _by(equation: str, skip: int = 0) -> Callable[..., Product | None]:
    """Reader of a function with a fixed equation whose two operands follow ``skip`` other tensors."""

    def read(role: Role, *args: Any, **named: Any) -> Product | None:
        left, right = _operands(args, named)[skip : skip + 2]
        adds = skip > 0 and named.get("beta", 1) != 0
        return _contraction(role, parse(equation, left.dim(), right.dim()), left, right, bool(adds))

    return read


def _embedding(
    role: Role, input: Any, weight: Any, padding_idx: Any = None, max_norm: Any = None, *rest: Any, **named: Any
) -> Product | None:
    """Embedding: a lookup of one row of the table for each entry."""
    if max_norm is not None:
        return None
    return Product(input, weight, Operation("embedding", input, weight))


def _embedding_bag(
    role: Role,
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: Any = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: Any = None,
) -> Product | None:
    if max_norm is not None:
        return None
    bags = len(input) if offsets is None else len(offsets) - include_last_offset
    weighted = per_sample_weights is not None
    geometry = {"bags": bags, "mode": mode, "weighted": weighted, "padding": padding_idx}
    return Product(input, weight, Operation("embedding", input, weight, geometry=geometry))


PRODUCTS: Mapping[str, Callable[..., Product | None]] = MappingProxyType(
    {
        "linear": _linear,
        "linear_dynamic": _quantised_linear,
        **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
        **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
        **dict.fromkeys(("matmul", "mm", "mv", "bmm", "sparse_mm"), _matmul),
        "rmatmul": _rmatmul,
        **dict.fromkeys(("addmm", "addmv", "baddbmm"), _added),
        "addbmm": _by("bxy,byz->xz", skip=1),
        "addr": _by("x,y->xy", skip=1),
        **dict.fromkeys(("outer", "ger"), _by("x,y->xy")),
        **dict.fromkeys(("dot", "vdot"), _by("x,x->")),
        **dict.fromkeys(("vecdot", "linalg_vecdot"), _by("...x,...x->...")),
        "inner": _inner,
        "tensordot": _tensordot,
        "einsum": _einsum,
        "embedding": _embedding,
        "embedding_bag": _embedding_bag,
    }
)
"""For each function name, a reader from arguments to a product; it returns None for arguments it cannot read."""
