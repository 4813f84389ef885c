"""Products of torch functions on events: linear layers and convolutions, which kernels of this library compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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


DESCRIBED: dict[Any, Describe] = {
    F.linear: _linear,
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _convolution(False)),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _convolution(True)),
}


def describe_events(function: Any, args: tuple) -> Describe | None:
    """The operations of a torch function whose first argument is events; None for other functions."""
    first = args[0] if args else None
    on_events = isinstance(first, FoldedEvents) or (isinstance(first, EventTensor) and function is F.linear)
    return DESCRIBED.get(function) if on_events else None
