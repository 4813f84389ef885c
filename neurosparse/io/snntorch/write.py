"""Writing networks for snnTorch, and the arguments of ``ns.record`` for its networks."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from neurosparse.errors import InputError
from neurosparse.events.fold import Fold
from neurosparse.io.snntorch.read import acts_on_sequences, by_rows, runs_in_order
from neurosparse.io.snntorch.steps import Stepped, copied, neurons_of
from neurosparse.neurons import LIF
from neurosparse.neurons.lif import refuse_start

__all__ = ["recording", "write"]

WHERE = "io.snntorch.write"
MEMBRANES = {"mem", "syn", "syn_exc", "syn_inh"}


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
    neurons = neurons_of(network)
    if not neurons:
        fix = "Pass the snnTorch network itself, not the result of io.snntorch.read."
        raise InputError("io.snntorch.recording", got="no neurons of snnTorch", expected="at least one", fix=fix)
    spiking = {
        name: len(MEMBRANES & dict(module.named_buffers(recurse=False)).keys())
        for name, module in neurons.items()
        if bool(torch.as_tensor(module.graded_spikes_factor == 1.0).all())
    }
    return {"spiking": {**spiking, **({"input": 0} if spiking_input else {})}, "calls": "steps", "samples": 0}


class _Spike(torch.autograd.Function):
    """Step function; its backward pass uses the derivative of one of our surrogates."""

    @staticmethod
    def forward(ctx, distance, derivative):
        ctx.save_for_backward(distance)
        ctx.derivative = derivative
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (distance,) = ctx.saved_tensors
        return grad * ctx.derivative(distance), None


def write(network: nn.Module) -> nn.Module:
    """One of our networks as a snnTorch network, called step by step after ``snntorch.utils.reset(network)``.

    Args:
        network: torch modules, folds, :class:`LIF` layers and what :func:`read` returns, in ``nn.Sequential`` of any
            depth, or in modules whose forward only calls them and adds or multiplies their outputs.

    Returns:
        The same network for one step; its neurons store their state (``init_hidden=True``).

    Raises:
        InputError: neurons that snnTorch does not have: an immediate reset by subtraction, adaptation, refractoriness;
            other modules with a state.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9, delayed_reset=True))
        >>> write(net)[1].beta.item()
        0.8999999761581421
    """
    memo: dict[int, Any] = {}
    return _module("", network, memo)


def _module(path: str, module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    inside = f"{path}." if path else ""
    if isinstance(module, LIF):
        refuse_start(WHERE, module)
        return _written(path, module, memo)
    if isinstance(module, Stepped):
        kind = importlib.import_module("snntorch").SpikingNeuron
        found = copied(module.module, memo)
        kind.instances.extend(neurons_of(found).values())  # what snntorch.utils.reset goes through
        return found
    if runs_in_order(module) or isinstance(module, Fold):
        layers: list[nn.Module] = []
        for name, child in module._modules.items():
            written = _module(inside + name, child or nn.Identity(), memo)
            # The content of a fold follows in order.
            layers += written if isinstance(child, Fold) and isinstance(written, nn.Sequential) else [written]
        return nn.Sequential(*layers)
    if by_rows(module):
        return copied(module, memo)
    if not acts_on_sequences(module):
        got = f"{type(module).__name__} {path!r}"
        raise InputError(WHERE, got=got, expected="LIF, modules that act on each step, and containers")
    written = {
        name: _module(inside + name, child, memo) for name, child in module._modules.items() if child is not None
    }
    found = copied(module, memo)
    for name, child in written.items():
        setattr(found, name, child)
    return found


def _written(path: str, lif: LIF, memo: dict[int, Any]) -> nn.Module:
    where, dynamics = f"{WHERE} of LIF {path!r}", lif.dynamics
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
    layer.recurrent = copied(lif.recurrent, memo)
    return layer
