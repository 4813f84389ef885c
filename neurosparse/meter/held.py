"""Tensors that a recorded model holds: parameters, buffers, and what its attributes and functions hold.

They are constants, and what is computed from them alone is prepared once. Buffers and attributes that are written or
replaced while the model runs turn out to be states; what was computed from these is counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neurosparse.meter.modules import layer_of_parameter
from neurosparse.meter.provenance import Facts, Provenance, storages_of
from neurosparse.meter.tape import Tape
from neurosparse.meter.values import ANY, Kind

__all__ = ["Held"]


class Held:
    """Notes the tensors of a model, and keeps apart what is computed from those that may be states.

    Args:
        model: the recorded module.
        others: tensors that it holds without registering them.
        known: provenance of the tensors.
        tape: where operations are summed.
    """

    def __init__(self, model: nn.Module, others: Sequence[Tensor], known: Provenance, tape: Tape):
        self.model, self.known, self.tape = model, known, tape
        self.aside: dict[frozenset[str], Tape] = {}  # what was computed from buffers, attributes and parameters alone
        parameters, self.buffers = dict(model.named_parameters()), dict(model.named_buffers())
        registered = {
            storage._cdata for x in (*parameters.values(), *self.buffers.values()) for storage in _storages(x)
        }
        self.others: dict[str, Tensor] = {}
        for number, tensor in enumerate(others):
            if not registered.isdisjoint(storage._cdata for storage in _storages(tensor)):
                continue
            learned, name = isinstance(tensor, nn.Parameter), f"a tensor of number {number}"
            if not learned:
                self.others[name] = tensor
            self._note(tensor, Facts("parameter", learned=learned), frozenset(() if learned else (name,)))
        for name, tensor in (*parameters.items(), *self.buffers.items()):
            facts = Facts("parameter", layer=layer_of_parameter(name), learned=name in parameters)
            self._note(tensor, facts, frozenset({name} & self.buffers.keys()))

    def _note(self, x: Tensor, facts: Facts, buffers: frozenset[str]) -> None:
        if nn.parameter.is_lazy(x):
            return
        read = buffers and x.layout == torch.strided and not (x.is_meta or x.is_quantized or x.is_nested)
        zero = read and not bool(x.any())  # a state that is still zero may become spikes
        self.known.note(x, facts._replace(buffers=buffers, kind=Kind((0.0,), None) if zero else ANY))

    def aside_of(self, facts: Sequence[Facts | None]) -> Tape | None:
        """Tape of what is computed from a buffer or attribute: it counts if that turns out to be a state."""
        buffers = frozenset[str]().union(*(known.buffers for known in facts if known is not None))
        if not buffers:
            return None
        tape = self.aside.setdefault(buffers, Tape(self.tape.calls))
        tape.batch = self.tape.batch
        return tape

    def close(self, others: Sequence[Tensor]) -> None:
        """At the end, count what was computed from states.

        Args:
            others: tensors that the model holds now without registering them.
        """
        states = {name for name, buffer in self.buffers.items() if self.known.role(self._now(name, buffer)) == "signal"}
        held = {storage._cdata for x in others for storage in _storages(x)}
        replaced = any(self.known.role(x) == "signal" for x in others)
        for name, tensor in self.others.items():
            gone = replaced and held.isdisjoint(storage._cdata for storage in _storages(tensor))
            if gone or self.known.role(tensor) == "signal":
                states.add(name)
        for buffers, tape in self.aside.items():
            if not buffers.isdisjoint(states):
                self.tape.absorb(tape)

    def _now(self, name: str, buffer: Tensor) -> Tensor:
        """The tensor that a buffer's name stands for now; assignment replaces it."""
        owner: object = self.model
        for part in name.split("."):
            owner = getattr(owner, part, None)
        return owner if isinstance(owner, Tensor) else buffer


def _storages(x: Tensor) -> list:
    return [] if nn.parameter.is_lazy(x) else [*storages_of(x)]
