"""Early exit: ReLU networks with a readout after each layer; a sample leaves at the first confident one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurosparse.baselines import quantise
from neurosparse.experiments.classification.config import real
from neurosparse.experiments.classification.families.feedforward import Feedforward
from neurosparse.experiments.classification.families.relu import ReLUConfig
from neurosparse.experiments.classification.layers import POOLS, Layer, front_shape, modules_of
from neurosparse.experiments.classification.space import Space

__all__ = ["EarlyExit", "EarlyExitConfig"]


@dataclass(frozen=True, kw_only=True)
class EarlyExitConfig(ReLUConfig):
    """A linear readout of the input and of every hidden layer; training minimises the mean of their losses.

    In evaluation, only those samples are passed on whose readouts so far are less confident than ``confidence``. The
    confidence of a readout is its largest softmax probability; with the squared loss, whose outputs themselves estimate
    the probabilities, its largest output.

    Args:
        confidence: at least that of the readout at which a sample leaves; 1: none leaves before the last readout.

    Source: Teerapittayanon, McDanel & Kung (2016), "BranchyNet: fast inference via early exiting from deep neural
    networks".
    """

    family: ClassVar[str] = "early-exit"
    title: ClassVar[str] = "early exit"
    space: ClassVar[Space] = {**ReLUConfig.space, "confidence": (0.5, 0.7, 0.9, 0.97, 0.99)}

    confidence: float = real(0.9, 0.0, 1.0)

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        shapes = [units]
        for layer in self.hidden_layers(hidden):
            units = front_shape(layer, units)
            if layer.kind not in POOLS:
                shapes.append(units)
        trunk = super().network(shapes[0], hidden, classes)
        assert isinstance(trunk, Feedforward)
        early = [nn.Sequential(*modules_of(Layer("linear", classes), shape)) for shape in shapes[:-1]]
        return EarlyExit(trunk, early, classes, self.confidence, self.loss == "cross_entropy")

    def objective(self, logits: Tensor, y: Tensor, hidden: list, answers: Tensor | None) -> Tensor:
        """The mean of the objectives of all readouts, ``(readouts, samples, classes)``."""
        losses = [super(EarlyExitConfig, self).objective(each, y, hidden, answers) for each in logits]
        return torch.stack(losses).mean()

    def finish(self, model: nn.Module, x: Tensor) -> nn.Module:
        """Quantized with the ranges of all samples at all layers, those that would leave before among them."""
        assert isinstance(model, EarlyExit)
        bits = self.compression.bits
        if bits == 32:
            return model
        quantised = quantise(_AllReadouts(model), bits=bits, calibration=x)
        assert isinstance(quantised, _AllReadouts)
        return quantised.network


class EarlyExit(nn.Module):
    """A feedforward network whose samples leave at the first confident readout.

    Args:
        trunk: the network with the last readout.
        early: readouts of the input and of each hidden layer but the last.
        classes: number of outputs.
        confidence: of the readout at which a sample leaves.
        softmax: whether the confidence is a softmax probability; else the largest output.
    """

    def __init__(self, trunk: Feedforward, early: Sequence[nn.Module], classes: int, confidence: float, softmax: bool):
        super().__init__()
        self.trunk, self.early = trunk, nn.ModuleList(early)
        self.classes, self.confidence, self.softmax = classes, confidence, softmax

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        """Logits ``(samples, classes)``; in training those of all readouts, ``(readouts, samples, classes)``."""
        if self.training:
            return self.readouts(x, hidden)
        signal, waiting = x, torch.arange(len(x), device=x.device)
        answers = x.new_zeros(len(x), self.classes)
        for readout, layer in zip(self.early, self._hidden(), strict=True):
            if self.confidence < 1:
                logits = readout(signal)
                leaves = self._is_confident(logits)
                answers = answers.index_copy(0, waiting[leaves], logits[leaves])
                signal, waiting = signal[~leaves], waiting[~leaves]
            if not len(waiting):
                return answers
            signal = layer(signal)
            if hidden is not None:
                hidden.append(signal)
        return answers.index_copy(0, waiting, self.trunk.linears[-1](signal))

    def readouts(self, x: Tensor, hidden: list | None = None) -> Tensor:
        """Logits of all readouts for all samples, ``(readouts, samples, classes)``."""
        passed: list[Tensor] = []
        last = self.trunk(x, passed)
        if hidden is not None:
            hidden.extend(passed)
        return torch.stack(
            [readout(signal) for readout, signal in zip(self.early, (x, *passed), strict=False)] + [last]
        )

    def _hidden(self) -> list[nn.Module]:
        pairs = zip(self.trunk.linears, self.trunk.activations, strict=False)
        return [nn.Sequential(linear, activation) for linear, activation in pairs]

    def _is_confident(self, logits: Tensor) -> Tensor:
        certainty = logits.softmax(-1) if self.softmax else logits
        return certainty.amax(-1) >= self.confidence


class _AllReadouts(nn.Module):
    """The readouts of all samples, so that a calibration reaches every layer."""

    def __init__(self, network: EarlyExit):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.readouts(x)
