"""Hidden layers as text: the grammar of the key ``layers`` of a model's TOML file, and its torch modules.

* ``conv CHANNELS SIZE [stride S] [pad P] [norm] [pool K]``: a convolution, by default padded by half its size, batch
  normalisation, the maximum over K x K, then the activation;
* ``linear WIDTH [norm]``: fully connected to the flattened units, batch normalisation, then the activation;
* ``gru WIDTH``: gated recurrent units, in family ``gru`` only;
* ``pool SIZE``, ``average SIZE``: maximum or mean over windows of the output of the layer before.

Convolutions and pools work on images ``(channels, height, width)`` or, with one axis less, on ``(channels, length)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from neurosparse.errors import InputError

__all__ = ["FLAT", "POOLS", "Layer", "check_layers", "front_shape", "modules_of", "parse_layer"]

GRAMMAR = {
    "conv": (("width", "size"), ("stride", "pad", "pool"), "conv CHANNELS SIZE [stride S] [pad P] [norm] [pool K]"),
    "linear": (("width",), (), "linear WIDTH [norm]"),
    "gru": (("width",), (), "gru WIDTH"),
    "pool": (("size",), (), "pool SIZE"),
    "average": (("size",), (), "average SIZE"),
}
POOLS = ("pool", "average")
FLAT = ("linear", "gru")  # their units have one axis
WINDOWED = (
    (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AvgPool1d),
    (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d),
)


@dataclass(frozen=True)
class Layer:
    """One layer: its kind, its width (channels or units), and the geometry of a convolution or a pool."""

    kind: str
    width: int = 0
    size: int = 1
    stride: int = 1
    pad: int | None = None
    pool: int = 1
    norm: bool = False


def parse_layer(where: str, text: str) -> Layer:
    """A layer from its text.

    Args:
        where: names the model in messages.
        text: for example ``"conv 64 3 stride 2 norm"``.

    Raises:
        InputError: an unknown kind or option, or text in the place of a number.

    Example:
        >>> parse_layer("mine", "conv 64 3 stride 2 norm")
        Layer(kind='conv', width=64, size=3, stride=2, pad=None, pool=1, norm=True)
    """
    kind, *words = text.split() or [""]
    if kind not in GRAMMAR:
        raise InputError(where, got=f"layer {text!r}", expected=" or ".join(rule for _, _, rule in GRAMMAR.values()))
    needed, optional, rule = GRAMMAR[kind]
    refused = InputError(where, got=f"layer {text!r}", expected=repr(rule))
    norm = "norm" in words and "norm" in rule
    if norm:
        words.remove("norm")
    numbers = dict(zip(needed, words, strict=False))
    rest = words[len(needed) :]
    numbers |= dict(zip(rest[::2], rest[1::2], strict=False))
    if len(numbers) < len(needed) or len(rest) != 2 * (len(numbers) - len(needed)):
        raise refused
    for key, word in numbers.items():
        if key not in (*needed, *optional) or not word.isdecimal() or (int(word) < 1 and key != "pad"):
            raise refused
    return Layer(kind, norm=norm, **{key: int(word) for key, word in numbers.items()})


def check_layers(where: str, layers: list[Layer], family: str, flat: str) -> None:
    """Check the kinds and the order of a model's layers.

    Args:
        where: names the model in messages.
        layers: hidden layers.
        family: of the model, for messages.
        flat: the kind of flat layers of that family, ``"linear"`` or ``"gru"``.

    Raises:
        InputError: a kind of another family, or a convolution or a pool behind a flat layer.
    """
    behind = False
    for layer in layers:
        if layer.kind not in ((flat,) if flat == "gru" else (flat, "conv", *POOLS)):
            raise InputError(where, got=f"layer {layer.kind!r}", expected=f"layers of family {family!r}")
        if behind and layer.kind not in FLAT:
            fix = "Convolve and pool first."
            raise InputError(where, got=f"{layer.kind!r} behind a flat layer", expected="'linear'", fix=fix)
        behind = behind or layer.kind in FLAT


def front_shape(layer: Layer, units: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a layer's output for one sample.

    Raises:
        InputError: units that are not an image where one is needed, or an image smaller than the layer's window.

    Example:
        >>> front_shape(Layer("conv", 8, 3, stride=2), (1, 28, 28)), front_shape(Layer("pool", size=2), (8, 14, 14))
        ((8, 14, 14), (8, 7, 7))
    """
    if layer.kind in FLAT:
        return (layer.width,)
    if len(units) not in (2, 3):
        fix = "Give the data as images, (samples, channels, height, width), or (samples, channels, length)."
        raise InputError("layers", got=f"units {units}", expected=f"an image for {layer.kind!r}", fix=fix)
    channels, *sides = units
    if layer.kind == "conv":
        sides = [(side + 2 * _pad(layer) - layer.size) // layer.stride + 1 for side in sides]
        sides, channels = [side // layer.pool for side in sides], layer.width
    else:
        sides = [side // layer.size for side in sides]
    if min(sides) < 1:
        raise InputError("layers", got=f"an image {units}", expected=f"one as large as the window of {layer}")
    return (channels, *sides)


def modules_of(layer: Layer, units: tuple[int, ...]) -> list[nn.Module]:
    """Torch modules of a layer without its activation; a gated unit has three inputs, one for each gate."""
    convolve, normalise, largest, mean = WINDOWED[len(units) == 3]
    if layer.kind == "pool":
        return [largest(layer.size)]
    if layer.kind == "average":
        return [mean(layer.size)]
    if layer.kind == "conv":
        conv = convolve(units[0], layer.width, layer.size, layer.stride, _pad(layer), bias=not layer.norm)
        norm = [normalise(layer.width)] if layer.norm else []
        return [conv, *norm, *([largest(layer.pool)] if layer.pool > 1 else [])]
    flatten = [nn.Flatten()] if len(units) > 1 else []
    gates = 3 if layer.kind == "gru" else 1
    linear = nn.Linear(math.prod(units), gates * layer.width, bias=not layer.norm)
    return [*flatten, linear, *([nn.BatchNorm1d(layer.width)] if layer.norm else [])]


def _pad(layer: Layer) -> int:
    return layer.size // 2 if layer.pad is None else layer.pad
