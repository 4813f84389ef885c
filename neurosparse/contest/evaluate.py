"""What one trained network scores: accuracy by sample, exact operations, four sparsities, energies, measured time."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.events import EventTensor
from neurosparse.measure import DATAFLOWS, EnergyReport, Ledger, count, estimate, record

__all__ = ["SCENARIOS", "energies", "evaluate", "sparsities"]

SCENARIOS = {
    **{f"cmos-45nm/{flow}": {"hardware": "cmos-45nm", "dataflow": flow} for flow in DATAFLOWS},
    "cmos-45nm/event_driven, weights in DRAM": {"hardware": "cmos-45nm", "dataflow": "event_driven", "memory": "dram"},
}
"""The conditions under which energies are estimated, by name: options of :func:`neurosparse.estimate`."""


@torch.no_grad()
def evaluate(
    model: Callable[[Tensor], Tensor | EventTensor],
    data: tuple[Tensor, Tensor],
    *,
    batch_size: int = 250,
    samples: int | None = None,
    spiking: tuple = (),
) -> dict[str, Any]:
    """Run a classifier once over ``data`` under the meter.

    Args:
        model: maps inputs to logits, or to spikes whose counts are the logits.
        data: inputs and labels.
        batch_size: changes nothing that is counted.
        samples, spiking: passed to :func:`neurosparse.record`.

    Returns:
        ``correct`` (bool array), ``ledger``, ``reports`` by scenario, ``seconds_per_sample`` (measured without the
        meter), ``raster`` of the first sample's first hidden spikes or None.
    """
    x, y = data
    correct, ledger = [], None
    for inputs, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
        with record(model, spiking=spiking, samples=samples) as tape:
            logits = model(inputs)
        counted = count(tape)
        ledger = counted if ledger is None else ledger + counted
        correct.append(_scores(logits).argmax(-1) == labels)
    assert ledger is not None
    return {
        "correct": torch.cat(correct).numpy(),
        "ledger": ledger,
        "reports": energies(ledger),
        "seconds_per_sample": _seconds_per_sample(model, x[:batch_size]),
        "raster": _raster(model, x[:1]),
    }


def _scores(logits: Tensor | EventTensor) -> Tensor:
    return logits.counts() if isinstance(logits, EventTensor) else logits


def energies(ledger: Ledger) -> dict[str, EnergyReport]:
    """Energy per sample under every scenario."""
    return {name: estimate(ledger, **options) for name, options in SCENARIOS.items()}


def _seconds_per_sample(model: Callable, x: Tensor, repeats: int = 5) -> float:
    model(x)  # compilations and caches
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        model(x)
        times.append(time.perf_counter() - started)
    return median(times) / len(x)


def _raster(model: Callable, x: Tensor) -> dict[str, Any] | None:
    """Spikes of the first layer that spikes over time, for the first sample."""
    seen: list[EventTensor] = []
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    handles = [m.register_forward_hook(lambda _m, _i, out: seen.append(out)) for m in modules]
    model(x)
    for handle in handles:
        handle.remove()
    spikes = [e for e in seen if isinstance(e, EventTensor) and e.value is None and e.shape[0] > 1]
    if not spikes:
        return None
    step, _, unit, _ = spikes[0].samples(0).aer()
    return {"shape": [spikes[0].shape[0], spikes[0].n_units], "step": step.tolist(), "unit": unit.tolist()}


def sparsities(ledger: Ledger) -> dict[str, float | None]:
    """The four sparsities.

    ``weight``: share of weights that are zero. ``activation``: share of silent cells among the inputs of all weight
    layers but the first (whose input is the data). ``temporal``: among units that fire for a sample, the share of their
    steps that is silent (None without time). ``operation``: share of dense operations that are skipped.
    """
    rows = [row for row in ledger.rows if row["kind"] in ("linear", "conv")]
    hidden = rows[1:]
    neurons = [row for row in ledger.rows if row["kind"] == "neuron" and row["active_cells"]]
    effective = sum(row["effective_macs"] + row["effective_acs"] for row in rows)
    spikes = sum(row["spikes_out"] for row in neurons)
    cells = sum(row["active_cells"] for row in neurons)
    over_time = any(row["charged_rows"] > ledger.samples for row in neurons)
    return {
        "weight": _silent(sum(r["nonzero_weights"] for r in rows), sum(r["weights"] for r in rows)),
        "activation": _silent(sum(r["input_events"] for r in hidden), sum(r["input_cells"] for r in hidden)),
        "temporal": _silent(spikes, cells) if over_time else None,
        "operation": _silent(effective, sum(r["dense_ops"] for r in rows)),
    }


def _silent(active: int, cells: int) -> float:
    return 1 - active / cells if cells else 0.0


def pack(correct: np.ndarray) -> str:
    """Which samples were right, one bit each, as text."""
    return base64.b64encode(np.packbits(correct)).decode()
