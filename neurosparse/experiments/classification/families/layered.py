"""Fields and loss that families share: networks of layers trained by backpropagation, and those over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from torch import Tensor

from neurosparse.baselines import distillation
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, data_rows
from neurosparse.experiments.classification.config import (
    UNCOMPRESSED,
    Compression,
    ModelConfig,
    choice,
    count,
    real,
    texts,
)
from neurosparse.experiments.classification.inputs import Inputs, binned, flat
from neurosparse.experiments.classification.layers import FLAT, Layer, check_layers, parse_layer
from neurosparse.experiments.classification.space import Space
from neurosparse.neurons import constant_current, latency

__all__ = ["LayeredConfig", "TimedConfig"]


@dataclass(frozen=True, kw_only=True)
class LayeredConfig(ModelConfig):
    """A feedforward network trained by backpropagation. Its loss is

    ``(1 - a) loss(logits, labels) + a T^2 KL(teacher / T || logits / T) + p mean |hidden activity|``.

    Args:
        layers: hidden layers in the grammar of ``layers.py``, such as ``"conv 32 5 norm pool 2"`` or ``"linear 256"``;
            none: linear layers of the task's widths.
        depth: number of hidden layers of the task's first width; none: the task's widths.
        dropout: share of hidden units that are silenced during training, the same at all steps of a sample.
        activity_penalty: p, the weight of the mean over hidden units of spike counts or magnitudes.
        distillation: a, the weight of the logits of the same network, uncompressed, which is trained first.
        temperature: T of the distillation.
        epoch_factor: how many times the task's epochs the network trains, for methods whose epochs cost less.
        compression: pruning and quantization.
    """

    layers: tuple[str, ...] = texts()
    depth: int | None = count(None, 100)
    dropout: float = real(0.0, 0.0, 0.99)
    activity_penalty: float = real(0.0, 0.0, 1e6)
    distillation: float = real(0.0, 0.0, 1.0)
    temperature: float = real(4.0, 1e-3, 1e3)
    epoch_factor: int = count(1, 100)
    compression: Compression = field(default=UNCOMPRESSED)

    space: ClassVar[Space] = {
        **ModelConfig.space,
        "dropout": (0.0, 0.1, 0.2),
        "activity_penalty": (0.0, 0.01, 0.1, 0.5),
    }
    default_layer: ClassVar[str] = "linear"
    """Kind of the layers of the task's widths, and the only flat kind that ``layers`` may name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self.where, self._parsed(), self.family, self.default_layer)
        if self.layers and self.depth is not None:
            got, fix = f"depth={self.depth} with layers", "Leave out one of both."
            raise InputError(self.where, got=got, expected="a depth of the task's first width", fix=fix)

    @property
    def uncompressed(self) -> LayeredConfig:
        return replace(self, compression=UNCOMPRESSED, distillation=0.0, temperature=4.0)

    def objective(self, logits: Tensor, y: Tensor, hidden: list, answers: Tensor | None) -> Tensor:
        loss = super().objective(logits, y, hidden, answers)
        if answers is not None:
            soft = distillation(logits, answers, y, alpha=1.0, temperature=self.temperature)
            loss = (1 - self.distillation) * loss + self.distillation * soft
        if self.activity_penalty:
            loss = loss + self.activity_penalty * sum(self.activity(each) for each in hidden) / len(hidden)
        return loss

    def activity(self, hidden: Tensor | EventTensor) -> Tensor:
        """What the penalty charges: the mean over samples and units of spike counts or magnitudes."""
        return hidden.counts().mean() if isinstance(hidden, EventTensor) else data_rows(hidden).abs().mean()

    def hidden_layers(self, widths: tuple[int, ...]) -> list[Layer]:
        """The hidden layers: the model's own, or those of the task's widths."""
        if self.depth is not None:
            widths = widths[:1] * self.depth
        return self._parsed() or [Layer(self.default_layer, width) for width in widths]

    def _parsed(self) -> list[Layer]:
        return [parse_layer(self.where, each) for each in self.layers]

    def reads_images(self) -> bool:
        """Whether the first layer is a convolution or a pool, so that the axes of the units are kept."""
        return bool(self.layers) and self._parsed()[0].kind not in FLAT


@dataclass(frozen=True, kw_only=True)
class TimedConfig(LayeredConfig):
    """A feedforward network over time.

    Args:
        steps: time steps; of recordings: bins that their steps are summed in, 1 keeps them as they are.
        encoding: how data become events over time: ``"current"`` (the same graded value at every step, charged once),
            ``"latency"`` (one spike, the earlier the larger the value), or ``"events"``, the recording itself.
        collision: events that share a bin are one graded event (``"sum"``) or one spike (``"any"``).
    """

    space: ClassVar[Space] = {**LayeredConfig.space, "collision": ("sum", "any")}

    steps: int = count(1, 10_000)
    encoding: str = choice("current", ("current", "latency", "events"))
    collision: str = choice("sum", ("sum", "any"))

    @property
    def searchable(self) -> Space:
        """Without the collision where no steps of a recording share a bin."""
        unread = () if self.encoding == "events" and self.steps > 1 else ("collision",)
        return {key: values for key, values in super().searchable.items() if key not in unread}

    def prepare(self, x: Inputs) -> Inputs:
        """Events for the encoding ``"events"``, otherwise a tensor; flat, unless the first layer is a convolution.

        Raises:
            InputError: events for an encoding of tensors, or the other way round.
        """
        recorded = self.encoding == "events"
        if isinstance(x, EventTensor) != recorded:
            kinds = ("a tensor", "events")
            got = f"encoding={self.encoding!r} for data that are {kinds[not recorded]}"
            fix = "Set encoding = 'events' for recordings, 'current' or 'latency' for images."
            raise InputError(self.where, got=got, expected=kinds[recorded], fix=fix)
        if isinstance(x, Tensor):
            return x if self.reads_images() else x.flatten(1)
        events = binned(x, self.steps, self.collision) if self.steps > 1 else x
        return events if self.reads_images() or len(events.shape) == 3 else flat(events)

    def encoder(self) -> Callable[[Tensor], EventTensor] | None:
        """From a prepared tensor to events; None for recordings."""
        if self.encoding == "events":
            return None
        return partial({"current": constant_current, "latency": latency}[self.encoding], steps=self.steps)
