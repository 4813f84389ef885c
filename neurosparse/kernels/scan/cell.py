"""A layer of neurons as arguments of the scan: constants, start state and switches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.scan.step import DYNAMICS, RESETS, SHAPES

__all__ = ["Cell", "Constants", "Learned", "Start", "States", "Switches"]


class Learned(NamedTuple):
    """One thing for each constant of a layer, in the order of lists of constants: a tensor, or whether it learns."""

    beta: Any
    threshold: Any
    size: Any
    decay: Any
    strength: Any
    recurrent: Any
    recurrent_bias: Any


class States(NamedTuple):
    """States ``(samples, units)`` before the first step, in the order of lists of states; absent: ``(samples, 0)``."""

    membrane: Tensor
    hidden: Tensor
    sent: Tensor
    waiting: Tensor


class Cell(NamedTuple):
    """A layer of neurons.

    Constants that require a gradient get it. ``beta``, ``threshold`` and, of the dynamics, ``decay`` and ``strength``:
    ``(units)``; the surrogate's ``size``: without axes or ``(units)``; ``recurrent``, the weight from spikes to current
    ``(units, units)``, and its bias. ``start``, the carried membrane, and the other states: ``(samples, units)``;
    ``lengths``, int64 ``(samples)``. ``reset`` is one of ``RESETS``, ``shape`` of ``SHAPES``, ``dynamics`` of
    ``DYNAMICS``. What is None is not there, or at rest.
    """

    beta: Tensor
    threshold: Tensor
    start: Tensor
    lengths: Tensor
    reset: str
    delayed: bool
    shape: str
    size: Tensor
    refractory: int = 0
    dynamics: str = "none"
    decay: Tensor | None = None
    strength: Tensor | None = None
    recurrent: Tensor | None = None
    recurrent_bias: Tensor | None = None
    hidden: Tensor | None = None
    sent: Tensor | None = None
    waiting: Tensor | None = None

    @property
    def constants(self) -> list[Tensor]:
        """In the order of :class:`Learned`, with their graphs; empty where there is none."""
        units = self.beta.shape
        found = (self.beta, self.threshold, self.size.to(self.beta.dtype).expand(units), self.decay, self.strength)
        none = self.beta.new_empty(0)
        weight = self.beta.new_empty(0, 0) if self.recurrent is None else self.recurrent
        return [*(none if p is None else p for p in found), weight, _or(self.recurrent_bias, none)]

    @property
    def states(self) -> list[Tensor]:
        """In the order of :class:`States`."""
        none = self.start.new_empty(len(self.start), 0)
        zeros = torch.zeros_like(self.start)
        hidden = none if self.dynamics == "none" else _or(self.hidden, zeros)
        sent = none if self.recurrent is None and self.dynamics != "adaptive" else _or(self.sent, zeros)
        waits = self.refractory > 0 or self.waiting is not None
        waiting = (zeros if self.waiting is None else self.waiting) if waits else none
        return [*States(self.start, hidden, sent, waiting.int())]

    def switches(self, graph: bool) -> Switches:
        """As numbers; with a graph the scan keeps what backward reads."""
        beta, _, size, decay, strength, *_ = (graph and part.requires_grad for part in self.constants)
        by_distance = self.shape != "boxcar" or size
        keeps_hidden = decay or strength or (by_distance and self.dynamics == "adaptive")
        return Switches(
            RESETS.index(self.reset),
            int(self.delayed),
            SHAPES.index(self.shape),
            DYNAMICS.index(self.dynamics),
            self.refractory,
            int(self.refractory > 0 or self.waiting is not None),
            int(size),
            int(graph and (by_distance or beta)),
            int(graph and keeps_hidden and self.dynamics != "none"),
        )


class Switches(NamedTuple):
    """What kernels read of a layer as numbers; ``closed``: the border belongs to the boxcar, as in its smooth step."""

    reset: int
    delayed: int
    shape: int
    dynamics: int
    refractory: int
    waits: int
    closed: int
    keeps_membrane: int
    keeps_hidden: int


class Constants(NamedTuple):
    """Constants of a layer as arrays; ``weights`` is the transposed recurrent weight."""

    beta: np.ndarray
    threshold: np.ndarray
    size: np.ndarray
    height: np.ndarray
    decay: np.ndarray
    strength: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, constants: list[Tensor]) -> Constants:
        """Arrays of the tensors in the order of :class:`Learned`."""
        beta, threshold, size, decay, strength, weight, bias = Learned(*constants)
        bias = beta.new_zeros(weight.shape[0]) if bias.numel() == 0 else bias
        parts = (beta, threshold, size, 1 / size, decay, strength, weight.t(), bias)
        return cls(*(part.contiguous().numpy() for part in parts))


class Start(NamedTuple):
    """States ``(samples, units)`` as arrays, which the scan moves on, and the recurrent current of the first step."""

    membrane: np.ndarray
    hidden: np.ndarray
    sent: np.ndarray
    waiting: np.ndarray
    returning: np.ndarray


def _or(part: Tensor | None, other: Tensor) -> Tensor:
    return other if part is None else part
