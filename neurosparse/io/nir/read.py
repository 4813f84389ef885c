"""Nodes of NIR as modules, by the notes in them or, without notes, by the arguments of the caller."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.checks import one_of
from neurosparse.errors import InputError
from neurosparse.io.nir.modules import Delay, Scale
from neurosparse.io.nir.write import METHODS, NOTES, Discretization, readout_node, spiking_node
from neurosparse.neurons import LIF, Readout, Surrogate, current_based

__all__ = ["NIRReadOptions", "as_modules", "needs"]

WHERE = "io.nir.read"
NEAR = 1e-6  # relative difference below which constants are equal: files often hold 32 bits


class NIRReadOptions(NamedTuple):
    """Arguments of ``io.nir.read``, for nodes without notes. An argument that contradicts a note is refused."""

    dt: float | None = None
    method: str | None = None
    reset: str | None = None
    delayed_reset: bool | None = None
    surrogate: Surrogate | Any = None


def needs(node: Any) -> set[str]:
    """Names of the arguments of :func:`neurosparse.io.nir.read` that this node needs."""
    nir = importlib.import_module("nir")
    if NOTES in node.metadata:
        return set()
    if isinstance(node, (nir.LIF, nir.CubaLIF)):
        return {"dt", "method", "reset"}
    if isinstance(node, (nir.LI, nir.CubaLI)):
        return {"dt", "method"}
    return {"dt", "reset"} if isinstance(node, nir.IF) else {"dt"} if isinstance(node, (nir.I, nir.Delay)) else set()


def as_modules(name: str, node: Any, options: NIRReadOptions, recurrent: Any = None) -> list[nn.Module]:
    """The modules of one node, in order; ``recurrent``: the node from its output back to its input."""
    nir = importlib.import_module("nir")
    if isinstance(node, (nir.LIF, nir.CubaLIF, nir.IF, nir.Threshold)):
        return [_spiking(name, node, options, None if recurrent is None else _between(name, recurrent))]
    if recurrent is not None:
        raise InputError(WHERE, got=f"a loop through {name!r}", expected="loops through spiking nodes only")
    if isinstance(node, (nir.LI, nir.CubaLI, nir.I)):
        return _integrators(name, node, options)
    if isinstance(node, nir.Delay):
        return [Delay(_steps(name, node, options))]
    if isinstance(node, (nir.Linear, nir.Affine, nir.Scale)):
        return [_between(name, node)]
    return [_image_module(name, node)]


def _between(name: str, node: Any) -> nn.Module:
    nir = importlib.import_module("nir")
    if isinstance(node, nir.Scale):
        return Scale(torch.as_tensor(node.scale))
    if not isinstance(node, (nir.Linear, nir.Affine)) or node.weight.ndim != 2:
        got = f"{type(node).__name__} {name!r}"
        raise InputError(WHERE, got=got, expected="Linear or Affine with weights (outputs, inputs), or Scale")
    module = nn.Linear(*node.weight.shape[::-1], bias=isinstance(node, nir.Affine))
    return _filled(module, node)


def _filled(module: Any, node: Any) -> nn.Module:
    weight = torch.as_tensor(node.weight)
    module.weight = nn.Parameter(weight.clone())
    if module.bias is not None:
        module.bias = nn.Parameter(torch.as_tensor(node.bias).to(weight.dtype, copy=True))
    return module


def _image_module(name: str, node: Any) -> nn.Module:
    nir = importlib.import_module("nir")
    if isinstance(node, (nir.Conv1d, nir.Conv2d)):
        options = {k: _plain(getattr(node, k)) for k in ("stride", "padding", "dilation", "groups")}
        options["bias"] = bool(node.metadata.get(NOTES, {}).get("bias", True))
        outputs, inputs, *kernel = node.weight.shape
        kind = nn.Conv1d if isinstance(node, nir.Conv1d) else nn.Conv2d
        return _filled(kind(inputs * options["groups"], outputs, tuple(kernel), **options), node)
    if isinstance(node, (nir.AvgPool2d, nir.SumPool2d)):
        window = (_plain(node.kernel_size), _plain(node.stride), _plain(node.padding))
        return nn.AvgPool2d(*window, divisor_override=1 if isinstance(node, nir.SumPool2d) else None)
    if isinstance(node, nir.Flatten):
        first, last = (int(d) + 1 if d >= 0 else int(d) for d in (node.start_dim, node.end_dim))
        return nn.Flatten(first, last)
    raise InputError(WHERE, got=f"node {name!r} of type {type(node).__name__}", expected="a node of NIR 1.0")


def _spiking(name: str, node: Any, options: NIRReadOptions, recurrent: nn.Module | None) -> LIF:
    nir = importlib.import_module("nir")
    parts = {"recurrent": recurrent, "surrogate": options.surrogate}
    notes = node.metadata.get(NOTES)
    if notes is None and isinstance(node, nir.Threshold):
        return LIF(beta=0.0, threshold=_number(node.threshold), reset="none", dt=options.dt, **parts)
    if notes is not None:
        discretization, constants = _discretization(name, notes, options), _noted_constants(notes)
        dynamics = {"dynamics": current_based(constants.pop("alpha"))} if "alpha" in constants else {}
        timing = {"reset": str(notes["reset"]), "delayed_reset": bool(notes["delayed_reset"])}
        _agree(name, options, **timing)
        lif = LIF(**constants, **timing, **dynamics, dt=discretization.dt, **parts)
        shape = np.shape(node.threshold if isinstance(node, nir.Threshold) else node.v_threshold)
        _check_unchanged(name, node, spiking_node(lif, shape, discretization))
        return lif
    assert options.dt is not None and options.reset is not None
    discretization = Discretization(options.dt, options.method or "exponential")
    beta, gain, leak = _membrane(name, node, discretization)
    if not np.allclose(node.v_reset, leak, rtol=NEAR, atol=0):
        fix = "Shift its voltages so that v_reset equals v_leak."
        raise InputError(WHERE, got=f"{name!r} with v_reset other than its rest", expected="v_reset at rest", fix=fix)
    dynamics = {}
    if isinstance(node, nir.CubaLIF):
        alpha = _decay(name, node.tau_syn, discretization)
        gain = gain * node.w_in * (1 - alpha)
        dynamics["dynamics"] = current_based(_number(alpha))
    if not (gain > 0).all():
        raise InputError(WHERE, got=f"{name!r} with r or w_in of 0 or less", expected="r > 0 and w_in > 0")
    threshold = (node.v_threshold - leak) / _snapped(gain)
    timing = {"reset": options.reset, "delayed_reset": bool(options.delayed_reset)}
    return LIF(beta=_number(beta), dt=options.dt, threshold=_number(threshold), **timing, **dynamics, **parts)


def _membrane(name: str, node: Any, discretization: Discretization) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decay per step, change of voltage in one step by a current of one, and the resting voltage."""
    if not hasattr(node, "v_leak"):
        gain = np.asarray(node.r * discretization.dt, np.float64)
        return np.ones_like(gain), gain, np.zeros_like(node.r)
    beta = _decay(name, node.tau if hasattr(node, "tau") else node.tau_mem, discretization)
    return beta, node.r * (1 - beta), node.v_leak


def _integrators(name: str, node: Any, options: NIRReadOptions) -> list[nn.Module]:
    """Integrators without spikes. Their output is the voltage, so their rest must be 0."""
    nir = importlib.import_module("nir")
    notes = node.metadata.get(NOTES)
    if notes is not None:
        discretization, beta = _discretization(name, notes, options), _noted_constants(notes)["beta"]
        readout = Readout(beta)
        _check_unchanged(name, node, readout_node(readout.constants()["beta"], np.shape(node.r), discretization))
        return [readout]
    assert options.dt is not None
    discretization = Discretization(options.dt, options.method or "exponential")
    beta, gain, leak = _membrane(name, node, discretization)
    if np.any(leak):
        raise InputError(WHERE, got=f"{name!r} with v_leak other than 0", expected="an integrator that rests at 0")
    layers: list[nn.Module] = [Readout(_number(beta))]
    if isinstance(node, nir.CubaLI):
        alpha = _decay(name, node.tau_syn, discretization)
        gain, layers = gain * node.w_in * (1 - alpha), [Readout(_number(alpha)), *layers]
    gain = _snapped(gain)
    return [*layers, *([] if (gain == 1).all() else [Scale(torch.as_tensor(gain))])]


def _steps(name: str, node: Any, options: NIRReadOptions) -> Tensor:
    notes = node.metadata.get(NOTES)
    dt: Any = options.dt if notes is None else _agree(name, options, dt=float(notes["dt"]))["dt"]
    steps = np.asarray(node.delay, dtype=np.float64) / dt
    if not np.allclose(steps, np.rint(steps), rtol=NEAR, atol=NEAR):
        fix = "Choose a dt of which the delays are multiples."
        raise InputError(WHERE, got=f"{name!r} with delays between steps of {dt:g} s", expected="whole steps", fix=fix)
    return torch.as_tensor(np.rint(steps).astype(np.int64))


def _decay(name: str, tau: np.ndarray, discretization: Discretization) -> np.ndarray:
    low = discretization.dt if discretization.method == "euler" else 0
    tau = np.asarray(tau, dtype=np.float64)
    if not (tau > low * (1 - NEAR)).all() or not (tau > 0).all():
        got = f"{name!r} with tau={tau.min():g} s"
        fix = "Euler's method oscillates below one step; choose a smaller dt." if low else ""
        raise InputError(WHERE, got=got, expected=f"tau >= {low:g} s" if low else "tau > 0", fix=fix)
    return np.maximum(discretization.decay(tau), 0)


def _discretization(name: str, notes: dict[str, Any], options: NIRReadOptions) -> Discretization:
    method = one_of(WHERE, f"method in the notes of {name!r}", str(notes["method"]), METHODS)
    return Discretization(**_agree(name, options, dt=float(notes["dt"]), method=method), unit_r=bool(notes["unit_r"]))


def _agree(name: str, options: NIRReadOptions, **noted: Any) -> dict[str, Any]:
    """What is noted, which no argument of the caller may contradict."""
    for key, value in noted.items():
        passed = getattr(options, key)
        if passed is not None and passed != value:
            raise InputError(WHERE, got=f"{key}={passed!r}", expected=f"{key}={value!r}, the note in {name!r}")
    return noted


def _noted_constants(notes: dict[str, Any]) -> dict[str, Any]:
    """Exact constants in their own type: numbers, tensors, or parameters if they were trained."""
    trained, found = str(notes["trained"]).split(), {}
    for key in ("beta", "tau", "threshold", "alpha"):
        if key in notes:
            value = notes[key]
            if key in trained:
                found[key] = nn.Parameter(torch.as_tensor(value).clone())
            else:
                found[key] = torch.as_tensor(value).clone() if isinstance(value, np.ndarray) else float(value)
    return found


def _check_unchanged(name: str, node: Any, written: Any) -> None:
    """Refuse a node whose fields were changed after its notes were written."""
    for key, value in vars(written).items():
        if isinstance(value, np.ndarray) and not np.allclose(getattr(node, key, np.nan), value, rtol=NEAR, atol=0):
            fix = "Delete the notes (node.metadata) and pass dt, method and reset."
            got = f"{name!r} whose {key} contradicts its notes"
            raise InputError(WHERE, got=got, expected="an unchanged node", fix=fix)


def _snapped(gain: np.ndarray) -> np.ndarray:
    """Factors that are one to the precision of a file are one."""
    return np.where(np.abs(gain - 1) < NEAR, 1.0, gain)


def _number(array: np.ndarray) -> float | Tensor:
    """A float if it is the same for all units, else a tensor."""
    array = np.asarray(array, dtype=np.float64)
    same = array.size > 0 and bool((array == array.flat[0]).all())
    return float(array.flat[0]) if same else torch.as_tensor(array)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    return int(array) if array.ndim == 0 else tuple(int(part) for part in array)
