"""Networks of gated recurrent units (GRU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neurosparse.baselines.gru import GRU
from neurosparse.experiments.classification.config import choice
from neurosparse.experiments.classification.families.feedforward import Feedforward, weight_layers
from neurosparse.experiments.classification.families.layered import TimedConfig
from neurosparse.experiments.classification.space import Space

__all__ = ["GRUConfig"]


@dataclass(frozen=True, kw_only=True)
class GRUConfig(TimedConfig):
    """Every hidden layer is a :class:`neurosparse.baselines.gru.GRU`.

    Args:
        readout: ``"mean"`` of the outputs over time, or the output of the ``"last"`` state.
    """

    family: ClassVar[str] = "gru"
    title: ClassVar[str] = "GRU"
    space: ClassVar[Space] = {**TimedConfig.space, "readout": ("mean", "last")}
    default_layer: ClassVar[str] = "gru"

    readout: str = choice("mean", ("mean", "last"))

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        linears, shapes = weight_layers(self.hidden_layers(hidden), units, classes, over_time=True)
        gated = [GRU(layer.width) for layer, _ in shapes]
        return Feedforward(linears, gated, self.encoder(), self.readout, dropout=self.dropout)
