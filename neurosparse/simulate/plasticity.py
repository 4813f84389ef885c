"""Spike-timing-dependent plasticity (STDP) of the synapses of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neurosparse.errors import InputError
from neurosparse.simulate.distributions import scalar

__all__ = ["Plasticity", "stdp"]


@dataclass(frozen=True)
class Plasticity:
    """Parameters of pair-based STDP, in SI units, as in `stdp`."""

    rise: float
    fall: float
    tau_rise: float
    tau_fall: float
    low: float
    high: float
    multiplicative: bool


def stdp(
    *, rise: Any, fall: Any, tau_rise: Any = 20e-3, tau_fall: Any = 20e-3, bounds: Any, multiplicative: bool = False
) -> Plasticity:
    """Pair-based STDP over all pairs of spikes; a presynaptic spike counts at the time of its arrival.

    An arrival ``d`` before a spike of the target adds ``rise exp(-d / tau_rise)`` at that spike. An arrival ``d`` after
    it subtracts ``fall exp(-d / tau_fall)``; the arrival itself delivers the weight before this change. Pairs within
    one step change nothing. If ``multiplicative``, a rise is scaled by ``high - w`` and a fall by ``w - low``.

    Args:
        rise, fall: in the unit of the weight (additive), or as a fraction of the distance to the bound.
        tau_rise, tau_fall: seconds.
        bounds: the least and the greatest weight, ``(low, high)``.
        multiplicative: scale changes by the distance to the bound.

    Returns:
        a rule for ``Network.connect(plasticity=...)``.

    Raises:
        InputError: a time constant not above 0, a negative change, bounds that cross.

    Example:
        >>> stdp(rise=1e-5, fall=1.05e-5, bounds=(0.0, 1e-3)).high
        0.001

    Source: Song, Miller & Abbott 2000, "Competitive Hebbian learning through spike-timing-dependent synaptic
    plasticity"; Rubin, Lee & Sompolinsky 2001, "Equilibrium properties of temporally asymmetric Hebbian plasticity"
    (multiplicative).
    """
    where = "simulate.stdp"
    try:
        low, high = bounds
    except (TypeError, ValueError):
        expected = "the least and the greatest weight, (low, high)"
        raise InputError(where, got=f"bounds={bounds!r}", expected=expected) from None
    unit = "plain numbers" if multiplicative else _unit(rise)
    rise, fall = (scalar(where, name, value, unit) for name, value in (("rise", rise), ("fall", fall)))
    unit = _unit(low if _unit(low) == "volts" else high)
    low, high = (scalar(where, "bounds", value, unit) for value in (low, high))
    taus = [scalar(where, name, t, "seconds") for name, t in (("tau_rise", tau_rise), ("tau_fall", tau_fall))]
    if min(taus) <= 0 or min(rise, fall) < 0 or low > high:
        got = f"rise={rise:g}, fall={fall:g}, tau={taus}, bounds=({low:g}, {high:g})"
        raise InputError(where, got=got, expected="rise, fall >= 0; tau > 0; low <= high")
    return Plasticity(rise, fall, taus[0], taus[1], low, high, multiplicative)


def _unit(value: Any) -> str:
    """The unit of a weight: volts, or for conductances plain numbers; a Brian2 quantity must have one of both."""
    dimension = getattr(getattr(value, "dim", None), "_dims", None)
    return "plain numbers" if dimension is None or not any(dimension) else "volts"
