"""Networks of k-winners-take-all layers: only the k largest inputs of a layer are passed on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from torch import nn

from neurosparse.coding import KWTA
from neurosparse.experiments.classification.config import UNCOMPRESSED, Compression, ModelConfig, real
from neurosparse.experiments.classification.families.feedforward import Feedforward, weight_layers
from neurosparse.experiments.classification.layers import Layer
from neurosparse.experiments.classification.space import Space
from neurosparse.neurons import constant_current

__all__ = ["KWTAConfig"]


@dataclass(frozen=True, kw_only=True)
class KWTAConfig(ModelConfig):
    """``h = kwta(W x + b, k)`` in every hidden layer: the k largest are kept, the others are 0.

    Args:
        active_fraction: k as a share of the layer's units.
        compression: pruning and quantization.
    """

    family: ClassVar[str] = "kwta"
    title: ClassVar[str] = "k-WTA"
    space: ClassVar[Space] = {**ModelConfig.space, "active_fraction": (0.02, 0.05, 0.1, 0.2, 0.4)}

    active_fraction: float = real(0.1, 1e-6, 1.0)
    compression: Compression = field(default=UNCOMPRESSED)

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        layers = [Layer("linear", width) for width in hidden]
        linears, shapes = weight_layers(layers, units, classes, over_time=True)
        activations = [KWTA(fraction=self.active_fraction) for _ in shapes]
        # One step: the layer sends events, so that its silent units cost nothing.
        return Feedforward(linears, activations, partial(constant_current, steps=1), "mean")
