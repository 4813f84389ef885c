"""Energy scenarios of a comparison, and those whose estimates agree by construction, which count as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import CHEAPEST
from neurosparse.energy.estimate import PARTS, EnergyReport
from neurosparse.errors import InputError

__all__ = ["comparison_scenarios", "same_estimates"]

#: Relative difference below which two energies are equal (rounding of sums).
EQUAL = 1e-12


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


def same_estimates(reports: Mapping[str, Mapping[str, EnergyReport]]) -> list[tuple[str, ...]]:
    """Groups of scenarios whose estimates are the same for every model; each group counts as one scenario.

    Two estimates are the same if all their rows have the same parts, nominal and at both ends of the range, up to
    rounding (1e-12). For example, ``cheapest`` is the same as ``output_stationary`` if that is the cheapest dataflow of
    every layer of every model. The number of groups is the number of independent scenarios.

    Args:
        reports: by model, then by scenario: what :func:`neurosparse.estimate` returned.

    Returns:
        groups of names, in the order of the scenarios; the first name of a group stands for it.

    Raises:
        InputError: no model, no mapping of reports, or models with different scenarios.

    Example:
        >>> one = EnergyReport(1e-9, 1e-9, 1e-9, (), "cmos-45nm", "cheapest", corners=(1e-9,))
        >>> two = EnergyReport(2e-9, 2e-9, 2e-9, (), "cmos-45nm", "no_reuse", corners=(2e-9,))
        >>> same_estimates({"net": {"cheapest": one, "no reuse": two, "output_stationary": one}})
        [('cheapest', 'output_stationary'), ('no reuse',)]
    """
    names = _names(reports)
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if all(_equal(of_model[group[0]], of_model[name]) for of_model in reports.values()):
                group.append(name)
                break
        else:
            groups.append([name])
    return [tuple(group) for group in groups]


def _names(reports: Mapping[str, Mapping[str, EnergyReport]]) -> list[str]:
    """Names of the scenarios, which are the same for every model."""
    fix = "Pass {model: {scenario: ns.estimate(counts, ...)}}."
    expected = "a mapping from models to mappings from scenarios to energy reports"
    each = list(reports.values()) if isinstance(reports, Mapping) else []
    alike = all(isinstance(of_model, Mapping) and of_model.keys() == each[0].keys() for of_model in each)
    if not each or not alike or not all(isinstance(one, EnergyReport) for model in each for one in model.values()):
        got = f"reports of type {type(reports).__name__}" if not each else "other scenarios or values in some models"
        raise InputError("same_estimates", got=got, expected=expected, fix=fix)
    return list(each[0])


def _equal(one: EnergyReport, other: EnergyReport) -> bool:
    """Whether two reports have the same rows with the same energies."""
    if one is other:
        return True
    if len(one.rows) != len(other.rows):
        return False
    if not _close((one.low, one.nominal, one.high), (other.low, other.nominal, other.high)):
        return False
    columns = ("low", "nominal", "high", *PARTS)
    return all(
        (a["layer"], a["kind"]) == (b["layer"], b["kind"])
        and _close([a[name] for name in columns], [b[name] for name in columns])
        for a, b in zip(one.rows, other.rows, strict=True)
    )


def _close(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    """Whether energies are equal up to rounding; None (not executable) equals only None."""
    return all(
        a is b or (a is not None and b is not None and math.isclose(a, b, rel_tol=EQUAL))
        for a, b in zip(one, other, strict=True)
    )
