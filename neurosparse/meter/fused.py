"""Fused operators (recurrent layers, attention) as equations in plain torch, which the meter runs to count them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from string import ascii_letters
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

try:
    from torch.nn.modules import linear_cross_entropy as by_parts
except ImportError:  # before torch 2.13
    by_parts = None

__all__ = ["EQUATIONS"]

LSTM, GRU = 2, 3  # torch's numbers of recurrent layers; 0 and 1 are Elman networks with a ReLU and a tanh


def _recurrent_layer(
    input: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
    h: Tensor,
    c: Tensor,
    reverse: bool,
    batch_sizes: Sequence[int],
    mode: int,
    hidden: int,
    layers: int,
    has_biases: bool,
    *_: Any,
) -> Tensor:
    """One layer and direction of a recurrent network, step by step; ``input (steps, samples, units)``.

    LSTM: ``c' = f c + i g``, ``h' = o tanh(c')`` (Hochreiter & Schmidhuber 1997). GRU: ``n = tanh(W x + r (U h))``,
    ``h' = n + z (h - n)`` (Cho 2014, variant of torch). Elman network: ``h' = activation(W x + U h)`` (Elman 1990).
    """
    of_input, of_hidden = (b_ih, b_hh) if has_biases else (None, None)
    outputs = []
    for x in reversed(input.unbind()) if reverse else input.unbind():
        ours, theirs = F.linear(x, w_ih, of_input), F.linear(h, w_hh, of_hidden)
        if mode == LSTM:
            i, f, g, o = (ours + theirs).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        elif mode == GRU:
            (r, z, n), (r_h, z_h, n_h) = ours.chunk(3, -1), theirs.chunk(3, -1)
            n = (n + (r + r_h).sigmoid() * n_h).tanh()
            h = n + (z + z_h).sigmoid() * (h - n)
        else:
            h = (ours + theirs).tanh() if mode else (ours + theirs).relu()
        outputs.append(h)
    return torch.stack(outputs[::-1] if reverse else outputs)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention: ``softmax(s Q K^T + mask) V`` (Vaswani 2017); masked scores are computed, then replaced."""
    key, value = (_for_all_heads(x, query) for x in (key, value))
    scores = _scores(query, key, is_causal, attn_mask, scale)
    return F.dropout(scores.softmax(-1), dropout_p, dropout_p > 0) @ value


def _for_all_heads(x: Tensor, query: Tensor) -> Tensor:
    """Keys or values that several heads of the query share, once for each head."""
    groups = query.shape[1] // x.shape[1]
    return x if groups == 1 else x.unsqueeze(2).expand(-1, -1, groups, -1, -1).flatten(1, 2)


def _scores(query: Tensor, key: Tensor, is_causal: bool, attn_mask: Tensor | None, scale: float | None) -> Tensor:
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.transpose(-1, -2)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is None:
        return scores
    return scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask


def _attention_with_mask(query: Tensor, key: Tensor, value: Tensor, mask: Any, *rest: Any, **named: Any) -> Tensor:
    """The kernels that take the mask among the first arguments, and then whether to return the log-sum-exp."""
    return _attention(query, key, value, *rest[1:3], attn_mask=mask, scale=named.get("scale"))


def _attention_without_mask(
    query: Tensor, key: Tensor, value: Tensor, *rest: Any, scale: float | None = None
) -> Tensor:
    return _attention(query, key, value, *rest[:2], scale=scale)


def _attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout_p: float,
    is_causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of attention; the scores are computed again, not stored (Dao 2022)."""
    heads = key.shape[1]
    key, value = (_for_all_heads(x, query) for x in (key, value))
    weights = (_scores(query, key, is_causal, attn_mask, scale) - logsumexp.unsqueeze(-1)).exp()
    grad_value = weights.transpose(-1, -2) @ grad
    grad_scores = weights * (grad @ value.transpose(-1, -2) - (grad * out).sum(-1, keepdim=True))
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    grad_query, grad_key = (grad_scores @ key) * factor, (grad_scores.transpose(-1, -2) @ query) * factor
    if heads < query.shape[1]:
        grad_key, grad_value = (x.unflatten(1, (heads, -1)).sum(2) for x in (grad_key, grad_value))
    return grad_query, grad_key, grad_value


def _flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Tensor],
    block_mask: Sequence[Any],
    scale: float,
    kernel_options: Any = None,
    score_buffers: Sequence[Any] = (),
    mask_buffers: Sequence[Any] = (),
) -> Tensor:
    """Attention with a function of each score and its place (samples, heads, queries, keys), and one that masks it."""
    # Inside vmap, places index tables only with torch's own translation; its module loads the compiler.
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    key, value = (_for_all_heads(x, query) for x in (key, value))
    scores = (query @ key.transpose(-1, -2)) * scale
    places = [torch.arange(size, device=query.device) for size in scores.shape]
    score, masked = (lambda s, *p: score_mod(s, *p, *score_buffers)), (lambda *p: block_mask[-1](*p, *mask_buffers))
    for axis in (3, 2, 1, 0):
        along = [0 if axis == place else None for place in range(4)]
        score, masked = torch.vmap(score, (0, *along)), torch.vmap(masked, tuple(along))
    with TransformGetItemToIndex():
        scores = torch.where(masked(*places), score(scores, *places), -math.inf)
    return scores.softmax(-1) @ value


def _multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> Tensor:
    """Multi-head attention with its projections (Vaswani 2017), ``(samples, steps, units)``."""
    alike = query is key and key is value
    if query.is_nested:
        outputs = []
        for q, k, v in zip(query.unbind(), key.unbind(), value.unbind(), strict=True):
            one = q[None]
            three = (one, one, one) if alike else (one, k[None], v[None])
            projections = (qkv_weight, qkv_bias, proj_weight, proj_bias)
            outputs.append(_multi_head_attention(*three, embed_dim, heads, *projections, None, need_weights))
        return torch.cat(outputs, 1)
    if alike:
        projected = F.linear(query, qkv_weight, qkv_bias).chunk(3, -1)
    else:
        parts = zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3), strict=True)
        projected = [F.linear(x, weight, bias) for x, weight, bias in parts]
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in projected)
    scores = _scores(q, k, False, None, None)
    if mask is not None:
        hidden = mask.bool()  # true where a score is left out
        if mask_type == KEYS:
            hidden = hidden[:, None, None]
        scores = scores.masked_fill(hidden, -math.inf)
    weights = scores.softmax(-1)
    if need_weights and average_attn_weights:
        weights.mean(1)
    return F.linear((weights @ v).transpose(1, 2).flatten(2), proj_weight, proj_bias)


KEYS = 1  # torch's number of a mask of keys, (samples, steps)


def _encoder_layer(
    src: Tensor,
    embed_dim: int,
    heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """Encoder layer of a transformer (Vaswani 2017): attention, two linear layers, and a norm and shortcut for both."""

    def attend(x: Tensor) -> Tensor:
        return _multi_head_attention(x, x, x, embed_dim, heads, *attention, mask, False, True, mask_type)

    def transform(x: Tensor) -> Tensor:
        inner = F.linear(x, ffn_weight_1, ffn_bias_1)
        return F.linear(F.gelu(inner) if use_gelu else inner.relu(), ffn_weight_2, ffn_bias_2)

    def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), weight, bias, eps)

    attention = (qkv_weight, qkv_bias, proj_weight, proj_bias)
    first, second = (norm_weight_1, norm_bias_1), (norm_weight_2, norm_bias_2)
    outputs = []
    for x in [part[None] for part in src.unbind()] if src.is_nested else [src]:
        if norm_first:
            x = x + attend(norm(x, *first))
            x = x + transform(norm(x, *second))
        else:
            x = norm(x + attend(x), *first)
            x = norm(x + transform(x), *second)
        outputs.append(x)
    return torch.cat(outputs, 1) if src.is_nested else outputs[0]


def _trilinear(
    i1: Tensor,
    i2: Tensor,
    i3: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Tensor:
    """Sum of the product of three tensors, with axes of length 1 put in; the first two are multiplied first."""
    axes = i1.dim() + len(expand1)
    letters = ascii_letters[:axes]
    a, b, c = ("".join(letters[axis] for axis in range(axes) if axis not in put) for put in (expand1, expand2, expand3))
    out = "".join(letters[axis] for axis in range(axes) if axis not in sumdim)
    both = "".join(letter for letter in letters if letter in a + b and letter in c + out)
    return torch.einsum(f"{both},{c}->{out}", torch.einsum(f"{a},{b}->{both}", i1, i2), i3)


def _euclidean_distance(x1: Tensor, x2: Tensor) -> Tensor:
    """``sqrt(|x|^2 + |y|^2 - 2 x y)`` of all pairs of rows."""
    norms = [(x * x).sum(-1, keepdim=True) for x in (x1, x2)]
    return ((-2 * x1) @ x2.transpose(-1, -2) + norms[0] + norms[1].transpose(-1, -2)).clamp_min(0).sqrt()


#: Losses of linear layers by parts of the batch are operators in Python: their code is the equation.
LOSSES_BY_PARTS = {
    f"torch_nn.{name}": operator._init_fn
    for name, operator in ({} if by_parts is None else vars(by_parts)).items()
    if name.startswith("_linear") and hasattr(operator, "_init_fn")
}


def _observed(
    x: Tensor,
    observes: Tensor,
    rounds: Tensor,
    least: Tensor,
    most: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    share: float,
    low: int,
    high: int,
    axis: int,
    by_row: bool = False,
    *_: Any,
) -> None:
    """Fake quantisation with moving averages of the least and the largest value, as in quantisation-aware training."""
    if observes:
        rows = x.movedim(axis, 0).flatten(1) if by_row else x.flatten()
        now = torch.aminmax(rows, dim=-1)
        for old, new in ((least, now.min), (most, now.max)):
            torch.lerp(old, new, share)
    if rounds and by_row:
        torch.fake_quantize_per_channel_affine(x, scale, zero_point, axis, low, high)
    elif rounds:
        torch.fake_quantize_per_tensor_affine(x, scale, zero_point, low, high)


EQUATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "mkldnn_rnn_layer": _recurrent_layer,
        "_fused_moving_avg_obs_fq_helper": _observed,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
        "_scaled_dot_product_flash_attention": _attention_without_mask,
        "_scaled_dot_product_efficient_attention": _attention_with_mask,
        "_scaled_dot_product_cudnn_attention": _attention_with_mask,
        "flex_attention": _flex_attention,
        "_native_multi_head_attention": _multi_head_attention,
        "_transformer_encoder_layer_fwd": _encoder_layer,
        "_trilinear": _trilinear,
        "_euclidean_dist": _euclidean_distance,
        **LOSSES_BY_PARTS,
    }
)
"""Equations of ATen operators that contain several products, by name."""
