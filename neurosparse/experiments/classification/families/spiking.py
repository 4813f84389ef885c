"""Spiking networks as they run: quantized after training, and with membranes in integers."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neurosparse.baselines import Accumulator, Quantised
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, data_rows
from neurosparse.experiments.classification.config import count, real
from neurosparse.experiments.classification.families.feedforward import Feedforward
from neurosparse.experiments.classification.families.layered import LayeredConfig, TimedConfig
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.experiments.classification.space import Space
from neurosparse.learning import merge_norms
from neurosparse.neurons import LIF, FixedPointLIF, HalfCharged

__all__ = ["SpikingConfig", "shift_of", "with_integer_states"]

MOST = 15  # the largest shift of a leak


@dataclass(frozen=True, kw_only=True)
class SpikingConfig(TimedConfig):
    """A feedforward network of spiking neurons.

    Args:
        rate_limit: firing rate of a unit, spikes per step in the mean over samples, up to which it costs no
            ``activity_penalty``.
        state_bits: after training, the membranes are integers of that many bits, 8 to 32; it takes integer weights
            (``bits`` below 32). None: floating point.
    """

    space: ClassVar[Space] = {
        **TimedConfig.space,
        "activity_penalty": (0.0, 0.2, 1.0, 5.0),
        "rate_limit": (0.0, 0.02, 0.05, 0.1),
    }

    rate_limit: float = real(0.0, 0.0, 1.0)
    state_bits: int | None = count(None, 32, least=8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.state_bits is not None and self.compression.bits == 32:
            got, fix = f"state_bits={self.state_bits} with weights of 32 bits", "Set bits = 8."
            raise InputError(self.where, got=got, expected="integer weights", fix=fix)

    @property
    def uncompressed(self) -> LayeredConfig:
        floating = self if self.state_bits is None else replace(self, state_bits=None)
        return super(SpikingConfig, floating).uncompressed

    @property
    def training_settings(self) -> dict[str, Any]:
        return {key: value for key, value in super().training_settings.items() if key != "state_bits"}

    def activity(self, hidden: Tensor | EventTensor) -> Tensor:
        """Spikes above the limit: the mean over units of ``max(0, spikes - rate_limit steps)``, spikes per sample."""
        if not self.rate_limit:
            return super().activity(hidden)
        if isinstance(hidden, EventTensor):
            spikes, steps = hidden.counts(), hidden.n_rows / hidden.shape[1]
        else:  # activations that stand for rates
            spikes, steps = hidden, 1.0
        return (spikes.mean(0) - self.rate_limit * steps).clamp(min=0).mean()

    def finish(self, model: nn.Module, x: Inputs) -> nn.Module:
        assert isinstance(model, Feedforward)
        if self.state_bits is None:
            return super().finish(model, x)
        linears = [merge_norms(part) if isinstance(part, nn.Sequential) else part for part in model.linears]
        model.linears = nn.ModuleList(linears)
        quantised = super().finish(model.eval(), x)
        assert isinstance(quantised, Feedforward)
        return with_integer_states(quantised, x, self.state_bits)


def shift_of(beta: float, where: str = "state_bits") -> int | None:
    """The shift k of a leak, ``beta = 1 - 2^-k``; None: no leak. ``where`` is for the message.

    Raises:
        InputError: a decay that no shift computes.

    Example:
        >>> shift_of(0.875), shift_of(1.0)
        (3, None)
    """
    if beta == 1:
        return None
    k = round(-math.log2(1 - beta))
    if beta != 1 - 2.0**-k or k > MOST:
        raise InputError(where, got=f"beta={beta:g}", expected="1 - 2^-k, such as 0.875, or 1")
    return k


@torch.no_grad()
def with_integer_states(network: Feedforward, x: Inputs, bits: int) -> Feedforward:
    """The same network with hidden neurons in fixed point, :class:`neurosparse.neurons.FixedPointLIF`.

    A layer of whole-number weights gives accumulators, one unit of which is a current ``unit`` per output (channel).
    The shift of each output is the smallest with which the largest membrane of the samples, positive or negative, fits
    into the width. The threshold is ``round(threshold / (unit 2^shift))``.

    Args:
        network: quantised, with :class:`LIF` neurons whose decay is ``1 - 2^-k`` or 1.
        x: prepared samples.
        bits: width of the membranes.

    Returns:
        a copy.
    """
    network = copy.deepcopy(network)
    largest = _largest_membranes(network, x)
    top = 2 ** (bits - 1) - 1
    for at, level in enumerate(largest):
        neurons = network.activations[at]
        assert isinstance(neurons, LIF)
        layer = _accumulate(network.linears, at)
        unit = layer.unit.view(-1, *[1] * (level.dim() - 1))
        shift = (level / (unit * top)).log2().ceil().clamp(-31, 31)
        threshold = neurons.in_use("threshold").detach().double() / (unit * 2.0**shift)
        threshold = threshold.round().clamp(1, top).long()
        start = threshold // 2 + 1 if isinstance(neurons, HalfCharged) else 0
        network.activations[at] = FixedPointLIF(
            threshold, shift_of(neurons.in_use("beta").item()), bits, shift.long(), start
        )
    return network


def _accumulate(linears: nn.ModuleList, at: int) -> Accumulator:
    """Put an accumulator in the place of the quantised layer among the modules of a hidden layer."""
    (name, layer), *_ = [(n, m) for n, m in linears[at].named_modules() if isinstance(m, Quantised)]
    found = Accumulator(layer)
    if not name:
        linears[at] = found
    else:
        parent, _, key = name.rpartition(".")
        setattr(linears[at].get_submodule(parent), key, found)
    return found


def _largest_membranes(network: Feedforward, x: Inputs) -> list[Tensor]:
    """Of each hidden layer and output (channel) the largest magnitude of a membrane, at least twice the threshold.

    Each of shape ``(outputs, 1, ...)``, as many axes as units have.
    """
    found: list[Tensor] = []

    def observe(neurons: Any, inputs: tuple) -> None:
        sizes = data_rows(neurons.trace(inputs[0]).membrane).double().abs().amax(0)
        sizes = torch.maximum(sizes, 2 * neurons.in_use("threshold").detach().double())
        found.append(sizes.flatten(1).amax(1).view(-1, *[1] * (sizes.dim() - 1)) if sizes.dim() > 1 else sizes)

    hooks = [neurons.register_forward_pre_hook(observe) for neurons in network.activations]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found
