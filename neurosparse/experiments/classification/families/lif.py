"""Spiking networks of leaky integrate-and-fire neurons, trained through surrogate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from neurosparse.experiments.classification.config import choice, flag, real
from neurosparse.experiments.classification.families.feedforward import Feedforward, weight_layers
from neurosparse.experiments.classification.families.layered import TimedConfig
from neurosparse.experiments.classification.layers import Layer
from neurosparse.neurons import LIF, Readout, atan, boxcar, fast_sigmoid, triangle

__all__ = ["LIFConfig"]

SURROGATES = {"triangle": triangle, "boxcar": boxcar, "atan": atan, "fast_sigmoid": fast_sigmoid}


@dataclass(frozen=True, kw_only=True)
class LIFConfig(TimedConfig):
    """``v[t] = beta v[t-1] + I[t]``; a spike where ``v[t] >= threshold``, which is then subtracted.

    Args:
        beta: decay of the membrane per step.
        learn_beta: train the decay of every unit.
        threshold: of the membrane.
        surrogate: derivative of a spike in the backward pass: ``"triangle"``, ``"boxcar"``, ``"atan"`` or
            ``"fast_sigmoid"``.
        recurrent: every linear layer of neurons also has weights from its own spikes, one step later.
        readout: ``"mean"`` of the outputs over time; of a leaky ``"membrane"`` that sums them, or its ``"peak"``.
        readout_beta: decay of that membrane per step.

    Example:
        >>> LIFConfig("quiet", steps=4, activity_penalty=0.1).settings
        {'family': 'lif', 'activity_penalty': 0.1, 'steps': 4}
    """

    family: ClassVar[str] = "lif"
    title: ClassVar[str] = "LIF"

    beta: float = real(0.9, 0.0, 1.0)
    learn_beta: bool = flag(False)
    threshold: float = real(1.0, 1e-6, 1e6)
    surrogate: str = choice("triangle", tuple(SURROGATES))
    recurrent: bool = flag(False)
    readout: str = choice("mean", ("mean", "membrane", "peak"))
    readout_beta: float = real(0.9, 0.0, 1.0)

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        linears, shapes = weight_layers(self.hidden_layers(hidden), units, classes, over_time=True)
        neurons = [self._neurons(layer, shape) for layer, shape in shapes]
        leaky = None if self.readout == "mean" else Readout(self.readout_beta)
        return Feedforward(linears, neurons, self.encoder(), self.readout, leaky, self.dropout)

    def _neurons(self, layer: Layer, units: tuple[int, ...]) -> nn.Module:
        beta = nn.Parameter(torch.full(units, self.beta)) if self.learn_beta else self.beta
        recurrent = nn.Linear(*units, *units, bias=False) if self.recurrent and layer.kind == "linear" else None
        return LIF(beta=beta, threshold=self.threshold, surrogate=SURROGATES[self.surrogate](), recurrent=recurrent)
