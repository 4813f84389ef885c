"""SpikingJelly networks under the meter: which of their modules spike, and where steps and samples are."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from neurosparse.errors import InputError

__all__ = ["recording"]

#: Nodes whose outputs are not 0 and 1: they are counted as the arithmetic that they are.
GRADED = ("ILIFNode", "LIAFNode", "TernaryIFNode", "TernaryLIFNode")
NEURONS = ("BaseNode", "SimpleBaseNode", "GatedLIFNode")


def recording(network: nn.Module, spiking_input: bool = False) -> dict[str, Any]:
    """What :func:`neurosparse.record` has to know of a SpikingJelly network.

    In step mode ``"m"`` a network takes ``(steps, samples, *units)`` in one call, in mode ``"s"`` one step per call.
    A unit has as many states as its node remembers.

    Args:
        network: with at least one of SpikingJelly's nodes; ``functional.reset_net(network)`` before recording is yours
            to call.
        spiking_input: whether the network's own input is spikes.

    Returns:
        ``spiking``, ``calls`` and ``samples``, to be passed on: ``ns.record(network, **recording(network))``.

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
    modes = {module.step_mode for module in nodes.values()}
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
    """What it remembers from step to step; a stored history is for the reader."""
    return len([name for name in node._memories if not name.endswith("_seq")])
