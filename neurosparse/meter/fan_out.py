"""Fan-out: the number of non-zero weights of each input unit, exact at the borders of (transposed) convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosparse.meter.contraction import Pairs, n_nonzero, nonzero_along

__all__ = ["correlate", "fan_out"]

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


class Taps(NamedTuple):
    """For each axis, whether a position reaches an output by a tap; and the number of outputs that each reaches."""

    reach: tuple[Tensor, ...]
    outputs: Tensor


@lru_cache(maxsize=64)
def _taps(
    axes: tuple[Axis, ...], near: tuple[int, ...], far: tuple[int, ...], transposed: bool, device: torch.device
) -> Taps:
    sizes = zip(axes, near, far, strict=True)
    reach = [axis.reach(here, there, transposed).to(device) for axis, here, there in sizes]
    outputs = torch.ones(1, dtype=torch.int64, device=device)
    for mask in reach:
        outputs = outputs[:, None] * mask.sum(1)
        outputs = outputs.flatten()
    return Taps(tuple(mask.double() for mask in reach), outputs)


def _axes(kernel: Sequence[int], geometry: Mapping[str, Any]) -> tuple[Axis, ...]:
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
    return tuple(Axis(k, s, p // 2, p - p // 2 + extra, d) for k, s, p, extra, d in sizes)


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
        return nonzero_along(weight, 0).long(), len(weight)
    groups, transposed = geometry.get("groups", 1), bool(geometry.get("transposed"))
    axes = _axes(weight.shape[2:], geometry)
    size = tuple(geometry.get("size") or _size(units[1:], axes, geometry))
    reach, reached = _taps(axes, tuple(units[1:]), size, transposed, weight.device)
    of_group = weight.shape[1] if transposed else len(weight) // groups
    outputs = of_group * groups * math.prod(size)
    if n_nonzero(weight) == weight.numel():
        return (of_group * reached).repeat(units[0]), outputs
    held = nonzero_along(weight.unflatten(0, (groups, -1)), 2 if transposed else 1)
    near, taps = (letters[: len(axes)] for letters in LETTERS)
    terms = ",".join(["i" + taps, *(position + tap for position, tap in zip(near, taps, strict=True))])
    each = torch.einsum(f"{terms}->i{near}", held.reshape(units[0], *weight.shape[2:]).double(), *reach)
    return each.flatten().round().long(), outputs


def _size(space: Sequence[int], axes: Sequence[Axis], geometry: Mapping[str, Any]) -> list[int]:
    if not geometry.get("transposed"):
        return [axis.outputs(n) for axis, n in zip(axes, space, strict=True)]
    more = geometry.get("output_padding", 0)
    more = (more,) * len(axes) if isinstance(more, int) else tuple(more) * (len(axes) if len(more) == 1 else 1)
    ends = ((n - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1 for axis, n in zip(axes, space, strict=True))
    return [end - axis.left - axis.right + extra for end, axis, extra in zip(ends, axes, more, strict=True)]


def correlate(input: Tensor, grad: Tensor, geometry: Mapping[str, Any]) -> tuple[Pairs, int]:
    """Pairs of an input and an output gradient in the weight gradient of a convolution, and the number of weights.

    The numbers of non-zero entries in the channels of each group are convolved with a kernel of ones, which gives the
    number of inputs that each output receives.

    Args:
        input, grad: ``(samples, channels, *space)``.
        geometry: stride, padding, dilation, groups and ``kernel``; ``transposed`` exchanges the two.

    Example:
        >>> pairs, weights = correlate(torch.tensor([[[1.0, 0, 2, 0]]]), torch.ones(1, 1, 3), {"kernel": (2,)})
        >>> pairs, weights
        (Pairs(all=6, left=3, right=6, both=3), 2)
    """
    groups, kernel = geometry.get("groups", 1), tuple(geometry["kernel"])
    transposed, axes = bool(geometry.get("transposed")), _axes(kernel, geometry)
    parts = [x.unflatten(1, (groups, -1)) for x in (input, grad)]
    wide, narrow = reversed(parts) if transposed else parts
    near, far, channels = tuple(wide.shape[3:]), tuple(narrow.shape[3:]), (wide.shape[2], narrow.shape[2])
    from_wide = _taps(axes, near, far, False, wide.device).outputs
    from_narrow = _taps(axes, far, near, True, wide.device).outputs
    pairs = len(wide) * groups * math.prod(channels) * int(from_wide.sum())
    there, here = nonzero_along(wide, 2), nonzero_along(narrow, 2)  # (samples, groups, *space)
    of_wide = channels[1] * int((there.sum((0, 1)).flatten() * from_wide).sum())
    of_narrow = channels[0] * int((here.sum((0, 1)).flatten() * from_narrow).sum())
    if pairs in (of_wide, of_narrow):
        both = min(of_wide, of_narrow)
    else:
        ones = torch.ones(1, 1, *kernel, device=wide.device)
        how = ([axis.stride for axis in axes], [axis.left for axis in axes], [axis.dilation for axis in axes])
        seen = torch.convolution(there.flatten(0, 1)[:, None].float(), ones, None, *how, False, [0] * len(axes), 1)
        seen = seen[(..., *(slice(n) for n in far))].reshape(here.shape)  # numbers below 2^24 are exact in float32
        both = int((seen.double() * here).sum())
    sides = (of_narrow, of_wide) if transposed else (of_wide, of_narrow)
    return Pairs(pairs, *sides, both), groups * math.prod(channels) * math.prod(kernel)
