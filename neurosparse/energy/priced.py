"""Energies of all rows of the counts on one hardware, or on a chip and a digital circuit together (own silicon)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import CHEAPEST_OF, DATAFLOWS
from neurosparse.energy.hardware import Profile, constants, profile
from neurosparse.energy.layer import circuit_rows, operand_bits, prices_used
from neurosparse.energy.memory import Memory, largest_sram, memory_of
from neurosparse.energy.neuromorphic import beyond_synapses, chip_rows
from neurosparse.meter.operation_counts import SYNAPTIC

__all__ = ["CHOICE", "NODES", "Priced", "own_silicon", "priced_on"]

#: Digital circuits that are the same but for the node.
NODES = ("cmos-45nm", "cmos-7nm")
HALF = "Operands of 9 to 16 bits are priced as IEEE half precision (fp16), bfloat16 too."
CHOICE = "Each layer runs in the cheapest of " + ", ".join(CHEAPEST_OF) + "."

Row = Mapping[str, Any]
Where = Memory | Literal["auto", "dram", "per_layer"] | int


class Priced(NamedTuple):
    """Rows of the counts at the prices of a hardware.

    Args:
        rows: how each row is executed, and its picojoules by part at several sets of prices, the nominal ones first.
        totals: joules at nominal prices, then at each corner of the uncertain ones.
        bounds: of each of these the least and the most over what the counts do not contain; empty if they contain all.
        used: names of the prices that were used, by hardware.
        sentences: assumptions in words.
        unsupported: operations that cannot be executed.
    """

    rows: Sequence[tuple[Row, Sequence[Mapping[str, float]]]]
    totals: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    used: tuple[tuple[Profile, frozenset[str]], ...]
    sentences: tuple[str, ...]
    unsupported: tuple[str, ...] = ()


def priced_on(model: Profile, rows: Sequence[Row], dataflow: str, memory: Where, assume: Assumptions) -> Priced:
    """Rows, as :func:`~neurosparse.energy.layer.annotated` returns them, on one hardware."""
    rows = [{**row, **dict.fromkeys(model.omits, 0)} for row in rows]
    return _on_chip(model, rows, assume) if model.is_chip else _on_circuit(model, rows, dataflow, memory, assume)


def _on_chip(model: Profile, rows: Sequence[Row], assume: Assumptions) -> Priced:
    draws = model.draws(assume.uncertainty)
    ends = {end: chip_rows(rows, draws, model.targets_per_core, end) for end in ("nominal", "low", "high")}
    costs = [[cost for found in ends.values() for cost in found[i][1]] for i in range(len(rows))]
    nominal, low, high = (_totals(found, range(len(draws))) for found in ends.values())
    found = [(how, each) for (how, _), each in zip(ends["nominal"], costs, strict=True)]
    unsupported = tuple(reason for row in rows for reason in beyond_synapses(row))
    used = ((model, frozenset(model.prices)),)
    return Priced(found, nominal, tuple(zip(low, high, strict=True)), used, model.sentences, unsupported)


def _on_circuit(model: Profile, rows: Sequence[Row], dataflow: str, memory: Where, assume: Assumptions) -> Priced:
    flows = {name: DATAFLOWS[name] for name in (CHEAPEST_OF if dataflow == "cheapest" else (dataflow,))}
    charged = any(flow.memory for flow in flows.values())
    used = frozenset(prices_used(rows, charged, model.prices))
    # Corners that differ in unused prices only have the same energy: one of them is calculated.
    draws = model.draws(assume.uncertainty)
    names = [tuple(draw[name] for name in sorted(used)) for draw in draws]
    distinct = {name: draw for name, draw in zip(reversed(names), reversed(draws), strict=True)}
    order = dict.fromkeys(names)
    memory = memory_of(memory, model.memory, largest_sram(draws[0]))
    found = circuit_rows(rows, flows, [distinct[name] for name in order], memory, assume)
    at = {name: i for i, name in enumerate(order)}
    half = any(row["kind"] in SYNAPTIC and 8 < operand_bits(row) <= 16 for row in rows)
    in_memory = (*model.memory_sentences, memory.sentence) if charged else ()
    sentences = (*model.sentences, *in_memory, *((HALF,) if half else ()))
    return Priced(found, _totals(found, [at[name] for name in names]), (), ((model, used),), sentences)


def _totals(priced: Sequence[tuple[Any, Sequence[Mapping[str, float]]]], draws: Sequence[int]) -> tuple[float, ...]:
    """Joules per sample at sets of prices, summed over rows and parts."""
    return tuple(1e-12 * sum(sum(costs[draw].values()) for _, costs in priced) for draw in draws)


def own_silicon(
    chip: Profile, circuit: Profile, rows: Sequence[Row], dataflow: str, memory: Where, assume: Assumptions
) -> Priced:
    """The rows of a spiking network that a chip executes on the chip, all other rows on a digital circuit.

    ``E = E_chip + E_circuit``. Nominal is the circuit at its own node; the range also contains it at the other node of
    `NODES`, as the node of the chip lies between. Prices of the chip are on the side of the spiking network alone, so
    that their extremes are bounds and no corners.
    """
    chosen = _on_the_chip(rows)
    spiking = priced_on(chip, [row for row, on in zip(rows, chosen, strict=True) if on], dataflow, memory, assume)
    others = [row for row, on in zip(rows, chosen, strict=True) if not on]
    nodes = [circuit, *(profile(name) for name in NODES if name != circuit.name)]
    digital = [priced_on(node, others, dataflow, memory, assume) for node in nodes]
    least, most = min(low for low, _ in spiking.bounds), max(high for _, high in spiking.bounds)
    corners = [total for part in digital for total in part.totals]
    bounds = [(total + least, total + most) for total in corners]
    bounds[0] = (corners[0] + spiking.bounds[0][0], corners[0] + spiking.bounds[0][1])
    each = zip(*(part.rows for part in digital), strict=True)
    rest = iter([(node[0][0] | {"hardware": circuit.name}, [c for _, costs in node for c in costs]) for node in each])
    on_chip = iter([(dict(how) | {"hardware": chip.name}, costs) for how, costs in spiking.rows])
    where = [row["layer"] or row["kind"] for row, on in zip(rows, chosen, strict=True) if on]
    smaller = f"with {nodes[1].name} {spiking.totals[0] + digital[1].totals[0]:.3g} J"
    return Priced(
        [next(on_chip if on else rest) for on in chosen],
        tuple(spiking.totals[0] + total for total in corners),
        tuple(bounds),
        (*(spiking.used if where else ()), *(used for part in digital for used in part.used)),
        (
            f"Own silicon, which mixes nodes and does not compare like with like: spikes and neurons of a spiking "
            f"network are priced on {chip.name} ({_nm(chip)} nm), its other rows, and all of a dense network, on "
            f"{circuit.name} ({_nm(circuit)} nm); the range contains {nodes[1].name} too ({smaller} per sample).",
            f"On {chip.name}: {', '.join(dict.fromkeys(where)) or 'nothing'}; spikes that pass between the two are not "
            "charged.",
            *(chip.sentences if where else ()),
            *digital[0].sentences,
        ),
    )


def _on_the_chip(rows: Sequence[Row]) -> list[bool]:
    """Rows of a spiking network's forward pass that need only synapses and neurons, with the unread weights beside.

    A network whose neurons send graded messages (sigma-delta) or none (a leaky readout) is no spiking one.
    """
    spikes = [row["kind"] == "neuron" and (row["output_bits"] or bool(row["spikes_out"])) == 1 for row in rows]
    spiking = any(sends and row["phase"] == "forward" for row, sends in zip(rows, spikes, strict=True))
    found = [spiking and row["phase"] == "forward" and _needs_synapses_and_neurons(row) for row in rows]
    layers = {row["layer"] for row, on in zip(rows, found, strict=True) if on}
    return [on or (row["kind"] == "idle" and row["layer"] in layers) for row, on in zip(rows, found, strict=True)]


def _needs_synapses_and_neurons(row: Row) -> bool:
    graded = row["kind"] == "neuron" and row["output_bits"] > 1
    return row["kind"] in (*SYNAPTIC, "neuron") and not graded and not beyond_synapses(row)


def _nm(model: Profile) -> int:
    """Node of a hardware, in nanometres."""
    return max(constants()[name].node_nm for price in model.prices.values() for name in price.ids)
