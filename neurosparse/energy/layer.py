"""Energy of one row of the operation counts on a digital circuit: operations, memory traffic and their prices."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import Dataflow, Traffic, Work
from neurosparse.energy.memory import WORD, AccessEnergy, Memory, access_energies, weight_bits
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import SYNAPTIC, OperationCounts

__all__ = ["annotated", "circuit_rows", "counts_of", "operand_bits", "sum_format"]


class Execution(NamedTuple):
    """Formats of the inputs and weights of a layer, which determine the zeros that it skips."""

    inputs: str = "dense"
    weights: str = "dense"

    @property
    def skips_inputs(self) -> bool:
        return self.inputs != "dense"

    @property
    def skips_weights(self) -> bool:
        return self.weights != "dense"

    @property
    def name(self) -> str:
        skipped = {(True, False): "skip zero inputs", (False, True): "skip zero weights", (True, True): "skip both"}
        return skipped.get((self.skips_inputs, self.skips_weights), "dense")


def executions(row: Mapping[str, Any], assume: Assumptions) -> Iterator[Execution]:
    """All combinations of the assumed formats for a layer."""
    for weights in assume.weight_formats:
        kept, _, group = weights.partition(":")
        if group and row["nonzero_weights"] * int(group) > row["weights"] * int(kept):
            got = f"{row['nonzero_weights']} of {row['weights']} weights of {row['layer']!r} not zero"
            fix = f"Prune it to {weights}, or leave that format out."
            raise InputError("estimate", got=got, expected=f"at most {kept} of {group}", fix=fix)
        yield from (Execution(inputs, weights) for inputs in assume.input_formats)


def index_bits(count: float) -> int:
    """Bits of an index into ``count`` entries.

    Example:
        >>> index_bits(1), index_bits(256), index_bits(257)
        (0, 8, 9)
    """
    return max(0, math.ceil(count) - 1).bit_length()


def counts_of(where: str, counts: Any) -> OperationCounts:
    """Operation counts of at least one sample.

    Raises:
        InputError: anything else, such as a network or a tape.
    """
    if not isinstance(counts, OperationCounts):
        got, fix = f"counts of type {type(counts).__name__}", "Pass ns.count(tape), of a tape that ns.record made."
        raise InputError(where, got=got, expected="operation counts", fix=fix)
    if counts.samples < 1:
        raise InputError(where, got="0 samples", expected="at least one", fix="Record a forward pass.")
    return counts


def operand_bits(row: Mapping[str, Any]) -> int:
    """Bits of the wider operand of a synaptic row, which determine its arithmetic; of an idle row, of its weights.

    Raises:
        InputError: no bits, or more than 32.
    """
    known = {name: row[name] for name in (("weight_bits",) if row["kind"] == "idle" else ("weight_bits", "input_bits"))}
    if min(known.values()) < 1:
        got = f"layer {row['layer']!r} with {' and '.join(f'{name}={bits}' for name, bits in known.items())}"
        fix = "Take the counts of a recorded network, or write the bits into the row."
        raise InputError("estimate", got=got, expected="at least 1 bit for each operand", fix=fix)
    bits = max(known.values())
    if bits > WORD:
        raise InputError(
            "estimate",
            got=f"layer {row['layer']!r} with {bits}-bit operands",
            expected="at most 32 bits, the widest arithmetic with a published price",
            fix="Record the model in float32.",
        )
    return bits


def multiplication(bits: int) -> str:
    """Name of the price of a multiplication of operands of ``bits``: integers up to 8 bits, else floating point."""
    return next(name for most, name in ((4, "int4"), (8, "int8"), (16, "fp16"), (WORD, "fp32")) if bits <= most)


def sum_format(bits: int, state_bits: int) -> str:
    """Number format of sums and states of ``state_bits`` after a layer whose operands have ``bits``.

    Integers after operands of up to 8 bits, else floating point.

    Example:
        >>> sum_format(8, 32), sum_format(8, 16), sum_format(32, 32)
        ('int32', 'int16', 'fp32')
    """
    if bits > 8:
        return "fp16" if state_bits <= 16 else "fp32"
    return next(f"int{most}" for most in (8, 16, WORD) if state_bits <= most)


def annotated(counts: OperationCounts, assume: Assumptions | None = None) -> tuple[dict[str, Any], ...]:
    """Rows per sample, with properties of the layer that follow from ratios of the exact integers.

    ``inputs`` and ``outputs`` are numbers of units; ``address_bits`` are the bits of an event's unit (for neurons: of
    the unit that sent it); ``fan_out`` is the mean number of weights of an input, ``index_bits`` the bits of a stored
    weight's index among them; ``states`` and ``biases`` are numbers of states and biases. ``leak`` and ``state_bits``
    (of states and partial sums) are those that are charged, ``format`` is that of the sums of the row.
    """
    assume = assume or Assumptions()
    rows, outputs, operands = [], 0.0, WORD
    for i, (row, mean) in enumerate(zip(counts.rows, counts.per_sample, strict=True)):

        def ratio(numerator: str, denominator: str, row: Mapping[str, Any] = row) -> float:
            return row[numerator] / row[denominator] if row[denominator] else 0.0

        inputs = ratio("input_cells", "charged_rows")
        outputs = ratio("output_cells", "charged_rows") or outputs
        fan_out = ratio("dense_ops", "input_cells")
        forward = row["phase"] == "forward"  # training acts on the states of the forward pass
        # Scalar operations have the operands of the last synaptic row before them.
        operands = operand_bits(row) if row["kind"] in SYNAPTIC else operands
        state_bits = assume.state_bits or _bits_that_ran(counts.rows, i)
        rows.append(
            {
                **mean,
                "leak": (row["leak"] or "multiply") if assume.leak == "as_run" else assume.leak,
                "state_bits": state_bits,
                "format": sum_format(operands, state_bits),
                "inputs": inputs,
                "outputs": outputs,
                "fan_out": fan_out,
                "address_bits": index_bits(inputs or outputs),
                # An idle row has no fan-out: an index is among all its weights.
                "index_bits": index_bits(row["weights"] if row["kind"] == "idle" else fan_out),
                # A readout has no events to count its units by: it has as many as the layer before.
                "states": forward * (ratio("state_updates", "charged_rows") or min(outputs, mean["state_updates"])),
                # One per channel: weights over the mean fan-in, exact except for the padding of convolutions.
                "biases": ratio("output_cells", "dense_ops") * row["weights"] if row["bias_adds"] else 0.0,
            }
        )
    return tuple(rows)


def _bits_that_ran(rows: Sequence[Mapping[str, Any]], i: int) -> int:
    """Bits of the states and partial sums of a row: of neurons their own, of a layer those of the membranes it adds to.

    A layer adds to the membranes of the neurons in the next row, or, with recurrent weights, of the module around it.
    """
    row = rows[i]
    if row["kind"] not in (*SYNAPTIC, "neuron"):
        return WORD
    around = (one for one in rows if row["layer"].startswith(f"{one['layer']}."))
    fed = [row] if row["kind"] == "neuron" else [*rows[i + 1 : i + 2], *around]
    bits = [one["state_bits"] for one in fed if one["kind"] == "neuron" and one["phase"] == row["phase"]]
    return bits[0] if bits else WORD


def _work(row: Mapping[str, Any], run: Execution) -> Work:
    """Operations and operands of a row, per sample, if the zeros of ``run`` are skipped."""
    weights, _ = weight_bits(row, run.weights)
    effective = row["effective_macs"] + row["effective_acs"]
    # The exact count holds if every zero that exists is skipped.
    no_zero_inputs = run.skips_inputs or row["input_events"] == row["input_cells"]
    no_zero_weights = row["nonzero_weights"] == weights
    skipped = row["skipped_zero_inputs" if run.skips_inputs else "skipped_zero_weights"]
    if no_zero_inputs and no_zero_weights:
        operations = effective
    elif skipped and run.skips_inputs != run.skips_weights and ":" not in run.weights:
        operations = row["dense_ops"] - skipped
    else:  # from the mean fan-out: exact for linear layers, for convolutions except at borders
        operations = row["dense_ops"]
        operations *= row["input_events"] / row["input_cells"] if run.skips_inputs and row["input_cells"] else 1
        operations *= weights / row["weights"] if run.skips_weights and row["weights"] else 1
    return Work(
        max(operations, effective),
        row["input_events"] if run.skips_inputs else row["input_cells"],
        weights,
        row["output_cells"],
        row["bias_adds"],
        row["biases"],
        run.skips_inputs,
        row["kind"] == "conv",
    )


def _synaptic_energy(
    row: Mapping[str, Any],
    run: Execution,
    dataflow: Dataflow,
    draw: Mapping[str, float],
    access: AccessEnergy,
    memory: Memory,
    assume: Assumptions,
) -> dict[str, float]:
    """Picojoules per sample of a synaptic row, by part."""
    work = _work(row, run)
    moved = dataflow.traffic(work)
    bits = operand_bits(row)
    multiply, add = draw[f"mul_{multiplication(bits)}"], draw[f"add_{row['format']}"]
    arithmetic = work.operations * (_multiplied(row) * multiply + add) + work.bias_adds * add
    if not dataflow.memory:
        return {"compute": arithmetic}
    values, addresses = _inputs(row, run, work, moved, memory)
    price = access.events if run.skips_inputs else access.dense_input
    # A fetched weight serves several operations only if no operation is skipped for a zero input.
    reads = moved.weight_reads / (1 if run.skips_inputs else assume.reuse)
    weight, (_, index) = row["weight_bits"], weight_bits(row, run.weights)
    whole = memory.charged(weight + index)
    share = index / (weight + index) if weight + index else 0.0
    home = (
        access.state if row["kind"] == "matmul" else access.weight
    )  # the second signal of a product is stored with the states
    fetched = reads * whole * home
    return {
        "compute": arithmetic,
        "weights": fetched * (1 - share) + moved.bias_reads * memory.charged(WORD) * home,
        "inputs": values * price,
        "indices": addresses * price + fetched * share,
        "partial_sums": moved.partial_sums * _state(row, memory, assume) * access.state,
        "addressing": _addressing(row, run, work, draw),
        "outputs": moved.output_writes * memory.charged(row["state_bits"]) * access.dense_output,
    }


def _multiplied(row: Mapping[str, Any]) -> float:
    """Share of the operations of a synaptic row that multiply; a row without effective operations: by its inputs."""
    effective = row["effective_macs"] + row["effective_acs"]
    return row["effective_macs"] / effective if effective else float(row["input_bits"] > 1)


def _inputs(row: Mapping[str, Any], run: Execution, work: Work, moved: Traffic, memory: Memory) -> tuple[float, float]:
    """Bits of values, and bits of addresses or masks, of all reads and writes of inputs."""
    # A binary event is its address alone; a dense binary input is one bit.
    value = 0 if run.skips_inputs and row["input_bits"] == 1 else row["input_bits"]
    count = moved.input_reads + moved.input_writes
    if run.inputs == "bitmap":
        passes = count / work.inputs if work.inputs else 2  # an empty mask is also written and read
        return count * memory.charged(value), passes * row["input_cells"]
    address = row["address_bits"] if run.inputs == "aer" else 0
    message = memory.charged(value + address)
    share = address / (value + address) if value + address else 0.0
    return count * message * (1 - share), count * message * share


def _state(row: Mapping[str, Any], memory: Memory, assume: Assumptions) -> float:
    """Bits that one access to a state or a partial sum is charged for."""
    return 0.0 if assume.sums_in_registers else memory.charged(row["state_bits"])


def _addressing(row: Mapping[str, Any], run: Execution, work: Work, draw: Mapping[str, float]) -> float:
    """Arithmetic on addresses (Lemaire 2022): counters if nothing is skipped, otherwise an addition per operation."""
    add, multiply = draw["add_int32"], draw["mul_int32"]
    if not (run.skips_inputs or run.skips_weights):
        kernel = row["charged_rows"] * row["fan_out"] if work.slides else 0.0
        return (work.inputs + work.outputs + kernel) * add
    corner = 2 * work.inputs * (multiply + add) if work.slides and run.skips_inputs else 0.0
    return work.operations * add + corner


def _scalar_energy(
    row: Mapping[str, Any],
    draw: Mapping[str, float],
    access: AccessEnergy,
    memory: Memory,
    assume: Assumptions,
    sends: bool,
) -> dict[str, float]:
    """Picojoules per sample of state updates, spikes, comparisons and element-wise operations of any row."""
    add, multiply = draw[f"add_{row['format']}"], draw[f"mul_{row['format']}"]
    updates = row["state_updates"]
    resets = row["spikes_out"] if row["kind"] == "neuron" else 0.0
    leak = {"multiply": multiply + add, "shift": add, "none": 0.0}[row["leak"]]
    sent = resets * memory.charged(row["address_bits"]) if sends else 0.0
    return {
        "compute": updates * leak + (resets + row["comparisons"] + row["elementwise"]) * add,
        "state": 2 * updates * _state(row, memory, assume) * access.state,
        "outputs": sent * access.events,
    }


def circuit_rows(
    rows: Sequence[Mapping[str, Any]],
    flows: Mapping[str, Dataflow],
    draws: Sequence[Mapping[str, float]],
    memory: Memory,
    assume: Assumptions,
) -> list[tuple[dict[str, str], list[dict[str, float]]]]:
    """Execution of each row on a digital circuit, and its picojoules by set of prices and part.

    A synaptic row runs in the cheapest of the dataflows and formats, chosen at nominal prices, as one circuit holds for
    all prices.
    """
    accesses = [access_energies(rows, memory, assume, draw) for draw in draws]
    charges_memory = any(flow.memory for flow in flows.values())
    sends = all(flow.sends for flow in flows.values())
    priced = []
    for i, row in enumerate(rows):
        how, costs = {"execution": "", "dataflow": ""}, [{} for _ in draws]
        if row["kind"] in SYNAPTIC:

            def cost(choice: tuple, draw: int, row: Mapping[str, Any] = row, i: int = i) -> dict[str, float]:
                name, run = choice
                return _synaptic_energy(row, run, flows[name], draws[draw], accesses[draw][i], memory, assume)

            name, run = min(
                ((name, run) for name in flows for run in executions(row, assume)),
                key=lambda choice: sum(cost(choice, 0).values()),
            )
            how = {"execution": run.name, "inputs_as": run.inputs, "weights_as": run.weights, "dataflow": name}
            costs = [cost((name, run), draw) for draw in range(len(draws))]
        scalars = [
            _scalar_energy(row, draw, access[i], memory, assume, sends)
            for draw, access in zip(draws, accesses, strict=True)
        ]
        if not charges_memory:
            scalars = [{"compute": scalar["compute"]} for scalar in scalars]
        priced.append((how, [_plus(cost, scalar) for cost, scalar in zip(costs, scalars, strict=True)]))
    return priced


def _plus(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {part: a.get(part, 0.0) + b.get(part, 0.0) for part in {**a, **b}}


def prices_used(rows: Sequence[Mapping[str, Any]], memory: bool, known: Collection[str]) -> set[str]:
    """Names of the prices that the energy of these rows on a digital circuit is made of.

    Args:
        rows: per sample, as `annotated` returns them.
        memory: whether memory traffic is charged.
        known: names of the prices of the hardware.
    """
    used = {name for name in known if memory and name.partition("_")[0] in ("sram", "dram")}
    for row in rows:
        synaptic = row["kind"] in SYNAPTIC
        resets = row["spikes_out"] if row["kind"] == "neuron" else 0
        leaks = row["state_updates"] if row["leak"] != "none" else 0
        if synaptic or leaks or resets or row["comparisons"] or row["elementwise"]:
            used.add(f"add_{row['format']}")
        if leaks and row["leak"] == "multiply":
            used.add(f"mul_{row['format']}")
        if synaptic and _multiplied(row):
            used.add(f"mul_{multiplication(operand_bits(row))}")
        if synaptic and memory:
            used |= {"add_int32", "mul_int32"} if row["kind"] == "conv" else {"add_int32"}
    return used
