"""Neuron models: leaky integrate-and-fire with currents, delta synapses or conductances; and Poisson sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosparse.checks import si, whole
from neurosparse.errors import InputError
from neurosparse.simulate.distributions import scalar
from neurosparse.simulate.grid import refractory_steps

__all__ = ["Neuron", "PoissonSource", "conductance_lif", "delta_lif", "lif", "poisson"]


@dataclass(frozen=True, eq=False)
class Neuron:
    """A neuron model: parameters in seconds and volts, receptors, and a bias in volts for all or per neuron."""

    model: str
    parameters: dict[str, float]
    receptors: tuple[str, ...]
    bias: np.ndarray

    def held_steps(self, dt: float, grid: str) -> int:
        """Steps for which the membrane is held after a spike; ``refractory`` is the shortest interspike interval."""
        return max(refractory_steps(self.parameters["refractory"], dt, grid) - 1, 0)

    def coefficients(self, dt: float) -> np.ndarray:
        """Of one step, for the kernels: the threshold above rest, then what the model needs."""
        p = self.parameters
        return np.array([p["threshold"] - p["rest"], *COEFFICIENTS[self.model](p, dt)])

    def bias_increment(self, dt: float) -> np.ndarray:
        """Contribution of the constant bias to the membrane in a step: per neuron, or one for all."""
        scale = -math.expm1(-dt / self.parameters["tau"]) if self.model != "conductance" else 1.0
        return self.bias * scale


@dataclass(frozen=True, eq=False)
class PoissonSource:
    """Independent Poisson processes: ``rate`` in hertz, per neuron or one for all, times ``sources`` per neuron."""

    rate: np.ndarray
    sources: int

    def mean(self, dt: float) -> np.ndarray:
        """Mean number of spikes in a step."""
        return self.rate * (self.sources * dt)


def poisson(rate: Any, *, sources: int = 1) -> PoissonSource:
    """Poisson spikes: as a population of its own, or as independent drive to every neuron of a population.

    A neuron of a population fires in a step with probability ``rate dt``, at most once. A drive adds its weight once
    per spike, any number of times in a step. ``sources`` processes together are one process of ``sources`` times the
    rate.

    Args:
        rate: hertz, one for all or one per neuron; Brian2 quantities too.
        sources: independent processes per neuron.

    Raises:
        InputError: a negative rate, fewer than one source.

    Example:
        >>> poisson(20.0, sources=1000).sources
        1000
    """
    rates = si("simulate.poisson", "rate", rate, "hertz")
    if (rates < 0).any():
        raise InputError("simulate.poisson", got=f"rate={rates.min():g}", expected="rate >= 0 hertz")
    return PoissonSource(rates, whole("simulate.poisson", "sources", sources))


def _read(where: str, bias: Any, **given: tuple[Any, str]) -> tuple[dict[str, float], np.ndarray]:
    """Parameters in SI units, checked: times above 0, a threshold above the reset."""
    p = {name: scalar(where, name, value, unit) for name, (value, unit) in given.items()}
    for name, value in p.items():
        if name.startswith("tau") and not value > 0:
            raise InputError(where, got=f"{name}={value:g}", expected=f"{name} > 0 seconds")
    if p["refractory"] < 0:
        raise InputError(where, got=f"refractory={p['refractory']:g}", expected="refractory >= 0 seconds")
    if not p["threshold"] > p["reset"]:
        got = f"threshold={p['threshold']:g}, reset={p['reset']:g}"
        raise InputError(where, got=got, expected="threshold > reset", fix="A reset neuron would fire at every step.")
    return p, si(where, "bias", bias, "volts")


def lif(
    tau: Any = 20e-3,
    *,
    rest: Any = -65e-3,
    threshold: Any = -50e-3,
    reset: Any = -65e-3,
    refractory: Any = 0.0,
    tau_excitatory: Any = 5e-3,
    tau_inhibitory: Any = 10e-3,
    bias: Any = 0.0,
) -> Neuron:
    """Leaky integrate-and-fire with exponential synaptic currents, integrated exactly.

    ``tau dv/dt = rest - v + e + i + bias``, ``tau_e de/dt = -e``, ``tau_i di/dt = -i``; a spike when ``v > threshold``,
    then ``v = reset``. A synapse adds its weight (volts: current times resistance) to ``e`` or ``i``.

    Args:
        tau: membrane time constant in seconds.
        rest, threshold, reset: volts.
        refractory: the shortest interspike interval in seconds, in steps by the ``grid`` of `Network`; ``v`` is held
            at the reset until its end.
        tau_excitatory, tau_inhibitory: of the two currents, in seconds.
        bias: constant current times resistance in volts, one for all or one per neuron.

    Returns:
        a model for ``Network.population``. Receptors: ``"excitatory"`` and ``"inhibitory"``.

    Raises:
        InputError: a time constant not above 0, a negative refractory time, a threshold not above the reset.

    Example:
        >>> lif(20e-3, rest=-49e-3, reset=-60e-3, refractory=5e-3).receptors
        ('excitatory', 'inhibitory')

    Source: Rotter & Diesmann 1999, "Exact digital simulation of time-invariant linear systems with applications to
    neuronal modeling".
    """
    seconds = {"tau": tau, "refractory": refractory, "tau_excitatory": tau_excitatory, "tau_inhibitory": tau_inhibitory}
    volts = {"rest": rest, "threshold": threshold, "reset": reset}
    p, bias = _read("simulate.lif", bias, **_units(seconds, "seconds"), **_units(volts, "volts"))
    return Neuron("current", p, ("excitatory", "inhibitory"), bias)


def _current_coefficients(p: dict[str, float], dt: float) -> list[float]:
    tau, synaptic = p["tau"], (p["tau_excitatory"], p["tau_inhibitory"])
    crossing = [_crossing(tau, t, dt) for t in synaptic]
    return [math.exp(-dt / tau), *crossing, *(math.exp(-dt / t) for t in synaptic)]


def _units(values: dict[str, Any], unit: str) -> dict[str, tuple[Any, str]]:
    return {name: (value, unit) for name, value in values.items()}


def _crossing(tau: float, tau_synapse: float, dt: float) -> float:
    """The propagator from a synaptic current of 1 to the membrane, over one step."""
    difference = 1 / tau - 1 / tau_synapse
    if abs(difference) * dt < 1e-9:  # the limit of equal time constants
        return dt / tau * math.exp(-dt / tau)
    return (math.exp(-dt / tau_synapse) - math.exp(-dt / tau)) / tau / difference


def delta_lif(
    tau: Any = 20e-3,
    *,
    rest: Any = -65e-3,
    threshold: Any = -50e-3,
    reset: Any = -65e-3,
    refractory: Any = 0.0,
    bias: Any = 0.0,
) -> Neuron:
    """Leaky integrate-and-fire with delta synapses: the membrane jumps by the weight of each arriving spike.

    ``tau dv/dt = rest - v + bias``, integrated exactly; arrivals at a refractory neuron are lost.

    Args:
        tau, refractory: seconds.
        rest, threshold, reset, bias: volts; as for `lif`.

    Returns:
        a model for ``Network.population``. The one receptor: ``"membrane"``.

    Raises:
        InputError: as `lif`.

    Example:
        >>> delta_lif(20e-3, rest=0.0, threshold=20e-3, reset=10e-3, refractory=2e-3).receptors
        ('membrane',)

    Source: Brunel 2000, "Dynamics of sparsely connected networks of excitatory and inhibitory spiking neurons".
    """
    given = _units({"tau": tau, "refractory": refractory}, "seconds")
    given |= _units({"rest": rest, "threshold": threshold, "reset": reset}, "volts")
    p, bias = _read("simulate.delta_lif", bias, **given)
    return Neuron("delta", p, ("membrane",), bias)


def _delta_coefficients(p: dict[str, float], dt: float) -> list[float]:
    return [math.exp(-dt / p["tau"]), 0, 0, 0, 0]


def conductance_lif(
    tau: Any = 20e-3,
    *,
    rest: Any = -60e-3,
    threshold: Any = -50e-3,
    reset: Any = -60e-3,
    refractory: Any = 0.0,
    tau_excitatory: Any = 5e-3,
    tau_inhibitory: Any = 10e-3,
    reversal_excitatory: Any = 0.0,
    reversal_inhibitory: Any = -80e-3,
    bias: Any = 0.0,
) -> Neuron:
    """Leaky integrate-and-fire with exponential conductances, integrated by exponential Euler.

    ``tau dv/dt = rest - v + e (E_e - v) + i (E_i - v) + bias``; ``e`` and ``i`` decay exactly, and over a step the
    membrane relaxes exponentially to the equilibrium of the conductances at the step's start. A synapse adds its
    weight, a conductance relative to the leak conductance.

    Args:
        tau, refractory, tau_excitatory, tau_inhibitory: seconds.
        rest, threshold, reset, reversal_excitatory, reversal_inhibitory, bias: volts; as for `lif`.

    Returns:
        a model for ``Network.population``. Receptors: ``"excitatory"`` and ``"inhibitory"``.

    Raises:
        InputError: as `lif`.

    Example:
        >>> conductance_lif(refractory=5e-3).parameters["reversal_inhibitory"]
        -0.08

    Source: Brette, Rudolph, Carnevale, Hines, Beeman, Bower, ... Destexhe 2007, "Simulation of networks of spiking
    neurons: a review of tools and strategies".
    """
    seconds = {"tau": tau, "refractory": refractory, "tau_excitatory": tau_excitatory, "tau_inhibitory": tau_inhibitory}
    volts = {"rest": rest, "threshold": threshold, "reset": reset}
    volts |= {"reversal_excitatory": reversal_excitatory, "reversal_inhibitory": reversal_inhibitory}
    p, bias = _read("simulate.conductance_lif", bias, **_units(seconds, "seconds"), **_units(volts, "volts"))
    return Neuron("conductance", p, ("excitatory", "inhibitory"), bias)


def _conductance_coefficients(p: dict[str, float], dt: float) -> list[float]:
    reversal = [p[name] - p["rest"] for name in ("reversal_excitatory", "reversal_inhibitory")]
    return [-dt / p["tau"], *reversal, *(math.exp(-dt / p[name]) for name in ("tau_excitatory", "tau_inhibitory"))]


COEFFICIENTS = {
    "current": _current_coefficients,
    "delta": _delta_coefficients,
    "conductance": _conductance_coefficients,
}
