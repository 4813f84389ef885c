"""Torch functions on events: ``linear``, ``cat``, scalar arithmetic; all others act on the timed dense twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map

from neurosparse.errors import InputError
from neurosparse.events.batch import cat
from neurosparse.events.checks import check_grid, silence_padding
from neurosparse.events.indexing import ALL, entries_of, is_list
from neurosparse.events.tensor import HANDLERS, EventTensor
from neurosparse.events.timed import dense_of, with_timing
from neurosparse.events.timing import refuse_from_end
from neurosparse.kernels.dispatch import by_reference, event_driven_pays
from neurosparse.kernels.event_linear import event_linear


def linear(input: EventTensor | Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` on events: event-driven where the events are known, dense where a dense twin is held."""
    if not isinstance(input, EventTensor):  # events as weights make no sense; act on the dense twins
        return on_dense_twin(F.linear, (input, weight, bias), {})
    steps, samples, *units = input.shape
    if not units or units[-1] != weight.shape[-1]:
        fix = "Flatten the units with ns.fold(nn.Flatten(), nn.Linear(...))." if len(units) > 1 else ""
        raise InputError(
            "linear", got=f"events with units {tuple(units)}", expected=f"{weight.shape[-1]} units", fix=fix
        )
    if not input.binary and input.dtype.is_floating_point and input.dtype != weight.dtype:
        fix = f"Convert one by name: layer.to({input.dtype}), or the values before from_dense."
        raise InputError("linear", got=f"values of {input.dtype}", expected=str(weight.dtype), fix=fix)
    check_grid("linear", input.offset)
    if input.constant:  # one step is computed, all share it
        once = F.linear(input.dense()[:1].to(weight.dtype), weight, bias)
        return with_timing(once.expand(steps, *once.shape[1:]), input.timing)
    if not suits_events(input, weight) or len(units) > 1 or not input.value_is_data:
        return with_timing(F.linear(input.dense().to(weight.dtype), weight, bias), input.timing)
    support = None if input.support is None else input.support.flatten(0, 1)
    out = event_linear(input.carrier, input.row_ptr, input.index, input.value, weight, bias, support)
    return with_timing(out.view(steps, samples, weight.shape[0]), input.timing)


def suits_events(input: EventTensor, weight: Tensor) -> bool:
    """Whether the events are known and, where a dense twin stands by, few enough to be faster."""
    if not input.is_found or by_reference(weight):
        return False
    cells, size = math.prod(input.shape), weight.numel() * weight.element_size()
    return not input.is_dense or event_driven_pays(weight, input.n_events, cells, size)


def on_dense_twin(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Any other function, on the dense twins, which are timed tensors."""
    args, kwargs = tree_map(
        lambda a: with_timing(a.dense(), a.timing) if isinstance(a, EventTensor) else a, (args, kwargs)
    )
    return function(*args, **kwargs)


def _cat(tensors: Any, dim: int = 0) -> EventTensor:
    return cat(tensors, dim)


def select(events: EventTensor, key: Any) -> EventTensor | Tensor:
    """``events[key]``: spikes stay spikes; ranges of steps and lists of samples are taken from the events."""
    steps, *others = entries_of(key, len(events.shape))
    samples, units = others[0] if others else None, others[1:]
    by_range = isinstance(steps, slice) and steps.step in (None, 1)
    if not by_range or not (isinstance(samples, slice) or is_list(samples)):
        return with_timing(events.dense(), events.timing)[key]  # one step or sample, or refused
    if steps != ALL:
        refuse_from_end("x[steps]", events.timing, events.shape[0], steps.start, steps.stop)
        events = events.steps(*steps.indices(events.shape[0])[:2])
    if not (isinstance(samples, slice) and samples == ALL):
        events = events.samples(samples)
    if all(isinstance(entry, slice) and entry == ALL for entry in units):
        return events
    part = with_timing(events.dense(), events.timing)[(ALL, ALL, *units)]
    if part.dim() < 3:
        return part
    return EventTensor(part.shape, events.timing, part.dtype, binary=events.binary, dense=dense_of(part))


HANDLERS[None] = on_dense_twin
HANDLERS[Tensor.__getitem__] = select
HANDLERS[F.linear] = linear
HANDLERS[torch.cat] = _cat


def _is_scalar(x: Any) -> bool:
    return isinstance(x, (int, float)) or (isinstance(x, Tensor) and x.dim() == 0)


def _arithmetic(function: Callable[..., Any]) -> Callable[..., Any]:
    """``events op scalar`` (and ``scalar + events``, ``scalar * events``) is events; anything else is a tensor."""

    def act(a: Any, b: Any, **options: Any) -> Any:
        if function in (torch.add, torch.mul) and isinstance(b, EventTensor):
            a, b = b, a
        if not (isinstance(a, EventTensor) and _is_scalar(b)) or options:
            return on_dense_twin(function, (a, b), options)
        scalar = float(b.detach() if isinstance(b, Tensor) else b)
        if not math.isfinite(scalar) or (function is torch.div and scalar == 0):  # silence would turn into NaN
            raise InputError(function.__name__, got=f"the scalar {scalar}", expected="a finite one, no division by 0")
        if function in (torch.mul, torch.div) and not a.requires_grad and not a.is_dense:
            ones = torch.ones(a.n_events, dtype=a.dtype, device=a.device)
            value = function(ones if a.value is None else a.value, b)
            if bool((value.detach() != 0).all()):  # none has underflowed
                parts = {"row": a.row, "index": a.index, "value": value, "offset": a.offset}
                return EventTensor(a.shape, a.timing, value.dtype, binary=False, **parts)
        dense = silence_padding(function(a.dense(), b), a.timing)
        return EventTensor(a.shape, a.timing, dense.dtype, binary=False, dense=dense)

    return act


HANDLERS.update({f: _arithmetic(f) for f in (torch.add, torch.sub, torch.rsub, torch.mul, torch.div)})
HANDLERS[torch.neg] = lambda events: events * -1
