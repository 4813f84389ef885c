"""Dataflows of a digital circuit: how often each operand of a layer is read from memory and written to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["CHEAPEST", "CHEAPEST_OF", "DATAFLOWS", "Dataflow", "Traffic", "Work"]


class Work(NamedTuple):
    """Operations and operands of one execution of a synaptic layer, per sample (means over samples)."""

    operations: float
    inputs: float
    weights: float
    outputs: float
    bias_adds: float
    biases: float
    events: bool = False
    slides: bool = False


class Traffic(NamedTuple):
    """Number of operands that a dataflow moves, per sample."""

    weight_reads: float = 0
    bias_reads: float = 0
    input_reads: float = 0
    input_writes: float = 0
    partial_sums: float = 0
    output_writes: float = 0


@dataclass(frozen=True)
class Dataflow:
    """One order of the operations of a layer: its description and its memory traffic.

    ``memory``: whether memory traffic is charged. ``sends``: whether neurons are charged for writing their spikes;
    otherwise the layer that reads an input is charged for writing it.
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
    # A sample with fewer operations than weights loads at most one weight per operation. The work is a mean over
    # samples, so the minimum is an upper bound if some samples have more operations than weights and others fewer.
    weights = min(work.weights, work.operations)
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
#: Its name in the names of scenarios.
CHEAPEST = "cheapest dataflow per layer"
