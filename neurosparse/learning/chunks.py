"""Backpropagation through time in chunks: with recomputation (exact) or truncated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.neurons import LIF, LIFState

__all__ = ["through_time"]

States = tuple[LIFState | None, ...]


def through_time(
    network: nn.Sequential, x: EventTensor | Tensor, chunk: int, *, truncate: bool = False
) -> Iterable[EventTensor | Tensor]:
    """Run a network chunk by chunk of time, the neurons' states carried along.

    With ``truncate=False`` the gradient is that of the whole sequence. Each chunk is computed again in backward, so
    that activations are kept for one chunk at a time, and memory grows with the states between chunks alone. With
    ``truncate=True`` the states are detached: call ``backward`` on the loss of each chunk in turn, and memory is
    that of one chunk.

    Args:
        network: modules in order; :class:`LIF` layers carry state, other modules must not mix steps.
        x: ``(steps, samples, *units)``.
        chunk: steps of a chunk.
        truncate: cut the gradient between chunks.

    Yields:
        the network's output for each chunk.

    Raises:
        InputError: a chunk below 1, or a network that is no ``nn.Sequential``.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(3, 2), LIF(beta=0.9))
        >>> [out.shape for out in through_time(network, torch.ones(5, 1, 3), chunk=2)]
        [(2, 1, 2), (2, 1, 2), (1, 1, 2)]

    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost"; Williams & Peng 1990 for truncation.
    """
    chunk = whole("through_time", "chunk", chunk)
    if not isinstance(network, nn.Sequential):
        fix = "Pass nn.Sequential(...) of its layers."
        raise InputError("through_time", got=type(network).__name__, expected="a nn.Sequential", fix=fix)
    return _chunks(network, x, chunk, truncate)


def _chunks(network: nn.Sequential, x: EventTensor | Tensor, chunk: int, truncate: bool):
    states: States = (None,) * len(network)
    for start in range(0, x.shape[0], chunk):
        stop = min(start + chunk, x.shape[0])
        part = x.steps(start, stop) if isinstance(x, EventTensor) else x[start:stop]
        if truncate:
            out, states = _run(network, part, states, True)
        else:
            out, states = checkpoint(_run, network, part, states, False, use_reentrant=False)  # type: ignore[misc]
        yield out


def _run(network: nn.Sequential, signal: Any, states: States, detach: bool) -> tuple[Any, States]:
    after: list[LIFState | None] = []
    for module, state in zip(network, states, strict=True):
        if isinstance(module, LIF):
            signal, state = module.run(signal, state, detach=detach)
        else:
            signal = module(signal)
        after.append(state)
    if not detach and isinstance(signal, EventTensor):
        signal = EventTensor.from_dense(
            signal.dense(), dt=signal.dt, lengths=signal.lengths, axis=signal.axis, spikes=signal.binary
        )
    return signal, tuple(after)
