"""Running a layer of neurons: the fused scan where it applies, else the reference in plain torch."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, Timing, dense_of, leak_of, operation, timing_of, with_timing
from neurosparse.events.functions import suits_events
from neurosparse.events.operation import Leak, worst_leak
from neurosparse.events.state import refuse_state
from neurosparse.events.timing import refuse_chunk
from neurosparse.kernels.dispatch import by_reference
from neurosparse.kernels.scan.cpu import Cell, Spikes, dense_spikes, leaky_scan
from neurosparse.kernels.scan.fused_linear import spiking_linear
from neurosparse.kernels.scan.reference import LIFState, refuse_nan, scan_reference
from neurosparse.neurons.constants import floating, per_unit
from neurosparse.neurons.dynamics import Dynamics, adaptation_step, synaptic_step
from neurosparse.neurons.surrogate import Surrogate

UNKNOWN = Timing()  # of a tensor that came out of no events
SMALL = 2**16  # units of all samples in one step, for which torch's operations cost less than a kernel and its events

__all__ = ["Neurons", "Trace", "fits_linear", "hooked", "run", "run_linear", "trace"]


# Imported here and not where it is used: torch.compile cannot trace an import.
HAS_TRITON = torch.version.cuda is not None and importlib.util.find_spec("triton") is not None
if HAS_TRITON:
    from neurosparse.kernels.scan.triton import leaky_scan_dense


class Neurons(Protocol):
    """What a scan reads of a layer: the settings of :class:`neurosparse.neurons.LIF`."""

    dt: float | None
    reset: str
    delayed_reset: bool
    refractory: int
    surrogate: Surrogate
    recurrent: nn.Module | None
    dynamics: Dynamics | None
    reference: bool

    def number(self, name: str, dtype: torch.dtype) -> float | None: ...

    @property
    def learns_constants(self) -> bool: ...

    def in_use(self, name: str, like: Tensor | None = None, units: Sequence[int] | None = None) -> Tensor: ...

    def decay(self, dt: float | None, like: Tensor, units: Sequence[int]) -> Tensor: ...


class Trace(NamedTuple):
    """Events, the membrane before reset ``(steps, samples, *units)`` and the state at the end."""

    events: EventTensor
    membrane: Tensor
    state: LIFState


def _work(result: tuple[EventTensor, LIFState] | Trace, lif: Neurons, *_: object) -> list[Operation]:
    """States read, decayed and written per unit and step; recurrent spikes travel through the recurrent weights."""
    events = result[0]
    states = 1 + (0 if lif.dynamics is None else len(lif.dynamics.hidden)) + (lif.refractory > 0)
    work = [
        Operation(
            "neuron",
            output=events,
            state_updates=states * events.n_rows * events.n_units,
            leak=_leak(lif, events),
        )
    ]
    weight = getattr(lif.recurrent, "weight", None)
    if weight is not None and events.shape[0] > 1:
        bias = getattr(lif.recurrent, "bias", None) is not None
        work.append(Operation("linear", input=events.steps(0, events.shape[0] - 1), weight=weight, bias=bias))
    return work


def _leak(lif: Neurons, events: EventTensor) -> Leak | None:
    """Arithmetic of the decays in use; the counter of a refractory period takes an addition per update."""
    like, units = torch.empty(0, dtype=events.dtype), events.shape[2:]
    decays = [lif.decay(events.dt, like, units)]
    if lif.dynamics is not None and lif.dynamics.step not in (synaptic_step, adaptation_step):
        return None
    if lif.dynamics is not None:
        decays += [lif.dynamics.in_use(name, like, units) for name in lif.dynamics.ranges]
    return worst_leak(leak_of(*decays), "shift" if lif.refractory else "none")


@operation(_work)
def run(
    lif: Neurons, current: Tensor | EventTensor, state: LIFState | None, detach: bool
) -> tuple[EventTensor, LIFState]:
    """Spikes and the state to carry on with."""
    drive, timing = _drive(lif, current)
    if _is_small_step(lif, drive, timing):
        return _one_step(lif, drive, timing, _start(lif, drive, state).membrane)
    fits = _fits(lif, drive.dtype, drive.device, drive.shape[2:]) and not by_reference(drive)
    if not (fits and (detach or not torch.is_grad_enabled()) and not _learns_start(state)):
        events, _, state = _reference(lif, drive, timing, state)
        return events, _detached(state) if detach else state
    cell = _cell(lif, drive, timing, _start(lif, drive, state))
    if drive.device.type != "cpu":
        return _run_dense(lif, drive, timing, cell)

    def slope(distance: Tensor) -> Tensor:  # a surrogate's constants have the axes of the units
        return lif.surrogate.derivative(distance.view(drive.shape)).reshape(distance.shape)

    return _events(lif, leaky_scan(drive.flatten(2), cell, slope), drive.shape, timing, cell)


def _is_small_step(lif: Neurons, drive: Tensor, timing: Timing) -> bool:
    """One step of few plain units, without a graph: torch's own operations take less time than a call of a kernel."""
    if len(drive) != 1 or drive.numel() > SMALL or timing.lengths is not None:
        return False
    if drive.device.type != "cpu" or drive.dtype not in (torch.float32, torch.float64):
        return False
    if lif.recurrent is not None or lif.dynamics is not None or lif.refractory or lif.reference:
        return False
    if torch.is_grad_enabled() and (drive.requires_grad or lif.learns_constants):
        return False
    return not (lif.delayed_reset and lif.reset == "zero") and not (
        torch.compiler.is_compiling() or by_reference(drive)
    )


def _one_step(lif: Neurons, drive: Tensor, timing: Timing, membrane: Tensor) -> tuple[EventTensor, LIFState]:
    """The reference of one step, in as few operations as there are."""
    beta, threshold = lif.number("beta", drive.dtype), lif.number("threshold", drive.dtype)
    if beta is None or threshold is None:
        beta, threshold = (part.detach() for part in _membrane_constants(lif, timing, drive))
    after = torch.add(drive.detach() if drive.requires_grad else drive, membrane * beta)
    if lif.delayed_reset and lif.reset == "subtract":
        after -= (membrane > threshold).to(drive.dtype) * threshold
    fires = after > threshold
    spikes = fires.to(drive.dtype)
    if not lif.delayed_reset and lif.reset == "subtract":
        after.sub_(spikes, alpha=threshold) if isinstance(threshold, float) else after.sub_(spikes * threshold)
    elif not lif.delayed_reset and lif.reset == "zero":
        after.masked_fill_(fires, 0)
    if not math.isfinite(after.sum()):  # one pass instead of three
        refuse_nan(after)
    return EventTensor(drive.shape, timing, drive.dtype, binary=True, dense=spikes), LIFState(after[0])


def _run_dense(lif: Neurons, drive: Tensor, timing: Timing, cell: Cell) -> tuple[EventTensor, LIFState]:
    """On a GPU: spikes stay dense; events are found when they are read."""
    lengths = drive.new_empty(0, dtype=torch.int64) if timing.lengths is None else timing.lengths.to(drive.device)
    cell = cell._replace(lengths=lengths)
    spikes, last = leaky_scan_dense(drive.flatten(2), cell, lif.surrogate.derivative)
    events = EventTensor(drive.shape, timing, drive.dtype, binary=True, dense=spikes.view(drive.shape))
    return events, LIFState(last.view(drive.shape[1:]))


@operation(_work)
def trace(lif: Neurons, current: Tensor | EventTensor, state: LIFState | None) -> Trace:
    """Spikes with membranes."""
    drive, timing = _drive(lif, current)
    events, membrane, state = _reference(lif, drive, timing, state)
    membrane = membrane if timing_of(current) is None else with_timing(membrane, timing)
    return Trace(events, membrane, _detached(state))


def fits_linear(lif: Neurons, linear: nn.Linear, events: EventTensor, state: LIFState | None = None) -> bool:
    """Whether a linear layer and its neurons can run as one kernel on these events."""
    weight = linear.weight
    known = suits_events(events, weight) and events.value_is_data and not events.constant and events.offset is None
    sized = events.shape[2:] == (linear.in_features,) and 0 not in (*events.shape, linear.out_features)
    typed = events.binary or events.dtype == weight.dtype
    fits = weight.device.type == "cpu" and _fits(lif, weight.dtype, weight.device, (linear.out_features,))
    alike = not (by_reference(weight) or _learns_start(state) or torch.is_autocast_enabled("cpu"))
    return known and sized and typed and fits and alike


def run_linear(
    lif: Neurons, linear: nn.Linear, events: EventTensor, state: LIFState | None
) -> tuple[EventTensor, LIFState]:
    """``lif.run(linear(events), state)`` in one pass; only where :func:`fits_linear`."""
    weight, bias = linear.weight, linear.bias
    shape = (*events.shape[:2], linear.out_features)
    like = weight.new_zeros(()).expand(shape)
    timing = _timing(lif, events)
    cell = _cell(lif, like, timing, _start(lif, like, state))
    parts = (events.row_ptr, events.index, events.value)
    found = spiking_linear(events.carrier, parts, events.support, weight, bias, cell, lif.surrogate.derivative)
    return _events(lif, found, shape, timing, cell)


def _events(
    lif: Neurons, found: Spikes, shape: Sequence[int], timing: Timing, cell: Cell
) -> tuple[EventTensor, LIFState]:
    """The results of a scan as events and a state."""
    row_ptr, index, carrier, support, membrane, hidden, waiting = found
    graph = {} if carrier is None else {"carrier": carrier.view(shape), "support": support}
    events = EventTensor(shape, timing, membrane.dtype, binary=True, row_ptr=row_ptr, index=index, **graph)
    sent, parts, waits = None, (), lif.refractory > 0 or cell.waiting is not None
    if lif.recurrent is not None or lif.dynamics is not None:
        sent = _sent_last(row_ptr, index, cell).view(shape[1:])
    if lif.dynamics is not None:
        parts = (hidden.view(shape[1:]),)
    return events, LIFState(membrane.view(shape[1:]), sent, parts, waiting.long().view(shape[1:]) if waits else None)


def _sent_last(row_ptr: Tensor, index: Tensor, cell: Cell) -> Tensor:
    """The spikes of the last step, dense; those before the first where there is none."""
    samples, units = cell.start.shape
    if row_ptr.numel() <= samples:
        return torch.zeros_like(cell.start) if cell.sent is None else cell.sent
    return dense_spikes(cell.start, row_ptr[-samples - 1 :], index, units)


def _cell(lif: Neurons, drive: Tensor, timing: Timing, start: LIFState) -> Cell:
    """The layer as arguments of the kernels, for a current of this shape and type."""
    units, surrogate = drive.shape[2:], lif.surrogate
    lengths = torch.full((drive.shape[1],), drive.shape[0]) if timing.lengths is None else timing.lengths
    beta, threshold = (part.reshape(-1).contiguous() for part in _membrane_constants(lif, timing, drive))
    size = surrogate.size if drive.device.type != "cpu" else _size(surrogate, drive)
    more: dict[str, Any] = {"refractory": lif.refractory}
    if lif.dynamics is not None:
        adapts = lif.dynamics.step is adaptation_step
        more |= {"dynamics": "adaptive" if adapts else "synaptic", "hidden": start.hidden[0].detach().flatten(1)}
        values = [lif.dynamics.in_use(name, drive, units).reshape(-1) for name in lif.dynamics.ranges]
        more |= dict(zip(("decay", "strength"), values, strict=False))
    if isinstance(lif.recurrent, nn.Linear):
        more |= {"recurrent": lif.recurrent.weight, "recurrent_bias": lif.recurrent.bias}
    if start.spikes is not None:
        more["sent"] = start.spikes.detach().flatten(1)
    if start.waiting is not None:
        more["waiting"] = start.waiting.flatten(1)
    membrane = start.membrane.detach().flatten(1)
    return Cell(beta, threshold, membrane, lengths, lif.reset, lif.delayed_reset, surrogate.shape, size, **more)


def _size(surrogate: Surrogate, drive: Tensor) -> Tensor:
    """The surrogate's constant of every unit; 1 for a function that the kernels do not know."""
    for name in surrogate.ranges if surrogate.shape != "given" else ():
        return surrogate.in_use(name, drive, drive.shape[2:]).reshape(-1)
    return drive.new_ones(math.prod(drive.shape[2:]))


def _fits(lif: Neurons, dtype: torch.dtype, device: torch.device, units: Sequence[int]) -> bool:
    """Whether the fused scan runs these neurons: no own step function and no recurrent module but a linear layer."""
    if lif.reference or dtype not in (torch.float32, torch.float64):
        return False
    if device.type != "cpu":
        return device.type == "cuda" and HAS_TRITON and _is_plain(lif)
    if lif.dynamics is not None and lif.dynamics.step not in (synaptic_step, adaptation_step):
        return False
    if lif.surrogate.shape == "given" and lif.surrogate.learns:
        return False
    return lif.recurrent is None or _returns_linearly(lif.recurrent, dtype, units)


def _is_plain(lif: Neurons) -> bool:
    """What the GPU's scan runs: nothing trained but weights, no recurrence, refractoriness or dynamics."""
    if lif.recurrent is not None or lif.refractory or lif.dynamics is not None or lif.learns_constants:
        return False
    return lif.surrogate.fits_kernels and not (lif.delayed_reset and lif.reset == "zero")


def _returns_linearly(module: nn.Module, dtype: torch.dtype, units: Sequence[int]) -> bool:
    """Whether recurrent spikes pass one linear layer over all units, without hooks or another type.

    The reference multiplies in the type of ``torch.autocast``, the kernel does not.
    """
    if torch.is_autocast_enabled("cpu") or hooked(module):
        return False
    if type(module) is not nn.Linear or (module.in_features, module.out_features) != (*units, *units):
        return False
    return all(p.dtype == dtype and p.device.type == "cpu" for p in module.parameters())


def hooked(module: nn.Module) -> bool:
    """Whether a hook reads what goes into a module, out of it, or back through it."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def _learns_start(state: LIFState | None) -> bool:
    """Whether a gradient flows into the start state, which only the reference computes."""
    if not isinstance(state, LIFState) or not torch.is_grad_enabled():
        return False
    return any(part is not None and part.requires_grad for part in (state.membrane, state.spikes, *state.hidden))


def _reference(lif: Neurons, drive: Tensor, timing: Timing, state: LIFState | None) -> Trace:
    beta, threshold = _membrane_constants(lif, timing, drive)
    for name in lif.surrogate.ranges:
        per_unit("LIF", name, getattr(lif.surrogate, name), drive.shape[2:])
    lengths = timing.lengths
    spikes, membrane, last = scan_reference(
        drive,
        beta,
        threshold,
        _start(lif, drive, state),
        lif.reset,
        lif.surrogate.derivative,
        delayed=lif.delayed_reset,
        refractory=lif.refractory,
        dynamics=_bound(lif, drive),
        lengths=None if lengths is None else lengths.view(-1, *[1] * (drive.dim() - 3)),
        recurrent=lif.recurrent,
        spike=lambda distance, _: lif.surrogate.forward(distance),
    )
    for part in (drive, last.membrane):  # a reset or a refractory step may drop a NaN before the end
        refuse_nan(part)
    events = EventTensor(drive.shape, timing, drive.dtype, binary=True, dense=spikes)
    needs_spikes = lif.recurrent is not None or lif.dynamics is not None
    return Trace(events, membrane, last if needs_spikes else last._replace(spikes=None))


def _bound(lif: Neurons, drive: Tensor):
    """The dynamics' step with the layer's constants."""
    dynamics = lif.dynamics
    if dynamics is None:
        return None
    constants = {name: dynamics.in_use(name, drive, drive.shape[2:]) for name in dynamics.ranges}
    return lambda drive, hidden, sent: dynamics.step(constants, drive, hidden, sent)


def _drive(lif: Neurons, current: Tensor | EventTensor) -> tuple[Tensor, Timing]:
    """The dense current and the timing of the spikes it makes."""
    if not isinstance(current, Tensor | EventTensor):
        got, fix = f"current of type {type(current).__name__}", "Use torch.as_tensor(current)."
        raise InputError("LIF", got=got, expected="a tensor or an EventTensor", fix=fix)
    if len(current.shape) < 3:
        fix = "Time comes first: (25, 128, 784), not (128, 784)."
        got = f"current of shape {tuple(current.shape)}"
        raise InputError("LIF", got=got, expected="(steps, samples, *units)", fix=fix)
    return floating(dense_of(current), lif), _timing(lif, current)


def _timing(lif: Neurons, current: Tensor | EventTensor) -> Timing:
    timing = timing_of(current) or UNKNOWN
    refuse_chunk("LIF.run", timing)  # a call of run or trace in a network's own forward: its state would be lost
    if lif.dt is not None and timing.dt is not None and not math.isclose(lif.dt, timing.dt, rel_tol=1e-9):
        fix = "Build the layer without dt, or bin the input."
        raise InputError("LIF", got=f"dt={timing.dt:g} from the input", expected=f"this layer's dt={lif.dt:g}", fix=fix)
    return timing if lif.dt is None or timing.dt is not None else timing.with_(dt=lif.dt)


def _membrane_constants(lif: Neurons, timing: Timing, drive: Tensor) -> tuple[Tensor, Tensor]:
    """Decay and threshold of every unit, of the current's type and on its device."""
    units = drive.shape[2:]
    return lif.decay(timing.dt, drive, units), lif.in_use("threshold", drive, units)


def _start(lif: Neurons, drive: Tensor, state: LIFState | None) -> LIFState:
    count = 0 if lif.dynamics is None else len(lif.dynamics.hidden)
    if state is None:
        rest = drive.new_zeros(drive.shape[1:])
        return LIFState(rest, None, (rest,) * count)
    if not isinstance(state, LIFState):
        refuse_state("LIF", state, "a LIFState")
    hidden = state.hidden or tuple(torch.zeros_like(state.membrane) for _ in range(count))
    if len(hidden) != count:
        got = f"a state with {len(hidden)} hidden parts"
        raise InputError("LIF.run", got=got, expected=str(count), fix="Carry the state of this very layer.")
    for part in (state.membrane, state.spikes, state.waiting, *hidden):
        if part is not None and part.shape != drive.shape[1:]:
            got, fix = f"a state of shape {tuple(part.shape)}", "Start a new batch with state=None."
            raise InputError("LIF.run", got=got, expected=f"(samples, *units) = {tuple(drive.shape[1:])}", fix=fix)
    spikes = None if state.spikes is None else state.spikes.to(drive.dtype)
    return LIFState(state.membrane.to(drive.dtype), spikes, tuple(h.to(drive.dtype) for h in hidden), state.waiting)


def _detached(state: LIFState) -> LIFState:
    spikes = None if state.spikes is None else state.spikes.detach()
    return LIFState(state.membrane.detach(), spikes, tuple(h.detach() for h in state.hidden), state.waiting)
