"""SpikingJelly: the arguments of ``ns.record`` for its networks (spiking modules, axes of steps and samples)."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from neurosparse.errors import InputError

__all__ = ["recording"]

#: Nodes whose outputs have several sizes; they count as values, not as spikes. Ternary nodes send signed spikes.
GRADED = ("ILIFNode", "LIAFNode")
#: Parallel spiking neurons: a product over time and a threshold, without a memory that is decayed.
PARALLEL = ("PSN", "MaskedPSN", "SlidingPSN")
NEURONS = ("BaseNode", "SimpleBaseNode", "GatedLIFNode", *PARALLEL)


def recording(network: nn.Module, spiking_input: bool = False) -> dict[str, Any]:
    """The arguments of :func:`neurosparse.record` for a SpikingJelly network.

    In step mode ``"m"`` a network takes ``(steps, samples, *units)`` in one call, in mode ``"s"`` one step per call.
    The states of a unit are the memories of its node.

    Args:
        network: with at least one of SpikingJelly's nodes. Call ``functional.reset_net(network)`` before recording.
        spiking_input: whether the network's own input is spikes.

    Returns:
        ``spiking``, ``calls`` and ``samples``; use: ``ns.record(network, **recording(network))``.

    Raises:
        InputError: no node, or nodes in both step modes.

    Example:
        >>> from spikingjelly.activation_based import neuron  # doctest: +SKIP
        >>> recording(nn.Sequential(nn.Linear(3, 2), neuron.LIFNode(step_mode="m")))  # doctest: +SKIP
        {'spiking': {'1': 1}, 'calls': None, 'samples': 1}

    Source: Fang et al. 2023, "SpikingJelly: an open-source machine learning infrastructure platform for spike-based
        intelligence".
    """
    library = importlib.import_module("spikingjelly.activation_based.neuron")
    kinds = tuple(getattr(library, name) for name in NEURONS if hasattr(library, name))
    nodes: dict[str, Any] = {name: module for name, module in network.named_modules() if isinstance(module, kinds)}
    modes = {getattr(module, "step_mode", "m") for module in nodes.values()}  # PSN takes sequences only
    if len(modes) != 1:
        got = f"nodes in step modes {sorted(modes)}" if modes else "no node"
        fix = "Call spikingjelly.activation_based.functional.set_step_mode(network, 'm')."
        raise InputError("io.spikingjelly.recording", got=got, expected="nodes in one step mode", fix=fix)
    spiking = {name: _states(node) for name, node in nodes.items() if type(node).__name__ not in GRADED}
    over_time = modes == {"m"}
    return {
        "spiking": {**spiking, **({"input": 0} if spiking_input else {})},
        "calls": None if over_time else "steps",
        "samples": int(over_time),
    }


def _states(node: Any) -> int:
    """Number of memories from step to step, without stored histories; of a parallel neuron its one threshold."""
    if type(node).__name__ in PARALLEL:
        return 1
    return len([name for name in node._memories if not name.endswith("_seq")])
