"""Break-even: the spike rate at which a spiking network and a dense network need the same energy."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neurosparse.checks import one_of, positive, si
from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import CHEAPEST
from neurosparse.energy.estimate import EnergyReport, estimate, ratio
from neurosparse.energy.layer import annotated, counts_of
from neurosparse.energy.memory import footprint
from neurosparse.energy.scaling import OperatingPoint, operating_point, scale_counts
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

__all__ = ["AXES", "BreakEven", "Threshold", "break_even", "thresholds"]

Axis = Literal["rate", "steps", "bits", "memory", "reuse"]
#: For each axis its name in words and the default values along it.
AXES: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "rate": ("spikes per neuron and step", tuple(np.geomspace(0.002, 1, 19).tolist())),
    "steps": ("steps per inference", (1, 2, 4, 5, 6, 8, 10, 16, 32)),
    "bits": ("bits of a weight", (4, 8, 16, 32)),
    "memory": ("bytes of on-chip memory", (2**13, 2**14, 2**15, 2**16, 2**17, 2**18, 2**19, 2**20)),
    "reuse": ("operations per fetch of a weight, where zeros are not skipped", (1, 2, 4, 8, 16, 32, 64)),
}
SCENARIOS: Mapping[str, Mapping[str, Any]] = {
    "arithmetic only": {"dataflow": "compute_only"},
    "no reuse": {"dataflow": "no_reuse"},
    CHEAPEST: {"dataflow": "cheapest"},
    f"{CHEAPEST}, weights in DRAM": {"dataflow": "cheapest", "memory": "dram"},
}


@dataclass(frozen=True)
class BreakEven:
    """Break-even of a spiking network and a dense network along one axis.

    Args:
        axis: ``rate``, ``steps``, ``bits``, ``memory`` or ``reuse``.
        values: along the axis.
        curves: by scenario ``(values, 3)``, low, nominal and high over the prices, which are the same for both
            networks. Along ``rate``: energy of the spiking network over that of the dense network. Along the others:
            spikes per synapse and inference at which both are equal; 0 if the dense network needs less than the spiking
            network without spikes, infinite if it needs more than the spiking network with a spike in every cell.
        point: rate, steps and bits of the spiking network.
        at: its value on the axis.
        ratios: by scenario, energy of the spiking network over that of the dense network, ``(low, nominal, high)``.
        sentences: the assumptions.
    """

    axis: str
    values: np.ndarray
    curves: Mapping[str, np.ndarray]
    point: OperatingPoint
    at: float
    ratios: Mapping[str, tuple[float, float, float]]
    sentences: tuple[str, ...]


def break_even(
    spiking: OperationCounts,
    dense: OperationCounts,
    axis: Axis = "rate",
    values: Sequence[float] | None = None,
    *,
    where: Mapping[str, Mapping[str, Any]] | None = None,
    assume: Assumptions | None = None,
) -> BreakEven:
    """Activity at which a spiking network and a dense network need the same energy, along one axis.

    All spikes of the network are scaled by one factor ``s``, and ``E_spiking(s) = E_dense`` is solved for ``s``, at
    nominal prices and at every corner of the uncertain ones, with the same prices for both. The counts of the dense
    network stay the same; the width of weights and inputs (``bits``), the memory or the reuse change for both.

    Args:
        spiking: counts of a spiking network.
        dense: counts of a dense network, on the same samples.
        axis: what is varied: ``rate``, ``steps``, ``bits``, ``memory`` (bytes of one memory) or ``reuse``.
        values: along the axis.
        where: options of :func:`neurosparse.estimate` by name of the scenario.
        assume: see `Assumptions`.

    Returns:
        a `BreakEven`, which ``plot.break_even`` draws.

    Raises:
        InputError: a network without spikes, an unknown axis, values that are not above 0.

    Example:
        >>> row = dict(layer="fc", kind="linear", weights=100, nonzero_weights=100, weight_bits=8)
        >>> snn = OperationCounts((row | dict(dense_ops=1000, effective_acs=100, input_cells=100, input_events=10,
        ...     input_bits=1, charged_rows=10, output_cells=100),), 1)
        >>> ann = OperationCounts((row | dict(dense_ops=100, effective_macs=100, input_cells=10, input_events=10,
        ...     input_bits=8, charged_rows=1, output_cells=10),), 1)
        >>> found = break_even(snn, ann, "steps", [10], where={"arithmetic": {"dataflow": "compute_only"}})
        >>> float(round(found.curves["arithmetic"][0, 1], 6))  # (0.2 + 0.1) pJ over 0.1 pJ
        3.0

    Source:
        own algebra on the model of ``docs/energy.md``; the question is that of Davidson & Furber 2021, Dampfhoffer 2023
        and Yan 2024.
    """
    one_of("break_even", "axis", axis, AXES)
    points = si("break_even", "values", AXES[axis][1] if values is None else values, "plain numbers")
    if points.ndim != 1 or not len(points) or not (points > 0).all() or (axis == "rate" and points.max() > 1):
        expected = "numbers above 0" + (", rates up to 1" if axis == "rate" else "")
        raise InputError("break_even", got=f"values={values!r}", expected=expected)
    for counts in (spiking, dense):
        counts_of("break_even", counts)
    own, chosen = operating_point(spiking), dict(SCENARIOS if where is None else where)
    if axis == "memory" and where is None:
        chosen = {name: options for name, options in chosen.items() if options["dataflow"] in ("no_reuse", "cheapest")}
        chosen = {name: options for name, options in chosen.items() if "memory" not in options}
    assume = assume or Assumptions()
    here = {
        name: tuple(estimate(counts, **{"assume": assume, **options}) for counts in (spiking, dense))
        for name, options in chosen.items()
    }
    compare = _ratio_at if axis == "rate" else _threshold_at
    return BreakEven(
        axis,
        points,
        {
            name: np.array([compare(spiking, dense, axis, value, options, assume) for value in points.tolist()])
            for name, options in chosen.items()
        },
        own,
        {
            "rate": own.rate,
            "steps": own.steps,
            "bits": own.bits,
            "memory": _bytes(spiking, assume),
            "reuse": assume.reuse,
        }[axis],
        {name: ratio(*pair) for name, pair in here.items()},
        tuple(dict.fromkeys(sentence for pair in here.values() for sentence in pair[0].sentences)),
    )


def _bytes(counts: OperationCounts, assume: Assumptions) -> float:
    """Size in bytes of one memory that holds the whole network."""
    return sum(sum(footprint(row, assume)) for row in annotated(counts, assume))


def _ratio_at(
    spiking: OperationCounts,
    dense: OperationCounts,
    axis: str,
    rate: float,
    options: Mapping[str, Any],
    assume: Assumptions,
) -> tuple[float, float, float]:
    """Energy ratio of the two networks at a spike rate, ``(low, nominal, high)``."""
    busy = scale_counts(spiking, activity=rate / operating_point(spiking).rate)
    options = {"assume": assume, **options}
    return ratio(estimate(busy, **options), estimate(dense, **options))


def _threshold_at(
    spiking: OperationCounts,
    dense: OperationCounts,
    axis: str,
    value: float,
    options: Mapping[str, Any],
    assume: Assumptions,
) -> tuple[float, float, float]:
    """Spikes per synapse and inference at equal energy, ``(low, nominal, high)``, at one value of the axis."""
    options = {"assume": assume, **options}
    if axis == "steps":
        spiking = scale_counts(spiking, steps=value)
    elif axis == "bits":
        spiking, dense = (scale_counts(counts, bits=int(value)) for counts in (spiking, dense))
    elif axis == "memory":
        options["memory"] = int(value)
    else:
        options["assume"] = replace(assume, reuse=value)
    limits = _energies(estimate(dense, **options))

    @cache
    def energies(activity: float) -> tuple[float, ...]:
        return _energies(estimate(scale_counts(spiking, activity=activity), **options))

    most = max(row["input_cells"] / row["input_events"] for row in spiking.rows if row["effective_acs"])
    found = []
    for draw, limit in enumerate(limits):
        activity = _crossing(lambda activity, draw=draw: energies(activity)[draw], limit, most)
        found.append(activity if activity in (0, math.inf) else _spikes(spiking, activity))
    return min(found), found[0], max(found)


def _energies(report: EnergyReport) -> tuple[float, ...]:
    """Nominal energy, then that at every corner of the prices."""
    if report.nominal is None:
        fix = "Choose a hardware that executes both."
        raise InputError("break_even", got=repr(report), expected="two energies", fix=fix)
    return (report.nominal, *report.corners)


def _spikes(counts: OperationCounts, activity: float) -> float:
    """Spikes per synapse and inference of the network with its spikes scaled."""
    return operating_point(scale_counts(counts, activity=activity)).spikes_per_synapse


def _crossing(energy: Callable[[float], float], limit: float, most: float) -> float:
    """Activity at which an energy that does not decrease with it reaches a limit."""
    if energy(0.0) >= limit:
        return 0.0
    if energy(most) < limit:
        return math.inf
    from scipy.optimize import root_scalar

    found = root_scalar(lambda activity: energy(activity) / limit - 1, bracket=(0.0, most), xtol=1e-12)
    return float(found.root)


@dataclass(frozen=True)
class Threshold:
    """A published break-even: activity below which a spiking network was found to be cheaper, and the assumptions.

    ``low`` and ``high`` are spikes per neuron and step (``unit="rate"``) or spikes per synapse and inference, for
    networks of ``steps[0]`` to ``steps[1]`` steps if the source restricts them.
    """

    id: str
    low: float
    high: float
    unit: str
    steps: tuple[float, float] | None
    assumption: str
    source: str
    status: str

    def spikes_per_synapse(self, steps: float) -> tuple[float, float] | None:
        """The threshold for a number of steps per inference, ``rate * steps``; None outside of the assumed steps.

        Example:
            >>> thresholds()[2].spikes_per_synapse(8), thresholds()[1].spikes_per_synapse(8)
            ((0.15, 1.38), None)
        """
        steps = positive("Threshold.spikes_per_synapse", "steps", steps)
        if self.steps and not self.steps[0] <= steps <= self.steps[1]:
            return None
        scale = steps if self.unit == "rate" else 1.0
        return self.low * scale, self.high * scale


@cache
def thresholds() -> tuple[Threshold, ...]:
    """Published break-even points of spiking networks, read from ``thresholds.csv``.

    Example:
        >>> [threshold.id for threshold in thresholds()][2:]
        ['dampfhoffer_2023', 'davidson_furber_2021']
    """
    with Path(__file__).with_name("thresholds.csv").open(newline="", encoding="utf-8") as table:
        return tuple(_threshold(row) for row in csv.DictReader(table))


def _threshold(row: dict[str, str]) -> Threshold:
    steps = (float(row["steps_low"]), float(row["steps_high"])) if row["steps_low"] else None
    words = {name: row[name] for name in ("id", "unit", "assumption", "source", "status")}
    return Threshold(low=float(row["low"]), high=float(row["high"]), steps=steps, **words)
