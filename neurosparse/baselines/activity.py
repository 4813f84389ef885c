"""The price of activity: an L1 penalty on what hidden layers say, spiking or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor

__all__ = ["activity_penalty"]


@contextmanager
def activity_penalty(model: nn.Module, *layers: type[nn.Module]) -> Iterator[Callable[[], Tensor]]:
    """Watch the outputs of layers of the given types; the yielded function is their penalty.

    ``mean over layers of mean |y|``: for events the rate per step, so that one weight means the same for every layer.

    Args:
        model: the model to watch; it is left as it was at the end of the block.
        layers: types whose outputs count, for example ``nn.ReLU`` or ``ns.LIF``.

    Returns:
        a context that gives a function ``() -> scalar tensor`` over all calls of the block, with a gradient.

    Raises:
        InputError: a model without such a layer, or asking before the model has run.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> with activity_penalty(model, nn.ReLU) as penalty:
        ...     loss = model(torch.ones(3, 4)).square().mean() + 0.01 * penalty()
        >>> loss.backward()

    Source: Glorot, Bordes & Bengio (2011), "Deep sparse rectifier neural networks".
    """
    watched = [module for module in model.modules() if isinstance(module, layers)]
    if not watched:
        names = ", ".join(layer.__name__ for layer in layers) or "no type"
        fix = "Pass the types of its hidden layers, for example nn.ReLU."
        raise InputError("activity_penalty", got=f"no layer of {names}", expected="at least one", fix=fix)
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: tuple, output: Tensor | EventTensor) -> None:
        outputs.append(_mean_magnitude(output))

    def penalty() -> Tensor:
        if not outputs:
            fix = "Call the model inside the block first."
            raise InputError("activity_penalty", got="no outputs yet", expected="a model that has run", fix=fix)
        return torch.stack(outputs).mean()

    hooks = [module.register_forward_hook(keep) for module in watched]
    try:
        yield penalty
    finally:
        for hook in hooks:
            hook.remove()


def _mean_magnitude(output: Tensor | EventTensor) -> Tensor:
    """Mean |y| over the cells that are data; spikes are counted, not made dense."""
    if isinstance(output, Tensor):
        return output.abs().mean()
    total = output.counts().sum() if output.value is None else output.dense().abs().sum()
    return total / max(output.n_rows * output.n_units, 1)
