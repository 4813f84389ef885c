"""SAILnet: spiking neurons that learn a sparse, decorrelated code by rules local to each synapse.

One lesson: neurons spike in answer to a batch (`respond`), then feedforward weights, inhibition and thresholds move.
All that is remembered is a `Sailnet`; every response starts at rest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, operation

__all__ = ["Lesson", "Sailnet", "learn", "respond", "start"]


class Sailnet(NamedTuple):
    """Weights and thresholds: ``feedforward`` Q (units, features); ``lateral`` W (units, units), inhibition from row to
    column, never negative, none of a unit on itself; ``threshold`` (units)."""

    feedforward: Tensor
    lateral: Tensor
    threshold: Tensor


class Lesson(NamedTuple):
    """What one batch taught: the network after it, the spikes of the network before."""

    network: Sailnet
    spikes: EventTensor


def start(units: int, features: int, generator: torch.Generator | int = 0, *, threshold: float = 2.0) -> Sailnet:
    """Random feedforward weights of unit norm, no inhibition, equal thresholds.

    Args:
        units, features: size of the network.
        generator: draws the weights; an int is a seed.
        threshold: in the units of ``Q x``.

    Example:
        >>> [tuple(part.shape) for part in start(6, 4)]
        [(6, 4), (6, 6), (6,)]
    """
    seeded = generator if isinstance(generator, torch.Generator) else torch.Generator().manual_seed(generator)
    feedforward = F.normalize(torch.randn(units, features, generator=seeded))
    return Sailnet(feedforward, torch.zeros(units, units), torch.full((units,), threshold))


def _response_cost(spikes: EventTensor, network: Sailnet, x: Tensor, *_: object, **__: object) -> list[Operation]:
    """The drive once, every spike's inhibition but the last step's, and one state of each neuron a step."""
    sent = spikes.steps(0, spikes.shape[0] - 1)
    return [
        Operation("linear", input=x, weight=network.feedforward),
        Operation("linear", input=sent, weight=network.lateral.t()),
        Operation("neuron", output=spikes, state_updates=spikes.n_rows * spikes.n_units),
    ]


@operation(_response_cost)
@torch.no_grad()
def respond(network: Sailnet, x: Tensor, *, steps: int = 50, leak: float = 0.1) -> EventTensor:
    """Spikes of leaky neurons that inhibit each other: ``u <- (1 - leak) u + leak (Q x - W s)``, reset to 0.

    ``s`` are the spikes of the step before; a unit spikes where ``u`` exceeds its threshold.

    Args:
        network: weights and thresholds.
        x: what is shown, constantly, (samples, features): patches without mean, of unit standard deviation.
        steps: how long it is shown.
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
    if not (x.dim() == 2 and x.shape[1] == features and bool(x.isfinite().all())):
        expected = f"finite numbers (samples, {features})"
        raise InputError("sailnet.respond", got=f"x of shape {tuple(x.shape)}, or NaN", expected=expected)
    if not (steps >= 1 and 0 < leak <= 1):
        raise InputError("sailnet.respond", got=f"steps={steps}, leak={leak}", expected="steps >= 1, 0 < leak <= 1")
    drive = leak * F.linear(x, network.feedforward)
    membrane, fired = torch.zeros_like(drive), []
    for _ in range(steps):
        membrane = membrane.mul_(1 - leak).add_(drive)
        if fired:  # spikes are few: their rows of weights are added, not multiplied
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
) -> Lesson:
    """Respond, then three local rules on the spike counts y: whoever fires together inhibits each other, weights move
    towards what makes them fire, thresholds keep the rate.

    ``W_ij <- max(0, W_ij + alpha (<y_i y_j> - rate^2))`` (Foldiak),
    ``Q_i <- Q_i + beta (<y_i x> - <y_i^2> Q_i)`` (Oja) and
    ``threshold_i <- threshold_i + gamma (<y_i> - rate)``: at rest every unit fires ``rate`` spikes a patch, and a pair
    is either uncorrelated or without inhibition.

    Args:
        network: before.
        x: a batch (samples, features), 100 in the paper.
        rate: spikes of a unit a sample, p.
        alpha, beta, gamma: learning rates of inhibition, feedforward weights and thresholds.
        steps, leak: as in `respond`.

    Returns:
        a `Lesson`; the old network is untouched.

    Raises:
        InputError: as `respond`; a rate of 0 or less.

    Example:
        >>> lesson = learn(start(8, 4), torch.randn(100, 4, generator=torch.Generator().manual_seed(0)))
        >>> lesson.spikes.shape, bool((lesson.network.lateral >= 0).all())
        ((50, 100, 8), True)

    Source: Zylberberg, Murphy & DeWeese (2011), "A sparse coding model with synaptically local plasticity and spiking
    neurons can account for the diverse shapes of V1 simple cell receptive fields", equations 1, 4-6.
    """
    if not rate > 0:
        raise InputError("sailnet.learn", got=f"rate={rate}", expected="spikes a sample above 0", fix="Pass rate=0.05.")
    spikes = respond(network, x, steps=steps, leak=leak)
    counts = spikes.counts().to(x.dtype)
    together = counts.t() @ counts / len(x)
    lateral = (network.lateral + alpha * (together - rate**2)).clamp_(min=0).fill_diagonal_(0.0)
    square = together.diagonal()[:, None]
    feedforward = network.feedforward + beta * (counts.t() @ x / len(x) - square * network.feedforward)
    threshold = network.threshold + gamma * (counts.mean(0) - rate)
    return Lesson(Sailnet(feedforward, lateral, threshold), spikes)
