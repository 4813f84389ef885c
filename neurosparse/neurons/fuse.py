"""A sequence of modules in which each linear layer and its neurons run as one kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.events import EventTensor
from neurosparse.events.state import run
from neurosparse.kernels.scan.reference import LIFState
from neurosparse.neurons.lif import LIF
from neurosparse.neurons.scan import fits_linear, hooked, run_linear

__all__ = ["Fused", "fuse"]


class Fused(nn.Sequential):
    """A ``nn.Sequential`` with fused kernels; see :func:`fuse`."""

    def forward(self, input: Tensor | EventTensor) -> Tensor | EventTensor:
        return self._through(input, None, True)[0]

    def run(
        self, input: Tensor | EventTensor, state: dict | None = None, *, detach: bool = True
    ) -> tuple[Tensor | EventTensor, dict]:
        """The same with a state for each module that carries one: a dict from its name, ``{"1": LIFState(...)}``."""
        return self._through(input, {} if state is None else state, detach)

    def _through(self, signal: Any, states: dict | None, detach: bool) -> tuple[Any, dict]:
        layers, after, at = list(self.named_children()), {}, 0
        while at < len(layers):
            (name, layer), (behind, neurons) = layers[at], layers[at + 1] if at + 1 < len(layers) else ("", None)
            state = (states or {}).get(behind)
            if type(layer) is nn.Linear and type(neurons) is LIF and detach and _fits(layer, neurons, signal, state):
                signal, after[behind] = run_linear(neurons, layer, signal, state)
                at += 2
                continue
            if states is None:
                signal = layer(signal)
            else:
                signal, after[name] = run(layer, signal, states.get(name), detach=detach)
            at += 1
        return signal, {name: state for name, state in after.items() if state is not None}


def _fits(linear: nn.Linear, neurons: LIF, signal: Tensor | EventTensor, state: LIFState | None) -> bool:
    """Whether the events suit the kernel, and neither a hook nor a meter reads the current between the two."""
    if not isinstance(signal, EventTensor) or torch._C._is_torch_function_mode_enabled():
        return False
    return not (hooked(linear) or hooked(neurons)) and fits_linear(neurons, linear, signal, state)


def fuse(*modules: nn.Module) -> Fused:
    """A ``nn.Sequential`` whose pairs of ``nn.Linear`` and :class:`LIF` run as one kernel on events.

    The spikes are those of ``nn.Sequential(*modules)``, bit by bit, and so are the names of its parameters; the
    current between the two is never written. Where a hook or a meter reads that current, and under
    ``torch.autocast``, they run one by one.

    Args:
        modules: torch modules in order.

    Returns:
        A module from ``(steps, samples, *units)`` events or tensor to the output of the last module.

    Example:
        >>> import neurosparse as ns
        >>> network = fuse(nn.Linear(8, 4), LIF(beta=0.9), nn.Linear(4, 2), LIF(beta=0.9))
        >>> network(ns.poisson(torch.full((3, 8), 0.2), steps=5)).shape
        (5, 3, 2)
    """
    return Fused(*modules)
