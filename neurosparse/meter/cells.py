"""Sizes by which the scalar operations of an ATen call are counted: outputs, inputs, windows, sorts, butterflies."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["Call", "Size", "cells_of"]


class Call(NamedTuple):
    """One call of an ATen operator; ``call.get("dim")`` is its argument of that name in the operator's schema."""

    func: Any
    name: str
    args: tuple
    kwargs: Mapping[str, Any]
    result: Any

    def get(self, name: str, default: Any = None) -> Any:
        """Argument, or its default value in the schema; ``default`` if the operator has no such argument."""
        if name in self.kwargs:
            return self.kwargs[name]
        position, standard = _parameters(self.func).get(name, (len(self.args), default))
        return self.args[position] if position < len(self.args) else standard

    @property
    def source(self) -> Any:
        """First tensor among the arguments."""
        found = _first(self.args)
        return _first(self.kwargs) if found is None else found

    @property
    def out(self) -> Any:
        """First tensor of the result; of an operator in place that returns nothing, its first argument."""
        made = _first(self.result)
        return self.source if made is None else made


#: What a number of operations is per; None where it is not known for these arguments.
Size = Callable[[Call], "int | None"]


@cache
def _parameters(func: Any) -> dict[str, tuple[int, Any]]:
    arguments = func._schema.arguments
    return {each.name: (place, each.default_value) for place, each in enumerate(arguments)}


def _first(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x
    if x and isinstance(x, tuple) and isinstance(x[0], Tensor):
        return x[0]
    return next((leaf for leaf in tree_leaves(x) if isinstance(leaf, Tensor)), None)


def cells_of(x: Any) -> int:
    """Number of values that a tensor holds: all its entries, or the stored ones of a sparse tensor; 0 for no tensor."""
    if not isinstance(x, Tensor):
        return 0
    if x.layout in (torch.strided, torch.jagged):
        return x.numel()
    stored = x._values() if x.layout == torch.sparse_coo else x.values()
    return stored.numel()


def outputs(call: Call) -> int:
    return cells_of(call.out)


def inputs(call: Call) -> int:
    return cells_of(call.source)


def levels(n: int) -> int:
    """``ceil(log2 n)``, the depth of a merge sort or of a fast Fourier transform."""
    return max(0, n - 1).bit_length()


# ---- reductions into places


def sources(call: Call) -> int | None:
    """Entries that a reduction by indices reads (scatter, index_add and the like), one operation for each.

    Two with a scale ``alpha``; a mean has one more division per output.
    """
    cells = _source_cells(call)
    if cells is None:
        return None
    scaled = cells * _scales(call.get("alpha", 1))
    divisions = outputs(call) if call.get("reduce") == "mean" else 0
    return cells + scaled + divisions


def _source_cells(call: Call) -> int | None:
    if call.name in ("scatter", "scatter_add", "scatter_reduce", "put"):
        return cells_of(call.get("index"))
    if call.name == "segment_reduce":
        return cells_of(call.get("data"))
    if call.name.endswith(("index_put", "index_put_impl")):
        return indexed_cells(call.get("self"), call.get("indices"))
    return cells_of(call.get("source", call.get("values")))


def indexed_cells(x: Tensor, indices: Any) -> int | None:
    """Number of entries of ``x[indices]``, repeated ones included; None for a mask without values (meta tensors).

    Example:
        >>> indexed_cells(torch.zeros(4, 5), [torch.tensor([0, 0, 1])])
        15
    """
    shapes, axis, rest = [], 0, 1
    for index in indices:
        if index is None:
            rest, axis = rest * x.shape[axis], axis + 1
        elif index.dtype in (torch.bool, torch.uint8):
            if index.is_meta:
                return None
            shapes.append((int(torch.count_nonzero(index)),))
            axis += index.dim()
        else:
            shapes.append(index.shape)
            axis += 1
    return math.prod(torch.broadcast_shapes(*shapes)) * rest * math.prod(x.shape[axis:])


def removed_duplicates(call: Call) -> int:
    """Entries of a sparse tensor that are added to another entry of the same place."""
    return max(0, inputs(call) - outputs(call))


# ---- windows


def windows(call: Call) -> int:
    """Number of pairs of an output cell and an input cell in its pooling window; padding is not read."""
    out = call.get("grad_output")
    source = call.source if out is None else call.get("self")
    out = call.out if out is None else out
    axes = int(re.findall(r"(\d)d", call.name)[0])
    outs, ins = out.shape[-axes:], source.shape[-axes:]
    if "adaptive" in call.name:
        covered = (_adaptive(n, size) for n, size in zip(ins, outs, strict=True))
    else:
        kernel = _per_axis(call.get("kernel_size"), axes)
        stride = _per_axis(call.get("stride") or kernel, axes)
        padding, dilation = (
            _per_axis(call.get(name, plain), axes) for name, plain in (("padding", 0), ("dilation", 1))
        )
        covered = map(_covered, ins, outs, kernel, stride, padding, dilation)
    return math.prod(covered) * math.prod(out.shape[:-axes])


@cache
def _covered(n: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return sum(0 <= i * stride - padding + j * dilation < n for i in range(out) for j in range(kernel))


@cache
def _adaptive(n: int, out: int) -> int:
    return sum(-(-(i + 1) * n // out) - i * n // out for i in range(out))


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return sizes * axes if len(sizes) == 1 else sizes


def averaged_back(call: Call) -> int:
    """Gradient of a mean over windows: one division per window and one addition per pair."""
    return windows(call) + cells_of(call.get("grad_output"))


def whole_windows(call: Call) -> int:
    """Windows at random places, none of which reaches over a border."""
    return outputs(call) * math.prod(call.get("kernel_size"))


# ---- sorts and searches


def sorting(call: Call) -> int:
    """Comparisons of a merge sort along ``dim``, of all entries if there is no such argument."""
    source, axis = call.source, call.get("dim")
    length = source.numel() if axis is None else source.shape[axis] if source.dim() else 1
    return cells_of(source) * max(1, levels(length))


def searches(call: Call) -> int:
    """Comparisons of a binary search per query: ``ceil(log2(n + 1))`` among ``n`` sorted values."""
    sequence = call.get("sorted_sequence", call.get("boundaries"))
    queries = call.get("self")
    return (cells_of(queries) if isinstance(queries, Tensor) else 1) * sequence.shape[-1].bit_length()


def memberships(call: Call) -> int:
    """``isin``: the test elements are sorted, and each element is searched among them."""
    found, test = call.get("elements", call.get("element")), call.get("test_elements", call.get("test_element"))
    n, queries = (cells_of(x) if isinstance(x, Tensor) else 1 for x in (test, found))
    return n * levels(n) + queries * n.bit_length()


def binning(call: Call) -> int:
    """Histograms: the place in uniform bins is a difference and a product, in others a search; and one addition."""
    source, bins = call.get("self"), call.get("bins")
    if isinstance(bins, Tensor):
        return cells_of(source) * (1 + (bins.numel() - 1).bit_length())
    edges = [edge.numel().bit_length() for edge in bins if isinstance(edge, Tensor)] if isinstance(bins, list) else []
    rows = cells_of(source) // source.shape[-1] if edges else 0
    return rows * (1 + sum(edges)) if edges else 3 * cells_of(source)


def sampling(call: Call) -> int:
    """Draws from given probabilities: their running sum, and a binary search per draw."""
    return inputs(call) + outputs(call) * call.source.shape[-1].bit_length()


# ---- distances, transforms, matrices


def distances(call: Call) -> int:
    """Difference, power and addition for each pair of vectors and each coordinate."""
    x = call.get("x1", call.get("self"))
    grad = call.get("grad")
    return 3 * cells_of(call.out if grad is None else grad) * x.shape[-1]


def fourier(call: Call) -> int:
    """Fast Fourier transform by radix 2: ``5 n log2 n`` real operations for ``n`` complex values, half for real ones.

    A butterfly is one complex product and two complex additions, 10 real operations for two values. ``log2 n`` is
    rounded up. A scale is one product for each real number of the output.
    """
    x, out, axes = call.source, call.out, call.get("dim")
    scale = cells_of(out) * (2 if out.is_complex() else 1) if call.get("normalization") else 0
    real = next((each for each in (x, out) if not each.is_complex()), None)
    if real is None:
        return 5 * cells_of(x) * sum(levels(x.shape[axis]) for axis in axes) + scale
    spectrum = out if real is x else x
    half = cells_of(real) // real.shape[axes[-1]] * (real.shape[axes[-1]] // 2 + 1)
    half = half if real is x else cells_of(spectrum)
    last = -(-5 * cells_of(real) * levels(real.shape[axes[-1]]) // 2)
    return last + 5 * half * sum(levels(real.shape[axis]) for axis in axes[:-1]) + scale


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _factor(m: int, n: int) -> int:
    """LU factors of an m x n matrix, ``k^2 (max - k / 3)`` with ``k = min(m, n)``: ``2 n^3 / 3`` for a square one."""
    k = min(m, n)
    return _ceil(k * k * (3 * max(m, n) - k), 3)


#: Additions and multiplications of one matrix, leading terms (Golub & Van Loan 2013).
_MATRIX: Mapping[str, Callable[[int, int], int]] = MappingProxyType(
    {
        **dict.fromkeys(("cholesky", "linalg_cholesky_ex", "linalg_ldl_factor_ex"), lambda _, n: _ceil(n**3, 3)),
        **dict.fromkeys(("linalg_lu", "linalg_lu_factor_ex", "_linalg_det", "_linalg_slogdet"), _factor),
        "_linalg_solve_ex": _factor,
        "linalg_inv_ex": lambda _, n: 2 * n**3,
        "cholesky_inverse": lambda _, n: _ceil(2 * n**3, 3),
        "geqrf": lambda m, n: 2 * _factor(m, n),
        "linalg_qr": lambda m, n: 4 * _factor(m, n),
    }
)
#: Multiples of n^2 operations for each right-hand side.
_SIDES: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("linalg_solve_triangular", "triangular_solve"), 1),
        **dict.fromkeys(("cholesky_solve", "_cholesky_solve_helper", "linalg_lu_solve", "linalg_ldl_solve"), 2),
        "_linalg_solve_ex": 2,
    }
)
MATRIX_OPERATORS = " ".join({**_MATRIX, **_SIDES})


def matrices(call: Call) -> int:
    """Factors of matrices and solutions of linear systems; a complex operation is four real ones."""
    matrix = call.get("A", call.get("LU", call.get("LD", call.get("input2", call.source))))
    *batch, m, n = matrix.shape
    amount = math.prod(batch) * _MATRIX[call.name](m, n) if call.name in _MATRIX else 0
    if call.name == "linalg_qr" and call.get("mode") == "r":
        amount //= 2
    if call.name in _SIDES:
        amount += _SIDES[call.name] * n * cells_of(call.out)
    return amount * (4 if call.out.is_complex() else 1)


# ---- numbers of operations that depend on the arguments


def bounds(call: Call) -> int:
    """A clamp compares with each bound that is given."""
    return outputs(call) * sum(call.get(name) is not None for name in ("min", "max"))


def _scales(x: Any) -> bool:
    """Whether a factor is neither 1 nor -1, with which there is no product."""
    return isinstance(x, Tensor) or x not in (1, -1)


def sums(call: Call) -> int:
    """An addition, and a product with ``alpha`` if there is one."""
    return outputs(call) * (1 + _scales(call.get("alpha", 1)))


def scaled_products(call: Call) -> int:
    """A product (or quotient) and a sum, and a product with ``value`` if there is one."""
    return outputs(call) * (2 + _scales(call.get("value", call.get("scalars", 1))))


def batch_norm(call: Call) -> int:
    return inputs(call) * (5 if call.get("training", False) else 2)


def batch_norm_backward(call: Call) -> int:
    training = call.get("train", call.get("update", True))
    return inputs(call) * (13 if training else 6)


def norm_backward(call: Call) -> int:
    """Gradient of a layer norm or group norm: nine operations per value, and four for scale and shift."""
    return inputs(call) * (9 if call.get("weight") is None else 13)


def loss(each: int) -> Size:
    """Operations per value, one for its class weight and one for the sum of all."""

    def size(call: Call) -> int:
        weighted = sum(call.get(name) is not None for name in ("weight", "pos_weight"))
        return inputs(call) * (each + weighted + (call.get("reduction", 1) != 0))

    return size


def per_target(call: Call) -> int:
    """Negative log-likelihood: one addition for each target, two with class weights."""
    return cells_of(call.get("target")) * (1 if call.get("weight") is None else 2)


def diagonal(call: Call) -> int:
    return min(call.source.shape)


def embedding_backward(call: Call) -> int:
    width = call.get("grad", call.get("grad_output")).shape[-1]
    return cells_of(call.get("indices")) * width


def renormalised(call: Call) -> int | None:
    """Norm (two operations per value) and scale of each row that is looked up."""
    if call.source.is_meta:
        return None
    return 3 * call.get("indices").unique().numel() * call.source.shape[-1]


def grid(call: Call) -> int | None:
    """Sample at given places: a weighted sum per output, and per place its coordinates and weights."""
    axes = call.get("grid").shape[-1]
    places = cells_of(call.get("grid")) // axes
    if call.get("interpolation_mode") == 1:  # nearest: two operations to scale a coordinate and one to round it
        return 3 * axes * places
    if call.get("interpolation_mode") != 0:
        return None
    corners = 2**axes  # scale (two), floor, fraction and its complement; a weight is a product over the axes
    return (2 * corners - 1) * outputs(call) + (5 * axes + (axes - 1) * corners) * places


def optimizer(base: int, **options: int) -> Size:
    """Operations per parameter of a fused optimizer, and those of each option that is used."""

    def size(call: Call) -> int:
        used = (amount for name, amount in options.items() if call.get(name))
        return (base + sum(used)) * sum(map(cells_of, call.args[0]))

    return size


def multivariate_gamma(call: Call) -> int:
    return outputs(call) * (3 * call.get("p") - 1)
