"""Scalar operations of ATen operators other than products: none (free), a known number, or unknown (uncounted).

Conventions: an elementary or special function of one or two numbers counts as one operation; a complex operation as its
real ones. A softmax is an exponential, an addition and a division; a batch norm one multiplication and one addition
(its statistics are known at inference), a layer norm three more for its own statistics; an interpolation a weighted sum
of two, four, eight or sixteen values. The derivative of an activation is one operation, and its product with the
gradient another. Every operator in place, with ``out=`` or over a list costs what its plain form costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch._ops import OpOverload

from neurosparse.meter import cells
from neurosparse.meter.cells import Call, Size

__all__ = ["MAKES", "MOVES", "is_free", "name_of", "scalar_cost"]

Column = Literal["elementwise", "comparisons"]

#: Operators that only move, view, copy or cast values; the results of spikes are spikes.
MOVES = frozenset(
    """
    _chunk_cat _coalesced _conj _copy_from _fw_primal _index_put_impl _indices _jagged_to_padded_dense_forward
    _lazy_clone _make_dual _mkldnn_reshape _mkldnn_transpose _neg_view _nested_from_padded
    _nested_from_padded_and_nested_example _nested_from_padded_tensor _nested_get_values _nested_tensor_from_mask
    _nested_tensor_from_tensor_list _pack_padded_sequence _padded_dense_to_jagged_forward _pin_memory _reshape_alias
    _reshape_copy _sparse_broadcast_to _sparse_mask_projection _stack _to_copy _to_dense _to_sparse _to_sparse_bsc
    _to_sparse_bsr _to_sparse_csc _to_sparse_csr _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_view
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _values alias as_strided
    as_strided_scatter broadcast_in_dim cat channel_shuffle clone collapse collapse_view conj_physical
    convert_element_type copy copy_sparse_to_sparse detach diag_embed diagonal diagonal_backward diagonal_scatter
    expand flip gather im2col index index_copy index_put index_select int_repr lift lift_fresh lift_fresh_copy
    lu_unpack masked_scatter masked_scatter_backward masked_select narrow_copy native_dropout permute pixel_shuffle
    pixel_unshuffle put reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave
    replication_pad1d replication_pad2d replication_pad3d roll rot90 scatter select select_backward select_scatter
    slice slice_backward slice_inverse slice_scatter sparse_mask split split_with_sizes squeeze stack t take
    to_mkldnn to_padded_tensor transpose tril triu unbind unfold unsafe_split unsafe_split_with_sizes unsqueeze
    upsample_nearest1d upsample_nearest2d upsample_nearest3d values view view_as_complex view_as_real
    """.split()  # noqa: SIM905
)
#: Operators that make values without arithmetic on any tensor (constants, random numbers) or only inspect tensors.
MAKES = frozenset(
    """
    _assert_async _assert_tensor_metadata _cudnn_init_dropout_state _dimI _dimV
    _efficientzerotensor _empty_affine_quantized _empty_per_channel_affine_quantized _functional_assert_async
    _functional_assert_scalar _fused_sdp_choice _has_same_storage_numel _linalg_check_errors _local_scalar_dense
    _make_dep_token _make_per_channel_quantized_tensor _make_per_tensor_quantized_tensor
    _nested_compute_contiguous_strides_offsets _nested_get_jagged_dummy _nested_get_lengths _nested_get_max_seqlen
    _nested_get_min_seqlen _nested_get_offsets _nested_get_ragged_idx _nested_tensor_from_mask_left_aligned
    _nested_tensor_size _nested_tensor_storage_offsets _nested_tensor_strides _new_zeros_with_same_feature_meta _nnz
    _philox_key_fold_in _philox_key_split _philox_normal _philox_uniform _resize_output
    _sparse_compressed_tensor_with_dims _sparse_coo_tensor_with_dims _sparse_coo_tensor_with_dims_and_tensors
    _spdiags _validate_compressed_sparse_indices arange bartlett_window
    blackman_window block_diag cauchy complex constant_pad_nd dense_dim empty empty_like empty_permuted
    empty_quantized empty_strided exponential eye fft_fftfreq fft_rfftfreq fill from_file full full_like geometric
    hamming_window hann_window index_fill is_coalesced is_pinned is_same_size is_set_to kaiser_window linspace
    log_normal logspace max_unpool2d max_unpool3d new_empty new_empty_strided new_full new_ones new_zeros
    normal ones ones_like q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point
    qscheme rand rand_like randint randint_like randn randn_like random randperm range record_stream resize resize_as
    resize_as_sparse scalar_tensor set sparse_compressed_tensor sparse_coo_tensor sparse_dim sparse_resize
    sparse_resize_and_clear tril_indices triu_indices uniform zero zeros zeros_like
    """.split()  # noqa: SIM905
)
#: Namespaces of torch's own operators that share their names: ATen, and the ones that its derivatives are made of.
NAMESPACES = ("aten", "prims")
#: Operators of other namespaces that compute nothing.
MARKS = frozenset(f"profiler::_record_function_{name}" for name in ("enter", "enter_new", "exit"))


def _draws_with_parameters(call: Call) -> bool:
    return any(isinstance(call.get(name), torch.Tensor) for name in ("mean", "std"))


#: Operators that are free unless this condition holds.
COUNTED_IF: Mapping[str, Callable[[Call], Any]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("index_put", "_index_put_impl", "_unsafe_index_put", "put"), lambda call: call.get("accumulate")
        ),
        "scatter": lambda call: call.get("reduce") is not None,
        "native_dropout": lambda call: call.get("train") is not False,
        "conj_physical": lambda call: call.source.is_complex(),
        "normal": _draws_with_parameters,
    }
)


class Cost(NamedTuple):
    """Scalar operations of one operator: column of the counts, and ``amount`` for each of ``size``."""

    column: Column
    amount: int
    size: Size


#: Scalar operations of the other operators: (column of the counts, number, what the number is per).
_TABLE: Mapping[tuple[Column, int, Size], str] = {
    ("elementwise", 1, cells.outputs): """
        abs cumprod cumsum floor_divide hardswish hash_tensor log_sigmoid_forward masked_fill
    """,
    ("elementwise", 2, cells.outputs): """
        _add_relu copysign dequantize elu_backward gelu_backward glu hardsigmoid_backward hardswish_backward
        log_sigmoid_backward logaddexp logaddexp2 logcumsumexp logit logit_backward
        native_dropout_backward normal silu_backward softplus_backward special_xlog1py xlogy
    """,
    ("elementwise", 3, cells.outputs): """
        _log_softmax _masked_scale _prelu_kernel_backward _safe_softmax _softmax _sparse_log_softmax
        _sparse_softmax _weight_norm_interface glu_backward lerp linalg_cross mse_loss_backward native_dropout
        renorm sigmoid_backward tanh_backward upsample_linear1d
    """,
    ("elementwise", 4, cells.outputs): """
        _log_softmax_backward_data _masked_softmax _softmax_backward_data
        _sparse_softmax_backward_data huber_loss_backward polar smooth_l1_loss_backward
        soft_margin_loss_backward
    """,
    ("elementwise", 5, cells.outputs): """
        binary_cross_entropy_backward native_group_norm native_layer_norm quantize_per_channel
        quantize_per_tensor
    """,
    ("elementwise", 7, cells.outputs): """
        _fake_quantize_per_tensor_affine_cachemask_tensor_qparams fake_quantize_per_channel_affine_cachemask
        fake_quantize_per_tensor_affine_cachemask quantize_per_tensor_dynamic upsample_bilinear2d
    """,
    ("elementwise", 15, cells.outputs): "upsample_trilinear3d",
    ("elementwise", 31, cells.outputs): "upsample_bicubic2d",
    ("elementwise", 1, cells.sums): "add rsub sub",
    ("elementwise", 1, cells.scaled_products): "addcdiv addcmul",
    ("elementwise", 1, cells.multivariate_gamma): "mvlgamma",
    ("comparisons", 1, cells.outputs): """
        _prelu_kernel bernoulli clamp_max clamp_min cummax cummin eq fmax fmin ge gt heaviside isinf isnan
        isneginf isposinf le leaky_relu leaky_relu_backward lt maximum minimum ne relu rrelu_with_noise signbit
        threshold threshold_backward
    """,
    ("comparisons", 2, cells.outputs): """
        hardshrink hardshrink_backward hardtanh hardtanh_backward softshrink softshrink_backward
    """,
    ("comparisons", 3, cells.outputs): "nan_to_num",
    ("comparisons", 1, cells.bounds): "clamp",
    ("elementwise", 1, cells.inputs): """
        _is_all_true _is_any_true _sparse_csr_sum _sparse_sum _upsample_nearest_exact1d_backward
        _upsample_nearest_exact2d_backward _upsample_nearest_exact3d_backward adaptive_max_pool2d_backward
        adaptive_max_pool3d_backward all any bincount col2im count_nonzero fractional_max_pool2d_backward
        fractional_max_pool3d_backward max_pool2d_with_indices_backward max_pool3d_with_indices_backward mean
        nansum nonzero nonzero_static prod reflection_pad1d_backward reflection_pad2d_backward
        reflection_pad3d_backward replication_pad1d_backward replication_pad2d_backward
        replication_pad3d_backward sum unfold_backward upsample_nearest1d_backward upsample_nearest2d_backward
        upsample_nearest3d_backward
    """,
    ("elementwise", 2, cells.inputs): """
        _foreach_powsum linalg__powsum linalg_vector_norm logsumexp native_norm norm
    """,
    ("elementwise", 3, cells.inputs): "dist std std_mean var var_mean",
    ("elementwise", 6, cells.inputs): "allclose",
    ("elementwise", 4, cells.inputs): "upsample_linear1d_backward",
    ("elementwise", 8, cells.inputs): "upsample_bilinear2d_backward",
    ("elementwise", 16, cells.inputs): "upsample_trilinear3d_backward",
    ("elementwise", 32, cells.inputs): "upsample_bicubic2d_backward",
    ("elementwise", 5, cells.inputs): """
        _batch_norm_with_update _batch_norm_with_update_functional
    """,
    ("elementwise", 1, cells.diagonal): "trace",
    ("comparisons", 1, cells.inputs): """
        amax amin argmax argmin equal max min unique_consecutive
    """,
    ("comparisons", 2, cells.inputs): "_aminmax _histogramdd_bin_edges aminmax",
    ("comparisons", 1, cells.sorting): """
        _unique _unique2 kthvalue median mode nanmedian sort topk unique_dim unique_dim_consecutive
    """,
    ("comparisons", 1, cells.searches): "bucketize searchsorted",
    ("comparisons", 1, cells.memberships): "isin",
    ("elementwise", 1, cells.sources): """
        _index_put_impl _unsafe_index_put _unsafe_masked_index_put_accumulate index_add index_put index_reduce
        put scatter scatter_add scatter_reduce segment_reduce
    """,
    ("elementwise", 1, cells.removed_duplicates): "_coalesce",
    ("elementwise", 1, cells.embedding_backward): """
        _embedding_bag_dense_backward embedding_dense_backward
    """,
    ("elementwise", 1, cells.windows): """
        _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        avg_pool1d avg_pool2d avg_pool3d
    """,
    ("comparisons", 1, cells.windows): """
        adaptive_max_pool2d adaptive_max_pool3d max_pool2d_with_indices max_pool3d_with_indices
        quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d
    """,
    ("elementwise", 1, cells.averaged_back): """
        _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward adaptive_avg_pool3d_backward
        avg_pool2d_backward avg_pool3d_backward
    """,
    ("comparisons", 1, cells.whole_windows): "fractional_max_pool2d fractional_max_pool3d",
    ("elementwise", 1, cells.grid): "grid_sampler_2d grid_sampler_3d",
    ("elementwise", 1, cells.batch_norm): """
        _batch_norm_no_update _native_batch_norm_legit _native_batch_norm_legit_functional
        _native_batch_norm_legit_no_training cudnn_batch_norm native_batch_norm
    """,
    ("elementwise", 1, cells.batch_norm_backward): "batch_norm_backward native_batch_norm_backward",
    ("elementwise", 1, cells.norm_backward): """
        native_group_norm_backward native_layer_norm_backward
    """,
    ("elementwise", 1, cells.renormalised): "embedding_renorm",
    ("elementwise", 1, cells.loss(2)): "mse_loss",
    ("elementwise", 1, cells.loss(3)): "soft_margin_loss",
    ("elementwise", 1, cells.loss(4)): "huber_loss multi_margin_loss smooth_l1_loss",
    ("elementwise", 1, cells.loss(5)): "binary_cross_entropy_with_logits",
    ("elementwise", 1, cells.loss(7)): "binary_cross_entropy",
    ("elementwise", 1, cells.per_target): """
        nll_loss2d_backward nll_loss2d_forward nll_loss_backward nll_loss_forward
    """,
    ("elementwise", 1, cells.binning): """
        _histogramdd_from_bin_cts _histogramdd_from_bin_tensors histc histogram
    """,
    ("elementwise", 1, cells.sampling): "multinomial",
    ("elementwise", 1, cells.distances): """
        _cdist_backward _cdist_forward _euclidean_dist _pdist_backward _pdist_forward
    """,
    ("elementwise", 1, cells.fourier): "_fft_c2c _fft_c2r _fft_r2c",
    ("elementwise", 1, cells.matrices): cells.MATRIX_OPERATORS,
    ("elementwise", 1, cells.optimizer(13, weight_decay=2, amsgrad=1, maximize=1, grad_scale=1)): "_fused_adam",
    ("elementwise", 1, cells.optimizer(13, weight_decay=1, amsgrad=1, maximize=1, grad_scale=1)): "_fused_adamw",
    ("elementwise", 1, cells.optimizer(7, weight_decay=2, maximize=1, grad_scale=1)): "_fused_adagrad",
    (
        "elementwise",
        1,
        cells.optimizer(2, weight_decay=2, momentum=3, nesterov=2, maximize=1, grad_scale=1),
    ): "_fused_sgd",
}
_COSTS: Mapping[str, Cost] = MappingProxyType(
    {name: Cost(*cost) for cost, names in _TABLE.items() for name in names.split()}
)
_POINTWISE = Cost("elementwise", 1, cells.outputs)

#: Real operations of one operation on complex numbers; two in all other operators.
_COMPLEX: Mapping[str, int] = MappingProxyType(
    {"abs": 4, "addcmul": 4, "angle": 1, "conj_physical": 1, "cumprod": 6, "prod": 6, "reciprocal": 6, "sgn": 6}
)


@cache
def name_of(func: Any) -> str:
    """Name under which an operator is counted: ``aten.add_.Tensor`` and ``aten.add.out`` are both ``add``.

    Example:
        >>> name_of(torch.ops.aten.add_.Tensor), name_of(torch.ops.aten._foreach_mul_.Scalar)
        ('add', '_foreach_mul')
    """
    name = str(getattr(getattr(func, "overloadpacket", func), "__name__", func))
    return name.strip("_").removeprefix("i") if name.startswith("__") else name.removesuffix("_")


class Rule(NamedTuple):
    """Name of an operator without ``_foreach_``, whether it runs over lists of tensors, and its cost if it is known."""

    name: str
    over_lists: bool
    cost: Cost | None


@cache
def _rule_of(func: Any) -> Rule:
    whole = name_of(func)
    name, over_lists = whole.removeprefix("_foreach_"), whole.startswith("_foreach_")
    if not isinstance(func, OpOverload) or func.namespace not in NAMESPACES:
        return Rule(name, over_lists, None)
    packet = getattr(torch.ops.aten, name, func.overloadpacket)
    overloads = (getattr(packet, each) for each in packet.overloads())
    pointwise = any(torch.Tag.pointwise in each.tags for each in (func, *overloads))
    return Rule(name, over_lists, _COSTS.get(whole) or _COSTS.get(name) or (_POINTWISE if pointwise else None))


@cache
def _always_free(func: Any) -> bool:
    if not isinstance(func, OpOverload):
        return False
    if func.namespace not in NAMESPACES:
        return func._schema.name in MARKS
    name = name_of(func).removeprefix("_foreach_")
    names = {name, name.removesuffix("_copy")}
    return func.is_view or torch.Tag.view_copy in func.tags or not names.isdisjoint(MOVES | MAKES)


def is_free(func: Any, args: tuple, kwargs: Mapping[str, Any]) -> bool:
    """Whether a call only moves, views, copies, casts, makes or inspects values.

    Example:
        >>> x, at = torch.zeros(4), [torch.tensor([0])]
        >>> is_free(torch.ops.aten.index_put.default, (x, at, x[:1]), {})
        True
        >>> is_free(torch.ops.aten.index_put.default, (x, at, x[:1], True), {})  # adds to what is there
        False
    """
    if not _always_free(func):
        return False
    counted = COUNTED_IF.get(name_of(func))
    return counted is None or not counted(Call(func, name_of(func), args, kwargs, None))


def scalar_cost(func: Any, args: tuple, kwargs: Mapping[str, Any], result: Any) -> tuple[Column, int] | None:
    """Column and number of scalar operations of one call; None for an operator without a known number.

    Args:
        func: the operator.
        args, kwargs: of the call.
        result: its result.

    Example:
        >>> a, b = torch.zeros(10, 1), torch.zeros(1, 40)
        >>> scalar_cost(torch.ops.aten.maximum.default, (a, b), {}, torch.maximum(a, b))
        ('comparisons', 400)
    """
    name, over_lists, cost = _rule_of(func)
    if cost is None:
        return None
    if over_lists:
        parts = (Call(func, name, *part) for part in _each_call(args, kwargs, result))
        return cost.column, sum(_amount(cost, part) or 0 for part in parts)
    if cost.size is cells.outputs and _is_plain(result) and args and _is_plain(args[0]):  # most calls of small networks
        return cost.column, cost.amount * result.numel()
    amount = _amount(cost, Call(func, name, args, kwargs, result))
    return None if amount is None else (cost.column, amount)


def _is_plain(x: Any) -> bool:
    """Whether a value is a dense tensor of real numbers."""
    return type(x) is torch.Tensor and x.layout is torch.strided and not x.dtype.is_complex


def _amount(cost: Cost, call: Call) -> int | None:
    size = cost.size(call)
    return None if size is None else cost.amount * size * _real_operations(call, cost)


def _each_call(args: tuple, kwargs: Mapping[str, Any], result: Any) -> Iterator[tuple[tuple, dict, Any]]:
    """The calls, one per tensor, that an operator over lists stands for."""
    count = len(args[0])

    def part(x: Any, place: int) -> Any:
        return x[place] if isinstance(x, (list, tuple)) and len(x) == count else x

    for place in range(count):
        own = {name: part(value, place) for name, value in kwargs.items()}
        yield tuple(part(x, place) for x in args), own, part(result, place)


def _real_operations(call: Call, cost: Cost) -> int:
    """Real operations that one operation of a call stands for: 1, and more for complex numbers."""
    if not (call.source.is_complex() or call.out.is_complex()):
        return 1
    operands = [x for x in (*call.args[:2], call.out) if isinstance(x, (torch.Tensor, complex))]
    which = [isinstance(x, complex) or x.is_complex() for x in operands]
    if cost.size in (cells.fourier, cells.matrices):
        return 1
    if call.name == "mul":
        return 6 if len(which) > 2 and which[0] and which[1] else 2
    if call.name == "div":
        return 11 if len(which) > 2 and which[1] else 2
    return _COMPLEX.get(call.name, 2)
