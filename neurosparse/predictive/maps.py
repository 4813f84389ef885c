"""Weights by hand: for each kind of layer its product, the transpose of that product, and the gradient of its weights.

A new kind of weight is one `Map` and one row in ``MAPS``; its contract test compares it with autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

from neurosparse.predictive.blocks import Blocks, apart, together

__all__ = ["MAPS", "Map", "map_of"]


class Map(NamedTuple):
    """An affine map ``a = W h + b`` of samples.

    ``product(module, h, bias)``; ``transpose(module, signal, shape)``, ``W^T signal`` in the shape of ``h``;
    ``gradients(module, h, signal)``, the sum over samples of ``signal h^T`` and of ``signal``, by parameter name.
    """

    product: Callable[[Any, Tensor, bool], Tensor]
    transpose: Callable[[Any, Tensor, torch.Size], Tensor]
    gradients: Callable[[Any, Tensor, Tensor], dict[str, Tensor]]


def _dense(layer: nn.Linear, h: Tensor, bias: bool) -> Tensor:
    return F.linear(h.flatten(1), layer.weight, layer.bias if bias else None)


def _dense_transpose(layer: nn.Linear, signal: Tensor, shape: torch.Size) -> Tensor:
    return F.linear(signal, layer.weight.t()).reshape(shape)


def _dense_gradients(layer: nn.Linear, h: Tensor, signal: Tensor) -> dict[str, Tensor]:
    return {"weight": signal.t() @ h.flatten(1), "bias": signal.sum(0)}


def _convolution(layer: Any, h: Tensor, bias: bool) -> Tensor:
    function = (F.conv1d, F.conv2d, F.conv3d)[h.dim() - 3]
    return function(h, layer.weight, layer.bias if bias else None, **_geometry(layer))


def _convolution_transpose(layer: Any, signal: Tensor, shape: torch.Size) -> Tensor:
    """A strided convolution forgets how many cells it left over at the border; the shape tells."""
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(shape) - 3]
    geometry = _geometry(layer)
    axes = zip(shape[2:], signal.shape[2:], layer.kernel_size, *(geometry[key] for key in AXIS_KEYS), strict=True)
    left = [
        size - ((out - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
        for size, out, kernel, stride, padding, dilation in axes
    ]
    return function(signal, layer.weight, None, output_padding=left, **geometry)


def _convolution_gradients(layer: Any, h: Tensor, signal: Tensor) -> dict[str, Tensor]:
    function = (grad.conv1d_weight, grad.conv2d_weight, grad.conv3d_weight)[h.dim() - 3]
    weight = function(h, list(layer.weight.shape), signal, **_geometry(layer))
    return {"weight": weight, "bias": signal.flatten(2).sum((0, 2))}


def _blocks(layer: Blocks, h: Tensor, bias: bool) -> Tensor:
    return layer(h)


def _blocks_transpose(layer: Blocks, signal: Tensor, shape: torch.Size) -> Tensor:
    return together(torch.bmm(apart(signal, len(layer.weight)), layer.weight))


def _blocks_gradients(layer: Blocks, h: Tensor, signal: Tensor) -> dict[str, Tensor]:
    blocks = len(layer.weight)
    return {"weight": torch.bmm(apart(signal, blocks).mT, apart(h, blocks))}


AXIS_KEYS = ("stride", "padding", "dilation")


def _geometry(layer: Any) -> dict[str, Any]:
    return {**{key: getattr(layer, key) for key in AXIS_KEYS}, "groups": layer.groups}


DENSE = Map(_dense, _dense_transpose, _dense_gradients)
CONVOLUTION = Map(_convolution, _convolution_transpose, _convolution_gradients)
BLOCKS = Map(_blocks, _blocks_transpose, _blocks_gradients)
MAPS: dict[type, Map] = {
    nn.Linear: DENSE,
    Blocks: BLOCKS,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), CONVOLUTION),
}


def map_of(module: nn.Module) -> Map | None:
    """The map that a module is; None if it is none of ours, and autograd has to derive it.

    Example:
        >>> map_of(nn.Linear(3, 2)) is MAPS[nn.Linear], map_of(nn.Tanh()) is None
        (True, True)
    """
    plain = module._parameters.keys() <= {"weight", "bias"}  # not where weights are pruned or normalised on the fly
    padded = (
        isinstance(getattr(module, "padding", 0), int | tuple) and getattr(module, "padding_mode", "zeros") == "zeros"
    )
    return MAPS.get(type(module)) if plain and padded else None
