"""What an associative memory of infinitely many units can hold: its mean-field equations, solved."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from neurosparse.errors import InputError

__all__ = ["MeanField", "capacity", "mean_field"]

SHARPEST, BLUNTEST = 60.0, 0.3  # signal over noise, between which the largest load is looked for


class MeanField(NamedTuple):
    """A state of retrieval: order parameters, all NaN where there is none.

    ``load``, patterns per unit; ``overlap`` m; ``hits`` and ``false_alarms``, shares of units that fire where the
    pattern is 1 and 0; ``noise``, standard deviation of the crosstalk; ``susceptibility`` C; ``threshold``, what the
    fields of the winners exceed, but for what all fields have in common.
    """

    load: float
    overlap: float
    hits: float
    false_alarms: float
    noise: float
    susceptibility: float
    threshold: float


def mean_field(activity: float, load: float) -> MeanField:
    """The state in which a pattern is retrieved from ``load`` patterns per unit, k winners being ``activity`` of them.

    With H the normal distribution, h its density, ``m`` the overlap, ``s`` the noise, ``u`` the threshold::

        hits = H(((1 - f) m - u) / s)        false alarms = H((-f m - u) / s)        m = hits - false alarms
        f = f hits + (1 - f) false alarms                                            k winners: it sets u
        C = (f h(((1 - f) m - u) / s) + (1 - f) h((-f m - u) / s)) / s               change of activity with its input
        s = sqrt(load f (1 - f)) / (1 - C)                                           crosstalk, fed back

    Patterns all have the same activity, so that what every unit sends in the mean cancels; were their activity random,
    f would stand in the place of f (1 - f). The derivation is in ``docs/circuits.md``.

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

    _check("mean_field", activity)
    if not load >= 0:
        raise InputError("mean_field", got=f"load={load}", expected="patterns per unit, 0 or more")
    if load == 0:
        return MeanField(0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.5 - activity)
    largest = capacity(activity)
    if load > largest.load:
        return MeanField(load, *[math.nan] * 6)
    bluntest = largest.overlap / largest.noise
    # ((1 - C) m / M)^2 = load f (1 - f), and its left side is at most 1 / M^2: a bound on M, signal over noise.
    sharpest = 1.01 / math.sqrt(activity * (1 - activity) * load)
    if _state(activity, bluntest).load <= load:  # at the capacity, but for rounding
        return largest
    sharp = brentq(lambda x: _state(activity, x).load - load, bluntest, sharpest, xtol=1e-12)
    return _state(activity, float(sharp))  # type: ignore[arg-type]


@cache
def capacity(activity: float) -> MeanField:
    """The state of retrieval with the most patterns per unit; its ``load`` is the capacity.

    Args:
        activity: f, share of active units, 0 to 1.

    Raises:
        InputError: an activity out of range.

    Example:
        >>> round(capacity(0.5).load, 3)  # the Hopfield model's, whose units are -1 and 1
        0.138
        >>> round(capacity(0.05).load, 3), round(1 / (2 * 0.05 * math.log(1 / 0.05)), 3)  # not yet the asymptote's
        (0.945, 3.338)

    Source: as `mean_field`.
    """
    from scipy.optimize import minimize_scalar

    _check("capacity", activity)
    grid = np.geomspace(BLUNTEST, SHARPEST, 200)
    best = int(np.argmax([_state(activity, sharp).load for sharp in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(lambda x: -_state(activity, x).load, bounds=bounds, method="bounded")
    return _state(activity, float(found.x))  # type: ignore[union-attr]


def _state(f: float, sharp: float) -> MeanField:
    """The state whose overlap is ``sharp`` times its noise: all else, the load included, follows in closed form."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    def fires(u: float) -> tuple[float, float]:
        return float(ndtr((1 - f) * sharp - u)), float(ndtr(-f * sharp - u))

    def excess(u: float) -> float:
        hits, false_alarms = fires(u)
        return f * hits + (1 - f) * false_alarms - f

    threshold = float(brentq(excess, -sharp - 40, sharp + 40, xtol=1e-13))  # type: ignore[arg-type]
    hits, false_alarms = fires(threshold)
    m = hits - false_alarms
    density = f * _normal((1 - f) * sharp - threshold) + (1 - f) * _normal(-f * sharp - threshold)
    noise = m / sharp
    load = max(noise - density, 0.0) ** 2 / (f * (1 - f))
    return MeanField(load, m, hits, false_alarms, noise, density / noise, threshold * noise)


def _normal(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _check(where: str, activity: float) -> None:
    if not 1e-4 <= activity <= 0.9999:
        raise InputError(where, got=f"activity={activity}", expected="a share of active units, 0.0001 to 0.9999")
