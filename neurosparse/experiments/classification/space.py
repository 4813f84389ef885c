"""Search space of a family of models: the values that a trial of a search draws for each parameter."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["LogUniform", "Space", "draw"]


@dataclass(frozen=True)
class LogUniform:
    """Numbers whose logarithm is uniform between two bounds.

    Args:
        low, high: bounds, above 0.

    Example:
        >>> 1e-3 <= LogUniform(1e-3, 1e-1).draw(random.Random(0)) <= 1e-1
        True
    """

    low: float
    high: float

    def draw(self, generator: random.Random) -> float:
        """One number, of three significant digits, so that a reader can type it."""
        value = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return min(max(float(f"{value:.3g}"), self.low), self.high)


Space = Mapping[str, tuple[Any, ...] | LogUniform]
"""Parameter -> its possible values, all equally probable; or a range."""


def draw(space: Space, generator: random.Random) -> dict[str, Any]:
    """A value for every parameter.

    Example:
        >>> draw({"beta": (0.5,)}, random.Random(0))
        {'beta': 0.5}
    """
    return {
        name: values.draw(generator) if isinstance(values, LogUniform) else generator.choice(values)
        for name, values in space.items()
    }
