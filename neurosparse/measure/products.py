"""Torch's functions that multiply by weights, read as linear and conv operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosparse.events.operation import Operation

__all__ = ["PRODUCTS", "Product"]

IsStatic = Callable[[Any], bool]


class Product(NamedTuple):
    """An operation, with its input and its weight as they came in: it may hold transposed views of them."""

    source: Any
    weight: Tensor
    operation: Operation


def _linear(static: IsStatic, input: Any, weight: Any, bias: Any = None) -> Product | None:
    if not isinstance(weight, Tensor):
        return None
    return Product(input, weight, Operation("linear", input, torch.atleast_2d(weight), bias is not None))


def _conv(
    static: IsStatic,
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


def _operands(args: tuple, named: dict[str, Any]) -> tuple[Any, ...]:
    return (*args, *(value for name, value in named.items() if name != "out" and isinstance(value, Tensor)))


def _matmul(static: IsStatic, *args: Any, **named: Any) -> Product | None:
    return _matrices(static, *_operands(args, named))


def _rmatmul(static: IsStatic, right: Any, left: Any) -> Product | None:
    return _matrices(static, left, right)


def _addmm(static: IsStatic, *args: Any, **named: Any) -> Product | None:
    _, left, right = _operands(args, named)
    return _matrices(static, left, right, bias=True)


def _matrices(static: IsStatic, left: Any, right: Any, bias: bool = False) -> Product | None:
    """A two-dimensional right operand is the weight, unless only the left one is fixed; else it cannot be told."""
    if not isinstance(right, Tensor):
        return None
    if isinstance(left, Tensor) and left.dim() == 2 and static(left) and not static(right):
        columns = right if right.dim() == 1 else right.transpose(-1, -2)
        return Product(right, left, Operation("linear", columns, left, bias))
    if right.dim() in (1, 2):
        return Product(left, right, Operation("linear", left, torch.atleast_2d(right.t()), bias))
    return None


PRODUCTS: dict[str, Callable[..., Product | None]] = {
    "linear": _linear,
    "conv1d": _conv,
    "conv2d": _conv,
    "conv3d": _conv,
    "matmul": _matmul,
    "rmatmul": _rmatmul,
    "mm": _matmul,
    "mv": _matmul,
    "addmm": _addmm,
    "addmv": _addmm,
}
"""Function name to a reader: arguments in, a product out; None if it cannot tell."""
