"""Memory model: where operands are stored, and the energy of one bit of an access there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from neurosparse.checks import one_of, whole
from neurosparse.energy.assumptions import Assumptions
from neurosparse.errors import InputError

__all__ = [
    "WORD",
    "AccessEnergy",
    "Memory",
    "access_energies",
    "footprint",
    "largest_sram",
    "memory_of",
    "sram",
    "weight_bits",
]

#: Bits of a bias.
WORD = 32
#: Capacities in bytes for which the energy of a 64-bit SRAM access is published.
SRAM = {8 * 1024: "sram_8k", 32 * 1024: "sram_32k", 1024 * 1024: "sram_1m"}


@dataclass(frozen=True)
class Memory:
    """On-chip memories: their size, which layers share them, and the width of an access.

    Args:
        capacity: bytes of a memory; None: the size of its contents, up to the largest with a published price.
        per_layer: each layer has a memory for weights, one for states and buffers for messages, instead of one memory
            for the whole model.
        off_chip: every weight is in DRAM.
        banks: number of memories of that capacity; together they hold the operands, and an access is to one of them.
        width: bits of one access; a 32-bit access costs half of a 64-bit one.
        packed: narrow operands share an access; False: each operand is an access of its own, or several.
        messages: number of events in a buffer between two layers, with ``per_layer`` (Lemaire 2022: 1000).

    Raises:
        InputError: a size that is no whole number of at least 1; several banks without a capacity.

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
        for name in ("capacity", "banks", "width", "messages"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole("Memory", name, getattr(self, name)))
        if self.capacity is None and self.banks > 1:
            fix = "Pass capacity=, the bytes of each."
            raise InputError("Memory", got=f"{self.banks} banks of any size", expected="their capacity", fix=fix)

    @property
    def sentence(self) -> str:
        """The memory in words.

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
        """Bits that an access to an operand of ``bits`` is charged for."""
        return bits if self.packed else self.width * math.ceil(bits / self.width)


class AccessEnergy(NamedTuple):
    """Picojoules per bit of an access to each operand of a layer."""

    weight: float
    state: float
    dense_input: float
    events: float
    dense_output: float


def memory_of(memory: Memory | Literal["auto", "dram", "per_layer"] | int, default: Memory, most: float) -> Memory:
    """Memory of the argument ``estimate(memory=...)``, for hardware whose largest SRAM has ``most`` bytes."""
    names = {"auto": default, "dram": Memory(off_chip=True), "per_layer": Memory(per_layer=True)}
    fix = "Pass 'auto', 'per_layer', 'dram', a number of bytes or a Memory."
    if isinstance(memory, Memory):
        found = memory
    elif isinstance(memory, str):
        found = names[one_of("estimate", "memory", memory, names, fix)]
    else:
        found = Memory(capacity=whole("estimate", "memory", memory, fix=fix))
    if found.off_chip and most == math.inf:
        raise InputError(
            "estimate", got=f"memory={memory!r}", expected="memory on the chip: no price for DRAM is known"
        )
    if (found.capacity or 1) > most:
        raise InputError("estimate", got=f"memory={memory!r}", expected=f"a capacity of at most {most:.0f} bytes")
    return found


def largest_sram(draw: Mapping[str, float]) -> float:
    """Bytes of the largest memory on the chip; infinite without a price for DRAM, as then all operands are on it."""
    return max(SRAM) if "dram" in draw else math.inf


def sram(capacity: float, draw: Mapping[str, float], width: int = 64) -> float:
    """Picojoules per bit of an access to an SRAM of that capacity.

    Interpolated log-log between the published capacities, constant below the smallest, proportional to the width. If
    the prices have a base and a slope, the energy of an access is linear in the capacity, whatever its width.

    Args:
        capacity: bytes.
        draw: prices in picojoules, one of `Profile.draws`.
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
    """Bytes that a layer adds to a memory of all layers: of its weights, in the smallest format, with its biases; and
    of its states.

    Weights that an earlier row has already (``shared_weights``) are stored once. Weights that no operation reads (kind
    ``idle``) are stored too.
    """
    own = {name: row[name] - row[f"shared_{name}"] for name in ("weights", "nonzero_weights")}
    return _stored({**row, **own}, assume), row["states"] * row["state_bits"] / 8


def _stored(row: Mapping[str, Any], assume: Assumptions) -> float:
    """Bytes of the weights of a row in the smallest of the assumed formats, and of its biases."""
    formats = [name for name in assume.weight_formats if row["kind"] != "idle" or ":" not in name] or ["dense"]
    bits = [weight_bits(row, format) for format in formats]
    return (min(kept * (row["weight_bits"] + beside) for kept, beside in bits) + WORD * row["biases"]) / 8


def weight_bits(row: Mapping[str, Any], format: str) -> tuple[float, float]:
    """Number of weights that a format stores, and bits beside each of them (an index, or its share of a mask)."""
    kept, _, group = format.partition(":")
    if group:
        return row["weights"] * int(kept) / int(group), (int(group) - 1).bit_length()
    if format == "dense":
        return row["weights"], 0.0
    nonzero = row["nonzero_weights"]
    return nonzero, row["index_bits"] if format == "csr" else row["weights"] / max(nonzero, 1)


def access_energies(
    rows: Sequence[Mapping[str, Any]], memory: Memory, assume: Assumptions, draw: Mapping[str, float]
) -> list[AccessEnergy]:
    """Energy per bit of the operands of each row.

    What does not fit on the chip is fetched from DRAM, weights first, then states. With ``f`` the share in DRAM, the
    energy is ``(1 - f) p + f p_DRAM``.
    """
    if memory.per_layer:
        return [_layer_memories(row, memory, assume, draw) for row in rows]
    sizes = [footprint(row, assume) for row in rows]
    weights = 0.0 if memory.off_chip else sum(weights for weights, _ in sizes)
    states = sum(states for _, states in sizes)
    capacity = memory.capacity or min(weights + states, largest_sram(draw))
    bit, away = sram(capacity, draw, memory.width), draw.get("dram", 0.0) / 64
    room = memory.banks * capacity
    weight = away if memory.off_chip else _mixed(weights, room - states, bit, away)
    state = _mixed(states, room, bit, away)
    return [AccessEnergy(weight, state, bit, bit, bit)] * len(rows)


def _layer_memories(
    row: Mapping[str, Any], memory: Memory, assume: Assumptions, draw: Mapping[str, float]
) -> AccessEnergy:
    """Energy per bit of a layer with memories of its own; shared weights are read from a memory that holds all."""
    weights, (_, states) = _stored(row, assume), footprint(row, assume)
    most, away = memory.capacity or largest_sram(draw), draw.get("dram", 0.0) / 64

    def price(size: float) -> float:
        return _mixed(size, memory.banks * most, sram(memory.capacity or min(size, most), draw, memory.width), away)

    sums = row["outputs"] * row["state_bits"] / 8
    value = row["input_bits"] if row["input_bits"] > 1 else 0
    message = memory.charged(row["address_bits"] + value)
    return AccessEnergy(
        away if memory.off_chip else price(weights),
        price(max(states, sums)),
        price(row["inputs"] * row["input_bits"] / 8),
        price(memory.messages * message / 8),
        price(sums),
    )


def _mixed(size: float, room: float, bit: float, away: float) -> float:
    """Energy per bit of ``size`` bytes: of at most ``room`` bytes that on the chip, of the rest that of DRAM."""
    outside = min(1.0, max(0.0, size - room) / size) if size > 0 else 0.0
    return (1 - outside) * bit + outside * away
