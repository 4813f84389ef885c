"""From exact counts to joules: an estimate with its assumptions, never a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from neurosparse.errors import InputError
from neurosparse.measure.dataflow import (
    DATAFLOWS,
    EXECUTIONS,
    Dataflow,
    accumulator,
    annotated,
    footprint,
    scalar_energy,
    synaptic_energy,
)
from neurosparse.measure.hardware import SRAM, Constant, Profile, constants, profile, sram
from neurosparse.measure.ledger import Ledger

__all__ = ["EnergyReport", "estimate", "ratio"]

PARTS = ("compute", "weights", "inputs", "partial_sums", "addressing", "state", "outputs")
SYNAPTIC = ("linear", "conv")
NOT_EXECUTABLE = "not executable on this hardware"


@dataclass(frozen=True, repr=False)
class EnergyReport:
    """Estimated energy of one sample.

    Args:
        low, nominal, high: joules per sample; None where the hardware cannot execute the model.
        rows: one mapping per layer and kind, in joules per sample: ``layer, kind, execution, low, nominal, high``, and
            the parts of nominal: ``compute, weights, inputs, partial_sums, addressing, state, outputs``.
        hardware, dataflow: what it was estimated for.
        assumptions: every constant of the hardware, with its source.
        sentences: what was assumed, in words.
        unsupported: what the hardware cannot execute, by name.
        corners: joules per sample at each corner of the uncertain constants, in one order for each hardware.
    """

    low: float | None
    nominal: float | None
    high: float | None
    rows: tuple[Mapping[str, Any], ...]
    hardware: str
    dataflow: str
    assumptions: tuple[Constant, ...] = ()
    sentences: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    corners: tuple[float, ...] = ()

    def __repr__(self) -> str:
        if self.nominal is None:
            answer = f"{NOT_EXECUTABLE}: {'; '.join(self.unsupported)}"
        else:
            answer = f"{self.nominal:.3g} J per sample [{self.low:.3g}, {self.high:.3g}], an estimate"
        return f"EnergyReport({self.hardware}, {self.dataflow}: {answer})"


def estimate(
    ledger: Ledger,
    hardware: str = "cmos-45nm",
    dataflow: str = "event_driven",
    *,
    memory: Literal["auto", "dram"] | int = "auto",
    allow_uncounted: bool = False,
) -> EnergyReport:
    """Estimate the energy of one sample from exact counts, by one formula for every kind of network.

    ``E = sum over rows of (operations * arithmetic + sum over operands of accesses * bits * price per bit)``. How often
    an operand is accessed depends on the dataflow. A synaptic layer runs dense, skipping zero inputs (each event
    carries an address), skipping zero weights (each weight carries an index) or both, whichever is cheapest, and its
    row says which. ``docs/energy.md`` has every equation and constant.

    Args:
        ledger: what was counted.
        hardware: ``"cmos-45nm"`` or ``"loihi"``.
        dataflow: ``compute_only``, ``no_reuse``, ``weight_stationary``, ``output_stationary`` or ``event_driven``.
        memory: bytes of on-chip memory (at most 1 MB); ``"auto"`` makes it as large as the model needs, ``"dram"``
            keeps every weight off the chip. Weights that do not fit are fetched from DRAM.
        allow_uncounted: go on although the ledger saw operations that it could not count.

    Returns:
        joules per sample, with a range where the sources give one.

    Raises:
        InputError: uncounted operations, an empty ledger, an unknown hardware or dataflow, operands wider than 32 bits.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=1000, effective_macs=1000, weight_bits=8, input_bits=8)
        >>> report = estimate(Ledger((row,), samples=1), dataflow="compute_only")
        >>> f"{report.nominal:.2g}"  # 1000 * (0.2 + 0.1) pJ
        '3e-10'

    Source:
        Horowitz 2014 (arithmetic and memory); Davies 2018 and Boyle 2025 (Loihi); Sze 2017 (names of the dataflows).
    """
    model = profile(hardware)
    _check(ledger, model, dataflow, memory, allow_uncounted)
    rows = annotated(ledger)
    unsupported: tuple[str, ...] = ()
    if "synop" in model.prices:
        unsupported = tuple(reason for row in rows for reason in _beyond_synapses(row))
        priced = [_neuromorphic_row(row, model.draws()) for row in rows]
    else:
        priced = _circuit_rows(rows, DATAFLOWS[dataflow], [_with_memory(draw, rows, memory) for draw in model.draws()])
    totals = [1e-12 * sum(sum(parts[draw].values()) for _, parts in priced) for draw in range(len(model.draws()))]
    known = not unsupported
    return EnergyReport(
        min(totals) if known else None,
        totals[0] if known else None,
        max(totals) if known else None,
        tuple(_report_row(row, *cost) for row, cost in zip(rows, priced, strict=True)),
        hardware,
        dataflow,
        tuple(constants()[name] for price in model.prices.values() for name in price.ids),
        (DATAFLOWS[dataflow].sentence, *model.sentences),
        unsupported,
        tuple(totals[1:]) if known else (),
    )


def ratio(
    a: EnergyReport | Sequence[EnergyReport], b: EnergyReport | Sequence[EnergyReport]
) -> tuple[float, float, float]:
    """How many times the energy of ``b`` does ``a`` need, when both pay the same prices?

    ``low = min over prices of E_a / E_b``, ``high`` the maximum: an uncertain constant is drawn once for both sides, so
    what is common to both cancels. Reports of several seeds may be given: then the range covers every pair of them, and
    nominal compares their means.

    Args:
        a, b: reports for one hardware and dataflow.

    Returns:
        ``(low, nominal, high)``, dimensionless.

    Raises:
        InputError: different hardware or dataflow, or a model that the hardware cannot execute.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=9, effective_acs=9, weight_bits=8, input_bits=1)
        >>> one, two = (estimate(Ledger((row,), samples=n), dataflow="compute_only") for n in (1, 2))
        >>> ratio(one, two)
        (2.0, 2.0, 2.0)
    """
    left, right = ([reports] if isinstance(reports, EnergyReport) else list(reports) for reports in (a, b))
    scenarios = {(report.hardware, report.dataflow) for report in left + right}
    if len(scenarios) != 1 or not left or not right:
        raise InputError(
            "ratio",
            got=f"reports for {sorted(scenarios)}",
            expected="reports for one hardware and one dataflow on each side",
        )
    mine, theirs = ([_energies(report) for report in side] for side in (left, right))
    ratios = [x / y for one in mine for other in theirs for x, y in zip(one, other, strict=True)]
    mean_a, mean_b = (sum(energies[0] for energies in side) / len(side) for side in (mine, theirs))
    return min(ratios), mean_a / mean_b, max(ratios)


def _energies(report: EnergyReport) -> tuple[float, ...]:
    """Nominal, then every corner."""
    if not report.nominal:
        fix = "Choose a hardware that executes both."
        raise InputError("ratio", got=repr(report), expected="two energies above zero", fix=fix)
    return (report.nominal, *report.corners)


def _check(ledger: Ledger, model: Profile, dataflow: str, memory: str | int, allow_uncounted: bool) -> None:
    if ledger.samples < 1:
        raise InputError("estimate", got="a ledger of 0 samples", expected="at least one", fix="Record a forward pass.")
    if ledger.uncounted and not allow_uncounted:
        names = ", ".join(f"{entry['function']} in {entry['layer']}" for entry in ledger.uncounted)
        raise InputError(
            "estimate",
            got=f"a ledger with uncounted operations ({names})",
            expected="a ledger that counted everything",
            fix="Rewrite the model with countable operations, or pass allow_uncounted=True and say so.",
        )
    if dataflow not in model.dataflows:
        raise InputError("estimate", got=f"dataflow={dataflow!r}", expected=f"one of {', '.join(model.dataflows)}")
    largest = max(SRAM)
    if memory not in ("auto", "dram") and not (isinstance(memory, int) and 0 < memory <= largest):
        raise InputError("estimate", got=f"memory={memory!r}", expected=f'"auto", "dram" or 1 to {largest} bytes')


def _with_memory(
    draw: Mapping[str, float], rows: Sequence[Mapping[str, Any]], memory: Literal["auto", "dram"] | int
) -> dict[str, float]:
    """Add what one bit of a weight and one bit of anything else costs a model of this size."""
    weights, states = footprint(rows)
    on_chip = memory if isinstance(memory, int) else min(weights + states, max(SRAM))
    off_chip = 1.0 if memory == "dram" else min(1.0, max(0.0, weights + states - on_chip) / max(weights, 1.0))
    bit = sram(on_chip, draw)
    return {**draw, "working_bit": bit, "weight_bit": (1 - off_chip) * bit + off_chip * draw["dram"] / 64}


def _circuit_rows(
    rows: Sequence[Mapping[str, Any]], dataflow: Dataflow, draws: Sequence[Mapping[str, float]]
) -> list[tuple[str, list[dict[str, float]]]]:
    """Name of the execution, and per draw the picojoules by part, of every row on a digital circuit."""
    if not dataflow.memory:
        draws = [{**draw, "working_bit": 0.0, "weight_bit": 0.0} for draw in draws]
    arithmetic = ("mul_fp32", "add_fp32")
    priced = []
    for row in rows:
        name, costs = "", [{} for _ in draws]
        if row["kind"] in SYNAPTIC:
            arithmetic = accumulator(row)  # neurons and activations work at the precision of the sums that reach them
            runs = {run.name: [synaptic_energy(row, run, dataflow, draw) for draw in draws] for run in EXECUTIONS}
            name = min(runs, key=lambda run: sum(runs[run][0].values()))
            costs = runs[name]
        scalars = [scalar_energy(row, arithmetic, draw) for draw in draws]
        priced.append((name, [_plus(cost, scalar) for cost, scalar in zip(costs, scalars, strict=True)]))
    return priced


def _plus(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {part: a.get(part, 0.0) + b.get(part, 0.0) for part in PARTS}


def _neuromorphic_row(
    row: Mapping[str, Any], draws: Sequence[Mapping[str, float]]
) -> tuple[str, list[dict[str, float]]]:
    """Synaptic operations, neuron updates and spikes: all that such a chip executes."""
    execution = NOT_EXECUTABLE if _beyond_synapses(row) else "skip both"
    return execution, [
        {
            "compute": row["effective_acs"] * draw["synop"],
            "state": row["state_updates"] * draw["neuron_update"],
            "outputs": row["spikes_out"] * draw["spike_out"],
        }
        for draw in draws
    ]


def _beyond_synapses(row: Mapping[str, Any]) -> list[str]:
    """What of a row is no accumulate of a spike and no neuron."""
    graded = row["kind"] in SYNAPTIC and row["input_bits"] > 1 and not row["effective_acs"]
    macs = row["effective_macs"] or (row["dense_ops"] if graded else 0)
    others = 0 if row["kind"] == "neuron" else row["comparisons"] + row["elementwise"]
    counts = {"multiply-accumulates": macs, "comparisons and element-wise operations": others}
    return [f"{row['layer']}: {count:.10g} {name} per sample" for name, count in counts.items() if count]


def _report_row(row: Mapping[str, Any], execution: str, costs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    known = execution != NOT_EXECUTABLE
    totals = [1e-12 * sum(cost.values()) for cost in costs]
    return {
        "layer": row["layer"],
        "kind": row["kind"],
        "execution": execution,
        "low": min(totals) if known else None,
        "nominal": totals[0] if known else None,
        "high": max(totals) if known else None,
        **{part: 1e-12 * costs[0].get(part, 0.0) if known else None for part in PARTS},
    }
