"""Dense networks of rectified linear units, without time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neurosparse.baselines import LevelReLU
from neurosparse.events import EventTensor
from neurosparse.experiments.classification.config import count
from neurosparse.experiments.classification.families.feedforward import Feedforward, weight_layers
from neurosparse.experiments.classification.families.layered import LayeredConfig
from neurosparse.experiments.classification.inputs import Inputs, binned

__all__ = ["ReLUConfig"]


@dataclass(frozen=True, kw_only=True)
class ReLUConfig(LayeredConfig):
    """``h = max(W x + b, 0)`` in every hidden layer.

    Args:
        levels: quantize activations to ``levels + 1`` values, as many as the firing rate of a spiking neuron has in
            ``levels`` steps; none: graded activations.
        bins: the counts of a recording's events in that many bins are the input; none: their sum.

    Example:
        >>> from neurosparse.experiments import Compression
        >>> ReLUConfig("sparse", activity_penalty=0.5, compression=Compression(sparsity=0.9)).settings
        {'family': 'relu', 'activity_penalty': 0.5, 'sparsity': 0.9}
    """

    family: ClassVar[str] = "relu"
    title: ClassVar[str] = "ReLU"

    levels: int | None = count(None, 127)
    bins: int | None = count(None, 10_000)

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        linears, shapes = weight_layers(self.hidden_layers(hidden), units, classes)
        activations = [nn.ReLU() if self.levels is None else LevelReLU(self.levels) for _ in shapes]
        return Feedforward(linears, activations, dropout=self.dropout)

    def prepare(self, x: Inputs) -> Inputs:
        """A tensor, flat unless the first layer is a convolution; of recordings the events of each bin and unit.

        Example:
            >>> import torch
            >>> ReLUConfig("a").prepare(EventTensor.from_dense(torch.ones(4, 2, 3), spikes=True)).tolist()[0]
            [4.0, 4.0, 4.0]
        """
        if isinstance(x, EventTensor):  # bins multiply the first axis of units
            x = x.counts() if self.bins is None else binned(x, self.bins, "sum").dense().transpose(0, 1).flatten(1, 2)
        return x if self.reads_images() else x.flatten(1)

    def _is_positive(self) -> bool:
        return self.levels is None
