"""How synapses of a network change with the spikes on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neurosparse.checks import si
from neurosparse.errors import InputError

__all__ = ["Plasticity", "stdp"]


@dataclass(frozen=True)
class Plasticity:
    """Pair-based STDP; what each number means is said at `stdp`."""

    rise: float
    fall: float
    tau_rise: float
    tau_fall: float
    low: float
    high: float
    scaled: bool


def stdp(
    *, rise: Any, fall: Any, tau_rise: Any = 20e-3, tau_fall: Any = 20e-3, bounds: Any, multiplicative: bool = False
) -> Plasticity:
    """Spike-timing-dependent plasticity over all pairs, seen where the synapse is: a spike counts when it arrives.

    An arrival ``d`` before a spike of the target adds ``rise exp(-d / tau_rise)``, at that spike; an arrival ``d``
    after it takes ``fall exp(-d / tau_fall)`` away, once it has delivered the old weight. Pairs of one step do nothing.
    If ``multiplicative``, a rise is scaled by ``high - w`` and a fall by ``w - low``.

    Args:
        rise, fall: in the unit of the weight (additive), or as a fraction of the distance to the bound.
        tau_rise, tau_fall: seconds.
        bounds: the least and the greatest weight, ``(low, high)``.
        multiplicative: scale changes by the distance to the bound.

    Returns:
        what ``Network.connect(plasticity=...)`` takes.

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
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise InputError(where, got=f"bounds={bounds!r}", expected="the least and the greatest weight, (low, high)")
    low, high = bounds
    unit = "plain numbers" if multiplicative else _unit(rise)
    rise, fall = (float(si(where, name, value, unit)) for name, value in (("rise", rise), ("fall", fall)))
    unit = _unit(low if _unit(low) == "volts" else high)
    low, high = (float(si(where, "bounds", value, unit)) for value in (low, high))
    taus = [float(si(where, name, t, "seconds")) for name, t in (("tau_rise", tau_rise), ("tau_fall", tau_fall))]
    if min(taus) <= 0 or min(rise, fall) < 0 or low > high:
        got = f"rise={rise:g}, fall={fall:g}, tau={taus}, bounds=({low:g}, {high:g})"
        raise InputError(where, got=got, expected="rise, fall >= 0; tau > 0; low <= high")
    return Plasticity(rise, fall, taus[0], taus[1], low, high, multiplicative)


def _unit(value: Any) -> str:
    """Weights are volts or, for conductances, plain numbers: a Brian2 quantity must be one of both."""
    dimension = getattr(getattr(value, "dim", None), "_dims", None)
    return "plain numbers" if dimension is None or not any(dimension) else "volts"
