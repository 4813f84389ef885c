"""Backpropagation through time in chunks: with recomputation (exact) or truncated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from neurosparse.checks import whole
from neurosparse.events import EventTensor
from neurosparse.events.state import Carry

__all__ = ["through_time"]


def through_time(
    network: nn.Module, x: EventTensor | Tensor, chunk: int, *, truncate: bool = False
) -> Iterable[EventTensor | Tensor]:
    """Run a network chunk by chunk of time, the states of its layers carried along.

    With ``truncate=False`` the gradient is that of the whole sequence. Each chunk is computed again in backward, so
    that activations are kept for one chunk at a time, and memory grows with the states between chunks alone. With
    ``truncate=True`` the states are detached: call ``backward`` on the loss of each chunk in turn, and memory is
    that of one chunk.

    Args:
        network: a module; :func:`neurosparse.run` says what carries state.
        x: ``(steps, samples, *units)``.
        chunk: steps of a chunk.
        truncate: cut the gradient between chunks.

    Yields:
        the network's output for each chunk.

    Raises:
        InputError: a chunk below 1, or a module whose state cannot be carried.

    Example:
        >>> import torch
        >>> from neurosparse.neurons import LIF
        >>> network = nn.Sequential(nn.Linear(3, 2), LIF(beta=0.9))
        >>> [out.shape for out in through_time(network, torch.ones(5, 1, 3), chunk=2)]
        [(2, 1, 2), (2, 1, 2), (1, 1, 2)]

    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost"; Williams & Peng 1990 for truncation.
    """
    chunk = whole("through_time", "chunk", chunk)
    return _chunks(Carry("through_time", network), x, chunk, truncate)


def _chunks(carry: Carry, x: EventTensor | Tensor, chunk: int, truncate: bool):
    state = None
    for start in range(0, max(x.shape[0], 1), chunk):  # an empty sequence is one empty chunk
        stop = min(start + chunk, x.shape[0])
        part = x.steps(start, stop) if isinstance(x, EventTensor) else x[start:stop]
        if truncate:
            out, state = carry(part, state, True)
        else:
            out, state = checkpoint(_with_graph, carry, part, state, use_reentrant=False)  # type: ignore[misc]
        yield out


def _with_graph(carry: Carry, part: EventTensor | Tensor, state: Any) -> tuple[Any, Any]:
    """One chunk, its events as a dense twin: what is computed again must not depend on what is found later."""
    out, state = carry(part, state, False)
    return tree_map(_as_twin, out), state


def _as_twin(out: Any) -> Any:
    if not isinstance(out, EventTensor):
        return out
    known = {"dt": out.dt, "t0": out.t0, "lengths": out.lengths, "axis": out.axis}
    return EventTensor.from_dense(out.dense(), **known, spikes=out.binary)
