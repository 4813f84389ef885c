"""Modules of torch and ours as nodes of NIR, with a note of what NIR has no field for."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.io.nir.modules import Delay, Scale
from neurosparse.neurons import LIF, Readout
from neurosparse.neurons.lif import refuse_start

__all__ = ["METHODS", "NOTES", "Discretization", "ModuleNodes", "as_nodes", "readout_node", "spiking_node"]

NOTES = "neurosparse"  # key in a node's metadata of what NIR has no field for
METHODS = ("exponential", "euler")
WHERE = "io.nir.write"
WITHOUT_NODE = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)  # the identity in evaluation


class Discretization(NamedTuple):
    """How a differential equation becomes a step: ``dt`` seconds, ``method``, and whether ``r`` is one.

    Decay per step ``beta = exp(-dt / tau)`` (exponential) or ``1 - dt / tau`` (Euler's method); see ``io.nir.write``.
    """

    dt: float
    method: str
    unit_r: bool = False

    def gain(self, decay: np.ndarray) -> np.ndarray:
        """The ``r``, or ``w_in``, of a node with this decay."""
        return np.ones_like(decay) if self.unit_r else 1 / (1 - decay)

    def voltage(self, decay: np.ndarray) -> np.ndarray:
        """Change of the voltage in one step by a current of one."""
        return 1 - decay if self.unit_r else np.ones_like(decay)

    def decay(self, tau: np.ndarray) -> np.ndarray:
        """Decay per step of a time constant."""
        return np.exp(-self.dt / tau) if self.method == "exponential" else 1 - self.dt / tau

    def tau(self, decay: np.ndarray, name: str) -> np.ndarray:
        """Time constant of a decay per step, the inverse of :meth:`decay`."""
        if (decay == 1).any():
            fix = "beta=1 can be written for all units of a layer together, without synaptic current (IF or I)."
            raise InputError(WHERE, got=f"{name}=1 in some unit", expected=f"{name} < 1", fix=fix)
        if self.method == "euler":
            return self.dt / (1 - decay)
        if (decay == 0).any():
            fix = "Write with method='euler', in which it is tau = dt."
            raise InputError(WHERE, got=f"{name}=0", expected="a time constant", fix=fix)
        return -self.dt / np.log(decay)


class ModuleNodes(NamedTuple):
    """Nodes of one module in order, and the node of its recurrent weights (None: not recurrent)."""

    chain: list[Any]
    recurrent: Any = None


def as_nodes(module: nn.Module, shape: tuple[int, ...], discretization: Discretization) -> ModuleNodes:
    """The nodes of one module whose input has units of this shape."""
    nir = importlib.import_module("nir")
    if isinstance(module, LIF):
        refuse_start(WHERE, module)
        return _spiking(module, shape, discretization)
    if isinstance(module, Readout):
        return ModuleNodes([readout_node(module.constants()["beta"], shape, discretization)])
    if isinstance(module, Scale):
        return ModuleNodes([nir.Scale(scale=_full("scale", module.scale, shape))])
    if isinstance(module, Delay):
        steps = _full("delay", module.steps, shape)
        return ModuleNodes([nir.Delay(delay=steps * discretization.dt, metadata={NOTES: {"dt": discretization.dt}})])
    if isinstance(module, nn.Linear):
        return ModuleNodes([_linear(module, shape)])
    if isinstance(module, WITHOUT_NODE):
        if module.training and getattr(module, "p", 0):
            raise InputError(
                WHERE, got="dropout in training mode", expected="a network in evaluation mode", fix="Call .eval()."
            )
        return ModuleNodes([])
    return ModuleNodes([_image_node(module, shape)])


def _image_node(module: nn.Module, shape: tuple[int, ...]) -> Any:
    nir = importlib.import_module("nir")
    if isinstance(module, nn.Conv1d):
        return nir.Conv1d(input_shape=shape[-1], **_convolution(module, 1))
    if isinstance(module, nn.Conv2d):
        return nir.Conv2d(input_shape=shape[-2:], **_convolution(module, 2))
    if isinstance(module, nn.AvgPool2d):
        window = {name: np.array(_pair(getattr(module, name))) for name in ("kernel_size", "stride", "padding")}
        padded = window["padding"].any() and not module.count_include_pad
        if module.ceil_mode or padded or module.divisor_override not in (None, 1):
            got = "AvgPool2d with ceil_mode, another divisor or padding that is not counted"
            expected = "an average, or by divisor_override=1 a sum, over whole windows"
            raise InputError(WHERE, got=got, expected=expected)
        return nir.SumPool2d(**window) if module.divisor_override == 1 else nir.AvgPool2d(**window)
    if isinstance(module, nn.Flatten):
        if module.start_dim == 0:
            raise InputError(
                WHERE, got="Flatten(start_dim=0)", expected="start_dim of 1 or more", fix="Use nn.Flatten()."
            )
        first, last = (d - 1 if d > 0 else d % len(shape) for d in (module.start_dim, module.end_dim))
        return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=first, end_dim=last)
    fix = "Merge a BatchNorm into the layer before it; NIR has no nodes for other modules."
    expected = "Linear, Conv1d, Conv2d, AvgPool2d, Flatten, LIF, Readout, Scale, Delay"
    raise InputError(WHERE, got=type(module).__name__, expected=expected, fix=fix)


def _linear(module: nn.Linear, shape: tuple[int, ...]) -> Any:
    nir = importlib.import_module("nir")
    if shape != (module.in_features,):
        fix = "Put ns.fold(nn.Flatten()) before it." if len(shape) > 1 else "Check input_shape."
        got = f"units of shape {shape}"
        raise InputError(WHERE, got=got, expected=f"({module.in_features},) before a Linear", fix=fix)
    weight = _array(module.weight)
    return nir.Linear(weight=weight) if module.bias is None else nir.Affine(weight=weight, bias=_array(module.bias))


def _convolution(module: nn.Conv1d | nn.Conv2d, axes: int) -> dict[str, Any]:
    if module.groups != 1 or module.padding_mode != "zeros":
        got = f"groups={module.groups}, padding_mode={module.padding_mode!r}"
        fix = "NIR 1.0 computes a wrong input shape for grouped convolutions."
        raise InputError(WHERE, got=got, expected="groups=1, padding_mode='zeros'", fix=fix)
    if len(set(module.kernel_size)) != 1 and module.padding != "same":
        fix = "NIR 1.0 computes a wrong output shape for other kernels; pad the kernel with zeros."
        raise InputError(WHERE, got=f"kernel_size={module.kernel_size}", expected="a square kernel", fix=fix)
    bias = np.zeros(module.out_channels) if module.bias is None else _array(module.bias)
    window: dict[str, Any] = {}
    for name in ("stride", "padding", "dilation"):
        value: Any = getattr(module, name)
        window[name] = value if isinstance(value, str) else int(value[0]) if axes == 1 else np.array(value)
    notes = {NOTES: {"bias": module.bias is not None}}
    return {"weight": _array(module.weight), "bias": bias, "groups": 1, **window, "metadata": notes}


def _spiking(lif: LIF, shape: tuple[int, ...], discretization: Discretization) -> ModuleNodes:
    nir = importlib.import_module("nir")
    if lif.refractory:
        fix = "Train the network with refractory=0, or export it to Brian 2."
        raise InputError(WHERE, got=f"refractory={lif.refractory}", expected="no refractory time", fix=fix)
    if lif.dynamics is not None and lif.dynamics.name != "current_based":
        got = f"dynamics {lif.dynamics.name}"
        raise InputError(WHERE, got=got, expected="current_based or no dynamics: NIR has no adaptive threshold")
    if lif.tau is not None and lif.dt is not None and lif.dt != discretization.dt:
        raise InputError(WHERE, got=f"dt={discretization.dt:g}", expected=f"the layer's dt={lif.dt:g}")
    if lif.reset == "none":
        if lif.recurrent is not None:
            raise InputError(WHERE, got="recurrent neurons with reset='none'", expected="'subtract' or 'zero'")
        threshold = nir.Threshold(threshold=_full("threshold", lif.constants()["threshold"], shape))
        return ModuleNodes([*_never_reset(lif, shape, discretization), threshold])
    return ModuleNodes([spiking_node(lif, shape, discretization)], _recurrent(lif, shape))


def _never_reset(lif: LIF, shape: tuple[int, ...], discretization: Discretization) -> list[Any]:
    """Integrators before a threshold: neurons that are never reset."""
    constants = lif.constants(discretization.dt)
    alpha = [] if lif.dynamics is None else [readout_node(constants["dynamics.alpha"], shape, discretization)]
    if bool((constants["beta"] == 0).all()):
        return alpha
    return [*alpha, readout_node(constants["beta"], shape, discretization)]


def spiking_node(lif: LIF, shape: tuple[int, ...], discretization: Discretization) -> Any:
    """IF, LIF, CubaLIF or Threshold, with a note of what these have no field for."""
    nir = importlib.import_module("nir")
    constants = lif.constants(discretization.dt)
    beta, threshold = (_full(name, constants[name], shape) for name in ("beta", "threshold"))
    zero, notes = np.zeros(shape), {"metadata": {NOTES: _notes(lif, discretization)}}
    if lif.dynamics is None and (beta == 1).all():
        return nir.IF(r=np.full(shape, 1 / discretization.dt), v_threshold=threshold, v_reset=zero, **notes)
    if lif.dynamics is None and (beta == 0).all() and not lif.delayed_reset and discretization.method == "exponential":
        return nir.Threshold(threshold=threshold, **notes)
    tau = (
        discretization.tau(beta, "beta")
        if lif.tau is None or discretization.method == "euler"
        else _full("tau", constants["tau"], shape)
    )
    threshold = threshold * discretization.voltage(beta)
    membrane = {"r": discretization.gain(beta), "v_leak": zero, "v_reset": zero, **notes}
    if lif.dynamics is None:
        return nir.LIF(tau=tau, v_threshold=threshold, **membrane)
    alpha = _full("alpha", constants["dynamics.alpha"], shape)
    synapse = {"tau_syn": discretization.tau(alpha, "alpha"), "w_in": discretization.gain(alpha)}
    return nir.CubaLIF(tau_mem=tau, v_threshold=threshold * discretization.voltage(alpha), **synapse, **membrane)


def readout_node(beta: Tensor, shape: tuple[int, ...], discretization: Discretization) -> Any:
    """LI, or I without a leak."""
    nir = importlib.import_module("nir")
    decay = _full("beta", beta, shape)
    notes = {"metadata": {NOTES: {**discretization._asdict(), **_kept({"beta": beta})}}}
    if (decay == 1).all():
        return nir.I(r=np.full(shape, 1 / discretization.dt), **notes)
    return nir.LI(tau=discretization.tau(decay, "beta"), r=1 / (1 - decay), v_leak=np.zeros(shape), **notes)


def _notes(lif: LIF, discretization: Discretization) -> dict[str, Any]:
    names = {
        "tau" if lif.beta is None else "beta": "",
        "threshold": "",
        **({} if lif.dynamics is None else {"alpha": "dynamics."}),
    }
    constants = lif.constants()
    how = {**discretization._asdict(), "reset": lif.reset, "delayed_reset": lif.delayed_reset}
    return {**how, **_kept({name: constants[part + name] for name, part in names.items()})}


def _kept(constants: dict[str, Tensor]) -> dict[str, Any]:
    """Constants in their own type and exact; the conversion to a time constant and back would round them."""
    kept = {k: _array(v)[()] for k, v in constants.items()}
    return {**kept, "trained": " ".join(k for k, v in constants.items() if v.requires_grad)}


def _recurrent(lif: LIF, shape: tuple[int, ...]) -> Any:
    if lif.recurrent is None:
        return None
    if isinstance(lif.recurrent, nn.Linear):
        return _linear(lif.recurrent, shape)
    if isinstance(lif.recurrent, Scale):
        return importlib.import_module("nir").Scale(scale=_full("scale", lif.recurrent.scale, shape))
    got = f"recurrent {type(lif.recurrent).__name__}"
    raise InputError(WHERE, got=got, expected="nn.Linear or ns.io.nir.Scale between the neurons of a layer")


def _full(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A constant of every unit, in float64."""
    found = np.asarray(_array(value) if isinstance(value, Tensor) else value, dtype=np.float64)
    try:
        return np.broadcast_to(found, shape).copy()
    except ValueError:
        raise InputError(
            WHERE, got=f"{name} of shape {found.shape}", expected=f"a number or one per unit, {shape}"
        ) from None


def _array(tensor: Tensor) -> np.ndarray:
    if tensor.dtype in (torch.bfloat16, torch.float16):
        fix = "Call .float() on the network."
        raise InputError(WHERE, got=str(tensor.dtype), expected="float32 or float64", fix=fix)
    return tensor.detach().cpu().numpy().copy()


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
