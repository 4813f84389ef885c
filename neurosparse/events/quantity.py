"""Numbers with a unit, as the simulators of neuroscience write them, to plain SI numbers. Brian2 is never imported."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurosparse.errors import InputError

__all__ = ["plain", "si"]

# Exponents of length, mass, time, current, temperature, substance, luminosity.
DIMENSIONS = {
    "seconds": (0, 0, 1, 0, 0, 0, 0),
    "volts": (2, 1, -3, -1, 0, 0, 0),
    "hertz": (0, 0, -1, 0, 0, 0, 0),
    "plain numbers": (0, 0, 0, 0, 0, 0, 0),
}


def si(where: str, name: str, value: Any, unit: str) -> np.ndarray:
    """``value`` in SI units: a Brian2 quantity of the right dimension, or numbers that already are.

    Args:
        where: the public name that asks.
        name: its argument.
        value: numbers, arrays, tensors, or Brian2 quantities of any of these shapes.
        unit: ``"seconds"``, ``"volts"``, ``"hertz"`` or ``"plain numbers"``.

    Returns:
        float64 of the same shape; of shape () for one number.

    Raises:
        InputError: another dimension, a quantity of another library, NaN, infinity, or no number at all.

    Example:
        >>> float(si("Network", "dt", 1e-4, "seconds"))
        0.0001
    """
    dimension = getattr(getattr(value, "dim", None), "_dims", None)  # a tensor's dim is a method
    if dimension is None and (hasattr(value, "units") or hasattr(value, "unit")):
        fix = f"Pass its number in {unit}."
        raise InputError(where, got=f"{name}={value!r}", expected=f"{unit} or a Brian2 quantity", fix=fix)
    if dimension is not None and tuple(dimension) != DIMENSIONS[unit]:
        raise InputError(where, got=f"{name}={value!r}", expected=unit)
    try:
        numbers = np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(where, got=f"{name}={value!r}", expected=f"{unit} as numbers") from None
    if not np.isfinite(numbers).all():
        raise InputError(where, got=f"{name} with NaN or infinity", expected=f"finite {unit}")
    return numbers


def plain(where: str, name: str, value: Any, unit: str) -> Any:
    """One number as it is; of a Brian2 quantity the number in SI units, without the rounding that its unit brought in.

    Raises:
        InputError: a quantity of another dimension, or of more than one number.

    Example:
        >>> import brian2
        >>> plain("LIF", "dt", 0.3 * brian2.ms, "seconds"), plain("LIF", "dt", 1e-3, "seconds")
        (0.0003, 0.001)
    """
    if getattr(getattr(value, "dim", None), "_dims", None) is None:
        return value
    number = si(where, name, value, unit)
    if number.size != 1:
        raise InputError(where, got=f"{name} of shape {number.shape}", expected=f"one number of {unit}")
    return float(f"{number.item():.15g}")
