"""Values that tensors can have: small sets such as {0, 1}, by which spikes are followed through operators.

Values of signals are never read. A set starts where spikes are declared (neurons, events, ``ns.spikes``), at a
comparison, or at a constant (a number, ``zeros``, a parameter), and follows from the operators after it: moves and
selections keep it, a point-wise operator is applied to the set itself. So the set of ``1 - s`` is {0, 1}, that of
``s / theta`` {0, 1 / theta}, of ``s - s'`` {-1, 0, 1}, and of ``s + s'`` {0, 1, 2}, which are no spikes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["ANY", "LIMIT", "SPIKES", "ZERO_ONE", "Kind", "common_bits", "joined", "marks", "union", "values_of"]

#: The largest set that is followed.
LIMIT = 9


class Kind(NamedTuple):
    """What is known of the values of a tensor.

    Args:
        values: all that may occur, sorted; empty before anything is written; None: any.
        spikes: True: declared to be spikes, or computed from such alone; None: a constant; False: from other signals.
        bits: of the levels that they were rounded to; None: not rounded.

    Example:
        >>> Kind((-0.5, 0.0, 0.5), True).is_spikes, Kind((0.0, 1.0, 2.0), True).is_spikes
        (True, False)
    """

    values: tuple[float, ...] | None = None
    spikes: bool | None = False
    bits: int | None = None

    @property
    def is_spikes(self) -> bool:
        """Whether products with weights are accumulates: 0 and one size, whose scale folds into the weights."""
        return bool(self.spikes) and self.values is not None and len({abs(value) for value in self.values} - {0}) < 2

    @property
    def spike_bits(self) -> int:
        """Bits of one spike: one, or two if spikes have signs."""
        return 2 if self.values is not None and min(self.values, default=0) < 0 < max(self.values, default=0) else 1


ANY, SPIKES = Kind(), Kind((0.0, 1.0), True)
#: Results of comparisons, which are spikes only where they are declared.
ZERO_ONE = Kind((0.0, 1.0), False)


def joined(*kinds: Kind) -> Kind:
    """Kind of a tensor that holds values of all these kinds; zeros and constants are spikes beside spikes.

    Example:
        >>> joined(Kind((0.0,), None), SPIKES, Kind((-1.0, 0.0, 1.0), True))
        Kind(values=(-1.0, 0.0, 1.0), spikes=True, bits=None)
        >>> joined(SPIKES, ZERO_ONE)
        Kind(values=(0.0, 1.0), spikes=False, bits=None)
    """
    return Kind(union(*(kind.values for kind in kinds)), marks(kinds), common_bits(kinds))


def common_bits(kinds: Any) -> int | None:
    """Bits of the levels of all these kinds; zeros are a level of each."""
    found = [kind.bits for kind in kinds if kind.values not in ((), (0.0,))]
    return None if None in found else max(found, default=None)


def union(*sets: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if None in sets:
        return None
    values = tuple(sorted({value for found in sets for value in found or ()}))
    return values if len(values) <= LIMIT else None


def marks(kinds: Any) -> bool | None:
    """Whether values of all these kinds are spikes; zeros are, whatever made them."""
    marks = {kind.spikes for kind in kinds if kind.values not in ((), (0.0,))}
    marks = marks or {kind.spikes for kind in kinds}
    return False if False in marks else True if True in marks else None


def values_of(x: Tensor) -> tuple[float, ...] | None:
    """Values of a tensor, if they are 0 and at most one size.

    Example:
        >>> values_of(torch.tensor([0.5, 0.0, -0.5])), values_of(torch.tensor([1.0, 2.0]))
        ((-0.5, 0.0, 0.5), None)
    """
    x = x.detach()
    if x.dtype == torch.bool:
        return (0.0, 1.0)
    if x.layout != torch.strided or x.is_complex() or x.is_quantized or not x.numel():
        return None
    x = x if x.dtype.itemsize > 1 else x.float()
    size = x.abs().amax()
    if not bool(torch.isfinite(size)) or not bool(((x == 0) | (x.abs() == size)).all()):
        return None
    return tuple(sorted({float(value) + 0.0 for value in (-size, 0 * size, size) if bool((x == value).any())}))
