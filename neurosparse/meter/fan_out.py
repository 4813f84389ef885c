"""Fan-out: the number of non-zero weights of each input unit, exact at the borders of (transposed) convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["fan_out"]

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def fan_out(weight: Tensor, units: tuple[int, ...], geometry: dict[str, Any] | None) -> tuple[Tensor, int]:
    """Fan-out of each input unit, and the number of outputs, for one input.

    The fan-out is the gradient of the sum of all outputs with 0/1 weights, which includes borders, stride, dilation
    and groups.

    Args:
        weight: ``(out, in)``, or ``(out, in / groups, *kernel)`` with a geometry, ``(in, out / groups, *kernel)`` if
            it is ``transposed``.
        units: shape of one input, ``(in,)`` or ``(channels, *space)``.
        geometry: stride, padding, dilation and groups of a convolution; None for a linear layer.

    Returns:
        int64 ``(units)`` flat, and the number of output cells.

    Example:
        >>> each, outputs = fan_out(torch.ones(1, 1, 3), (1, 4), {"padding": 1})
        >>> each.tolist(), outputs
        ([2, 3, 3, 2], 4)
        >>> fan_out(torch.ones(1, 1, 3), (1, 2), {"padding": 1, "transposed": True})[0].tolist()
        [2, 2]
    """
    if geometry is None:
        return torch.count_nonzero(weight, dim=0), len(weight)
    how = {name: value for name, value in geometry.items() if name != "transposed"}
    convolve = (TRANSPOSED if geometry.get("transposed") else CONVOLUTIONS)[len(units) - 1]
    with torch.inference_mode(False), torch.enable_grad():
        image = torch.zeros(1, *units, dtype=torch.float64, device=weight.device, requires_grad=True)
        out = convolve(image, (weight != 0).double(), **how)
        (each,) = torch.autograd.grad(out.sum(), image)
    return each.flatten().round().long(), out.numel()
