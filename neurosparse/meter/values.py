"""Kinds of values: which tensors are spikes by construction, and which operators keep that property.

Kinds are never read from values. A kind is declared (spikes of a neuron, of events, of ``ns.spikes``), or follows from
the operators that made a tensor.

==============  ==========================  ==============================================================
kind            values                      arises from
==============  ==========================  ==============================================================
``zero``        0                           ``zeros``
``one``         1                           ``ones``
``binary``      0, 1                        spikes; masks, maxima, products and selections of spikes
``signed``      -1, 0, 1                    signed spikes; the negative and the difference of spikes
``scaled``      0, c (or -c, 0, c)          spikes times a constant, which folds into the weights behind
``None``        any                         everything else
==============  ==========================  ==============================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

__all__ = ["SPIKES", "Kind", "joined", "kind_after", "kind_of_number"]

Kind = Literal["zero", "one", "binary", "signed", "scaled"] | None

#: Kinds whose products with weights are accumulates.
SPIKES = ("binary", "signed", "scaled")
#: Sets of values that contain each other: a tensor that holds values of two kinds is of the later one.
ORDER = ("binary", "signed")

#: Operators that move or select values; kinds of all their (data) inputs are joined.
MOVES = frozenset(
    """
    alias as_strided as_strided_copy as_strided_scatter broadcast_to cat channel_shuffle clone concat constant_pad_nd
    contiguous copy detach diag diag_embed diagonal diagonal_copy diagonal_scatter expand expand_copy flatten flip
    gather im2col index index_copy index_fill index_put index_select lift lift_fresh masked_fill masked_scatter
    masked_select narrow narrow_copy permute permute_copy pixel_shuffle pixel_unshuffle positive put
    reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d
    replication_pad3d reshape roll rot90 scatter select select_copy select_scatter slice slice_copy slice_scatter
    sort split split_with_sizes squeeze squeeze_copy stack t take to topk transpose transpose_copy tril triu
    unbind unfold unfold_copy unsafe_split unsafe_split_with_sizes unsafe_view unsqueeze unsqueeze_copy
    upsample_nearest1d upsample_nearest2d upsample_nearest3d values view view_copy where to_copy reshape_alias
    conj fill unpack sparse_to_dense to_dense to_sparse coalesce pack_padded_sequence pad_packed_sequence
    sparse_mask fused_dropout_free
    """.split()  # noqa: SIM905
)
#: The largest or smallest of several values is one of them.
EXTREMES = frozenset(
    """
    adaptive_max_pool2d adaptive_max_pool3d amax amin aminmax clamp_max clamp_min cummax cummin fmax fmin
    fractional_max_pool2d fractional_max_pool3d max max_pool2d_with_indices max_pool3d_with_indices maximum median
    min minimum mode nanmedian kthvalue
    """.split()  # noqa: SIM905
)
LOGICAL = frozenset(
    """
    any all bitwise_and bitwise_or bitwise_xor eq ge gt isfinite le logical_and logical_not logical_or logical_xor lt
    ne
    """.split()  # noqa: SIM905
)
#: Their tensors after the first are places, masks or nothing else that ends in the result.
PLACED = frozenset(("gather", "index", "index_select", "masked_select", "repeat_interleave", "take", "sparse_mask"))


def kind_of_number(value: Any) -> Kind:
    """Kind of a Python number."""
    return {0: "zero", 1: "one"}.get(value) if isinstance(value, int | float) else None


def joined(*kinds: Kind) -> Kind:
    """The kind of a tensor that holds values of all these kinds.

    Example:
        >>> joined("zero", "binary"), joined("binary", "signed"), joined("one", "one"), joined("scaled", "binary")
        ('binary', 'signed', 'one', None)
    """
    found = set(kinds)
    if len(found) == 1:
        return kinds[0]
    found = {kind for kind in found if kind != "zero"} if "scaled" in found else found
    if found == {"scaled"}:
        return "scaled"
    if None in found or "scaled" in found or not found:
        return None
    return "signed" if "signed" in found else "binary"


def kind_after(name: str, args: Sequence[Any], kinds: Sequence[Kind], constants: Sequence[bool]) -> Kind:
    """Kind of the result of an operator.

    Args:
        name: of the ATen operator, without the underscores of in-place and internal ones.
        args: its positional arguments.
        kinds: of its tensors, in order.
        constants: whether each tensor does not depend on the samples.
    """
    first = kinds[0] if kinds else None
    if name in PLACED:
        return first
    if name in MOVES:
        return _moved(name, args, kinds)
    if name in EXTREMES:
        return joined(*kinds) if kinds and all(kind in ("zero", "one", *ORDER) for kind in kinds) else None
    if name in LOGICAL:
        known = [kind for kind in kinds if kind is not None]
        return "binary" if known and len(known) == len(kinds) else None
    if name in ("mul", "div", "native_dropout"):
        return _product(args, kinds, constants, name)
    if name in ("neg", "sub", "rsub"):
        return _difference(name, args, kinds)
    if name == "abs":
        return "binary" if first == "signed" else first
    if name in ("zeros", "zeros_like", "new_zeros", "zero", "efficientzerotensor"):
        return "zero"
    if name in ("ones", "ones_like", "new_ones"):
        return "one"
    if name in ("full", "full_like", "new_full", "scalar_tensor"):
        return kind_of_number(next((arg for arg in args if isinstance(arg, int | float)), None))
    return None


def _moved(name: str, args: Sequence[Any], kinds: Sequence[Kind]) -> Kind:
    """Join of everything that ends in the result; a value that is written counts as one of them."""
    if name == "where":
        return joined(*kinds[1:], *(kind_of_number(arg) for arg in args[1:] if not isinstance(arg, Tensor)))
    if name in ("masked_fill", "index_fill", "fill"):
        value = args[-1]
        written = kinds[-1] if isinstance(value, Tensor) else kind_of_number(value)
        return written if name == "fill" else joined(kinds[0], written)
    if name == "constant_pad_nd":
        return joined(kinds[0], kind_of_number(args[2] if len(args) > 2 else 0))
    if name in ("index_copy", "masked_scatter", "scatter", "index_put", "put", "slice_scatter", "select_scatter"):
        value = args[-1] if not isinstance(args[-1], bool) else args[-2]
        return joined(kinds[0], kinds[-1] if isinstance(value, Tensor) else kind_of_number(value))
    if name == "copy":
        return kinds[-1]
    return joined(*kinds) if kinds else None


def _product(args: Sequence[Any], kinds: Sequence[Kind], constants: Sequence[bool], name: str) -> Kind:
    """Products of spikes are spikes; a constant factor scales them."""
    if name == "mul" and len(kinds) == 2 and all(kind in ("zero", "one", *ORDER) for kind in kinds):
        return joined(*kinds)
    if "zero" in kinds and name == "mul":
        return "zero"
    spiking = [kind in SPIKES for kind in kinds]
    if not any(spiking) or (name == "div" and not spiking[0]):
        return None
    others = [constant for constant, spikes in zip(constants, spiking, strict=True) if not spikes]
    return "scaled" if sum(spiking) == 1 and all(others) else None


def _difference(name: str, args: Sequence[Any], kinds: Sequence[Kind]) -> Kind:
    """The negative and the difference of spikes are signed; 1 - spikes are spikes."""
    if name == "neg":
        return "signed" if kinds[0] in ("one", *ORDER) else kinds[0]
    whole = kinds if name == "sub" else kinds[::-1]
    numbers = [kind_of_number(arg) for arg in args[:2] if not isinstance(arg, Tensor)]
    scale = args[2] if len(args) > 2 else 1
    if scale != 1:
        return None
    if name == "rsub" and numbers:
        return "binary" if numbers == ["one"] and kinds[0] == "binary" else None
    both = all(kind in ("zero", "one", "binary") for kind in whole) and len(whole) == 2
    return ("binary" if whole == ["one", "binary"] else "signed") if both else None


def kinds_of_results(name: str, kind: Kind, results: int) -> list[Kind]:
    """Kind of each result of an operator; of a sort or a maximum the second one is places."""
    placed = name in EXTREMES or name in ("sort", "topk")
    return [None if placed and i else kind for i in range(results)]
