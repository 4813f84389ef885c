"""Pruning criteria: a score for every weight, the lowest are pruned; each criterion is one function.

To add one: a function ``(model, masks, example, generator) -> scores`` in :data:`CRITERIA`, and its equation in a test.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from neurosparse.baselines.masks import Masks, prunable
from neurosparse.errors import InputError

__all__ = ["CRITERIA", "Scores", "gradient", "magnitude", "random", "snip", "synflow"]

Scores = dict[str, Tensor]
"""A finite number for each prunable weight, by the parameter's name; high scores are kept."""


@torch.no_grad()
def magnitude(model: nn.Module) -> Scores:
    """``|w|``.

    Args:
        model: any module with linear or convolutional layers; not changed.

    Returns:
        scores of the weights' shapes.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[-3.0, 2.0]]))
        >>> magnitude(layer)
        {'weight': tensor([[3., 2.]])}

    Source: Han, Pool, Tran & Dally (2015), "Learning both weights and connections for efficient neural networks".
    """
    return {name: weight.detach().abs() for name, weight in prunable(model).items()}


def random(model: nn.Module, generator: torch.Generator | None = None) -> Scores:
    """Uniform on [0, 1): the null hypothesis of every criterion.

    Args:
        model: any module with linear or convolutional layers; not changed.
        generator: draws, on the CPU.

    Returns:
        scores of the weights' shapes.

    Example:
        >>> random(nn.Linear(3, 2), torch.Generator().manual_seed(0))["weight"].shape
        torch.Size([2, 3])
    """
    weights = prunable(model)
    return {name: torch.rand(w.shape, generator=generator).to(w.device) for name, w in weights.items()}


def gradient(model: nn.Module) -> Scores:
    """``|dL/dw|``, pruned weights included: the first-order effect of growing them.

    Args:
        model: after a backward pass, whose gradients it holds.

    Returns:
        scores of the weights' shapes.

    Raises:
        InputError: a weight without gradient.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> layer(torch.tensor([[1.0, -2.0]])).sum().backward()
        >>> gradient(layer)
        {'weight': tensor([[1., 2.]])}

    Source: Evci, Gale, Menick, Castro & Elsen (2020), "Rigging the lottery: making all tickets winners".
    """
    return {name: _gradient("gradient", name, weight).abs() for name, weight in prunable(model).items()}


@torch.no_grad()
def snip(model: nn.Module) -> Scores:
    """``|w dL/dw|``: how much the loss changes, to first order, when the weight is removed.

    Args:
        model: after a backward pass, whose gradients it holds; in the original at initialisation.

    Returns:
        scores of the weights' shapes.

    Raises:
        InputError: a weight without gradient.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 2.0]]))
        >>> layer(torch.tensor([[1.0, -2.0]])).sum().backward()
        >>> snip(layer)
        {'weight': tensor([[3., 4.]])}

    Source: Lee, Ajanthan & Torr (2019), "SNIP: single-shot network pruning based on connection sensitivity".
    """
    weights = prunable(model)
    return {name: (weight.detach() * _gradient("snip", name, weight)).abs() for name, weight in weights.items()}


def synflow(model: nn.Module, example: Tensor, masks: Masks | None = None) -> Scores:
    """``|w| dR/d|w|`` with ``R`` the sum of the outputs for an input of ones when all weights are ``|w|``, biases 0.

    No data and no labels. In a feed-forward network of ReLUs the scores of each layer sum to the same R; pruned in
    many rounds, with the scores computed anew, no layer is disconnected before all weights of the others are pruned.

    Args:
        model: feed-forward, with activations that pass positive inputs unchanged; not changed.
        example: an input; only its shape counts.
        masks: weights that are pruned already.

    Returns:
        float64 scores of the weights' shapes.

    Raises:
        InputError: an output that does not depend on some weights.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> first, second = (float(part.sum()) for part in synflow(model, torch.zeros(1, 3)).values())
        >>> abs(first / second - 1) < 1e-12
        True

    Source: Tanaka, Kunin, Yamins & Ganguli (2020), "Pruning neural networks without any data by iteratively conserving
    synaptic flow".
    """
    twin = copy.deepcopy(model).double().eval()
    if masks is not None:
        masks.apply_(twin)
    weights = prunable(twin)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.grad = None
            if name in weights:
                parameter.abs_()
            elif name.rpartition(".")[2] == "bias":
                parameter.zero_()
    with torch.enable_grad():
        twin(torch.ones_like(example[:1], dtype=torch.float64)).sum().backward()
    return {name: (weight * _gradient("synflow", name, weight)).detach() for name, weight in weights.items()}


def _gradient(where: str, name: str, weight: nn.Parameter) -> Tensor:
    if weight.grad is None:
        fix = "Call loss.backward() first, with every layer in the graph."
        raise InputError(where, got=f"no gradient at {name}", expected="one for every weight", fix=fix)
    return weight.grad.detach()


Criterion = Callable[[nn.Module, Masks | None, Tensor | None, torch.Generator | None], Scores]

CRITERIA: dict[str, Criterion] = {
    "magnitude": lambda model, masks, example, generator: magnitude(model),
    "random": lambda model, masks, example, generator: random(model, generator),
    "gradient": lambda model, masks, example, generator: gradient(model),
    "snip": lambda model, masks, example, generator: snip(model),
    "synflow": lambda model, masks, example, generator: synflow(model, _needed(example), masks),
}
"""The criteria by name."""


def _needed(example: Tensor | None) -> Tensor:
    if not isinstance(example, Tensor):
        got, fix = type(example).__name__, "Pass example=inputs."
        raise InputError("synflow", got=got, expected="a tensor in the shape of an input", fix=fix)
    return example
