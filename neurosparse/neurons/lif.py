"""Leaky integrate-and-fire and its relatives: dynamics x reset x surrogate, whole sequences, no hidden state."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, dense_of, operation
from neurosparse.events.timing import check_dt
from neurosparse.kernels.scan.reference import LIFState
from neurosparse.kernels.scan.step import RESETS
from neurosparse.neurons.constants import (
    Constants,
    Range,
    constant,
    decay_of,
    floating,
    in_range,
    is_number,
    per_unit,
)
from neurosparse.neurons.dynamics import SHARE, Dynamics
from neurosparse.neurons.scan import Trace, run, trace
from neurosparse.neurons.surrogate import Surrogate, as_surrogate

__all__ = ["IF", "LIF", "HalfCharged", "refuse_start"]


POSITIVE = Range(above=True)


class LIF(Constants):
    r"""Leaky integrate-and-fire neurons.

    ``u[t] = beta v[t-1] + I[t] (+ R s[t-1]);  s[t] = [u[t] > threshold]``, then the reset: ``v = u - threshold s``
    ("subtract"), ``v = u (1 - s)`` ("zero") or ``v = u`` ("none"). The surrogate stands for ds/du; the reset is a
    constant for the gradient. State is fresh on every call: there is no method to reset it.

    Constants are saved with the weights. A Parameter is trained, and used in its range: at a bound only a gradient
    that leads back into the range passes. :meth:`constants` returns the values in use.

    Args:
        beta: decay per step, 0..1, a number, one per unit or a Parameter. Give ``beta`` or ``tau``.
        tau: membrane time constant in seconds (or a Brian2 quantity, as ``dt``), a number, one per unit or a Parameter;
            ``beta = exp(-dt / tau)``.
        dt: seconds per step; default: that of the input.
        threshold: a number, one per unit or a Parameter, dimensionless.
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

    beta: Tensor | None
    tau: Tensor | None
    threshold: Tensor
    start = "rest"
    """The membrane before the first step."""

    def __init__(
        self,
        beta: float | Tensor | None = None,
        tau: float | Tensor | None = None,
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
        self.register_buffer("tau" if tau is None else "beta", None)
        if beta is not None:
            self.hold("beta", constant("LIF", "beta", beta, SHARE, fix="Pass beta=0.9, or tau in seconds."), SHARE)
        if tau is not None:
            self.hold("tau", constant("LIF", "tau", tau, POSITIVE, unit="seconds"), POSITIVE)
        self.hold("threshold", constant("LIF", "threshold", threshold, POSITIVE, fix="Pass threshold=1.0."), POSITIVE)
        self.dt = check_dt("LIF", dt)
        self.reset = one_of("LIF", "reset", reset, RESETS)
        self.refractory = whole("LIF", "refractory", refractory, 0)
        if dynamics is not None and not isinstance(dynamics, Dynamics):
            fix = "Call it: dynamics=ns.neurons.current_based(0.9)."
            raise InputError("LIF", got=f"dynamics={dynamics!r}", expected="dynamics or None", fix=fix)
        if self.refractory and delayed_reset:
            fix = "Let the reset be immediate: a unit that waits cannot be reset."
            raise InputError("LIF", got="refractory with delayed_reset", expected="one of them", fix=fix)
        if recurrent is not None and not isinstance(recurrent, nn.Module):
            fix = "Pass nn.Linear(n, n, bias=False), for example."
            raise InputError("LIF", got=f"recurrent={recurrent!r}", expected="a module or None", fix=fix)
        self.delayed_reset, self.reference = bool(delayed_reset), bool(reference)
        self.dynamics = None if dynamics is None else dynamics.of_its_own()
        self.surrogate = as_surrogate("LIF", surrogate)
        self.recurrent = recurrent

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

    def constants(self, dt: float | None = None) -> dict[str, Tensor]:
        """The values in use of all constants, by the names of the state dict; learned ones with their gradients.

        Args:
            dt: seconds per step, for the decay ``beta`` of a layer with ``tau``; default: the layer's own.

        Example:
            >>> lif = LIF(beta=torch.nn.Parameter(torch.tensor(0.5)), threshold=0.7)
            >>> _ = torch.nn.init.constant_(lif.beta, 1.19)  # a step of an optimizer may leave the range
            >>> {name: round(value.item(), 2) for name, value in lif.constants().items()}
            {'beta': 1.0, 'threshold': 0.7, 'surrogate.alpha': 2.0}
        """
        found, dt = self.values(), check_dt("LIF.constants", dt) or self.dt
        return found if self.tau is None or dt is None else {"beta": decay_of(found["tau"].double(), dt), **found}

    def decay(self, dt: float | None, like: Tensor, units: Sequence[int]) -> Tensor:
        """The decay per step in use of every unit, of another tensor's type and on its device.

        Raises:
            InputError: a time constant without seconds per step.
        """
        if self.tau is None:
            return self.in_use("beta", like, units)
        if dt is None:
            raise InputError("LIF", got="tau without dt", expected="seconds per step", fix="Pass dt=1e-3 to the layer.")
        beta = decay_of(in_range(self.tau, POSITIVE, torch.float64), dt)
        if is_number(beta):
            return like.new_full(units, beta.item())
        return per_unit("LIF", "tau", beta.to(like), units)

    @property
    def learns_constants(self) -> bool:
        """Whether anything but weights learns now."""
        if not torch.is_grad_enabled():
            return False
        own = any(getattr(self, name).requires_grad for name in self.ranges)
        return own or self.surrogate.learns or (self.dynamics is not None and self.dynamics.learns)

    @property
    def structure(self) -> dict[str, Any]:
        """What makes it another kind of neuron, other than numbers."""
        parts = {"reset": self.reset, "delayed_reset": self.delayed_reset, "refractory": self.refractory}
        dynamics = None if self.dynamics is None else self.dynamics.name
        return parts | {
            "decay": "tau" if self.beta is None else "beta",
            "dynamics": dynamics,
            "surrogate": self.surrogate.kind,
            "start": self.start,
        }

    def get_extra_state(self) -> Tensor:
        """Structure and ``dt`` for the state dict: text of JSON, as bytes."""
        text = json.dumps(self.structure | {"dt": self.dt}).encode()
        return torch.tensor(list(text), dtype=torch.uint8, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Take the saved ``dt``; the structure is checked before anything is loaded."""
        saved = _structure_of(state)["dt"]
        self.dt = self.dt if saved is None else saved

    def _check_loaded(self, state_dict: dict[str, Any], prefix: str) -> None:
        saved = state_dict.get(f"{prefix}_extra_state")
        saved = {} if saved is None else _structure_of(saved)
        for name, own in self.structure.items():
            if name in saved and saved[name] != own:
                fix = f"Build the layer with {name}={saved[name]!r}."
                raise InputError("load_state_dict", got=f"{prefix}{name}={saved[name]!r}", expected=repr(own), fix=fix)
        super()._check_loaded(state_dict, prefix)

    def extra_repr(self) -> str:
        decay = f"beta={_brief(self.beta)}" if self.tau is None else f"tau={_brief(self.tau)} s"
        parts = [decay, f"threshold={_brief(self.threshold)}", f"reset={self.reset!r}", self.surrogate.name]
        parts += [] if self.dynamics is None else [self.dynamics.name]
        parts += ["delayed reset"] * self.delayed_reset
        parts += [f"refractory={self.refractory}"] * (self.refractory > 0)
        return ", ".join(parts)

    def __repr__(self) -> str:
        loop = "" if self.recurrent is None else f", recurrent={self.recurrent!r}"
        return f"{type(self).__name__}({self.extra_repr()}{loop})"


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


class HalfCharged(LIF):
    """Integrate-and-fire neurons that start at half of their threshold: their spike count is a rounded mean current.

    For a constant current x, ``count = clip(floor(T x / threshold + 1/2), 0, T)`` after T steps. The start lies 2^-20
    thresholds above the half, so that a membrane that reaches the threshold exactly fires.

    Args:
        settings: those of :class:`LIF` but ``beta`` and ``tau``.

    Example:
        >>> import torch
        >>> current = torch.tensor([0.1, 0.125, 0.6, 2.0]).expand(4, 1, 4)
        >>> HalfCharged()(current).counts().tolist()  # 0.4, 0.5, 2.4 and 8 thresholds in four steps
        [[0.0, 1.0, 2.0, 4.0]]

    Source: Bu et al. 2022, "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural
    networks", theorem 2.
    """

    start = "half of the threshold"

    def __init__(self, **settings):
        super().__init__(beta=1.0, **settings)

    def run(
        self, current: Tensor | EventTensor, state: LIFState | None = None, *, detach: bool = True
    ) -> tuple[EventTensor, LIFState]:
        return super().run(current, _half_charge(self, current) if state is None else state, detach=detach)

    def trace(self, current: Tensor | EventTensor, state: LIFState | None = None) -> Trace:
        return super().trace(current, _half_charge(self, current) if state is None else state)


@operation(lambda *_: ())  # a constant
def _half_charge(neurons: HalfCharged, current: Tensor | EventTensor) -> LIFState:
    like = floating(dense_of(current)[:0], neurons)
    threshold = neurons.in_use("threshold", like, current.shape[2:])
    return LIFState(((0.5 + 2**-20) * threshold).expand(current.shape[1:]).clone())


def refuse_start(where: str, lif: LIF) -> None:
    """Refuse neurons that do not start from rest, for a format that holds no initial membrane.

    Raises:
        InputError: such neurons.
    """
    if lif.start != "rest":
        fix = "Write IF neurons, whose rates are the same up to half a spike."
        raise InputError(where, got=f"{type(lif).__name__}, start at {lif.start}", expected="start from rest", fix=fix)


def _structure_of(state: Tensor) -> dict[str, Any]:
    return json.loads(bytes(state.tolist()))


def _brief(value: Tensor | None) -> str:
    return "None" if value is None else f"{value.item():g}" if not value.ndim else f"tensor{tuple(value.shape)}"
