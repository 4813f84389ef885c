"""Modules of snnTorch run step by step, the states of their neurons passed and returned."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, Timing, dense_of, operation, timing_of, with_timing
from neurosparse.events.checks import silence_padding
from neurosparse.events.state import check_level, refuse_state
from neurosparse.events.timing import refuse_chunk

__all__ = ["STATES", "Stepped", "attributes_of", "copied", "neurons_of"]

#: State of each kind of neuron, in the order of the arguments of its forward.
STATES = {
    "Leaky": ("mem",),
    "Lapicque": ("mem",),
    "Synaptic": ("syn", "mem"),
    "Alpha": ("syn_exc", "syn_inh", "mem"),
    "RLeaky": ("spk", "mem"),
    "RSynaptic": ("spk", "syn", "mem"),
    "SLSTM": ("syn", "mem"),
    "SConv2dLSTM": ("syn", "mem"),
}


def neurons_of(module: nn.Module) -> dict[str, Any]:
    """The neurons of snnTorch in a module, itself included, by name."""
    kind = importlib.import_module("snntorch").SpikingNeuron
    return {name: part for name, part in module.named_modules() if isinstance(part, kind)}


def copied(module: nn.Module, memo: dict[int, Any]) -> Any:
    """A deep copy at rest: without the states of its neurons, which may belong to a graph.

    ``memo``: of ``copy.deepcopy``; one for a whole network, so that shared weights stay shared.
    """
    for neuron in neurons_of(module).values():
        for part in (*vars(neuron).values(), *neuron._buffers.values()):
            if isinstance(part, Tensor) and not part.is_leaf:
                memo[id(part)] = torch.zeros(0)
    found = copy.deepcopy(module, memo)
    _rest(neurons_of(found).values())
    return found


def _rest(neurons: Any) -> None:
    """Clear the states, and what the last step left in the attributes."""
    for neuron in neurons:
        for name in {*STATES.get(type(neuron).__name__, ()), "reset", "spk"}:
            part = getattr(neuron, name, None)
            if isinstance(part, Tensor) and part.numel():
                setattr(neuron, name, part.new_zeros(0))


class Stepped(nn.Module):
    """A module of snnTorch, called once for every step; the states of its neurons are passed and returned.

    It computes what snnTorch computes, with the same rounding and the same gradients, at snnTorch's speed. The state is
    fresh on every call; :meth:`run` carries it between chunks of time.

    Args:
        module: a neuron with ``init_hidden=True``, or a module whose neurons have it.

    Returns:
        ``stepped(x)``: events where the output is the spikes of a neuron, else a tensor, ``(steps, samples, *units)``.

    Raises:
        InputError: on a call, for a module that calls a neuron twice in a step, that resets its neurons, or that keeps
            another state than that of its neurons.

    Example:
        >>> import snntorch
        >>> Stepped(snntorch.Lapicque(beta=0.5, init_hidden=True))(torch.full((3, 1, 2), 2.0)).counts().tolist()
        [[2.0, 2.0]]
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor | EventTensor) -> Any:
        """Outputs of a whole sequence, from rest."""
        return self.run(x)[0]

    def run(self, x: Tensor | EventTensor, state: Any = None, *, detach: bool = True) -> tuple[Any, Any]:
        """The same from the states that the chunk before returned: a dict from a neuron's name to its state."""
        where = f"io.snntorch.{type(self.module).__name__}"
        if not isinstance(x, Tensor | EventTensor) or len(x.shape) < 3:
            got = f"shape {tuple(x.shape)}" if hasattr(x, "shape") else type(x).__name__
            raise InputError(where, got=got, expected="(steps, samples, *units)", fix="Time comes first.")
        refuse_chunk(where, timing_of(x))
        steps = _neuron_steps if _costs_are_known(self.module) else _steps
        return steps(where, self.module, x, state, detach)


def _steps(
    where: str, module: nn.Module, x: Tensor | EventTensor, state: Any, detach: bool
) -> tuple[Any, dict[str, tuple[Tensor, ...]]]:
    """Outputs and last states of a module that is called once for each step."""
    neurons, timing, dense = neurons_of(module), timing_of(x), dense_of(x)
    states, outputs, binary = _checked(where, state, neurons, dense), [], True
    # Without steps, one step of silence gives the shape of the output; its state is not kept.
    with _Watched(where, module, neurons) as watched:
        for step, now in enumerate(dense.unbind(0) if len(dense) else [dense.new_zeros(dense.shape[1:])]):
            out = watched.call(now, states)
            binary = binary and any(out is spikes for spikes in watched.fired)
            alive = None if timing is None or timing.lengths is None else step < timing.lengths
            if len(dense):
                states = {name: _held(alive, _state(part), states[name]) for name, part in neurons.items()}
            outputs.append(out)
    out = tree_map(lambda *parts: torch.stack(parts)[: len(dense)], outputs[0], *outputs[1:])
    after = tree_map(torch.detach, states) if detach else states
    return tree_map(lambda part: _timed(part, timing, binary), out), after


def _work(result: tuple[EventTensor, Any], where: str, neuron: Any, *_: object) -> list[Operation]:
    """The cost of a neuron: its states, and the spikes of the step before through its recurrent weights."""
    events, kept = result[0], [name for name in STATES[type(neuron).__name__] if name != "spk"]
    work = [Operation("neuron", output=events, state_updates=len(kept) * events.n_rows * events.n_units)]
    recurrent = getattr(neuron, "recurrent", None)
    if isinstance(recurrent, nn.Linear) and events.shape[0] > 1:
        before, bias = events.steps(0, events.shape[0] - 1), recurrent.bias is not None
        work.append(Operation("linear", input=before, weight=recurrent.weight, bias=bias))
    return work


_neuron_steps = operation(_work)(_steps)


def _costs_are_known(module: nn.Module) -> bool:
    """One neuron without weights, or with linear recurrent ones; else a meter reads the operations inside."""
    inside = [part for part in module.children() if next(part.parameters(), None) is not None]
    plain = all(isinstance(part, nn.Linear) for part in inside)
    return plain and type(module).__name__ in STATES and "" in neurons_of(module)


def _checked(where: str, state: Any, neurons: dict[str, Any], x: Tensor) -> dict[str, tuple[Tensor, ...]]:
    """The states of all neurons; empty tensors at rest."""
    if state is None:
        return {name: tuple(x.new_zeros(0) for _ in STATES[type(each).__name__]) for name, each in neurons.items()}
    if not isinstance(state, dict) or {*state} != {*neurons}:
        refuse_state(where, state, f"a dict of the states of {', '.join(neurons) or 'no neurons'}")
    for levels in state.values():
        for level in levels:
            check_level(where, level, (x.shape[1], *level.shape[1:]) if level.numel() else level.shape)
    return state


def _state(neuron: Any) -> tuple[Tensor, ...]:
    return tuple(getattr(neuron, name) for name in STATES[type(neuron).__name__])


def _held(alive: Tensor | None, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """New states; a sample that has ended keeps its own."""
    if alive is None:
        return new
    before = [b if b.shape == a.shape else torch.zeros_like(a) for a, b in zip(new, old, strict=True)]
    masks = [alive.view(-1, *[1] * (a.dim() - 1)) for a in new]
    return tuple(torch.where(mask, a, b) for mask, a, b in zip(masks, new, before, strict=True))


def _timed(out: Tensor, timing: Timing | None, binary: bool) -> Tensor | EventTensor:
    """Silence beyond each sample's end; spikes as events."""
    out = out if timing is None else silence_padding(out, timing)
    if binary:
        known = {} if timing is None else {"t0": timing.t0, "lengths": timing.lengths, "axis": timing.axis}
        return EventTensor.from_dense(out, None if timing is None else timing.dt, spikes=True, **known)
    return out if timing is None else with_timing(out, timing)


class _Watched:
    """Calls a module for one step at a time; each neuron starts from its state and is called once, and nothing else
    keeps a state. The neurons are at rest before and after."""

    def __init__(self, where: str, module: nn.Module, neurons: dict[str, Any]):
        self.where, self.module, self.neurons = where, module, neurons
        self.names = {id(neuron): name for name, neuron in neurons.items()}
        self.fired: list[Tensor] = []
        self.called: set[str] = set()
        self.states: dict[str, tuple[Tensor, ...]] = {}

    def __enter__(self) -> _Watched:
        self.resting = {name: _state(neuron) for name, neuron in self.neurons.items()}
        self.kept = attributes_of(self.module)
        self.handles = [neuron.register_forward_pre_hook(self._before) for neuron in self.neurons.values()]
        self.handles += [neuron.register_forward_hook(self._after) for neuron in self.neurons.values()]
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        for handle in self.handles:
            handle.remove()
        _rest(self.neurons.values())
        for name, neuron in self.neurons.items():  # the buffers themselves, as they were before
            _set_state(neuron, self.resting[name])
        changed = [name for name, value in attributes_of(self.module).items() if self.kept.get(name) != value]
        if changed and kind is None:
            got, expected = f"a forward that writes to {changed[0]!r}", "a module without state but that of its neurons"
            raise InputError(self.where, got=got, expected=expected)

    def call(self, x: Tensor, states: dict[str, tuple[Tensor, ...]]) -> Any:
        """The output of one step; the spikes of its neurons are in ``fired``."""
        self.fired, self.called, self.states = [], set(), states
        for name, neuron in self.neurons.items():
            _set_state(neuron, states[name])
        try:
            return self.module(x)
        except InputError:
            raise
        except Exception as error:  # of the module itself, for what is no input of its forward
            got = f"an error of its forward: {error}"
            raise InputError(self.where, got=got, expected="a forward of one step") from error

    def _before(self, neuron: Any, _: Any) -> None:
        name = self.names[id(neuron)]
        if name in self.called or any(a is not b for a, b in zip(_state(neuron), self.states[name], strict=True)):
            what = "called twice in a step" if name in self.called else "reset or changed in a step"
            fix = "Pass its layers in order: read([net.fc1, net.lif1, net.fc2, net.lif2])."
            got = f"{type(neuron).__name__} {name!r} {what}"
            raise InputError(self.where, got=got, expected="a forward of one step, which calls a neuron once", fix=fix)
        self.called.add(name)

    def _after(self, neuron: Any, _: Any, out: Any) -> None:
        self.fired.append(out[0] if isinstance(out, tuple) else out)


def _set_state(neuron: Any, levels: tuple[Tensor, ...]) -> None:
    for name, level in zip(STATES[type(neuron).__name__], levels, strict=True):
        setattr(neuron, name, level)


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """Numbers, and addresses and versions of tensors, of all modules but neurons and batch norms."""
    found: dict[str, Any] = {}
    neurons = set(map(id, neurons_of(module).values()))
    for path, part in module.named_modules():
        if id(part) in neurons or isinstance(part, _BatchNorm):
            continue
        for name, value in (*vars(part).items(), *part._buffers.items()):
            if isinstance(value, Tensor):
                found[f"{path}.{name}"] = (id(value), value._version)
            elif isinstance(value, int | float | str) and name != "training":
                found[f"{path}.{name}"] = value
    return found
