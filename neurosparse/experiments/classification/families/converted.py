"""ANN-to-SNN conversion: ReLU networks that run as integrate-and-fire neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from neurosparse.baselines import LevelReLU
from neurosparse.errors import InputError
from neurosparse.events import fold
from neurosparse.experiments.classification.config import count, real
from neurosparse.experiments.classification.families.feedforward import Feedforward, weight_layers
from neurosparse.experiments.classification.families.spiking import SpikingConfig
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.learning import convert
from neurosparse.neurons import HalfCharged

__all__ = ["ConvertedConfig"]


@dataclass(frozen=True, kw_only=True)
class ConvertedConfig(SpikingConfig):
    """A ReLU network, trained without time, whose activations become firing rates over ``steps``.

    Each hidden unit is an integrate-and-fire neuron that starts at half of its threshold. The input is a constant
    current. In training, activations have ``levels + 1`` values, ``floor(levels clip(h, 0, 1) + 1/2) / levels``: with
    ``levels = steps`` these are the firing rates of the first hidden layer, exactly; deeper layers differ, because
    their spikes arrive unevenly, and a maximum over windows is that of each step. Weights are quantized after
    conversion.

    Args:
        levels: of the activations in training, and the threshold is 1; None: as many as steps.
        normalisation: train plain ReLU units instead; each layer's threshold is this percentile of its positive
            activations.

    Example:
        >>> ConvertedConfig("twin", steps=4).settings
        {'family': 'converted', 'steps': 4}

    Source: Bu et al. 2022, "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural
    networks"; Rueckauer et al. 2017, "Conversion of continuous-valued deep networks to efficient event-driven networks
    for image classification", for the percentile.
    """

    family: ClassVar[str] = "converted"
    title: ClassVar[str] = "converted ReLU"

    levels: int | None = count(None, 127)
    normalisation: float | None = real(None, 50.0, 100.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoding != "current":
            got, fix = f"encoding={self.encoding!r}", "Train family 'lif' on other inputs."
            raise InputError(self.where, got=got, expected="'current', whose mean is the input", fix=fix)
        if self.levels is not None and self.normalisation is not None:
            got, fix = f"levels={self.levels} with a normalisation", "Leave out one of both."
            raise InputError(self.where, got=got, expected="activations of few levels, or plain ones", fix=fix)
        if self.normalisation is not None and any(each.kind == "pool" or each.pool > 1 for each in self._parsed()):
            got, fix = f"layers={list(self.layers)} with a normalisation", "Use 'average', or levels."
            raise InputError(self.where, got=got, expected="layers without a maximum over windows", fix=fix)

    @property
    def training_settings(self) -> dict[str, Any]:
        """Steps and the percentile act after training."""
        settings = super().training_settings
        settings = {key: value for key, value in settings.items() if key not in ("steps", "normalisation")}
        return settings | {"levels": self._levels}

    @property
    def _levels(self) -> int | None:
        """Levels of the activations; None: plain ReLU units."""
        return None if self.normalisation is not None else self.levels or self.steps

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        """The network that is trained, without time."""
        linears, shapes = weight_layers(self.hidden_layers(hidden), units, classes)
        levels = self._levels
        activations = [nn.ReLU() if levels is None else LevelReLU(levels) for _ in shapes]
        return Feedforward(linears, activations, dropout=self.dropout)

    def finish(self, model: nn.Module, x: Inputs) -> nn.Module:
        """Convert the trained network, and then quantize it."""
        assert isinstance(model, Feedforward)
        model.eval()
        if self.normalisation is None:
            linears = [fold(*part) if isinstance(part, nn.Sequential) else part for part in model.linears]
            neurons = [HalfCharged() for _ in model.activations]
        else:
            pairs = zip(model.linears, (*model.activations, nn.Identity()), strict=True)
            parts = [part for linear, after in pairs for part in (*_modules(linear), after)]
            layers = convert(nn.Sequential(*parts), x, self.normalisation)  # type: ignore[arg-type]
            linears, neurons = list(layers)[::2], [HalfCharged(threshold=part.threshold) for part in list(layers)[1::2]]
        return super().finish(Feedforward(linears, neurons, self.encoder(), "mean"), x)


def _modules(part: nn.Module) -> list[nn.Module]:
    return list(part) if isinstance(part, nn.Sequential) else [part]
