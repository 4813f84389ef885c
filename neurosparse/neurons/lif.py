"""Leaky integrate-and-fire: dynamics x reset x surrogate, the whole sequence at once, no hidden state."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, Timing, operation, timing_of
from neurosparse.events.timing import check_dt
from neurosparse.kernels.leaky_scan import RESETS, leaky_scan, refuse_nan, scan_reference
from neurosparse.neurons.surrogate import Surrogate, atan

__all__ = ["LIF", "LIFState", "Trace"]


class LIFState(NamedTuple):
    """What a LIF layer carries from one chunk of time to the next, detached.

    Membrane after reset ``(samples, *units)``; the last spikes where the layer is recurrent, else None.
    """

    membrane: Tensor
    spikes: Tensor | None = None


class Trace(NamedTuple):
    """Events, the membrane before reset ``(steps, samples, *units)`` and the state at the end."""

    events: EventTensor
    membrane: Tensor
    state: LIFState


class LIF(nn.Module):
    r"""Leaky integrate-and-fire neurons.

    ``u[t] = beta v[t-1] + I[t] (+ R s[t-1]);  s[t] = [u[t] > threshold]``, then the reset: ``v = u - threshold s``
    ("subtract"), ``v = u (1 - s)`` ("zero") or ``v = u`` ("none"). The surrogate stands for ds/du; the reset is a
    constant for the gradient. State is fresh on every call: there is nothing to reset and nothing hidden.

    Args:
        beta: decay per step, 0..1, a number or one per unit; a Parameter is trained. Give ``beta`` or ``tau``.
        tau: membrane time constant in seconds, ``beta = exp(-dt / tau)``.
        dt: seconds per step; default: that of the input.
        threshold: a number or one per unit, dimensionless.
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        surrogate: ``ns.atan()``, ``ns.fast_sigmoid()``, ``ns.triangle()`` or ``ns.boxcar()``.
        recurrent: a module from spikes ``(samples, *units)`` to current, for example ``nn.Linear(n, n, bias=False)``.
        reference: run the plain-torch law instead of the fused scan.

    Returns:
        ``lif(current) -> EventTensor`` for current ``(steps, samples, *units)``, dense or events;
        ``lif.run(current, state) -> (EventTensor, LIFState)``; ``lif.trace(current, state) -> Trace``.

    Raises:
        InputError: beta outside 0..1, neither or both of beta and tau, unknown reset, NaN currents, a state of
            another shape, a ``dt`` that contradicts the input's.

    Example:
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
        surrogate: Surrogate | None = None,
        recurrent: nn.Module | None = None,
        *,
        reference: bool = False,
    ):
        super().__init__()
        if (beta is None) == (tau is None):
            raise InputError("LIF", got=f"beta={beta}, tau={tau}", expected="one of them", fix="Pass beta=0.9.")
        _check_number("beta", beta, 0, 1, "Pass beta=0.9, or tau in seconds.")
        _check_number("threshold", threshold, 0, math.inf, "Pass threshold=1.0.")
        if tau is not None and not tau > 0:
            raise InputError("LIF", got=f"tau={tau}", expected="a time constant in seconds, tau > 0")
        if reset not in RESETS:
            raise InputError("LIF", got=f"reset={reset!r}", expected=" or ".join(map(repr, RESETS)))
        if surrogate is not None and not isinstance(surrogate, Surrogate):
            fix = "Call it: surrogate=ns.atan()."
            raise InputError("LIF", got=f"surrogate={surrogate!r}", expected="a surrogate", fix=fix)
        self.tau, self.dt, self.reset, self.reference = tau, check_dt("LIF", dt), reset, reference
        self.surrogate = surrogate or atan()
        self.recurrent = recurrent
        self.beta = _hold(self, "beta", beta)
        self.threshold = _hold(self, "threshold", threshold)

    def forward(self, current: Tensor | EventTensor) -> EventTensor:
        """Spikes for a whole sequence of currents, from rest."""
        return self.run(current)[0]

    def run(self, current: Tensor | EventTensor, state: LIFState | None = None) -> tuple[EventTensor, LIFState]:
        """The same with an explicit, detached carry between chunks of time."""
        return _run(self, current, state)

    def trace(self, current: Tensor | EventTensor, state: LIFState | None = None) -> Trace:
        """Events with the membrane before reset, which carries gradients (plain-torch law)."""
        return _trace(self, current, state)

    def extra_repr(self) -> str:
        decay = f"tau={self.tau:g} s" if self.tau is not None else f"beta={_brief(self.beta)}"
        return f"{decay}, threshold={_brief(self.threshold)}, reset={self.reset!r}, surrogate={self.surrogate.name}"


def _check_number(name: str, value: float | Tensor | None, low: float, high: float, fix: str) -> None:
    if value is None:
        return
    good = isinstance(value, int | float | Tensor) and not isinstance(value, bool)
    good = good and bool(((torch.as_tensor(value) >= low) & (torch.as_tensor(value) <= high)).all())
    if not good or (name == "threshold" and bool((torch.as_tensor(value) == 0).any())):
        expected = f"{low} <= {name} <= {high}" if high < math.inf else f"{name} > {low}"
        raise InputError("LIF", got=f"{name}={value!r}", expected=expected, fix=fix)


def _hold(module: nn.Module, name: str, value: float | Tensor | None) -> float | Tensor | None:
    """Tensors follow the module to its device and into its state_dict; numbers stay numbers."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        module.register_buffer(name, value)
    return value


def _brief(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else f"tensor{tuple(value.shape)}"  # type: ignore[attr-defined]


def _work(result: tuple[EventTensor, LIFState] | Trace, lif: LIF, *_: object) -> list[Operation]:
    """One state read, decayed and written per unit and step; recurrent spikes travel through the recurrent weights."""
    events = result[0]
    cells = events.n_rows * events.n_units
    work = [Operation("neuron", output=events, state_updates=cells)]
    weight = getattr(lif.recurrent, "weight", None)
    if weight is not None and events.shape[0] > 1:
        bias = getattr(lif.recurrent, "bias", None) is not None
        work.append(Operation("linear", input=events.steps(0, events.shape[0] - 1), weight=weight, bias=bias))
    return work


@operation(_work)
def _run(lif: LIF, current: Tensor | EventTensor, state: LIFState | None) -> tuple[EventTensor, LIFState]:
    drive, timing = _drive(lif, current)
    trains = any(isinstance(p, Tensor) and p.requires_grad for p in (lif.beta, lif.threshold))
    if lif.reference or trains or lif.recurrent is not None or drive.device.type != "cpu" or not _fits(drive):
        events, _, state = _reference(lif, drive, timing, state)
        return events, state
    shape = drive.shape
    flat = drive.flatten(2)
    beta, threshold = (p.detach().reshape(-1).contiguous() for p in _decay(lif, timing, drive))
    start = _start(drive, state).membrane.flatten(1)
    lengths = torch.full((shape[1],), shape[0]) if timing.lengths is None else timing.lengths
    row_ptr, index, carrier, last = leaky_scan(
        flat, beta, threshold, start, lif.reset, lif.surrogate.derivative, lengths
    )
    carrier = None if carrier is None else carrier.view(shape)
    events = EventTensor(shape, timing, drive.dtype, binary=True, row_ptr=row_ptr, index=index, carrier=carrier)
    return events, LIFState(last.view(shape[1:]))


@operation(_work)
def _trace(lif: LIF, current: Tensor | EventTensor, state: LIFState | None) -> Trace:
    drive, timing = _drive(lif, current)
    return _reference(lif, drive, timing, state)


def _reference(lif: LIF, drive: Tensor, timing: Timing, state: LIFState | None) -> Trace:
    start = _start(drive, state)
    beta, threshold = _decay(lif, timing, drive)
    lengths = timing.lengths
    if lengths is not None:
        lengths = lengths.view(-1, *[1] * (drive.dim() - 3))
    spikes, membrane, last = scan_reference(
        drive,
        beta,
        threshold,
        start.membrane,
        lif.reset,
        lif.surrogate.derivative,
        lengths=lengths,
        recurrent=lif.recurrent,
        start_spikes=start.spikes,
    )
    refuse_nan(last)
    events = EventTensor(drive.shape, timing, drive.dtype, binary=True, dense=spikes)
    sent = start.spikes if len(spikes) == 0 else spikes[-1].detach()
    return Trace(events, membrane, LIFState(last.detach(), None if lif.recurrent is None else sent))


def _fits(drive: Tensor) -> bool:
    return drive.dtype in (torch.float32, torch.float64)


def _drive(lif: LIF, current: Tensor | EventTensor) -> tuple[Tensor, Timing]:
    """The dense current and the timing of the spikes it makes."""
    if not isinstance(current, Tensor | EventTensor):
        got, fix = f"current of type {type(current).__name__}", "Use torch.as_tensor(current)."
        raise InputError("LIF", got=got, expected="a tensor or an EventTensor", fix=fix)
    if len(current.shape) < 3:
        fix = "Time comes first: (25, 128, 784), not (128, 784)."
        raise InputError(
            "LIF", got=f"current of shape {tuple(current.shape)}", expected="(steps, samples, *units)", fix=fix
        )
    timing = timing_of(current) or Timing()
    if lif.dt is not None and timing.dt is not None and not math.isclose(lif.dt, timing.dt, rel_tol=1e-9):
        fix = "Build the layer without dt, or bin the input."
        raise InputError("LIF", got=f"dt={timing.dt:g} from the input", expected=f"this layer's dt={lif.dt:g}", fix=fix)
    drive = current.dense() if isinstance(current, EventTensor) else current
    if not drive.is_floating_point():
        drive = drive.to(torch.get_default_dtype())
    return drive, timing.with_(dt=lif.dt if timing.dt is None else timing.dt)


def _decay(lif: LIF, timing: Timing, drive: Tensor) -> tuple[Tensor, Tensor]:
    """Decay per step and threshold of every unit, in the current's dtype and on its device."""
    beta = lif.beta
    if lif.tau is not None:
        if timing.dt is None:
            raise InputError("LIF", got="tau without dt", expected="seconds per step", fix="Pass dt=1e-3 to the layer.")
        beta = math.exp(-timing.dt / lif.tau)
    units = drive.shape[2:]
    parts = [torch.as_tensor(part, dtype=drive.dtype, device=drive.device) for part in (beta, lif.threshold)]
    for part in parts:
        if part.dim() > len(units) or any(n not in (1, m) for n, m in zip(part.shape[::-1], units[::-1], strict=False)):
            got = f"beta or threshold of shape {tuple(part.shape)}"
            raise InputError("LIF", got=got, expected=f"a number or one per unit {tuple(units)}")
    return parts[0].expand(units), parts[1].expand(units)


def _start(drive: Tensor, state: LIFState | None) -> LIFState:
    if state is None:
        rest = drive.new_zeros(drive.shape[1:])
        return LIFState(rest, rest)
    spikes = torch.zeros_like(state.membrane) if state.spikes is None else state.spikes
    for part in (state.membrane, spikes):
        if part.shape != drive.shape[1:]:
            got, fix = f"a state of shape {tuple(part.shape)}", "Start a new batch with state=None."
            raise InputError("LIF.run", got=got, expected=f"(samples, *units) = {tuple(drive.shape[1:])}", fix=fix)
    return LIFState(state.membrane.detach().to(drive.dtype), spikes.detach().to(drive.dtype))
