"""Operations of torch functions on events that this library computes: layers, and arithmetic with a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.events.fold import FoldedEvents
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor

__all__ = ["describe_events"]

Describe = Callable[..., Sequence[Operation]]


def _linear(result: Any, input: Any, weight: Tensor, bias: Tensor | None = None) -> Sequence[Operation]:
    return [Operation("linear", input, weight, bias is not None)]


def _convolution(transposed: bool) -> Describe:
    names = ("stride", "padding", "output_padding", "groups", "dilation")
    names = names if transposed else ("stride", "padding", "dilation", "groups")

    def describe(
        result: Any, input: Any, weight: Tensor, bias: Tensor | None = None, *how: Any, **named: Any
    ) -> Sequence[Operation]:
        geometry = dict(zip(names, how, strict=False)) | named | ({"transposed": True} if transposed else {})
        return [Operation("conv", input, weight, bias is not None, geometry=geometry)]

    return describe


def _arithmetic(result: Any, *_: Any, **__: Any) -> Sequence[Operation]:
    """One operation for each event that is sent; on a dense result one for each cell."""
    cells = result.n_events if isinstance(result, EventTensor) else result.numel()
    return [Operation("elementwise", elementwise=cells)]


ARITHMETIC = (torch.add, torch.sub, torch.rsub, torch.mul, torch.div, torch.neg)
DESCRIBED: dict[Any, Describe] = {
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    F.linear: _linear,
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _convolution(False)),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _convolution(True)),
}


def describe_events(function: Any, args: tuple) -> Describe | None:
    """The operations of a torch function whose first argument is events; None for other functions."""
    first = args[0] if args else None
    if isinstance(first, FoldedEvents):
        return None if function in ARITHMETIC else DESCRIBED.get(function)
    if not isinstance(first, EventTensor):
        return None
    with_number = function in ARITHMETIC and not any(isinstance(x, Tensor) and x.dim() for x in args[1:])
    return DESCRIBED[function] if with_number or function is F.linear else None
