"""Provenance of tensors while a model runs: of each storage, where its values come from and what kind they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy
from torch.utils._pytree import SUPPORTED_NODES, tree_leaves

from neurosparse.meter.tally import EVENTS, is_spikes
from neurosparse.meter.values import ANY, SPIKES, Kind, joined

__all__ = [
    "Facts",
    "Provenance",
    "Region",
    "StepLayout",
    "apart",
    "is_static",
    "known_kind",
    "passed_on",
    "of_unknown_signals",
    "shape_of",
    "storages_of",
    "tensors_in",
]

Origin = Literal["parameter", "constant", "signal"]


#: Types of tensors that have one storage if they are strided.
PLAIN = frozenset((Tensor, torch.nn.Parameter))
LEAVES = frozenset((int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format))


class Region(NamedTuple):
    """A stretch of the storage of a parameter or buffer, in elements."""

    storage: int
    start: int
    stop: int
    learned: bool  # whether it is of a parameter


class StepLayout(NamedTuple):
    """Steps and samples of the rows of a tensor, of which each sample has ``lengths`` steps that are data."""

    lengths: Tensor
    steps: int
    samples: int

    def fits(self, x: Tensor) -> bool:
        """Whether the leading axes are steps and samples, apart or as one axis of rows."""
        return self.in_rows(x) or tuple(x.shape[:2]) == (self.steps, self.samples)

    def in_rows(self, x: Tensor) -> bool:
        return x.dim() > 0 and x.shape[0] == self.steps * self.samples


class Facts(NamedTuple):
    """What is known of a storage.

    Args:
        origin: ``parameter``: computed from parameters and buffers alone; ``signal``: depends on the samples;
            ``constant``: neither (made by ``zeros`` and the like).
        kind: of its values, see :mod:`neurosparse.meter.values`.
        layer: whose parameter it is.
        roots: parts of parameters and buffers that it is computed from.
        layout: steps and samples, if some samples end early.
        repeats: an input that was declared to be the same at every step.
        producer: the module that was running when it was made.
        product: layer whose product with a weight it is, before anything is added, and the share of its rows that was
            charged (less than 1 if the input is constant).
        buffers: names of the buffers that it is computed from; one that is written turns out to be a state.
        gradient: of a finished backward pass, or computed from such gradients.
        learned: a parameter, and no buffer, of the model: what is written into it outside the model's calls updates it.
        unwritten: made without values (``empty``), and no recorded operator has written into it.
    """

    origin: Origin
    kind: Kind = ANY
    layer: str | None = None
    roots: tuple[Region, ...] = ()
    layout: StepLayout | None = None
    repeats: bool = False
    producer: str | None = None
    product: tuple[str, Fraction] | None = None
    buffers: frozenset[str] = frozenset()
    gradient: bool = False
    learned: bool = False
    unwritten: bool = False


class Provenance:
    """Facts of every storage that recorded code has made or was given.

    A storage is identified by its address. A weak reference to it is kept, so that no other storage takes the address.

    Example:
        >>> known = Provenance()
        >>> x = torch.ones(2, 3)
        >>> known.of(x) is None
        True
        >>> known.note(x, Facts("signal"))
        >>> known.of(x.t()).origin  # a view has the same storage
        'signal'
    """

    def __init__(self) -> None:
        self._facts: dict[int, tuple[StorageWeakRef, Facts]] = {}
        self._sweep_at = 4096

    def of(self, x: Tensor) -> Facts | None:
        """Facts of a tensor; of several storages (sparse tensors) those of the values."""
        if type(x) in PLAIN and x.layout is torch.strided:
            try:
                found = self._facts.get(x.untyped_storage()._cdata)
            except NotImplementedError:  # a wrapper of the transforms of torch.func
                return None
        else:
            found = next((self._facts.get(storage._cdata) for storage in storages_of(x)), None)
        return None if found is None else found[1]

    def note(self, x: Tensor, facts: Facts) -> None:
        """Set the facts of all storages of a tensor; of a sparse one, the kind is that of its values."""
        if type(x) in PLAIN and x.layout is torch.strided:
            storage = x.untyped_storage()
            self._facts[storage._cdata] = (StorageWeakRef(storage), facts)
        else:
            for place, storage in enumerate(storages_of(x)):
                self._facts[storage._cdata] = (StorageWeakRef(storage), facts._replace(kind=ANY) if place else facts)
        if len(self._facts) > self._sweep_at:
            self._facts = {key: held for key, held in self._facts.items() if not held[0].expired()}
            self._sweep_at = max(4096, 2 * len(self._facts))

    def change(self, x: Tensor, **facts: Any) -> None:
        """Change some facts of a tensor; an unknown tensor is a signal."""
        self.note(x, (self.of(x) or Facts("signal"))._replace(**facts))

    def combined(self, sources: Sequence[Tensor], known: Sequence[Facts | None]) -> Facts:
        """Facts of a tensor that is computed from others.

        Args:
            sources: the others.
            known: facts of each.
        """
        signal, parameters, layout = False, bool(sources), None
        for source, facts in zip(sources, known, strict=True):
            if facts is None or facts.origin == "signal":
                signal, parameters = True, False
                layout = layout or (facts.layout if facts is not None else None)
            elif facts.origin == "constant" and source.dim():
                parameters = False
        if not parameters:
            return Facts("signal" if signal else "constant", layout=layout)
        big = [
            (source, facts)
            for source, facts in zip(sources, known, strict=True)
            if facts and facts.origin == "parameter"
        ]
        if not big:  # numbers
            return Facts("constant")
        regions = (region for source, facts in big for region in facts.roots or regions_of(source, facts.learned))
        layer = next((facts.layer for _, facts in big if facts.layer), None)
        buffers = frozenset[str]().union(*(facts.buffers for _, facts in big))
        return Facts("parameter", layer=layer, roots=tuple(dict.fromkeys(regions)), buffers=buffers)

    def written(self, x: Tensor, facts: Facts) -> None:
        """Note what was written into a tensor: into a part of a storage, or over all of it."""
        before = self.of(x)
        if before is None or covers(x):
            self.note(x, facts._replace(layer=facts.layer or (before.layer if before else None)))
            return
        ranks = ("parameter", "constant", "signal")
        origin = max(before.origin, facts.origin, key=ranks.index)
        layout = facts.layout or before.layout
        roots = before.roots if origin == "parameter" else ()
        kind = joined(before.kind, facts.kind)
        self.note(x, before._replace(origin=origin, kind=kind, layout=layout, roots=roots, unwritten=False))

    def role(self, x: Any) -> Literal["parameter", "signal", "constant"]:
        """Whether a tensor is computed from parameters alone, depends on the samples, or neither."""
        facts = self.of(x) if isinstance(x, Tensor) else None
        return "signal" if facts is None else facts.origin

    def is_static(self, x: Any) -> bool:
        """Whether a tensor is a parameter or computed from parameters alone: the same for every sample."""
        return isinstance(x, Tensor) and is_static(x, self.of(x))

    def kind_of(self, x: Any) -> Kind:
        if isinstance(x, EVENTS):
            return SPIKES if is_spikes(x) else ANY
        return known_kind(self.of(x)) if isinstance(x, Tensor) else ANY

    def is_spiking(self, x: Any) -> bool:
        return self.kind_of(x).is_spikes


def passed_on(sources: Sequence[Facts | None], moves: bool, running: str | None) -> tuple[bool, str | None]:
    """Whether a tensor repeats, and the module that made it: a move passes both on, else it is the running module."""
    if not moves:
        return False, running
    signals = {facts.producer for facts in sources if facts is not None and facts.origin == "signal"}
    repeats = any(facts is not None and facts.repeats for facts in sources)
    return repeats, signals.pop() if len(signals) == 1 else running


def known_kind(facts: Facts | None) -> Kind:
    """What is known of the values of a tensor; those of a constant can be read."""
    if facts is None:
        return ANY
    return facts.kind._replace(spikes=None) if facts.origin != "signal" and facts.kind.values is None else facts.kind


def is_static(x: Tensor, facts: Facts | None) -> bool:
    """Whether a tensor is computed from parameters alone; a constant number changes nothing."""
    return facts is not None and (facts.origin == "parameter" or (facts.origin == "constant" and not x.dim()))


def of_unknown_signals(facts: Sequence[Facts | None]) -> bool:
    """Whether nothing is known of the values of any source, and one of them is a signal."""
    return any(known is not None and known.origin == "signal" for known in facts) and all(
        known is not None and known.kind.values is None and known.kind.bits is None for known in facts
    )


def apart(results: list[Tensor], sources: list[Tensor]) -> list[Tensor]:
    """Results that do not share the storage of a source."""
    if len(results) == 1 and any(results[0] is source for source in sources):
        return []
    given = {storage._cdata for source in sources for storage in storages_of(source)}
    return [x for x in results if given.isdisjoint(storage._cdata for storage in storages_of(x))]


def covers(x: Tensor) -> bool:
    """Whether a tensor takes up its whole storage."""
    return x.layout == torch.strided and x.numel() * x.element_size() == x.untyped_storage().nbytes()


def regions_of(x: Tensor, learned: bool) -> Iterator[Region]:
    """The stretch of storage that a strided tensor lies in."""
    if x.layout == torch.strided and x.numel():
        start = x.storage_offset()
        span = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
        yield Region(x.untyped_storage()._cdata, int(start), int(start + span), learned)


def shape_of(x: Any) -> tuple[int, ...]:
    """Shape of a tensor or of events; of a ragged batch without a shape, and of a lazy parameter, what is known."""
    if isinstance(x, Tensor) and (is_lazy(x) or (x.is_nested and x.layout == torch.strided)):
        return () if is_lazy(x) else (x.size(0), *(-1 for _ in range(x.dim() - 1)))
    return tuple(x.shape)


def storages_of(x: Tensor) -> Iterator[Any]:
    """Storages of a tensor: one if it is strided; those of its values and indices if it is sparse."""
    if hasattr(x, "__tensor_flatten__"):  # a tensor made of tensors
        names, _ = x.__tensor_flatten__()  # type: ignore[operator]
        for name in names:
            yield from storages_of(getattr(x, name))
    elif x.layout == torch.strided:
        try:
            yield x.untyped_storage()
        except (NotImplementedError, RuntimeError):  # it holds no values
            return
    elif x.layout == torch.sparse_coo:
        yield from (part.untyped_storage() for part in (x._values(), x._indices()))
    elif x.layout in (torch.sparse_csr, torch.sparse_bsr):
        yield from (part.untyped_storage() for part in (x.values(), x.crow_indices(), x.col_indices()))
    elif x.layout in (torch.sparse_csc, torch.sparse_bsc):
        yield from (part.untyped_storage() for part in (x.values(), x.ccol_indices(), x.row_indices()))


def tensors_in(x: Any, *others: type) -> list[Any]:
    """Tensors, and values of the ``others`` types, in nested containers and dataclasses."""
    if type(x) is Tensor:
        return [x]
    found: list[Any] = []
    _collect(x, (Tensor, *others) if others else Tensor, found, 8)
    return found


def _collect(x: Any, kinds: Any, found: list[Any], depth: int) -> None:
    if isinstance(x, kinds):
        found.append(x)
    elif depth == 0 or type(x) in LEAVES:
        return
    elif isinstance(x, tuple | list):
        for part in x:
            _collect(part, kinds, found, depth - 1)
    elif isinstance(x, dict):
        for part in x.values():
            _collect(part, kinds, found, depth - 1)
    elif type(x) in SUPPORTED_NODES:
        _collect(tree_leaves(x), kinds, found, depth - 1)
    elif not isinstance(x, type) and is_dataclass(x):
        _collect([getattr(x, part.name) for part in fields(x)], kinds, found, depth - 1)
