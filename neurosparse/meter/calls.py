"""Calls of the modules of a recorded model: which tensors are samples, and which outputs are declared to be spikes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from types import GeneratorType
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timing import timing_of
from neurosparse.meter.bits import declared_bits
from neurosparse.meter.declared import kind_of_spikes
from neurosparse.meter.meter import Meter
from neurosparse.meter.modules import ModuleCall, in_backward, layer_of_parameter
from neurosparse.meter.provenance import Facts, shape_of, storages_of, tensors_in
from neurosparse.meter.tally import EVENTS
from neurosparse.meter.values import SPIKES, Kind
from neurosparse.meter.weights import RowWeights

__all__ = ["ModelCalls"]

APART = "a call outside of the model's own"


class ModelCalls:
    """Hooks of a recorded model.

    Args:
        meter: counts what the modules compute.
        model: the recorded module.
        modules: its modules by name, those in plain lists included.
        spiking: states per unit of the modules whose outputs are declared to be spikes, by name; ``"input"`` is the
            model's own input.
        constant: names of the modules whose first input is the same at every step; ``"input"`` is the model's own.
        axis: axis of the batch in the model's first input; None: 1 for events, otherwise 0; ``"none"``: no batch.
    """

    def __init__(
        self,
        meter: Meter,
        model: nn.Module,
        modules: Mapping[str, nn.Module],
        spiking: Mapping[str, int],
        constant: frozenset[str],
        axis: int | str | None,
    ):
        self.meter, self.model, self.axis = meter, model, axis
        self.modules, self.spiking, self.constant = modules, spiking, constant
        self.parameters = {name for name, _ in model.named_parameters()}  # others are made as the model runs
        self.called: set[str] = set()
        # Parts that were called on their own, and those that are running so.
        self.apart, self._apart = Counter[str](), list[str]()
        self._lent: tuple[Tensor, Facts] | None = None  # a parameter that is the input of the running call
        self.scales: dict[str, float] = {}  # of neurons that send spikes times a constant

    def register(self, stack: ExitStack) -> None:
        """Register the hooks; the stack removes them."""
        for name, module in self.modules.items():
            parts = module.named_children()
            leaf = all(n == "parametrizations" or getattr(c, "part_of_a_layer", False) for n, c in parts)
            states, root = self.spiking.get(name, 0), module is self.model
            call = ModuleCall(module, name or "model", leaf, states, root, declared_bits(module))
            if isinstance(module, torch.jit.ScriptModule):
                self._wrap(call, stack)
                continue
            handles = [
                module.register_forward_pre_hook(self._before(call), prepend=True, with_kwargs=True),
                module.register_forward_hook(self._after(call), always_call=True),
            ]
            for handle in handles:
                stack.callback(handle.remove)
            if states:
                self._wrap(call, stack)

    def _before(self, call: ModuleCall) -> Callable[..., None]:
        def before(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            if module is call.module:  # a copy of the model has copies of its hooks
                self.enter(call, args, kwargs)

        return before

    def _after(self, call: ModuleCall) -> Callable[..., None]:
        return lambda module, args, output: self._left(call, output) if module is call.module else None

    def _left(self, call: ModuleCall, output: Any) -> Any:
        """What a module that returns hands on."""
        self.leave(call, output)
        return self._resumed(call, output) if isinstance(output, GeneratorType) else output

    def _resumed(self, call: ModuleCall, values: Generator) -> Generator:
        """A generator that a module returned: while its values are computed, the module is running."""
        sent = None
        while True:
            self.meter.modules.push(call)
            try:
                made = values.send(sent)
            except StopIteration as stop:
                return stop.value
            finally:
                self.meter.modules.pop()
            sent = yield made

    def _wrap(self, call: ModuleCall, stack: ExitStack) -> None:
        """Record calls of ``module.forward`` itself, which run no hooks."""
        forward = call.module.forward

        def recorded(*args: Any, **kwargs: Any) -> Any:
            running = self.meter.modules.calls
            if running and running[-1].module is call.module:
                return forward(*args, **kwargs)
            self.enter(call, args, kwargs)
            output = None
            try:
                output = forward(*args, **kwargs)
            finally:
                output = self._left(call, output)
            return output

        own = "forward" in vars(call.module)
        object.__setattr__(call.module, "forward", recorded)
        stack.callback(object.__setattr__, call.module, "forward", forward) if own else stack.callback(
            object.__delattr__, call.module, "forward"
        )

    def enter(self, call: ModuleCall, args: tuple, kwargs: dict[str, Any]) -> None:
        """A module is called with these arguments."""
        meter, outermost = self.meter, not self.meter.modules.calls
        again = outermost and in_backward()  # a checkpoint computes a part of the forward pass again
        if outermost and not call.root and not again:
            self._apart.append(call.name)  # a part of the model on its own is not the recorded model
            return
        meter.modules.push(call)
        self.called.add(call.name)
        constant = call.name in self.constant
        if not (outermost or constant or any(isinstance(x, EVENTS) for x in (*args, *kwargs.values()))):
            return
        inputs = tensors_in((args, kwargs), *EVENTS)
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
            meter.note_parts(inputs)
            for events in inputs:  # the dense form of spikes is spikes
                if isinstance(events, EventTensor) and events.is_dense and events.binary:
                    meter.known.change(events.dense(), kind=SPIKES)
            if outermost and not again:
                self._begin(inputs)
            if constant and inputs and isinstance(inputs[0], Tensor):
                meter.known.change(inputs[0], repeats=True)

    def _begin(self, inputs: list[Any]) -> None:
        """Start one call of the model: its first input gives the number of samples; inputs of that size are signals."""
        meter, tape = self.meter, self.meter.tape
        meter.charges.layouts.begin()
        meter.charges.layouts.note(inputs)
        if not inputs:  # one sample, of a model that makes its own input
            tape.begin(1)
            return
        first = next((part for part in inputs if len(shape_of(part))), inputs[0])
        shape = shape_of(first)
        default = 1 if isinstance(first, EVENTS) or timing_of(first) is not None else 0
        axis = default if self.axis is None else self.axis
        if isinstance(axis, str) or not len(shape):
            tape.begin(1)
        elif axis >= len(shape):
            fix = "Pass samples=, the axis of the batch in the model's first input."
            got = f"a first input of shape {shape}"
            raise InputError("record", got=got, expected=f"an axis {axis} for the samples", fix=fix)
        else:
            tape.begin(shape[axis], shape[0] if axis == 1 else None)
        vector = self.axis is None and isinstance(first, Tensor) and first.dim() == 1
        meter.charges.guessed = first.untyped_storage()._cdata if vector else None
        for part in inputs:
            if not isinstance(part, Tensor):
                continue
            facts = meter.known.of(part)
            size = len(shape_of(part)) > axis and shape_of(part)[axis] if isinstance(axis, int) else tape.batch
            if facts is None:
                meter.known.note(part, Facts("signal" if part is first or size == tape.batch else "constant"))
            elif part is first:  # also where the model holds it, as a cache or a table of embeddings
                self._lent = (part, facts) if facts.layer is not None else None
                meter.known.note(part, facts._replace(origin="signal"))
        if "input" in self.spiking and isinstance(first, Tensor):
            meter.known.change(first, kind=self._checked("input", first))
        if "input" in self.constant and isinstance(first, Tensor):
            meter.known.change(first, repeats=True)

    def leave(self, call: ModuleCall, output: Any) -> None:
        """A module returns; a module that is declared to spike is counted as neurons."""
        meter = self.meter
        if not meter.modules.calls:
            if self._apart:
                self._note_apart(self._apart.pop())
            return
        if call.root and len(meter.modules.calls) == 1:
            with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
                meter.note_returned(output)
        meter.modules.pop()
        if self._lent is not None and not meter.modules.calls:
            meter.known.note(*self._lent)
            self._lent = None
        sent = output if isinstance(output, Tensor) else next(iter(tensors_in(output, *EVENTS)), None)
        if not isinstance(sent, Tensor):
            return  # layers that return events describe their own operations
        if not call.states:
            with torch._C.DisableTorchFunction():
                self._note_sender(call, sent)
                if call.bits.output is not None and meter.known.kind_of(sent).values is None:
                    meter.known.change(sent, kind=Kind(bits=call.bits.output))
            return
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
            kind = self._checked(call.name, sent)
            meter.known.change(sent, kind=kind, producer=call.name)
            spikes = (sent if self.axis == 1 and sent.dim() > 2 else sent[None]).detach() != 0
            spikes = spikes if spikes.dim() > 2 else spikes[..., None]
            events = EventTensor.from_dense(spikes.to(torch.float32), spikes=True)
            work = Operation("neuron", output=events, state_updates=call.states * sent.numel())
            meter.tape.add(call.name, work, phase=meter.modules.phase)

    def _note_apart(self, name: str) -> None:
        """Note the outermost part of the model that was called on its own, which counts only beside a training step."""
        if not self._apart and not (self.meter.backward and self.meter.tape.samples):
            self.apart[name] += 1

    def _note_sender(self, call: ModuleCall, sent: Tensor) -> None:
        """Note a module that returns what it made; what a part of a neuron made, such as its surrogate, is its own."""
        facts = self.meter.known.of(sent)
        made = None if facts is None or call.root else facts.producer
        if made is None or not (made == call.name or made.startswith(call.name + ".")):
            return
        inner = isinstance(call.module, nn.Sequential) or any(held.dim() > 1 for held in call.module.parameters())
        if made != call.name and not inner:
            self.meter.known.change(sent, producer=call.name)
        if made == call.name or not inner:
            self.meter.charges.tape.senders.add(call.name)

    def _checked(self, name: str, x: Tensor) -> Kind:
        """Kind of a tensor that is declared to be spikes."""
        kind = kind_of_spikes(x)
        size = max(kind.values or (0.0,)) if kind is not None and bool(x.any()) else 0.0
        if kind is None or (size and self.scales.setdefault(name, size) != size):
            fix = f"Remove {name!r} from spiking=; its values are then counted as MACs."
            got = f"values other than 0 and 1 from {name!r}"
            raise InputError("record", got=got, expected="spikes: 0 and 1, signed, or times one constant", fix=fix)
        return kind

    def close(self) -> None:
        """At the end, name the parts of the model that were called on their own beside it, and note idle weights."""
        if self.meter.tape.samples:
            self.meter.tape.uncounted |= {(name, APART): times for name, times in self.apart.items()}
        self._note_idle()

    def _note_idle(self) -> None:
        """Note the weights of modules that were not called and that no operation read, and unread parts of others."""
        tape, seen = self.meter.tape, set[Any]()
        for name, weight in self.model.named_parameters():
            owner = name.rpartition(".")[0].partition(".parametrizations")[0]
            if nn.parameter.is_lazy(weight) or name not in self.parameters:
                continue
            storage = next((held._cdata for held in storages_of(weight)), id(weight))
            values = tape.weights.unread(weight)
            # A layer of a library that was called has read its own parameters, through its kernels.
            layer = type(self.modules.get(owner)).__module__.startswith(("torch.", "neurosparse."))
            called = layer and (owner or "model") in self.called
            if values is None and not called and storage not in self.meter.read:
                values = weight.detach()
            place = (storage, weight.storage_offset() if weight.layout == torch.strided else 0)
            if values is None or not values.numel() or place in seen:
                continue
            seen.add(place)
            held = tape.idle.setdefault(layer_of_parameter(name), RowWeights())
            held.weights += values.numel()
            held.nonzero_weights += values.numel() if values.is_meta else int(torch.count_nonzero(values))
            held.weight_bits = max(held.weight_bits, 8 * weight.element_size())
