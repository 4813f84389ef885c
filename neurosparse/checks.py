"""Checks of arguments: a choice, a whole number, a real number, numbers in SI units, an array, a seed.

Numbers may be Python's, NumPy's or tensors of no axes; arrays may be any views of NumPy or torch. Where an argument has
a unit, quantities of Brian 2 are converted (Brian 2 is never imported). Booleans and strings are no numbers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Sequence, Set
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError

__all__ = ["as_tensor", "generator", "number", "one_of", "positive", "several", "si", "tensor", "whole"]

Choice = TypeVar("Choice")

# Exponents of length, mass, time, current, temperature, substance, luminosity.
DIMENSIONS = {
    "seconds": (0, 0, 1, 0, 0, 0, 0),
    "volts": (2, 1, -3, -1, 0, 0, 0),
    "hertz": (0, 0, -1, 0, 0, 0, 0),
    "plain numbers": (0, 0, 0, 0, 0, 0, 0),
}


def one_of(where: str, name: str, value: Choice, known: Collection[Choice], fix: str = "") -> Choice:
    """A value that is among those known.

    Args:
        where: the public name that checks its argument.
        name: the argument.
        value: what was passed.
        known: all that is possible.
        fix: what the caller can do.

    Raises:
        InputError: any other value; ``True`` is not 1 here.

    Example:
        >>> one_of("LIF", "reset", "add", ("subtract", "zero"))
        Traceback (most recent call last):
        neurosparse.errors.InputError: LIF: got reset='add'; expected one of 'subtract', 'zero'.
    """
    plain = value.item() if isinstance(value, np.generic) else value  # np.str_, np.int64: what arrays of choices hold
    for choice in known:
        if type(choice) is type(plain) and choice == plain:
            return choice
    expected = f"one of {', '.join(map(repr, known))}" if known else "nothing: there is none"
    raise InputError(where, got=f"{name}={value!r}", expected=expected, fix=fix)


def whole(where: str, name: str, value: Any, low: int | None = 1, high: int | None = None, fix: str = "") -> int:
    """A whole number from ``low`` to ``high``, both included; None is no bound.

    Raises:
        InputError: out of range, a boolean, a float (2.0 included), more than one number.

    Example:
        >>> whole("KWTA", "k", np.int64(3)), whole("KWTA", "k", torch.tensor(3))
        (3, 3)
        >>> whole("KWTA", "k", 2.5)
        Traceback (most recent call last):
        neurosparse.errors.InputError: KWTA: got k=2.5; expected a whole number, at least 1.
    """
    found = _whole(value)
    if found is None or (low is not None and found < low) or (high is not None and found > high):
        bounds = {
            (True, True): f", {low} to {high}",
            (True, False): f", at least {low}",
            (False, True): f", at most {high}",
        }
        expected = "a whole number" + bounds.get((low is not None, high is not None), "")
        raise InputError(where, got=f"{name}={value!r}", expected=expected, fix=fix)
    return found


def number(
    where: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float | None = None,
    below: float | None = None,
    unit: str = "plain numbers",
    fix: str = "",
) -> float:
    """A finite number between ``low`` and ``high``, both included; ``above`` and ``below`` exclude their bound.

    Args:
        where, name, value, fix: as for :func:`one_of`.
        low, high, above, below: bounds in SI units.
        unit: a key of ``DIMENSIONS``; a quantity of Brian 2 must have it.

    Raises:
        InputError: out of range, NaN, infinity, a boolean, a string, more than one number, another unit, a tensor that
            requires a gradient (it would be cut off).

    Example:
        >>> number("LIF", "beta", torch.tensor(0.5), 0, 1), number("Network.run", "seconds", 1, above=0)
        (0.5, 1.0)
        >>> number("LIF", "beta", 1.5, 0, 1)
        Traceback (most recent call last):
        neurosparse.errors.InputError: LIF: got beta=1.5; expected 0 <= beta <= 1.
    """
    found = _number(where, name, value, unit)
    least, most = low if above is None else above, high if below is None else below
    inside = found is not None and math.isfinite(found) and low <= found <= high
    if found is None or not inside or (above is not None and found <= above) or (below is not None and found >= below):
        left = "" if least == -math.inf else f"{least:g} {'<=' if above is None else '<'} "
        right = "" if most == math.inf else f" {'<=' if below is None else '<'} {most:g}"
        only_low = left and not right
        expected = f"{name} {'>=' if above is None else '>'} {least:g}" if only_low else f"{left}{name}{right}"
        if not left and not right:
            expected = "a finite number" if unit == "plain numbers" else f"a finite number of {unit}"
        raise InputError(where, got=f"{name}={value!r}", expected=expected, fix=fix)
    return found


def positive(where: str, name: str, value: Any, *, unit: str = "plain numbers", fix: str = "") -> float:
    """A finite number above 0.

    Raises:
        InputError: what :func:`number` refuses, 0, a negative number.

    Example:
        >>> positive("l1", "weight", np.float32(0.5))
        0.5
        >>> positive("l1", "weight", True)
        Traceback (most recent call last):
        neurosparse.errors.InputError: l1: got weight=True; expected weight > 0.
    """
    return number(where, name, value, above=0, unit=unit, fix=fix)


def several(where: str, name: str, value: Any, expected: str, fix: str = "") -> list[Any]:
    """What a list, a tuple, an array or a range holds, as a list; numbers of arrays as Python's.

    Raises:
        InputError: one value, text, a mapping, nothing at all.

    Example:
        >>> several("run", "seeds", range(2), "seeds")
        [0, 1]
        >>> several("run", "seeds", 2, "seeds", "Pass [2].")
        Traceback (most recent call last):
        neurosparse.errors.InputError: run: got seeds=2; expected seeds. Pass [2].
    """
    found = value.tolist() if isinstance(value, np.ndarray | Tensor) else value
    if isinstance(found, str | bytes) or not isinstance(found, Sequence | Set) or not found:
        raise InputError(where, got=f"{name}={value!r}", expected=expected, fix=fix)
    return list(found)


def si(where: str, name: str, value: Any, unit: str, finite: bool = True) -> np.ndarray:
    """Numbers in SI units: quantities of Brian 2 in the right dimension, or numbers that already are.

    Args:
        where, name: as for :func:`one_of`.
        value: numbers, arrays, tensors, or quantities of Brian 2 of any of these shapes.
        unit: ``"seconds"``, ``"volts"``, ``"hertz"`` or ``"plain numbers"``.
        finite: refuse NaN and infinity.

    Returns:
        float64 of the same shape; of shape () for one number.

    Raises:
        InputError: another dimension, a quantity of another library, NaN, infinity, booleans, strings.

    Example:
        >>> float(si("Network", "dt", 1e-4, "seconds"))
        0.0001
    """
    dimension = _dimension(value)
    if dimension is None and (hasattr(value, "units") or hasattr(value, "unit")):
        fix = f"Pass its number in {unit}."
        raise InputError(where, got=f"{name}={value!r}", expected=f"{unit} or a Brian2 quantity", fix=fix)
    if dimension is not None and tuple(dimension) != DIMENSIONS[unit]:
        raise InputError(where, got=f"{name}={value!r}", expected=unit)
    try:
        given = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        if given.dtype.kind not in "iuf" and not (given.dtype == object and given.size == 0):
            raise TypeError
        numbers = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor without dense values
        raise InputError(where, got=f"{name}={value!r}", expected=f"{unit} as numbers") from None
    if finite and not np.isfinite(numbers).all():
        raise InputError(where, got=f"{name} with NaN or infinity", expected=f"finite {unit}")
    return numbers


def tensor(where: str, name: str, value: Any, axes: str, fix: str = "") -> Tensor:
    """Finite floating-point numbers with the axes named, from a tensor, any view of a NumPy array, or lists.

    Args:
        where, name, fix: as for :func:`one_of`.
        value: what was passed; whole numbers and lists become the default floating-point type.
        axes: such as ``"samples, features"``, for the number of axes and the message; ``*units`` is one axis or more.

    Raises:
        InputError: another number of axes, NaN, infinity, booleans, strings, ragged lists.

    Example:
        >>> tensor("solve", "x", np.eye(2)[::-1], "samples, features").tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    expected = f"numbers ({axes})"
    found = as_tensor(where, name, value, expected, fix)
    least = axes.count(",") + 1
    fits = found.ndim >= least if "*" in axes else found.ndim == least
    if found.dtype == torch.bool or not _is_plain(found) or not fits:
        kind = "" if found.layout == torch.strided else f", {found.layout}"
        kind += " without values" if found.is_meta else ""
        got = f"{name} {tuple(found.shape)} of {found.dtype}{kind}"
        raise InputError(where, got=got, expected=expected, fix=fix)
    typed = isinstance(value, Tensor | np.ndarray)  # lists have the default type, as in torch.tensor
    found = found if typed and found.is_floating_point() else found.to(torch.get_default_dtype())
    if not _is_finite(found):
        raise InputError(where, got=f"NaN or infinity in {name}", expected="finite numbers", fix=fix)
    return found


def _is_finite(found: Tensor) -> bool:
    """Whether all numbers are finite; no mode receives the check, because it is no operation of a network."""
    with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
        return bool(found.isfinite().all())


def _is_plain(found: Tensor) -> bool:
    """Whether torch computes with it as with any dense array: no sparse, quantized, 8-bit float or meta tensor."""
    small = found.is_floating_point() and found.element_size() < 2
    return found.layout == torch.strided and not (found.is_meta or found.is_quantized or found.is_complex() or small)


def as_tensor(where: str, name: str, value: Any, expected: str = "an array", fix: str = "") -> Tensor:
    """A tensor of any type and shape: a tensor itself, a copy of lists or of any view of an array.

    Lists of floating-point numbers become the default type, arrays keep theirs.

    Raises:
        InputError: text, objects, ragged lists.

    Example:
        >>> as_tensor("f", "x", np.arange(3)[::-1]).tolist()
        [2, 1, 0]
    """
    if isinstance(value, Tensor):
        return value
    try:
        array = np.array(value, order="C")  # torch shares no negative strides, foreign byte orders or read-only memory
        found = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError):
        raise InputError(where, got=f"{name} of type {type(value).__name__}", expected=expected, fix=fix) from None
    in_lists = found.dtype == torch.float64 and not isinstance(value, np.ndarray | np.generic)
    return found.to(torch.get_default_dtype()) if in_lists else found


def generator(where: str, value: Any, name: str = "generator", device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of random numbers: the one that was passed, or a new one on ``device`` from a seed.

    Raises:
        InputError: neither a ``torch.Generator`` nor a whole number.

    Example:
        >>> generator("solve", 3).initial_seed()
        3
    """
    if isinstance(value, torch.Generator):
        return value
    seed = whole(where, name, value, -(2**63), 2**63 - 1, "Pass a seed, or a torch.Generator.")
    return torch.Generator(device).manual_seed(seed)


def _dimension(value: Any) -> Any:
    """Exponents of the units of a Brian 2 quantity; None of anything else (the ``dim`` of a tensor is a method)."""
    return getattr(getattr(value, "dim", None), "_dims", None)


def _quantity(where: str, name: str, value: Any, unit: str) -> float:
    """The number in SI units of one quantity of Brian 2, without the rounding of its unit: 0.3 ms is 0.0003."""
    numbers = si(where, name, value, unit)
    if numbers.size != 1:
        raise InputError(where, got=f"{name} of shape {numbers.shape}", expected=f"one number of {unit}")
    return float(f"{numbers.item():.15g}")


def _whole(value: Any) -> int | None:
    if isinstance(value, bool | np.bool_) or getattr(value, "ndim", 0) or getattr(value, "dtype", None) is torch.bool:
        return None
    try:
        return operator.index(value)
    except (TypeError, RuntimeError):  # a tensor of the device "meta" has no value
        return None


def _number(where: str, name: str, value: Any, unit: str) -> float | None:
    """One number as a float; None if it is none."""
    if isinstance(value, Tensor) and value.requires_grad:
        got, fix = f"{name}={value!r}", "Pass its .detach(): no gradient reaches this argument."
        raise InputError(where, got=got, expected="a constant", fix=fix)
    if _dimension(value) is not None:
        value = _quantity(where, name, value, unit)
    if getattr(value, "ndim", 0):  # arrays of any library, of one number too
        return None
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        return None  # float() also reads text and buffers
    if isinstance(value, Tensor) and (value.dtype == torch.bool or value.is_complex()):
        return None
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "iuf":
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of the device "meta"
        return None
