"""How torch functions act on events: ``linear``, ``cat``, scalar arithmetic; what needs a fold says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.batch import cat
from neurosparse.events.checks import silence_padding
from neurosparse.events.tensor import HANDLERS, EventTensor, on_dense_twin
from neurosparse.events.timing import tag
from neurosparse.kernels.event_linear import event_linear

NEEDS_FOLD = {
    F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
    F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d,
    F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d,
    F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d,
    F.batch_norm, F.instance_norm, F.group_norm, F.interpolate, F.pixel_shuffle, torch.flatten,
}  # fmt: skip


def linear(input: EventTensor | Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` on events: event-driven where events are held, dense where a dense twin is."""
    if not isinstance(input, EventTensor):  # events as weights make no sense; act on the dense twins
        dense = (a.dense() if isinstance(a, EventTensor) else a for a in (weight, bias))
        return F.linear(input, *dense)
    steps, samples, *units = input.shape
    if not units or units[-1] != weight.shape[-1]:
        fix = "Flatten the units with ns.fold(nn.Flatten(), nn.Linear(...))." if len(units) > 1 else ""
        raise InputError(
            "linear", got=f"events with units {tuple(units)}", expected=f"{weight.shape[-1]} units", fix=fix
        )
    if input.constant:  # one step is computed, all share it
        once = F.linear(input.dense()[:1].to(weight.dtype), weight, bias)
        return tag(once.expand(steps, *once.shape[1:]), input.timing)
    graded_graph = input.is_dense or len(units) > 1 or (input.value is not None and input.value.requires_grad)
    if graded_graph:
        return tag(F.linear(input.dense().to(weight.dtype), weight, bias), input.timing)
    out = event_linear(input.carrier, input.row_ptr, input.index, input.value, weight, bias)
    return tag(out.view(steps, samples, -1), input.timing)


HANDLERS[F.linear] = linear
HANDLERS[torch.cat] = cat


def _refuse(function: Callable[..., Any]) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        fix = f"Wrap the module: ns.fold(module) runs {name} on rows and unfolds the result."
        raise InputError(
            name, got="an EventTensor (steps, samples, *units)", expected="rows of images or units", fix=fix
        )

    name = getattr(function, "__name__", str(function))
    return refuse


HANDLERS.update({function: _refuse(function) for function in NEEDS_FOLD})


def _is_scalar(x: Any) -> bool:
    return isinstance(x, (int, float)) or (isinstance(x, Tensor) and x.dim() == 0)


def _arithmetic(function: Callable[..., Any]) -> Callable[..., Any]:
    def act(a: Any, b: Any) -> Any:
        if not (isinstance(a, EventTensor) and _is_scalar(b)) and not (isinstance(b, EventTensor) and _is_scalar(a)):
            return on_dense_twin(function, (a, b), {})
        events = a if isinstance(a, EventTensor) else b
        if function in (torch.mul, torch.div) and events is a and not events.requires_grad and not events.is_dense:
            ones = torch.ones(events.n_events, dtype=events.dtype, device=events.device)
            value = function(ones if events.value is None else events.value, b)
            if bool((value != 0).all()):
                parts = {"row": events.row, "index": events.index, "value": value, "offset": events.offset}
                return EventTensor(events.shape, events.timing, value.dtype, binary=False, **parts)
        dense = function(*(x.dense() if isinstance(x, EventTensor) else x for x in (a, b)))
        dense = silence_padding(dense, events.timing)
        return EventTensor(events.shape, events.timing, dense.dtype, binary=False, dense=dense)

    return act


HANDLERS.update({function: _arithmetic(function) for function in (torch.add, torch.sub, torch.mul, torch.div)})
