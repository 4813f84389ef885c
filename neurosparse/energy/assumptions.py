"""What an estimate takes for granted beyond hardware, dataflow and memory: each a value that can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from neurosparse.errors import InputError

__all__ = ["INPUT_FORMATS", "WEIGHT_FORMATS", "Assumptions"]

INPUT_FORMATS = ("dense", "bitmap", "aer")
WEIGHT_FORMATS = ("dense", "bitmap", "csr")


@dataclass(frozen=True)
class Assumptions:
    """What can be assumed of a circuit and of the layers that run on it.

    Args:
        state_bits: of a neuron's state and of a partial sum.
        sums_in_registers: partial sums and states stay beside the arithmetic, and cost no access to a memory.
        leak: a state decays (LIF); False: it only integrates (IF), so that its update costs no arithmetic.
        reuse: operations served by one fetch of a weight where a layer does not skip zero inputs: samples of a batch,
            or positions of a convolution.
        input_formats: how a layer may receive its inputs; the cheapest is taken.
        weight_formats: how it may fetch its weights; ``"n:m"``, say ``"2:4"``, promises that of ``m`` weights in a row
            at most ``n`` are not zero.
        doubt: prices whose names begin so, all off by this factor either way: a scenario, not a sourced range.

    Raises:
        InputError: a value that makes no sense, or an unknown format.

    Example:
        >>> Assumptions(state_bits=16, doubt={"sram": 2.0}).state_bits
        16
    """

    state_bits: int = 32
    sums_in_registers: bool = False
    leak: bool = True
    reuse: float = 1.0
    input_formats: tuple[str, ...] = INPUT_FORMATS
    weight_formats: tuple[str, ...] = WEIGHT_FORMATS
    doubt: Mapping[str, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The same in words; doubts are said with the range.

        Example:
            >>> Assumptions(state_bits=16, leak=False).sentence
            'States and partial sums have 16 bits; neurons integrate without a leak.'
        """
        kept = " and stay in registers" if self.sums_in_registers else ""
        leak = "states decay in every step" if self.leak else "neurons integrate without a leak"
        said = f"States and partial sums have {self.state_bits} bits{kept}; {leak}"
        reuse = f"; one fetch of a weight serves {self.reuse:g} operations where zero inputs are not skipped"
        inputs = f"; inputs come {', '.join(self.input_formats)}" if self.input_formats != INPUT_FORMATS else ""
        weights = f"; weights are {', '.join(self.weight_formats)}" if self.weight_formats != WEIGHT_FORMATS else ""
        return said + (reuse if self.reuse > 1 else "") + inputs + weights + "."

    def __post_init__(self) -> None:
        if self.state_bits < 1 or self.reuse < 1 or any(not factor >= 1 for factor in self.doubt.values()):
            got = f"state_bits={self.state_bits}, reuse={self.reuse}, doubt={dict(self.doubt)}"
            raise InputError("Assumptions", got=got, expected="values of at least 1")
        structured = tuple(name for name in self.weight_formats if _is_pattern(name))
        for names, known in (
            (self.input_formats, INPUT_FORMATS),
            (self.weight_formats, (*WEIGHT_FORMATS, *structured)),
        ):
            if not names or not set(names) <= set(known):
                raise InputError("Assumptions", got=names, expected=f"at least one of {', '.join(known)} or n:m")


def _is_pattern(name: str) -> bool:
    kept, _, group = name.partition(":")
    return kept.isdecimal() and group.isdecimal() and 0 < int(kept) < int(group)
