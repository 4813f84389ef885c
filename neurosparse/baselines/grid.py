"""Quantisation grids: the levels of weights and inputs in few bits, and the cost of rounding inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events import Operation, dense_of, operation, timing_of, with_timing

__all__ = ["check_bits", "input_bits", "input_grid", "on_grid", "quantisable", "weight_levels"]


@torch.no_grad()
def weight_levels(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Levels and scales of a weight: ``w ~ s W_int``, one s for each output, symmetric, so that 0 is a level.

    From 3 bits on ``s = max |w| / (2^(bits-1) - 1)`` and ``|w - s W_int| <= s / 2``. Two bits are ternary, -1, 0, 1:
    ``W_int = sign(w) [|w| > 0.7 mean |w|]`` and s the mean magnitude of those that are not 0, close to the best ternary
    approximation of w.

    Args:
        weight: ``(outputs, ...)``.
        bits: 2 to 8.

    Returns:
        whole numbers in the weight's dtype and shape; scales ``(outputs, 1, ...)``.

    Example:
        >>> weight_levels(torch.tensor([[0.1, -2.0, 1.0]]), 2)
        (tensor([[ 0., -1.,  1.]]), tensor([[1.5000]]))

    Source: Krishnamoorthi (2018), "Quantizing deep convolutional networks for efficient inference"; ternary: Li & Liu
    (2016), "Ternary weight networks", equations 5 and 6.
    """
    rows, shape = weight.detach().flatten(1), (-1, *[1] * (weight.dim() - 1))
    sizes = rows.abs()
    if bits == 2:
        large = sizes > 0.7 * sizes.mean(1, keepdim=True)
        scale = (sizes * large).sum(1) / large.sum(1).clamp_min(1)
        levels = rows.sign() * large
    else:
        top = 2 ** (bits - 1) - 1
        scale = sizes.amax(1) / top
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        levels = (rows / scale[:, None]).round().clamp(-top, top)
    return levels.view_as(weight), scale.view(shape)


def check_bits(where: str, bits: int) -> None:
    """Refuse anything but a whole number of bits from 2 to 8."""
    whole(where, "bits", bits, 2, 8, fix="Pass bits=8.")


def quantisable(model: nn.Module) -> dict[str, nn.Module]:
    """Linear and convolutional layers by name; weights of another kind are refused."""
    return {name: layer for name, layer in model.named_modules() if _is_supported(name, layer)}


def _is_supported(name: str, layer: nn.Module) -> bool:
    if isinstance(layer, nn.Linear):
        return True
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and layer.padding_mode == "zeros":
        return True
    for parameter, value in layer.named_parameters(recurse=False):
        if "weight" in parameter and value.dim() > 1:
            got, expected = f"{type(layer).__name__} {name!r}", "linear and zero-padded convolutional weights"
            raise InputError("quantise", got=got, expected=expected, fix="Quantise the parts around it.")
    return False


def input_bits(x: Any) -> int | None:
    """Bits of an input: 1 of spikes, ``level_bits`` of a layer of few levels, None of other inputs."""
    return 1 if not isinstance(x, Tensor) and x.binary else getattr(x, "level_bits", None)


def input_grid(low: float, high: float, bits: int) -> tuple[float, int, int]:
    """Scale, lowest and highest level; zero is a level, and without negative values all levels are positive."""
    bottom, top = (-(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1) if low < 0 else (0, 2**bits - 1)
    return (max(-low, high) / top or 1.0), bottom, top


def _grid_cost(result: Tensor, x: Any, *_: object, **__: object) -> list[Operation]:
    """Of each cell that is data: scale and round, and two comparisons to clip. A constant signal is one step."""
    timing, steps = timing_of(result), len(result)
    cells = result.numel()
    if timing is not None and timing.lengths is not None:
        cells = int(timing.lengths.sum()) * (cells // max(result.shape[0] * result.shape[1], 1))
    if _is_constant(result):
        cells //= steps
    return [Operation("elementwise", elementwise=2 * cells, comparisons=2 * cells)]


def _is_constant(x: Tensor) -> bool:
    return x.dim() > 2 and x.shape[0] > 1 and x.stride(0) == 0


@operation(_grid_cost)
def on_grid(x: Any, scale: float, bottom: int, top: int, *, whole: bool = False) -> Tensor:
    """The nearest point of the grid, as a dense tensor that is as constant and as long as its input.

    ``whole``: its level, a whole number in float64, instead of its value.
    """
    dense, timing = dense_of(x), timing_of(x)
    part = dense[:1] if _is_constant(dense) else dense
    levels = (part / scale).round().clamp(bottom, top)
    rounded = (levels.double() if whole else levels * scale).expand(dense.shape)
    return rounded if timing is None else with_timing(rounded, timing)
