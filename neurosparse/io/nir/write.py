"""Our modules as nodes of NIR: which node says the same, with what constants, and what no node can say."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.io.nir.modules import Delay, Scale
from neurosparse.neurons import LIF, Readout

__all__ = ["METHODS", "NOTES", "Clock", "Part", "as_nodes", "readout_node", "spiking_node"]

NOTES = "neurosparse"  # the key of a node's metadata under which stands what NIR's own fields cannot say
METHODS = ("exponential", "euler")
WHERE = "io.nir.write"
WITHOUT_NODE = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)  # nothing is left of them once trained


class Clock(NamedTuple):
    """Seconds per step, how a time constant becomes a decay per step, and whether r is one (see ``io.nir.write``)."""

    dt: float
    method: str
    unit_r: bool = False

    def gain(self, decay: np.ndarray) -> np.ndarray:
        """The r, or w_in, of a node."""
        return np.ones_like(decay) if self.unit_r else 1 / (1 - decay)

    def voltage(self, decay: np.ndarray) -> np.ndarray:
        """What a current of one adds to the voltage in one step."""
        return 1 - decay if self.unit_r else np.ones_like(decay)

    def decay(self, tau: np.ndarray) -> np.ndarray:
        return np.exp(-self.dt / tau) if self.method == "exponential" else 1 - self.dt / tau

    def tau(self, decay: np.ndarray, name: str) -> np.ndarray:
        if (decay == 1).any():
            fix = "Only beta=1 of all units of a layer without synaptic current is a node (IF or I)."
            raise InputError(WHERE, got=f"{name}=1 in some unit", expected=f"{name} < 1", fix=fix)
        if self.method == "euler":
            return self.dt / (1 - decay)
        if (decay == 0).any():
            fix = "Write with method='euler', where it is one of tau = dt."
            raise InputError(WHERE, got=f"{name}=0", expected="a time constant", fix=fix)
        return -self.dt / np.log(decay)


class Part(NamedTuple):
    """Nodes in the order in which a signal passes them, and a node from the last one's spikes back to its input."""

    chain: list[Any]
    returning: Any = None


def as_nodes(module: nn.Module, shape: tuple[int, ...], clock: Clock) -> Part:
    """One module, for units of the given shape, as nodes of NIR."""
    nir = importlib.import_module("nir")
    if isinstance(module, LIF):
        return _spiking(module, shape, clock)
    if isinstance(module, Readout):
        return Part([readout_node(module.beta, shape, clock)])
    if isinstance(module, Scale):
        return Part([nir.Scale(scale=_full("scale", module.scale, shape))])
    if isinstance(module, Delay):
        steps = _full("delay", module.steps, shape)
        return Part([nir.Delay(delay=steps * clock.dt, metadata={NOTES: {"dt": clock.dt}})])
    if isinstance(module, nn.Linear):
        return Part([_linear(module, shape)])
    if isinstance(module, WITHOUT_NODE):
        if module.training and getattr(module, "p", 0):
            raise InputError(WHERE, got="a dropout that is on", expected="a trained network", fix="Call .eval().")
        return Part([])
    return Part([_image_node(module, shape)])


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
            raise InputError(WHERE, got=got, expected="an average (or, by divisor_override=1, a sum) of whole windows")
        return nir.SumPool2d(**window) if module.divisor_override == 1 else nir.AvgPool2d(**window)
    if isinstance(module, nn.Flatten):
        if module.start_dim == 0:
            raise InputError(WHERE, got="Flatten(start_dim=0)", expected="samples kept apart", fix="Use nn.Flatten().")
        first, last = (d - 1 if d > 0 else d % len(shape) for d in (module.start_dim, module.end_dim))
        return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=first, end_dim=last)
    fix = "Fold BatchNorm into the layer before it; NIR has no node for other modules."
    expected = "Linear, Conv1d, Conv2d, AvgPool2d, Flatten, LIF, Readout, Scale, Delay"
    raise InputError(WHERE, got=type(module).__name__, expected=expected, fix=fix)


def _linear(module: nn.Linear, shape: tuple[int, ...]) -> Any:
    nir = importlib.import_module("nir")
    if shape != (module.in_features,):
        fix = "Put ns.fold(nn.Flatten()) before it." if len(shape) > 1 else "Give input_shape as the network takes it."
        got = f"units of shape {shape}"
        raise InputError(WHERE, got=got, expected=f"({module.in_features},) before a Linear", fix=fix)
    weight = _array(module.weight)
    return nir.Linear(weight=weight) if module.bias is None else nir.Affine(weight=weight, bias=_array(module.bias))


def _convolution(module: nn.Conv1d | nn.Conv2d, axes: int) -> dict[str, Any]:
    if module.groups != 1 or module.padding_mode != "zeros":
        got = f"groups={module.groups}, padding_mode={module.padding_mode!r}"
        fix = "NIR 1.0 takes the shape of a grouped convolution's input from its weights, which is wrong."
        raise InputError(WHERE, got=got, expected="one group and zeros around", fix=fix)
    if len(set(module.kernel_size)) != 1 and module.padding != "same":
        fix = "NIR 1.0 mistakes the shape of its output for that of a square kernel; pad the kernel by zeros."
        raise InputError(WHERE, got=f"kernel_size={module.kernel_size}", expected="a square kernel", fix=fix)
    bias = np.zeros(module.out_channels) if module.bias is None else _array(module.bias)
    window: dict[str, Any] = {}
    for name in ("stride", "padding", "dilation"):
        value: Any = getattr(module, name)
        window[name] = value if isinstance(value, str) else int(value[0]) if axes == 1 else np.array(value)
    notes = {NOTES: {"bias": module.bias is not None}}
    return {"weight": _array(module.weight), "bias": bias, "groups": 1, **window, "metadata": notes}


def _spiking(lif: LIF, shape: tuple[int, ...], clock: Clock) -> Part:
    nir = importlib.import_module("nir")
    if lif.refractory:
        fix = "Train the network with refractory=0, or export it to Brian2."
        raise InputError(WHERE, got=f"refractory={lif.refractory}", expected="no refractory time", fix=fix)
    if lif.dynamics is not None and lif.dynamics.name != "current_based":
        got = f"dynamics {lif.dynamics.name}"
        raise InputError(WHERE, got=got, expected="current_based or none: NIR has no threshold that moves")
    if lif.tau is not None and lif.dt is not None and lif.dt != clock.dt:
        raise InputError(WHERE, got=f"dt={clock.dt:g}", expected=f"the layer's dt={lif.dt:g}")
    if lif.reset == "none":
        if lif.recurrent is not None:
            raise InputError(WHERE, got="recurrent neurons with reset='none'", expected="'subtract' or 'zero'")
        threshold = nir.Threshold(threshold=_full("threshold", lif.threshold, shape))
        return Part([*_never_reset(lif, shape, clock), threshold])
    return Part([spiking_node(lif, shape, clock)], _returning(lif, shape))


def _never_reset(lif: LIF, shape: tuple[int, ...], clock: Clock) -> list[Any]:
    """Neurons that are not reset are integrators before a threshold."""
    alpha = [] if lif.dynamics is None else [readout_node(getattr(lif, "alpha"), shape, clock)]  # noqa: B009
    beta = _beta(lif, shape, clock)
    if (beta == 0).all():
        return alpha
    value = float(beta.flat[0]) if lif.beta is None else lif.beta
    return [*alpha, readout_node(value, shape, clock)]


def spiking_node(lif: LIF, shape: tuple[int, ...], clock: Clock) -> Any:
    """IF, LIF, CubaLIF or Threshold; its notes say what the node cannot."""
    nir = importlib.import_module("nir")
    beta, threshold = _beta(lif, shape, clock), _full("threshold", lif.threshold, shape)
    zero, notes = np.zeros(shape), {"metadata": {NOTES: _notes(lif, clock)}}
    if lif.dynamics is None and (beta == 1).all():
        return nir.IF(r=np.full(shape, 1 / clock.dt), v_threshold=threshold, v_reset=zero, **notes)
    if lif.dynamics is None and (beta == 0).all() and not lif.delayed_reset and clock.method == "exponential":
        return nir.Threshold(threshold=threshold, **notes)
    tau = clock.tau(beta, "beta") if lif.tau is None or clock.method == "euler" else np.full(shape, lif.tau)
    threshold = threshold * clock.voltage(beta)
    membrane = {"r": clock.gain(beta), "v_leak": zero, "v_reset": zero, **notes}
    if lif.dynamics is None:
        return nir.LIF(tau=tau, v_threshold=threshold, **membrane)
    alpha = _full("alpha", getattr(lif, "alpha"), shape)  # noqa: B009 - a constant of the dynamics
    synapse = {"tau_syn": clock.tau(alpha, "alpha"), "w_in": clock.gain(alpha)}
    return nir.CubaLIF(tau_mem=tau, v_threshold=threshold * clock.voltage(alpha), **synapse, **membrane)


def readout_node(beta: float | Tensor, shape: tuple[int, ...], clock: Clock) -> Any:
    """LI, or I where nothing leaks."""
    nir = importlib.import_module("nir")
    decay = _full("beta", beta, shape)
    notes = {"metadata": {NOTES: {**clock._asdict(), **_kept(beta=beta)}}}
    if (decay == 1).all():
        return nir.I(r=np.full(shape, 1 / clock.dt), **notes)
    return nir.LI(tau=clock.tau(decay, "beta"), r=1 / (1 - decay), v_leak=np.zeros(shape), **notes)


def _beta(lif: LIF, shape: tuple[int, ...], clock: Clock) -> np.ndarray:
    if lif.tau is not None:
        return np.full(shape, np.exp(-clock.dt / lif.tau))
    assert lif.beta is not None
    return _full("beta", lif.beta, shape)


def _notes(lif: LIF, clock: Clock) -> dict[str, Any]:
    alpha = {} if lif.dynamics is None else {"alpha": getattr(lif, "alpha")}  # noqa: B009
    decay = {"beta": lif.beta} if lif.tau is None else {"tau": lif.tau}
    how = {**clock._asdict(), "reset": lif.reset, "delayed_reset": lif.delayed_reset}
    return {**how, **_kept(**decay, threshold=lif.threshold, **alpha)}


def _kept(**constants: Any) -> dict[str, Any]:
    """Constants as they are held here, to the last bit: a time constant and back would round them."""
    kept = {k: _array(v)[()] if isinstance(v, Tensor) else float(v) for k, v in constants.items()}
    return {**kept, "trained": " ".join(k for k, v in constants.items() if isinstance(v, nn.Parameter))}


def _returning(lif: LIF, shape: tuple[int, ...]) -> Any:
    if lif.recurrent is None:
        return None
    if isinstance(lif.recurrent, nn.Linear):
        return _linear(lif.recurrent, shape)
    if isinstance(lif.recurrent, Scale):
        return importlib.import_module("nir").Scale(scale=_full("scale", lif.recurrent.scale, shape))
    got = f"recurrent {type(lif.recurrent).__name__}"
    raise InputError(WHERE, got=got, expected="nn.Linear or ns.io.nir.Scale between the neurons of a layer")


def _full(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A constant for every unit, in float64: what is one number here is an array there."""
    found = np.asarray(_array(value) if isinstance(value, Tensor) else value, dtype=np.float64)
    try:
        return np.broadcast_to(found, shape).copy()
    except ValueError:
        raise InputError(WHERE, got=f"{name} of shape {found.shape}", expected=f"one per unit, {shape}") from None


def _array(tensor: Tensor) -> np.ndarray:
    if tensor.dtype in (torch.bfloat16, torch.float16):
        fix = "Call .float() on the network."
        raise InputError(WHERE, got=str(tensor.dtype), expected="float32 or float64", fix=fix)
    return tensor.detach().cpu().numpy().copy()


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
