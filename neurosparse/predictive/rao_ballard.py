"""The two-level hierarchy of Rao & Ballard (1999): three modules on overlapping image patches, one level above them.

``I = U r + n`` in each module and ``r = U_h r_h + n_td`` above all three, so that level 2 predicts level 1 and level 1
the image: `PredictiveNetwork` from level 2 (state 0) over level 1 (state 1) to the patches (state 2, clamped).

The scale of ``r_h`` is arbitrary: only the product of ``alpha2`` and the decay of ``U_h`` matters, and with a larger
``alpha2`` level 2 converges in fewer steps to the same prediction. With Gaussian priors everything is linear: level 2
learns the principal components of ``r``, so its errors are what these leave unexplained.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from neurosparse import checks
from neurosparse.errors import InputError
from neurosparse.predictive.maps import BlockLinear, split_blocks
from neurosparse.predictive.network import PredictiveNetwork
from neurosparse.predictive.problem import Prior
from neurosparse.predictive.states import States

__all__ = [
    "AREA",
    "PUBLISHED",
    "SIDE",
    "Gaussian",
    "HierarchyFields",
    "Settings",
    "errors",
    "extract_patches",
    "fields",
    "hierarchy",
    "learn",
]

AREA = (16, 26)
"""Pixels of the image that the three modules cover together: height, width."""

SIDE, SHIFT, MODULES = 16, 5, 3
LEVEL1, LEVEL2 = 32, 128  # units of each module, and of the level above
WINDOW = 3.2  # pixels; standard deviation of the Gaussian window on each patch


class Gaussian(NamedTuple):
    """A Gaussian prior of a state: ``value = 0.5 precision sum z^2``.

    A gradient step of length ``k`` followed by ``prox`` equals an ordinary gradient step of length
    ``k / (1 + k precision)``.

    Example:
        >>> prior = Gaussian(0.5)
        >>> prior.value(torch.tensor([[1.0, 2.0]])), prior.prox(torch.tensor([3.0]), 1.0)
        (tensor([1.2500]), tensor([2.]))
    """

    precision: float

    def value(self, a: Tensor) -> Tensor:
        """The cost of each sample."""
        return 0.5 * self.precision * a.square().sum(-1)

    def prox(self, a: Tensor, step: float = 1.0) -> Tensor:
        """``argmin_z 0.5 (z - a)^2 + step * value(z)``."""
        return a / (1 + step * self.precision)


class Settings(NamedTuple):
    """Priors, variances and learning rates of the hierarchy; pairs are of level 1 and level 2.

    Args:
        priors: of ``r`` and ``r_h``; the kurtotic prior of the paper is ``ns.log(alpha / 2)``.
        variances: ``sigma^2`` of the image and ``sigma_td^2`` of level 1.
        rates: initial learning rates of the weights, k2.
        decays: weight decays, lambda.
    """

    priors: tuple[Prior, Prior] = (Gaussian(1.0), Gaussian(0.05))
    variances: tuple[float, float] = (1.0, 10.0)
    rates: tuple[float, float] = (0.1, 1.0)
    decays: tuple[float, float] = (0.02, 0.02)


PUBLISHED = Settings()


class HierarchyFields(NamedTuple):
    """``level1`` (96, 256), the patch predicted by each unit; ``level2`` (128, 416), the area predicted by each."""

    level1: Tensor
    level2: Tensor


def extract_patches(area: Tensor) -> Tensor:
    """Three overlapping patches of an area, each minus its mean, times a Gaussian window.

    Args:
        area: pixels (samples, 16, 26).

    Returns:
        (samples, 3 * 256); the window is 1 at the centre of a patch.

    Raises:
        InputError: another shape, NaN or infinity.

    Example:
        >>> patches = extract_patches(torch.rand(2, 16, 26))
        >>> patches.shape, bool(extract_patches(torch.ones(1, 16, 26)).abs().max() < 1e-6)
        (torch.Size([2, 768]), True)
    """
    area = checks.tensor("rao_ballard.extract_patches", "area", area, "samples, height, width")
    if area.shape[1:] != AREA:
        raise InputError(
            "rao_ballard.extract_patches", got=f"shape {tuple(area.shape)}", expected=f"(samples, {AREA[0]}, {AREA[1]})"
        )
    patches = area.unfold(2, SIDE, SHIFT).transpose(1, 2)
    return ((patches - patches.mean((2, 3), keepdim=True)) * _window().to(area)).flatten(1)


def _window() -> Tensor:
    position = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    gaussian = torch.exp(-0.5 * (position / WINDOW).square())
    return gaussian[:, None] * gaussian


def hierarchy(
    settings: Settings = PUBLISHED, generator: torch.Generator | int = 0, steps: int = 30
) -> PredictiveNetwork:
    """The network with random weights.

    Args:
        settings: priors and variances.
        generator: draws the weights; an int is a seed.
        steps: of inference.

    Example:
        >>> network = hierarchy()
        >>> [tuple(layer.weight.shape) for layer in network.layers]
        [(96, 128), (3, 256, 32)]

    Source: Rao & Ballard (1999), "Predictive coding in the visual cortex: a functional interpretation of some
    extra-classical receptive-field effects".
    """
    seeded = checks.generator("rao_ballard.hierarchy", generator)
    layers = nn.Linear(LEVEL2, MODULES * LEVEL1, bias=False), BlockLinear(MODULES, LEVEL1, SIDE * SIDE)
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(0.3 * torch.randn(layer.weight.shape, generator=seeded))
    first, second = settings.variances
    prior = dict(enumerate(reversed(settings.priors)))
    return PredictiveNetwork(layers, "identity", precision=(1 / second, 1 / first), prior=prior, steps=steps)


def learn(
    network: PredictiveNetwork,
    patches: Tensor,
    settings: Settings = PUBLISHED,
    rate_factor: float = 1.0,
    dt: float | str = "auto",
) -> States:
    """Infer all states, then step the weights: ``dU = k2 (mean (I - U r) r^T / sigma^2 - lambda U)``.

    Args:
        network: of `hierarchy`.
        patches: of `extract_patches`, (samples, 768).
        settings: rates and decays.
        rate_factor: multiplies both learning rates.
        dt: step of inference; "auto" estimates the stable step, which costs nearly as much as the inference.

    Returns:
        the states under the weights before the step.

    Example:
        >>> network = hierarchy()
        >>> states = learn(network, extract_patches(10 * torch.randn(4, 16, 26)))
        >>> bool((network.energy(states) < states.energies[-1]).all())
        True
    """
    states = network.infer(clamp={2: patches}, start="zero", dt=dt, record=False, check=False)
    network.learn(states)
    groups = [
        {"params": layer.parameters(), "lr": rate_factor * rate, "weight_decay": decay}
        for layer, rate, decay in zip(network.layers, settings.rates[::-1], settings.decays[::-1], strict=True)
    ]
    torch.optim.SGD(groups).step()
    return states


def errors(
    network: PredictiveNetwork, patches: Tensor, feedback: bool = True, tol: float = 1e-5, steps: int = 5000
) -> Tensor:
    """Errors of level 1 at equilibrium: ``r - r_td``.

    Args:
        network: of `hierarchy`.
        patches: of `extract_patches`, (samples, 768).
        feedback: with the prediction of level 2; without it ``r_td = 0``.
        tol: stop when the norm of the energy's gradient is at most this fraction of the largest norm of the patches.
        steps: of inference, at most.

    Returns:
        (samples, 3 modules, 32 units).

    Example:
        >>> network = hierarchy(Settings((Gaussian(1.0), Gaussian(5.0))))
        >>> errors(network, extract_patches(torch.randn(4, 16, 26))).shape
        torch.Size([4, 3, 32])
    """
    clamp: dict[int, Tensor] = {2: patches}
    if not feedback:
        clamp[0] = patches.new_zeros(len(patches), LEVEL2)
    slope = tol * float(patches.norm(dim=1).max())
    states = network.infer(clamp=clamp, start="zero", steps=steps, tol=slope, record=False)
    return states.errors[0].unflatten(1, (MODULES, LEVEL1))


def fields(network: PredictiveNetwork) -> HierarchyFields:
    """The image that each unit predicts when it alone is 1.

    Example:
        >>> [tuple(part.shape) for part in fields(hierarchy())]
        [(96, 256), (128, 416)]
    """
    level2, level1 = (parameter.detach() for parameter in network.layers.parameters())
    area = level2.new_zeros(LEVEL2, *AREA)
    for module, patch in enumerate(split_blocks(network(torch.eye(LEVEL2).to(level2)).detach(), MODULES)):
        area[:, :, SHIFT * module : SHIFT * module + SIDE] += patch.unflatten(1, (SIDE, SIDE))
    return HierarchyFields(level1.mT.flatten(0, 1), area.flatten(1))
