"""A predictive network that makes images, label -> hidden -> image, and what it can be asked once it has learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.experiments.classification.split import Split
from neurosparse.predictive import PredictiveNetwork, States
from neurosparse.predictive.layer import ACTIVATIONS

__all__ = [
    "ErrorModel",
    "GenerativeTask",
    "Inpainting",
    "decide",
    "fit_error_model",
    "imagine",
    "inpaint",
    "learn_images",
]


@dataclass(frozen=True)
class GenerativeTask:
    """Images with labels, and the budget of a network that predicts the one from the other.

    Args:
        name, title: for reports.
        data: returns the :class:`Split`; square images, pixels 0 to 1.
        hidden: widths of the hidden layers.
        classes: number of labels.
        epochs, batch_size: the budget.
        learning_rates: one tuning trial each, chosen by the in-painting error of validation images, first seed.
        weight_decay: of AdamW.
        steps: of inference, of each training batch.
        settle: steps of inference when an image is in-painted.

    Raises:
        InputError: a width or a number below 1, no learning rate.

    Example:
        >>> part = torch.rand(6, 4), torch.zeros(6, dtype=torch.long)
        >>> task = GenerativeTask("toy", "A toy", lambda: Split(part, part, part), (8,), 2, 1, 3, (0.01,))
        >>> task.network(4, seed=0)(torch.eye(2)).shape
        torch.Size([2, 4])
    """

    name: str
    title: str
    data: Callable[[], Split]
    hidden: tuple[int, ...]
    classes: int
    epochs: int
    batch_size: int
    learning_rates: tuple[float, ...]
    weight_decay: float = 0.1
    steps: int = 20
    settle: int = 150

    def __post_init__(self) -> None:
        whole = [(key, getattr(self, key)) for key in ("classes", "epochs", "batch_size", "steps", "settle")]
        for key, value in [*whole, *(("hidden", width) for width in self.hidden)]:
            if type(value) is not int or value < 1:
                got = f"{key}={value!r}"
                raise InputError(f"task {self.name!r}", got=got, expected="a whole number, at least 1")
        if not self.learning_rates:
            raise InputError(f"task {self.name!r}", got="no learning rate", expected="at least one")

    def network(self, pixels: int, seed: int) -> PredictiveNetwork:
        """Label -> hidden -> image, weights drawn from ``seed``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return PredictiveNetwork((self.classes, *self.hidden, pixels), order="act_before", steps=self.steps)


def learn_images(
    task: GenerativeTask, x: Tensor, y: Tensor, rate: float, seed: int,
    watch: Callable[[int, int], None] = lambda step, steps: None,
) -> PredictiveNetwork:  # fmt: skip
    """Clamp labels below and images above, relax what is between, let every layer learn from its own error.

    Args:
        task: the budget.
        x, y: images (samples, pixels) and labels (samples).
        rate: learning rate, to which it rises and from which it falls again.
        seed: of weights and of the order of images.
        watch: told each step, and of how many.

    Returns:
        the network.

    Example:
        >>> x, y = torch.rand(6, 4), torch.arange(6) % 2
        >>> task = GenerativeTask("toy", "A toy", lambda: Split((x, y), (x, y), (x, y)), (8,), 2, 1, 3, (0.01,))
        >>> learn_images(task, x, y, rate=0.01, seed=0)(torch.eye(2)).shape
        torch.Size([2, 4])
    """
    network, generator = task.network(x.shape[1], seed), torch.Generator().manual_seed(seed)
    labels, steps = F.one_hot(y, task.classes).to(x.dtype), task.epochs * math.ceil(len(x) / task.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=task.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(task.epochs):
        batches = torch.randperm(len(x), generator=generator).split(task.batch_size)
        for number, batch in enumerate(batches):
            if number % 10 == 0:  # weights move slowly, and the step is half of what is stable
                dt = network.stable_dt(labels[batch], x[batch])
            network.learn(network.infer(labels[batch], x[batch], dt=dt, check=False, record=False))
            optimizer.step()
            schedule.step()
            watch(schedule.last_epoch, steps)
    return network


def linears(network: PredictiveNetwork) -> list[nn.Linear]:
    """The layers, label first, which are linear all of them."""
    return [layer for layer in network.layers if isinstance(layer, nn.Linear)]


@dataclass(frozen=True)
class ErrorModel:
    """What hidden layers do that a label does not predict, a Gaussian: ``mean`` (units), ``factor`` of covariance."""

    mean: Tensor
    factor: Tensor

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Errors of all hidden layers side by side, (samples, units)."""
        noise = torch.randn(samples, len(self.mean), generator=generator, dtype=self.mean.dtype)
        return self.mean + noise @ self.factor.T


def fit_error_model(network: PredictiveNetwork, x: Tensor, y: Tensor, steps: int) -> ErrorModel:
    """The hidden errors that images leave under their labels, all layers together, as one Gaussian."""
    labels = F.one_hot(y, linears(network)[0].in_features).to(x.dtype)
    errors = torch.cat(network.infer(labels, x, steps=steps, record=False).errors[:-1], 1)
    ridge = 1e-6 * torch.eye(errors.shape[1], dtype=x.dtype)
    return ErrorModel(errors.mean(0), torch.linalg.cholesky(errors.T.cov() + ridge))


@torch.no_grad()
def imagine(network: PredictiveNetwork, labels: Tensor, errors: Tensor | None = None) -> Tensor:
    """Images of labels in one pass: each hidden state is what is predicted of it, and the error it is given.

    Args:
        network: from labels to images, of order "act_before".
        labels: (samples).
        errors: of all hidden layers side by side, (samples, units); None: a label has one image.

    Returns:
        (samples, pixels).

    Example:
        >>> network = PredictiveNetwork((2, 5, 4), order="act_before")
        >>> bool((imagine(network, torch.tensor([0, 1])) == network(torch.eye(2))).all())
        True
    """
    first, *more = linears(network)
    z = first(F.one_hot(labels, first.in_features).to(first.weight.dtype))
    for layer in more:
        if errors is not None:
            now, errors = errors.split([z.shape[1], errors.shape[1] - z.shape[1]], 1)
            z = z + now
        z = layer(ACTIVATIONS[network.activation].function(z))
    return z


@dataclass(frozen=True)
class Inpainting:
    """``image`` (samples, pixels), the pixels that were seen as they are; ``states`` of the inference that made it."""

    image: Tensor
    states: States


@torch.no_grad()
def inpaint(
    network: PredictiveNetwork, images: Tensor, known: Tensor, labels: Tensor | None = None, **plan: Any
) -> Inpainting:
    """Clamp the pixels that are known, relax label and hidden states, read the other pixels off.

    A free pixel rests on its prediction, where its error is silent: so that the states rest where they would without
    it, and much sooner. Inference leaves it out, and predicts it once, at the end.

    Args:
        network: from labels to images, of order "act_before".
        images: (samples, pixels); those that are not known are not looked at.
        known: (pixels), bool.
        labels: (samples), clamped too; None leaves them free.
        plan: passed to `PredictiveNetwork.infer`.

    Example:
        >>> network = PredictiveNetwork((2, 5, 4), order="act_before")
        >>> known = torch.tensor([True, True, False, False])
        >>> painting = inpaint(network, torch.rand(3, 4), known)
        >>> painting.image.shape, painting.states.z[0].shape
        (torch.Size([3, 4]), torch.Size([3, 2]))
    """
    *below, last = linears(network)
    seen = nn.Linear(last.in_features, int(known.sum()), dtype=last.weight.dtype)
    seen.weight.copy_(last.weight[known])
    seen.bias.copy_(last.bias[known])
    half = PredictiveNetwork([*below, seen], network.activation, order=network.order, steps=network.steps)
    given = None if labels is None else F.one_hot(labels, linears(network)[0].in_features).to(images.dtype)
    states = half.infer(given, images[:, known], **plan)
    whole = last(ACTIVATIONS[network.activation].function(states.z[-2]))
    return Inpainting(torch.where(known, images, whole), states)


def decide(network: PredictiveNetwork, images: Tensor, known: Tensor, steps: int) -> Tensor:
    """The label under which the known pixels have the least energy: a relaxation for each label.

    Args:
        network, images, known: as for `inpaint`.
        steps: of inference.

    Returns:
        labels, (samples).

    Example:
        >>> network = PredictiveNetwork((2, 5, 4), order="act_before")
        >>> decide(network, torch.rand(3, 4), torch.tensor([True, True, False, False]), steps=10).shape
        torch.Size([3])
    """
    energies = [
        inpaint(network, images, known, torch.full((len(images),), label), steps=steps, record=False)
        .states.energies[-1]
        for label in range(linears(network)[0].in_features)
    ]  # fmt: skip
    return torch.stack(energies, 1).argmin(1)
