"""Dynamics of a neuron besides its leaky membrane: synaptic currents and adaptive thresholds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from neurosparse.neurons.constants import Constants, Range, constant

__all__ = ["SHARE", "Dynamics", "adaptive", "current_based", "synaptic_step"]

SHARE = Range(0.0, 1.0)


class Dynamics(Constants):
    """Dynamics with a name, constants, hidden states and their step.

    Args:
        name: for reports.
        constants: by name, each a number in 0..1, one per unit, or a Parameter, which is trained.
        hidden: names of the states, silent at the start.
        step: ``(constants, drive, hidden states, last spikes) -> (drive, raise of the threshold or None, states)``; a
            function of a module where the dynamics are saved as a whole.

    Raises:
        InputError: a constant outside 0..1.

    Example:
        >>> current_based(0.8).hidden
        ('synaptic_current',)
    """

    def __init__(self, name: str, constants: dict[str, Any], hidden: tuple[str, ...], step: Callable):
        super().__init__()
        self.name, self.hidden, self.step = name, hidden, step
        for key, value in constants.items():
            self.hold(key, constant(name, key, value, SHARE), SHARE)

    @property
    def constants(self) -> dict[str, Tensor]:
        """The values in use by name; learned ones with their gradients."""
        return self.values()

    def extra_repr(self) -> str:
        return ", ".join((self.name, *self.ranges))


def synaptic_step(constants: dict[str, Tensor], drive: Tensor, hidden: tuple[Tensor, ...], sent: Tensor):
    """One step of current-based synapses."""
    synaptic = constants["alpha"] * hidden[0] + drive
    return synaptic, None, (synaptic,)


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
    return Dynamics("current_based", {"alpha": alpha}, ("synaptic_current",), synaptic_step)


def adaptation_step(constants: dict[str, Tensor], drive: Tensor, hidden: tuple[Tensor, ...], sent: Tensor):
    """One step of an adaptive threshold."""
    adaptation = constants["decay"] * hidden[0] + sent
    return drive, constants["strength"] * adaptation, (adaptation,)


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
    return Dynamics("adaptive", {"decay": decay, "strength": strength}, ("adaptation",), adaptation_step)
