"""Inference: all free states step down the energy at once; predictions and errors are the only messages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neurosparse.predictive.activation import SOFTMAX
from neurosparse.predictive.channel import Channel, Message
from neurosparse.predictive.fast_inference import fits_dense, relax_dense
from neurosparse.predictive.layer import Layer, Prediction
from neurosparse.predictive.problem import Problem
from neurosparse.predictive.states import Lesson, Sent, States, side_by_side

__all__ = ["Plan", "relax"]


@dataclass(frozen=True)
class Plan:
    """How to infer.

    Args:
        steps: at most.
        dt: length of a step; None until it is chosen.
        mode: "strict"; "fixed_prediction", predictions and slopes stay those of the start; "z_il", strict, but layer l
            of L learns from step L - l.
        tol: stop when the gap of every sample is at most this.
        record: keep every transmission.
        error_channel, state_channel: how errors and states are sent; None, as they are.
        after_step: told the lessons of every step, for weights that learn at once.
    """

    steps: int
    dt: float | None
    mode: str = "strict"
    tol: float = 0.0
    record: bool = True
    error_channel: Channel | None = None
    state_channel: Channel | None = None
    after_step: Callable[[Problem, tuple[Lesson, ...]], None] | None = None

    @property
    def plain(self) -> bool:
        """Whether errors and states are sent as they are, for as many steps as were asked for."""
        special = self.error_channel or self.state_channel or self.after_step
        return self.mode == "strict" and not self.tol and not special


def relax(problem: Problem, z: Sequence[Tensor], plan: Plan, predictions: Sequence[Prediction] | None = None) -> States:
    """Step down the energy from the states ``z``, as planned; ``predictions`` between them, if known already."""
    if plan.plain and fits_dense(problem, z):
        return _relax_fast(problem, z, plan, predictions)
    depth, dt = len(problem.layers), 1.0 if plan.dt is None else plan.dt
    channels = plan.error_channel, plan.state_channel
    down, up = (tuple(channel and _Link(channel) for _ in range(depth)) for channel in channels)
    sent_errors, sent_states, energies = [], [], []
    gap = torch.full_like(z[0].flatten(1)[:, 0], torch.inf)
    lessons: tuple[Lesson, ...] = ()
    predictions = None if plan.state_channel else predictions
    for step in itertools.count():
        if predictions is not None and not step:
            told = [prediction.input for prediction in predictions]
        elif predictions is None or plan.mode != "fixed_prediction":
            kept = None if plan.after_step else predictions
            predictions, told = _predict(problem, z, kept, up)
        else:
            told = [torch.zeros_like(state) for state in z[:-1]]
        errors = problem.errors(z, predictions)
        weighted = problem.weigh(errors)
        energies.append(problem.energy(z, predictions, errors))
        now = tuple(Lesson(*pair) for pair in zip(predictions, weighted, strict=True))
        learning = max(depth - step, 0) if plan.mode == "z_il" else depth
        lessons = (*now[:learning], *lessons[learning:])
        last = step == plan.steps or (step > 0 and plan.tol > 0 and bool((gap <= plan.tol).all()))
        signals, pulls = _send_errors(problem, predictions, weighted, down, needed=not last)
        if plan.after_step is not None and step:  # behind the pulls: states and weights follow the same errors
            plan.after_step(problem, now)
        if plan.record:
            sent_errors.append(side_by_side(signals))
            sent_states.append(side_by_side(told))
        if last:
            break
        before, z = z, problem.move(z, problem.gradient(z, weighted, pulls), dt)
        gap = _distance(before, z) / dt
    spikes = tuple(channel is not None and channel.spikes for channel in channels)
    sent = Sent(torch.stack(sent_errors), torch.stack(sent_states), *spikes) if plan.record else None
    crossed = problem.layers[-1].after is SOFTMAX
    return States(tuple(z), tuple(errors), torch.stack(energies), gap, lessons, sent, problem.nudge, crossed, dt)


def _relax_fast(problem: Problem, z: Sequence[Tensor], plan: Plan, predictions: Sequence[Prediction] | None) -> States:
    """The same in a dense stack that nobody watches."""
    dt = 1.0 if plan.dt is None else plan.dt
    end = relax_dense(problem, z, plan.steps, dt, plan.record, predictions)
    lessons = tuple(Lesson(*pair) for pair in zip(end.predictions, end.errors, strict=True))
    sent = Sent(torch.stack(end.signals), torch.stack(end.told)) if plan.record else None
    crossed = problem.layers[-1].after is SOFTMAX
    return States(tuple(end.z), tuple(end.errors), end.energies, end.gap, lessons, sent, problem.nudge, crossed, dt)


class _Link:
    """What one layer sends to another: its memory, and the product of all that was received while changes add up."""

    def __init__(self, channel: Channel):
        self.channel = channel
        self.memory: Any = None
        self.product: Tensor | None = None

    def send(self, value: Tensor) -> Message:
        """What is sent, and what it weighs."""
        message = self.channel.send(value, self.channel.start(value) if self.memory is None else self.memory)
        self.memory = message.memory
        return message

    def receive(self, received: Tensor, product: Callable[[Tensor, bool], Tensor]) -> Tensor:
        """What the receiver makes of it; ``product(received, whole)`` is without a bias if not whole."""
        whole = self.product is None or not self.channel.accumulates
        change = product(received, whole)
        self.product = change if whole or self.product is None else self.product + change
        return self.product


def _predict(
    problem: Problem, z: Sequence[Tensor], old: Sequence[Prediction] | None, links: Sequence[_Link | None]
) -> tuple[list[Prediction], list[Tensor]]:
    """All predictions, and what the states sent for them; a clamped state sends once, unless it spikes."""
    predictions, told = [], []
    for depth, (layer, link) in enumerate(zip(problem.layers, links, strict=True)):
        if old is not None and problem.free[depth] is False and not (link and link.channel.spikes):
            predictions.append(old[depth])
            told.append(torch.zeros_like(z[depth]))
            continue
        prediction, sent = _told(layer, z[depth], link)
        predictions.append(prediction)
        told.append(sent)
    return predictions, told


def _told(layer: Layer, z: Tensor, link: _Link | None) -> tuple[Prediction, Tensor]:
    if link is None:
        prediction = layer.predict(z)
        return prediction, prediction.input
    h = layer.before.function(z)
    message = link.send(h)
    return Prediction(h, layer.after.function(link.receive(message.received, layer.product))), message.sent


def _send_errors(
    problem: Problem,
    predictions: Sequence[Prediction],
    weighted: Sequence[Tensor],
    links: Sequence[_Link | None],
    needed: bool,
) -> tuple[list[Tensor], list[Tensor | None]]:
    """What the error units send, and how it pulls at the states below that are free to follow."""
    signals, pulls = [], []
    for depth, (layer, prediction, error) in enumerate(zip(problem.layers, predictions, weighted, strict=True)):
        listens, link = needed and problem.free[depth] is not False, links[depth]
        signal = layer.signal(prediction, error)
        if link is None:
            pulls.append(layer.pull(prediction, error) if listens else None)
        else:
            signal, received, _ = link.send(signal)
            back = partial(_transposed, layer, prediction.input.shape)
            pulls.append(layer.receive(prediction, link.receive(received, back)) if listens else None)
        signals.append(signal)
    return signals, pulls


def _transposed(layer: Layer, shape: torch.Size, signal: Tensor, _: bool) -> Tensor:
    return layer.transpose(signal, shape)


def _distance(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    return torch.stack([(b - a).square().flatten(1).sum(-1) for a, b in zip(before, after, strict=True)]).sum(0).sqrt()
