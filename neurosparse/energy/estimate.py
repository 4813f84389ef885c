"""Energy estimate: joules per sample from exact operation counts and published constants (not a measurement)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from neurosparse.checks import number, one_of, positive
from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import CHEAPEST_OF, DATAFLOWS, Dataflow
from neurosparse.energy.hardware import Constant, Profile, constants, profile
from neurosparse.energy.layer import accumulator, annotated, executions, scalar_energy, synaptic_energy
from neurosparse.energy.memory import Memory, access_energies, largest_sram, memory_of
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import SYNAPTIC, OperationCounts

__all__ = ["PARTS", "EnergyReport", "energy_reports", "estimate", "ratio"]

PARTS = ("compute", "weights", "inputs", "indices", "partial_sums", "addressing", "state", "outputs")
NOT_EXECUTABLE = "not executable on this hardware"
CHOICE = "Each layer runs in the cheapest of " + ", ".join(CHEAPEST_OF) + "."


@dataclass(frozen=True, repr=False)
class EnergyReport:
    """Estimated energy of one sample.

    Args:
        low, nominal, high: joules per sample; None if the hardware cannot execute the model.
        rows: one mapping per layer and kind, in joules per sample: ``layer, kind, execution, dataflow, low, nominal,
            high``, and the parts of nominal: ``compute``; memory traffic of ``weights, inputs, partial_sums, outputs``
            and of the ``indices`` of sparse formats; ``addressing`` (arithmetic on addresses); ``state``.
        hardware, dataflow: those of the estimate.
        assumptions: every constant of the hardware, with its source.
        sentences: the assumptions in words.
        unsupported: operations that the hardware cannot execute.
        corners: joules per sample at each corner of the uncertain constants, in one order for each hardware.
        bits: distinct widths of the weights.
        scenarios: assumptions behind the range that have no source.
        overhead: joules per sample that do not depend on operations, by name; empty if they are not known.
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
    bits: tuple[int, ...] = ()
    scenarios: tuple[str, ...] = ()
    overhead: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        if self.nominal is None:
            answer = f"{NOT_EXECUTABLE}: {'; '.join(self.unsupported)}"
        else:
            answer = f"{self.nominal:.3g} J per sample [{self.low:.3g}, {self.high:.3g}], an estimate"
        beside = ", ".join(f"{name} {joules:.3g} J" for name, joules in self.overhead.items())
        return f"EnergyReport({self.hardware}, {self.dataflow}: {answer}{f'; beside it {beside}' if beside else ''})"

    @property
    def parts(self) -> dict[str, float]:
        """Joules per sample of each part, nominal, summed over the rows."""
        return {part: sum(row[part] or 0.0 for row in self.rows) for part in PARTS}

    def with_overhead(self, seconds: float, **watts: float) -> EnergyReport:
        """The report with energies that depend on time and not on operations: ``E = power * seconds``, by name.

        Args:
            seconds: duration of one sample.
            watts: static, idle, host power and the like, by name.

        Raises:
            InputError: seconds that are not above 0, or a negative power.

        Example:
            >>> row = dict(layer="fc", kind="linear", dense_ops=9, effective_acs=9, weight_bits=8, input_bits=1)
            >>> estimate(OperationCounts((row,), 1), "loihi").with_overhead(seconds=0.5, idle=0.03).overhead
            {'idle': 0.015}
        """
        where = "with_overhead"
        seconds = positive(where, "seconds", seconds, unit="seconds")
        return replace(self, overhead={name: number(where, name, watt, 0) * seconds for name, watt in watts.items()})


def estimate(
    counts: OperationCounts,
    hardware: str = "cmos-45nm",
    dataflow: str = "event_driven",
    *,
    memory: Memory | Literal["auto", "dram", "per_layer"] | int = "auto",
    assume: Assumptions | None = None,
    allow_uncounted: bool = False,
) -> EnergyReport:
    """Estimate the energy of one sample from exact counts, by one formula for every kind of network.

    ``E = sum over rows of (operations * arithmetic + sum over operands of accesses * bits * price per bit)``. The
    number of accesses depends on the dataflow. The inputs of a synaptic layer are dense, a bitmap or events, and its
    weights dense, with a bitmap or with indices, whichever is cheapest; its row in the report names the formats.
    ``docs/energy.md`` has every equation and constant.

    Args:
        counts: from :func:`neurosparse.count`.
        hardware: ``"cmos-45nm"``, ``"lemaire-45nm"`` or ``"loihi"``.
        dataflow: ``compute_only``, ``no_reuse``, ``weight_stationary``, ``output_stationary``, ``event_driven``, or
            ``cheapest``: for each layer the cheapest of the last three.
        memory: bytes of one on-chip memory (at most 1 MB), or a `Memory`; ``"auto"``: as large as the model needs;
            ``"per_layer"``: one for each layer; ``"dram"``: every weight in DRAM. What does not fit is fetched from
            DRAM.
        assume: further assumptions, see `Assumptions`.
        allow_uncounted: estimate without the operations of uncounted functions instead of raising.

    Returns:
        joules per sample, with a range where the sources give one.

    Raises:
        InputError: uncounted operations, counts of no sample, an unknown hardware or dataflow, operands wider than 32
            bits.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=1000, effective_macs=1000, weight_bits=8, input_bits=8)
        >>> report = estimate(OperationCounts((row,), samples=1), dataflow="compute_only")
        >>> f"{report.nominal:.2g}"  # 1000 * (0.2 + 0.1) pJ
        '3e-10'

    Source:
        Horowitz 2014 (arithmetic and memory); Lemaire 2022 (no_reuse, addressing); Davies 2018 and Boyle 2025 (Loihi);
        Sze 2017 (names of the dataflows).
    """
    model, assume = profile(hardware), assume or Assumptions()
    _check(counts, model, dataflow, assume, allow_uncounted)
    rows = [{**row, **dict.fromkeys(model.omits, 0)} for row in annotated(counts)]
    draws = model.draws(assume.uncertainty)
    unsupported: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    if "synop" in model.prices:
        unsupported = tuple(reason for row in rows for reason in _beyond_synapses(row))
        priced = [_neuromorphic_row(row, draws) for row in rows]
    else:
        memory = memory_of(memory, model.memory, largest_sram(draws[0]))
        flows = {name: DATAFLOWS[name] for name in (CHEAPEST_OF if dataflow == "cheapest" else (dataflow,))}
        priced = _circuit_rows(rows, flows, draws, memory, assume)
        words = (memory.sentence, assume.sentence) if any(flow.memory for flow in flows.values()) else ()
    totals = [1e-12 * sum(sum(parts[draw].values()) for _, parts in priced) for draw in range(len(draws))]
    known = not unsupported
    return EnergyReport(
        min(totals) if known else None,
        totals[0] if known else None,
        max(totals) if known else None,
        tuple(_report_row(row, *cost) for row, cost in zip(rows, priced, strict=True)),
        hardware,
        dataflow,
        tuple(constants()[name] for name in dict.fromkeys(i for price in model.prices.values() for i in price.ids)),
        (CHOICE if dataflow == "cheapest" else DATAFLOWS[dataflow].sentence, *model.sentences, *words),
        unsupported,
        tuple(totals[1:]) if known else (),
        tuple(sorted({int(row["weight_bits"]) for row in rows if row["kind"] in SYNAPTIC and row["kind"] != "matmul"})),
        _scenarios(rows, model, assume),
    )


def ratio(
    a: EnergyReport | Sequence[EnergyReport], b: EnergyReport | Sequence[EnergyReport]
) -> tuple[float, float, float]:
    """Energy of ``a`` over the energy of ``b``, with the same prices for both.

    ``low`` is the minimum over prices of ``E_a / E_b``, ``high`` the maximum. An uncertain constant has the same value
    on both sides, so that common factors cancel. With reports of several seeds the range covers every pair of them, and
    nominal is the ratio of their means.

    Args:
        a, b: reports for one hardware and dataflow.

    Returns:
        ``(low, nominal, high)``, dimensionless.

    Raises:
        InputError: different hardware or dataflow, or a model that the hardware cannot execute.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=9, effective_acs=9, weight_bits=8, input_bits=1)
        >>> one, two = (estimate(OperationCounts((row,), samples=n), dataflow="compute_only") for n in (1, 2))
        >>> ratio(one, two)
        (2.0, 2.0, 2.0)
    """
    left, right = energy_reports("ratio", "a", a), energy_reports("ratio", "b", b)
    scenarios = {(report.hardware, report.dataflow) for report in left + right}
    if len(scenarios) != 1:
        expected = "reports for one hardware and one dataflow on each side"
        raise InputError("ratio", got=f"reports for {sorted(scenarios)}", expected=expected)
    of_a, of_b = ([_energies(report) for report in side] for side in (left, right))
    ratios = [x / y for one in of_a for other in of_b for x, y in zip(one, other, strict=True)]
    mean_a, mean_b = (sum(energies[0] for energies in side) / len(side) for side in (of_a, of_b))
    return min(ratios), mean_a / mean_b, max(ratios)


def energy_reports(where: str, name: str, given: EnergyReport | Sequence[EnergyReport]) -> list[EnergyReport]:
    """One report or several, as a list.

    Raises:
        InputError: anything else, or none.
    """
    several = [given] if isinstance(given, EnergyReport) else list(given) if isinstance(given, Sequence) else []
    if not several or not all(isinstance(one, EnergyReport) for one in several):
        got, fix = f"{name} of type {type(given).__name__}", "Pass what ns.estimate returns."
        raise InputError(where, got=got, expected="an energy report, or a list of them", fix=fix)
    return several


def _energies(report: EnergyReport) -> tuple[float, ...]:
    """Nominal energy, then that at every corner of the prices."""
    if not report.nominal:
        fix = "Choose a hardware that executes both."
        raise InputError("ratio", got=repr(report), expected="two energies above zero", fix=fix)
    return (report.nominal, *report.corners)


def _check(counts: OperationCounts, model: Profile, dataflow: str, assume: Assumptions, allow_uncounted: bool) -> None:
    if not isinstance(counts, OperationCounts):
        got, fix = f"counts of type {type(counts).__name__}", "Pass ns.count(tape)."
        raise InputError("estimate", got=got, expected="operation counts", fix=fix)
    if counts.samples < 1:
        raise InputError("estimate", got="0 samples", expected="at least one", fix="Record a forward pass.")
    if counts.uncounted and not allow_uncounted:
        names = ", ".join(f"{entry['function']} in {entry['layer']}" for entry in counts.uncounted)
        fix = "Rewrite the model with countable operations, or pass allow_uncounted=True and report it."
        raise InputError(
            "estimate", got=f"uncounted operations ({names})", expected="counts of every operation", fix=fix
        )
    known = (*model.dataflows, *(("cheapest",) if set(CHEAPEST_OF) <= set(model.dataflows) else ()))
    fix = "Its name is 'cheapest'." if isinstance(dataflow, str) and dataflow == "best" else ""
    one_of("estimate", "dataflow", dataflow, known, fix)
    for group in assume.uncertainty:
        if not any(name.startswith(group) for name in model.prices):
            expected = f"the beginning of one of {', '.join(model.prices)}"
            raise InputError("estimate", got=f"uncertainty of {group!r}", expected=expected)


def _scenarios(rows: Sequence[Mapping[str, Any]], model: Profile, assume: Assumptions) -> tuple[str, ...]:
    """Assumptions behind the range that have no source: bounds of prices that are used, and the user's uncertainty."""
    paid = {name for row in rows if row["kind"] in SYNAPTIC for name in accumulator(row)}
    unsourced = [
        id for name in paid if name in model.prices and model.prices[name].scenario for id in model.prices[name].ids
    ]
    bounds = [f"the range of {constants()[id].quantity}" for id in sorted(unsourced)]
    factors = [
        f"{group} prices higher or lower by a factor of {factor:g}" for group, factor in assume.uncertainty.items()
    ]
    return (*bounds, *factors)


def _circuit_rows(
    rows: Sequence[Mapping[str, Any]],
    flows: Mapping[str, Dataflow],
    draws: Sequence[Mapping[str, float]],
    memory: Memory,
    assume: Assumptions,
) -> list[tuple[dict[str, str], list[dict[str, float]]]]:
    """Execution of each row on a digital circuit, and its picojoules by set of prices and part."""
    accesses = [access_energies(rows, memory, assume, draw) for draw in draws]
    charges_memory = any(flow.memory for flow in flows.values())
    sends = all(flow.sends for flow in flows.values())
    arithmetic = ("mul_fp32", "add_fp32")
    priced = []
    for i, row in enumerate(rows):
        how, costs = {"execution": "", "dataflow": ""}, [{} for _ in draws]
        if row["kind"] in SYNAPTIC:
            arithmetic = accumulator(row)  # also of the neurons and activations that follow

            def cost(choice: tuple, draw: int, row: Mapping[str, Any] = row, i: int = i) -> dict[str, float]:
                name, run = choice
                return synaptic_energy(row, run, flows[name], draws[draw], accesses[draw][i], memory, assume)

            # Chosen at nominal prices, as one circuit holds for all prices.
            name, run = min(
                ((name, run) for name in flows for run in executions(row, assume)),
                key=lambda choice: sum(cost(choice, 0).values()),
            )
            how = {"execution": run.name, "inputs_as": run.inputs, "weights_as": run.weights, "dataflow": name}
            costs = [cost((name, run), draw) for draw in range(len(draws))]
        scalars = [
            scalar_energy(row, arithmetic, draw, access[i], memory, assume, sends)
            for draw, access in zip(draws, accesses, strict=True)
        ]
        if not charges_memory:
            scalars = [{"compute": scalar["compute"]} for scalar in scalars]
        priced.append((how, [_plus(cost, scalar) for cost, scalar in zip(costs, scalars, strict=True)]))
    return priced


def _plus(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {part: a.get(part, 0.0) + b.get(part, 0.0) for part in PARTS}


def _neuromorphic_row(
    row: Mapping[str, Any], draws: Sequence[Mapping[str, float]]
) -> tuple[dict[str, str], list[dict[str, float]]]:
    """Execution and picojoules of a row on a neuromorphic chip: synaptic operations, neuron updates and spikes."""
    execution = NOT_EXECUTABLE if _beyond_synapses(row) else "skip both"
    return {"execution": execution, "dataflow": "event_driven"}, [
        {
            "compute": row["effective_acs"] * draw["synop"],
            "state": row["state_updates"] * draw["neuron_update"],
            "outputs": row["spikes_out"] * draw["spike_out"],
        }
        for draw in draws
    ]


def _beyond_synapses(row: Mapping[str, Any]) -> list[str]:
    """Operations of a row other than accumulates of spikes and neuron updates."""
    graded = row["kind"] in SYNAPTIC and row["input_bits"] > 1 and not row["effective_acs"]
    macs = row["effective_macs"] or (row["dense_ops"] if graded else 0)
    others = 0 if row["kind"] == "neuron" else row["comparisons"] + row["elementwise"]
    counts = {"multiply-accumulates": macs, "comparisons and element-wise operations": others}
    return [f"{row['layer']}: {count:.10g} {name} per sample" for name, count in counts.items() if count]


def _report_row(row: Mapping[str, Any], how: Mapping[str, str], costs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """A row of the report, in joules per sample."""
    known = how["execution"] != NOT_EXECUTABLE
    totals = [1e-12 * sum(cost.values()) for cost in costs]
    return {
        "layer": row["layer"],
        "kind": row["kind"],
        **how,
        "low": min(totals) if known else None,
        "nominal": totals[0] if known else None,
        "high": max(totals) if known else None,
        **{part: 1e-12 * costs[0].get(part, 0.0) if known else None for part in PARTS},
    }
