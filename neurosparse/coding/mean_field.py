"""Mean-field theory of the sparse associative memory: states of retrieval and the capacity."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from neurosparse.checks import number

__all__ = ["MeanField", "capacity", "mean_field"]

HIGHEST, LOWEST = 60.0, 0.3  # the range of signal over noise in which the largest load is searched


class MeanField(NamedTuple):
    """A state of retrieval: order parameters, all NaN where there is none.

    ``load``, patterns per unit; ``overlap`` m; ``hits`` and ``false_alarms``, shares of active units where the pattern
    is 1 and 0; ``noise``, standard deviation of the crosstalk; ``susceptibility`` C; ``threshold`` of the inputs above
    which units are active, less the mean of all inputs.
    """

    load: float
    overlap: float
    hits: float
    false_alarms: float
    noise: float
    susceptibility: float
    threshold: float


def mean_field(activity: float, load: float) -> MeanField:
    """The state of retrieval at ``load`` patterns per unit, where a share ``activity`` of the units wins.

    With H the normal distribution, h its density, ``m`` the overlap, ``s`` the noise, ``u`` the threshold::

        hits = H(((1 - f) m - u) / s)        false alarms = H((-f m - u) / s)        m = hits - false alarms
        f = f hits + (1 - f) false alarms                                            k winners: sets u
        C = (f h(((1 - f) m - u) / s) + (1 - f) h((-f m - u) / s)) / s               change of activity with its input
        s = sqrt(load f (1 - f)) / (1 - C)                                           crosstalk, with feedback

    All patterns have the same activity, so that the mean input cancels; with random activity, f would replace
    f (1 - f). The derivation is in ``docs/circuits.md``.

    Args:
        activity: f, share of active units, 0 to 1.
        load: stored patterns per unit, 0 or more.

    Returns:
        the state with the largest overlap; NaN beyond `capacity`.

    Raises:
        InputError: a number out of range.

    Example:
        >>> round(mean_field(0.1, 0.4).overlap, 3), mean_field(0.1, 0.5).overlap
        (0.976, nan)

    Source: Amit, Gutfreund & Sompolinsky 1987 (retrieval among extensively many patterns); Tsodyks & Feigelman 1988
    (low activity); Shiino & Fukai 1992 (from signal and noise).
    """
    from scipy.optimize import brentq

    activity, load = _activity("mean_field", activity), number("mean_field", "load", load, 0)
    if load == 0:
        return MeanField(0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.5 - activity)
    largest = capacity(activity)
    if load > largest.load:
        return MeanField(load, *[math.nan] * 6)
    lowest = largest.overlap / largest.noise
    # ((1 - C) m / M)^2 = load f (1 - f), and its left side is at most 1 / M^2: a bound on M, signal over noise.
    highest = 1.01 / math.sqrt(activity * (1 - activity) * load)
    if _state(activity, lowest).load <= load:  # at the capacity, up to rounding
        return largest
    ratio = brentq(lambda x: _state(activity, x).load - load, lowest, highest, xtol=1e-12)
    return _state(activity, float(ratio))  # type: ignore[arg-type]


def capacity(activity: float) -> MeanField:
    """The state of retrieval with the largest load; its ``load`` is the capacity, in patterns per unit.

    Args:
        activity: f, share of active units, 0 to 1.

    Raises:
        InputError: an activity out of range.

    Example:
        >>> round(capacity(0.5).load, 3)  # the Hopfield model's, whose units are -1 and 1
        0.138
        >>> round(capacity(0.05).load, 3), round(1 / (2 * 0.05 * math.log(1 / 0.05)), 3)  # far from the asymptote
        (0.945, 3.338)

    Source: as `mean_field`.
    """
    return _capacity(_activity("capacity", activity))


@cache
def _capacity(activity: float) -> MeanField:
    from scipy.optimize import minimize_scalar

    grid = np.geomspace(LOWEST, HIGHEST, 200)
    best = int(np.argmax([_state(activity, ratio).load for ratio in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(lambda x: -_state(activity, x).load, bounds=bounds, method="bounded")
    return _state(activity, float(found.x))  # type: ignore[union-attr]


def _state(f: float, ratio: float) -> MeanField:
    """The state whose overlap is ``ratio`` times its noise; all else, with the load, follows in closed form."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    def fires(u: float) -> tuple[float, float]:
        return float(ndtr((1 - f) * ratio - u)), float(ndtr(-f * ratio - u))

    def excess(u: float) -> float:
        hits, false_alarms = fires(u)
        return f * hits + (1 - f) * false_alarms - f

    threshold = float(brentq(excess, -ratio - 40, ratio + 40, xtol=1e-13))  # type: ignore[arg-type]
    hits, false_alarms = fires(threshold)
    m = hits - false_alarms
    density = f * _normal((1 - f) * ratio - threshold) + (1 - f) * _normal(-f * ratio - threshold)
    noise = m / ratio
    load = max(noise - density, 0.0) ** 2 / (f * (1 - f))
    return MeanField(load, m, hits, false_alarms, noise, density / noise, threshold * noise)


def _normal(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _activity(where: str, activity: float) -> float:
    return number(where, "activity", activity, 1e-4, 0.9999, fix="Pass the share of active units.")
