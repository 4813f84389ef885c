"""Which operand is kept and which is fetched again: the dataflows of a digital circuit, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from neurosparse.errors import InputError
from neurosparse.measure.ledger import Ledger

__all__ = [
    "DATAFLOWS",
    "EXECUTIONS",
    "Dataflow",
    "accumulator",
    "annotated",
    "footprint",
    "scalar_energy",
    "synaptic_energy",
]

#: Bits of a partial sum, of a bias and of a neuron's state.
WORD = 32


class Execution(NamedTuple):
    """Whether a circuit skips zero inputs (and pays for addresses) and zero weights (and pays for indices)."""

    name: str
    skips_inputs: bool
    skips_weights: bool


EXECUTIONS = (
    Execution("dense", False, False),
    Execution("skip zero inputs", True, False),
    Execution("skip zero weights", False, True),
    Execution("skip both", True, True),
)


class Work(NamedTuple):
    """What one execution of a synaptic layer does, per sample."""

    operations: float
    inputs: float
    weights: float
    outputs: float
    bias_adds: float
    biases: float


class Traffic(NamedTuple):
    """How many operands a dataflow moves for that work."""

    weight_reads: float
    bias_reads: float
    input_reads: float
    partial_sums: float


@dataclass(frozen=True)
class Dataflow:
    """One way to order the same operations: a sentence and the traffic it causes."""

    sentence: str
    traffic: Callable[[Work], Traffic]
    memory: bool = True


DATAFLOWS: Mapping[str, Dataflow] = MappingProxyType(
    {
        "compute_only": Dataflow(
            "Arithmetic only: the popular number, which ignores that operands have to be fetched.",
            lambda work: Traffic(0, 0, 0, 0),
            memory=False,
        ),
        "no_reuse": Dataflow(
            "Every operation fetches its weight and its input, and reads and writes its partial sum.",
            lambda work: Traffic(
                work.operations, work.bias_adds, work.operations, 2 * (work.operations + work.bias_adds)
            ),
        ),
        "weight_stationary": Dataflow(
            "Weights and biases are loaded once per sample and stay for all its steps; each input is read once and "
            "sent to all its weights; every operation reads and writes its partial sum.",
            lambda work: Traffic(work.weights, work.biases, work.inputs, 2 * (work.operations + work.bias_adds)),
        ),
        "output_stationary": Dataflow(
            "A partial sum stays in a register during one step and is stored once; every operation fetches its weight "
            "and its input.",
            lambda work: Traffic(work.operations, work.bias_adds, work.operations, work.outputs),
        ),
        "event_driven": Dataflow(
            "Each input is read once and handled to the end (input stationary): every operation fetches its weight, "
            "and reads and writes its partial sum.",
            lambda work: Traffic(work.operations, work.bias_adds, work.inputs, 2 * (work.operations + work.bias_adds)),
        ),
    }
)


def accumulator(row: Mapping[str, Any]) -> tuple[str, str]:
    """Names of the multiplication and the addition that a synaptic row is made of, by the wider of its operands."""
    bits = max(row["weight_bits"], row["input_bits"])
    if bits > WORD:
        raise InputError(
            "estimate",
            got=f"layer {row['layer']!r} with {bits}-bit operands",
            expected="at most 32 bits, the widest arithmetic with a published price",
            fix="Record the model in float32.",
        )
    if bits <= 8:
        return "mul_int8", "add_int32"
    return ("mul_fp16" if bits <= 16 else "mul_fp32"), "add_fp32"


def index_bits(count: float) -> int:
    """Bits that tell ``count`` things apart.

    Example:
        >>> index_bits(1), index_bits(256), index_bits(257)
        (0, 8, 9)
    """
    return max(0, math.ceil(count) - 1).bit_length()


def annotated(ledger: Ledger) -> tuple[dict[str, Any], ...]:
    """The rows of a ledger per sample, with what their ratios say about the layer itself (from the exact integers).

    ``address_bits`` name an event's input unit; ``index_bits`` name a stored weight's output among those that its input
    reaches; ``states`` and ``biases`` are how many the layer has.
    """

    def ratio(row: Mapping[str, Any], numerator: str, denominator: str) -> float:
        return row[numerator] / row[denominator] if row[denominator] else 0.0

    return tuple(
        {
            **mean,
            "address_bits": index_bits(ratio(row, "input_cells", "charged_rows")),
            "index_bits": index_bits(ratio(row, "dense_ops", "input_cells")),
            "states": ratio(row, "state_updates", "charged_rows"),
            "biases": ratio(row, "bias_adds", "charged_rows"),
        }
        for row, mean in zip(ledger.rows, ledger.per_sample, strict=True)
    )


def footprint(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Bytes of a model's weights (each layer dense or compressed, whichever is smaller) and of its states."""
    weights = sum(
        min(row["weights"] * row["weight_bits"], row["nonzero_weights"] * (row["weight_bits"] + row["index_bits"]))
        for row in rows
    )
    return weights / 8, sum(row["states"] for row in rows) * WORD / 8


def _work(row: Mapping[str, Any], execution: Execution) -> Work:
    effective = row["effective_macs"] + row["effective_acs"]
    # Skipping zeros that are not there changes nothing: then the exact count holds.
    no_zero_inputs = execution.skips_inputs or row["input_events"] == row["input_cells"]
    no_zero_weights = execution.skips_weights or row["nonzero_weights"] == row["weights"]
    if no_zero_inputs and no_zero_weights:
        operations = effective
    else:  # a layer's mean fan-out: exact for linear layers, for convolutions up to their borders
        operations = row["dense_ops"]
        operations *= row["input_events"] / row["input_cells"] if execution.skips_inputs and row["input_cells"] else 1
        operations *= row["nonzero_weights"] / row["weights"] if execution.skips_weights and row["weights"] else 1
    return Work(
        max(operations, effective),
        row["input_events"] if execution.skips_inputs else row["input_cells"],
        row["nonzero_weights"] if execution.skips_weights else row["weights"],
        row["output_cells"],
        row["bias_adds"],
        row["biases"],
    )


def synaptic_energy(
    row: Mapping[str, Any], execution: Execution, dataflow: Dataflow, price: Mapping[str, float]
) -> dict[str, float]:
    """Picojoules per sample of a linear or convolutional row, split by what they are spent on."""
    work = _work(row, execution)
    reads = dataflow.traffic(work)
    multiply, add = accumulator(row)
    effective = row["effective_macs"] + row["effective_acs"]
    multiplied = row["effective_macs"] / effective if effective else float(row["input_bits"] > 1)
    address = row["address_bits"] if execution.skips_inputs else 0
    index = row["index_bits"] if execution.skips_weights else 0
    # The address of a binary event says everything; a dense binary input is one bit.
    value = 0 if execution.skips_inputs and row["input_bits"] == 1 else row["input_bits"]
    touched = reads.input_reads + work.inputs  # each input was written once, by whoever made it
    return {
        "compute": work.operations * (multiplied * price[multiply] + price[add]) + work.bias_adds * price[add],
        "weights": (reads.weight_reads * row["weight_bits"] + reads.bias_reads * WORD) * price["weight_bit"],
        "inputs": touched * value * price["working_bit"],
        "partial_sums": reads.partial_sums * WORD * price["working_bit"],
        "addressing": touched * address * price["working_bit"] + reads.weight_reads * index * price["weight_bit"],
    }


def scalar_energy(row: Mapping[str, Any], arithmetic: tuple[str, str], price: Mapping[str, float]) -> dict[str, float]:
    """Picojoules per sample of state updates, comparisons and element-wise operations, whatever the kind of the row."""
    multiply = {"add_int32": "mul_int32", "add_fp32": "mul_fp32"}[arithmetic[1]]
    updates = row["state_updates"]
    additions = updates + row["comparisons"] + row["elementwise"]
    return {
        "compute": updates * price[multiply] + additions * price[arithmetic[1]],
        "state": 2 * WORD * updates * price["working_bit"],
    }
