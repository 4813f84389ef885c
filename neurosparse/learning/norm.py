"""Batch normalisation in networks over time; ``ns.fold(nn.BatchNorm1d(n))`` averages over steps and samples."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import parametrize

from neurosparse.checks import positive
from neurosparse.errors import InputError
from neurosparse.events.fold import Fold
from neurosparse.neurons import Fused

__all__ = ["merge_norms", "scale_norms"]

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
# Axes of images behind the channels of each layer, by which its norm is known.
WEIGHTED: dict[type[nn.Module], int] = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
TRANSPOSED: dict[type[nn.Module], int] = {nn.ConvTranspose1d: 1, nn.ConvTranspose2d: 2, nn.ConvTranspose3d: 3}
# Norms by the statistics of the input in evaluation, too, and any that derive from batch norm.
OTHERS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
IDENTITIES = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


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

    ``W' = g W / s`` and ``b' = g (b - m) / s + h`` with running mean ``m`` and spread ``s``. Between a layer and its
    norm may be dropout and the borders of folds and nested ``nn.Sequential``.

    Args:
        network: a ``nn.Sequential``; norms behind a linear, convolutional or transposed convolutional layer.

    Returns:
        a copy in eval mode.

    Raises:
        InputError: a norm that cannot be merged, by its name: one behind another layer or in a module with a forward of
            its own, one that normalises by the statistics of its input.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        >>> merge_norms(network)
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
        )

    """
    if not _in_order(network):
        got, fix = f"a {type(network).__name__}", "Pass nn.Sequential(...) of its layers."
        raise InputError("merge_norms", got=got, expected="a nn.Sequential", fix=fix)
    places, pairs = list(_places(network)), []
    uses = Counter(id(place.module) for place in places)
    before: _Place | None = None
    for place in places:
        if type(place.module) in NORMS:
            pairs.append((_layer_before(before, place, uses), place))
            continue
        for name, inner in place.module.named_modules():
            if isinstance(inner, OTHERS):
                fix = "Write the module as nn.Sequential, or leave this norm out of it." if name else ""
                raise _refusal(f"{place.name}.{name}".rstrip("."), inner, "a batch norm in a nn.Sequential", fix)
        before = before if isinstance(place.module, IDENTITIES) else place
    merged = copy.deepcopy(network).eval()
    for layer, norm in pairs:
        _absorb(merged.get_submodule(layer.name), norm.module)
        parent, _, key = norm.name.rpartition(".")
        del merged.get_submodule(parent)._modules[key]
    _tidy(merged)
    return merged


class _Place(NamedTuple):
    """A module of a network, its full name, and whether it is in a fold."""

    name: str
    module: Any
    folded: bool


def _in_order(module: nn.Module) -> bool:
    """Whether the modules in this one run in their order, each on the output of the one before."""
    return isinstance(module, nn.Sequential) and type(module).forward in (
        nn.Sequential.forward,
        Fold.forward,
        Fused.forward,
    )


def _places(container: nn.Module, prefix: str = "", folded: bool = False) -> Iterator[_Place]:
    folded = folded or isinstance(container, Fold)
    for key, module in container._modules.items():
        assert module is not None
        if _in_order(module):
            yield from _places(module, f"{prefix}{key}.", folded)
        else:
            yield _Place(f"{prefix}{key}", module, folded)


def _refusal(name: str, norm: nn.Module, expected: str, fix: str = "") -> InputError:
    return InputError("merge_norms", got=f"{type(norm).__name__} {name!r}", expected=expected, fix=fix)


def _layer_before(before: _Place | None, place: _Place, uses: Counter[int]) -> _Place:
    """The layer of weights that a norm is merged into; a norm that cannot be is refused."""
    norm, kinds = place.module, {**WEIGHTED, **TRANSPOSED}
    if norm.running_mean is None:
        fix = "Train it with track_running_stats=True."
        raise _refusal(place.name, norm, "running statistics", fix)
    kind = None if before is None else parametrize.type_before_parametrizations(before.module)
    if before is None or kind not in kinds:
        found = "the input" if before is None or kind is None else f"{kind.__name__} {before.name!r}"
        raise _refusal(place.name, norm, f"a linear or convolutional layer before it, not {found}")
    layer, axes = before.module, kinds[kind]
    for each in (place, before):
        if uses[id(each.module)] > 1:
            raise _refusal(place.name, norm, f"modules that run once, while {each.name!r} runs several times")
    own = (nn.SyncBatchNorm, (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes])
    channels = layer.out_channels if axes else layer.out_features
    same_rows = before.folded == place.folded or (place.folded and not axes)
    if not isinstance(norm, own) or norm.num_features != channels or not same_rows:
        raise _refusal(place.name, norm, f"a norm over the {channels} outputs of {before.name!r}")
    if parametrize.is_parametrized(layer) or "weight" not in layer._parameters:
        fix = "Call torch.nn.utils.parametrize.remove_parametrizations first."
        raise _refusal(place.name, norm, f"weights of {before.name!r} that are not computed from others", fix)
    return before


@torch.no_grad()
def _absorb(layer: Any, norm: Any) -> None:
    spread = (norm.running_var.double() + norm.eps).sqrt()
    gain = (1 if norm.weight is None else norm.weight.double()) / spread
    shift = 0 if norm.bias is None else norm.bias.double()
    weight, bias = layer.weight.double(), 0 if layer.bias is None else layer.bias.double()
    if type(layer) in TRANSPOSED:  # (in, out / groups, *kernel), the inputs group by group
        groups = weight.unflatten(0, (layer.groups, -1))
        scaled = groups * gain.view(layer.groups, 1, -1, *[1] * (weight.dim() - 2))
        scaled = scaled.flatten(0, 1)
    else:
        scaled = weight * gain.view(-1, *[1] * (weight.dim() - 1))
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(scaled.to(dtype), requires_grad=layer.weight.requires_grad)
    layer.bias = nn.Parameter((gain * (bias - norm.running_mean.double()) + shift).to(dtype))


def _tidy(container: nn.Module) -> None:
    """Drop containers that became empty, and number the modules again where their names are numbers."""
    for key, module in list(container._modules.items()):
        if module is not None and _in_order(module):
            _tidy(module)
            if not module._modules:
                del container._modules[key]
    if all(key.isdecimal() for key in container._modules):
        modules = list(container._modules.values())
        container._modules.clear()
        container._modules.update({str(at): module for at, module in enumerate(modules)})
