"""How a unit tells others its value: as it is, only when it has changed, or in spikes.

A channel is two functions and no state of its own: ``start(value)`` gives a unit's memory, ``send(value, memory)`` what
it sends, what the receiver adds up, and the memory after.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.operation import Operation, operation

__all__ = ["Channel", "Message", "delta", "graded", "spiking"]


class Message(NamedTuple):
    """``sent``, the transmissions; ``received``, what they weigh at the receiver; ``memory`` of the sender after."""

    sent: Tensor
    received: Tensor
    memory: Any


class Channel(NamedTuple):
    """A way to send values; made by `graded`, `delta` or `spiking`.

    ``accumulates``: the receiver keeps a running sum, since what is sent are changes. ``spikes``: all that is sent are
    unit spikes, so that even a value that stays is sent again and again.
    """

    name: str
    start: Callable[[Tensor], Any]
    send: Callable[[Tensor, Any], Message]
    accumulates: bool = False
    spikes: bool = False

    def __repr__(self) -> str:
        return self.name


def graded(threshold: float = 0.0) -> Channel:
    """Send the value itself, at every iteration, where it is larger than a threshold: ``|v| > threshold``.

    Args:
        threshold: what is not larger is silent, and its receivers see 0. The price is accuracy.

    Returns:
        a `Channel`.

    Raises:
        InputError: if the threshold is not a number, 0 or more.

    Example:
        >>> graded(0.1).send(torch.tensor([0.05, -0.4]), None).sent
        tensor([ 0.0000, -0.4000])
    """
    threshold = _number("graded", "threshold", threshold, 0.0)
    return Channel(f"graded({threshold:g})", lambda value: None, lambda value, memory: _graded(value, threshold))


def delta(threshold: float) -> Channel:
    """Send a change when it has grown large enough: ``d = v - held`` where ``|d| > threshold``; ``held += d``.

    Receivers add up what they are sent, so they are never further from the value than the threshold.

    Args:
        threshold: the change that is worth a transmission.

    Returns:
        a `Channel`; its events are changes, and ``.cumulate()`` turns them into levels.

    Raises:
        InputError: if the threshold is not a number, 0 or more.

    Example:
        >>> channel = delta(0.1)
        >>> message = channel.send(torch.tensor([0.05, -0.4]), torch.tensor([0.0, 0.0]))
        >>> message.sent, message.memory
        (tensor([ 0.0000, -0.4000]), tensor([ 0.0000, -0.4000]))

    Source: O'Connor & Welling (2016), "Sigma delta quantized networks".
    """
    threshold = _number("delta", "threshold", threshold, 0.0)
    return Channel(f"delta({threshold:g})", torch.zeros_like, lambda value, held: _delta(value, held, threshold), True)


def spiking(threshold: float = 0.1, beta: float = 1.0) -> Channel:
    """Send spikes of two populations, one for positive values and one for negative: a pair of LIF neurons a unit.

    ``u[t] = beta u[t-1] + max(+-v, 0);  s = [u > threshold];  u -= threshold s``. A spike counts ``threshold`` at the
    receiver, so that mean spikes times the threshold are the mean value, less what leaks: within ``u[T] / T`` for
    ``beta = 1``. A neuron spikes at most once an iteration, so values above the threshold are cut off.

    Args:
        threshold: of the membrane; the largest value that a spike an iteration can carry.
        beta: decay of the membrane an iteration, 0..1.

    Returns:
        a `Channel`; its events are unit spikes: of each layer first the positive population, then the negative one.

    Raises:
        InputError: if the threshold is not a number above 0 or beta not within 0..1.

    Example:
        >>> channel, value = spiking(0.5), torch.tensor([[0.25, -0.5]])
        >>> first = channel.send(value, channel.start(value))
        >>> channel.send(value, first.memory).sent  # units 0 and 1 positive, then 0 and 1 negative
        tensor([[0., 0., 0., 1.]])

    Source: paired error neurons after Rao & Ballard (1999), who note that firing rates cannot be negative.
    """
    threshold = _number("spiking", "threshold", threshold, 0.0, above=True)
    beta = _number("spiking", "beta", beta, 0.0, most=1.0)
    start = lambda value: torch.zeros((2, *value.shape), dtype=value.dtype, device=value.device)  # noqa: E731
    name = f"spiking({threshold:g}, beta={beta:g})"
    return Channel(name, start, lambda value, membrane: _spiking(value, membrane, threshold, beta), spikes=True)


def _compared(message: Message, value: Tensor, *_: Any) -> list[Operation]:
    return [Operation("compare", comparisons=value.numel(), elementwise=value.numel())]


@operation(_compared)
def _graded(value: Tensor, threshold: float) -> Message:
    sent = torch.nn.functional.hardshrink(value, threshold) if threshold else value
    return Message(sent, sent, None)


@operation(_compared)
def _delta(value: Tensor, held: Tensor, threshold: float) -> Message:
    sent = torch.nn.functional.hardshrink(value - held, threshold)
    return Message(sent, sent, held + sent)


def _integrated(message: Message, value: Tensor, *_: Any) -> list[Operation]:
    return [Operation("neuron", state_updates=2 * value.numel())]


@operation(_integrated)
def _spiking(value: Tensor, membrane: Tensor, threshold: float, beta: float) -> Message:
    membrane = beta * membrane + torch.stack([value, -value]).clamp(min=0)
    spikes = (membrane > threshold).to(value.dtype)
    received = threshold * (spikes[0] - spikes[1])
    return Message(torch.cat([spike.flatten(1) for spike in spikes], -1), received, membrane - threshold * spikes)


def _number(where: str, name: str, value: float, least: float, above: bool = False, most: float = math.inf) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (known and (value > least if above else value >= least) and value <= most):
        expected = f"{name} {'>' if above else '>='} {least:g}" + (f" and at most {most:g}" if most < math.inf else "")
        raise InputError(where, got=f"{name}={value!r}", expected=expected, fix=f"Pass {name}=0.1.")
    return float(value)
