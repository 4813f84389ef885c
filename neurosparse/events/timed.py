"""Timed tensors: dense tensors ``(steps, samples, *units)`` that keep their timing through torch functions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurosparse.events.checks import valid_rows
from neurosparse.events.timing import Timing, timing_of

__all__ = ["RULES", "TimedTensor", "data_rows", "dense_of", "with_timing"]

# What each torch function does with the timing; filled by `events.rules`. The rule of None takes every other function.
RULES: dict[Any, Callable[..., Any]] = {}


class TimedTensor(Tensor):
    """A dense tensor ``(steps, samples, *units)`` that carries a :class:`Timing`: axis, ``dt``, ``t0``, ``lengths``.

    Layers on events return it: ``nn.Linear``, a fold, a readout. A torch function that acts on each element, on units
    or joins tensors returns a timed tensor; one that mixes steps or samples is refused. A reduction over steps or
    samples is a plain tensor, and is refused where samples end early, because padding would be counted.

    Example:
        >>> x = with_timing(torch.zeros(5, 2, 3), Timing(dt=1e-3))
        >>> torch.relu(x).timing.dt, type(x.sum(0)).__name__
        (0.001, 'Tensor')
    """

    timing: Timing = Timing()

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        for kind in types:
            if not issubclass(cls, kind):  # events among the arguments act by their dense twins, which are timed
                return NotImplemented
        rule = RULES.get(func)
        with torch._C.DisableTorchFunctionSubclass():  # the rule and the function work on values
            return (RULES[None] if rule is None else rule)(func, args, kwargs or {})

    def dense(self) -> Tensor:
        """The plain tensor, with the same memory and graph, without timing."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.view_as(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> TimedTensor:
        return with_timing(copy.deepcopy(self.dense().detach(), memo), copy.deepcopy(self.timing, memo))

    def __reduce_ex__(self, protocol: Any) -> tuple:  # pickle: detached, as worker processes need
        return with_timing, (self.dense().detach(), self.timing)


def with_timing(tensor: Tensor, timing: Timing) -> TimedTensor:
    """A dense ``(steps, samples, ...)`` tensor with a timing; the tensor passed in stays as it is."""
    with torch._C.DisableTorchFunctionSubclass():
        fake = type(tensor).__name__ == "FakeTensor"  # it can be of no other class, and has no values to count
        timed = tensor.view_as(tensor) if fake else tensor.as_subclass(TimedTensor)
    timed.timing = timing  # type: ignore[attr-defined]
    return timed  # type: ignore[return-value]


def dense_of(x: Any) -> Tensor:
    """The plain dense tensor of events, of a timed or of a plain tensor."""
    return x if type(x) is Tensor else x.dense() if hasattr(x, "dense") else x


def data_rows(x: Any) -> Tensor:
    """The rows ``(rows, *units)`` of events or of a timed tensor that are data; a plain tensor is rows already."""
    timing, dense = timing_of(x), dense_of(x)
    if timing is None:
        return dense
    return dense.flatten(0, 1) if timing.lengths is None else dense[valid_rows(timing, dense.shape)]
