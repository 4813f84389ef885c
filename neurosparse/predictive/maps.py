"""Linear maps with their transposes and weight gradients by hand: dense, convolutions, their transposes, blocks.

A new kind of weight is one `LinearMap` and one row in ``MAPS``; its contract test compares it with autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

__all__ = ["MAPS", "BlockLinear", "LinearMap", "map_of", "merge_blocks", "split_blocks"]


class LinearMap(NamedTuple):
    """An affine map ``a = W h + b`` of samples.

    ``product(module, h, bias)``; ``transpose(module, signal, shape)``, ``W^T signal`` in the shape of ``h``;
    ``gradients(module, h, signal)``, the sum over samples of ``signal h^T`` and of ``signal``, by parameter name.
    """

    product: Callable[[Any, Tensor, bool], Tensor]
    transpose: Callable[[Any, Tensor, torch.Size], Tensor]
    gradients: Callable[[Any, Tensor, Tensor], dict[str, Tensor]]


class BlockLinear(nn.Module):
    """Block-diagonal linear map without the zeros: ``a_b = W_b h_b`` of every block.

    Maps (samples, blocks * inputs) to (samples, blocks * outputs).

    Args:
        blocks: number of blocks.
        inputs, outputs: units of each block.

    Example:
        >>> layer = BlockLinear(3, 2, 4)
        >>> layer.weight.shape, layer(torch.ones(5, 6)).shape
        (torch.Size([3, 4, 2]), torch.Size([5, 12]))
    """

    def __init__(self, blocks: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(blocks, outputs, inputs) / inputs**0.5)

    def forward(self, h: Tensor) -> Tensor:
        return merge_blocks(torch.bmm(split_blocks(h, len(self.weight)), self.weight.mT))

    def extra_repr(self) -> str:
        blocks, outputs, inputs = self.weight.shape
        return f"{blocks}, {inputs}, {outputs}"


def split_blocks(x: Tensor, blocks: int) -> Tensor:
    """The units of each block: (samples, blocks * units) -> (blocks, samples, units)."""
    return x.unflatten(1, (blocks, -1)).transpose(0, 1)


def merge_blocks(x: Tensor) -> Tensor:
    """The inverse of `split_blocks`."""
    return x.transpose(0, 1).flatten(1)


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
    """The transpose in the input's shape: the output of a strided convolution does not determine that shape."""
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


def _transposed(layer: Any, h: Tensor, bias: bool) -> Tensor:
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[h.dim() - 3]
    return function(
        h, layer.weight, layer.bias if bias else None, output_padding=layer.output_padding, **_geometry(layer)
    )


def _transposed_transpose(layer: Any, signal: Tensor, shape: torch.Size) -> Tensor:
    function = (F.conv1d, F.conv2d, F.conv3d)[len(shape) - 3]
    return function(signal, layer.weight, None, **_geometry(layer))


def _transposed_gradients(layer: Any, h: Tensor, signal: Tensor) -> dict[str, Tensor]:
    """Those of a convolution whose input is the signal and whose signal is the input."""
    function = (grad.conv1d_weight, grad.conv2d_weight, grad.conv3d_weight)[h.dim() - 3]
    weight = function(signal, list(layer.weight.shape), h, **_geometry(layer))
    return {"weight": weight, "bias": signal.flatten(2).sum((0, 2))}


def _blocks(layer: BlockLinear, h: Tensor, bias: bool) -> Tensor:
    return layer(h)


def _blocks_transpose(layer: BlockLinear, signal: Tensor, shape: torch.Size) -> Tensor:
    return merge_blocks(torch.bmm(split_blocks(signal, len(layer.weight)), layer.weight))


def _blocks_gradients(layer: BlockLinear, h: Tensor, signal: Tensor) -> dict[str, Tensor]:
    blocks = len(layer.weight)
    return {"weight": torch.bmm(split_blocks(signal, blocks).mT, split_blocks(h, blocks))}


AXIS_KEYS = ("stride", "padding", "dilation")


def _geometry(layer: Any) -> dict[str, Any]:
    return {**{key: getattr(layer, key) for key in AXIS_KEYS}, "groups": layer.groups}


DENSE = LinearMap(_dense, _dense_transpose, _dense_gradients)
CONVOLUTION = LinearMap(_convolution, _convolution_transpose, _convolution_gradients)
TRANSPOSED = LinearMap(_transposed, _transposed_transpose, _transposed_gradients)
BLOCKS = LinearMap(_blocks, _blocks_transpose, _blocks_gradients)
MAPS: dict[type, LinearMap] = {
    nn.Linear: DENSE,
    BlockLinear: BLOCKS,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), CONVOLUTION),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), TRANSPOSED),
}


def map_of(module: nn.Module) -> LinearMap | None:
    """The linear map of a module; None where there is no such row, and autograd differentiates the module.

    Example:
        >>> map_of(nn.Linear(3, 2)) is MAPS[nn.Linear], map_of(nn.Tanh()) is None
        (True, True)
    """
    own = vars(module)  # a module without an attribute is slow to say so
    plain = module._parameters.keys() <= {"weight", "bias"}  # pruned or reparametrised weights have other names
    padded = isinstance(own.get("padding", 0), int | tuple) and own.get("padding_mode", "zeros") == "zeros"
    return MAPS.get(type(module)) if plain and padded else None
