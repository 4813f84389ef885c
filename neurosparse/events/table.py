"""The table of torch functions: the rule of each one on timed tensors, by name."""

from __future__ import annotations

from collections.abc import Callable
from types import GetSetDescriptorType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.events import rules
from neurosparse.events.indexing import assign, chosen, index, narrowed
from neurosparse.events.timed import RULES

__all__ = ["ELEMENTWISE", "named"]

#: Functions of each element by itself: those that ATen tags as pointwise, their other names, casts and copies.
ELEMENTWISE = frozenset(
    """
    abs absolute acos acosh add addcdiv addcmul alpha_dropout angle apply_ arccos arccosh arcsin arcsinh arctan arctan2
    arctanh asin asinh atan atan2 atanh bernoulli bfloat16 bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift bitwise_xor bool broadcast_tensors byte cauchy_ cdouble ceil celu cfloat chalf char clamp
    clamp_max clamp_min clip clone complex conj conj_physical contiguous copy_ copysign cos cosh cpu cuda deg2rad
    detach detach_copy digamma div divide double dropout elu empty_like eq erf erfc erfinv exp exp2 expm1 exponential_
    fake_quantize_per_tensor_affine fill_ fix float float_power floor floor_divide fmax fmin fmod frac frexp full_like
    gcd ge gelu geometric_ greater greater_equal gt half hardshrink hardsigmoid hardswish hardtanh heaviside hypot i0
    igamma igammac int isfinite isinf isnan isneginf isposinf isreal lcm ldexp le leaky_relu lerp less
    less_equal lgamma log log10 log1p log2 log_normal_ log_sigmoid logaddexp logaddexp2 logical_and logical_not
    logical_or logical_xor logit logsigmoid long lt map2_ map_ masked_fill maximum minimum mish mul multiply mvlgamma
    nan_to_num ne neg negative nextafter normal_ not_equal ones_like pin_memory poisson polar polygamma positive pow
    rad2deg rand_like randint_like randn_like random_ reciprocal relu relu6 remainder resolve_conj resolve_neg round
    rrelu rsqrt rsub selu sgn short sigmoid sign signbit silu sin sinc sinh softplus softshrink softsign sqrt square
    sub subtract tan tanh tanhshrink threshold true_divide trunc type uniform_ where xlogy zero_ zeros_like
    special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_digamma special_entr special_erf special_erfc special_erfcx special_erfinv
    special_exp2 special_expit special_expm1 special_gammainc special_gammaincc special_gammaln
    special_hermite_polynomial_h special_hermite_polynomial_he special_i0 special_i0e special_i1 special_i1e
    special_laguerre_polynomial_l special_legendre_polynomial_p special_log1p special_log_ndtr special_logit
    special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1
    special_multigammaln special_ndtr special_ndtri special_polygamma special_psi special_round
    special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 special_shifted_chebyshev_polynomial_t
    special_shifted_chebyshev_polynomial_u special_shifted_chebyshev_polynomial_v
    special_shifted_chebyshev_polynomial_w special_sinc special_spherical_bessel_j0 special_xlog1py special_xlogy
    special_zeta
    """.split()  # noqa: SIM905
)
_DUNDER = """
    abs add and div eq floordiv ge gt invert le lshift lt mod mul ne neg or pos pow rshift sub truediv xor
    radd rand rdiv rfloordiv rlshift rmod rmul ror rpow rrshift rsub rtruediv rxor
    iadd iand idiv ifloordiv ilshift imod imul ior ipow irshift isub itruediv ixor
"""
_PASSES = """
    __array__ __bool__ __complex__ __dlpack__ __dlpack_device__ __float__ __format__ __hash__ __index__ __int__
    __len__ __long__ __nonzero__ __repr__ __setstate__ _is_view allclose as_subclass backward const_data_ptr
    data_ptr detach_ isclose dim dim_order element_size equal get_device has_names is_coalesced is_complex is_conj
    is_contiguous is_distributed is_floating_point is_inference is_neg is_nonzero is_pinned is_same_size is_set_to
    is_shared is_signed item ndimension nelement new new_empty new_empty_strided new_full new_ones new_tensor
    new_zeros numel numpy record_stream register_hook register_post_accumulate_grad_hook requires_grad_ result_type
    retain_grad share_memory_ size storage storage_offset storage_type stride sym_float sym_int tolist
    untyped_storage
"""
_FOLDS = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool1d_with_indices
    adaptive_max_pool2d adaptive_max_pool2d_with_indices adaptive_max_pool3d adaptive_max_pool3d_with_indices
    affine_grid avg_pool1d avg_pool2d avg_pool3d batch_norm channel_shuffle conv1d conv2d conv3d conv_tbc
    conv_transpose1d conv_transpose2d conv_transpose3d convolution dropout1d dropout2d dropout3d embedding_bag
    feature_alpha_dropout feature_dropout fold fractional_max_pool2d fractional_max_pool2d_with_indices
    fractional_max_pool3d fractional_max_pool3d_with_indices grid_sample group_norm gru gru_cell instance_norm
    interpolate local_response_norm lp_pool1d lp_pool2d lp_pool3d lstm lstm_cell max_pool1d max_pool1d_with_indices
    max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool1d max_unpool2d max_unpool3d
    multi_head_attention_forward native_channel_shuffle pixel_shuffle pixel_unshuffle rnn_relu rnn_relu_cell rnn_tanh
    rnn_tanh_cell scaled_dot_product_attention upsample upsample_bilinear upsample_nearest
"""
_WHOLE = """
    argwhere bincount dist histc masked_select nonzero ravel take unique unique_consecutive __contains__ __iter__
"""
_LOSS = """
    binary_cross_entropy binary_cross_entropy_with_logits hinge_embedding_loss huber_loss kl_div l1_loss
    margin_ranking_loss mse_loss poisson_nll_loss smooth_l1_loss soft_margin_loss
"""
_SHAPES = "atleast_1d atleast_2d atleast_3d reshape reshape_as to type_as view view_as"
_NO_AXIS = "broadcast_to expand expand_as repeat tile"
_EXCHANGES = "moveaxis movedim swapaxes swapdims transpose"
_REDUCED = (
    "all amax amin any argmax argmin count_nonzero logsumexp mean nanmean nansum prod std std_mean sum var var_mean"
)
_BY_DIM = "cummax cummin cumprod cumsum index_add index_copy index_fill index_reduce gather logcumsumexp"

NAMES: list[tuple[rules.Rule, str]] = [
    (rules.passes, _PASSES),
    (rules.folds, _FOLDS),
    (rules.whole, _WHOLE),
    (rules.loss, _LOSS),
    (rules.class_loss, "cross_entropy nll_loss multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss"),
    (rules.by_shape, _SHAPES),
    (rules.repeats, _NO_AXIS),
    (rules.by_cell, "bucketize isin one_hot view_as_complex view_as_real F.embedding"),
    (rules.exchange, _EXCHANGES),
    (rules.permuted, "permute"),
    (rules.flat, "flatten"),
    (rules.squeezed, "squeeze"),
    (rules.unknown, "squeeze_"),
    (rules.matrices, "adjoint tril triu"),
    (rules.padded, "F.pad constant_pad_nd"),
    (rules.weighted, "linear bilinear"),
    (rules.normalised, "layer_norm rms_norm"),
    (rules.slopes, "prelu"),
    (rules.product, "matmul bmm __matmul__ __rmatmul__"),
    (rules.contraction, "einsum"),
    (rules.join(0), "cat concat concatenate"),
    (rules.join(0, stacks=True), "stack"),
    (rules.join(1, fixed=True), "column_stack hstack"),
    (rules.join(0, fixed=True), "row_stack vstack"),
    (rules.join(2, fixed=True), "dstack"),
    (
        rules.split(0),
        "chunk split split_with_sizes tensor_split unsafe_chunk unsafe_split unsafe_split_with_sizes",
    ),
    (rules.split(2, 9), "dsplit"),
    (rules.split(1, 9), "hsplit"),
    (rules.split(0, 9), "vsplit"),
    (rules.along(1, removes=True), _REDUCED + " max median min nanmedian"),
    (rules.along(9, removes=True), "aminmax"),
    (rules.along(1, -1, removes=True), "mode"),
    (rules.along(2, removes=True), "linalg_vector_norm nanquantile norm quantile"),
    (rules.along(2, -1, removes=True), "kthvalue"),
    (rules.along(2, 1, removes=True), "cosine_similarity"),
    (rules.along(9, -1, removes=True), "linalg_vecdot pairwise_distance trapezoid trapz"),
    (rules.along(1, removes=True), "select"),
    (rules.along(1, 0, removes=True), "unbind"),
    (rules.along(1), _BY_DIM + " scatter scatter_add scatter_reduce"),
    (rules.along(1), "log_softmax softmax softmin special_log_softmax special_softmax unflatten Tensor.unfold"),
    (rules.along(1, variadic=True), "flip"),
    (rules.along(1, -1), "argsort glu sort"),
    (rules.along(1, grows=1), "unsqueeze"),
    (rules.along(2), "repeat_interleave roll take_along_dim"),
    (rules.along(2, (0, 1)), "rot90"),
    (rules.along(2, 1), "F.normalize"),
    (rules.along(2, -1), "diff topk"),
    (rules.along(4, -1), "gumbel_softmax"),
    (rules.along(9, -1), "cumulative_trapezoid linalg_cross"),
    (index, "__getitem__"),
    (assign, "__setitem__"),
    (narrowed, "narrow"),
    (chosen, "index_select"),
]
#: Properties that are tensors of the same elements; all others are facts about the tensor.
_PROPERTIES: dict[str, rules.Rule] = {
    "T": rules.unknown,
    "H": rules.unknown,
    "mT": rules.matrices,
    "mH": rules.matrices,
    "data": rules.elementwise,
    "imag": rules.elementwise,
    "real": rules.elementwise,
}
_METHODS: dict[str, Any] = {**vars(torch._C.TensorBase), **vars(Tensor)}
_SPACES: dict[str, dict[str, Any]] = {
    "Tensor": _METHODS,
    "torch": vars(torch),
    "F": vars(F),
    "nn": vars(torch._C._nn),  # type: ignore[attr-defined]
    "special": vars(torch._C._special),  # type: ignore[attr-defined]
    "linalg": vars(torch._C._linalg),  # type: ignore[attr-defined]
}


def named(name: str) -> list[Callable[..., Any]]:
    """The functions and methods of torch with a name, or, as ``F.pad``, the one of a namespace."""
    space, _, last = name.rpartition(".")
    found = [each.get(last) for each in ([_SPACES[space]] if space else _SPACES.values())]
    return [function for function in found if callable(function)]


def _fill() -> None:
    RULES[None] = rules.unknown
    RULES[torch.autograd.grad] = rules.passes
    for name in ELEMENTWISE:
        changes = name.endswith("_")
        RULES.update(dict.fromkeys(named(name), rules.in_place if changes else rules.elementwise))
        RULES.update(dict.fromkeys([] if changes else named(f"{name}_"), rules.in_place))
    for name in _DUNDER.split():
        changes = name[0] == "i" and name != "invert"
        RULES.update(dict.fromkeys(named(f"__{name}__"), rules.in_place if changes else rules.elementwise))
    for rule, names in NAMES:
        for name in names.split():
            RULES.update(dict.fromkeys([*named(name), *([] if name[0] == "_" else named(f"{name}_"))], rule))
    for name, found in _METHODS.items():
        if isinstance(found, (property, GetSetDescriptorType)) and not name.startswith("__"):
            RULES[found.__get__] = _PROPERTIES.get(name, rules.passes)
            RULES[found.__set__] = rules.passes


_fill()
