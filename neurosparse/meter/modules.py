"""Running modules of a recorded model: the layer that an operation is charged to, and the phase it belongs to."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, Literal, NamedTuple

import torch

from neurosparse.meter.bits import Bits

__all__ = ["ModuleCall", "RunningModules", "layer_of_parameter"]

Phase = Literal["forward", "backward", "update"]
LOSS, OPTIMIZER = "loss", "optimizer"


class ModuleCall(NamedTuple):
    """A module that is running.

    ``leaf``: it has no modules inside; ``states`` per unit, if its outputs are declared to be spikes, else 0; ``root``:
    it is the whole model; ``bits``: widths that the module declares.
    """

    module: Any
    name: str
    leaf: bool
    states: int
    root: bool
    bits: Bits = Bits()


class RunningModules:
    """The running modules, outermost first; and of each node of autograd's graph the module that made it.

    Args:
        follow: whether layers of the backward pass are needed.
    """

    def __init__(self, follow: bool):
        self.calls: list[ModuleCall] = []
        self.updating = False  # whether an optimizer's step is running
        # Nodes of the graph are numbered as they are made: from each number on they belong to the layer beside it.
        self._follow, self._starts, self._layers = follow, list[int](), list[str]()

    def push(self, call: ModuleCall) -> None:
        self.calls.append(call)
        self._mark()

    def pop(self) -> None:
        self.calls.pop()
        self._mark()

    def _mark(self) -> None:
        if self._follow and torch._C._current_graph_task_id() == -1:
            self._starts.append(torch.autograd._get_sequence_nr())
            self._layers.append(self.calls[-1].name if self.calls else LOSS)

    @property
    def in_neuron(self) -> bool:
        """Whether a module that is declared to spike is running."""
        return any(call.states for call in self.calls)

    @property
    def phase(self) -> Phase:
        """Forward pass, backward pass or optimizer's update."""
        if self.updating:
            return "update"
        return "backward" if torch._C._current_graph_task_id() != -1 else "forward"

    def layer(self, function: str | None) -> str:
        """Layer that a function is charged to: the running module if it is a leaf, else ``module.function``."""
        if self.calls:
            call = self.calls[-1]
            return call.name if call.leaf or function is None else f"{call.name}.{function}"
        if self.updating:
            return OPTIMIZER
        return self._layer_of_node() if self.phase == "backward" else LOSS

    def _layer_of_node(self) -> str:
        """Layer whose forward pass made the node of autograd's graph that is running."""
        node = torch._C._current_autograd_node()
        place = -1 if node is None else bisect_right(self._starts, node._sequence_nr()) - 1
        return self._layers[place] if place >= 0 else LOSS


def layer_of_parameter(parameter: str) -> str:
    """Layer of a parameter: ``a.0.weight`` belongs to ``a.0``, also when it is pruned or parametrized.

    Example:
        >>> layer_of_parameter("a.0.parametrizations.weight.original"), layer_of_parameter("weight")
        ('a.0', 'model')
    """
    name = re.sub(r"parametrizations\.(\w+)\..*", r"\1", parameter.replace("_orig_mod.", ""))
    return re.sub(r"(_orig|_mask)$", "", name).removesuffix("weight").removesuffix(".") or "model"
