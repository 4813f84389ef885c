"""Where operands are kept, and what one bit of each costs there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from neurosparse.energy.assumptions import Assumptions
from neurosparse.errors import InputError

__all__ = ["WORD", "Memory", "Place", "footprint", "largest", "memory_of", "places", "sram", "weight_bits"]

#: Bits of a bias.
WORD = 32
#: Capacities in bytes for which the price of a 64-bit SRAM access is known.
SRAM = {8 * 1024: "sram_8k", 32 * 1024: "sram_32k", 1024 * 1024: "sram_1m"}


@dataclass(frozen=True)
class Memory:
    """How large on-chip memories are, who shares them, and how wide an access is.

    Args:
        capacity: bytes of a memory; None: as large as what it holds, up to the largest with a published price.
        per_layer: each layer has a memory for weights, one for states and buffers for messages, instead of one memory
            for the whole model.
        off_chip: every weight stays in DRAM.
        banks: of that capacity each; an access costs what one of them takes, and all of them hold the operands.
        width: bits of one access; a 32-bit access costs half of a 64-bit one.
        packed: narrow operands share an access; False: each operand is an access of its own, or several.
        messages: events that a buffer between two layers holds, where each layer has one (Lemaire 2022: 1000).

    Raises:
        InputError: a size below 1.

    Example:
        >>> Memory(packed=False).charged(8), Memory().charged(8)
        (64, 8)
    """

    capacity: int | None = None
    per_layer: bool = False
    off_chip: bool = False
    banks: int = 1
    width: int = 64
    packed: bool = True
    messages: int = 1000

    def __post_init__(self) -> None:
        if min(1 if self.capacity is None else self.capacity, self.banks, self.width, self.messages) < 1:
            raise InputError("Memory", got=self, expected="capacity, banks, width and messages of at least 1")
        if self.capacity is None and self.banks > 1:
            fix = "Pass capacity=, the bytes of each."
            raise InputError("Memory", got=f"{self.banks} banks of any size", expected="their capacity", fix=fix)

    @property
    def sentence(self) -> str:
        """The same in words.

        Example:
            >>> Memory(capacity=8192).sentence
            'All layers share one memory of 8192 bytes; operands are packed into accesses of 64 bits.'
        """
        weights = "Weights are in DRAM; all" if self.off_chip else "All"
        shared = f"{weights} layers {'have memories of their own' if self.per_layer else 'share one memory'}"
        size = "as large as what they hold" if self.capacity is None else f"of {self.capacity} bytes"
        banks = f" in each of {self.banks} banks" if self.banks > 1 else ""
        packed = "operands are packed into accesses" if self.packed else "each operand is an access"
        return f"{shared} {size}{banks}; {packed} of {self.width} bits."

    def charged(self, bits: float) -> float:
        """Bits that are paid for when an operand of ``bits`` is moved."""
        return bits if self.packed else self.width * math.ceil(bits / self.width)


class Place(NamedTuple):
    """Picojoules per bit of a layer's operands: weights, states, inputs that are dense or events, dense outputs."""

    weight: float
    state: float
    dense_input: float
    events: float
    dense_output: float


def memory_of(memory: Memory | Literal["auto", "dram", "per_layer"] | int, default: Memory, most: float) -> Memory:
    """The memory that ``estimate(memory=...)`` names, on a hardware whose largest SRAM holds ``most`` bytes."""
    names = {"auto": default, "dram": Memory(off_chip=True), "per_layer": Memory(per_layer=True)}
    found = names.get(memory) if isinstance(memory, str) else memory
    if isinstance(found, int) and not isinstance(found, bool) and found > 0:
        found = Memory(capacity=found)
    if not isinstance(found, Memory) or (found.capacity or 1) > most or (found.off_chip and most == math.inf):
        words = "a Memory" + ("" if most == math.inf else f', "dram" or 1 to {most:.0f} bytes')
        raise InputError("estimate", got=f"memory={memory!r}", expected=f'"auto", "per_layer", {words}')
    return found


def largest(draw: Mapping[str, float]) -> float:
    """Bytes of the largest memory that may stay on a chip: without a price for DRAM nothing can leave it."""
    return max(SRAM) if "dram" in draw else math.inf


def sram(capacity: float, draw: Mapping[str, float], width: int = 64) -> float:
    """Picojoules per bit of an access to an SRAM of that capacity.

    Log-log between the published capacities, never below the smallest, in proportion to the width. Where the draw has
    a base and a slope: linear in capacity, for a whole access whatever its width.

    Args:
        capacity: bytes.
        draw: prices, as `Profile.draws` gives them.
        width: bits of an access.

    Example:
        >>> round(sram(32 * 1024, {"sram_8k": 10.0, "sram_32k": 20.0, "sram_1m": 100.0}), 6)  # 20 pJ per 64 bit
        0.3125
    """
    if "sram_base" in draw:
        return (draw["sram_base"] + 8 * capacity * draw["sram_slope"]) / width
    logarithms = np.log([draw[name] for name in SRAM.values()])
    return float(np.exp(np.interp(np.log(max(capacity, 1.0)), np.log(list(SRAM)), logarithms))) / 64


def footprint(row: Mapping[str, Any], assume: Assumptions) -> tuple[float, float]:
    """Bytes of a layer's weights, in the smallest format, with its biases; and of its states."""
    bits = [weight_bits(row, format) for format in assume.weight_formats]
    weights = min(kept * (row["weight_bits"] + beside) for kept, beside in bits)
    return (weights + WORD * row["biases"]) / 8, row["states"] * assume.state_bits / 8


def weight_bits(row: Mapping[str, Any], format: str) -> tuple[float, float]:
    """How many weights a format stores, and the bits it needs beside each: an index, or its share of a mask."""
    kept, _, group = format.partition(":")
    if group:
        return row["weights"] * int(kept) / int(group), (int(group) - 1).bit_length()
    if format == "dense":
        return row["weights"], 0.0
    nonzero = row["nonzero_weights"]
    return nonzero, row["index_bits"] if format == "csr" else row["weights"] / max(nonzero, 1)


def places(
    rows: Sequence[Mapping[str, Any]], memory: Memory, assume: Assumptions, draw: Mapping[str, float]
) -> list[Place]:
    """What a bit of each row's operands costs.

    Weights leave the chip first, then states: a share ``f`` that does not fit is fetched from DRAM at
    ``(1 - f) p + f p_DRAM``.
    """
    sizes = [footprint(row, assume) for row in rows]
    if memory.per_layer:
        return [_own(row, *size, memory, assume, draw) for row, size in zip(rows, sizes, strict=True)]
    weights, states = (sum(column) for column in zip(*sizes, strict=True))
    weights = 0.0 if memory.off_chip else weights
    capacity = memory.capacity or min(weights + states, largest(draw))
    bit, away = sram(capacity, draw, memory.width), draw.get("dram", 0.0) / 64
    room = memory.banks * capacity
    weight = away if memory.off_chip else _mixed(weights, room - states, bit, away)
    state = _mixed(states, room, bit, away)
    return [Place(weight, state, bit, bit, bit)] * len(rows)


def _own(
    row: Mapping[str, Any],
    weights: float,
    states: float,
    memory: Memory,
    assume: Assumptions,
    draw: Mapping[str, float],
) -> Place:
    """A layer with memories of its own."""
    most, away = memory.capacity or largest(draw), draw.get("dram", 0.0) / 64

    def price(size: float) -> float:
        return _mixed(size, memory.banks * most, sram(memory.capacity or min(size, most), draw, memory.width), away)

    sums = row["outputs"] * assume.state_bits / 8
    value = row["input_bits"] if row["input_bits"] > 1 else 0
    message = memory.charged(row["address_bits"] + value)
    return Place(
        away if memory.off_chip else price(weights),
        price(max(states, sums)),
        price(row["inputs"] * row["input_bits"] / 8),
        price(memory.messages * message / 8),
        price(sums),
    )


def _mixed(size: float, room: float, bit: float, away: float) -> float:
    """The price of a bit where what does not fit into the room comes from DRAM."""
    outside = min(1.0, max(0.0, size - room) / size) if size > 0 else 0.0
    return (1 - outside) * bit + outside * away
