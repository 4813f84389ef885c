"""Nodes of NIR as our modules, from the notes of their writer or from what the caller says about it."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.io.nir.modules import Delay, Scale
from neurosparse.io.nir.write import METHODS, NOTES, Clock, readout_node, spiking_node
from neurosparse.neurons import LIF, Readout, Surrogate, current_based

__all__ = ["Caller", "as_modules", "needs"]

WHERE = "io.nir.read"
NEAR = 1e-6  # constants are often kept in 32 bits: closer than this, two are one


class Caller(NamedTuple):
    """What the caller says; a node's own notes come first, and must not contradict it."""

    dt: float | None = None
    method: str | None = None
    reset: str | None = None
    delayed_reset: bool | None = None
    surrogate: Surrogate | Any = None


def needs(node: Any) -> set[str]:
    """What this node leaves open: names of arguments of :func:`neurosparse.io.nir.read`."""
    nir = importlib.import_module("nir")
    if NOTES in node.metadata:
        return set()
    if isinstance(node, (nir.LIF, nir.CubaLIF)):
        return {"dt", "method", "reset"}
    if isinstance(node, (nir.LI, nir.CubaLI)):
        return {"dt", "method"}
    return {"dt", "reset"} if isinstance(node, nir.IF) else {"dt"} if isinstance(node, (nir.I, nir.Delay)) else set()


def as_modules(name: str, node: Any, caller: Caller, returning: Any = None) -> list[nn.Module]:
    """One node, with the node that its spikes return through, as modules in order."""
    nir = importlib.import_module("nir")
    if isinstance(node, (nir.LIF, nir.CubaLIF, nir.IF, nir.Threshold)):
        return [_spiking(name, node, caller, None if returning is None else _between(name, returning))]
    if returning is not None:
        raise InputError(WHERE, got=f"a loop through {name!r}", expected="loops through spiking nodes alone")
    if isinstance(node, (nir.LI, nir.CubaLI, nir.I)):
        return _silent(name, node, caller)
    if isinstance(node, nir.Delay):
        return [Delay(_steps(name, node, caller))]
    if isinstance(node, (nir.Linear, nir.Affine, nir.Scale)):
        return [_between(name, node)]
    return [_image_module(name, node)]


def _between(name: str, node: Any) -> nn.Module:
    nir = importlib.import_module("nir")
    if isinstance(node, nir.Scale):
        return Scale(torch.as_tensor(node.scale))
    if not isinstance(node, (nir.Linear, nir.Affine)) or node.weight.ndim != 2:
        got = f"{type(node).__name__} {name!r}"
        raise InputError(WHERE, got=got, expected="Linear, Affine or Scale, weights (outputs, inputs)")
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


def _spiking(name: str, node: Any, caller: Caller, recurrent: nn.Module | None) -> LIF:
    nir = importlib.import_module("nir")
    options = {"recurrent": recurrent, "surrogate": caller.surrogate}
    notes = node.metadata.get(NOTES)
    if notes is None and isinstance(node, nir.Threshold):
        return LIF(beta=0.0, threshold=_number(node.threshold), reset="none", dt=caller.dt, **options)
    if notes is not None:
        clock, held = _clock(name, notes, caller), _held(notes)
        dynamics = {"dynamics": current_based(held.pop("alpha"))} if "alpha" in held else {}
        timing = {"reset": str(notes["reset"]), "delayed_reset": bool(notes["delayed_reset"])}
        _agree(name, caller, **timing)
        lif = LIF(**held, **timing, **dynamics, dt=clock.dt, **options)
        shape = np.shape(node.threshold if isinstance(node, nir.Threshold) else node.v_threshold)
        _unchanged(name, node, spiking_node(lif, shape, clock))
        return lif
    assert caller.dt is not None and caller.reset is not None
    clock = Clock(caller.dt, caller.method or "exponential")
    beta, gain, leak = _membrane(name, node, clock)
    if not np.allclose(node.v_reset, leak, rtol=NEAR, atol=0):
        fix = "Shift its voltages so that it rests and starts where it is reset to."
        raise InputError(WHERE, got=f"{name!r} with v_reset other than its rest", expected="one of both", fix=fix)
    dynamics = {}
    if isinstance(node, nir.CubaLIF):
        alpha = _decay(name, node.tau_syn, clock)
        gain = gain * node.w_in * (1 - alpha)
        dynamics["dynamics"] = current_based(_number(alpha))
    if not (gain > 0).all():
        raise InputError(WHERE, got=f"{name!r} with r or w_in of 0 or less", expected="a current that excites")
    threshold = (node.v_threshold - leak) / _snapped(gain)
    timing = {"reset": caller.reset, "delayed_reset": bool(caller.delayed_reset)}
    return LIF(beta=_number(beta), dt=caller.dt, threshold=_number(threshold), **timing, **dynamics, **options)


def _membrane(name: str, node: Any, clock: Clock) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decay per step, what a current of one adds in one step, and the rest."""
    if not hasattr(node, "v_leak"):
        return np.ones_like(node.r, dtype=np.float64), np.asarray(node.r * clock.dt, np.float64), np.zeros_like(node.r)
    beta = _decay(name, node.tau if hasattr(node, "tau") else node.tau_mem, clock)
    return beta, node.r * (1 - beta), node.v_leak


def _silent(name: str, node: Any, caller: Caller) -> list[nn.Module]:
    """Integrators that never fire: NIR's rest must be 0, their output being the voltage itself."""
    nir = importlib.import_module("nir")
    notes = node.metadata.get(NOTES)
    if notes is not None:
        clock, beta = _clock(name, notes, caller), _held(notes)["beta"]
        _unchanged(name, node, readout_node(beta, np.shape(node.r), clock))
        return [Readout(beta)]
    assert caller.dt is not None
    clock = Clock(caller.dt, caller.method or "exponential")
    beta, gain, leak = _membrane(name, node, clock)
    if np.any(leak):
        raise InputError(WHERE, got=f"{name!r} with v_leak other than 0", expected="an integrator that rests at 0")
    layers: list[nn.Module] = [Readout(_number(beta))]
    if isinstance(node, nir.CubaLI):
        alpha = _decay(name, node.tau_syn, clock)
        gain, layers = gain * node.w_in * (1 - alpha), [Readout(_number(alpha)), *layers]
    gain = _snapped(gain)
    return [*layers, *([] if (gain == 1).all() else [Scale(torch.as_tensor(gain))])]


def _steps(name: str, node: Any, caller: Caller) -> Tensor:
    notes = node.metadata.get(NOTES)
    dt: Any = caller.dt if notes is None else _agree(name, caller, dt=float(notes["dt"]))["dt"]
    steps = np.asarray(node.delay, dtype=np.float64) / dt
    if not np.allclose(steps, np.rint(steps), rtol=NEAR, atol=NEAR):
        fix = "Choose a dt that divides the delays."
        raise InputError(WHERE, got=f"{name!r} with delays between steps of {dt:g} s", expected="whole steps", fix=fix)
    return torch.as_tensor(np.rint(steps).astype(np.int64))


def _decay(name: str, tau: np.ndarray, clock: Clock) -> np.ndarray:
    low = clock.dt if clock.method == "euler" else 0
    tau = np.asarray(tau, dtype=np.float64)
    if not (tau > low * (1 - NEAR)).all() or not (tau > 0).all():
        got = f"{name!r} with tau={tau.min():g} s"
        fix = "Euler's method oscillates below one step; choose a smaller dt." if low else ""
        raise InputError(WHERE, got=got, expected=f"tau >= {low:g} s" if low else "tau > 0", fix=fix)
    return np.maximum(clock.decay(tau), 0)


def _clock(name: str, notes: dict[str, Any], caller: Caller) -> Clock:
    if notes["method"] not in METHODS:
        raise InputError(WHERE, got=f"method={notes['method']!r} in {name!r}", expected=" or ".join(METHODS))
    said = _agree(name, caller, dt=float(notes["dt"]), method=str(notes["method"]))
    return Clock(**said, unit_r=bool(notes["unit_r"]))


def _agree(name: str, caller: Caller, **noted: Any) -> dict[str, Any]:
    for key, value in noted.items():
        said = getattr(caller, key)
        if said is not None and said != value:
            raise InputError(WHERE, got=f"{key}={said!r}", expected=f"{key}={value!r}, as {name!r} was written")
    return noted


def _held(notes: dict[str, Any]) -> dict[str, Any]:
    """Constants as their writer held them: numbers, tensors, or parameters where they were trained."""
    trained, held = str(notes["trained"]).split(), {}
    for key in ("beta", "tau", "threshold", "alpha"):
        if key in notes:
            value = notes[key]
            if key in trained:
                held[key] = nn.Parameter(torch.as_tensor(value).clone())
            else:
                held[key] = torch.as_tensor(value).clone() if isinstance(value, np.ndarray) else float(value)
    return held


def _unchanged(name: str, node: Any, written: Any) -> None:
    """Whoever changed a node after it was written did not change the notes."""
    for key, value in vars(written).items():
        if isinstance(value, np.ndarray) and not np.allclose(getattr(node, key, np.nan), value, rtol=NEAR, atol=0):
            fix = "Delete the notes (node.metadata) and say what they said: dt, method, reset."
            got = f"{name!r} whose {key} is not what its notes say"
            raise InputError(WHERE, got=got, expected="a node as it was written", fix=fix)


def _snapped(gain: np.ndarray) -> np.ndarray:
    return np.where(np.abs(gain - 1) < NEAR, 1.0, gain)


def _number(array: np.ndarray) -> float | Tensor:
    """One number where all units share it."""
    array = np.asarray(array, dtype=np.float64)
    same = array.size > 0 and bool((array == array.flat[0]).all())
    return float(array.flat[0]) if same else torch.as_tensor(array)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    return int(array) if array.ndim == 0 else tuple(int(part) for part in array)
