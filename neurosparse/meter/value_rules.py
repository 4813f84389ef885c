"""Rules by which values travel: the kind of what an operator makes, from the kinds of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import product
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosparse.meter.bits import fake_quantised_bits
from neurosparse.meter.cells import Call
from neurosparse.meter.values import ANY, LIMIT, ZERO_ONE, Kind, common_bits, joined, marks, union, values_of

__all__ = ["KNOWN", "kinds_after"]

#: Operators that move or select values: the result holds values of their arguments, except of those named ``PLACES``.
MOVES = frozenset(
    """
    _coalesced _index_put_impl _lazy_clone _pack_padded_sequence _pin_memory _reshape_alias _reshape_copy
    _sparse_broadcast_to _sparse_mask_projection _stack _to_copy _to_dense _to_sparse _to_sparse_bsc _to_sparse_bsr
    _to_sparse_csc _to_sparse_csr _unique _unique2 _unsafe_index _unsafe_index_put _unsafe_view _values
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d adaptive_max_pool2d
    adaptive_max_pool3d alias_copy amax amin aminmax as_strided_copy as_strided_scatter block_diag cat channel_shuffle
    clone complex constant_pad_nd copy cummax cummin detach_copy diag_embed diagonal_backward diagonal_copy
    diagonal_scatter expand_copy fill flip fractional_max_pool2d fractional_max_pool3d full full_like gather im2col
    index index_copy index_fill index_put index_select kthvalue lift lift_fresh lift_fresh_copy masked_fill
    masked_scatter masked_select max max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d median
    min mode nanmedian narrow_copy new_full permute_copy pixel_shuffle pixel_unshuffle put reflection_pad1d
    reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d
    roll rot90 scalar_tensor scatter select_backward select_copy select_scatter slice_backward slice_copy
    slice_scatter sort sparse_mask split_copy split_with_sizes_copy squeeze_copy stack t_copy take topk transpose_copy
    tril triu unbind_copy unfold_copy unique_consecutive unique_dim unsafe_split unsafe_split_with_sizes
    unsqueeze_copy upsample_nearest1d upsample_nearest2d upsample_nearest3d values_copy view_copy where
    """.split()  # noqa: SIM905
)
#: Of these, the ones that overwrite all of their first argument.
OVERWRITES = frozenset(("copy", "fill", "full_like", "new_full"))
#: Operators of which the result may also hold zeros.
WITH_ZEROS = frozenset(
    """
    _to_dense block_diag diag_embed diagonal_backward im2col max_unpool2d max_unpool3d select_backward slice_backward
    tril triu
    """.split()  # noqa: SIM905
)
#: Arguments that are places, masks or shapes: their values do not end in the result.
PLACES = frozenset(
    """
    mask condition index indices index_info repeats lengths offsets out out_indices random_samples size stride
    self_is_sorted batch_sizes
    """.split()  # noqa: SIM905
)
#: Operators of several results, of which the second and later ones are places or numbers.
PLACED = frozenset(
    """
    _pack_padded_sequence _unique _unique2 adaptive_max_pool2d adaptive_max_pool3d cummax cummin fractional_max_pool2d
    fractional_max_pool3d kthvalue max max_pool2d_with_indices max_pool3d_with_indices median min mode nanmedian sort
    topk unique_consecutive unique_dim
    """.split()  # noqa: SIM905
)
MADE = {
    **dict.fromkeys(("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"), ()),
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros", "zero", "_efficientzerotensor"), (0.0,)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), (1.0,)),
    "eye": (0.0, 1.0),
}
#: Products, in which a mask of 0 and 1 silences spikes.
PRODUCTS = frozenset(("mul", "logical_and", "bitwise_and", "and", "minimum", "fmin"))

#: Operators that round to a grid.
ROUND = frozenset(
    """
    _fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fused_moving_avg_obs_fq_helper
    _fused_moving_avg_obs_fq_helper_functional fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine_cachemask
    """.split()  # noqa: SIM905
)

KindOf = Callable[[Tensor], Kind]
#: Operators that make known values of unknown ones.
KNOWN = OVERWRITES | ROUND | MADE.keys() | {"bernoulli", "native_dropout", "sgn", "sign"}


def kinds_after(call: Call, kind_of: KindOf, results: int) -> list[Kind]:
    """Kinds of the tensors that an operator makes or writes.

    Args:
        call: of the operator, whose result is known.
        kind_of: kind of each of its arguments before the call.
        results: number of tensors.
    """
    kind = _kind_after(call, kind_of)
    if kind.values is None and call.out is not None and call.out.dtype == torch.bool:
        kind = ZERO_ONE
    if call.name == "native_dropout":
        return [kind, ZERO_ONE][:results]
    return [ANY if i and call.name in PLACED else kind for i in range(results)]


def _kind_after(call: Call, kind_of: KindOf) -> Kind:
    name = call.name
    if name in MADE:
        return Kind(MADE[name], None)
    if name == "bernoulli":
        return ZERO_ONE
    if name in ROUND:
        return Kind(bits=fake_quantised_bits(call.get("quant_min"), call.get("quant_max")))
    if name in MOVES or call.func.is_view:
        return _moved(call, kind_of)
    if name in ("scatter_reduce", "index_reduce") and call.get("reduce") in ("amax", "amin"):
        return _moved(call, kind_of)
    if name in ("prod", "cumprod", "any", "all"):
        source = _kind(call.source, kind_of)
        if source.values is None or (name in ("prod", "cumprod") and not set(source.values) <= {-1.0, 0.0, 1.0}):
            return ANY
        return Kind((0.0, 1.0) if name in ("any", "all") else union(source.values, (1.0,)), source.spikes)
    if name == "native_dropout":
        source, scale = _kind(call.get("input"), kind_of), 1 / max(1e-9, 1 - call.get("p"))
        kept = None if source.values is None else tuple(value * scale for value in source.values)
        return source if call.get("train") is False else Kind(union(kept, (0.0,)), source.spikes)
    kind = _pointwise(call, kind_of) if _is_pointwise(call.func) else ANY
    return Kind((-1.0, 0.0, 1.0), False) if kind.values is None and name in ("sign", "sgn") else kind


# ---- moves


def _moved(call: Call, kind_of: KindOf) -> Kind:
    """Union of everything that ends in the result, in the result's dtype."""
    adds = call.name in ADDS and (call.get("accumulate") or call.get("reduce") is not None)
    data, numbers, made = list(_data(call, kind_of)), list(_numbers(call)), call.out.dtype
    unique = all(_is_unique(call, x) for x, _, _ in data)
    if adds or not unique or not all(map(isfinite, numbers)):
        return ANY
    if any(kind.values is None and kind.spikes is not None for _, kind, _ in data) or (
        data and all(kind.values is None for _, kind, _ in data)
    ):
        return Kind(bits=None if any(numbers) else common_bits([kind for _, kind, _ in data]))
    kinds = [_cast(_read(x, kind, written), x.dtype, made) for x, kind, written in data]
    kinds += [_cast(Kind((float(number),), None), torch.float64, made) for number in numbers]
    return joined(*kinds, *[Kind((0.0,), None)] * (call.name in WITH_ZEROS))


#: Operators that add up, if their argument ``accumulate`` or ``reduce`` is given.
ADDS = frozenset(("_index_put_impl", "_unsafe_index_put", "index_put", "put", "scatter"))


def _is_unique(call: Call, x: Tensor) -> bool:
    """Whether no place of a tensor holds several values that are yet to be added."""
    return x.layout != torch.sparse_coo or x.is_coalesced() or call.name in ("_values", "_to_copy", "clone")


def _data(call: Call, kind_of: KindOf) -> Iterator[tuple[Tensor, Kind, bool]]:
    """Tensors whose values end in the result, with their kinds, and whether the call writes into them."""
    for place, argument in enumerate(_arguments(call.func)):
        if argument.name in PLACES or argument.is_out or (place == 0 and call.name in OVERWRITES):
            continue
        given = call.get(argument.name)
        for x in given if isinstance(given, list | tuple) else (given,):
            if isinstance(x, Tensor):
                yield x, _kind(x, kind_of), argument.is_written


class _Argument(NamedTuple):
    """An argument of an operator: whether it is written, and whether it is an output alone."""

    name: str
    by_name: bool
    is_written: bool

    @property
    def is_out(self) -> bool:
        return self.is_written and self.by_name


@cache
def _arguments(func: Any) -> tuple[_Argument, ...]:
    found = []
    for each in func._schema.arguments:
        written = each.alias_info is not None and each.alias_info.is_write
        found.append(_Argument(each.name, each.kwarg_only, written))
    return tuple(found)


def _numbers(call: Call) -> Iterator[float]:
    """Numbers that end in the result."""
    names = {
        "where": ("self", "other"),
        "full": ("fill_value",),
        "full_like": ("fill_value",),
        "new_full": ("fill_value",),
        "scalar_tensor": ("s",),
    }.get(call.name, ("value",))
    for name in names:
        number = call.get(name)
        if call.name == "constant_pad_nd" and number is None:
            number = 0
        if isinstance(number, int | float):
            yield number


def _cast(kind: Kind, source: torch.dtype, made: torch.dtype) -> Kind:
    values = kind.values
    return kind if values is None or source == made else Kind(_cast_values(values, source, made), kind.spikes)


@lru_cache(maxsize=4096)
def _cast_values(values: tuple[float, ...], source: torch.dtype, made: torch.dtype) -> tuple[float, ...] | None:
    if made.is_complex or source.is_complex or not made.itemsize:
        return None
    with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunctionSubclass():
        return tuple(sorted({float(value) for value in torch.tensor(values, dtype=source).to(made).tolist()}))


# ---- point-wise operators


@cache
def _is_pointwise(func: Any) -> bool:
    """Whether each value of the result is computed from values at the same place, without random numbers."""
    packet = getattr(torch.ops.aten, func._schema.name.partition("::")[2].removesuffix("_"), func.overloadpacket)
    overloads = [func, *(getattr(packet, each) for each in packet.overloads())]
    return func.namespace == "aten" and (
        any(torch.Tag.pointwise in each.tags for each in overloads)
        and torch.Tag.nondeterministic_seeded not in func.tags
    )


def _pointwise(call: Call, kind_of: KindOf) -> Kind:
    """The operator applied to the values of its operands."""
    arguments = [each for each in _arguments(call.func) if not each.is_out]
    given = {each.name: call.get(each.name) for each in arguments}
    held = {name: _kind(x, kind_of) for name, x in given.items() if isinstance(x, Tensor)}
    if call.name == "mul" and any(kind.values == (0.0,) for kind in held.values()):
        return Kind((0.0,), _product_mark(held.values()))
    if any(kind.spikes for kind in held.values()):  # beside spikes, the values of constants matter
        held = {
            each.name: _read(given[each.name], held[each.name], each.is_written)
            for each in arguments
            if each.name in held
        }
    if any(not kind.values for kind in held.values()) or call.out.dtype.is_complex:
        return Kind(bits=_scaled_bits(call.name, list(held.values())))
    if not held or any(isinstance(x, list | tuple) for x in given.values()):
        return ANY
    operands = []
    for each in arguments:
        x = given[each.name]
        if isinstance(x, Tensor):
            x = _Operand(held[each.name].values or (), x.dtype, x.dim() == 0)
        operands.append((each.name, each.by_name, x))
    functional = _functional(call.func)
    values = None if functional is None else _evaluate(functional, tuple(operands), call.out.dtype)
    mark = _product_mark if call.name in PRODUCTS else marks
    return ANY if values is None else Kind(values, mark(held.values()))


def _scaled_bits(name: str, kinds: list[Kind]) -> int | None:
    """Bits of levels that are only scaled, silenced or cut off at zero."""
    rounded = [kind for kind in kinds if kind.values is None]
    scales = [{abs(value) for value in kind.values} - {0.0} for kind in kinds if kind.values is not None]
    keeps = name in ("relu", "neg", "abs", "mul") or (name == "div" and kinds[0].values is None)
    return rounded[0].bits if keeps and len(rounded) == 1 and all(len(sizes) < 2 for sizes in scales) else None


def _product_mark(kinds: Any) -> bool | None:
    """Whether a product is of spikes: one factor is."""
    marks = {kind.spikes for kind in kinds}
    return True if True in marks else False if False in marks else None


class _Operand(NamedTuple):
    """A tensor argument: its values, and how it takes part in the promotion of dtypes."""

    values: tuple[float, ...]
    dtype: torch.dtype
    is_number: bool


@lru_cache(maxsize=4096)
def _evaluate(func: Any, operands: tuple[tuple[str, bool, Any], ...], made: torch.dtype) -> tuple[float, ...] | None:
    """Values of a point-wise operator for all combinations of the values of its operands."""
    sets = [x.values for _, _, x in operands if isinstance(x, _Operand)]
    if any(x.dtype.is_complex for _, _, x in operands if isinstance(x, _Operand)):
        return None
    columns = iter(zip(*product(*sets), strict=True))
    args, kwargs = [], {}
    with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        for name, by_name, x in operands:
            if isinstance(x, _Operand):
                column = torch.tensor(next(columns), dtype=x.dtype)
                x = column[0] if x.is_number and len(x.values) == 1 else column
            if by_name:
                kwargs[name] = x
            else:
                args.append(x)
        try:
            found = func(*args, **kwargs).to(made)
        except (RuntimeError, NotImplementedError):  # a dtype without a kernel on the CPU
            return None
    values = {float(value) + 0.0 for value in found.reshape(-1).tolist()}  # without a negative zero
    return tuple(sorted(values)) if all(map(isfinite, values)) and len(values) <= LIMIT else None


@cache
def _functional(func: Any) -> Any:
    """The overload of an operator that makes a new tensor, for one in place or with ``out=``; None if there is none."""
    if not any(argument.alias_info is not None for argument in func._schema.arguments):
        return func
    packet = getattr(torch.ops.aten, func._schema.name.partition("::")[2].removesuffix("_"), None)
    names = [argument.name for argument in func._schema.arguments if argument.name != "out"]
    for each in () if packet is None else packet.overloads():
        plain = getattr(packet, each)
        given = plain._schema.arguments
        types = [str(argument.type) for argument in func._schema.arguments if argument.name != "out"]
        if [argument.name for argument in given] == names and [str(argument.type) for argument in given] == types:
            return plain
    return None


# ---- constants


def _kind(x: Tensor, kind_of: KindOf) -> Kind:
    kind = kind_of(x)
    return kind._replace(values=(0.0, 1.0)) if kind.values is None and x.dtype == torch.bool else kind


def _read(x: Tensor, kind: Kind, written: bool) -> Kind:
    """Kind of an argument; values of a constant, which are the same for all samples, are read."""
    return kind if kind.values is not None or kind.spikes is not None or written else Kind(values_of(x), None)
