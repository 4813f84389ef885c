"""Values of weights, delays and initial membranes: one number, one per element, or a distribution to draw from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from neurosparse.checks import si
from neurosparse.errors import InputError

__all__ = ["Distribution", "draw", "normal", "scalar", "uniform"]


class Distribution(NamedTuple):
    """``kind`` ("uniform" or "normal") with its two parameters, and the bounds to which draws are clipped."""

    kind: str
    first: Any
    second: Any
    low: Any = None
    high: Any = None


def uniform(low: Any, high: Any) -> Distribution:
    """Independent values, uniform between ``low`` and ``high``.

    Args:
        low, high: in the unit of the weight, delay or membrane.

    Example:
        >>> uniform(-60e-3, -50e-3).kind
        'uniform'
    """
    return Distribution("uniform", low, high)


def normal(mean: Any, deviation: Any, low: Any = None, high: Any = None) -> Distribution:
    """Independent values of a normal distribution, clipped to ``low`` and ``high`` where these are given.

    Args:
        mean, deviation, low, high: in the unit of the weight, delay or membrane.

    Example:
        >>> normal(1.5e-3, 0.5e-3, low=1e-4).kind
        'normal'
    """
    return Distribution("normal", mean, deviation, low, high)


def draw(where: str, name: str, value: Any, unit: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Values in SI units: of shape () if all are equal, else ``(size)``."""
    if not isinstance(value, Distribution):
        numbers = si(where, name, value, unit)
        if numbers.shape not in ((), (size,)):
            raise InputError(where, got=f"{name} of shape {numbers.shape}", expected=f"one number or {size}")
        return numbers
    first, second = (scalar(where, name, part, unit) for part in (value.first, value.second))
    if value.kind == "uniform":
        if first > second:
            raise InputError(where, got=f"{name}=uniform({first:g}, {second:g})", expected="low <= high")
        return rng.uniform(first, second, size)
    if second < 0:
        raise InputError(where, got=f"{name}=normal(deviation={second:g})", expected="deviation >= 0")
    bounds = (None if part is None else scalar(where, name, part, unit) for part in (value.low, value.high))
    numbers = rng.normal(first, second, size)
    low, high = bounds
    if low is not None and high is not None and low > high:
        raise InputError(where, got=f"{name}=normal(low={low:g}, high={high:g})", expected="low <= high")
    return numbers if low is None and high is None else np.clip(numbers, low, high)


def scalar(where: str, name: str, value: Any, unit: str) -> float:
    """One number in SI units. A Brian 2 quantity keeps every bit, so that both simulators compute with the same."""
    numbers = si(where, name, value, unit)
    if numbers.shape != ():
        raise InputError(where, got=f"{name} of shape {numbers.shape}", expected="one number")
    return float(numbers)
