"""Operation meter: counts every ATen operator of a running model and charges it to a layer.

Two modes of torch work together. A dispatch mode receives the ATen operators, below every torch function, also those of
compiled and scripted code and of the backward pass. A function mode above it receives the functions of this library
that declare their own cost (``@operation``); operators inside them are not counted again. It also gives operators the
name and the input shape of the torch function that contains them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodWrapperType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neurosparse.meter.cells import Call
from neurosparse.meter.charges import Charges
from neurosparse.meter.costs import MAKES, is_free
from neurosparse.meter.declared import kind_of_spikes, spikes
from neurosparse.meter.event_products import describe_events
from neurosparse.meter.fused import EQUATIONS
from neurosparse.meter.held import Held
from neurosparse.meter.kernel_products import FREE_KERNELS, KERNELS
from neurosparse.meter.modules import RunningModules, in_backward, layer_of_parameter
from neurosparse.meter.operators import OWN, Operator, function_name, function_of, is_ragged, schema_of, sources_of
from neurosparse.meter.outside import HANDS_OUT, NUMBERS, UNWRITTEN, HandedOut
from neurosparse.meter.products import PRODUCTS
from neurosparse.meter.provenance import (
    Facts,
    Provenance,
    apart,
    is_static,
    known_kind,
    of_unknown_signals,
    passed_on,
    storages_of,
    tensors_in,
)
from neurosparse.meter.tally import EVENTS, is_spikes
from neurosparse.meter.tape import Tape
from neurosparse.meter.value_rules import KNOWN, kinds_after
from neurosparse.meter.values import ANY, SPIKES, ZERO_ONE, Kind

__all__ = ["Meter"]

OUTSIDE = "a tensor from outside"
#: Recordings that count an operator at this moment, innermost last: what they compute for that is no operation.
TALLYING: list[Meter] = []


class FunctionMode(TorchFunctionMode):
    """Passes every torch function to the meter."""

    def __init__(self, meter: Meter):
        super().__init__()
        self.meter = meter

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self.meter.on_function(func, types, args, kwargs or {})


class OperatorMode(TorchDispatchMode):
    """Passes every ATen operator to the meter."""

    supports_higher_order_operators = True

    def __init__(self, meter: Meter):
        super().__init__()
        self.meter = meter

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch loads its compiler on the first use, which takes two seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        # Counting reads sizes and storages of tensors, which are functions of torch too.
        with torch._C.DisableTorchFunction():
            return self.meter.on_operator(func, types, args, kwargs or {})


class Meter:
    """Writes every operation of a running model on a tape.

    Args:
        tape: where operations are summed.
        model: the recorded module.
        held: tensors that the model holds without registering them; constants, as its buffers are.
        backward: whether the loss, the backward pass and the optimizer's update are counted too.
    """

    def __init__(self, tape: Tape, model: nn.Module, held: Sequence[Tensor], backward: bool):
        self.tape, self.model, self.backward = tape, model, backward
        layers = {id(x): layer_of_parameter(name.removesuffix("bias")) for name, x in model.named_parameters()}
        self.modules, self.known = RunningModules(backward, layers), Provenance()
        self.charges = Charges(tape, self.modules, self.known)
        self.functions, self.operators = FunctionMode(self), OperatorMode(self)
        self.paused = 0  # above 0 while a function runs that is counted as a whole
        self.read = set[int]()  # storages of parameters that an operator has read
        self.handed_out, self.unwritten = HandedOut(), False  # memory that others may have written into
        self.numbers = False  # whether values that depend on the samples have left torch as numbers
        self.held = Held(model, held, self.known, tape)

    # ---- torch functions

    def on_function(self, func: Callable, types: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run one torch function; those that declare their operations are counted as a whole."""
        if not types and type(func) is MethodWrapperType:
            return func(*args, **kwargs)  # a property of a plain tensor
        describe = getattr(func, "describe", None) or (describe_events(func, args) if types else None)
        if describe is not None:
            return self._declared(func, describe, args, kwargs)
        if any(issubclass(kind, EVENTS) for kind in types):  # other functions act on the dense twins of events
            events = next(x for x in tensors_in((args, kwargs), *EVENTS) if isinstance(x, EVENTS))
            with self.functions:
                return type(events).__torch_function__(func, types, args, kwargs)
        before = self.charges.function
        if before is None and self._counting:
            if types:
                self.charges.layouts.note(args)
            self.charges.function = function_of(func, args)
            if func in NUMBERS and isinstance(args[0], Tensor) and args[0].is_floating_point():
                self.numbers = self.numbers or self.known.role(args[0]) == "signal"
            if func in HANDS_OUT:
                with torch._C._DisableTorchDispatch(), torch.no_grad():
                    self.handed_out.note(args[0])
        try:
            return func(*args, **kwargs)
        finally:
            self.charges.function = before

    def _declared(self, func: Callable, describe: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run a function that declares its operations, and charge these."""
        sources = tensors_in((args, kwargs), *EVENTS)
        given = [x for x in sources if isinstance(x, Tensor)]
        self._note_read(given, [self.known.of(x) for x in given])
        self.charges.layouts.note((args, kwargs))
        self.modules.note_phase(gradients=False)
        self.paused += 1
        try:
            result = func(*args, **kwargs)
        finally:
            self.paused -= 1
        with torch.no_grad(), torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunctionSubclass():
            if self._counting and not self.paused and not (sources and all(map(self.known.is_static, sources))):
                running = self.modules.calls[-1].module if self.modules.calls else None
                layer = self.modules.layer(None if args and args[0] is running else function_name(func))
                for operation in describe(result, *args, **kwargs):
                    self.charges.operation(layer, operation)
            moved = hasattr(func, "moves") and all(is_spikes(source) for source in sources)
            if func is spikes:
                self.known.change(result, kind=kind_of_spikes(result) or ANY)
            # Kernels write through NumPy, which no mode receives: nothing that is known of a new tensor holds.
            for made in apart(tensors_in(result), given):
                static = bool(sources) and all(map(self.known.is_static, sources))
                levels = Kind(bits=getattr(made, "level_bits", None))
                kind = SPIKES if moved and made.dtype.is_floating_point else levels
                self.known.note(made, Facts("parameter" if static else "signal", kind))
            self.note_parts((args, kwargs, result))
            self.charges.layouts.note(result)
        return result

    def note_parts(self, x: Any) -> None:
        """Note the addresses and values of events, which kernels write through NumPy."""
        for events in tensors_in(x, *EVENTS):
            if not isinstance(events, Tensor):
                for part in vars(getattr(events, "events", events)).values():
                    if isinstance(part, Tensor) and self.known.of(part) is None:
                        self.known.note(part, Facts("signal"))

    def on_graph(self, walk: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Walk through autograd's graph; functions that run again there (checkpoints) are received as before."""
        function, self.charges.function = self.charges.function, None
        try:
            if self.functions in _get_current_function_mode_stack():
                return walk(*args, **kwargs)
            with self.functions:
                return walk(*args, **kwargs)
        finally:
            self.charges.function = function

    # ---- ATen operators

    def on_operator(self, func: Any, types: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run one ATen operator and count it."""
        if TALLYING and TALLYING[-1] is not self:
            return func(*args, **kwargs)  # another recording counts
        if not isinstance(func, torch._ops.OpOverload):
            return self._higher_order(func, args, kwargs)
        if any(kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl for kind in types):
            if any(issubclass(kind, FakeTensor) for kind in types):
                return func(*args, **kwargs)  # shapes alone
            return NotImplemented  # a tensor made of tensors: the operators on its parts are counted
        about = schema_of(func)
        if about.composite and not is_ragged(args):
            with self.operators:
                return func.decompose(*args, **kwargs)
        sources, self.charges.product = sources_of(args, kwargs), None
        before = [self.known.of(source) for source in sources]
        if self.backward:
            self._note_phase(sources, before)
        result = func(*args, **kwargs)
        counted = self._counting and not self.paused
        if counted and None in before:
            before = [facts or self._outside(about.name, x) for facts, x in zip(before, sources, strict=True)]
        if about.is_view:
            if func is torch.ops.aten.view.dtype:  # other values in the same storage
                self.known.change(args[0], kind=ANY)
            return result
        if counted and (self.unwritten or self.handed_out):
            before = self._written_outside(about, args, kwargs, sources, before)
        if counted and sources:
            self._note_read(sources, before)
            # What depends on parameters alone is the same for all samples: it is prepared, not computed.
            update = self.modules.phase == "update"
            static = all(
                is_static(x, facts) and not (update and x.dim()) for x, facts in zip(sources, before, strict=True)
            )
            aside = self.held.aside_of(before) if static else self.tape
            if aside is not None:
                self.charges.tape = aside
                TALLYING.append(self)
                try:
                    self._count(func, about.name, args, kwargs, sources, result)
                finally:
                    TALLYING.pop()
                    self.charges.tape = self.tape
        self._follow(func, about, args, kwargs, sources, before, result)
        return result

    def _note_phase(self, sources: list[Tensor], before: Sequence[Facts | None]) -> None:
        """Note the phase of an operator, and the layer of the node that it makes in the backward pass."""
        makes_node = torch.is_grad_enabled() and _graphs(sources)
        self.modules.note_phase(any(facts.gradient for facts in before if facts) and not makes_node)
        if makes_node and in_backward():
            self.modules.mark_gradient()

    def _note_read(self, sources: list[Any], facts: Sequence[Facts | None]) -> None:
        """Note the parameters that were read: those that never are stay idle."""
        for source, known in zip(sources, facts, strict=True):
            if known is not None and known.origin == "parameter" and known.layer is not None:
                self.read.update([region.storage for region in known.roots] or [x._cdata for x in storages_of(source)])

    def _higher_order(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Operators that call functions: a condition by the branch that runs, others by their equation or by name."""
        name = func.name() if callable(getattr(func, "name", None)) else str(func)
        if name == "cond":
            with self.operators:
                return (args[1] if bool(args[0]) else args[2])(*args[3])
        result = func(*args, **kwargs)
        if name in EQUATIONS and self._counting and not self.paused:
            with torch.no_grad(), self.operators:
                EQUATIONS[name](*args, **kwargs)
        else:
            self._name(name)
        for made in tensors_in(result):
            self.known.note(made, Facts("signal"))
        return result

    def _count(self, func: Any, name: str, args: tuple, kwargs: dict, sources: list, result: Any) -> None:
        """Charge one operator to its layer."""
        if name in EQUATIONS:
            with self.operators:
                EQUATIONS[name](*args, **kwargs)
        elif name in PRODUCTS and any(x.is_meta for x in sources):
            self._name(name)  # pairs that are not zero have no number without values
        elif name in PRODUCTS or name in KERNELS:
            self.charges.products(name, args, kwargs)
        elif name in FREE_KERNELS:
            return
        elif func.namespace not in OWN:
            self._name(name)
        elif not is_free(func, args, kwargs):
            self.charges.scalar(func, name, args, kwargs, sources, result)

    def _outside(self, name: str, source: Tensor) -> Facts:
        """Facts of a tensor that no recorded operator has made; one that holds more than a number is named."""
        listed = name == "lift_fresh" and source.untyped_storage().resizable()  # numbers that Python lists
        computed = self.numbers and name == "lift_fresh" and source.is_floating_point()  # perhaps from the samples
        facts = Facts("constant" if (source.dim() == 0 or listed) and not computed else "signal")
        if facts.origin == "signal" and self.modules.calls and source.numel() and source.dim():
            self._name(OUTSIDE)
        self.known.note(source, facts)
        return facts

    def note_returned(self, output: Any) -> None:
        """Name what the model returns if no recorded operator has made it."""
        for x in tensors_in(output):
            while is_functorch_wrapped_tensor(x):  # inside a transform of torch.func
                x = get_unwrapped(x)
            facts = self.known.of(x)
            if x.numel() and (facts is None or facts.unwritten or self.handed_out.has_changed(x)):
                self._name(OUTSIDE)
        for x in tree_leaves(output):
            if isinstance(x, np.ndarray) and not self.handed_out.holds(x):
                self._name(OUTSIDE)

    def _written_outside(
        self, about: Operator, args: tuple, kwargs: dict, sources: list[Tensor], before: Sequence[Facts | None]
    ) -> list[Facts | None]:
        """Facts of the sources; those that something else than a recorded operator has written into are named."""
        if self.paused or about.name in MAKES:
            return list(before)
        written = about.written_in(args, kwargs)
        found = []
        for source, facts in zip(sources, before, strict=True):
            read = source.numel() and not any(source is x for x in written)
            with torch._C._DisableTorchDispatch(), torch.no_grad():
                foreign = read and ((facts and facts.unwritten) or self.handed_out.has_changed(source))
            if foreign:
                self._name(OUTSIDE)
                self.known.note(source, Facts("signal"))
            found.append(Facts("signal") if foreign else facts)
        return found

    def _name(self, function: str) -> None:
        """Note a function whose operations are not known."""
        if self._counting and not self.paused:
            self.charges.tape.add_uncounted(self.modules.layer(None), function)

    # ---- provenance

    def _follow(
        self,
        func: Any,
        about: Operator,
        args: tuple,
        kwargs: dict[str, Any],
        sources: list[Tensor],
        before: Sequence[Facts | None],
        result: Any,
    ) -> None:
        """Note the facts of what an operator made, and of what it wrote into."""
        written = about.written_in(args, kwargs)
        made = apart(tensors_in(result), sources)
        results = made or written
        if not results:
            return
        if about.name in COMPARISONS and self.modules.in_neuron:
            kinds = [SPIKES] * len(results)  # a neuron's comparison with its threshold gives its spikes
        elif about.name not in KNOWN and of_unknown_signals(before):
            kinds = [ZERO_ONE if x.dtype == torch.bool else ANY for x in results]
        else:
            held = dict(zip(map(id, sources), before, strict=True))
            call = Call(func, about.name, args, kwargs, result)
            kinds = kinds_after(call, lambda x: known_kind(held.get(id(x))), len(results))
        facts = self.known.combined(sources, before)
        running = self.modules.calls[-1].name if self.modules.calls else None
        repeats, producer = passed_on(before, is_free(func, args, kwargs), running)
        facts = Facts(*facts[:5], repeats, producer, self.charges.product, facts.buffers, self._makes_gradients)
        if about.name in UNWRITTEN and not self.paused:
            self.unwritten, facts = True, facts._replace(unwritten=True)
        for x, kind in zip(made, kinds, strict=False):
            if kind is ANY and facts.layout is None:
                self.known.note(x, facts)
                continue
            layout = facts.layout if facts.layout is not None and facts.layout.fits(x) else None
            self.known.note(x, facts._replace(kind=kind, layout=layout))
        for x, kind in zip(written, [ANY] * len(written) if made else kinds, strict=True):
            self._write(x, facts._replace(kind=kind))

    @property
    def _makes_gradients(self) -> bool:
        """Whether what is made now is a gradient that no further one depends on, or computed from such gradients."""
        phase, ended = self.modules.phase, not torch.is_grad_enabled()
        return self.backward and not self.modules.calls and (phase == "update" or (phase == "backward" and ended))

    def _write(self, x: Tensor, facts: Facts) -> None:
        """Note what was written; a parameter that is updated remains a parameter."""
        if self.handed_out:
            self.handed_out.written(x)
        held = self.known.of(x)
        if held is None or not held.learned or (self.modules.calls and self.modules.phase != "update"):
            self.known.written(x, facts)

    # ---- where an operation is charged

    @property
    def _counting(self) -> bool:
        """Whether the current code is a part of what is counted."""
        return bool(self.modules.calls) or self.backward


#: Operators whose results are the spikes of a neuron that compares its membrane with a threshold.
COMPARISONS = frozenset(("eq", "ge", "gt", "heaviside", "le", "logical_and", "logical_or", "lt", "ne"))


def _graphs(sources: list[Tensor]) -> bool:
    """Whether autograd follows any of them."""
    return any(source.requires_grad for source in sources)
