"""Channels: a value sent as it is, as changes above a threshold (delta), or as spikes.

A channel is two functions without a state of their own: ``start(value)`` gives the memory of the sending units;
``send(value, memory)`` gives what is sent, what arrives at the receiver, and the memory after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosparse.checks import number, positive
from neurosparse.events.operation import Operation, leak_of, operation

__all__ = ["Channel", "Message", "delta", "graded", "spiking"]


class Message(NamedTuple):
    """``sent``, the transmissions; ``received``, their value at the receiver; ``memory`` of the sender after."""

    sent: Tensor
    received: Tensor
    memory: Any


class Channel(NamedTuple):
    """A way to send values; made by `graded`, `delta` or `spiking`.

    ``accumulates``: transmissions are changes, and the receiver keeps a running sum. ``spikes``: transmissions are unit
    spikes, so that a constant value is sent again and again.
    """

    name: str
    start: Callable[[Tensor], Any]
    send: Callable[[Tensor, Any], Message]
    accumulates: bool = False
    spikes: bool = False

    def __repr__(self) -> str:
        return self.name


def graded(threshold: float = 0.0) -> Channel:
    """Send the value at every iteration where ``|v| > threshold``.

    Args:
        threshold: smaller values are not sent, and arrive as 0; a higher threshold costs accuracy.

    Returns:
        a `Channel`.

    Raises:
        InputError: if the threshold is not a number, 0 or more.

    Example:
        >>> graded(0.1).send(torch.tensor([0.05, -0.4]), None).sent
        tensor([ 0.0000, -0.4000])
    """
    threshold = number("graded", "threshold", threshold, 0, fix="Pass threshold=0.1.")
    return Channel(f"graded({threshold:g})", lambda value: None, lambda value, memory: _graded(value, threshold))


def delta(threshold: float) -> Channel:
    """Send changes (sigma-delta): ``d = v - held`` where ``|d| > threshold``; ``held += d``.

    The receiver sums the changes; its sum differs from the value by at most the threshold.

    Args:
        threshold: smaller changes are not sent.

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
    threshold = number("delta", "threshold", threshold, 0, fix="Pass threshold=0.1.")
    return Channel(f"delta({threshold:g})", torch.zeros_like, lambda value, held: _delta(value, held, threshold), True)


def spiking(threshold: float = 0.1, beta: float = 1.0) -> Channel:
    """Send spikes of two LIF neurons per unit, one for positive values and one for negative values.

    ``u[t] = beta u[t-1] + max(+-v, 0);  s = [u > threshold];  u -= threshold s``. A spike counts ``threshold`` at the
    receiver: for ``beta = 1`` the mean of the spikes times the threshold differs from the mean value by at most
    ``u[T] / T``. A neuron spikes at most once per iteration, so values above the threshold are clipped.

    Args:
        threshold: of the membrane; the largest value that one spike per iteration transmits.
        beta: decay of the membrane per iteration, 0..1.

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
    threshold = positive("spiking", "threshold", threshold, fix="Pass threshold=0.1.")
    beta = number("spiking", "beta", beta, 0, 1, fix="Pass beta=1.0.")
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


def _integrated(message: Message, value: Tensor, membrane: Tensor, threshold: float, beta: float) -> list[Operation]:
    return [Operation("neuron", state_updates=2 * value.numel(), leak=leak_of(value.new_tensor(beta)))]


@operation(_integrated)
def _spiking(value: Tensor, membrane: Tensor, threshold: float, beta: float) -> Message:
    membrane = beta * membrane + torch.stack([value, -value]).clamp(min=0)
    spikes = (membrane > threshold).to(value.dtype)
    received = threshold * (spikes[0] - spikes[1])
    return Message(torch.cat([spike.flatten(1) for spike in spikes], -1), received, membrane - threshold * spikes)
