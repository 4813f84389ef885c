"""Distinct weights of each row of the counts, by storage: views, tied weights and parts of one tensor count once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurosparse.meter.provenance import Facts, storages_of

__all__ = ["RowWeights", "Weights", "place_of"]

View = tuple[tuple[int, ...], tuple[int, ...], int]  # shape, strides, offset


@dataclass
class RowWeights:
    """Weights of one row: their number, non-zeros and bits; ``shared_*``: how many of them an earlier row holds too."""

    weights: int = 0
    nonzero_weights: int = 0
    shared_weights: int = 0
    shared_nonzero_weights: int = 0
    weight_bits: int = 0


class Weights:
    """Elements of storages that each row has multiplied with.

    A weight that is computed from a parameter of the same size (masked, quantised, scaled) stands for its parameter.

    Example:
        >>> held, table = Weights(), torch.ones(4, 3)
        >>> for part in (table[:2], table[1:], table.t()):
        ...     held.add("embedding", part, None, 32)
        >>> held.rows["embedding"].weights
        12
    """

    def __init__(self) -> None:
        self.rows: dict[Hashable, RowWeights] = {}
        self._seen: set[Hashable] = set()
        self._marks: dict[Hashable, Tensor] = {}

    def add(self, row: Hashable, weight: Tensor, facts: Facts | None, bits: int) -> None:
        """Note the elements of a weight in a row."""
        held = self.rows.setdefault(row, RowWeights())
        held.weight_bits = max(held.weight_bits, bits)
        storage, size, view = place_of(row, weight, facts)
        if (row, storage, view) in self._seen or not weight.numel():
            return
        self._seen.add((row, storage, view))
        values = weight.detach()
        values = values if values.layout == torch.strided else values.to_dense()
        once = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in view[1])  # of expanded elements one
        new, nonzero = torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
        new.as_strided(*view)[once] = True
        nonzero.as_strided(*view)[once] = (values != 0).cpu()[once]
        own, every = self._mark(row, storage, size), self._mark(None, storage, size)
        new &= ~own
        nonzero &= new
        held.weights += int(torch.count_nonzero(new))
        held.nonzero_weights += int(torch.count_nonzero(nonzero))
        held.shared_weights += int(torch.count_nonzero(every & new))
        held.shared_nonzero_weights += int(torch.count_nonzero(every & nonzero))
        own |= new
        every |= new

    def unread(self, weight: Tensor) -> Tensor | None:
        """Values of a parameter that no row has multiplied with, while another part of it is a weight; else None."""
        storage = next(iter(storages_of(weight)), None)
        mark = None if storage is None else self._marks.get((None, storage._cdata))
        if mark is None or weight.layout != torch.strided or hasattr(weight, "__tensor_flatten__"):
            return None
        end = weight.storage_offset() + sum(
            (n - 1) * step for n, step in zip(weight.shape, weight.stride(), strict=True)
        )
        mark = torch.cat([mark, mark.new_zeros(max(0, end + 1 - len(mark)))])
        read = mark.as_strided(weight.shape, weight.stride(), weight.storage_offset())
        return weight.detach().cpu()[~read] if bool(read.any()) else None

    def _mark(self, row: Hashable, storage: Hashable, size: int) -> Tensor:
        """Which of the first elements of a storage a row (None: any row) has multiplied with."""
        mark = self._marks.get((row, storage), torch.zeros(0, dtype=torch.bool))
        if len(mark) < size:
            mark = self._marks[row, storage] = torch.cat([mark, mark.new_zeros(size - len(mark))])
        return mark[:size]


def place_of(row: Hashable, weight: Tensor, facts: Facts | None) -> tuple[Hashable, int, View]:
    """Storage that a weight lies in, the elements of it that are needed, and the place of the weight among them."""
    shape, strides = tuple(weight.shape), _contiguous(weight.shape)
    if facts is not None and facts.roots:  # computed from parameters
        for region in sorted(facts.roots, key=lambda region: not region.learned):  # a mask is no weight
            if region.stop - region.start == weight.numel():
                return region.storage, region.stop, (shape, strides, region.start)
        return facts.roots, weight.numel(), (shape, strides, 0)
    # What a module or the loss makes is made anew in each call.
    made = facts is not None and (facts.producer is not None or facts.origin == "constant")
    storage = next(iter(storages_of(weight)), None)
    if made or storage is None or weight.layout != torch.strided:
        return (row, shape) if made or storage is None else storage._cdata, weight.numel(), (shape, strides, 0)
    elements = storage.nbytes() // weight.element_size()
    return storage._cdata, elements, (shape, weight.stride(), int(weight.storage_offset()))


def _contiguous(shape: Any) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
