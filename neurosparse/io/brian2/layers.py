"""A trained network as layers for a simulator: neurons, constants and connections."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.fold import Fold
from neurosparse.io.brian2.affine import Affine, affine
from neurosparse.neurons import LIF, Readout
from neurosparse.neurons.lif import refuse_start

__all__ = ["ExportedLayer", "layers_of", "outputs_of"]

DYNAMICS = ("current_based", "adaptive")


class ExportedLayer(NamedTuple):
    """Neurons and the connections to them. A constant is a number, or an array with one per neuron."""

    name: str
    neurons: LIF | None  # None: leaky integrators without spikes
    units: tuple[int, ...]
    constants: dict[str, float | np.ndarray]
    bias: np.ndarray
    forward: Affine
    recurrent: Affine | None

    @property
    def size(self) -> int:
        return math.prod(self.units)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Constants and bias that differ between neurons."""
        parts = self.constants | ({"bias": self.bias} if self.bias.any() else {})
        return {name: value for name, value in parts.items() if isinstance(value, np.ndarray)}


def layers_of(where: str, network: nn.Module, units: tuple[int, ...], dt: float) -> list[ExportedLayer]:
    """The layers of a ``nn.Sequential`` in order, for an input with these units and steps of ``dt`` seconds.

    Raises:
        InputError: neurons or modules that a script cannot express, constants of another shape.
    """
    if not isinstance(network, nn.Sequential):
        fix = "Pass nn.Sequential(net.fc1, net.lif1, ...)."
        raise InputError(where, got=f"a {type(network).__name__}", expected="a nn.Sequential", fix=fix)
    layers: list[ExportedLayer] = []
    waiting: list[nn.Module] = []
    for module in [*_flat(network), None]:
        if not isinstance(module, LIF | Readout | None):
            waiting.append(module)
            continue
        if module is None and not waiting and layers:
            break
        if layers and layers[-1].neurons is None:
            raise InputError(where, got="layers after a readout", expected="the readout as the last layer")
        forward = affine(where, waiting, units)
        layers.append(_layer(where, f"layer_{len(layers) + 1}", module, forward, dt))
        units, waiting = forward.shape, []
    return layers


def _flat(network: nn.Sequential) -> Iterator[nn.Module]:
    for module in network:
        if isinstance(module, nn.Sequential):
            yield from _flat(module)
        else:
            yield module


def _layer(where: str, name: str, neurons: nn.Module | None, forward: Affine, dt: float) -> ExportedLayer:
    units, bias, recurrent = forward.shape, forward.bias, None
    if not isinstance(neurons, LIF):  # a last linear layer is a readout without memory
        beta = neurons.constants()["beta"] if isinstance(neurons, Readout) else torch.zeros(())
        return ExportedLayer(
            "readout", None, units, {"beta": _constant(where, "beta", beta, units)}, bias, forward, None
        )
    refuse_start(where, neurons)
    if neurons.dynamics is not None and neurons.dynamics.name not in DYNAMICS:
        raise InputError(where, got=f"dynamics {neurons.dynamics.name}", expected=" or ".join(DYNAMICS))
    values = {each.removeprefix("dynamics."): value for each, value in neurons.constants(dt).items()}
    values = {each: value for each, value in values.items() if each != "tau" and "." not in each}
    if neurons.recurrent is not None:
        chain = neurons.recurrent if isinstance(neurons.recurrent, nn.Sequential) else [neurons.recurrent]
        recurrent = affine(where, list(chain), units)
        if recurrent.shape != units:
            got = f"a recurrent module from {units} to {recurrent.shape}"
            raise InputError(where, got=got, expected="a current for each neuron")
        bias = bias + recurrent.bias
    constants = {each: _constant(where, each, value, units) for each, value in values.items()}
    return ExportedLayer(name, neurons, units, constants, bias, forward, recurrent)


def _constant(where: str, name: str, value: Tensor, units: tuple[int, ...]) -> float | np.ndarray:
    found = value.detach().double().cpu()
    try:
        flat = found.expand(units).flatten()
    except RuntimeError as error:
        got = f"{name} of shape {tuple(value.shape)}"
        raise InputError(where, got=got, expected=f"a number or one per unit {units}") from error
    return float(found.flatten()[0]) if bool((found == found.flatten()[0]).all()) else flat.numpy()


@torch.no_grad()
def outputs_of(network: nn.Sequential, inputs: EventTensor) -> list[EventTensor | Tensor]:
    """The output of every layer of neurons, in float64 and in evaluation; of a last linear layer its currents."""
    dense = inputs.dense().detach().cpu().double()
    timing = {"dt": inputs.dt, "t0": inputs.t0, "lengths": inputs.lengths}
    exact = copy.deepcopy(network).double().cpu().eval()
    signal: EventTensor | Tensor = EventTensor.from_dense(dense, spikes=inputs.binary, **timing)
    found, module = [], None
    for module in _steps(exact):
        signal = module(signal)
        found += [signal] if isinstance(module, LIF | Readout) else []
    return found if isinstance(module, LIF | Readout) else [*found, signal]


def _steps(network: nn.Sequential) -> Iterator[nn.Module]:
    """Modules with sequences as input; a fold is one module."""
    for module in network:
        if isinstance(module, nn.Sequential) and not isinstance(module, Fold):
            yield from _steps(module)
        else:
            yield module
