"""Spiking networks of leaky integrate-and-fire neurons, trained through surrogate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import dense_of, timing_of, with_timing
from neurosparse.experiments.classification.config import SOME, choice, flag, real
from neurosparse.experiments.classification.families.feedforward import Feedforward, weight_layers
from neurosparse.experiments.classification.families.spiking import SpikingConfig, shift_of
from neurosparse.experiments.classification.inputs import Inputs, n_samples, take
from neurosparse.experiments.classification.layers import Layer
from neurosparse.experiments.classification.space import Space
from neurosparse.experiments.classification.split import Split
from neurosparse.neurons import LIF, Readout, atan, boxcar, fast_sigmoid, triangle

__all__ = ["LIFConfig", "set_rates"]

SURROGATES = {"triangle": triangle, "boxcar": boxcar, "atan": atan, "fast_sigmoid": fast_sigmoid}
SCALES = (2.0**-10, 2.0**10)  # the smallest and the largest factor of the weights that sets a rate
HALVINGS = 24


@dataclass(frozen=True, kw_only=True)
class LIFConfig(SpikingConfig):
    """``v[t] = beta v[t-1] + I[t]``; a spike where ``v[t] > threshold``, which is then subtracted.

    Args:
        beta: decay of the membrane per step; 1: integrate-and-fire, without a leak.
        learn_beta: train the decay of every unit.
        threshold: of the membrane.
        learn_threshold: train the threshold of every unit.
        surrogate: derivative of a spike in the backward pass: ``"triangle"``, ``"boxcar"``, ``"atan"`` or
            ``"fast_sigmoid"``.
        initial_rate: spikes per neuron and step before training: the weights of each hidden layer are scaled to it; 0:
            they are left as they are drawn.
        recurrent: every linear layer of neurons also has weights from its own spikes, one step later.
        readout: ``"mean"`` of the outputs over time; of a leaky ``"membrane"`` that sums them, or its ``"peak"``.
        readout_beta: decay of that membrane per step.

    Example:
        >>> LIFConfig("quiet", steps=4, activity_penalty=0.1).settings
        {'family': 'lif', 'activity_penalty': 0.1, 'steps': 4}
    """

    family: ClassVar[str] = "lif"
    title: ClassVar[str] = "LIF"
    space: ClassVar[Space] = {
        **SpikingConfig.space,
        "beta": (0.5, 0.75, 0.875, 0.9375, 0.96875),  # 1 - 2^-k: a shift computes the leak
        "threshold": (0.5, 1.0, 2.0),
        "surrogate": tuple(SURROGATES),
        "initial_rate": (0.0, 0.05, 0.1, 0.2),
    }

    beta: float = real(0.875, 0.0, 1.0)
    learn_beta: bool = flag(False)
    threshold: float = real(1.0, 1e-6, 1e6)
    learn_threshold: bool = flag(False)
    surrogate: str = choice("triangle", tuple(SURROGATES))
    initial_rate: float = real(0.0, 0.0, 0.9)
    recurrent: bool = flag(False)
    readout: str = choice("mean", ("mean", "membrane", "peak"))
    readout_beta: float = real(0.9, 0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.state_bits is None:
            return
        _ = shift_of(self.beta, self.where)
        for key, kept in {"learn_beta": False, "recurrent": False, "readout": "mean"}.items():
            if getattr(self, key) != kept:
                got = f"{key}={getattr(self, key)!r} with state_bits"
                raise InputError(self.where, got=got, expected=f"{key}={kept!r}: only hidden membranes are integers")

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        linears, shapes = weight_layers(self.hidden_layers(hidden), units, classes, over_time=True)
        neurons = [self._neurons(layer, shape) for layer, shape in shapes]
        leaky = None if self.readout == "mean" else Readout(self.readout_beta)
        return Feedforward(linears, neurons, self.encoder(), self.readout, leaky, self.dropout)

    def network_for(self, split: Split, hidden: tuple[int, ...], classes: int) -> nn.Module:
        """The network for the units of these data; its rates before training are set by training samples."""
        network = super().network_for(split, hidden, classes)
        if self.initial_rate:
            x = split.train[0]
            assert isinstance(network, Feedforward)
            set_rates(network, self.prepare(take(x, torch.arange(min(SOME, n_samples(x))))), self.initial_rate)
        return network

    def _neurons(self, layer: Layer, units: tuple[int, ...]) -> nn.Module:
        beta = nn.Parameter(torch.full(units, self.beta)) if self.learn_beta else self.beta
        threshold = nn.Parameter(torch.full(units, self.threshold)) if self.learn_threshold else self.threshold
        recurrent = nn.Linear(*units, *units, bias=False) if self.recurrent and layer.kind == "linear" else None
        return LIF(beta=beta, threshold=threshold, surrogate=SURROGATES[self.surrogate](), recurrent=recurrent)


@torch.no_grad()
def set_rates(network: Feedforward, x: Inputs, rate: float) -> None:
    """Scale the weights and biases of each hidden layer in turn, so that its neurons fire at a mean rate.

    The current is proportional to the scale, which is found by bisection. Behind a batch normalisation its gain and
    shift are scaled in the place of the weights.

    Args:
        network: of spiking neurons, changed in place.
        x: prepared samples.
        rate: spikes per neuron and step.

    Raises:
        InputError: a layer that no scale brings to within a factor of two of the rate.
    """
    signal = x if network.encode is None else network.encode(x)  # type: ignore[arg-type]
    for at, (linear, neurons) in enumerate(zip(network.linears, network.activations, strict=False)):
        current = linear(signal)
        scale = _scale(neurons, current, rate)
        norms = [module for module in linear.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for parameter in (norms[-1] if norms else linear).parameters():
            parameter.mul_(scale)
        for norm in norms:
            norm.reset_running_stats()
        signal = neurons(_scaled(current, scale))
        if not rate / 2 <= signal.density <= 2 * rate:  # equal samples allow multiples of 1 / units only
            got, fix = f"a rate of {signal.density:.2g} in hidden layer {at + 1}", "Choose another initial_rate."
            raise InputError("initial_rate", got=got, expected=f"about {rate:g} spikes per step", fix=fix)


def _scale(neurons: nn.Module, current: Tensor, rate: float) -> float:
    """The factor of a current with which neurons fire at a mean rate: bisection of its logarithm."""
    low, high = SCALES
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if neurons(_scaled(current, middle)).density > rate else (middle, high)
    return high


def _scaled(current: Tensor, scale: float) -> Tensor:
    out, timing = dense_of(current) * scale, timing_of(current)
    return out if timing is None else with_timing(out, timing)
