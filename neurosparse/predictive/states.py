"""What inference found: states, errors, how the energy fell, and what was sent on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.predictive.layer import Prediction

__all__ = ["Lesson", "Sent", "States", "side_by_side"]


class Lesson(NamedTuple):
    """What one layer learns from: its prediction and the error of it, times precision."""

    prediction: Prediction
    error: Tensor


class Sent(NamedTuple):
    """Every transmission of inference, a row an iteration, units of all layers side by side.

    ``errors`` (steps + 1, samples, units of layers 1..L), what each error unit sends to the layer below;
    ``states`` (steps + 1, samples, units of layers 0..L-1), what each state sends to the layer above. A clamped state
    sends once, unless it spikes. ``error_spikes``, ``state_spikes``: whether they are sent as unit spikes.
    """

    errors: Tensor
    states: Tensor
    error_spikes: bool = False
    state_spikes: bool = False


@dataclass(frozen=True, eq=False)
class States:
    """Where inference came to rest.

    Args:
        z: states of every layer, input first, each (samples, *units).
        errors: ``e_l = z_l - prediction_l`` of every layer but the first.
        energies: of each sample before the first and after every step, (steps + 1, samples).
        gap: (samples,), the norm of ``dE/dz`` over free states, as the last step found it: 0 at equilibrium.
        lessons: what each layer learns from.
        sent: every transmission; None if it was not recorded.
        nudge: how strongly the output was drawn to its target; None where it was clamped or free.
        cross_entropy: whether the output's term of the energy is one.
        dt: the inference step that was used.

    Example:
        >>> from neurosparse.predictive import PredictiveNetwork
        >>> states = PredictiveNetwork((4, 8, 3)).infer(torch.rand(2, 4), torch.eye(3)[:2], steps=5)
        >>> states, states.energies.shape, states.gap.shape
        (States(5 steps, 2 samples, 4 - 8 - 3), torch.Size([6, 2]), torch.Size([2]))
    """

    z: tuple[Tensor, ...]
    errors: tuple[Tensor, ...]
    energies: Tensor
    gap: Tensor
    lessons: tuple[Lesson, ...]
    sent: Sent | None
    nudge: float | None
    cross_entropy: bool
    dt: float

    @cached_property
    def events(self) -> EventTensor:
        """What the error units sent at every iteration: (steps + 1, samples, units), axis "iteration"."""
        sent = self._recorded()
        return _events(sent.errors, sent.error_spikes)

    @cached_property
    def state_events(self) -> EventTensor:
        """What the states sent to the predictions above at every iteration."""
        sent = self._recorded()
        return _events(sent.states, sent.state_spikes)

    def _recorded(self) -> Sent:
        if self.sent is None:
            raise InputError(
                "States.events", got="record=False", expected="transmissions", fix="Infer with record=True."
            )
        return self.sent

    def __repr__(self) -> str:
        sizes = " - ".join("x".join(map(str, z.shape[1:])) for z in self.z)
        return f"States({len(self.energies) - 1} steps, {self.energies.shape[1]} samples, {sizes})"


def _events(dense: Tensor, spikes: bool) -> EventTensor:
    return EventTensor.from_dense(dense, axis="iteration", spikes=spikes)


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Units of all layers in one row a sample."""
    return torch.cat([part.flatten(1) for part in parts], -1)
