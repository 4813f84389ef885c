"""Energy estimate: joules per sample from exact operation counts and published constants (not a measurement)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Literal

from neurosparse.checks import number, one_of, positive
from neurosparse.energy.assumptions import Assumptions, differs_from_run
from neurosparse.energy.dataflow import CHEAPEST_OF, DATAFLOWS
from neurosparse.energy.hardware import Constant, Profile, constants, profile
from neurosparse.energy.layer import annotated, counts_of, operand_bits
from neurosparse.energy.memory import Memory
from neurosparse.energy.neuromorphic import NOT_EXECUTABLE
from neurosparse.energy.priced import CHOICE, NODES, own_silicon, priced_on
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import SYNAPTIC, OperationCounts

__all__ = ["PARTS", "EnergyReport", "energy_ends", "energy_reports", "estimate", "ratio"]

PARTS = ("compute", "weights", "inputs", "indices", "partial_sums", "addressing", "state", "outputs")
OWN_SILICON = "own silicon"
UNITS = (("J", 1.0), ("mJ", 1e-3), ("uJ", 1e-6), ("nJ", 1e-9), ("pJ", 1e-12))


@dataclass(frozen=True, repr=False)
class EnergyReport:
    """Estimated energy of one sample.

    Args:
        low, nominal, high: joules per sample; None if the hardware cannot execute the model.
        rows: one mapping per layer, kind and phase, in joules per sample: ``layer, kind, phase, execution, dataflow,
            low, nominal, high`` (with two hardwares also ``hardware``), and the parts of nominal: ``compute``; memory
            traffic of ``weights, inputs, partial_sums, outputs`` and of the ``indices`` of sparse formats;
            ``addressing`` (arithmetic on addresses); ``state``.
        hardware, dataflow: those of the estimate; with two hardwares ``"own silicon (loihi, cmos-45nm)"``.
        assumptions: every constant that the estimate is made of, with its source.
        sentences: the assumptions in words.
        unsupported: operations that the hardware cannot execute.
        corners: joules per sample at each corner of the uncertain constants, in one order for each hardware.
        bounds: at nominal prices and at each corner, the least and the most joules per sample over what the counts do
            not contain (active neurons of a chip) and, with two hardwares, over the prices of the chip; empty if there
            is nothing of that kind.
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
    bounds: tuple[tuple[float, float], ...] = ()
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

    @property
    def by_phase(self) -> dict[str, float]:
        """Joules per sample of each phase (``forward``, ``backward``, ``update``), nominal, summed over the rows."""
        phases = dict.fromkeys(row["phase"] for row in self.rows)
        return {phase: sum(row["nominal"] or 0.0 for row in self.rows if row["phase"] == phase) for phase in phases}

    def _repr_html_(self) -> str:
        """A table of the parts in one unit, with their share; colours are those of the page."""
        about = f"{escape(self.hardware)}, {escape(self.dataflow.replace('_', ' '))}"
        if self.low is None or self.nominal is None or self.high is None:
            return f"<p><b>{about}</b>: {NOT_EXECUTABLE}: {escape('; '.join(self.unsupported))}</p>"
        unit, size = next((u for u in UNITS if self.nominal >= u[1]), UNITS[-1])

        def joules(value: float) -> str:
            return f"{value / size:.4g}"

        ends = f" [{joules(self.low)}, {joules(self.high)}]" if self.low < self.high else ""
        caption = f"{about}: {joules(self.nominal)}{ends} {unit} per sample, an estimate"
        share = {part: value / self.nominal if self.nominal else 0.0 for part, value in self.parts.items()}
        body = "".join(
            f"<tr><td>{part.replace('_', ' ')}</td><td>{joules(value)}</td><td>{share[part]:.1%}</td></tr>"
            for part, value in self.parts.items()
        )
        beside = "".join(
            f"<tr><td>beside it: {escape(name)}</td><td>{joules(value)}</td><td></td></tr>"
            for name, value in self.overhead.items()
        )
        head = f"<tr><th>part</th><th>{unit}</th><th>share</th></tr>"
        return f"<table><caption>{caption}</caption>{head}{body}{beside}</table>"

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
    otherwise: str | None = None,
    allow_uncounted: bool = False,
) -> EnergyReport:
    """Estimate the energy of one sample from exact counts, by one formula for every kind of network.

    ``E = sum over rows of (operations * arithmetic + sum over operands of accesses * bits * price per bit)``. The
    number of accesses depends on the dataflow. The inputs of a synaptic layer are dense, a bitmap or events, and its
    weights dense, with a bitmap or with indices, whichever is cheapest; its row in the report names the formats.
    ``docs/energy.md`` has every equation and constant.

    Args:
        counts: from :func:`neurosparse.count`.
        hardware: a digital circuit, ``"cmos-45nm"``, ``"cmos-7nm"`` or ``"lemaire-45nm"``, or a neuromorphic chip,
            ``"loihi"`` or ``"spinnaker2"``.
        dataflow: ``compute_only``, ``no_reuse``, ``weight_stationary``, ``output_stationary``, ``event_driven``, or
            ``cheapest``: for each layer the cheapest of the last three.
        memory: bytes of one on-chip memory (at most 1 MB), or a `Memory`; ``"auto"``: as large as the model needs;
            ``"per_layer"``: one for each layer; ``"dram"``: every weight in DRAM. What does not fit is fetched from
            DRAM.
        assume: further assumptions, see `Assumptions`.
        otherwise: a digital circuit beside the chip ``hardware`` ("own silicon"): spikes and neurons of a spiking
            network are priced on the chip; what the chip cannot execute, and every dense network, on the circuit, with
            this dataflow and memory. The nodes of the two differ, so that this compares no like with like; the range
            contains the circuit at the other node too.
        allow_uncounted: estimate without the operations of uncounted functions instead of raising.

    Returns:
        joules per sample, with a range where the sources give one.

    Raises:
        InputError: no counts, uncounted operations, counts of no sample, an unknown hardware or dataflow, operands
            without bits or wider than 32 bits.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=1000, effective_macs=1000, weight_bits=8, input_bits=8)
        >>> report = estimate(OperationCounts((row,), samples=1), dataflow="compute_only")
        >>> f"{report.nominal:.2g}"  # 1000 * (0.2 + 0.1) pJ
        '3e-10'

    Source:
        Horowitz 2014 and Jouppi 2021 (arithmetic and memory); Lemaire 2022 (no_reuse, addressing); Davies 2018 and
        Boyle 2025 (Loihi); Höppner 2019 (SpiNNaker2); Sze 2017 (names of the dataflows).
    """
    model, assume = profile(hardware), _assumptions(assume)
    circuit = model if otherwise is None else _circuit(model, otherwise)
    _check(counts, circuit, dataflow, {**model.prices, **circuit.prices}, assume, allow_uncounted)
    rows = annotated(counts, assume)
    if circuit is model:
        name, found = hardware, priced_on(model, rows, dataflow, memory, assume)
    else:
        name = f"{OWN_SILICON} ({hardware}, {otherwise})"
        found = own_silicon(model, circuit, rows, dataflow, memory, assume)
    ends, known = [*found.totals, *(end for pair in found.bounds for end in pair)], not found.unsupported
    assumed = () if circuit.is_chip else (assume.sentence, *differs_from_run(counts.rows, assume))
    prices = [(one.prices[name], name in used) for one, used in found.used for name in one.prices]
    return EnergyReport(
        min(ends) if known else None,
        found.totals[0] if known else None,
        max(ends) if known else None,
        tuple(_report_row(row, *priced) for row, priced in zip(rows, found.rows, strict=True)),
        name,
        dataflow,
        tuple(constants()[i] for i in dict.fromkeys(i for price, used in prices if used for i in price.ids)),
        (CHOICE if dataflow == "cheapest" else DATAFLOWS[dataflow].sentence, *found.sentences, *assumed),
        found.unsupported,
        tuple(found.totals[1:]) if known else (),
        found.bounds if known else (),
        _weight_bits(rows),
        tuple(dict.fromkeys(text for one, used in found.used for text in _scenarios(used, one, assume))),
    )


def _weight_bits(rows: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Distinct widths of the weights of the forward pass; the second signal of a product is no weight."""
    weighted = [row for row in rows if row["kind"] in SYNAPTIC and row["kind"] != "matmul"]
    return tuple(sorted({int(row["weight_bits"]) for row in weighted if row["phase"] == "forward"}))


def ratio(
    a: EnergyReport | Sequence[EnergyReport], b: EnergyReport | Sequence[EnergyReport]
) -> tuple[float, float, float]:
    """Energy of ``a`` over the energy of ``b``, with the same prices for both.

    ``low`` is the minimum over prices of ``E_a / E_b``, ``high`` the maximum. An uncertain constant has the same value
    on both sides, so that common factors cancel. What the counts do not contain (active neurons of a chip) may differ
    between the sides. With reports of several seeds the range covers every pair of them, and nominal is the ratio of
    their means.

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
    for report in left + right:
        if not report.nominal:
            fix = "Choose a hardware that executes both."
            raise InputError("ratio", got=repr(report), expected="two energies above zero", fix=fix)
    of_a, of_b = ([energy_ends(report) for report in side] for side in (left, right))
    if len({len(ends) for ends in of_a + of_b}) != 1:
        got, fix = "reports with other uncertain constants on each side", "Use one `assume` for both."
        raise InputError("ratio", got=got, expected="the same assumptions", fix=fix)
    pairs = [pair for one in of_a for other in of_b for pair in zip(one, other, strict=True)]
    mean_a, mean_b = (sum(report.nominal or 0.0 for report in side) / len(side) for side in (left, right))
    return min(x[0] / y[1] for x, y in pairs), mean_a / mean_b, max(x[1] / y[0] for x, y in pairs)


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


def energy_ends(report: EnergyReport) -> tuple[tuple[float, float], ...]:
    """Least and most joules per sample at nominal prices, then at every corner of the prices."""
    return report.bounds or tuple((energy, energy) for energy in (report.nominal or 0.0, *report.corners))


def _assumptions(assume: Assumptions | None) -> Assumptions:
    if assume is not None and not isinstance(assume, Assumptions):
        got, fix = f"assume of type {type(assume).__name__}", "Pass ns.energy.Assumptions(state_bits=16)."
        raise InputError("estimate", got=got, expected="assumptions, or None", fix=fix)
    return assume or Assumptions()


def _circuit(chip: Profile, otherwise: str) -> Profile:
    """The digital circuit beside a chip."""
    one_of("estimate", "otherwise", otherwise, NODES)
    if not chip.is_chip:
        fix = "Leave out otherwise=, or pass hardware='loihi'."
        raise InputError("estimate", got=f"hardware={chip.name!r}", expected="a neuromorphic chip", fix=fix)
    return profile(otherwise)


def _check(
    counts: OperationCounts,
    model: Profile,
    dataflow: str,
    prices: Collection[str],
    assume: Assumptions,
    allow_uncounted: bool,
) -> None:
    counts_of("estimate", counts)
    for row in counts.rows:
        if row["kind"] in (*SYNAPTIC, "idle"):
            operand_bits(row)
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
        if not any(name.startswith(group) for name in prices):
            expected = f"the beginning of one of {', '.join(prices)}"
            raise InputError("estimate", got=f"uncertainty of {group!r}", expected=expected)


def _scenarios(used: Collection[str], model: Profile, assume: Assumptions) -> tuple[str, ...]:
    """Assumptions behind the range that have no source: bounds of prices that are used, and the user's uncertainty."""
    ids = {id for name in used if model.prices[name].scenario for id in model.prices[name].ids}
    bounds = [f"the range of {constants()[id].quantity}" for id in sorted(ids) if constants()[id].range == "scenario"]
    factors = [
        f"{group} prices higher or lower by a factor of {factor:g}" for group, factor in assume.uncertainty.items()
    ]
    return (*bounds, *factors)


def _report_row(row: Mapping[str, Any], how: Mapping[str, str], costs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """A row of the report, in joules per sample."""
    known = how["execution"] != NOT_EXECUTABLE
    totals = [1e-12 * sum(cost.values()) for cost in costs]
    return {
        "layer": row["layer"],
        "kind": row["kind"],
        "phase": row["phase"],
        **how,
        "low": min(totals) if known else None,
        "nominal": totals[0] if known else None,
        "high": max(totals) if known else None,
        **{part: 1e-12 * costs[0].get(part, 0.0) if known else None for part in PARTS},
    }
