"""The result of inference: states, errors, the energy at every step, and the transmissions."""

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

__all__ = ["LayerTerms", "States", "Transmissions", "join_layers"]


class LayerTerms(NamedTuple):
    """The two local terms of a layer's weight gradient: its prediction, and the error of it times precision."""

    prediction: Prediction
    error: Tensor


class Transmissions(NamedTuple):
    """Every transmission of inference: one row per iteration, the units of all layers in one row.

    ``errors`` (steps + 1, samples, units of layers 1..L), from each error unit to the layer below;
    ``states`` (steps + 1, samples, units of layers 0..L-1), from each state to the layer above. A clamped state is
    sent once, unless it is sent in spikes. ``error_spikes``, ``state_spikes``: whether they are sent as unit spikes.
    """

    errors: Tensor
    states: Tensor
    error_spikes: bool = False
    state_spikes: bool = False


@dataclass(frozen=True, eq=False)
class States:
    """States at the end of inference.

    Args:
        z: states of every layer, input first, each (samples, *units).
        errors: ``e_l = z_l - prediction_l`` of every layer but the first.
        energies: of each sample before the first step and after every step, (steps + 1, samples).
        gap: (samples,), the norm of ``dE/dz`` over unclamped states, at the last step: 0 at equilibrium.
        terms: the two local terms of each layer's weight gradient.
        sent: every transmission; None if it was not recorded.
        nudge: weight of the loss at the output; None where the output was clamped or unclamped without a nudge.
        cross_entropy: whether the output's term of the energy is a cross entropy.
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
    terms: tuple[LayerTerms, ...]
    sent: Transmissions | None
    nudge: float | None
    cross_entropy: bool
    dt: float

    @cached_property
    def events(self) -> EventTensor:
        """Transmissions of the error units: (steps + 1, samples, units), axis "iteration"."""
        sent = self._recorded()
        return _events(sent.errors, sent.error_spikes)

    @cached_property
    def state_events(self) -> EventTensor:
        """Transmissions of the states to the layers above: (steps + 1, samples, units), axis "iteration"."""
        sent = self._recorded()
        return _events(sent.states, sent.state_spikes)

    def _recorded(self) -> Transmissions:
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


def join_layers(parts: Sequence[Tensor]) -> Tensor:
    """The units of all layers in one row per sample."""
    return torch.cat([part.flatten(1) for part in parts], -1)
