"""snnTorch: its networks read and written with the same spikes in the same steps."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import fold
from neurosparse.events.fold import Fold
from neurosparse.neurons import LIF, current_based

__all__ = ["read", "recording", "write"]

STATES = {"mem", "syn", "syn_exc", "syn_inh"}
FLAT = (nn.Linear, nn.Dropout, nn.Identity)  # modules that accept (steps, samples, units)


def read(network: nn.Sequential | Sequence[nn.Module]) -> nn.Sequential:
    """A snnTorch network as one of ours: sequences in, events out, the same spikes for the same input.

    ``Leaky``, ``Synaptic`` and ``RLeaky`` become :class:`LIF` with the same constants, reset and surrogate function;
    modules for images are put into folds. Weights are copied.

    Args:
        network: layers in the order in which they run: a ``nn.Sequential``, or a list such as
            ``[net.fc1, net.lif1, net.fc2, net.lif2]`` (a module's own ``forward`` cannot be read).

    Returns:
        A ``nn.Sequential`` from ``(steps, samples, *units)``.

    Raises:
        InputError: another kind of neuron, or a setting without an equivalent here (inhibition, quantised states,
            graded spikes, an immediate reset by subtraction, which snnTorch applies twice to a strong current).

    Example:
        >>> import snntorch
        >>> net = nn.Sequential(nn.Linear(8, 4), snntorch.Leaky(beta=0.9, init_hidden=True))
        >>> read(net)(torch.ones(5, 3, 8)).shape
        (5, 3, 4)

    Source: Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep learning".
    """
    if isinstance(network, nn.Module) and not isinstance(network, nn.Sequential):
        fix = "Pass its layers in order: read([net.fc1, net.lif1, net.fc2, net.lif2])."
        got = f"a {type(network).__name__}"
        raise InputError("io.snntorch.read", got=got, expected="a nn.Sequential or a list of layers", fix=fix)
    layers: list[nn.Module] = []
    folded: list[nn.Module] = []
    for module in network:
        spikes = type(module).__module__.startswith("snntorch")
        if not spikes and not isinstance(module, FLAT):
            folded.append(copy.deepcopy(module))
            continue
        layers += [fold(*folded)] if folded else []
        folded = []
        layers.append(_neurons(module) if spikes else copy.deepcopy(module))
    return nn.Sequential(*layers, *([fold(*folded)] if folded else []))


def _neurons(layer: Any) -> LIF:
    kind = type(layer).__name__
    if kind not in ("Leaky", "Synaptic", "RLeaky"):
        raise InputError("io.snntorch.read", got=kind, expected="Leaky, Synaptic or RLeaky")
    for setting, plain in {"inhibition": False, "state_quant": False, "graded_spikes_factor": 1.0}.items():
        value = getattr(layer, setting, plain)
        if isinstance(value, nn.Parameter) or bool(value != plain):
            raise InputError("io.snntorch.read", got=f"{kind} with {setting}", expected=f"{setting}={plain}")
    reset = layer.reset_mechanism
    if not layer.reset_delay and reset == "subtract":
        fix = "Build it with reset_delay=True, snnTorch's default."
        raise InputError("io.snntorch.read", got=f"{kind} with reset_delay=False", expected="a delayed reset", fix=fix)
    # Leaky resets to zero before the leak, which equals an immediate reset; the other neurons reset after the leak.
    delayed = layer.reset_delay and reset != "none" and not (kind == "Leaky" and reset == "zero")
    return LIF(
        beta=_constant(layer.beta.clamp(0, 1), layer.beta),
        threshold=_constant(layer.threshold, layer.threshold),
        reset=reset,
        surrogate=_surrogate(layer.spike_grad),
        recurrent=copy.deepcopy(layer.recurrent) if kind == "RLeaky" else None,
        dynamics=current_based(_constant(layer.alpha.clamp(0, 1), layer.alpha)) if kind == "Synaptic" else None,
        delayed_reset=delayed,
    )


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


def _constant(value: Tensor, source: Tensor) -> float | Tensor:
    """A float, or a tensor per unit; a trained constant stays a Parameter."""
    value = value.detach().clone()
    if isinstance(source, nn.Parameter):
        return nn.Parameter(value)
    return value if value.dim() else float(value)


def recording(network: nn.Module, spiking_input: bool = False) -> dict[str, Any]:
    """The arguments of :func:`neurosparse.record` for a snnTorch network that is called step by step.

    A unit of ``Leaky`` has one state, of ``Synaptic`` two, of ``Alpha`` three. The outputs of neurons that scale their
    spikes count as values.

    Args:
        network: a module that contains snnTorch's neurons; reset it before recording.
        spiking_input: whether the network's own input is spikes.

    Returns:
        ``spiking``, ``calls`` and ``samples``; use: ``ns.record(network, **recording(network))``.

    Raises:
        InputError: no neurons of snnTorch.

    Example:
        >>> import snntorch
        >>> recording(nn.Sequential(nn.Linear(8, 4), snntorch.Synaptic(alpha=0.8, beta=0.9, init_hidden=True)))
        {'spiking': {'1': 2}, 'calls': 'steps', 'samples': 0}
    """
    kind = importlib.import_module("snntorch").SpikingNeuron
    neurons = {name: module for name, module in network.named_modules() if isinstance(module, kind)}
    if not neurons:
        fix = "Pass the snnTorch network itself, not the result of io.snntorch.read."
        raise InputError("io.snntorch.recording", got="no neurons of snnTorch", expected="at least one", fix=fix)
    spiking = {
        name: len(STATES & dict(module.named_buffers(recurse=False)).keys())
        for name, module in neurons.items()
        if bool(torch.as_tensor(module.graded_spikes_factor == 1.0).all())
    }
    return {"spiking": {**spiking, **({"input": 0} if spiking_input else {})}, "calls": "steps", "samples": 0}


def write(network: nn.Sequential) -> nn.Sequential:
    """One of our networks as a snnTorch network, called step by step after ``snntorch.utils.reset(network)``.

    Args:
        network: ``nn.Sequential`` of torch modules, folds and :class:`LIF` layers.

    Returns:
        A ``nn.Sequential`` whose neurons store their state (``init_hidden=True``).

    Raises:
        InputError: neurons that snnTorch does not have: an immediate reset by subtraction, adaptation, refractoriness.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9, delayed_reset=True))
        >>> write(net)[1].beta.item()
        0.8999999761581421
    """
    layers: list[nn.Module] = []
    for module in network:
        if isinstance(module, LIF):
            layers.append(_written(module))
        else:
            layers += [copy.deepcopy(part) for part in (module if isinstance(module, Fold) else [module])]
    return nn.Sequential(*layers)


def _written(lif: LIF) -> nn.Module:
    where, dynamics = "io.snntorch.write", lif.dynamics
    if lif.refractory or (dynamics is not None and dynamics.name != "current_based"):
        got = "a refractory time" if lif.refractory else f"dynamics {dynamics.name}"  # type: ignore[union-attr]
        raise InputError(where, got=got, expected="Leaky, Synaptic or RLeaky")
    if dynamics is not None and lif.recurrent is not None:
        raise InputError(
            where, got="a recurrent current-based layer", expected="either a recurrent layer or a current-based one"
        )
    if lif.tau is not None:
        fix = "Build the layer with beta=math.exp(-dt / tau)."
        raise InputError(where, got="tau in seconds", expected="beta per step", fix=fix)
    reset_at_once = lif.reset == "zero" and dynamics is None and lif.recurrent is None
    if lif.reset != "none" and lif.delayed_reset == reset_at_once:
        fix = f"Train the network with delayed_reset={not lif.delayed_reset}."
        raise InputError(
            where, got=f"delayed_reset={lif.delayed_reset}", expected="the time of snnTorch's reset", fix=fix
        )
    constants = {name: value.detach() for name, value in lif.constants().items()}
    numbers = {name for name, value in lif.named_buffers() if not value.ndim}
    constants = {name: value.item() if name in numbers else value for name, value in constants.items()}
    options: dict[str, Any] = {
        "threshold": constants["threshold"],
        "reset_mechanism": lif.reset,
        "spike_grad": lif.surrogate.of_its_own(),
        "init_hidden": True,
        "learn_beta": isinstance(lif.beta, nn.Parameter),
        "learn_threshold": isinstance(lif.threshold, nn.Parameter),
    }
    snntorch = importlib.import_module("snntorch")
    if dynamics is not None:
        learned = isinstance(dynamics.alpha, nn.Parameter)
        return snntorch.Synaptic(constants["dynamics.alpha"], constants["beta"], learn_alpha=learned, **options)
    if lif.recurrent is None:
        return snntorch.Leaky(constants["beta"], **options)
    if isinstance(lif.recurrent, nn.Linear):
        layer = snntorch.RLeaky(constants["beta"], linear_features=lif.recurrent.in_features, **options)
    else:  # one to one, or a convolution: any module
        layer = snntorch.RLeaky(constants["beta"], all_to_all=False, V=1.0, **options)
    layer.recurrent = copy.deepcopy(lif.recurrent)
    return layer
