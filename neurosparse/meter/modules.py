"""Running modules of a recorded model: the layer that an operation is charged to, and the phase it belongs to."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch

from neurosparse.meter.bits import Bits

__all__ = ["ModuleCall", "RunningModules", "in_backward", "layer_of_parameter"]

Phase = Literal["forward", "backward", "update"]
LOSS, OPTIMIZER = "loss", "optimizer"
MOST_STARTS = 2**20  # of nodes by layer: 12 MB; a graph of half as many calls of modules is found whole


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

    Attributes:
        calls: the running modules.
        phase: of the operator that is running: forward pass, backward pass or optimizer's update. Gradients that a
            model computes in its own forward pass (inference of predictive coding) belong to the forward pass.
        updating: whether an optimizer's step is running.

    Args:
        follow: whether layers of the backward pass are needed.
        parameters: layer of each parameter, by ``id``.
    """

    def __init__(self, follow: bool, parameters: Mapping[int, str]):
        self.calls: list[ModuleCall] = []
        self.phase: Phase = "forward"
        self.updating = False
        self._again = False  # whether the outermost module runs again in the backward pass (a checkpoint)
        # Nodes of the graph are numbered as they are made: from each number on they belong to the layer beside it.
        self._follow, self._parameters = follow, parameters
        self._starts, self._layers, self._names = array("q"), array("i"), {LOSS: 0}

    def push(self, call: ModuleCall) -> None:
        """A module starts to run."""
        if not self.calls:
            self._again = in_backward()
        self.calls.append(call)
        self._mark(call.name)

    def pop(self) -> None:
        """The innermost module returns."""
        self.calls.pop()
        self._mark(self.calls[-1].name if self.calls else LOSS)

    def _mark(self, layer: str, made: int = 0) -> None:
        """From here on nodes belong to a layer, also the last ``made`` ones."""
        if not self._follow:
            return
        number = torch.autograd._get_sequence_nr()  # pyright: ignore[reportPrivateImportUsage]
        start, place = number - made, self._names.setdefault(layer, len(self._names))
        if self._starts and self._starts[-1] >= start:  # no node has been made since
            self._layers[-1] = place
            return
        self._starts.append(start)
        self._layers.append(place)
        if len(self._starts) > MOST_STARTS:
            del self._starts[: MOST_STARTS // 2], self._layers[: MOST_STARTS // 2]

    def mark_gradient(self) -> None:
        """The node of an operator that was just made in the backward pass, to be differentiated again."""
        if not self.calls:
            self._mark(self._layer_of_node(), made=1)

    def note_phase(self, gradients: bool) -> None:
        """Set the phase of an operator; ``gradients``: it reads gradients of a finished backward pass."""
        if self.calls and not self._again:
            inside = self.updating and not torch.is_grad_enabled()  # an optimizer in a model that learns as it runs
            self.phase = "update" if inside else "forward"
        elif in_backward():
            self.phase = "backward"
        else:  # the loss is computed again inside the step of some optimizers, with gradients enabled
            update = gradients or (self.updating and not torch.is_grad_enabled())
            self.phase = "update" if update else "forward"

    @property
    def in_neuron(self) -> bool:
        """Whether a module that is declared to spike is running."""
        return any(call.states for call in self.calls)

    def layer(self, function: str | None) -> str:
        """Layer that a function is charged to: the running module if it is a leaf, else ``module.function``."""
        if self.calls:
            call = self.calls[-1]
            return call.name if call.leaf or function is None else f"{call.name}.{function}"
        if self.phase == "backward":
            return self._layer_of_node()
        return OPTIMIZER if self.phase == "update" else LOSS

    def _layer_of_node(self) -> str:
        """Layer whose forward pass made the node of autograd's graph that is running."""
        node: Any = torch._C._current_autograd_node()
        if hasattr(node, "variable"):  # sums up the gradients of a parameter
            return self._parameters.get(id(node.variable), LOSS)
        place = -1 if node is None else bisect_right(self._starts, node._sequence_nr()) - 1
        return [*self._names][self._layers[place]] if place >= 0 else LOSS


def in_backward() -> bool:
    """Whether autograd is walking through a graph."""
    return torch._C._current_graph_task_id() != -1


def layer_of_parameter(parameter: str) -> str:
    """Layer of a parameter: ``a.0.weight`` belongs to ``a.0``, also when it is pruned or parametrized.

    Example:
        >>> layer_of_parameter("a.0.parametrizations.weight.original"), layer_of_parameter("weight")
        ('a.0', 'model')
    """
    name = re.sub(r"parametrizations\.(\w+)\..*", r"\1", parameter.replace("_orig_mod.", ""))
    return re.sub(r"(_orig|_mask)$", "", name).removesuffix("weight").removesuffix(".") or "model"
