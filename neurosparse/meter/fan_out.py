"""Fan-out: the number of non-zero weights of each input unit, exact at the borders of (transposed) convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.meter.contraction import Pairs

__all__ = ["correlate", "fan_out"]

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
LETTERS = ("abc", "xyz")  # positions and taps of each axis


class Axis(NamedTuple):
    """One axis of a convolution: output ``o`` and tap ``k`` read position ``stride o + dilation k - left``.

    ``left`` and ``right`` are the padding at the two ends.
    """

    kernel: int
    stride: int
    left: int
    right: int
    dilation: int

    def outputs(self, size: int) -> int:
        """Number of outputs of an input of ``size`` positions."""
        return (size + self.left + self.right - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def reach(self, near: int, far: int, transposed: bool) -> Tensor:
        """Mask ``(near, kernel)``: whether a position sends to an output by a tap, where there are ``far`` outputs."""
        position, tap = torch.arange(near)[:, None], self.dilation * torch.arange(self.kernel)
        if transposed:
            to = position * self.stride + tap - self.left
            return (to >= 0) & (to < far)
        offset = position + self.left - tap
        return (offset >= 0) & (offset % self.stride == 0) & (offset // self.stride < far)


def _axes(kernel: Sequence[int], geometry: Mapping[str, Any]) -> list[Axis]:
    n = len(kernel)

    def each(value: Any) -> tuple[int, ...]:
        values = (value,) if isinstance(value, int) else tuple(value)
        return values * n if len(values) == 1 else values

    stride, dilation = each(geometry.get("stride", 1)), each(geometry.get("dilation", 1))
    padding = geometry.get("padding", 0)
    if padding == "same":  # an odd one is put at the end
        both = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    else:
        both = [2 * p for p in each(0 if padding == "valid" else padding)]
    more = each(geometry.get("beyond", 0))
    sizes = zip(kernel, stride, both, more, dilation, strict=True)
    return [Axis(k, s, p // 2, p - p // 2 + extra, d) for k, s, p, extra, d in sizes]


def fan_out(weight: Tensor, units: tuple[int, ...], geometry: Mapping[str, Any] | None) -> tuple[Tensor, int]:
    """Fan-out of each input unit, and the number of outputs, for one input.

    Whether a position reaches an output by a tap of the kernel is a product of one such condition for each axis, so
    that the fan-out is a product of matrices with the numbers of non-zero weights of each input channel and tap.

    Args:
        weight: ``(out, in)``, or ``(out, in / groups, *kernel)`` with a geometry, ``(in, out / groups, *kernel)`` if
            it is ``transposed``.
        units: shape of one input, ``(in,)`` or ``(channels, *space)``.
        geometry: stride, padding, dilation and groups of a convolution, more padding ``beyond`` the end of each axis,
            ``output_padding`` of a transposed one, or the ``size`` of the outputs where these do not give it; None for
            a linear layer.

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
    kernel, groups, transposed = weight.shape[2:], geometry.get("groups", 1), bool(geometry.get("transposed"))
    held = torch.count_nonzero(weight.unflatten(0, (groups, -1)), dim=2 if transposed else 1)
    axes = _axes(kernel, geometry)
    size = geometry.get("size") or _size(units[1:], axes, geometry)
    near, taps = (letters[: len(axes)] for letters in LETTERS)
    reach = [axis.reach(n, far, transposed).double() for axis, n, far in zip(axes, units[1:], size, strict=True)]
    terms = ",".join(["i" + taps, *(position + tap for position, tap in zip(near, taps, strict=True))])
    each = torch.einsum(f"{terms}->i{near}", held.reshape(units[0], *kernel).double(), *reach)
    outputs = weight.shape[1] * groups if transposed else len(weight)
    return each.flatten().round().long(), outputs * math.prod(size)


def _size(space: Sequence[int], axes: Sequence[Axis], geometry: Mapping[str, Any]) -> list[int]:
    if not geometry.get("transposed"):
        return [axis.outputs(n) for axis, n in zip(axes, space, strict=True)]
    more = geometry.get("output_padding", 0)
    more = (more,) * len(axes) if isinstance(more, int) else tuple(more) * (len(axes) if len(more) == 1 else 1)
    ends = ((n - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1 for axis, n in zip(axes, space, strict=True))
    return [end - axis.left - axis.right + extra for end, axis, extra in zip(ends, axes, more, strict=True)]


def correlate(input: Tensor, grad: Tensor, geometry: Mapping[str, Any]) -> tuple[Pairs, int]:
    """Pairs of an input and an output gradient in the weight gradient of a convolution, and the number of weights.

    The numbers of non-zero entries in the channels of each group are correlated with a kernel of ones.

    Args:
        input, grad: ``(samples, channels, *space)``.
        geometry: stride, padding, dilation, groups and ``kernel``; ``transposed`` exchanges the two.

    Example:
        >>> pairs, weights = correlate(torch.tensor([[[1.0, 0, 2, 0]]]), torch.ones(1, 1, 3), {"kernel": (2,)})
        >>> pairs, weights
        (Pairs(all=6, left=3, right=6, both=3), 2)
    """
    groups, kernel = geometry.get("groups", 1), tuple(geometry["kernel"])
    parts = [x.unflatten(1, (groups, -1)) for x in (input, grad)]
    if geometry.get("transposed"):
        wide, narrow = parts[1], parts[0]
    else:
        wide, narrow = parts
    channels = wide.shape[2], narrow.shape[2]
    there, here = ((torch.count_nonzero(x, dim=2).double()).flatten(0, 1)[:, None] for x in (wide, narrow))
    axes = _axes(kernel, geometry)
    pads = [pad for axis in reversed(axes) for pad in (axis.left, axis.right)]
    how = {"stride": [axis.stride for axis in axes], "dilation": [axis.dilation for axis in axes]}
    ones = torch.ones(1, 1, *kernel, dtype=torch.float64)
    crop = (..., *(slice(n) for n in here.shape[2:]))

    def received(x: Tensor) -> Tensor:
        return CONVOLUTIONS[len(kernel)](F.pad(x, pads), ones, **how)[crop]

    covered, seen = received(torch.full_like(there[:1], channels[0])), received(there)
    pairs = (covered.sum() * channels[1] * len(there), seen.sum() * channels[1], (covered * here).sum())
    whole, first, second, both = (int(count.round()) for count in (*pairs, (seen * here).sum()))
    if geometry.get("transposed"):
        first, second = second, first
    return Pairs(whole, first, second, both), groups * channels[0] * channels[1] * math.prod(kernel)
