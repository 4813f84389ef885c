"""How many cells the windows of a pooling layer cover, borders exact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["window_cells"]

NAMES = ("input", "kernel_size", "stride", "padding", "dilation")


def window_cells(name: str, args: tuple, kwargs: Mapping[str, Any], source: Any, result: Any) -> int:
    """Pairs of an output and an input cell of its window; padding is not read.

    Args:
        name: ``max_pool2d``, ``avg_pool1d``, ``adaptive_avg_pool3d`` and the like.
        args, kwargs: of the call.
        source, result: what came in and what came out.

    Example:
        >>> import torch
        >>> x = torch.ones(1, 1, 5)
        >>> window_cells("max_pool1d", (x, 3, 2, 1), {}, x, torch.nn.functional.max_pool1d(x, 3, 2, 1))
        7
    """
    name = name.removesuffix("_with_indices")
    axes = int(name[-2])
    outs, ins = result.shape[-axes:], source.shape[-axes:]
    if name.startswith("adaptive"):
        sides = zip(ins, outs, strict=True)
        covered = (sum(-(-(i + 1) * n // out) - i * n // out for i in range(out)) for n, out in sides)
    else:
        named = {**dict(zip(NAMES, args, strict=False)), **kwargs}
        kernel = _each(named["kernel_size"], axes)
        stride = _each(named.get("stride") or kernel, axes)
        padding = _each(named.get("padding", 0), axes)
        dilation = _each(named.get("dilation", 1) if name.startswith("max") else 1, axes)
        sides = zip(ins, outs, kernel, stride, padding, dilation, strict=True)
        covered = (
            sum(0 <= i * s - p + j * d < n for i in range(out) for j in range(k)) for n, out, k, s, p, d in sides
        )
    return math.prod(covered) * math.prod(result.shape[:-axes])


def _each(value: Any, axes: int) -> tuple[int, ...]:
    many = (value,) if isinstance(value, int) else tuple(value)
    return many * axes if len(many) == 1 else many
