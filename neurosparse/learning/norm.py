"""Batch normalisation in networks over time; ``ns.fold(nn.BatchNorm1d(n))`` averages over steps and samples."""

from __future__ import annotations

import copy

import torch
from torch import nn

from neurosparse.checks import positive
from neurosparse.events import fold
from neurosparse.events.fold import Fold

__all__ = ["merge_norms", "scale_norms"]

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
WEIGHTED = (nn.Linear, nn.Conv2d)


def scale_norms(network: nn.Module, threshold: float = 1.0, alpha: float = 1.0) -> nn.Module:
    """Threshold-dependent batch norm: the initial spread of currents is ``alpha * threshold``.

    Args:
        network: changed in place, and returned.
        threshold: of the neurons.
        alpha: 1 for one layer after another, ``1 / sqrt(branches)`` where branches add up.

    Example:
        >>> scale_norms(nn.Sequential(nn.BatchNorm1d(3)), threshold=0.5)[0].weight.tolist()
        [0.5, 0.5, 0.5]

    Source: Zheng et al. 2021, "Going deeper with directly-trained larger spiking neural networks".
    """
    scale = positive("scale_norms", "alpha", alpha) * positive("scale_norms", "threshold", threshold)
    for module in network.modules():
        if isinstance(module, NORMS) and module.affine:
            nn.init.constant_(module.weight, scale)
    return network


def merge_norms(network: nn.Sequential) -> nn.Sequential:
    """The same network in inference without its batch norms: each is merged into the weights before it.

    ``W' = g W / s`` and ``b' = g (b - m) / s + h`` with running mean ``m`` and spread ``s``.

    Args:
        network: a ``nn.Sequential``, folds included; norms behind a linear or convolutional layer.

    Returns:
        a copy in eval mode.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        >>> merge_norms(network)
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
        )
    """
    return nn.Sequential(*_merged(list(network))).eval()


def _merged(modules: list[nn.Module]) -> list[nn.Module]:
    kept: list[nn.Module] = []
    for module in modules:
        if isinstance(module, Fold):
            inside = _merged(list(module))
            first = inside[0] if inside else None
            norm_first = isinstance(first, NORMS) and kept and isinstance(kept[-1], WEIGHTED)
            if norm_first:  # nn.Linear, then fold(nn.BatchNorm1d)
                kept[-1], inside = _absorb(kept[-1], first), inside[1:]
            kept += [fold(*inside)] if inside else []
        elif isinstance(module, NORMS) and kept and isinstance(kept[-1], WEIGHTED):
            kept[-1] = _absorb(kept[-1], module)
        else:
            kept.append(copy.deepcopy(module))
    return kept


@torch.no_grad()
def _absorb(layer: nn.Module, norm: nn.Module | None) -> nn.Module:
    assert isinstance(layer, WEIGHTED) and isinstance(norm, NORMS)
    assert norm.running_mean is not None and norm.running_var is not None
    spread = (norm.running_var + norm.eps).sqrt()
    gain = (norm.weight if norm.affine else torch.ones_like(spread)) / spread
    shift = norm.bias if norm.affine else torch.zeros_like(spread)
    bias = torch.zeros_like(spread) if layer.bias is None else layer.bias
    layer = copy.deepcopy(layer)
    layer.weight.mul_(gain.view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias = nn.Parameter(gain * (bias - norm.running_mean) + shift)
    return layer
