"""Feedforward networks: weight layers with activations between them, and the readout of outputs over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.events import EventTensor, dense_of, fold, timing_of, with_timing
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.experiments.classification.layers import POOLS, Layer, front_shape, modules_of
from neurosparse.neurons import fuse

__all__ = ["Feedforward", "anytime", "inside", "read", "weight_layers"]


class Feedforward(nn.Module):
    """Weight layers with an activation between; over time, the outputs of all steps are read out at the end.

    Args:
        linears: linear or convolutional layers, each with its normalisation and pools; the last one gives the outputs.
        activations: one module per hidden layer.
        encode: from ``(samples, ...)`` to events over time; None if the input has steps, or the network no time.
        readout: of a network over time, see :func:`read`; None without time.
        leaky: membranes behind the outputs.
        dropout: share of hidden units silenced during training.
    """

    def __init__(
        self,
        linears: Sequence[nn.Module],
        activations: Sequence[nn.Module],
        encode: Callable[[Tensor], EventTensor] | None = None,
        readout: str | None = None,
        leaky: nn.Module | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.linears, self.activations = nn.ModuleList(linears), nn.ModuleList(activations)
        self.encode, self.readout, self.leaky, self.dropout = encode, readout, leaky, dropout

    def forward(self, x: Inputs, hidden: list | None = None) -> Tensor:
        """Logits; the activations of hidden layers are appended to ``hidden``."""
        signal, lengths = self._hidden(x, hidden)
        if self.readout is None:
            return self.linears[-1](signal)
        if self.readout == "last" and self.leaky is None:  # the output weights multiply the last state only
            return self.linears[-1](read(signal, "last", lengths))
        return read(self._outputs(signal), self.readout, lengths)

    def anytime(self, x: Inputs) -> Tensor | None:
        """Logits read out after each step, ``(steps, samples, classes)``; None without time."""
        if self.readout is None:
            return None
        signal, lengths = self._hidden(x, None)
        return anytime(self._outputs(signal), self.readout, lengths)

    def _hidden(self, x: Inputs, hidden: list | None) -> tuple[Any, Tensor | None]:
        """The input of the output layer, and the steps of each sample that are data."""
        signal: Any = x if self.encode is None else self.encode(x)  # type: ignore[arg-type]
        timing = timing_of(signal)
        for linear, activation in zip(self.linears, self.activations, strict=False):
            signal = fuse(linear, activation)(signal)
            if hidden is not None:
                hidden.append(signal)
            if self.training and self.dropout:
                signal = _drop(signal, self.dropout, self.readout is not None)
        return signal, None if timing is None else timing.lengths

    def _outputs(self, signal: Any) -> Tensor:
        out = self.linears[-1](signal)
        return out if self.leaky is None else self.leaky(out)


def _drop(signal: Inputs, share: float, over_time: bool) -> Tensor:
    """Silence some units of each sample, the same at all steps, and scale the others so that the mean stays."""
    dense = dense_of(signal)
    kept = torch.empty(dense.shape[1:] if over_time else dense.shape, device=dense.device).bernoulli_(1 - share)
    out, timing = dense * kept / (1 - share), timing_of(signal)
    return out if timing is None else with_timing(out, timing)


def weight_layers(
    layers: list[Layer], units: tuple[int, ...], classes: int, *, over_time: bool = False
) -> tuple[list[nn.Module], list[tuple[Layer, tuple[int, ...]]]]:
    """The modules with weights of a feedforward network, and the layer and the units of each hidden one.

    Args:
        layers: the hidden layers.
        units: shape of one sample, at one step where there are steps.
        classes: number of outputs.
        over_time: every module is applied at each step.
    """
    wrap, linears, shapes, waiting = fold if over_time else nn.Sequential, [], [], []
    for layer in (*layers, Layer("linear", classes)):
        waiting += modules_of(layer, units)
        units = front_shape(layer, units)
        if layer.kind not in POOLS:  # a pool belongs to the weights behind it
            linears.append(waiting[0] if len(waiting) == 1 and isinstance(waiting[0], nn.Linear) else wrap(*waiting))
            shapes.append((layer, units))
            waiting = []
    return linears, shapes[:-1]


# ---- readout of outputs over time


def inside(x: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Mask ``(steps, samples, 1)`` of the steps that are data; None if all are."""
    if lengths is None:
        return None
    return (torch.arange(len(x), device=x.device)[:, None] < lengths)[..., None]


def read(out: Tensor, how: str, lengths: Tensor | None = None) -> Tensor:
    """Scores ``(samples, classes)`` of outputs ``(steps, samples, classes)``.

    Args:
        out: outputs, or membranes of a leaky readout.
        how: ``"mean"`` and ``"membrane"`` take the mean over a sample's steps, ``"peak"`` the largest, ``"last"`` the
            last.
        lengths: steps of each sample that are data; None: all.

    Example:
        >>> out = torch.tensor([[[1.0, 0.0]], [[3.0, 1.0]]])
        >>> read(out, "mean").tolist(), read(out, "peak", torch.tensor([1])).tolist()
        ([[2.0, 0.5]], [[1.0, 0.0]])
    """
    out, mask = dense_of(out), inside(out, lengths)
    if how == "last":
        return out[-1] if lengths is None else out[(lengths - 1).clamp(min=0), torch.arange(out.shape[1])]
    if how == "peak":
        return out.amax(0) if mask is None else out.masked_fill(~mask, -torch.inf).amax(0)
    return out.mean(0) if lengths is None or mask is None else (out * mask).sum(0) / lengths[:, None]


def anytime(out: Tensor, how: str, lengths: Tensor | None = None) -> Tensor:
    """Scores after each step ``(steps, samples, classes)``; a sample that has ended keeps its last ones.

    Example:
        >>> anytime(torch.tensor([[[1.0]], [[3.0]]]), "mean").flatten().tolist()
        [1.0, 2.0]
    """
    out, mask = dense_of(out), inside(out, lengths)
    steps = torch.arange(1, len(out) + 1, device=out.device)[:, None, None]
    if mask is not None:
        steps = torch.minimum(steps, lengths[:, None])  # type: ignore[index]
    if how == "last":
        return out.gather(0, (steps - 1).expand(out.shape))
    if how == "peak":
        return (out if mask is None else out.masked_fill(~mask, -torch.inf)).cummax(0).values
    return (out if mask is None else out * mask).cumsum(0) / steps
