"""Spike-timing-dependent plasticity (STDP), pair-based: potentiation of causal pairs, depression of acausal ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurosparse.checks import number, one_of, positive
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.timing import agreed_timing
from neurosparse.kernels.weight_grad import weight_grad

__all__ = ["stdp"]


@torch.no_grad()
def stdp(
    weight: Tensor,
    before: EventTensor,
    after: EventTensor,
    *,
    rise: float = 0.01,
    fall: float = 0.012,
    tau_rise: float = 20e-3,
    tau_fall: float = 20e-3,
    bounds: tuple[float, float] = (0.0, 1.0),
    pairs: str = "all",
) -> Tensor:
    """Weights after pair-based STDP over a recording.

    A presynaptic spike ``d`` seconds before a postsynaptic one adds ``rise exp(-d / tau_rise)``; one that comes ``d``
    later subtracts ``fall exp(-d / tau_fall)``; spikes of the same step do nothing. Changes are summed over samples
    and applied at the end.

    Args:
        weight: ``(post, pre)``.
        before: presynaptic spikes ``(steps, samples, pre)`` with ``dt``.
        after: postsynaptic spikes ``(steps, samples, post)``.
        rise, fall: change of a pair at no distance.
        tau_rise, tau_fall: time constants in seconds.
        bounds: least and greatest weight.
        pairs: ``"all"``, or ``"nearest"``: only the last spike on the other side counts.

    Returns:
        new weights ``(post, pre)``; the given ones stay as they are.

    Raises:
        InputError: shapes, ``dt`` or lengths that do not fit, no ``dt``, a time constant not above 0, an unknown
            pairing.

    Example:
        >>> spike = lambda step: EventTensor.from_aer(*torch.tensor([[step], [0], [0]]), shape=(30, 1, 1), dt=1e-3)
        >>> new = stdp(torch.full((1, 1), 0.5), spike(5), spike(15), rise=0.1)  # ten milliseconds before
        >>> round(new.item() - 0.5, 4) == round(0.1 * math.exp(-10 / 20), 4)
        True

    Source: Song, Miller & Abbott 2000, "Competitive Hebbian learning through spike-timing-dependent synaptic
    plasticity".
    """
    _check(weight, before, after)
    one_of("stdp", "pairs", pairs, ("all", "nearest"))
    rise, fall = number("stdp", "rise", rise), number("stdp", "fall", fall)
    tau_rise = positive("stdp", "tau_rise", tau_rise, unit="seconds")
    tau_fall = positive("stdp", "tau_fall", tau_fall, unit="seconds")
    low, high = (number("stdp", "bounds", bound) for bound in bounds)
    dt = agreed_timing("stdp", [before.timing, after.timing]).dt
    assert dt is not None
    causal = _pair(after, _trace(before, math.exp(-dt / tau_rise), pairs, weight.dtype))
    acausal = _pair(before, _trace(after, math.exp(-dt / tau_fall), pairs, weight.dtype)).t()
    return (weight + rise * causal - fall * acausal).clamp(low, high)


def _trace(spikes: EventTensor, decay: float, pairs: str, dtype: torch.dtype) -> Tensor:
    """Trace of earlier spikes at each step, without those of the step itself ``(steps x samples, units)``."""
    dense = spikes.dense().to(dtype).flatten(2)
    level, levels = dense.new_zeros(dense.shape[1:]), []
    for fired in dense.unbind(0):
        level = decay * level
        levels.append(level)
        level = level + fired if pairs == "all" else torch.where(fired > 0, torch.ones_like(level), level)
    return torch.stack(levels).flatten(0, 1) if levels else dense.flatten(0, 1)


def _pair(spikes: EventTensor, trace: Tensor) -> Tensor:
    """Sum of the traces of the other side at the moments of these spikes: ``(units, other units)``, event-driven."""
    return weight_grad(spikes.row_ptr, spikes.index, spikes.value, trace, spikes.n_units).t()


def _check(weight: Tensor, before: EventTensor, after: EventTensor) -> None:
    if before.shape[:2] != after.shape[:2] or weight.shape != (after.n_units, before.n_units):
        got = f"weight {tuple(weight.shape)}, spikes {before.shape} and {after.shape}"
        raise InputError("stdp", got=got, expected="(post, pre), (steps, samples, pre) and (steps, samples, post)")
    if before.dt is None and after.dt is None:
        raise InputError("stdp", got="no dt", expected="seconds per step", fix="Build the spikes with dt=1e-3.")
