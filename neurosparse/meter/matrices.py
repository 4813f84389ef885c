"""Products of matrices and other contractions as operations: which operand is the weight, and the real products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from neurosparse.events.operation import Operation
from neurosparse.meter.contraction import Equation, equation_of_matmul

__all__ = ["Product", "Role", "Roles", "contraction", "matrices", "real_products", "scalar"]

#: Role of a tensor: computed from parameters alone, dependent on the samples (a signal), or neither (a constant).
Role = Callable[[Any], Literal["parameter", "signal", "constant"]]
Roles = tuple[str, str]
#: Of two operands, the one whose role comes first here is the weight.
ORDER = ("parameter", "constant", "signal")


class Product(NamedTuple):
    """An operation with the input and weight of the call; the operation may hold views or parts of them.

    ``weight`` is None for scalar work that belongs to a product, such as the scaling by ``alpha``; ``source`` is then
    a tensor among whose rows that work is divided.
    """

    source: Any
    weight: Tensor | None
    operation: Operation


def scalar(like: Any, amount: int, column: str = "elementwise") -> list[Product]:
    """Scalar work beside a product."""
    kind: Any = "compare" if column == "comparisons" else column
    counts: dict[str, Any] = {column: amount}
    return [Product(like, None, Operation(kind, **counts))]


def matrices(roles: Roles, left: Tensor, right: Tensor, bias: bool = False) -> list[Product]:
    """Product of matrices. The weight is the one that does not depend on the samples, else the right one."""
    first, second = (ORDER.index(role) for role in roles)
    if not (left.is_complex() or right.is_complex()):
        if left.dim() == 2 and right.dim() < 3 and first < second:
            columns = right if right.dim() == 1 else _dense(right).transpose(0, 1)
            return [Product(right, left, Operation("linear", columns, left, bias))]
        if right.dim() < 3 and roles[1] != "signal":
            rows = right.unsqueeze(0) if right.dim() == 1 else right.transpose(0, 1)
            return [Product(left, right, Operation("linear", _dense(left), rows, bias))]
    return contraction(roles, equation_of_matmul(left.dim(), right.dim()), left, right, bias)


def contraction(roles: Roles, equation: Equation, left: Tensor, right: Tensor, bias: bool = False) -> list[Product]:
    """Any product of two tensors, of which both may be signals."""
    equation, first, second = real_products(equation, left, right)
    if roles[1] == "signal" != roles[0]:
        equation, left, right, first, second = equation.swapped, right, left, second, first
    kind = "matmul" if roles == ("signal", "signal") else "linear"
    return [Product(left, right, Operation(kind, _dense(first), second, bias, equation=str(equation)))]


def real_products(equation: Equation, left: Tensor, right: Tensor) -> tuple[Equation, Tensor, Tensor]:
    """A complex product as its four real ones (two if one operand is real): the parts are one more axis, P or Q."""
    a, b = ("P" if left.is_complex() else ""), ("Q" if right.is_complex() else "")
    parts = [torch.view_as_real(_dense(x).resolve_conj()) if x.is_complex() else x for x in (left, right)]
    return Equation(equation.left + a, equation.right + b, equation.out + (a or b)), parts[0], parts[1]


def _dense(x: Tensor) -> Tensor:
    """A sparse input with its zeros; a sparse weight is known by its own storage."""
    return x if x.layout == torch.strided else x.to_dense()
