"""Classification, generation and in-painting of images by one predictive-coding network, label -> hidden -> image."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neurosparse as ns

ACTIVATIONS = {"tanh": torch.tanh, "identity": lambda z: z}


def linears(network: ns.PredictiveNetwork) -> list[nn.Linear]:
    """The layers, from the label to the image."""
    return [layer for layer in network.layers if isinstance(layer, nn.Linear)]


@dataclass(frozen=True)
class ErrorModel:
    """Gaussian of the errors of all hidden layers: ``mean`` (units), ``factor`` of the covariance (units, units)."""

    mean: Tensor
    factor: Tensor

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Errors of all hidden layers side by side, (samples, units)."""
        noise = torch.randn(samples, len(self.mean), generator=generator, dtype=self.mean.dtype)
        return self.mean + noise @ self.factor.T


def fit_error_model(network: ns.PredictiveNetwork, x: Tensor, y: Tensor, steps: int) -> ErrorModel:
    """Fit a Gaussian to the hidden errors at rest, images ``x`` and their labels ``y`` clamped."""
    labels = F.one_hot(y, linears(network)[0].in_features).to(x.dtype)
    errors = torch.cat(network.infer(labels, x, steps=steps, record=False).errors[:-1], 1)
    ridge = 1e-6 * torch.eye(errors.shape[1], dtype=x.dtype)
    return ErrorModel(errors.mean(0), torch.linalg.cholesky(errors.T.cov() + ridge))


@torch.no_grad()
def generate(network: ns.PredictiveNetwork, labels: Tensor, errors: Tensor | None = None) -> Tensor:
    """Images of labels in one pass: each hidden state is its prediction plus its error.

    Args:
        network: from labels to images, of order "act_before".
        labels: (samples).
        errors: of all hidden layers side by side, (samples, units); None: zero, so that a label has one image.

    Returns:
        (samples, pixels).
    """
    first, *more = linears(network)
    z = first(F.one_hot(labels, first.in_features).to(first.weight.dtype))
    for layer in more:
        if errors is not None:
            now, errors = errors.split([z.shape[1], errors.shape[1] - z.shape[1]], 1)
            z = z + now
        z = layer(ACTIVATIONS[network.activation](z))
    return z


@dataclass(frozen=True)
class Inpainting:
    """``image`` (samples, pixels), its known pixels unchanged; ``states`` of the inference that made it."""

    image: Tensor
    states: Any


@torch.no_grad()
def inpaint(
    network: ns.PredictiveNetwork, images: Tensor, known: Tensor, labels: Tensor | None = None, **options: Any
) -> Inpainting:
    """Clamp the known pixels, relax label and hidden states, and predict the other pixels from them.

    A free pixel rests on its prediction, where its error is 0. So inference leaves the free pixels out: the states rest
    where they would with them, after fewer steps. The free pixels are predicted once, at the end.

    Args:
        network: from labels to images, of order "act_before".
        images: (samples, pixels); those that are not known are not read.
        known: (pixels), bool.
        labels: (samples), clamped too; None leaves them free.
        options: passed to `ns.PredictiveNetwork.infer`.
    """
    *below, last = linears(network)
    half_last = nn.Linear(last.in_features, int(known.sum()), dtype=last.weight.dtype)
    half_last.weight.copy_(last.weight[known])
    half_last.bias.copy_(last.bias[known])
    half = ns.PredictiveNetwork([*below, half_last], network.activation, order=network.order, steps=network.steps)
    given = None if labels is None else F.one_hot(labels, linears(network)[0].in_features).to(images.dtype)
    states = half.infer(given, images[:, known], **options)
    whole = last(ACTIVATIONS[network.activation](states.z[-2]))
    return Inpainting(torch.where(known, images, whole), states)


def classify(network: ns.PredictiveNetwork, images: Tensor, known: Tensor, steps: int) -> Tensor:
    """Labels (samples) under which the known pixels have the least energy: one relaxation for each label."""
    energies = []
    for label in range(linears(network)[0].in_features):
        labels = torch.full((len(images),), label)
        energies.append(inpaint(network, images, known, labels, steps=steps, record=False).states.energies[-1])
    return torch.stack(energies, 1).argmin(1)
