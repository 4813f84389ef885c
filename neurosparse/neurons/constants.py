"""Constants of neurons: a number, one per unit, or a Parameter, in a range that holds wherever the constant is used."""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from neurosparse.checks import number, si, tensor
from neurosparse.errors import InputError
from neurosparse.kernels.dispatch import by_reference
from neurosparse.kernels.scan.reference import without_tangents

__all__ = ["Constants", "Range", "constant", "decay_of", "floating", "in_range", "is_number", "per_unit"]

KNEE = 20  # time constants in a step: below dt / 20, where exp(-dt / tau) is flat, its slope is that at dt / 20
EXACT = torch.float64  # of constants that are numbers: Python's own precision

_warned: list[str] | None = None  # the missing keys of the last load that warned: one list for each load_state_dict


class Range(NamedTuple):
    """From ``low`` to ``high``, both included; ``above``: without ``low``."""

    low: float = 0.0
    high: float = math.inf
    above: bool = False

    def bounds(self, dtype: torch.dtype) -> tuple[float, float]:
        """The smallest and the largest value in this type."""
        return max(self.low, torch.finfo(dtype).tiny) if self.above else self.low, self.high


class _InRange(torch.autograd.Function):
    """The nearest value in a range; at a bound or beyond it, a gradient passes that leads back into the range."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, low: float, high: float) -> Tensor:  # type: ignore[override]
        return value.clamp(low, high)

    @staticmethod
    def setup_context(ctx, inputs, output):
        value, ctx.low, ctx.high = inputs
        ctx.save_for_backward(value)
        ctx.save_for_forward(value)

    @staticmethod
    def jvp(ctx, tangent, *_):  # type: ignore[override]
        (value,) = ctx.saved_tensors
        return torch.where((value >= ctx.low) & (value <= ctx.high), tangent, torch.zeros_like(tangent))

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (value,) = ctx.saved_tensors
        outwards = ((value <= ctx.low) & (grad > 0)) | ((value >= ctx.high) & (grad < 0))  # of a step of descent
        return torch.where(outwards, torch.zeros_like(grad), grad), None, None


class _Decay(torch.autograd.Function):
    """``exp(-dt / tau)``, with a slope that does not vanish for small tau."""

    generate_vmap_rule = True

    @staticmethod
    def forward(tau: Tensor, dt: float) -> Tensor:  # type: ignore[override]
        return torch.exp(-dt / tau) if tau.ndim else decay_of(tau.detach(), dt).to(tau.device)

    @staticmethod
    def setup_context(ctx, inputs, output):
        tau, ctx.dt = inputs
        ctx.save_for_backward(tau)
        ctx.save_for_forward(tau)

    @staticmethod
    def jvp(ctx, tangent, _):  # type: ignore[override]
        return _Decay.backward(ctx, tangent)[0]

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (tau,) = ctx.saved_tensors
        at = tau.clamp(min=ctx.dt / KNEE)
        return grad * torch.exp(-ctx.dt / at) * ctx.dt / at.square(), None


_TracedInRange, _TracedDecay = without_tangents(_InRange), without_tangents(_Decay)


def decay_of(tau: Tensor, dt: float) -> Tensor:
    """Decay per step ``exp(-dt / tau)`` of time constants in use, float64.

    Of one number it is Python's exponential, from which torch's differs in the last bit now and then.
    """
    if is_number(tau):
        return torch.tensor(math.exp(-dt / tau.item()), dtype=EXACT)
    if not tau.requires_grad:
        return torch.exp(-dt / tau)
    return (_TracedDecay if torch.compiler.is_compiling() else _Decay).apply(tau, dt)  # type: ignore[return-value]


def in_range(value: Tensor, limits: Range, dtype: torch.dtype) -> Tensor:
    """The value in use: in this type, and in its range."""
    value, (low, high) = value.to(dtype), limits.bounds(dtype)
    if not value.requires_grad:
        return value.clamp(low, high)
    return (_TracedInRange if torch.compiler.is_compiling() else _InRange).apply(value, low, high)  # type: ignore[return-value]


def is_number(value: Tensor) -> bool:
    """Whether a constant can be read as a Python number at once: it is one, untrained, and waits for no device."""
    plain = not (value.ndim or value.requires_grad or value.device.type != "cpu" or torch.compiler.is_compiling())
    return plain and not by_reference(value)


def constant(where: str, name: str, value: Any, limits: Range, *, unit: str = "plain numbers", fix: str = "") -> Tensor:
    """A constant: of one number float64 without axes, of one per unit a copy; a Parameter is the very same.

    Raises:
        InputError: a value out of range, no number, a tensor with a gradient that is no Parameter.
    """
    above = limits.low if limits.above else None

    def check(found: Any) -> float:
        return number(where, name, found, limits.low, limits.high, above=above, unit=unit, fix=fix)

    if isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter):
        fix = f"Pass nn.Parameter({name}), which a layer can hold and an optimizer can train."
        raise InputError(where, got=f"{name} with a gradient", expected="a number, a tensor or a Parameter", fix=fix)
    axes = getattr(value, "ndim", 0)
    if not axes and not isinstance(value, nn.Parameter):
        return torch.tensor(check(value), dtype=EXACT)
    if unit != "plain numbers" and not isinstance(value, Tensor):
        value = si(where, name, value, unit)
    if isinstance(value, nn.Parameter) and not value.is_floating_point():
        raise InputError(where, got=f"{name} of {value.dtype}", expected="a Parameter of a floating-point type")
    units = value if not axes else tensor(where, name, value, ", ".join(["units"] * axes), fix)
    for extreme in units.detach().aminmax() if units.numel() else ():
        check(extreme.item())
    return units if isinstance(value, nn.Parameter) else units.clone()


def per_unit(where: str, name: str, value: Tensor, units: Sequence[int]) -> Tensor:
    """A constant of every unit.

    Raises:
        InputError: a constant of another number of units.
    """
    sizes = zip(value.shape[::-1], units[::-1], strict=False)
    if value.dim() > len(units) or any(n not in (1, m) for n, m in sizes):
        got = f"{name} of shape {tuple(value.shape)}"
        raise InputError(where, got=got, expected=f"a number or one per unit {tuple(units)}")
    return value.expand(units)


def floating(signal: Tensor, module: Any) -> Tensor:
    """A signal as floating-point numbers: whole numbers and booleans get the type of the module's tensors, or the
    default type where all its constants are numbers.
    """
    if signal.is_floating_point():
        return signal
    tensors = [*module.parameters(), *(b for b in module.buffers() if b.ndim)]
    types = [part.dtype for part in tensors if part.is_floating_point()] or [torch.get_default_dtype()]
    return signal.to(functools.reduce(torch.promote_types, types))


class Constants(nn.Module):
    """A module with constants: buffers, or Parameters that are trained, each under its own name.

    A number is kept in float64 whatever the type of the module. A loaded constant replaces the constructor's; files
    without constants load with one warning.
    """

    part_of_a_layer = True  # without operations of its own: a meter charges all to the layer that holds it

    def __init__(self):
        super().__init__()
        self.ranges: dict[str, Range] = {}

    def hold(self, name: str, value: Tensor, limits: Range) -> None:
        """Register what :func:`constant` returned."""
        self.ranges[name] = limits
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value)

    def in_use(self, name: str, like: Tensor | None = None, units: Sequence[int] | None = None) -> Tensor:
        """A constant in its range, with its gradient.

        Args:
            name: of the constant.
            like: a tensor of the type and on the device to return; default: those of the constant.
            units: shape to return, for a constant of every unit; default: that of the constant.

        Raises:
            InputError: a name that is none of this module's constants, a constant of another number of units.
        """
        if name not in self.ranges:
            raise InputError(type(self).__name__, got=name, expected=f"one of {', '.join(self.ranges)}")
        value: Tensor = getattr(self, name)
        limits, like = self.ranges[name], value if like is None else like
        number = self.number(name, like.dtype)
        if number is not None:  # made where it is used: a copy to a GPU would wait for it
            return like.new_full(units or (), number)
        found = in_range(value.to(like.device), limits, like.dtype)
        return found if units is None else per_unit(type(self).__name__, name, found, units)

    def number(self, name: str, dtype: torch.dtype) -> float | None:
        """A constant in its range of this type as Python's number; None where it is none that can be read at once."""
        value = self._buffers.get(name)
        if value is None or not is_number(value):
            return None
        low, high = self.ranges[name].bounds(dtype)
        return min(max(value.item(), low), high)

    def values(self) -> dict[str, Tensor]:
        """The values in use, by the names of the state dict; learned ones with their gradients."""
        found = {name: self.in_use(name) for name in self.ranges}
        for part, module in self.named_children():
            if isinstance(module, Constants):
                found |= {f"{part}.{name}": value for name, value in module.values().items()}
        return found

    @property
    def learns(self) -> bool:
        """Whether a Parameter in here requires a gradient now, and gradients are recorded."""
        if not torch.is_grad_enabled():
            return False
        own = any(p is not None and p.requires_grad for p in self._parameters.values())
        return own or any(p.requires_grad for module in self._modules.values() if module for p in module.parameters())

    def of_its_own(self) -> Self:
        """A module of the same Parameters with buffers of its own, so that layers do not share them by chance."""
        twin = copy.copy(self)
        for name in ("_parameters", "_modules"):
            twin.__dict__[name] = dict(self.__dict__[name])
        twin.__dict__["_buffers"] = {n: None if b is None else b.clone() for n, b in self._buffers.items()}
        return twin

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        numbers = {n: b for n, b in self._buffers.items() if n in self.ranges and b is not None and not b.ndim}
        for name in numbers:
            self._buffers[name] = None
        try:
            super()._apply(fn, recurse)
        finally:
            self._buffers.update({name: _moved(fn, value) for name, value in numbers.items()})
        return self

    def _load_from_state_dict(  # torch's own signature
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        self._check_loaded(state_dict, prefix)
        structure = f"{prefix}_extra_state" if hasattr(self, "structure") else None
        lacking = [f"{prefix}{name}" for name in self.ranges if isinstance(self._buffers.get(name), Tensor)]
        lacking = [key for key in [*lacking, structure] if key is not None and key not in state_dict]
        if lacking:
            _warn_once(missing_keys, lacking)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        missing_keys[:] = [key for key in missing_keys if key not in lacking]

    def _check_loaded(self, state_dict: dict[str, Any], prefix: str) -> None:
        for name in self.ranges:
            value, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if isinstance(value, Tensor) and value.shape != own.shape:
                got = f"{prefix}{name} of shape {tuple(value.shape)}"
                fix = "Build the layer as it was when it was saved: with a number, or with one per unit."
                raise InputError("load_state_dict", got=got, expected=f"shape {tuple(own.shape)}", fix=fix)


def _moved(fn: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """A number moved as a module moves, in its own precision; where a device has no float64, in float32."""
    try:
        found = fn(value)
    except TypeError:  # MPS
        return fn(value.float())
    return found if found.dtype == value.dtype else value.to(found.device)


def _warn_once(missing_keys: list[str], lacking: list[str]) -> None:
    """One warning for a whole network: every module of it gets the same list of missing keys."""
    global _warned
    if _warned is missing_keys:
        return
    _warned = missing_keys
    text = f"load_state_dict: got a state without constants of neurons ({', '.join(lacking)}); those of the "
    warnings.warn(f"{text}constructor are used. Save the network anew to keep them with its weights.", stacklevel=2)
