"""Norse: the arguments of ``ns.record`` for its networks (spiking modules, axes of steps and samples)."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from neurosparse.errors import InputError

__all__ = ["recording"]

INTEGRATORS = ("LI", "LICell", "LIBoxCell")
CELLS, LAYERS = ("SNNCell", "SNNRecurrentCell"), ("SNN", "SNNRecurrent")


def recording(network: nn.Module, spiking_input: bool = False) -> dict[str, Any]:
    """The arguments of :func:`neurosparse.record` for a Norse network.

    Layers with time (``LIF``, ``LSNNRecurrent``) take ``(steps, samples, *units)`` in one call, cells one step per
    call. States of a unit are those of Norse: membrane and current for ``LIFCell``, the membrane for ``LIFBoxCell``.
    The outputs of integrators that never spike (``LI``) count as values.

    Args:
        network: with at least one of Norse's modules.
        spiking_input: whether the network's own input is spikes.

    Returns:
        ``spiking``, ``calls`` and ``samples``; use: ``ns.record(network, **recording(network))``.

    Raises:
        InputError: no neurons of Norse, or cells and layers in one network.

    Example:
        >>> from norse import torch as norse  # doctest: +SKIP
        >>> recording(nn.Sequential(nn.Linear(3, 2), norse.LIFCell()))  # doctest: +SKIP
        {'spiking': {'1': 2}, 'calls': 'steps', 'samples': 0}

    Source: Pehle & Pedersen 2021, "Norse - A deep learning library for spiking neural networks".
    """
    snn = importlib.import_module("norse.torch.module.snn")
    cells, layers = (tuple(getattr(snn, name) for name in names) for names in (CELLS, LAYERS))
    neurons = {name: module for name, module in network.named_modules() if isinstance(module, cells + layers)}
    if not neurons or len({isinstance(module, cells) for module in neurons.values()}) > 1:
        got = "cells (one step per call) and layers (all steps in one call)" if neurons else "no neurons"
        raise InputError("io.norse.recording", got=got, expected="only cells or only layers")
    spiking = {name: _states(module) for name, module in neurons.items() if type(module).__name__ not in INTEGRATORS}
    over_time = isinstance(next(iter(neurons.values())), layers)
    return {
        "spiking": {**spiking, **({"input": 0} if spiking_input else {})},
        "calls": None if over_time else "steps",
        "samples": int(over_time),
    }


def _states(module: Any) -> int:
    """Number of state variables of a unit; the spikes that a recurrent layer stores are not counted."""
    state = module.state_fallback(torch.zeros(1, 1, getattr(module, "hidden_size", 1)))
    kept = state._asdict() if hasattr(state, "_asdict") else {"": state}
    kept.pop("z", None)
    return len([leaf for leaf in tree_leaves(list(kept.values())) if isinstance(leaf, torch.Tensor)])
