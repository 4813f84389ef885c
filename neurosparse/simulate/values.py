"""What a weight, a delay or a first membrane may be: one number, one number each, or a distribution to draw from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from neurosparse.checks import si
from neurosparse.errors import InputError

__all__ = ["Distribution", "draw", "normal", "uniform"]


class Distribution(NamedTuple):
    """``kind`` with its two parameters and the bounds that draws are clipped to."""

    kind: str
    first: Any
    second: Any
    low: Any = None
    high: Any = None


def uniform(low: Any, high: Any) -> Distribution:
    """Independent values, each as likely between ``low`` and ``high``.

    Args:
        low, high: in the unit of what they stand for.

    Example:
        >>> uniform(-60e-3, -50e-3).kind
        'uniform'
    """
    return Distribution("uniform", low, high)


def normal(mean: Any, deviation: Any, low: Any = None, high: Any = None) -> Distribution:
    """Independent values of a normal distribution, clipped to ``low`` and ``high`` where these are given.

    Args:
        mean, deviation, low, high: in the unit of what they stand for.

    Example:
        >>> normal(1.5e-3, 0.5e-3, low=1e-4).kind
        'normal'
    """
    return Distribution("normal", mean, deviation, low, high)


def draw(where: str, name: str, value: Any, unit: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Values in SI units: of shape () if all are one, else ``(size)``."""
    if not isinstance(value, Distribution):
        numbers = si(where, name, value, unit)
        if numbers.shape not in ((), (size,)):
            raise InputError(where, got=f"{name} of shape {numbers.shape}", expected=f"one number or {size}")
        return numbers
    first, second = (float(si(where, name, part, unit)) for part in (value.first, value.second))
    if value.kind == "uniform":
        if first > second:
            raise InputError(where, got=f"{name}=uniform({first:g}, {second:g})", expected="low <= high")
        return rng.uniform(first, second, size)
    if second < 0:
        raise InputError(where, got=f"{name}=normal(deviation={second:g})", expected="deviation >= 0")
    bounds = (None if part is None else float(si(where, name, part, unit)) for part in (value.low, value.high))
    numbers = rng.normal(first, second, size)
    low, high = bounds
    return numbers if low is None and high is None else np.clip(numbers, low, high)
