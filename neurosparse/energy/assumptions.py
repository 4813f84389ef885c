"""Assumptions of an energy estimate beyond hardware, dataflow and memory; each is a value that can be changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from neurosparse.checks import number, one_of, whole
from neurosparse.errors import InputError

__all__ = ["INPUT_FORMATS", "LEAKS", "WEIGHT_FORMATS", "Assumptions", "differs_from_run"]

INPUT_FORMATS = ("dense", "bitmap", "aer")
WEIGHT_FORMATS = ("dense", "bitmap", "csr")
#: How a state decays in a step, and what that costs. All but ``as_run`` are what-if values.
LEAKS = {
    "as_run": "states decay as they ran, by nothing at a decay of 1, by adding a shifted copy at 1 - 2^-k, and "
    "otherwise, or where the decay is not known, by a multiplication and an addition",
    "multiply": "states decay in every step by a multiplication and an addition",
    "shift": "states decay in every step by adding a shifted copy, which allows decays of 1 - 2^-k, such as 0.875",
    "none": "neurons integrate without a leak",
}


@dataclass(frozen=True)
class Assumptions:
    """Assumptions about a circuit and the layers that run on it.

    Args:
        state_bits: bits of a neuron's state and of a partial sum, 1 to 32: of each access to them, and of the additions
            and multiplications that act on them. None: as they ran, which the rows of the counts contain. Then a layer
            right before neurons adds into their membranes and has partial sums of the same bits; all others have 32.
        sums_in_registers: partial sums and states are in registers, and cost no access to a memory.
        leak: how states decay in a step. ``"as_run"``: by the decays of the network. ``"multiply"``: ``v <- beta v``, a
            multiplication and an addition per update (LIF). ``"shift"``: ``v <- v - 2^-k v``, one addition, for decays
            of ``1 - 2^-k``. ``"none"``: states only integrate (IF), and an update costs no arithmetic. If the network
            ran with another leak, the report has a sentence that says so.
        reuse: number of operations per fetch of a weight in layers that do not skip zero inputs: samples of a batch, or
            positions of a convolution.
        input_formats: formats of the inputs of a layer, of which the cheapest is taken.
        weight_formats: formats of its weights, of which the cheapest is taken; ``"n:m"``, such as ``"2:4"``, requires
            that of ``m`` successive weights at most ``n`` are not zero.
        uncertainty: by the beginning of a price's name (``"sram"``), a factor by which all these prices together may be
            higher or lower: a scenario of the user, not a range from a source.

    Raises:
        InputError: a number out of range, or an unknown format.

    Example:
        >>> Assumptions(state_bits=16, uncertainty={"sram": 2.0}).state_bits
        16
    """

    state_bits: int | None = None
    sums_in_registers: bool = False
    leak: Literal["as_run", "multiply", "shift", "none"] = "as_run"
    reuse: float = 1.0
    input_formats: tuple[str, ...] = INPUT_FORMATS
    weight_formats: tuple[str, ...] = WEIGHT_FORMATS
    uncertainty: Mapping[str, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The assumptions in words, except the uncertainty, which is reported with the range.

        Example:
            >>> Assumptions(state_bits=16, leak="none").sentence
            'States and partial sums have 16 bits; neurons integrate without a leak.'
        """
        kept = " and stay in registers" if self.sums_in_registers else ""
        bits = "the bits that ran" if self.state_bits is None else f"{self.state_bits} bits"
        states = f"States and partial sums have {bits}{kept}; {LEAKS[self.leak]}"
        reuse = f"; one fetch of a weight serves {self.reuse:g} operations where zero inputs are not skipped"
        inputs = f"; inputs come {', '.join(self.input_formats)}" if self.input_formats != INPUT_FORMATS else ""
        weights = f"; weights are {', '.join(self.weight_formats)}" if self.weight_formats != WEIGHT_FORMATS else ""
        return states + (reuse if self.reuse > 1 else "") + inputs + weights + "."

    def __post_init__(self) -> None:
        where = "Assumptions"
        factors = {name: number(where, f"uncertainty[{name!r}]", x, 1) for name, x in dict(self.uncertainty).items()}
        checked = {
            "state_bits": None if self.state_bits is None else whole(where, "state_bits", self.state_bits, 1, 32),
            "leak": one_of(where, "leak", self.leak, LEAKS),
            "reuse": number(where, "reuse", self.reuse, 1),
            "uncertainty": factors,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        patterns = tuple(name for name in self.weight_formats if _is_pattern(name))
        for name, known in (("input_formats", INPUT_FORMATS), ("weight_formats", (*WEIGHT_FORMATS, *patterns))):
            formats = getattr(self, name)
            if isinstance(formats, str) or not formats:
                fix = f"Pass {name}=({known[0]!r},)."
                raise InputError(where, got=f"{name}={formats!r}", expected="a tuple of formats", fix=fix)
            for format in formats:
                fix = "A pattern is 'n:m' with n below m, such as '2:4'." if name == "weight_formats" else ""
                one_of(where, name, format, known, fix)


def differs_from_run(rows: Iterable[Mapping[str, Any]], assume: Assumptions) -> tuple[str, ...]:
    """Sentences on a leak or bits of states that are assumed, where the neurons ran with others.

    Example:
        >>> row = {"layer": "lif", "kind": "neuron", "state_updates": 8, "leak": "multiply", "state_bits": 32}
        >>> differs_from_run([row], Assumptions(leak="shift"))
        ('The leak is not what ran: lif ran with multiply.',)
    """
    neurons, found = [row for row in rows if row["kind"] == "neuron" and row["state_updates"]], []
    leaks = {} if assume.leak == "as_run" else {row["layer"]: row["leak"] or "multiply" for row in neurons}
    bits = {} if assume.state_bits is None else {row["layer"]: row["state_bits"] for row in neurons}
    for what, ran, assumed in (("leak is", leaks, assume.leak), ("bits of states are", bits, assume.state_bits)):
        others = [f"{layer} ran with {value}" for layer, value in ran.items() if value != assumed]
        found += [f"The {what} not what ran: {', '.join(others)}."] if others else []
    return tuple(found)


def _is_pattern(name: str) -> bool:
    """Whether a format is ``n:m`` with 0 < n < m."""
    kept, _, group = str(name).partition(":")
    return kept.isdecimal() and group.isdecimal() and 0 < int(kept) < int(group)
