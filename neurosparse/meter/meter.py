"""Operation meter: a torch function mode that counts every function of a running model and charges it to a layer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from neurosparse.errors import InputError
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timing import timing_of
from neurosparse.meter.equations import EQUATIONS, source_of
from neurosparse.meter.functions import FREE, INDEXED, KEEPS_SPIKES, SCALAR, name_of, scalar_operations
from neurosparse.meter.products import PRODUCTS, Product
from neurosparse.meter.tally import EVENTS, is_spikes, valid_mask
from neurosparse.meter.tape import Tape

__all__ = ["Meter", "ModuleCall"]

#: Products of tensors by torch's names below its functions (ATen operators).
ATEN_PRODUCTS = frozenset(
    """
    _convolution _embedding_bag _scaled_dot_product_flash_attention_for_cpu _sparse_mm addbmm addmm addmv addr baddbmm
    bilinear bmm convolution dot embedding linear matmul mkldnn_rnn_layer mm mv vdot
    """.split()  # noqa: SIM905
)


class ModuleCall(NamedTuple):
    """A module that is running.

    ``leaf``: it has no modules inside; ``states`` per unit, if its outputs are declared to be spikes, else 0; ``root``:
    it is the whole model.
    """

    module: Any
    name: str
    leaf: bool
    states: int
    root: bool


class Audit(TorchDispatchMode):
    """Reports products that no torch function contains, such as those of scripted code, by their ATen name.

    Args:
        active: whether the model runs, outside of any function that is counted.
        report: called with the name of each such product.
    """

    def __init__(self, active: Callable[[], bool], report: Callable[[str], None]):
        super().__init__()
        self.active, self.report = active, report

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch loads its compiler on the first use, which takes two seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ATEN_PRODUCTS and self.active():
            self.report(name)
        return func(*args, **(kwargs or {}))


class Meter(TorchFunctionMode):
    """Writes every torch function of a running model on a tape.

    Args:
        tape: where operations are summed.
        model: the recorded module.
        axis: axis of the batch in the model's first input; None: 1 for events, otherwise 0.
    """

    def __init__(self, tape: Tape, model: nn.Module, axis: int | None):
        super().__init__()
        self.tape, self.axis = tape, axis
        self.stack: list[ModuleCall] = []  # the running modules, outermost first
        self.inside_counted = False  # whether the current code runs inside a function that is counted as a whole
        self.audit = Audit(
            lambda: bool(self.stack) and not self.inside_counted,
            lambda name: tape.add_uncounted(self._layer(name), name),
        )
        # Properties of tensors: whether it is spikes; the layer whose parameters alone it is computed from; the number
        # of valid steps per sample; whether it depends on the samples.
        self.spikes: Any = WeakTensorKeyDictionary()
        self.static: Any = WeakTensorKeyDictionary()
        self.lengths: Any = WeakTensorKeyDictionary()
        self.signals: Any = WeakTensorKeyDictionary()
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self.static[tensor] = _layer_of(name)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if not self.stack:
            return func(*args, **kwargs)
        name = name_of(func, args, kwargs)
        known = name in PRODUCTS or name in EQUATIONS or name in FREE or name in SCALAR or hasattr(func, "describe")
        source = None if known else source_of(func)
        if source is not None:
            with self:
                return source(*args, **kwargs)
        before, self.inside_counted = self.inside_counted, known or not self._in_neuron
        try:
            result = func(*args, **kwargs)
            self.inside_counted = True
            # Counting itself is not audited, and timed tensors are counted by their values.
            with torch.no_grad(), torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunctionSubclass():
                self.observe(name, func, args, kwargs, result)
        finally:
            self.inside_counted = before
        return result

    def observe(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Charge one call to its layer and store the properties of its results."""
        sources, results = _signals((args, kwargs)), _signals(args[0] if name == "setitem" else result)
        describe = getattr(func, "describe", None)
        if describe is None and not (sources and results):
            return  # no input tensor, or no output tensor
        if sources and all(self.is_static(source) for source in sources):
            for made in results:
                self.static[made] = self.static.get(sources[0])
            return
        if name not in FREE and any(isinstance(source, Tensor) and is_batchedtensor(source) for source in sources):
            self.tape.add_uncounted(self._layer(name), name)  # under vmap one call stands for many
        elif describe is not None:
            layer = self._layer(None if args and args[0] is self.stack[-1].module else name)
            for operation in describe(result, *args, **kwargs):
                self._charge(layer, operation)
        elif name in EQUATIONS:
            with self:
                EQUATIONS[name](*args, **kwargs)
        elif name in PRODUCTS:
            self._charge_product(name, args, kwargs, results)
        elif name not in FREE:
            self._charge_scalar(name, args, kwargs, sources[0], results[0])
        self._propagate(name, sources, results)

    def _charge_product(self, name: str, args: tuple, kwargs: dict[str, Any], results: list) -> None:
        product, layer = PRODUCTS[name](self._role, *args, **kwargs), self._layer(name)
        if product is None:
            self.tape.add_uncounted(layer, name)
            return
        source, weight, operation = product
        if operation.kind == "matmul" and self.is_spiking(weight) and not self.is_spiking(source):
            product = Product(weight, source, operation.swapped)
        self._charge(layer, product.operation, product)
        scales = sum(kwargs.get(scale, 1) not in (0, 1) for scale in ("alpha", "beta"))
        if scales:
            elementwise = scales * results[0].numel()
            self.tape.add(layer, Operation("elementwise", elementwise=elementwise), like=results[0])

    def _role(self, x: Any) -> Literal["parameter", "signal", "constant"]:
        if self.is_static(x):
            return "parameter"
        return "signal" if isinstance(x, EVENTS) or x in self.signals else "constant"

    def _charge(self, layer: str, operation: Operation, product: Product | None = None) -> None:
        if operation.weight is None:
            self.tape.add(layer, operation)
            return
        source, weight, _ = product or Product(operation.input, operation.weight, operation)
        layer, key = self.static.get(weight) or layer, None
        if operation.kind != "matmul":
            # A weight and its transpose share a key; the parts of a packed weight have different keys.
            key = (layer, weight.storage_offset() if weight.layout == torch.strided else 0, *sorted(weight.shape))
            if self.tape.seen_before(key, weight, source):
                return
        whole = operation.input is source
        lengths = self.lengths_of(source) if whole else None
        if lengths is not None and operation.equation is not None:
            self.tape.add_uncounted(layer, f"{operation.equation} of a ragged batch")
            return
        constant = whole and self._is_constant(source)
        self.tape.add(layer, operation, key, spikes=self.is_spiking(source), lengths=lengths, constant=constant)

    def _charge_scalar(self, name: str, args: tuple, kwargs: dict, source: Any, result: Any) -> None:
        if self._in_neuron:
            return
        cost = scalar_operations(name, args, kwargs, source, result)
        if cost is None:
            self.tape.add_uncounted(self._layer(name), name)
            return
        column, amount = cost
        lengths = self.lengths_of(source)
        computed = result if SCALAR[name].per in ("output", "window") else source
        if lengths is not None and isinstance(computed, Tensor):  # events hold no padding
            mask = valid_mask(lengths, source.shape[0])
            amount = amount * int(mask.sum()) // mask.numel()
        kind = "compare" if column == "comparisons" else "elementwise"
        counts: dict[str, Any] = {column: amount}
        self.tape.add(self._layer(name), Operation(kind, **counts), like=result, lengths=lengths)

    def _propagate(self, name: str, sources: list, results: list) -> None:
        what = sources[:1] if name in INDEXED else sources
        spikes = name in KEEPS_SPIKES and bool(what) and all(self.is_spiking(source) for source in what)
        timed = next((source for source in sources if self.lengths_of(source) is not None), None)
        lengths = self.lengths_of(timed)
        signal = any(self._role(source) == "signal" for source in sources)
        for result in results:
            if not isinstance(result, Tensor):
                continue
            # After an in-place function the properties of its argument may no longer hold.
            self.static.pop(result, None)
            self.spikes.pop(result, None)
            # A neuron's comparison with the threshold gives its spikes, which it may use (reset) before it returns.
            if spikes or (result.dtype == torch.bool and self._in_neuron):
                self.spikes[result] = True
            if signal:
                self.signals[result] = True
            if timed is not None and result.shape[:2] == timed.shape[:2]:
                self.lengths[result] = lengths

    @property
    def _in_neuron(self) -> bool:
        """Whether a module that is declared to spike is running: only its products are counted one by one."""
        return any(call.states for call in self.stack)

    def is_static(self, x: Any) -> bool:
        """Whether a tensor is a parameter or computed from parameters alone: the same for every sample."""
        return isinstance(x, nn.Parameter) or (isinstance(x, Tensor) and x in self.static)

    def is_spiking(self, x: Any) -> bool:
        return is_spikes(x) or (isinstance(x, Tensor) and x in self.spikes)

    def lengths_of(self, x: Any) -> Tensor | None:
        timing = timing_of(x)
        return timing.lengths if timing is not None else self.lengths.get(x) if isinstance(x, Tensor) else None

    def _is_constant(self, x: Any) -> bool:
        if isinstance(x, EVENTS):
            return getattr(x, "constant", False)
        stepped = self.axis == 1 or timing_of(x) is not None
        return stepped and x.dim() > 2 and x.layout == torch.strided and x.shape[0] > 1 and x.stride(0) == 0

    def _layer(self, function: str | None) -> str:
        """Layer that a function is charged to: the running module if it is a leaf, else ``module.function``."""
        call = self.stack[-1]
        return call.name if call.leaf or function is None else f"{call.name}.{function}"

    # ---- called by the hooks of the modules

    def begin(self, inputs: list[Any]) -> None:
        """Start one call of the model: its first input gives the number of samples; inputs of that size are signals."""
        first = inputs[0]
        default = 1 if isinstance(first, EVENTS) or timing_of(first) is not None else 0
        axis = default if self.axis is None else self.axis
        if axis >= len(first.shape):
            fix = "Pass samples=, the axis of the batch in the model's first input."
            got = f"a first input of shape {tuple(first.shape)}"
            raise InputError("record", got=got, expected=f"an axis {axis} for the samples", fix=fix)
        self.tape.begin(first.shape[axis], first.shape[0] if axis == 1 else None)
        for part in inputs:
            same = axis < len(part.shape) and part.shape[axis] == first.shape[axis]
            if same and isinstance(part, Tensor) and not self.is_static(part):
                self.signals[part] = True

    def enter(self, call: ModuleCall, args: tuple, kwargs: dict[str, Any], spiking_input: bool) -> None:
        """A module is called with these arguments."""
        inputs, outermost = _signals((args, kwargs)), not self.stack
        if outermost and not call.root:
            return  # a part of the model on its own is not the recorded model
        self.stack.append(call)
        with torch._C.DisableTorchFunction():
            for events in inputs:  # the dense form of spikes is spikes
                if isinstance(events, EventTensor) and events.is_dense and events.value is None:
                    self.spikes[events.dense()] = True
            if outermost:
                if not inputs:
                    raise InputError("record", got="a call without tensors", expected="at least one input tensor")
                self.begin(inputs)
                if spiking_input and isinstance(inputs[0], Tensor):
                    _as_spikes("input", inputs[0][None])
                    self.spikes[inputs[0]] = True
        if isinstance(call.module, torch.jit.ScriptModule):
            self.tape.add_uncounted(call.name, "compiled code")

    def leave(self, call: ModuleCall, output: Any) -> None:
        """A module returns; a module that is declared to spike is counted as neurons."""
        if not self.stack:
            return
        self.stack.pop()
        sent = next(iter(_signals(output)), None)
        if not call.states or not isinstance(sent, Tensor):
            return  # layers that return events describe their own operations
        with torch._C.DisableTorchFunction(), torch.no_grad():
            self.spikes[sent] = True
            events = _as_spikes(call.name, sent if self.axis == 1 and sent.dim() > 2 else sent[None])
            self.tape.add(call.name, Operation("neuron", output=events, state_updates=call.states * sent.numel()))


def _layer_of(parameter: str) -> str:
    """Layer of a parameter: ``a.0.weight`` belongs to ``a.0``, also when it is pruned or parametrized."""
    name = re.sub(r"parametrizations\.(\w+)\..*", r"\1", parameter)
    return re.sub(r"(_orig|_mask)$", "", name).removesuffix("weight").removesuffix(".") or "model"


def _signals(x: Any) -> list[Any]:
    return [leaf for leaf in tree_leaves(x) if isinstance(leaf, (Tensor, *EVENTS))]


def _as_spikes(name: str, x: Tensor) -> EventTensor:
    x = x.detach()
    if not bool(((x == 0) | (x == 1)).all()):
        fix = f"Remove {name!r} from spiking=; its values are then counted as MACs."
        raise InputError("record", got=f"values other than 0 and 1 from {name!r}", expected="spikes", fix=fix)
    return EventTensor.from_dense(x if x.dim() > 2 else x[..., None], spikes=True)
