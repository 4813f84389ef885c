"""Scaled operation counts: those of a network with more spikes, more steps or other bit widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from neurosparse.checks import number, positive, whole
from neurosparse.energy.layer import counts_of
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import COUNTS, SYNAPTIC, OperationCounts

__all__ = ["OperatingPoint", "operating_point", "scale_counts"]


@dataclass(frozen=True)
class OperatingPoint:
    """Rate, steps and bit width of a spiking network.

    Args:
        rate: spikes per neuron and step, averaged over the inputs of its layers, weighted by their fan-out.
        steps: time steps per inference.
        bits: largest width of a weight.
    """

    rate: float
    steps: float
    bits: int

    @property
    def spikes_per_synapse(self) -> float:
        """Spikes per synapse and inference: ``rate * steps``."""
        return self.rate * self.steps


def operating_point(counts: OperationCounts) -> OperatingPoint:
    """Rate, steps and bit width of a spiking network, from its counts.

    ``rate = sum_l (events_l / cells_l) dense_ops_l / sum_l dense_ops_l`` over layers whose inputs are spikes.

    Args:
        counts: of a spiking network.

    Raises:
        InputError: no layer has spikes as inputs.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=80, effective_acs=8, input_cells=40, input_events=4)
        >>> operating_point(OperationCounts((row | dict(input_bits=1, charged_rows=10, weight_bits=8),), 1))
        OperatingPoint(rate=0.1, steps=10.0, bits=8)
    """
    counts_of("operating_point", counts)
    rows = [row for row in counts.rows if _receives_spikes(row)]
    dense = sum(row["dense_ops"] for row in rows)
    if not any(row["input_events"] for row in rows):
        fix = "Pass the counts of a spiking network that was recorded on data."
        raise InputError("operating_point", got="no layer with spikes as inputs", expected="at least one", fix=fix)
    rate = sum(row["input_events"] / row["input_cells"] * row["dense_ops"] for row in rows) / dense
    neurons = [row for row in counts.rows if row["kind"] == "neuron" and row["charged_rows"]]
    steps = max(row["charged_rows"] for row in neurons or rows) / counts.samples
    return OperatingPoint(rate, steps, max(row["weight_bits"] for row in rows))


def scale_counts(
    counts: OperationCounts, *, activity: float = 1.0, steps: float | None = None, bits: int | None = None
) -> OperationCounts:
    """The counts of the same network with ``activity`` times as many spikes, ``steps`` steps, or weights of ``bits``.

    Spikes are scaled in each layer, at most until every cell spikes. Steps are scaled in rows that ran in every step:
    layers before the first neuron may run once, and rows without ``charged_rows`` are left unchanged. Graded inputs get
    the width of the weights.

    Args:
        counts: of the network.
        activity: factor on the number of spikes, at least 0.
        steps: per inference; None: as in the counts.
        bits: width of weights and graded inputs; None: as in the counts.

    Raises:
        InputError: a number out of range.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=80, effective_acs=8, input_cells=40, input_events=4)
        >>> counts = OperationCounts((row | dict(input_bits=1, charged_rows=10, weight_bits=8),), 1)
        >>> operating_point(scale_counts(counts, activity=2.0, steps=20, bits=4))
        OperatingPoint(rate=0.2, steps=20.0, bits=4)
    """
    counts_of("scale_counts", counts)
    activity = number("scale_counts", "activity", activity, 0)
    steps = None if steps is None else positive("scale_counts", "steps", steps)
    bits = None if bits is None else whole("scale_counts", "bits", bits)
    ran = max((row["charged_rows"] for row in counts.rows if row["kind"] == "neuron"), default=0)
    ran = ran or max(row["charged_rows"] for row in counts.rows)
    longer = 1.0 if steps is None else steps * counts.samples / ran
    rows = []
    for row in counts.rows:
        changed = dict(row)
        if _receives_spikes(row) and row["input_events"]:
            factor = min(activity, row["input_cells"] / row["input_events"])
            changed |= {name: factor * row[name] for name in ("input_events", "effective_acs")}
        if row["kind"] == "neuron" and row["spikes_out"]:
            changed["spikes_out"] = row["spikes_out"] * min(activity, row["output_cells"] / row["spikes_out"])
        if row["charged_rows"] >= ran and longer != 1:
            changed |= {name: longer * changed[name] for name in COUNTS}
        if bits is not None and row["kind"] in SYNAPTIC:
            changed["weight_bits"] = bits
            changed["input_bits"] = bits if row["input_bits"] > 1 else row["input_bits"]
        rows.append(changed)
    return replace(counts, rows=tuple(rows), detail={})


def _receives_spikes(row: Mapping[str, Any]) -> bool:
    """Whether a row is a synaptic layer whose inputs are spikes."""
    return row["kind"] in SYNAPTIC and row["input_bits"] == 1 and row["input_cells"] > 0
