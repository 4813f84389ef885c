"""Operations with a declared cost, the interface between layers and the meter; neither imports the other.

A function decorated with ``@operation(describe)`` is one call for a torch function mode (a meter): the mode runs it
with itself switched off, and ``call.describe(result, *args, **kwargs)`` lists the primitive operations inside. Without
a mode the decorator costs one check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.overrides import handle_torch_function

__all__ = ["LEAKS", "Leak", "Operation", "leak_of", "moves", "operation", "worst_leak"]

Leak = Literal["none", "shift", "multiply"]
#: Arithmetic of a decay ``v <- beta v``, by rising cost.
LEAKS: tuple[Leak, ...] = ("none", "shift", "multiply")


class Events(Protocol):
    """What a meter reads of an event tensor. The event tensor is built on this module, which cannot import it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def row(self) -> Tensor: ...

    @property
    def index(self) -> Tensor: ...

    @property
    def n_rows(self) -> int: ...

    @property
    def n_units(self) -> int: ...

    @property
    def n_events(self) -> int: ...


@dataclass(frozen=True)
class Operation:
    """One primitive operation: the closed vocabulary between layers and the meter.

    ``linear``, ``conv``, ``matmul`` and ``embedding`` are counted from ``input`` and ``weight``; the other kinds carry
    their own counts, which are totals over the whole call.

    Args:
        kind: of operation.
        input: events, or a dense tensor whose last axis (linear) or last three axes (conv) are units.
        weight: ``(out, in)`` for linear, ``(out, in / groups, *kernel)`` for conv, the table ``(entries, width)`` of an
            embedding, the other signal of a matmul.
        bias: whether one addition per output is made.
        output: events that were sent (neuron, compare).
        equation: the product of ``input`` and ``weight`` where it is not over the last axis, in einsum's notation.
        geometry: stride, padding, dilation and groups of a convolution; ``transposed`` and ``output_padding`` (or the
            ``size`` of the outputs) of a transposed one; also ``kernel`` for the weight gradient of a convolution, a
            matmul of its input and output gradient; ``bags`` and ``mode`` of an embedding that sums.
        state_updates: neuron states read, decayed and written.
        leak: arithmetic of their decay, see :func:`leak_of`; None: not known.
        state_bits: bits of a neuron's state.
        comparisons: comparisons of a top-k or a maximum.
        elementwise: other scalar additions or multiplications.
        support: of a linear layer, bool ``(rows, out)``, or of a transposed convolution of images ``(rows, *image)``:
            outputs that are needed; None: all.
        weight_bits, input_bits: precision where it is not that of the tensor's dtype (quantised layers).
    """

    kind: Literal["linear", "conv", "matmul", "embedding", "neuron", "compare", "elementwise"]
    input: Events | Tensor | None = None
    weight: Tensor | None = None
    bias: bool = False
    output: Events | None = None
    equation: str | None = None
    geometry: dict[str, Any] | None = None
    state_updates: int = 0
    leak: Leak | None = None
    state_bits: int = 32
    comparisons: int = 0
    elementwise: int = 0
    support: Tensor | None = None
    weight_bits: int | None = None
    input_bits: int | None = None

    @property
    def swapped(self) -> Operation:
        """The same product of two signals, with the other one as its input."""
        assert self.equation is not None and isinstance(self.input, Tensor)
        terms, out = self.equation.split("->")
        equation = ",".join(reversed(terms.split(","))) + "->" + out
        return replace(self, input=self.weight, weight=self.input, equation=equation)


def leak_of(*decays: Tensor | float) -> Leak:
    """Arithmetic of ``v <- beta v`` at these values of beta, by value: a learned decay is one like any other.

    Args:
        decays: one for all units, or one per unit.

    Returns:
        ``"none"`` if all are exactly 1; ``"shift"`` if all are 1 or exactly ``1 - 2^-k`` with a whole k of at least 1
        (``v - 2^-k v``: a shift and one addition); otherwise ``"multiply"``.

    Example:
        >>> leak_of(1.0), leak_of(torch.tensor([0.5, 0.875])), leak_of(0.875, 0.9)
        ('none', 'shift', 'multiply')
    """
    found = 0
    for decay in decays:
        kept = (decay.detach() if isinstance(decay, Tensor) else torch.tensor(decay, dtype=torch.float64)).double()
        lost = 1 - kept  # exact from 0.5 to 1
        shifts = (lost == 0) | ((kept >= 0.5) & (torch.frexp(lost).mantissa == 0.5))
        found = max(found, 0 if not lost.any() else 1 if shifts.all() else 2)
    return LEAKS[found]


def worst_leak(one: Leak | None, other: Leak | None) -> Leak | None:
    """The dearer of two leaks; not known if one of them is not.

    Example:
        >>> worst_leak("none", "shift"), worst_leak("none", None)
        ('shift', None)
    """
    return None if one is None or other is None else LEAKS[max(LEAKS.index(one), LEAKS.index(other))]


def operation(describe: Callable[..., Sequence[Operation]]) -> Callable[[Callable], Callable]:
    """Make a function visible to a torch function mode as one operation with a declared cost.

    Args:
        describe: from the result and the arguments of a call to the :class:`Operation` values inside it.

    Example:
        >>> def cost(result, x):
        ...     return [Operation("elementwise", elementwise=x.numel())]
        >>> double = operation(cost)(lambda x: 2 * x)
        >>> double(torch.ones(2)).tolist(), double.describe(None, torch.ones(2))[0].elementwise
        ([2.0, 2.0], 2)
    """

    def wrap(function: Callable) -> Callable:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if torch._C._is_torch_function_mode_enabled():
                return handle_torch_function(call, (), *args, **kwargs)
            return function(*args, **kwargs)

        call.describe = describe  # type: ignore[attr-defined]
        return call

    return wrap


def moves(function: Callable) -> Callable:
    """Make a function that only moves or converts events one operation without cost: addresses are no arithmetic.

    The attribute ``moves`` says that the values of its result are those of its events.
    """
    call = operation(lambda *_, **__: ())(function)
    call.moves = True  # type: ignore[attr-defined]
    return call
