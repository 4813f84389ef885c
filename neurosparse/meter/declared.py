"""Spikes in plain tensors: declared, checked, and never guessed."""

from __future__ import annotations

from torch import Tensor

from neurosparse.checks import as_tensor
from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.meter.values import Kind, values_of

__all__ = ["kind_of_spikes", "spikes"]


def kind_of_spikes(x: Tensor) -> Kind | None:
    """Kind of a tensor that is declared to be spikes: 0 and 1, signed, or times one constant; None for other values.

    Example:
        >>> import torch
        >>> kind_of_spikes(torch.tensor([0.5, 0.0, -0.5]))
        Kind(values=(-0.5, 0.0, 0.5), spikes=True, bits=None)
        >>> kind_of_spikes(torch.zeros(2))  # silent here, 0 and 1 in general
        Kind(values=(0.0, 1.0), spikes=True, bits=None)
    """
    found = values_of(x) if x.numel() else ()
    if found is None:
        return None
    size = max(map(abs, found), default=0.0) or 1.0
    return Kind((-size, 0.0, size) if min(found, default=0.0) < 0 else (0.0, size), True)


@operation(lambda *_, **__: ())
def spikes(x: Tensor) -> Tensor:
    """Mark a tensor of a hand-written loop as spikes, so that the meter counts accumulates behind it.

    Args:
        x: 0 or 1, signed (-1, 0, 1), or one of them times a constant, of any shape.

    Returns:
        the same tensor.

    Raises:
        InputError: other values.

    Example:
        >>> import neurosparse as ns
        >>> import torch
        >>> from torch import nn
        >>> class Threshold(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.readout = nn.Linear(4, 2)
        ...     def forward(self, x):
        ...         return self.readout(ns.spikes((x > 0.5).float()))
        >>> net = Threshold()
        >>> with ns.record(net) as tape:
        ...     _ = net(torch.tensor([[0.9, 0.1, 0.2, 0.8]]))
        >>> ns.count(tape).totals["effective_acs"]
        4
    """
    x = as_tensor("spikes", "x", x, "a tensor") if not isinstance(x, Tensor) else x
    if kind_of_spikes(x) is None:
        fix = "Values that are not spikes need no mark: they are counted as MACs."
        raise InputError("spikes", got=f"values from {x.min():g} to {x.max():g}", expected="0 and 1", fix=fix)
    return x
