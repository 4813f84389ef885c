"""Torch's functions that multiply by weights, read as linear and conv operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from neurosparse.events.operation import Operation

__all__ = ["PRODUCTS"]

IsStatic = Callable[[Any], bool]
Product = tuple[Any, Operation] | None


def _linear(static: IsStatic, input: Any, weight: Any, bias: Any = None) -> Product:
    if not isinstance(weight, Tensor):
        return None
    return input, Operation("linear", input, weight.reshape(-1, weight.shape[-1]), bias is not None)


def _conv(
    static: IsStatic,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Product:
    if not isinstance(weight, Tensor):
        return None
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return input, Operation("conv", input, weight, bias is not None, geometry=geometry)


def _operands(args: tuple, named: dict[str, Any]) -> tuple[Any, ...]:
    return (*args, *(value for name, value in named.items() if name != "out" and isinstance(value, Tensor)))


def _matmul(static: IsStatic, *args: Any, **named: Any) -> Product:
    return _matrices(static, *_operands(args, named))


def _rmatmul(static: IsStatic, right: Any, left: Any) -> Product:
    return _matrices(static, left, right)


def _addmm(static: IsStatic, *args: Any, **named: Any) -> Product:
    _, left, right = _operands(args, named)
    return _matrices(static, left, right, bias=True)


def _matrices(static: IsStatic, left: Any, right: Any, bias: bool = False) -> Product:
    """A two-dimensional right operand is the weight, unless only the left one is fixed; else it cannot be told."""
    if not isinstance(right, Tensor):
        return None
    if isinstance(left, Tensor) and left.dim() == 2 and static(left) and not static(right):
        return right, Operation("linear", right if right.dim() == 1 else right.transpose(-1, -2), left, bias)
    if right.dim() in (1, 2):
        return left, Operation("linear", left, right[None] if right.dim() == 1 else right.T, bias)
    return None


PRODUCTS: dict[str, Callable[..., Product]] = {
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
"""Function name to a reader: arguments in, ``(the tensor that came in, the operation)`` out; None if it cannot tell."""
