"""Energy of one row of the operation counts on a neuromorphic chip: synaptic operations, neuron updates, messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from neurosparse.meter.operation_counts import SYNAPTIC

__all__ = ["NOT_EXECUTABLE", "beyond_synapses", "chip_rows"]

NOT_EXECUTABLE = "not executable on this hardware"


def chip_rows(
    rows: Sequence[Mapping[str, Any]],
    draws: Sequence[Mapping[str, float]],
    targets_per_core: int,
    active: Literal["low", "nominal", "high"] = "nominal",
) -> list[tuple[dict[str, str], list[dict[str, float]]]]:
    """Execution of each row on a chip, and its picojoules by set of prices and part.

    ``E = synops e_synop + updates e_inactive + active (e_active - e_inactive) + spikes e_spike
    + messages e_message``, with ``messages = events ceil(fan-out / targets per core) cores`` at the layer that reads
    the events.

    Args:
        rows: per sample, as `layer.annotated` returns them.
        draws: sets of prices; what has no price costs nothing.
        targets_per_core: neurons that one core holds.
        active: which number of active neuron updates is charged, see `_active_updates`.
    """
    counts = _active_updates(rows, active)
    return [
        (
            {"execution": NOT_EXECUTABLE if beyond_synapses(row) else "skip both", "dataflow": "event_driven"},
            [_energy(row, count, draw, targets_per_core) for draw in draws],
        )
        for row, count in zip(rows, counts, strict=True)
    ]


def _energy(
    row: Mapping[str, Any], active: float, draw: Mapping[str, float], targets_per_core: int
) -> dict[str, float]:
    """Picojoules of one row, by part."""
    events = row["input_events"] if row["kind"] in SYNAPTIC and row["input_bits"] == 1 else 0.0
    cores = math.ceil(max(row["fan_out"], 1) / targets_per_core) * draw.get("message_cores", 1.0)
    return {
        "compute": row["effective_acs"] * draw["synop"],
        "inputs": events * cores * draw.get("message", 0.0),
        "state": row["state_updates"] * draw["neuron_inactive"]
        + active * (draw["neuron_active"] - draw["neuron_inactive"]),
        "outputs": row["spikes_out"] * draw.get("spike_out", 0.0),
    }


def _active_updates(rows: Sequence[Mapping[str, Any]], end: str) -> list[float]:
    """Number of neuron updates of each row that are active: the neuron has an input, a bias or a remaining potential.

    The counts do not contain it. Low: every neuron that spikes; high: every neuron. Nominal: one for every synaptic
    operation and bias addition of the layers since the neurons before, and at most every neuron.
    """
    found, received = [], None
    for row in rows:
        if row["kind"] in SYNAPTIC:
            received = (received or 0.0) + row["effective_acs"] + row["bias_adds"]
        updates = row["state_updates"]
        spiking = min(updates, row["spikes_out"])
        nominal = updates if received is None else min(updates, max(received, spiking))
        found.append({"low": spiking, "nominal": nominal, "high": updates}[end])
        received = None if row["kind"] == "neuron" else received
    return found


def beyond_synapses(row: Mapping[str, Any]) -> list[str]:
    """Operations of a row other than accumulates of spikes and neuron updates."""
    graded = row["kind"] in SYNAPTIC and row["input_bits"] > 1 and not row["effective_acs"]
    macs = row["effective_macs"] or (row["dense_ops"] if graded else 0)
    others = 0 if row["kind"] == "neuron" else row["comparisons"] + row["elementwise"]
    counts = {"multiply-accumulates": macs, "comparisons and element-wise operations": others}
    return [f"{row['layer']}: {count:.10g} {name} per sample" for name, count in counts.items() if count]
