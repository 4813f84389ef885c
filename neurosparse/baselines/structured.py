"""Structured pruning by torch-pruning: units and channels are removed with all weights that depend on them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neurosparse.baselines.masks import prunable
from neurosparse.checks import number
from neurosparse.errors import InputError

__all__ = ["narrow"]


def narrow(model: nn.Module, example: Tensor, share: float, *, outputs: Sequence[str] | None = None) -> nn.Module:
    """A smaller dense copy: the units and channels of smallest norm are removed, with all that depends on them.

    The norm of a unit is taken over all weights that touch it, in its own layer and in those behind it, relative to the
    mean of its layer; all layers are ranked together. The copy is plain and dense.

    Args:
        model: the trained model; not changed.
        example: an input, for tracing how layers are connected.
        share: fraction of units and channels to remove, 0 <= share < 1.
        outputs: names of layers whose units are kept; default: the last linear or convolutional layer.

    Returns:
        the copy, in evaluation mode.

    Raises:
        InputError: a share out of range, unknown outputs, torch-pruning missing.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 3))
        >>> narrow(model, torch.rand(1, 8), 0.5)[0]
        Linear(in_features=8, out_features=10, bias=True)

    Source: Fang et al. (2023), "DepGraph: towards any structural pruning", the library's own; norms: Li et al. (2017).
    """
    share = number("narrow", "share", share, 0, below=1, fix="Pass 0.5 for half.")
    try:
        import torch_pruning
    except ImportError as error:
        fix = 'pip install "neurosparse[structured]"'
        raise InputError("narrow", got="no torch-pruning", expected="it installed", fix=fix) from error
    small = copy.deepcopy(model).eval()
    layers = {name.removesuffix("weight").removesuffix("."): name for name in prunable(small)}
    names = list(layers)[-1:] if outputs is None else list(outputs)
    if unknown := [name for name in names if name not in layers]:
        expected = f"some of {', '.join(layers)}"
        raise InputError("narrow", got=f"outputs {', '.join(unknown)}", expected=expected, fix="Name layers.")
    with torch.enable_grad():  # torch-pruning traces the graph of gradients
        pruner = torch_pruning.pruner.MagnitudePruner(
            small,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2, normalizer="mean"),
            pruning_ratio=share,
            global_pruning=True,
            ignored_layers=[small.get_submodule(name) for name in names],
        )
        pruner.step()
    return small.eval()
