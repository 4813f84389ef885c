"""Which operand is kept and which is fetched again: the dataflows of a digital circuit, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["CHEAPEST", "CHEAPEST_OF", "DATAFLOWS", "Dataflow", "Traffic", "Work"]


class Work(NamedTuple):
    """What one execution of a synaptic layer does, per sample."""

    operations: float
    inputs: float
    weights: float
    outputs: float
    bias_adds: float
    biases: float
    events: bool = False
    slides: bool = False


class Traffic(NamedTuple):
    """How many operands a dataflow moves for that work; inputs are passes over all of them times their number."""

    weight_reads: float = 0
    bias_reads: float = 0
    input_reads: float = 0
    input_writes: float = 0
    partial_sums: float = 0
    output_writes: float = 0


@dataclass(frozen=True)
class Dataflow:
    """One way to order the same operations: a sentence and the traffic it causes.

    ``sends``: neurons write the spikes they send; otherwise whoever reads an input has paid for its writing.
    """

    sentence: str
    traffic: Callable[[Work], Traffic]
    memory: bool = True
    sends: bool = False


def _no_reuse(work: Work) -> Traffic:
    """The counts of Lemaire 2022."""
    if work.events:
        return Traffic(work.operations, work.bias_adds, work.inputs, 0, 2 * work.operations, 0)
    reads = work.operations if work.slides else work.inputs
    return Traffic(work.operations, work.bias_adds, reads, 0, 0, work.outputs)


def _weight_stationary(work: Work) -> Traffic:
    weights = min(work.weights, work.operations)  # of a large table, only what is looked up
    return Traffic(weights, work.biases, work.inputs, work.inputs, 2 * (work.operations + work.bias_adds))


def _output_stationary(work: Work) -> Traffic:
    return Traffic(work.operations, work.bias_adds, work.operations, work.inputs, work.outputs)


def _event_driven(work: Work) -> Traffic:
    return Traffic(work.operations, work.bias_adds, work.inputs, work.inputs, 2 * (work.operations + work.bias_adds))


DATAFLOWS: Mapping[str, Dataflow] = MappingProxyType(
    {
        "compute_only": Dataflow(
            "Arithmetic only: the popular number, which ignores that operands have to be fetched.",
            lambda work: Traffic(),
            memory=False,
        ),
        "no_reuse": Dataflow(
            "Lemaire 2022: every operation fetches its weight. Run on events, each event is read once, and every "
            "operation reads and writes a potential; run densely, a convolution fetches its input for every operation, "
            "sums stay in registers, and each output is written once.",
            _no_reuse,
            sends=True,
        ),
        "weight_stationary": Dataflow(
            "Weights and biases are loaded once per sample and stay for all its steps; each input is read once and "
            "sent to all its weights; every operation reads and writes its partial sum.",
            _weight_stationary,
        ),
        "output_stationary": Dataflow(
            "A partial sum stays in a register during one step and is stored once; every operation fetches its weight "
            "and its input.",
            _output_stationary,
        ),
        "event_driven": Dataflow(
            "Each input is read once and handled to the end (input stationary): every operation fetches its weight, "
            "and reads and writes its partial sum.",
            _event_driven,
        ),
    }
)

#: Dataflows that ``dataflow="cheapest"`` chooses from, layer by layer.
CHEAPEST_OF = ("weight_stationary", "output_stationary", "event_driven")
#: How the names of scenarios spell it.
CHEAPEST = "cheapest dataflow per layer"
