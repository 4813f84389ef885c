"""Inference by gradient descent on the energy: all unclamped states step at once; messages are states and errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neurosparse.predictive.channel import Channel, Message
from neurosparse.predictive.fast_inference import fast_inference_applies, relax_fast
from neurosparse.predictive.layer import SOFTMAX, Prediction, PredictiveLayer
from neurosparse.predictive.problem import RelaxationProblem
from neurosparse.predictive.states import LayerTerms, States, Transmissions, join_layers

__all__ = ["InferencePlan", "relax"]


@dataclass(frozen=True)
class InferencePlan:
    """Steps, schedule and channels of inference.

    Args:
        steps: number of steps, or the largest number with ``tol``.
        dt: length of a step; None until it is chosen.
        mode: "strict"; "fixed_prediction", predictions and slopes stay those of the start; "z_il", strict, but the
            weights of layer l of L learn from the terms of step L - l.
        tol: stop when the gap of every sample is at most this.
        record: keep every transmission.
        error_channel, state_channel: how errors and states are sent; None: as values, at every step.
        after_step: called with the terms of every step, for weights that step with the states.
    """

    steps: int
    dt: float | None
    mode: str = "strict"
    tol: float = 0.0
    record: bool = True
    error_channel: Channel | None = None
    state_channel: Channel | None = None
    after_step: Callable[[RelaxationProblem, tuple[LayerTerms, ...]], None] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether errors and states are sent as values, for a fixed number of steps, with fixed weights."""
        special = self.error_channel or self.state_channel or self.after_step
        return self.mode == "strict" and not self.tol and not special


def relax(
    problem: RelaxationProblem, z: Sequence[Tensor], plan: InferencePlan, known: Sequence[Prediction] | None = None
) -> States:
    """Descend the energy from the states ``z``; ``known``, their predictions, if these are computed already."""
    if plan.is_plain and fast_inference_applies(problem, z):
        return _relax_fast(problem, z, plan, known)
    depth, dt = len(problem.layers), 1.0 if plan.dt is None else plan.dt
    channels = plan.error_channel, plan.state_channel
    down, up = (tuple(channel and _Link(channel) for _ in range(depth)) for channel in channels)
    sent_errors, sent_states, energies = [], [], []
    gap = torch.full_like(z[0].flatten(1)[:, 0], torch.inf)
    terms: tuple[LayerTerms, ...] = ()
    predictions = None if plan.state_channel else known
    for step in itertools.count():
        if predictions is not None and not step:
            sent = [prediction.input for prediction in predictions]
        elif predictions is None or plan.mode != "fixed_prediction":
            kept = None if plan.after_step else predictions
            predictions, sent = _predict(problem, z, kept, up)
        else:
            sent = [torch.zeros_like(state) for state in z[:-1]]
        errors = problem.errors(z, predictions)
        weighted = problem.weighted(errors)
        energies.append(problem.energy(z, predictions, errors))
        now = tuple(LayerTerms(*pair) for pair in zip(predictions, weighted, strict=True))
        learning = max(depth - step, 0) if plan.mode == "z_il" else depth
        terms = (*now[:learning], *terms[learning:])
        last = step == plan.steps or (step > 0 and plan.tol > 0 and bool((gap <= plan.tol).all()))
        signals, feedback = _send_errors(problem, predictions, weighted, down, needed=not last)
        if plan.after_step is not None and step:  # after the feedback: states and weights step by the same errors
            plan.after_step(problem, now)
        if plan.record:
            sent_errors.append(join_layers(signals))
            sent_states.append(join_layers(sent))
        if last:
            break
        before, z = z, problem.descend(z, problem.gradient(z, weighted, feedback), dt)
        gap = _distance(before, z) / dt
    spikes = tuple(channel is not None and channel.spikes for channel in channels)
    kept = Transmissions(torch.stack(sent_errors), torch.stack(sent_states), *spikes) if plan.record else None
    crossed = problem.layers[-1].after is SOFTMAX
    return States(tuple(z), tuple(errors), torch.stack(energies), gap, terms, kept, problem.nudge, crossed, dt)


def _relax_fast(
    problem: RelaxationProblem, z: Sequence[Tensor], plan: InferencePlan, known: Sequence[Prediction] | None
) -> States:
    """The same by `relax_fast`."""
    dt = 1.0 if plan.dt is None else plan.dt
    end = relax_fast(problem, z, plan.steps, dt, plan.record, known)
    terms = tuple(LayerTerms(*pair) for pair in zip(end.predictions, end.errors, strict=True))
    sent = None if end.signals is None or end.sent is None else Transmissions(end.signals, end.sent)
    crossed = problem.layers[-1].after is SOFTMAX
    return States(tuple(end.z), tuple(end.errors), end.energies, end.gap, terms, sent, problem.nudge, crossed, dt)


class _Link:
    """A channel from one layer to another: memory of the sender, and the product at the receiver while changes add."""

    def __init__(self, channel: Channel):
        self.channel = channel
        self.memory: Any = None
        self.product: Tensor | None = None

    def send(self, value: Tensor) -> Message:
        """The message of a value; the sender's memory is updated."""
        message = self.channel.send(value, self.channel.start(value) if self.memory is None else self.memory)
        self.memory = message.memory
        return message

    def receive(self, received: Tensor, product: Callable[[Tensor, bool], Tensor]) -> Tensor:
        """The receiver's product; ``product(received, whole)`` leaves out the bias if not whole."""
        whole = self.product is None or not self.channel.accumulates
        change = product(received, whole)
        self.product = change if whole or self.product is None else self.product + change
        return self.product


def _predict(
    problem: RelaxationProblem, z: Sequence[Tensor], old: Sequence[Prediction] | None, links: Sequence[_Link | None]
) -> tuple[list[Prediction], list[Tensor]]:
    """All predictions, and the messages of the states; a clamped state is sent once, unless it is sent in spikes."""
    predictions, messages = [], []
    for depth, (layer, link) in enumerate(zip(problem.layers, links, strict=True)):
        if old is not None and problem.unclamped[depth] is False and not (link and link.channel.spikes):
            predictions.append(old[depth])
            messages.append(torch.zeros_like(z[depth]))
            continue
        prediction, sent = _send_state(layer, z[depth], link)
        predictions.append(prediction)
        messages.append(sent)
    return predictions, messages


def _send_state(layer: PredictiveLayer, z: Tensor, link: _Link | None) -> tuple[Prediction, Tensor]:
    """The prediction from one state, and its message."""
    if link is None:
        prediction = layer.predict(z)
        return prediction, prediction.input
    h = layer.before.function(z)
    message = link.send(h)
    return layer.predict_from(h, link.receive(message.received, layer.product)), message.sent


def _send_errors(
    problem: RelaxationProblem,
    predictions: Sequence[Prediction],
    weighted: Sequence[Tensor],
    links: Sequence[_Link | None],
    needed: bool,
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Messages of the error units, and their feedback to the unclamped states below (None where not needed)."""
    signals, feedback = [], []
    for depth, (layer, prediction, error) in enumerate(zip(problem.layers, predictions, weighted, strict=True)):
        used, link = needed and problem.unclamped[depth] is not False, links[depth]
        signal = layer.signal(prediction, error)
        if link is None:
            feedback.append(layer.feedback(prediction, error) if used else None)
        else:
            signal, received, _ = link.send(signal)
            back = partial(_transposed, layer, prediction.input.shape)
            feedback.append(layer.through_before(prediction, link.receive(received, back)) if used else None)
        signals.append(signal)
    return signals, feedback


def _transposed(layer: PredictiveLayer, shape: torch.Size, signal: Tensor, _: bool) -> Tensor:
    return layer.transpose(signal, shape)


def _distance(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    return torch.stack([(b - a).square().flatten(1).sum(-1) for a, b in zip(before, after, strict=True)]).sum(0).sqrt()
