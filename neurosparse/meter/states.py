"""Buffers that a model writes: they turn out to be states, and what was computed from them is counted after all."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from neurosparse.meter.provenance import Facts, Provenance
from neurosparse.meter.tape import Tape

__all__ = ["States"]


class States:
    """What was computed from buffers and parameters alone, on tapes of its own until it is known what counts.

    Args:
        model: the recorded module.
    """

    def __init__(self, model: nn.Module):
        self.model, self.buffers = model, dict(model.named_buffers())
        self._tapes: dict[frozenset[str], Tape] = {}

    def tape_of(self, facts: Sequence[Facts | None], like: Tape) -> Tape | None:
        """Tape of an operator with these sources; None if it reads parameters alone, which never count."""
        buffers = frozenset[str]().union(*(known.buffers for known in facts if known is not None))
        if not buffers:
            return None
        tape = self._tapes.setdefault(buffers, Tape(like.calls))
        tape.batch = like.batch
        return tape

    def close(self, tape: Tape, known: Provenance) -> None:
        """At the end, count what was computed from buffers that were written."""
        written = {name for name, buffer in self.buffers.items() if known.role(self._now(name, buffer)) == "signal"}
        for buffers, aside in self._tapes.items():
            if not buffers.isdisjoint(written):
                tape.absorb(aside)

    def _now(self, name: str, buffer: Tensor) -> Tensor:
        """The tensor that a buffer's name stands for now; assignment replaces it."""
        owner, _, attribute = name.rpartition(".")
        try:
            now = getattr(self.model.get_submodule(owner), attribute, buffer)
        except AttributeError:
            return buffer
        return now if isinstance(now, Tensor) else buffer
