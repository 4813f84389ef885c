"""Memory that code outside of torch writes into: NumPy views and addresses that were handed out, unwritten tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

__all__ = ["HANDS_OUT", "NUMBERS", "UNWRITTEN", "HandedOut"]

#: Functions that hand out the memory of a tensor.
HANDS_OUT = frozenset((Tensor.numpy, Tensor.__array__, Tensor.data_ptr, Tensor.__dlpack__, Tensor.untyped_storage))
#: Functions that return values of a tensor as numbers of Python or NumPy, which are then computed with unseen.
NUMBERS = frozenset((Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.numpy, Tensor.__array__))
#: Operators that leave the values of a new tensor to what is written into it.
UNWRITTEN = frozenset("empty empty_like empty_permuted empty_strided new_empty new_empty_strided".split())  # noqa: SIM905


class HandedOut:
    """Bytes of the tensors whose memory was handed out, for a comparison when they are read.

    Example:
        >>> memory, x = HandedOut(), torch.zeros(3)
        >>> memory.note(x)
        >>> memory.has_changed(x)
        False
        >>> x.numpy()[0] = 1
        >>> memory.has_changed(x)
        True
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[StorageWeakRef, int, Tensor, int]] = {}
        self._sweep_at = 64

    def __bool__(self) -> bool:
        return bool(self._kept)

    def note(self, x: Tensor) -> None:
        """Keep the bytes of a tensor."""
        if x.layout == torch.strided and not x.is_meta:
            storage = x.untyped_storage()
            self._kept[storage._cdata] = (StorageWeakRef(storage), _version(x), _bytes(x).clone(), storage.data_ptr())
            if len(self._kept) > self._sweep_at:
                self._kept = {key: held for key, held in self._kept.items() if not held[0].expired()}
                self._sweep_at = max(64, 2 * len(self._kept))

    def written(self, x: Tensor) -> None:
        """A torch operator has written into a tensor; those over lists of tensors leave no version behind."""
        if x.layout == torch.strided and x.untyped_storage()._cdata in self._kept:
            self.note(x)

    def holds(self, array: np.ndarray) -> bool:
        """Whether an array is a part of memory that was handed out."""
        start = array.__array_interface__["data"][0]
        return any(first <= start < first + len(kept) for _, _, kept, first in self._kept.values())

    def has_changed(self, x: Tensor) -> bool:
        """Whether something else than a torch operator wrote into a tensor since it was noted or last compared."""
        held = self._kept.get(x.untyped_storage()._cdata) if x.layout == torch.strided else None
        if held is None:
            return False
        reference, version, before, _ = held
        if reference.expired():  # another storage has taken the address
            del self._kept[x.untyped_storage()._cdata]
            return False
        if version == _version(x) and torch.equal(before, _bytes(x)):
            return False
        self.note(x)
        return version == _version(x)


def _version(x: Tensor) -> int:
    """Number of writes by torch operators; tensors of the inference mode have none."""
    return 0 if x.is_inference() else x._version


def _bytes(x: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=x.device).set_(x.detach().untyped_storage())
