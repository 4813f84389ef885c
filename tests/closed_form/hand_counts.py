"""Counts by hand: what a recorded function costs, pairs of masks, and convolutions with their taps inside the input."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import neurosparse as ns

#: Kinds of rows that hold products.
KINDS = ("linear", "conv", "matmul", "embedding")


def sparse(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal values of which about half are zero."""
    generator = torch.Generator().manual_seed(1000 * seed + sum(shape))
    return torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.5)


def mask(x: Tensor) -> Tensor:
    return ((x.to_dense() if x.layout != torch.strided else x) != 0).double()


class Counts(NamedTuple):
    dense: int
    effective: int
    bias_adds: int = 0
    elementwise: int = 0
    comparisons: int = 0


def counts_of(rows: Any, phase: str = "forward") -> Counts:
    rows = [row for row in rows if row["phase"] == phase]
    sums = {name: sum(row.get(name, 0) for row in rows) for name in ns.meter.COUNTS}
    effective = sums["effective_macs"] + sums["effective_acs"]
    return Counts(sums["dense_ops"], effective, sums["bias_adds"], sums["elementwise"], sums["comparisons"])


def recorded(function: Callable[..., Any], *inputs: Any) -> Counts:
    with torch.no_grad(), ns.record(model := ns.meter.as_module(function), samples="none") as tape:
        model(*inputs)
    return counts_of(ns.count(tape, strict=True).rows)


def pairs(equation: str) -> Callable[..., int]:
    """Pairs of ones: the sum of the product of two masks."""
    return lambda *masks: int(torch.einsum(f"{equation}->", *masks))


CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class Convolution(NamedTuple):
    """Shapes of input and weight, geometry, and by hand the taps inside the input along each axis, and the outputs."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    geometry: dict[str, Any]
    taps: tuple[int, ...]
    outputs: tuple[int, ...]
    transposed: bool = False

    @property
    def function(self) -> Callable[..., Tensor]:
        return (TRANSPOSED if self.transposed else CONVOLUTIONS)[len(self.input) - 2]

    @property
    def dense(self) -> int:
        """Samples times channels of both sides in each group times taps."""
        samples, channels = self.input[:2]
        of_group = self.weight[1] if self.transposed else self.weight[0] // self.geometry.get("groups", 1)
        return samples * channels * of_group * torch.Size(self.taps).numel()


GEOMETRIES = {
    # 9 positions, kernel 4: 6 outputs of 4 taps
    "conv1d": Convolution((2, 2, 9), (3, 2, 4), {}, (24,), (6,)),
    # padding 1 of 4 positions, kernel 3: 2 + 3 + 3 + 2 taps; along the other axis 5 positions, kernel 1
    "padded conv2d": Convolution((2, 2, 4, 5), (3, 2, 3, 1), {"padding": (1, 0)}, (10, 5), (4, 5)),
    # stride 2 of 7 positions, kernel 3, padding 1: outputs at -1, 1, 3, 5 with 2 + 3 + 3 + 2 taps
    "strided conv1d": Convolution((1, 2, 7), (3, 2, 3), {"stride": 2, "padding": 1}, (10,), (4,)),
    # dilation 2 of 6 positions, kernel 3: outputs at 0 and 1 of 3 taps
    "dilated conv1d": Convolution((2, 1, 6), (2, 1, 3), {"dilation": 2}, (6,), (2,)),
    # 3 groups of one channel: each output channel has one input channel
    "depthwise conv2d": Convolution((2, 3, 4, 4), (3, 1, 2, 2), {"groups": 3}, (6, 6), (3, 3)),
    "conv3d": Convolution((1, 2, 3, 3, 4), (2, 2, 2, 3, 1), {}, (4, 3, 4), (2, 1, 4)),
    # 4 inputs send to 3 taps each; no output is dropped
    "transposed conv1d": Convolution((2, 2, 4), (2, 3, 3), {"stride": 2}, (12,), (9,), True),
    # padding 1 drops the first and the last output: 12 - 2 taps of each axis
    "transposed conv2d": Convolution((1, 2, 4, 4), (2, 1, 3, 3), {"padding": 1, "groups": 2}, (10, 10), (4, 4), True),
    # output_padding keeps the last of them: 12 - 1 taps
    "transposed conv1d, longer": Convolution(
        (1, 2, 4), (2, 3, 3), {"padding": 1, "stride": 2, "output_padding": 1}, (11,), (8,), True
    ),
    "transposed conv3d": Convolution((1, 1, 2, 2, 3), (1, 2, 2, 2, 2), {}, (4, 4, 6), (3, 3, 4), True),
}
