"""Comparison with chips: measured energies, the energies that operations explain, and the residuals."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.estimate import estimate
from neurosparse.energy.memory import Memory
from neurosparse.meter.operation_counts import OperationCounts

__all__ = ["alexnet", "branch", "hardware_validation", "keyword_spotter", "measured_chips"]

ROUND = 1e-6  # microjoules


@cache
def measured_chips() -> Mapping[str, dict[str, Any]]:
    """Measured or reported quantities by id: ``quantity, value, unit, source, status``.

    Densities of the accelerator's layers are ``recalled``: they were not read in the source again, and no hardware
    profile uses them.

    Example:
        >>> measured_chips()["kws_energy"]["value"]
        271.6
    """
    with Path(__file__).with_name("measured_chips.csv").open(newline="", encoding="utf-8") as table:
        return {row["id"]: {**row, "value": float(row["value"])} for row in csv.DictReader(table)}


def value(name: str) -> float:
    return measured_chips()[name]["value"]


def keyword_spotter(rate: float) -> OperationCounts:
    """Counts of the 390-256-256-29 keyword spotter; a share ``rate`` of all cells fires in each step.

    Example:
        >>> keyword_spotter(1.0).totals["effective_acs"]  # 172 800 synapses, 10 steps
        1728000.0
    """
    return _spiking([(390, 256), (256, 256), (256, 29)], value("kws_steps"), rate)


def branch(rate: float) -> OperationCounts:
    """Counts of one branch of the size sweep: ten layers of 256 neurons and a readout of 256 x 256 synapses."""
    return _spiking([(256, 256)] * 11, value("kws_steps"), rate, layers=10)


def _spiking(shapes: list[tuple[int, int]], steps: float, rate: float, layers: int | None = None) -> OperationCounts:
    rows: list[dict[str, Any]] = []
    for i, (inputs, outputs) in enumerate(shapes):
        synapses = {"layer": f"fc{i}", "kind": "linear", "weight_bits": 8, "input_bits": 1, "weights": inputs * outputs}
        sent, operations = steps * inputs, steps * inputs * outputs
        synapses |= {"input_cells": sent, "input_events": rate * sent}
        rows.append(synapses | {"dense_ops": operations, "effective_acs": rate * operations})
        if layers is None or i < layers:
            cells = steps * outputs
            rows.append({"layer": f"lif{i}", "kind": "neuron", "state_updates": cells, "spikes_out": rate * cells})
    return OperationCounts(tuple(rows), 1)


def alexnet() -> OperationCounts:
    """Counts of the dense layers of AlexNet on EIE: pruned 4-bit weights, 4-bit run lengths, events as inputs."""
    rows = []
    for name, inputs, outputs in (("fc6", 9216, 4096), ("fc7", 4096, 4096), ("fc8", 4096, 1000)):
        kept, active = (value(f"eie_{name}_{what}") for what in ("weights", "inputs"))
        weights = kept * inputs * outputs
        row = {"layer": name, "kind": "linear", "weights": weights, "nonzero_weights": weights, "dense_ops": weights}
        row |= {"effective_macs": active * weights, "input_cells": inputs, "input_events": active * inputs}
        rows.append(row | {"output_cells": outputs, "charged_rows": 1, "weight_bits": 8, "input_bits": 16})
    return OperationCounts(tuple(rows), 1)


def _loihi(counts: OperationCounts) -> tuple[float, float, float]:
    report = estimate(counts, "loihi")
    assert report.low and report.nominal and report.high, "only spikes and neurons"
    return report.low / ROUND, report.nominal / ROUND, report.high / ROUND


def _row(
    experiment: str, what: str, measured: float, explained: tuple[float, float, float], kind: str
) -> dict[str, Any]:
    """One row of the table, in microjoules; the residual is the measured minus the explained energy."""
    low, nominal, high = explained
    residual = {"low": measured - high, "nominal": measured - nominal, "high": measured - low}
    words = {"experiment": experiment, "what": what, "kind": kind}
    return words | {
        "measured": measured,
        "explained": {"low": low, "nominal": nominal, "high": high},
        "residual": residual,
    }


def _rate(energy: float, counts: Callable[[float], OperationCounts]) -> tuple[float, float, float]:
    """Share of neurons firing in each step at which operations alone explain the energy: low, nominal, high."""
    from scipy.optimize import root_scalar

    def found(end: int) -> float:
        return float(root_scalar(lambda rate: _loihi(counts(rate))[end] - energy, bracket=(0.0, 1.0)).root)

    return found(2), found(1), found(0)


def hardware_validation() -> dict[str, Any]:
    """Measured energies of chips, the energies that operations explain, and the residuals, per inference.

    The spike rates on the chips were not logged. Operations are therefore bounded (every neuron fires in every step),
    or the rate is given at which they explain the whole energy. In this sense the estimates are not validated.

    Returns:
        ``rows``: ``experiment, what, measured, explained (low, nominal, high), residual, kind``, in microjoules;
        ``rates``: shares of firing cells at which operations explain an energy; ``sweep``: measured points, fitted line
        and its residuals; ``measured``: inputs with their sources.

    Example:
        >>> rows = hardware_validation()["rows"]
        >>> [(row["experiment"], round(row["residual"]["nominal"], 1)) for row in rows][:2]
        [('Loihi, keyword spotting', 208.5), ('Loihi, keyword spotting', 35.5)]

    Source:
        Blouw 2019 (Loihi), Han 2016 (EIE); prices as in ``docs/energy.md``.
    """
    spotting, host = value("kws_energy"), 1e3 * value("kws_host") / value("kws_rate")
    sizes = np.array([1, 2, 4, 6, 8, 10])
    energies = np.array([value(f"sweep_{size}") for size in sizes])
    slope, floor = (float(number) for number in np.polyfit(sizes, energies, 1))
    frame = 1e3 * value("eie_power") / value("eie_frames")
    assume = Assumptions(sums_in_registers=True)
    banks = {size: Memory(int(size), banks=-(-(2**23) // int(size))) for size in (2**15, value("eie_bank"), 2**20)}
    reports = [estimate(alexnet(), "cmos-45nm", "event_driven", memory=bank, assume=assume) for bank in banks.values()]
    low, middle, high = ((report.nominal or 0) / ROUND for report in reports)
    products = alexnet().totals["effective_macs"]
    kws, size, eie = "Loihi, keyword spotting", "Loihi, one more branch", "EIE, dense layers of AlexNet"
    return {
        "unit": "uJ per inference",
        "rows": [
            _row(
                kws, "operations, if every neuron fired in every step", spotting, _loihi(keyword_spotter(1.0)), "bound"
            ),
            _row(kws, "embedded processors, by the authors' estimate", spotting, (host, host, host), "reported"),
            _row(kws, "operations, if one neuron in ten fired", spotting, _loihi(keyword_spotter(0.1)), "scenario"),
            _row(size, "operations, if every neuron fired in every step", slope, _loihi(branch(1.0)), "bound"),
            _row(size, "operations, if none fired: updates alone", slope, _loihi(branch(0.0)), "bound"),
            _row(eie, "products, weights and inputs; banks of 32 KB to 1 MB", frame, (low, middle, high), "scenario"),
        ],
        "rates": {
            f"{kws}: what the processors leave": _rate(spotting - host, keyword_spotter),
            size: _rate(slope, branch),
        },
        "idle": 1e3 * value("kws_idle") / value("kws_rate"),
        "sweep": {
            "branches": sizes.tolist(),
            "measured": energies.tolist(),
            "slope": slope,
            "floor": floor,
            "residuals": (energies - (floor + slope * sizes)).tolist(),
        },
        "eie": {"products": products, "share_of_peak": 2 * products * value("eie_frames") / value("eie_peak")},
        "measured": [dict(row) for row in measured_chips().values()],
    }
