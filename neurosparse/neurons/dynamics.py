"""Dynamics of a neuron besides its leaky membrane: synaptic currents and adaptive thresholds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from neurosparse.checks import number, tensor

__all__ = ["Dynamics", "adaptive", "constant", "current_based"]


@dataclass(frozen=True)
class Dynamics:
    """Dynamics with a name, constants, hidden states and their step.

    Args:
        name: for reports.
        constants: numbers in 0..1 or per unit by name; a Parameter is trained by the layer that holds the dynamics.
        hidden: names of the states, silent at the start.
        step: ``(constants, drive, hidden states, last spikes) -> (drive, raise of the threshold or None, states)``.

    Example:
        >>> current_based(0.8).hidden
        ('synaptic_current',)
    """

    name: str
    constants: dict[str, float | Tensor]
    hidden: tuple[str, ...]
    step: Callable


def constant(
    where: str, name: str, value: Any, high: float = math.inf, *, above: float | None = None, fix: str = ""
) -> float | Tensor:
    """A constant of neurons, at least 0: one number as a float, one per unit as a tensor; a Parameter stays itself."""
    if not getattr(value, "ndim", 0) and not getattr(value, "requires_grad", False):
        return number(where, name, value, 0, high, above=above, fix=fix)
    if isinstance(value, Tensor) and not value.ndim:  # with a gradient
        units = value
    else:
        axes = value.ndim if isinstance(value, Tensor | np.ndarray) else 1
        units = tensor(where, name, value, ", ".join(["units"] * axes), fix)
    for extreme in units.detach().aminmax() if units.numel() else ():
        number(where, name, extreme.item(), 0, high, above=above, fix=fix)
    return units


def current_based(alpha: float | Tensor) -> Dynamics:
    """Current-based synapses: ``i[t] = alpha i[t-1] + I[t]`` drives the membrane.

    Args:
        alpha: decay of the synaptic current per step, a number or one per unit; a Parameter is trained.

    Example:
        >>> import torch
        >>> from neurosparse.neurons import LIF
        >>> lif = LIF(beta=0.0, dynamics=current_based(0.5))
        >>> pulse = torch.tensor([1.6, 0.0, 0.0]).view(3, 1, 1)
        >>> [round(u, 2) for u in lif.trace(pulse).membrane.flatten().tolist()]  # a pulse decays by half
        [1.6, 0.8, 0.4]

    Source: Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep learning", appendix
    (second-order leaky neuron).
    """
    alpha = constant("current_based", "alpha", alpha, 1)

    def step(constants: dict[str, Tensor], drive: Tensor, hidden: tuple[Tensor, ...], sent: Tensor):
        synaptic = constants["alpha"] * hidden[0] + drive
        return synaptic, None, (synaptic,)

    return Dynamics("current_based", {"alpha": alpha}, ("synaptic_current",), step)


def adaptive(decay: float | Tensor, strength: float | Tensor) -> Dynamics:
    """Adaptive threshold: ``a[t] = decay a[t-1] + s[t-1]`` raises the threshold by ``strength a[t]``.

    The reset still subtracts the resting threshold. The gradient flows through the adaptation.

    Args:
        decay: of the adaptation per step.
        strength: what one spike adds to the threshold, 0..1 of the membrane's unit.

    Example:
        >>> import torch
        >>> from neurosparse.neurons import LIF
        >>> lif = LIF(beta=0.0, dynamics=adaptive(0.5, 1.0))
        >>> lif(torch.full((4, 1, 1), 1.3)).dense().flatten().tolist()  # each spike silences the steps after
        [1.0, 0.0, 0.0, 1.0]

    Source: Bellec et al. 2018, "Long short-term memory and learning-to-learn in networks of spiking neurons".
    """
    decay, strength = constant("adaptive", "decay", decay, 1), constant("adaptive", "strength", strength, 1)

    def step(constants: dict[str, Tensor], drive: Tensor, hidden: tuple[Tensor, ...], sent: Tensor):
        adaptation = constants["decay"] * hidden[0] + sent
        return drive, constants["strength"] * adaptation, (adaptation,)

    return Dynamics("adaptive", {"decay": decay, "strength": strength}, ("adaptation",), step)
