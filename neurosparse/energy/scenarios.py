"""Energy scenarios of a comparison."""

from __future__ import annotations

from typing import Any

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import CHEAPEST

__all__ = ["comparison_scenarios"]


def comparison_scenarios() -> dict[str, dict[str, Any]]:
    """Scenarios of a comparison, by name: options of :func:`neurosparse.estimate`.

    Two nodes of a digital circuit, each with arithmetic alone, with the cheapest dataflow of every layer, and with
    weights in DRAM; at 45 nm also states of 16 bits that leak by shift and add; and a neuromorphic chip. Each of them
    changes one choice: the memory, the arithmetic of neurons, the node, or the kind of hardware.

    Example:
        >>> [name for name in comparison_scenarios() if "45nm" not in name]
        ['cmos-7nm/compute_only', 'cmos-7nm/cheapest dataflow per layer',
        'cmos-7nm/cheapest dataflow per layer, weights in DRAM', 'loihi/event_driven']
    """
    circuits = {
        node: {
            f"{node}/compute_only": {"hardware": node, "dataflow": "compute_only"},
            f"{node}/{CHEAPEST}": {"hardware": node, "dataflow": "cheapest"},
            f"{node}/{CHEAPEST}, weights in DRAM": {"hardware": node, "dataflow": "cheapest", "memory": "dram"},
        }
        for node in ("cmos-45nm", "cmos-7nm")
    }
    narrow = {
        f"{name}, shift leak, 16-bit states": options | {"assume": Assumptions(leak="shift", state_bits=16)}
        for name, options in circuits["cmos-45nm"].items()
        if "memory" not in options
    }
    chip = {"loihi/event_driven": {"hardware": "loihi", "dataflow": "event_driven"}}
    return circuits["cmos-45nm"] | narrow | circuits["cmos-7nm"] | chip
