"""Energy scenarios of a comparison."""

from __future__ import annotations

from typing import Any

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import CHEAPEST

__all__ = ["comparison_scenarios"]


def comparison_scenarios() -> dict[str, dict[str, Any]]:
    """Scenarios of a comparison, by name: options of :func:`neurosparse.estimate`.

    A digital circuit in 45 nm with arithmetic alone, with the cheapest dataflow of every layer, without reuse, and with
    weights in DRAM; the same circuit in 7 nm; partial sums and states in registers instead of memory; leaks and states
    as they ran, but in one scenario, where every leak is a multiplication and every state has 32 bits. In the last two
    each network has its own silicon: spikes and neurons run on a neuromorphic chip, everything else on the digital
    circuit. Their nodes differ, so that they compare technologies together with networks.

    Example:
        >>> list(comparison_scenarios())[-2:]
        ['own silicon (loihi, cmos-45nm)', 'own silicon (spinnaker2, cmos-45nm)']
    """
    node, cheapest = {"hardware": "cmos-45nm"}, {"hardware": "cmos-45nm", "dataflow": "cheapest"}
    registers = {"assume": Assumptions(sums_in_registers=True)}
    dear = {"assume": Assumptions(leak="multiply", state_bits=32)}
    return {
        "cmos-45nm/compute_only": node | {"dataflow": "compute_only"},
        f"cmos-45nm/{CHEAPEST}": cheapest,
        "cmos-45nm/no_reuse": node | {"dataflow": "no_reuse"},
        f"cmos-45nm/{CHEAPEST}, weights in DRAM": cheapest | {"memory": "dram"},
        f"cmos-7nm/{CHEAPEST}": cheapest | {"hardware": "cmos-7nm"},
        f"cmos-45nm/{CHEAPEST}, sums in registers": cheapest | registers,
        f"cmos-45nm/{CHEAPEST}, leak by multiplication, 32-bit states": cheapest | dear,
        **{
            f"own silicon ({chip}, cmos-45nm)": cheapest | {"hardware": chip, "otherwise": "cmos-45nm"}
            for chip in ("loihi", "spinnaker2")
        },
    }
