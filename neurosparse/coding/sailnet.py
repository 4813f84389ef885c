"""SAILnet (Zylberberg et al. 2011): spiking neurons that learn a sparse, decorrelated code by local rules.

One update: the spikes of the neurons to a batch (`respond`), then a step of feedforward weights, inhibition and
thresholds (`learn`). All state is a `Sailnet`; every response starts from membranes of 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.checks import generator as random_generator
from neurosparse.checks import number, positive, tensor, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, leak_of, operation

__all__ = ["Sailnet", "UpdateResult", "learn", "respond", "start"]


class Sailnet(NamedTuple):
    """Weights and thresholds: ``feedforward`` Q (units, features); ``lateral`` W (units, units), inhibition from row to
    column, 0 or more, 0 on the diagonal; ``threshold`` (units)."""

    feedforward: Tensor
    lateral: Tensor
    threshold: Tensor


class UpdateResult(NamedTuple):
    """The result of one update: the new network, and the spikes of the old one."""

    network: Sailnet
    spikes: EventTensor


def start(units: int, features: int, generator: torch.Generator | int = 0, *, threshold: float = 2.0) -> Sailnet:
    """Random feedforward weights of unit norm, no inhibition, equal thresholds.

    Args:
        units, features: size of the network, each at least 1.
        generator: draws the weights; an int is a seed.
        threshold: in the units of ``Q x``.

    Example:
        >>> [tuple(part.shape) for part in start(6, 4)]
        [(6, 4), (6, 6), (6,)]
    """
    where = "sailnet.start"
    units, features = whole(where, "units", units), whole(where, "features", features)
    threshold, seeded = positive(where, "threshold", threshold), random_generator(where, generator)
    feedforward = F.normalize(torch.randn(units, features, generator=seeded))
    return Sailnet(feedforward, torch.zeros(units, units), torch.full((units,), threshold))


def _response_cost(
    spikes: EventTensor, network: Sailnet, x: Tensor, *, leak: float = 0.1, **_: object
) -> list[Operation]:
    """The drive once, the inhibition of every spike but those of the last step, one state per neuron and step."""
    sent = spikes.steps(0, spikes.shape[0] - 1)
    return [
        Operation("linear", input=x, weight=network.feedforward),
        Operation("linear", input=sent, weight=network.lateral.t()),
        Operation(
            "neuron", output=spikes, state_updates=spikes.n_rows * spikes.n_units, leak=leak_of(x.new_tensor(1 - leak))
        ),
    ]


@operation(_response_cost)
@torch.no_grad()
def respond(network: Sailnet, x: Tensor, *, steps: int = 50, leak: float = 0.1) -> EventTensor:
    """Spikes of leaky neurons that inhibit each other: ``u <- (1 - leak) u + leak (Q x - W s)``, reset to 0.

    ``s`` are the spikes of the step before; a unit spikes where ``u`` exceeds its threshold.

    Args:
        network: weights and thresholds.
        x: the constant input, (samples, features): patches of mean 0 and standard deviation 1.
        steps: number of steps.
        leak: step over time constant.

    Returns:
        spikes, (steps, samples, units).

    Raises:
        InputError: another number of features, values that are not finite, steps or leak out of range.

    Example:
        >>> one = Sailnet(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([1.0]))
        >>> respond(one, torch.tensor([[2.0]]), steps=21).aer().step.tolist()  # 2 (1 - 0.9^7) > 1
        [6, 13, 20]
    """
    units, features = network.feedforward.shape
    where = "sailnet.respond"
    x = tensor(where, "x", x, "samples, features")
    if x.shape[1] != features or x.dtype != network.feedforward.dtype:
        expected = f"(samples, {features}) of {network.feedforward.dtype}, as the network"
        raise InputError(where, got=f"x of shape {tuple(x.shape)} and {x.dtype}", expected=expected)
    steps, leak = whole(where, "steps", steps), number(where, "leak", leak, above=0, high=1)
    drive = leak * F.linear(x, network.feedforward)
    membrane, fired = torch.zeros_like(drive), []
    for _ in range(steps):
        membrane = membrane.mul_(1 - leak).add_(drive)
        if fired:  # spikes are few: rows of weights are added, without a product
            sample, unit = fired[-1]
            membrane.index_add_(0, sample, network.lateral[unit], alpha=-leak)
        above = membrane > network.threshold
        fired.append(above.nonzero(as_tuple=True))
        membrane.masked_fill_(above, 0.0)
    step = torch.repeat_interleave(torch.arange(steps), torch.tensor([len(sample) for sample, _ in fired]))
    sample, unit = (torch.cat(part) for part in zip(*fired, strict=True))
    return EventTensor.from_aer(step.to(sample.device), sample, unit, shape=(steps, len(x), units))


@torch.no_grad()
def learn(
    network: Sailnet,
    x: Tensor,
    *,
    rate: float = 0.05,
    alpha: float = 1.0,
    beta: float = 0.01,
    gamma: float = 0.1,
    steps: int = 50,
    leak: float = 0.1,
) -> UpdateResult:
    """One update by three local rules on the spike counts y: inhibition decorrelates, feedforward weights move towards
    the inputs that cause spikes, thresholds keep the rate.

    ``W_ij <- max(0, W_ij + alpha (<y_i y_j> - rate^2))`` (Foldiak),
    ``Q_i <- Q_i + beta (<y_i x> - <y_i^2> Q_i)`` (Oja) and
    ``threshold_i <- threshold_i + gamma (<y_i> - rate)``: at a fixed point every unit fires ``rate`` spikes per sample,
    and a pair is either uncorrelated or without inhibition.

    Args:
        network: the old network.
        x: a batch (samples, features), 100 in the paper.
        rate: target p, spikes per unit and sample.
        alpha, beta, gamma: learning rates of inhibition, feedforward weights and thresholds.
        steps, leak: as in `respond`.

    Returns:
        an `UpdateResult`; the old network is not changed.

    Raises:
        InputError: as `respond`; a rate that is not positive, a negative learning rate.

    Example:
        >>> result = learn(start(8, 4), torch.randn(100, 4, generator=torch.Generator().manual_seed(0)))
        >>> result.spikes.shape, bool((result.network.lateral >= 0).all())
        ((50, 100, 8), True)

    Source: Zylberberg, Murphy & DeWeese (2011), "A sparse coding model with synaptically local plasticity and spiking
    neurons can account for the diverse shapes of V1 simple cell receptive fields", equations 1, 4-6.
    """
    where = "sailnet.learn"
    rate = positive(where, "rate", rate, fix="Pass rate=0.05.")
    alpha, beta = number(where, "alpha", alpha, 0), number(where, "beta", beta, 0)
    gamma, x = number(where, "gamma", gamma, 0), tensor(where, "x", x, "samples, features")
    spikes = respond(network, x, steps=steps, leak=leak)
    counts = spikes.counts().to(x.dtype)
    pairs = counts.t() @ counts / len(x)
    lateral = (network.lateral + alpha * (pairs - rate**2)).clamp_(min=0).fill_diagonal_(0.0)
    square = pairs.diagonal()[:, None]
    feedforward = network.feedforward + beta * (counts.t() @ x / len(x) - square * network.feedforward)
    threshold = network.threshold + gamma * (counts.mean(0) - rate)
    return UpdateResult(Sailnet(feedforward, lateral, threshold), spikes)
