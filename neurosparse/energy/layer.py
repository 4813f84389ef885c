"""Energy of one row of the operation counts on a digital circuit: operations, memory traffic and their prices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.dataflow import Dataflow, Traffic, Work
from neurosparse.energy.memory import WORD, AccessEnergy, Memory, weight_bits
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

__all__ = ["Execution", "accumulator", "annotated", "executions", "scalar_energy", "synaptic_energy"]


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


def accumulator(row: Mapping[str, Any]) -> tuple[str, str]:
    """Names of the multiplication and the addition of a synaptic row, by the wider of its operands."""
    bits = max(row["weight_bits"], row["input_bits"])
    if bits > WORD:
        raise InputError(
            "estimate",
            got=f"layer {row['layer']!r} with {bits}-bit operands",
            expected="at most 32 bits, the widest arithmetic with a published price",
            fix="Record the model in float32.",
        )
    if bits <= 8:
        return ("mul_int4" if bits <= 4 else "mul_int8"), "add_int32"
    return ("mul_fp16" if bits <= 16 else "mul_fp32"), "add_fp32"


def annotated(counts: OperationCounts) -> tuple[dict[str, Any], ...]:
    """Rows per sample, with properties of the layer that follow from ratios of the exact integers.

    ``inputs`` and ``outputs`` are numbers of units; ``address_bits`` are the bits of an event's unit (for neurons: of
    the unit that sent it); ``fan_out`` is the mean number of weights of an input, ``index_bits`` the bits of a stored
    weight's index among them; ``states`` and ``biases`` are numbers of states and biases.
    """
    rows, outputs = [], 0.0
    for row, mean in zip(counts.rows, counts.per_sample, strict=True):

        def ratio(numerator: str, denominator: str, row: Mapping[str, Any] = row) -> float:
            return row[numerator] / row[denominator] if row[denominator] else 0.0

        inputs = ratio("input_cells", "charged_rows")
        outputs = ratio("output_cells", "charged_rows") or outputs
        fan_out = ratio("dense_ops", "input_cells")
        rows.append(
            {
                **mean,
                "inputs": inputs,
                "outputs": outputs,
                "fan_out": fan_out,
                "address_bits": index_bits(inputs or outputs),
                "index_bits": index_bits(fan_out),
                # A readout has no events to count its units by: it has as many as the layer before.
                "states": ratio("state_updates", "charged_rows") or min(outputs, mean["state_updates"]),
                # One per channel: weights over the mean fan-in, exact except for the padding of convolutions.
                "biases": ratio("output_cells", "dense_ops") * row["weights"] if row["bias_adds"] else 0.0,
            }
        )
    return tuple(rows)


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


def synaptic_energy(
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
    multiply, add = accumulator(row)
    effective = row["effective_macs"] + row["effective_acs"]
    multiplied = row["effective_macs"] / effective if effective else float(row["input_bits"] > 1)
    arithmetic = work.operations * (multiplied * draw[multiply] + draw[add]) + work.bias_adds * draw[add]
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
        "partial_sums": moved.partial_sums * _state(memory, assume) * access.state,
        "addressing": _addressing(row, run, work, draw),
        "outputs": moved.output_writes * memory.charged(assume.state_bits) * access.dense_output,
    }


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


def _state(memory: Memory, assume: Assumptions) -> float:
    """Bits that one access to a state or a partial sum is charged for."""
    return 0.0 if assume.sums_in_registers else memory.charged(assume.state_bits)


def _addressing(row: Mapping[str, Any], run: Execution, work: Work, draw: Mapping[str, float]) -> float:
    """Arithmetic on addresses (Lemaire 2022): counters if nothing is skipped, otherwise an addition per operation."""
    add, multiply = draw["add_int32"], draw["mul_int32"]
    if not (run.skips_inputs or run.skips_weights):
        kernel = row["charged_rows"] * row["fan_out"] if work.slides else 0.0
        return (work.inputs + work.outputs + kernel) * add
    corner = 2 * work.inputs * (multiply + add) if work.slides and run.skips_inputs else 0.0
    return work.operations * add + corner


def scalar_energy(
    row: Mapping[str, Any],
    arithmetic: tuple[str, str],
    draw: Mapping[str, float],
    access: AccessEnergy,
    memory: Memory,
    assume: Assumptions,
    sends: bool,
) -> dict[str, float]:
    """Picojoules per sample of state updates, spikes, comparisons and element-wise operations of any row."""
    add = draw[arithmetic[1]]
    multiply = draw[{"add_int32": "mul_int32", "add_fp32": "mul_fp32"}[arithmetic[1]]]
    updates, neuron = row["state_updates"], row["kind"] == "neuron"
    resets = row["spikes_out"] if neuron else 0.0
    decays = updates * (multiply + add) if assume.leak else 0.0
    sent = resets * memory.charged(row["address_bits"]) if sends else 0.0
    return {
        "compute": decays + (resets + row["comparisons"] + row["elementwise"]) * add,
        "state": 2 * updates * _state(memory, assume) * access.state,
        "outputs": sent * access.events,
    }
