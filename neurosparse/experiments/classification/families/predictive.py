"""Predictive-coding networks as classifiers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.experiments.classification.config import (
    UNCOMPRESSED,
    Compression,
    Learned,
    ModelConfig,
    choice,
    count,
    real,
    targets,
)
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.experiments.classification.space import Space
from neurosparse.predictive import PredictiveNetwork, States

__all__ = ["PredictiveConfig"]

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
PACE = 20
"""Batches after which the inference step is computed again."""


@dataclass(frozen=True, kw_only=True)
class PredictiveConfig(ModelConfig):
    """A :class:`neurosparse.PredictiveNetwork`: trained by its local rule, read out in one feedforward sweep.

    Args:
        inference_steps: steps of inference on each batch during learning.
        inference_mode: ``"strict"``, ``"fixed_prediction"`` or ``"z_il"``, see ``PredictiveNetwork.infer``.
        activation: of the hidden units, ``"relu"`` or ``"tanh"``.
        order: activation after the weights (``"act_after"``) or before them (``"act_before"``).
        nudge: strength with which the output is drawn to the target during learning; 0 clamps it.
        compression: pruning and quantization.
    """

    family: ClassVar[str] = "predictive"
    title: ClassVar[str] = "predictive coding"
    space: ClassVar[Space] = {
        **ModelConfig.space,
        "inference_steps": (8, 20, 40),
        "order": ("act_after", "act_before"),
        "nudge": (0.0, 0.1, 0.5),
    }

    inference_steps: int = count(20, 10**6)
    inference_mode: str = choice("strict", ("strict", "fixed_prediction", "z_il"))
    activation: str = choice("relu", tuple(ACTIVATIONS))
    order: str = choice("act_after", ("act_after", "act_before"))
    nudge: float = real(0.0, 0.0, 10.0)
    compression: Compression = field(default=UNCOMPRESSED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nudge and self.inference_mode != "strict":
            got, fix = f"nudge={self.nudge:g} with inference_mode={self.inference_mode!r}", "Leave out the nudge."
            raise InputError(self.where, got=got, expected="a clamped output, or mode 'strict'", fix=fix)

    @property
    def searchable(self) -> Space:
        """Without the parameters of inference where its mode has exact gradients, which depend on none of them."""
        unread = () if self.inference_mode == "strict" else ("nudge", "inference_steps")
        return {key: values for key, values in super().searchable.items() if key not in unread}

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        (features,) = units
        return PredictiveClassifier((features, *hidden, classes), self)

    def learn(self, model: nn.Module, x: Inputs, y: Tensor, teacher: nn.Module | None = None) -> Learned:
        """The local rule of the network."""
        assert isinstance(model, PredictiveClassifier) and isinstance(x, Tensor)
        return Learned(model.learn(x, y), None, [])

    def finish(self, model: nn.Module, x: Inputs) -> nn.Module:
        """With ``bits`` below 32, the quantized feedforward sweep: in both orders, activations between the layers."""
        assert isinstance(model, PredictiveClassifier)
        if self.compression.bits == 32:
            return model
        first, *others = model.network.layers
        behind = [(ACTIVATIONS[self.activation](), layer) for layer in others]
        return super().finish(nn.Sequential(first, *(module for pair in behind for module in pair)), x)


class PredictiveClassifier(nn.Module):
    """The network, and the step of its inference."""

    dt: Tensor
    batches: Tensor

    def __init__(self, sizes: tuple[int, ...], config: PredictiveConfig):
        super().__init__()
        self.classes = sizes[-1]
        self.network = PredictiveNetwork(
            sizes, config.activation, order=config.order, output=config.loss, steps=config.inference_steps
        )
        # The longest stable step shrinks as weights grow: it is computed now and then, and kept with the weights.
        self.register_buffer("dt", torch.ones(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.mode, self.smoothing = config.inference_mode, config.label_smoothing
        self.nudge = config.nudge or None

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        return self.network(x)

    def learn(self, x: Tensor, y: Tensor) -> float:
        """Put the gradients of one batch into the weights; returns the energy after inference."""
        states = self._infer(x, targets(y, self.classes, self.smoothing).to(x.dtype))
        self.batches += 1
        self.network.learn(states)
        return float(states.energies[-1].mean())

    def _infer(self, x: Tensor, target: Tensor) -> States:
        """Inference; the step is computed now and then, and whenever the weights have changed too much for the last."""
        options = {"mode": self.mode, "nudge": self.nudge, "check": False, "record": False}
        if self.mode != "strict":
            return self.network.infer(x, target, **options)
        if self.batches % PACE:
            with contextlib.suppress(InputError):
                return self.network.infer(x, target, dt=float(self.dt), **options)
        states = self.network.infer(x, target, dt="auto", **options)
        self.dt.fill_(states.dt)
        return states
