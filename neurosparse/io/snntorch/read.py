"""Reading snnTorch's networks: neurons, nested containers, and modules with a forward of their own."""

from __future__ import annotations

import importlib
import inspect
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from neurosparse.errors import InputError
from neurosparse.events import fold
from neurosparse.io.snntorch.steps import STATES, Stepped, attributes_of, copied, neurons_of
from neurosparse.neurons import LIF, current_based
from neurosparse.neurons.surrogate import ForeignSpike, Surrogate

__all__ = ["acts_on_sequences", "by_rows", "read", "runs_in_order"]

WHERE, KINDS = "io.snntorch.read", f"{', '.join([*STATES][:-1])} or {[*STATES][-1]}"
FLAT = (nn.Linear, nn.Dropout, nn.Identity)  # modules that accept (steps, samples, units)
#: Modules whose output for one row (a sample in a step) depends on that row alone: they run in a fold.
ROWS = (
    *FLAT,
    nn.modules.conv._ConvNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.dropout._DropoutNd,
    _BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.ReLU,
    nn.LeakyReLU,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardtanh,
    nn.ELU,
    nn.Softplus,
    nn.Upsample,
    nn.ZeroPad2d,
)
#: Functions that act on each number alone, so that they act on a whole sequence as on its steps.
POINTWISE = {operator.add, operator.sub, operator.mul, operator.neg, torch.add, torch.sub, torch.mul}


def read(network: nn.Module | Sequence[nn.Module]) -> nn.Module:
    """A snnTorch network as one of ours: sequences in, events out, the same spikes for the same input.

    ``Leaky``, ``Synaptic`` and ``RLeaky`` become :class:`LIF` with the same constants, reset and surrogate function.
    Neurons that :class:`LIF` has no equal of (``Alpha``, ``Lapicque``, ``RSynaptic``, ``SLSTM``, ``SConv2dLSTM``, and
    inhibition, quantised states, spike functions other than a step) run in a :class:`Stepped`: step by step, by
    snnTorch's own code. Containers are read at any depth, and modules for images are put into folds. A module with a
    forward of its own is copied with its children read, where its forward only calls them and adds or multiplies their
    outputs (residual blocks); any other runs in a :class:`Stepped`. Weights are copied; the states of neurons are not.

    Gradients are those of snnTorch, with two exceptions in :class:`LIF`: with ``reset_delay=False`` snnTorch's gradient
    also flows through the reset, which is a constant here; and a learned ``beta`` or ``alpha`` at 0, at 1 or beyond
    gets the gradient that leads back into 0..1, where snnTorch's is none beyond and both at a bound.

    Args:
        network: a module that snnTorch calls once for each step, whose neurons have ``init_hidden=True``; or layers in
            the order in which they run, such as ``[net.fc1, net.lif1, net.fc2, net.lif2]``. Of a last layer with
            ``output=True``, the spikes are returned.

    Returns:
        A module from ``(steps, samples, *units)``: a ``nn.Sequential`` for a ``nn.Sequential`` or a list.

    Raises:
        InputError: a neuron without an equal (graded spikes, an immediate reset by subtraction, which snnTorch applies
            twice to a strong current, ``LeakyParallel`` and other layers over whole sequences); neurons whose state
            the module passes itself; a neuron that is used twice; batch norm in training, whose statistics are those
            of one step in snnTorch and of all steps here.

    Example:
        >>> import snntorch
        >>> block = nn.Sequential(nn.Linear(8, 4), snntorch.Leaky(beta=0.9, init_hidden=True))
        >>> read(nn.Sequential(block, nn.Linear(4, 2)))(torch.ones(5, 3, 8)).shape
        torch.Size([5, 3, 2])

    Source: Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep learning".
    """
    in_order = isinstance(network, nn.Sequential) or not isinstance(network, nn.Module)
    root = network if isinstance(network, nn.Module) else nn.Sequential(*network)
    _refuse(root, in_order and not isinstance(network, nn.Module))
    reader = _Reader()
    return nn.Sequential(*reader.chain("", list(root._modules.items()))) if in_order else reader.module("", root)


def _refuse(root: nn.Module, listed: bool) -> None:
    """Refuse what cannot be read, before anything is copied; ``listed``: the caller passed layers in order."""
    fix = "Pass its layers in order: read([net.fc1, net.lif1, net.fc2, net.lif2])."
    if isinstance(root, nn.ModuleList | nn.ModuleDict):
        got = f"a {type(root).__name__}"
        raise InputError(WHERE, got=got, expected="a module with a forward, or a list of layers", fix=fix)
    paths: dict[int, str] = {}
    within = {id(part) for neuron in neurons_of(root).values() for part in neuron.modules()}
    for name, part in root.named_modules(remove_duplicate=False):
        kind, at = type(part).__name__, f", module {name!r}"
        if type(part).__module__.startswith("snntorch") and id(part) not in within:
            raise InputError(WHERE, got=f"{kind}{at}", expected=KINDS)
        if part in neurons_of(part).values():
            if paths.setdefault(id(part), name) != name:
                raise InputError(WHERE, got=f"{kind} used twice{at}", expected="a neuron of its own in each place")
            _refuse_neuron(at, part)
            direct = all(runs_in_order(root.get_submodule(path)) for path in _above(name))
            if not part.init_hidden and not (listed and direct):
                got = f"{kind} with init_hidden=False{at}"
                raise InputError(WHERE, got=got, expected="neurons that keep their state", fix=fix)
        if isinstance(part, _BatchNorm) and part.training:
            got, how = f"{kind} in training{at}", "Call network.eval() first; the result can be set to train()."
            raise InputError(WHERE, got=got, expected="the running statistics", fix=how)
        for key, value in vars(part).items():
            inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            if not key.startswith("_") and any(isinstance(each, nn.Module) for each in inside):
                raise InputError(WHERE, got=f"modules in a list {key!r} of {kind}{at}", expected="a nn.ModuleList")


def _above(name: str) -> list[str]:
    """Paths of the modules that contain this one."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:depth]) for depth in range(len(parts) + 1)]


def runs_in_order(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _refuse_neuron(at: str, layer: Any) -> None:
    kind = type(layer).__name__
    if kind not in STATES or not type(layer).__module__.startswith("snntorch"):
        raise InputError(WHERE, got=f"{kind}{at}", expected=KINDS)
    factor = layer.graded_spikes_factor
    if isinstance(factor, nn.Parameter) or bool((factor != 1.0).any()):
        raise InputError(WHERE, got=f"{kind} with graded_spikes_factor{at}", expected="graded_spikes_factor=1.0")
    if not getattr(layer, "reset_delay", True) and (layer.reset_mechanism == "subtract" or kind == "RSynaptic"):
        fix = "Build it with reset_delay=True, snnTorch's default."
        raise InputError(WHERE, got=f"{kind} with reset_delay=False{at}", expected="a delayed reset", fix=fix)


class _Reader:
    """Converts modules; shared weights stay shared."""

    def __init__(self):
        self.memo: dict[int, Any] = {}

    def chain(self, path: str, modules: list[tuple[str, Any]]) -> list[nn.Module]:
        """Modules that run one after the other; those for images that follow each other are one fold."""
        layers: list[nn.Module] = []
        folded: list[nn.Module] = []
        for at, (name, module) in enumerate(modules):
            if by_rows(module) and not isinstance(module, FLAT):
                folded.append(copied(module, self.memo))
                continue
            layers += [fold(*folded)] if folded else []
            folded = []
            if getattr(module, "output", False) and module in neurons_of(module).values() and at < len(modules) - 1:
                got = f"{type(module).__name__} {path + name!r} with output=True before another layer"
                raise InputError(WHERE, got=got, expected="a neuron that returns its spikes alone")
            layers.append(self.module(path + name, module))
        return [*layers, *([fold(*folded)] if folded else [])]

    def module(self, path: str, module: nn.Module) -> nn.Module:
        """One module."""
        if module in neurons_of(module).values():
            return self.neurons(path, module)
        if isinstance(module, FLAT):
            return copied(module, self.memo)
        if by_rows(module):
            return fold(copied(module, self.memo))
        if runs_in_order(module):
            return nn.Sequential(*self.chain(f"{path}." if path else "", list(module._modules.items())))
        if acts_on_sequences(module):
            children = {
                name: self.module(f"{path}.{name}", child)
                for name, child in module._modules.items()
                if child is not None
            }
            found = copied(module, self.memo)
            for name, child in children.items():
                setattr(found, name, child)
            return found
        return self.stepped(module)

    def stepped(self, module: nn.Module) -> Stepped:
        """The module's own code, with spike functions that can be saved."""
        found = copied(module, self.memo)
        for neuron in neurons_of(found).values():
            neuron.spike_grad = _surrogate(neuron.spike_grad)
        return Stepped(found)

    def neurons(self, path: str, layer: Any) -> nn.Module:
        """A LIF where it has the same law, else snnTorch's own code."""
        kind, plain = type(layer).__name__, not (layer.inhibition or layer.state_quant or layer.surrogate_disable)
        if kind not in ("Leaky", "Synaptic", "RLeaky") or not plain or not _is_step(layer.spike_grad):
            stepped = self.stepped(layer)
            stepped.module.init_hidden, stepped.module.output = True, False  # type: ignore[assignment]
            return stepped
        reset = layer.reset_mechanism
        # Leaky resets to zero before the leak, which equals an immediate reset; the others reset after the leak.
        delayed = layer.reset_delay and reset != "none" and not (kind == "Leaky" and reset == "zero")
        alpha = self.constant(layer.alpha) if kind == "Synaptic" else None
        try:
            return LIF(
                beta=self.constant(layer.beta),
                threshold=self.constant(layer.threshold, clamped=False),
                reset=reset,
                surrogate=_surrogate(layer.spike_grad),
                recurrent=copied(layer.recurrent, self.memo) if kind == "RLeaky" else None,
                dynamics=None if alpha is None else current_based(alpha),
                delayed_reset=delayed,
            )
        except InputError as error:
            raise InputError(WHERE, got=f"{kind} {path!r} ({error})", expected="constants that LIF takes") from error

    def constant(self, source: Tensor, clamped: bool = True) -> float | Tensor:
        """A float, or a tensor per unit; a trained constant stays a Parameter, the same one where it is shared."""
        if id(source) in self.memo and isinstance(source, nn.Parameter):
            return self.memo[id(source)]
        value = source.detach().clone()
        value = value.clamp(0, 1) if clamped else value
        if isinstance(source, nn.Parameter):
            self.memo[id(source)] = nn.Parameter(value, requires_grad=source.requires_grad)
            return self.memo[id(source)]
        return value if value.numel() > 1 else float(value)


class SnnTorchSurrogate:
    """A surrogate of snnTorch by the name of its maker: the functions made there are closures, which cannot be saved.

    Args:
        maker: a function of ``snntorch.surrogate``.
        settings: its arguments.
    """

    def __init__(self, maker: str, settings: dict[str, Any]):
        self.__name__, self.settings = maker, settings
        self.spike = getattr(importlib.import_module("snntorch.surrogate"), maker)(**settings)

    def __call__(self, distance: Tensor) -> Tensor:
        return self.spike(distance)

    def __reduce__(self) -> tuple:
        return SnnTorchSurrogate, (self.__name__, self.settings)


def _surrogate(spike: Any) -> Any:
    """The layer's spike function, in a form that can be saved where snnTorch has made it."""
    maker, closure, _ = getattr(spike, "__qualname__", "").partition(".<locals>.")
    if not closure or getattr(spike, "__module__", "") != "snntorch.surrogate":
        return spike
    settings = dict(inspect.getclosurevars(spike).nonlocals)
    known = inspect.signature(getattr(importlib.import_module("snntorch.surrogate"), maker)).parameters
    return SnnTorchSurrogate(maker, settings) if set(settings) == set(known) else spike


def by_rows(module: nn.Module) -> bool:
    """Whether the output for one row (a sample in a step) depends on that row alone."""
    if runs_in_order(module):
        return all(by_rows(child) for child in module.children()) and len(list(module.children())) > 0
    if isinstance(module, nn.Flatten):
        return module.start_dim > 0
    if isinstance(module, nn.Softmax | nn.LogSoftmax):
        return module.dim == -1
    if isinstance(module, nn.Unflatten):
        return isinstance(module.dim, int) and module.dim > 0
    return isinstance(module, ROWS) and type(module).__module__.startswith("torch.nn")


def _is_step(spike: Any) -> bool:
    """Whether a spike function is 1 above 0 and 0 elsewhere, in a thousand places."""
    if isinstance(spike, Surrogate) and not isinstance(spike, ForeignSpike):
        return True
    x = torch.cat([torch.linspace(-3, 3, 1001), torch.tensor([0.0, 1e-7, -1e-7, 1e-30, 50.0, -50.0])])
    try:
        with torch.enable_grad():
            found = spike(x.clone().requires_grad_())
        return found.requires_grad and bool((found == (x > 0)).all())
    except Exception:  # a function that takes other shapes, or a module that fails
        return False


class _Leaves(fx.Tracer):
    """Records the calls of children, not what happens inside of them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def acts_on_sequences(module: nn.Module) -> bool:
    """Whether a forward of one argument only calls children, each once, and adds, subtracts or multiplies.

    Then it is right for whole sequences if its children are. It is recorded in training and in evaluation.
    """
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict) or not list(module.children()):
        return False
    module = copied(module, {})  # to record a forward is to run it
    before = attributes_of(module)
    return all(_is_pointwise(module.train(mode)) for mode in (True, False)) and attributes_of(module) == before


def _is_pointwise(module: nn.Module) -> bool:
    try:
        nodes = list(_Leaves().trace(module).nodes)
    except Exception:  # a forward that decides by values, or that is no function of one tensor
        return False
    inputs = [node for node in nodes if node.op == "placeholder"]
    calls = [node.target for node in nodes if node.op == "call_module"]
    children = module._modules
    others = [node for node in nodes if node.op not in ("placeholder", "call_module", "output")]
    plain = all(node.op == "call_function" and node.target in POINTWISE and not node.kwargs for node in others)
    ends = isinstance(nodes[-1].args[0], fx.Node)
    return len(inputs) == 1 and ends and plain and len(set(calls)) == len(calls) and all(c in children for c in calls)
