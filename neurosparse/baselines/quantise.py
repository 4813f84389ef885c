"""Post-training quantisation: integer weights, and activations on a grid, in 8 bits and fewer."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.baselines.grid import check_bits, input_bits, input_grid, on_grid, quantisable, weight_levels
from neurosparse.baselines.straight_through import straight_through
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, data_rows, dense_of, operation, timing_of, with_timing
from neurosparse.events.operation import moves
from neurosparse.events.state import Stateless

__all__ = ["Accumulator", "Quantised", "quantise"]

Range = tuple[float, float] | None
ACCUMULATED = 2.0**30  # the largest bias of an accumulator


class Quantised(Stateless, nn.Module):
    """A linear or convolutional layer with integer weights; made by :func:`quantise`.

    ``y = (s_out * W_int) (s_in * x_int) + b`` with one scale for each output (channel), symmetric: 0 is 0, so that a
    pruned weight stays pruned and a silent input silent. The input is put on a grid of its own unless it is spikes (1
    bit) or comes from a layer of few levels (``x.level_bits``). The scales can be merged into the next threshold or
    grid, so only the rounding of the input is charged. Weights get no gradient.

    Args:
        layer: the trained layer.
        bits: of weights and of graded inputs.
        inputs: smallest and largest graded input in the calibration; None if all inputs were spikes.

    Example:
        >>> Quantised(nn.Linear(8, 4), 8, (0.0, 1.0))
        Quantised((4, 8), bits=8)
    """

    levels: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Module, bits: int, inputs: Range):
        super().__init__()
        weight: Tensor = layer.weight.detach()  # type: ignore[assignment]
        bias: Tensor | None = layer.bias  # type: ignore[assignment]
        self.bits, self.geometry = bits, _geometry(layer)
        levels, scale = weight_levels(weight, bits)
        self.register_buffer("levels", levels.to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.input_grid = None if inputs is None else input_grid(*inputs, bits)

    @property
    def weight(self) -> Tensor:
        """The weights that the integers represent."""
        return self.levels * self.scale

    def forward(self, x: Tensor | EventTensor) -> Tensor:
        bits = input_bits(x)
        if bits is None or bits > self.bits:
            x, bits = self._rounded(x, False), self.bits
        out, timing = _product(x, self, bits), timing_of(x)
        return out if timing is None else with_timing(out, timing)

    def _rounded(self, x: Tensor | EventTensor, whole: bool) -> Tensor | EventTensor:
        """A graded input on its grid, as values or as whole numbers."""
        if self.input_grid is None:
            fix = "Calibrate with inputs of the same kind."
            raise InputError("quantise", got="graded input", expected="spikes, as in the calibration", fix=fix)
        rounded = on_grid(x, *self.input_grid, whole=whole)
        return _constant(rounded, x) if isinstance(x, EventTensor) and x.constant else rounded

    def extra_repr(self) -> str:
        return f"{tuple(self.levels.shape)}, bits={self.bits}"


class Accumulator(Quantised):
    """A quantised layer in whole numbers: ``N = W_int x_int + round(b / unit)``, 32 bits, with ``y = unit N``.

    ``unit = s_out s_in`` is one number for each output (channel). An output whose weights are all zero, or too small
    for 32 bits beside its bias, has the mean unit of the others. The result is exact, in float64.

    Args:
        layer: a quantised layer.

    Example:
        >>> layer = Accumulator(Quantised(nn.Linear(8, 4), 8, None))
        >>> out = layer(EventTensor.from_dense(torch.ones(3, 1, 8), spikes=True))
        >>> bool((out == out.round()).all())
        True

    Source: Jacob et al. (2018), "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", section 2.2.
    """

    unit: Tensor

    def __init__(self, layer: Quantised):
        nn.Module.__init__(self)
        self.bits, self.geometry, self.input_grid = layer.bits, layer.geometry, layer.input_grid
        unit = layer.scale.double().flatten() * (1.0 if layer.input_grid is None else layer.input_grid[0])
        bias = torch.zeros_like(unit) if layer.bias is None else layer.bias.double()
        kept = (layer.levels.flatten(1) != 0).any(1) & (bias.abs() < ACCUMULATED * unit)
        unit = torch.where(kept, unit, unit[kept].mean() if kept.any() else torch.ones_like(unit))
        self.register_buffer("levels", layer.levels * kept.view(-1, *[1] * (layer.levels.dim() - 1)))
        self.register_buffer("unit", unit)
        self.register_buffer("bias", None if layer.bias is None else (bias / unit).round())

    @property
    def weight(self) -> Tensor:
        """The whole numbers."""
        return self.levels.double()

    def forward(self, x: Tensor | EventTensor) -> Tensor:
        x, bits = (x, 1) if self.input_grid is None and input_bits(x) == 1 else (self._rounded(x, True), self.bits)
        out, timing = _product(x, self, bits), timing_of(x)
        return out if timing is None else with_timing(out, timing)


def quantise(model: nn.Module, bits: int = 8, *, calibration: Any) -> nn.Module:
    """A copy of a trained model whose linear and convolutional layers compute with integers, in evaluation mode.

    Weights: per output, symmetric, ``|w - s W_int| <= s / 2`` with ``s = max |w| / (2^(bits-1) - 1)``; 2 bits are
    ternary, see :func:`neurosparse.baselines.grid.weight_levels`. Graded inputs: one scale per layer, from the range
    that the quantised layers before it give in the calibration, unsigned without negative values; beyond it
    they are clipped. Spikes stay 1 bit and event-driven. Biases and what lies between the layers keep their precision.

    Args:
        model: the trained model; not changed.
        bits: 2 to 8.
        calibration: an input of the model that is typical of its data.

    Returns:
        the quantised copy.

    Raises:
        InputError: bits out of range, a layer that the calibration does not reach or reaches with NaN or infinity, or
            weights of another kind.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> x = torch.rand(32, 8)
        >>> small = quantise(model, calibration=x)
        >>> small[0].levels.dtype, bool((small(x) - model(x)).abs().max() < 0.02)
        (torch.int8, True)

    Source: Jacob et al. (2018), "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference"; per-channel symmetric weights: Krishnamoorthi (2018).
    """
    check_bits("quantise", bits)
    if not isinstance(calibration, Tensor | EventTensor) or not all(calibration.shape):
        got, fix = f"calibration of {type(calibration).__name__}", "Pass some training inputs."
        raise InputError("quantise", got=got, expected="a batch of inputs, at least one", fix=fix)
    model = copy.deepcopy(model).eval()
    layers = quantisable(model)
    ranges = _calibrate(model, layers, bits, calibration)
    replacements = {id(layer): Quantised(layer, bits, ranges[name]) for name, layer in layers.items()}
    if id(model) in replacements:
        return replacements[id(model)].eval()
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):  # named_children leaves out a layer's second name
            if id(child) in replacements:
                setattr(module, name, replacements[id(child)])
    return model.eval()


@torch.no_grad()
def _calibrate(model: nn.Module, layers: dict[str, nn.Module], bits: int, batch: Any) -> dict[str, Range]:
    """The range of graded inputs of each layer, None where all inputs are spikes."""
    ranges: dict[str, Range] = {}

    def hook_of(name: str):
        def update_range(_: nn.Module, inputs: tuple) -> None:
            x, seen = inputs[0], ranges.setdefault(name, None)
            if input_bits(x) != 1:
                low, high = (float(bound) for bound in data_rows(x).aminmax())
                ranges[name] = (low, high) if seen is None else (min(low, seen[0]), max(high, seen[1]))

        return update_range

    hooks = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        with straight_through(model, bits):
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    for name, seen in ranges.items():
        if seen is not None and not math.isfinite(seen[1] - seen[0]):
            fix = "Clean the calibration input."
            raise InputError("quantise", got=f"NaN or infinity at {name}", expected="finite inputs", fix=fix)
    missed = [name for name in layers if name not in ranges]
    if missed:
        fix = "Calibrate with an input that reaches every layer."
        raise InputError("quantise", got=f"no input at {', '.join(missed)}", expected="one for each layer", fix=fix)
    return ranges


def _product_cost(result: Tensor, x: Any, layer: Quantised, input_bits: int) -> list[Operation]:
    return [
        Operation(
            "linear" if layer.geometry is None else "conv",
            input=x,
            weight=layer.levels,
            bias=layer.bias is not None,
            geometry=layer.geometry,
            weight_bits=layer.bits,
            input_bits=input_bits,
        )
    ]


@moves
def _constant(rounded: Tensor, x: EventTensor) -> EventTensor:
    """A constant signal on the grid, which is still multiplied once for all its steps."""
    return EventTensor(x.shape, x.timing, rounded.dtype, binary=False, dense=dense_of(rounded))


@operation(_product_cost)
def _product(x: Any, layer: Quantised, input_bits: int) -> Tensor:
    if layer.geometry is None:
        return F.linear(x, layer.weight, layer.bias)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[layer.levels.dim() - 3]
    return convolve(x, layer.weight, layer.bias, **layer.geometry)


def _geometry(layer: nn.Module) -> dict[str, Any] | None:
    if isinstance(layer, nn.Linear):
        return None
    return {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
