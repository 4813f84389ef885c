"""Composite functions (recurrent layers, attention) as equations in plain torch, which the meter runs to count them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import FunctionType, MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["EQUATIONS", "source_of"]

State = Sequence[Tensor]


def _lstm_cell(x: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, *rest: Tensor) -> State:
    """LSTM: ``c' = f c + i g``, ``h' = o tanh(c')``; projection ``W h'`` (Hochreiter & Schmidhuber 1997; Sak 2014)."""
    biases, projection = rest[:2] if len(rest) > 1 else (None, None), rest[len(rest) & ~1 :]
    h, c = state
    i, f, g, o = (F.linear(x, w_ih, biases[0]) + F.linear(h, w_hh, biases[1])).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (F.linear(h, projection[0]) if projection else h), c


def _gru_cell(x: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, b_ih: Any = None, b_hh: Any = None) -> State:
    """GRU: ``n = tanh(W x + r (U h))``, ``h' = n + z (h - n)`` (Cho 2014, variant of torch)."""
    (h,) = state
    r, z, n = F.linear(x, w_ih, b_ih).chunk(3, -1)
    r_h, z_h, n_h = F.linear(h, w_hh, b_hh).chunk(3, -1)
    n = (n + (r + r_h).sigmoid() * n_h).tanh()
    return (n + (z + z_h).sigmoid() * (h - n),)


def _rnn_cell(
    activation: Callable[[Tensor], Tensor],
    x: Tensor,
    state: State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Any = None,
    b_hh: Any = None,
) -> State:
    """Elman network: ``h' = activation(W x + U h)`` (Elman 1990)."""
    return (activation(F.linear(x, w_ih, b_ih) + F.linear(state[0], w_hh, b_hh)),)


CELLS: Mapping[str, Callable[..., State]] = MappingProxyType(
    {
        "lstm": _lstm_cell,
        "gru": _gru_cell,
        "rnn_tanh": partial(_rnn_cell, torch.tanh),
        "rnn_relu": partial(_rnn_cell, torch.relu),
    }
)


def _one_step(cell: Callable[..., State], x: Tensor, state: Any, *parameters: Any) -> Any:
    new = cell(x, state if isinstance(state, (tuple, list)) else (state,), *parameters)
    return new if len(new) > 1 else new[0]


def _over_time(cell: Callable[..., State], *args: Any) -> Tensor:
    """All layers and directions of a recurrent network, step by step; of packed sequences the batch shrinks."""
    packed = isinstance(args[3], (tuple, list))
    data, sizes = args[:2] if packed else (args[0], None)
    state, parameters, _, layers, dropout, training, both = args[1 + packed : 8 + packed]
    time = 0 if packed else int(args[8])
    steps = list(data.unbind(time) if sizes is None else data.split(sizes.tolist()))
    parts = state if isinstance(state, (tuple, list)) else (state,)
    states = list(zip(*(part.unbind(0) for part in parts), strict=True))
    each = len(parameters) // len(states)
    for layer in range(layers):
        directions = []
        for backward in range(1 + both):
            which = layer * (1 + both) + backward
            order = range(len(steps))[:: -1 if backward else 1]
            own = _direction(cell, steps, order, states[which], parameters[which * each : (which + 1) * each])
            directions.append(own)
        steps = [torch.cat(outputs, -1) for outputs in zip(*directions, strict=True)] if both else directions[0]
        if dropout and training and layer < layers - 1:
            steps = [F.dropout(step, dropout) for step in steps]
    return torch.cat(steps) if packed else torch.stack(steps, time)


def _direction(
    cell: Callable[..., State],
    steps: Sequence[Tensor],
    order: Sequence[int],
    state: State,
    parameters: Sequence[Tensor],
) -> list[Tensor]:
    outputs = list(steps)
    for step in order:
        here = len(steps[step])
        new = cell(steps[step], tuple(part[:here] for part in state), *parameters)
        outputs[step] = new[0]
        state = tuple(torch.cat([new_part, part[here:]]) for new_part, part in zip(new, state, strict=True))
    return outputs


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention: ``softmax(s Q K^T + mask) V`` (Vaswani 2017); masked scores are computed, then replaced."""
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.transpose(-1, -2)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return F.dropout(scores.softmax(-1), dropout_p, dropout_p > 0) @ value


def _bilinear(left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y_o = x A_o z + b_o``; the left input is multiplied by the weights first."""
    out = torch.einsum("...i,oij->...oj", left, weight)
    out = torch.einsum("...oj,...j->...o", out, right)
    return out if bias is None else out + bias


EQUATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: partial(_over_time, cell) for name, cell in CELLS.items()},
        **{f"{name}_cell": partial(_one_step, cell) for name, cell in CELLS.items()},
        "scaled_dot_product_attention": _attention,
        "bilinear": _bilinear,
    }
)
"""Equations of functions that are written in C++, by name."""

MODULES = ("torch.nn.functional", "torch.functional")
CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


@cache
def source_of(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Python source of a torch function, so that its parts are counted; None if it has none.

    The copy leaves out the check by which the function would be passed to the function mode as a whole.

    Example:
        >>> source_of(torch.relu) is None, source_of(F.local_response_norm)(torch.ones(1, 2, 3), 2).shape
        (True, torch.Size([1, 2, 3]))
    """
    if not isinstance(function, FunctionType) or function.__module__ not in MODULES:
        return None
    inside = {**function.__globals__, **dict.fromkeys(CHECKS, lambda *_: False)}
    copy = FunctionType(function.__code__, inside, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
