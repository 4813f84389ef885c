"""Sigma-delta networks: rectified linear units over time that transmit quantised changes of their activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, Timing, dense_of, fold, operation, timing_of, with_timing
from neurosparse.experiments.classification.config import choice, real
from neurosparse.experiments.classification.families.feedforward import Feedforward, inside
from neurosparse.experiments.classification.families.layered import TimedConfig
from neurosparse.experiments.classification.layers import POOLS, Layer, front_shape, modules_of
from neurosparse.experiments.classification.space import Space
from neurosparse.neurons import constant_current

__all__ = ["DeltaConfig", "DeltaReLU", "Integrator"]

MESSAGE_BITS = 8
"""Bits of one message, at most 127 steps up or down, of networks in full precision; other networks have their own."""


@dataclass(frozen=True, kw_only=True)
class DeltaConfig(TimedConfig):
    """``a[t] = a[t-1] + W m[t]``; a unit sends ``m'[t] = delta trunc((max(a[t] + b, 0) - h[t-1]) / delta)``, and
    ``h[t] = h[t-1] + m'[t]``.

    Each layer sums the messages of the layer before, so that the output at each step is that of a ReLU network on the
    counts of all events so far, with activations h that differ from ReLU by less than delta. An activation that stays
    the same costs no message and no product. Gradients pass straight through the steps.

    Args:
        delta: step of the activations, and the smallest change that is sent.
        encoding: ``"events"`` for recordings, whose events are changes of the counts; ``"current"`` for tensors, which
            are one change at one step.
        readout: output of the ``"last"`` step, or the ``"mean"`` over steps.

    Source: O'Connor & Welling (2016), "Sigma delta quantized networks".
    """

    family: ClassVar[str] = "delta"
    title: ClassVar[str] = "delta ReLU"
    space: ClassVar[Space] = {**TimedConfig.space, "delta": (0.0625, 0.125, 0.25, 0.5), "readout": ("last", "mean")}

    delta: float = real(0.125, 1e-6, 1e6)
    encoding: str = choice("current", ("current", "events"))
    readout: str = choice("last", ("last", "mean"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoding == "current" and self.steps > 1:
            got, fix = f"steps={self.steps} of a constant input", "Leave out steps."
            raise InputError(self.where, got=got, expected="one step, because nothing changes after it", fix=fix)
        if any(layer.kind in POOLS for layer in self._parsed()):
            fix = 'Pool behind a convolution: "conv 32 5 pool 2".'
            raise InputError(self.where, got="a layer that pools changes", expected="'linear' or 'conv'", fix=fix)

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        linears, biases, behind = [], [], []
        for layer in (*self.hidden_layers(hidden), Layer("linear", classes)):
            modules = modules_of(layer, units)
            last = int(isinstance(modules[0], nn.Flatten))
            weights = modules[last]
            linears.append(fold(*modules[: last + 1]) if last or not isinstance(weights, nn.Linear) else weights)
            biases.append(_take_bias(weights))
            behind.append(fold(*modules[last + 1 :]) if modules[last + 1 :] else None)
            units = front_shape(layer, units)
        bits = min(self.compression.bits, MESSAGE_BITS)
        rectified = [DeltaReLU(self.delta, *pair, bits) for pair in zip(biases[:-1], behind[:-1], strict=True)]
        return Feedforward(linears, rectified, self.encoder(), self.readout, Integrator(biases[-1]), self.dropout)

    @property
    def training_settings(self) -> dict[str, Any]:
        """The settings that training depends on, the bits of messages among them."""
        bits = {"bits": self.compression.bits} if self.compression.bits < MESSAGE_BITS else {}
        return super().training_settings | bits

    def activity(self, hidden: Tensor | EventTensor) -> Tensor:
        """Mean over samples and units of all changes."""
        return dense_of(hidden).abs().sum(0).mean()

    def encoder(self) -> Callable[[Tensor], EventTensor] | None:
        """From a prepared tensor to one step of graded events; None for recordings."""
        return None if self.encoding == "events" else partial(constant_current, steps=1)


def _take_bias(weights: nn.Module) -> nn.Parameter | None:
    """The bias of a layer, which is added to its sum over time and no more to each step."""
    bias = weights.bias
    if bias is None:
        return None
    weights.register_parameter("bias", None)
    return nn.Parameter(bias.detach().reshape(-1, *[1] * (weights.weight.dim() - 2)))  # type: ignore[union-attr]


def _cells(x: Tensor) -> int:
    """Cells of a signal that are data."""
    timing = timing_of(x)
    rows = math.prod(x.shape[:2]) if timing is None or timing.lengths is None else int(timing.lengths.sum())
    return rows * math.prod(x.shape[2:])


@operation(lambda levels, *_: [Operation("neuron", state_updates=_cells(levels), leak="none")])
def _integrate(changes: Tensor | EventTensor, bias: Tensor | None) -> Tensor:
    """Sum over the steps so far, and the bias, ``(steps, samples, *units)``."""
    timing, levels = timing_of(changes), dense_of(changes).cumsum(0)
    levels = levels if bias is None else levels + bias
    return levels if timing is None else with_timing(levels, timing)


def _sending(messages: EventTensor, levels: Tensor, *_: float) -> list[Operation]:
    """The level that was sent is a state; the difference to it is compared with a step."""
    cells = _cells(levels)
    return [
        Operation("neuron", output=messages, state_updates=cells, comparisons=cells, elementwise=cells, leak="none")
    ]


@operation(_sending)
def _send(levels: Tensor, step: float, most: int) -> EventTensor:
    """Changes of ``max(levels, 0)`` in whole steps, as graded events."""
    timing = timing_of(levels) or Timing(axis=None)
    wanted = dense_of(levels).relu()
    mask = inside(wanted, timing.lengths)
    with torch.no_grad():
        sent, steps = torch.zeros_like(wanted[:1]).squeeze(0), []
        for now in (wanted / step).unbind(0):
            change = (now - sent).trunc().clamp(-most, most)
            sent = sent + change
            steps.append(sent)
        quantised = step * torch.stack(steps)
    # Adding an exact zero keeps the levels exact while the gradient passes, but not that of levels still on their way.
    reached = (wanted.detach() - quantised).abs() <= step
    passed = quantised + (wanted - wanted.detach()) * reached
    messages = torch.cat([passed[:1], passed.diff(dim=0)])
    if mask is not None:
        messages = messages * mask.view(*mask.shape[:2], *[1] * (messages.dim() - 2))
    events = EventTensor.from_dense(messages, timing.dt, t0=timing.t0, lengths=timing.lengths, axis=timing.axis)
    events.level_bits = most.bit_length() + 1  # type: ignore[attr-defined]
    return events


class Integrator(nn.Module):
    """Sums over time without a leak: ``u[t] = b + I[0] + ... + I[t]``.

    Args:
        bias: of each unit.
    """

    def __init__(self, bias: nn.Parameter | None = None):
        super().__init__()
        self.bias = bias

    def forward(self, changes: Tensor | EventTensor) -> Tensor:
        """Sums ``(steps, samples, *units)``."""
        return _integrate(changes, self.bias)


class DeltaReLU(Integrator):
    """Integrated changes, rectified; their changes are sent in whole steps.

    Args:
        step: delta.
        bias: of each unit.
        behind: between integration and rectification, such as a normalisation.
        bits: of a message; larger changes are sent over several steps.

    Example:
        >>> current = torch.tensor([0.6, 0.3, 0.2, -2.0]).view(4, 1, 1)  # sums 0.6, 0.9, 1.1, -0.9
        >>> DeltaReLU(0.5)(current).dense().flatten().tolist()
        [0.5, 0.0, 0.5, -1.0]
    """

    def __init__(
        self,
        step: float,
        bias: nn.Parameter | None = None,
        behind: nn.Module | None = None,
        bits: int = MESSAGE_BITS,
    ):
        super().__init__(bias)
        self.step, self.behind, self.most = step, behind, 2 ** (bits - 1) - 1

    def forward(self, changes: Tensor | EventTensor) -> EventTensor:
        """Messages ``(steps, samples, *units)``."""
        levels = super().forward(changes)
        return _send(levels if self.behind is None else self.behind(levels), self.step, self.most)
