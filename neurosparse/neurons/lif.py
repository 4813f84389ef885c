"""Leaky integrate-and-fire and its relatives: dynamics x reset x surrogate, whole sequences, no hidden state."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from neurosparse.checks import one_of, positive, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.timing import check_dt
from neurosparse.kernels.scan.reference import LIFState
from neurosparse.kernels.scan.step import RESETS
from neurosparse.neurons.dynamics import Dynamics, constant
from neurosparse.neurons.scan import Trace, run, trace
from neurosparse.neurons.surrogate import Surrogate, as_surrogate

__all__ = ["IF", "LIF"]


class LIF(nn.Module):
    r"""Leaky integrate-and-fire neurons.

    ``u[t] = beta v[t-1] + I[t] (+ R s[t-1]);  s[t] = [u[t] > threshold]``, then the reset: ``v = u - threshold s``
    ("subtract"), ``v = u (1 - s)`` ("zero") or ``v = u`` ("none"). The surrogate stands for ds/du; the reset is a
    constant for the gradient. State is fresh on every call: there is no method to reset it.

    Args:
        beta: decay per step, 0..1, a number or one per unit; a Parameter is trained. Give ``beta`` or ``tau``.
        tau: membrane time constant in seconds (or a Brian2 quantity, as ``dt``), ``beta = exp(-dt / tau)``.
        dt: seconds per step; default: that of the input.
        threshold: a number or one per unit, dimensionless; a Parameter is trained.
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        surrogate: ``ns.atan()``, ``ns.fast_sigmoid()``, ``ns.triangle()``, ``ns.boxcar()`` (with compact support the
            gradient is sparse and cheap), or a foreign spike function such as snnTorch's.
        recurrent: a module from spikes ``(samples, *units)`` to current, for example ``nn.Linear(n, n, bias=False)``.
        dynamics: ``ns.neurons.current_based(alpha)`` or ``ns.neurons.adaptive(decay, strength)``; None: plain leak.
        delayed_reset: reset one step after the spike: ``u[t] = beta u[t-1] + I[t] - threshold s[t-1]`` ("subtract") or
            ``(beta u[t-1] + I[t]) (1 - s[t-1])`` ("zero").
        refractory: steps after a spike in which a unit neither integrates nor fires.
        reference: run the reference in plain torch instead of the fused scan.

    Returns:
        ``lif(current) -> EventTensor`` for current ``(steps, samples, *units)``, dense or events;
        ``lif.run(current, state) -> (EventTensor, LIFState)``; ``lif.trace(current, state) -> Trace``.

    Raises:
        InputError: beta outside 0..1, neither or both of beta and tau, unknown reset, NaN currents, a state of
            another shape, a ``dt`` that contradicts the input's.

    Example:
        >>> import torch
        >>> lif = LIF(beta=0.5)
        >>> # u = 0.8, then 1.2 fires and leaves 0.2, then 0.9, then 1.25 fires
        >>> lif(torch.full((4, 1, 1), 0.8)).dense().flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]

    Source: Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep learning"; Neftci,
    Mostafa & Zenke 2019, "Surrogate gradient learning in spiking neural networks".
    """

    def __init__(
        self,
        beta: float | Tensor | None = None,
        tau: float | None = None,
        dt: float | None = None,
        threshold: float | Tensor = 1.0,
        reset: str = "subtract",
        surrogate: Surrogate | Callable[[Tensor], Tensor] | None = None,
        recurrent: nn.Module | None = None,
        *,
        dynamics: Dynamics | None = None,
        delayed_reset: bool = False,
        refractory: int = 0,
        reference: bool = False,
    ):
        super().__init__()
        if (beta is None) == (tau is None):
            raise InputError("LIF", got=f"beta={beta}, tau={tau}", expected="one of them", fix="Pass beta=0.9.")
        if beta is not None:
            beta = constant("LIF", "beta", beta, 1, fix="Pass beta=0.9, or tau in seconds.")
        threshold = constant("LIF", "threshold", threshold, above=0, fix="Pass threshold=1.0.")
        self.tau = None if tau is None else positive("LIF", "tau", tau, unit="seconds")
        self.dt = check_dt("LIF", dt)
        self.reset = one_of("LIF", "reset", reset, RESETS)
        self.refractory = whole("LIF", "refractory", refractory, 0)
        if dynamics is not None and not isinstance(dynamics, Dynamics):
            fix = "Call it: dynamics=ns.neurons.current_based(0.9)."
            raise InputError("LIF", got=f"dynamics={dynamics!r}", expected="dynamics or None", fix=fix)
        if self.refractory and delayed_reset:
            fix = "Let the reset be immediate: a unit that waits cannot be reset."
            raise InputError("LIF", got="refractory with delayed_reset", expected="one of them", fix=fix)
        self.delayed_reset, self.reference, self.dynamics = bool(delayed_reset), bool(reference), dynamics
        self.surrogate = as_surrogate("LIF", surrogate)
        self.recurrent = recurrent
        self.beta = _hold(self, "beta", beta)
        self.threshold = _hold(self, "threshold", threshold)
        for name, value in ({} if dynamics is None else dynamics.constants).items():
            setattr(self, name, _hold(self, name, value))

    def forward(self, current: Tensor | EventTensor) -> EventTensor:
        """Spikes for a whole sequence of currents, from rest."""
        return self.run(current)[0]

    def run(
        self, current: Tensor | EventTensor, state: LIFState | None = None, *, detach: bool = True
    ) -> tuple[EventTensor, LIFState]:
        """The same with an explicit carry between chunks of time, detached unless ``detach=False``."""
        return run(self, current, state, detach)

    def trace(self, current: Tensor | EventTensor, state: LIFState | None = None) -> Trace:
        """Events with the membrane before reset, which carries gradients (reference in plain torch)."""
        return trace(self, current, state)

    def extra_repr(self) -> str:
        decay = f"tau={self.tau:g} s" if self.tau is not None else f"beta={_brief(self.beta)}"
        parts = [decay, f"threshold={_brief(self.threshold)}", f"reset={self.reset!r}", self.surrogate.name]
        parts += [] if self.dynamics is None else [self.dynamics.name]
        parts += ["delayed reset"] * self.delayed_reset
        parts += [f"refractory={self.refractory}"] * (self.refractory > 0)
        return ", ".join(parts)


def IF(**settings) -> LIF:
    """Integrate-and-fire: a :class:`LIF` that does not leak, ``beta = 1``.

    Args:
        settings: everything else that :class:`LIF` takes.

    Example:
        >>> import torch
        >>> IF()(torch.full((4, 1, 1), 0.75)).counts().item()  # a charge of 3: two spikes, 1 is left
        2.0

    Source: Diehl et al. 2015, "Fast-classifying, high-accuracy spiking deep networks through weight and threshold
    balancing".
    """
    return LIF(beta=1.0, **settings)


def _hold(module: nn.Module, name: str, value: float | Tensor | None) -> float | Tensor | None:
    """Tensors follow the module to its device and into its state_dict; numbers stay numbers."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        module.register_buffer(name, value)
    return value


def _brief(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else f"tensor{tuple(value.shape)}"  # type: ignore[attr-defined]
