"""Scalar operations of torch functions other than products: none, a known number, or unknown (uncounted)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from torch import Tensor

__all__ = [
    "FREE",
    "INDEXED",
    "KEEPS_SPIKES",
    "SCALAR",
    "Cost",
    "cells_of",
    "name_of",
    "scalar_operations",
    "window_cells",
]

Column = Literal["elementwise", "comparisons"]
Per = Literal["output", "input", "window", "sort"]


class Cost(NamedTuple):
    """Scalar operations of one function: column of the counts, number of operations, and what the number is per."""

    column: Column
    amount: int
    per: Per


#: Functions that only move, view, copy, cast or inspect values; the results of spikes are spikes.
MOVES = frozenset(
    """
    adjoint alias_copy as_strided as_tensor asarray atleast_1d atleast_2d atleast_3d bfloat16 bool broadcast_tensors
    broadcast_to byte cat channel_shuffle char chunk clone concat concatenate contiguous copy cpu cuda dense detach
    diag diagonal double dsplit dstack expand expand_as flatten flip fliplr flipud float gather get getitem half
    hsplit hstack index index_copy index_select int long masked_select moveaxis movedim narrow pad permute
    pin_memory pixel_shuffle pixel_unshuffle positive ravel repeat repeat_interleave requires_grad reshape
    reshape_as roll rot90 select short split split_with_sizes squeeze stack swapaxes swapdims t take take_along_dim
    tensor_split tile to transpose tril triu type type_as unbind unflatten unfold unsqueeze upsample_nearest1d
    upsample_nearest2d upsample_nearest3d values view view_as vsplit vstack zero zeros_like
    """.split()  # noqa: SIM905
)
#: Functions that make or check values without arithmetic; their results are not spikes, whatever the input.
MAKES = frozenset(
    """
    all any arange argwhere block_diag dequantize empty empty_like fill full full_like imag index_put isfinite isin
    isinf isnan max_unpool1d max_unpool2d max_unpool3d meshgrid new_empty new_full new_ones new_zeros nonzero one_hot
    ones ones_like rand_like randint_like randn_like real scatter setitem zeros
    """.split()  # noqa: SIM905
)
#: The maximum of spikes is a spike.
KEEPS_SPIKES = MOVES | {f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3)} | {"amax"}
FREE = MOVES | MAKES
#: Functions whose tensors after the first are indices.
INDEXED = frozenset(
    ("gather", "getitem", "index", "index_select", "masked_select", "repeat_interleave", "take", "take_along_dim")
)


#: Scalar operations of the other functions. A transcendental function counts as one; a softmax as an exponential, an
#: addition and a division; a batch norm as one multiplication and one addition (its statistics are known at inference);
#: a layer norm as three more for its own statistics; an interpolation as a weighted sum of two, four or eight values.
_COSTS: Mapping[tuple[Column, int, Per], str] = {
    ("elementwise", 1, "output"): """
        abs absolute acos add and asin atan atan2 bitwise_and bitwise_not bitwise_or bitwise_xor ceil celu cos cosh
        cumprod cumsum diff div divide elu erf erfc exp exp2 expm1 fix floor floor_divide floordiv fmod frac gelu
        hardsigmoid
        hardswish hypot index_add index_fill invert log log10 log1p log2 log_sigmoid logical_and logical_not logical_or
        logical_xor logsigmoid masked_fill mish mod mul multiply neg negative or pow reciprocal remainder round
        rsqrt scatter_add selu sgn sigmoid sign silu sin sinh softplus softsign sqrt square sub subtract tan tanh
        tanhshrink true_divide truediv trunc where xor
    """,
    ("elementwise", 2, "output"): """
        addcdiv addcmul batch_norm copysign glu logaddexp logit
    """,
    ("elementwise", 3, "output"): """
        lerp log_softmax softmax softmin upsample_linear1d
    """,
    ("elementwise", 5, "output"): """
        group_norm instance_norm layer_norm
    """,
    ("elementwise", 4, "output"): """
        normalize rms_norm
    """,
    ("elementwise", 7, "output"): """
        upsample_bilinear2d
    """,
    ("elementwise", 15, "output"): """
        upsample_trilinear3d
    """,
    ("elementwise", 1, "input"): """
        bincount count_nonzero fold mean nanmean nansum prod sum
    """,
    ("elementwise", 2, "input"): """
        cumulative_trapezoid linalg_vector_norm logsumexp norm
    """,
    ("elementwise", 3, "input"): """
        mse_loss std std_mean var var_mean
    """,
    ("elementwise", 1, "window"): """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d avg_pool3d
    """,
    ("comparisons", 1, "output"): """
        bernoulli clamp_max clamp_min eq fmax fmin ge greater greater_equal gt heaviside le leaky_relu less
        less_equal lt maximum minimum ne not_equal prelu relu threshold
    """,
    ("comparisons", 2, "output"): """
        clamp clip hardshrink hardtanh relu6 softshrink
    """,
    ("comparisons", 1, "input"): """
        amax amin argmax argmin max min
    """,
    ("comparisons", 1, "window"): """
        adaptive_max_pool1d adaptive_max_pool1d_with_indices adaptive_max_pool2d adaptive_max_pool2d_with_indices
        adaptive_max_pool3d adaptive_max_pool3d_with_indices max_pool1d max_pool1d_with_indices max_pool2d
        max_pool2d_with_indices max_pool3d max_pool3d_with_indices
    """,
    ("comparisons", 1, "sort"): """
        argsort kthvalue median sort topk
    """,
}
SCALAR: Mapping[str, Cost] = {name: Cost(*cost) for cost, names in _COSTS.items() for name in names.split()}


def name_of(function: Callable[..., Any], args: tuple = (), kwargs: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Name under which a function is counted: ``Tensor.__iadd__``, ``torch.add`` and ``Tensor.add_`` are all ``add``.

    Reading a property is ``get``. Three names depend on the arguments: dropout is ``clone`` at inference and ``mul``
    in training, a batch norm that takes its statistics from the batch is an instance norm, and padding with anything
    but zeros is ``fill``.

    Example:
        >>> import torch
        >>> x = torch.Tensor
        >>> name_of(x.add_), name_of(x.__rsub__), name_of(torch.relu), name_of(x.T.__get__)
        ('add', 'sub', 'relu', 'get')
    """
    name = str(getattr(function, "__name__", function))
    if "dropout" in name:
        training = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
        return "mul" if training else "clone"
    if name == "batch_norm" and (args[5] if len(args) > 5 else kwargs.get("training", False)):
        return "instance_norm"
    if name == "pad" and (args[3] if len(args) > 3 else kwargs.get("value")):
        return "fill"
    dunder, name = name.startswith("__"), name.split(".")[0].strip("_")
    if dunder and name[0] in "ir" and name[1:] in SCALAR:
        return name[1:]  # in-place and reflected arithmetic
    return name


def scalar_operations(
    name: str, args: tuple, kwargs: Mapping[str, Any], source: Any, result: Any
) -> tuple[Column, int] | None:
    """Column and number of scalar operations of one call; None for a function without an entry.

    Args:
        name: from :func:`name_of`.
        args, kwargs: of the call, for the size of a pooling window.
        source: its first tensor or events.
        result: its result (the first of several).
    """
    cost = SCALAR.get(name)
    if cost is None:
        return None
    cells = cells_of(result if cost.per in ("output", "window") else source)
    factor = cost.amount
    if cost.per == "window":
        cells = window_cells(name, args, kwargs, source, result)
    if cost.per == "sort":  # comparisons of a merge sort along the axis
        axes = [arg for arg in args[2 if name in ("topk", "kthvalue") else 1 :] if type(arg) is int]
        axis = kwargs.get("dim", axes[0] if axes else -1)
        length = source.shape[axis] if len(source.shape) else 1
        factor *= max(1, (length - 1).bit_length())
    return cost.column, factor * cells


def cells_of(x: Any) -> int:
    """Number of entries that a function computes: all entries of a tensor, the events of an event tensor."""
    return x.numel() if isinstance(x, Tensor) else x.index.numel()


POOLING_ARGUMENTS = ("input", "kernel_size", "stride", "padding", "dilation")


def window_cells(name: str, args: tuple, kwargs: Mapping[str, Any], source: Any, result: Any) -> int:
    """Number of pairs of an output cell and an input cell in its pooling window; padding is not read.

    Args:
        name: ``max_pool2d``, ``avg_pool1d``, ``adaptive_avg_pool3d`` and the like.
        args, kwargs: of the call.
        source, result: its input and its output.

    Example:
        >>> import torch
        >>> x = torch.ones(1, 1, 5)
        >>> window_cells("max_pool1d", (x, 3, 2, 1), {}, x, torch.nn.functional.max_pool1d(x, 3, 2, 1))
        7
    """
    name = name.removesuffix("_with_indices")
    axes = int(name[-2])
    outs, ins = result.shape[-axes:], source.shape[-axes:]
    if name.startswith("adaptive"):
        sides = zip(ins, outs, strict=True)
        covered = (sum(-(-(i + 1) * n // out) - i * n // out for i in range(out)) for n, out in sides)
    else:
        named = {**dict(zip(POOLING_ARGUMENTS, args, strict=False)), **kwargs}
        kernel = _per_axis(named["kernel_size"], axes)
        stride = _per_axis(named.get("stride") or kernel, axes)
        padding = _per_axis(named.get("padding", 0), axes)
        dilation = _per_axis(named.get("dilation", 1) if name.startswith("max") else 1, axes)
        sides = zip(ins, outs, kernel, stride, padding, dilation, strict=True)
        covered = (
            sum(0 <= i * s - p + j * d < n for i in range(out) for j in range(k)) for n, out, k, s, p, d in sides
        )
    return math.prod(covered) * math.prod(result.shape[:-axes])


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return sizes * axes if len(sizes) == 1 else sizes
