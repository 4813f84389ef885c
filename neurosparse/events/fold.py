"""Folding: steps x samples become rows, so that modules for images and flat rows run on events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from neurosparse.errors import InputError
from neurosparse.events.checks import check_grid, valid_rows
from neurosparse.events.operation import moves
from neurosparse.events.state import Stateless
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timed import dense_of, with_timing
from neurosparse.events.timing import Timing, timing_of
from neurosparse.kernels.dispatch import by_reference
from neurosparse.kernels.event_conv import event_conv2d
from neurosparse.kernels.event_linear import event_linear

__all__ = ["Fold", "FoldedEvents", "fold"]


class FoldedEvents:
    """Events as rows ``(rows, *units)``, the input of modules for images, inside a fold."""

    timing = None  # of rows, whose first axis is no step; without it, it would be that of the dense rows

    def __init__(self, events: EventTensor, units: tuple[int, ...]):
        self.events, self.units = events, units
        self.shape = (events.shape[0] * events.shape[1], *units)
        self.binary = events.binary

    @property
    def n_rows(self) -> int:
        return self.shape[0]

    @property
    def row(self) -> Tensor:
        return self.events.row

    @property
    def index(self) -> Tensor:
        return self.events.index

    @property
    def value(self) -> Tensor | None:
        return self.events.value

    def dim(self) -> int:
        return len(self.shape)

    def size(self, axis: int | None = None) -> Any:
        return self.shape if axis is None else self.shape[axis]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dense(), name)  # any other method of a tensor

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        if start_dim == 1 and end_dim in (-1, self.dim() - 1):
            return FoldedEvents(self.events, (self.events.n_units,))
        return self.dense().flatten(start_dim, end_dim)

    def dense(self) -> Tensor:
        """The rows as an ordinary tensor, with its graph."""
        return self.events.dense().reshape(self.shape)

    @property
    def support(self) -> Tensor | None:
        """Codes ``(rows, units)`` of where the gradient of the rows is of use; None: everywhere."""
        return None if self.events.support is None else self.events.support.view(self.n_rows, -1)

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        carrier = self.events.carrier.expand(self.events.shape).reshape(self.shape)
        return carrier, self.events.row_ptr, self.events.index, self.events.value

    @classmethod
    def __torch_function__(cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        handler = _ON_ROWS.get(function)
        if handler is not None and args and isinstance(args[0], FoldedEvents):
            return handler(*args, **(kwargs or {}))
        dense = [tree_map(lambda a: a.dense() if isinstance(a, FoldedEvents) else a, part) for part in (args, kwargs)]
        return function(*dense[0], **(dense[1] or {}))


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _conv2d(
    input: FoldedEvents,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str) or input.dim() != 4 or by_reference(weight):
        return F.conv2d(input.dense(), weight, bias, stride, padding, dilation, groups)
    image = (input.units[0], input.units[1], input.units[2])
    geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
    return event_conv2d(*input._parts, input.support, image, weight, bias, *geometry)


def _linear(input: FoldedEvents, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    by_events = input.dim() == 2 and not by_reference(weight)
    return (
        event_linear(*input._parts, weight, bias, input.support) if by_events else F.linear(input.dense(), weight, bias)
    )


_ON_ROWS: dict[Any, Callable[..., Any]] = {F.conv2d: _conv2d, F.linear: _linear, torch.flatten: FoldedEvents.flatten}


class Fold(Stateless, nn.Sequential):
    """Modules run on rows; see :func:`fold`."""

    def forward(self, input: EventTensor | Tensor) -> Tensor:
        if len(input.shape) < 3:
            fix = "Time comes first; a fold turns steps x samples into rows."
            raise InputError("fold", got=f"shape {tuple(input.shape)}", expected="(steps, samples, *units)", fix=fix)
        timing = timing_of(input)
        steps, samples, *units = input.shape
        if steps > 1 and isinstance(input, EventTensor) and input.constant:  # computed once, shared by all steps
            out = super().forward(input.dense()[0])
            return with_timing(out.expand(steps, *out.shape), input.timing)
        ragged = None if timing is None or timing.lengths is None else valid_rows(timing, input.shape).flatten()
        if isinstance(input, EventTensor) and _is_read_as_events(input):
            check_grid("fold", input.offset)
            rows = FoldedEvents(input if ragged is None else _packed(input, ragged), tuple(units))
        else:
            rows = dense_of(input).reshape(steps * samples, *units)
            rows = rows if ragged is None else rows[ragged]  # padding reaches no module
        out = super().forward(rows)
        if ragged is not None:
            out = _unpacked(out, ragged)
        out = out.unflatten(0, (steps, samples))
        return out if timing is None else with_timing(out, timing)


def _is_read_as_events(input: EventTensor) -> bool:
    """Whether rows are events: where they are known, and of dense spikes without a graph, which have 1 bit."""
    if not input.is_dense:
        return input.value_is_data
    traced = torch.compiler.is_compiling() or by_reference(input.dense())
    return input.binary and not (input.requires_grad or traced)


@moves
def _packed(events: EventTensor, ragged: Tensor) -> EventTensor:
    """The same events, one step of as many samples as there are rows of data."""
    place, rows = ragged.cumsum(0) - 1, int(ragged.sum())
    parts: dict[str, Any] = {"row": place[events.row], "index": events.index, "value": events.value}
    if events.support is not None:
        parts["support"] = events.support.flatten(0, 1)[ragged]
    if events.requires_grad:
        units = events.shape[2:]
        parts["carrier"] = events.carrier.expand(events.shape).reshape(-1, *units)[ragged][None]
    shape = (1, rows, *events.shape[2:])
    return EventTensor(shape, Timing(), events.dtype, binary=events.binary, **parts)


@moves
def _unpacked(out: Tensor, ragged: Tensor) -> Tensor:
    """Rows of data among rows of zeros."""
    return out.new_zeros(len(ragged), *out.shape[1:]).index_put((ragged.nonzero()[:, 0],), out)


def fold(*modules: nn.Module) -> Fold:
    """Run modules for images or flat rows on events: steps x samples become rows, and the result is unfolded.

    Convolutions and linear layers on events are event-driven where that pays. Rows beyond a sample's length are left
    out, so a ``BatchNorm`` never averages padding. A constant current is one step, computed once for all.

    Args:
        modules: torch modules in order, for example ``nn.Conv2d``, ``nn.BatchNorm2d``, ``nn.AvgPool2d``,
            ``nn.Flatten``.

    Returns:
        A module from ``(steps, samples, *units)`` events or tensor to a dense tensor ``(steps, samples, *units)``, with
        the timing of the input.

    Example:
        >>> layer = fold(nn.Conv2d(1, 4, 3), nn.Flatten())
        >>> layer(torch.zeros(5, 2, 1, 8, 8)).shape
        torch.Size([5, 2, 144])
    """
    for module in modules:
        if not isinstance(module, nn.Module):
            got, fix = f"{module!r}", "Pass modules such as nn.Flatten(), or lists as fold(*modules)."
            raise InputError("fold", got=got, expected="torch modules", fix=fix)
    return Fold(*modules)
