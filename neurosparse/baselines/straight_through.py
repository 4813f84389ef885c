"""Quantisation-aware training: forward pass on the grid, straight-through gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from neurosparse.baselines.grid import check_bits, input_bits, input_grid, on_grid, quantisable, weight_levels
from neurosparse.events import EventTensor, data_rows, dense_of

__all__ = ["straight_through"]


@contextmanager
def straight_through(model: nn.Module, bits: int) -> Iterator[None]:
    """Compute with the weights and graded inputs that :func:`quantise` would give; gradients pass straight through.

    ``w' = s round(w / s)`` and ``dL/dw := dL/dw'``, and the same for inputs, whose range is that of the batch. Run
    forward and backward inside it and the optimizer outside, where the weights are in full precision again. Pruned
    weights stay zero. Afterwards :func:`quantise` with as many bits gives the network that was trained.

    Args:
        model: its linear and convolutional weights change inside and are the same as before afterwards, bit by bit.
        bits: 2 (ternary weights) to 8.

    Raises:
        InputError: bits out of range, or weights of another kind.

    Example:
        >>> layer, x = nn.Linear(4, 2), torch.rand(3, 4)
        >>> with straight_through(layer, 2):
        ...     layer(x).sum().backward()
        ...     levels = layer.weight.detach().unique().numel()
        >>> levels <= 5, layer.weight.grad is not None, layer.weight.unique().numel()
        (True, True, 8)

    Source: Bengio, Léonard & Courville (2013), "Estimating or propagating gradients through stochastic neurons"; in
    this form Courbariaux, Bengio & David (2015), "BinaryConnect"; ternary: Li & Liu (2016), "Ternary weight networks".
    """
    check_bits("straight_through", bits)
    layers = quantisable(model)
    weights = {id(layer.weight): layer.weight for layer in layers.values()}
    latent = [weight.detach().clone() for weight in weights.values()]  # type: ignore[operator]
    hooks = [layer.register_forward_pre_hook(_rounding(bits)) for layer in layers.values()]
    try:
        with torch.no_grad():
            for weight in weights.values():
                levels, scale = weight_levels(weight, bits)  # type: ignore[arg-type]
                weight.copy_(levels * scale)  # type: ignore[operator]
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights.values(), latent, strict=True):
                weight.copy_(value)  # type: ignore[operator]
        for hook in hooks:
            hook.remove()


def _rounding(bits: int):
    """A hook that puts a graded input of a layer on its grid; spikes and few levels pass unchanged."""

    def round_input(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        x = inputs[0]
        own = input_bits(x)
        if own is not None and own <= bits:
            return None
        dense = dense_of(x)
        low, high = (float(bound) for bound in data_rows(x).detach().aminmax())
        rounded = on_grid(x, *input_grid(low, high, bits)).detach()
        # Adding an exact zero keeps the levels exact while the gradient passes.
        passed = rounded + (dense - dense.detach())
        if isinstance(x, EventTensor):
            passed = EventTensor.from_dense(passed, x.dt, t0=x.t0, lengths=x.lengths, axis=x.axis)
        return (passed, *inputs[1:])

    return round_input
