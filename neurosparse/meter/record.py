"""Record the operations of any torch module: functions through a torch function mode, layer names through hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError
from neurosparse.meter.meter import Meter, ModuleCall
from neurosparse.meter.tape import Tape

__all__ = ["as_module", "record"]

Spiking = Sequence[type | str] | Mapping[Any, int]


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def as_module(function: Callable[..., Any]) -> nn.Module:
    """A function as a module, for :func:`record`, which records calls of modules.

    Args:
        function: from tensors or events to anything.

    Example:
        >>> import torch
        >>> coder = as_module(lambda x: x @ torch.ones(3, 2))
        >>> with record(coder) as tape:
        ...     _ = coder(torch.ones(5, 3))
        >>> tape.samples
        5
    """
    if not callable(function):
        raise InputError("record", got=f"a {type(function).__name__}", expected="a module or a function")
    return function if isinstance(function, nn.Module) else _Function(function)


def _declared(model: nn.Module, spiking: Spiking) -> dict[str, int]:
    """Modules whose outputs are declared to be spikes, by name, with the number of states per unit."""
    if isinstance(spiking, (str, type)):
        fix = "Pass a list, spiking=[...]."
        raise InputError("record", got=f"spiking={spiking!r}", expected="a sequence or a mapping", fix=fix)
    modules = dict(model.named_modules())
    found: dict[str, int] = {}
    for item in spiking:
        names = {n for n, m in modules.items() if (isinstance(m, item) if isinstance(item, type) else n == item)}
        if not names and item != "input":
            fix = "Pass module classes, full module names or 'input'."
            raise InputError("record", got=f"spiking={item!r}", expected="a module of this model", fix=fix)
        states = whole("record", f"spiking[{item!r}]", spiking[item], 0) if isinstance(spiking, Mapping) else 1
        found |= dict.fromkeys(names, states)
    return found


def _hook(model: nn.Module, meter: Meter, spiking: Spiking, stack: ExitStack) -> None:
    declared = _declared(model, spiking)
    for name, module in model.named_modules():
        leaf = all(n == "parametrizations" or getattr(c, "part_of_a_layer", False) for n, c in module.named_children())
        call = ModuleCall(module, name or "model", leaf, declared.get(name, 0), module is model)

        def enter(_: nn.Module, args: tuple, kwargs: dict[str, Any], call: ModuleCall = call) -> None:
            meter.enter(call, args, kwargs, "input" in spiking)

        def leave(_: nn.Module, args: tuple, output: Any, call: ModuleCall = call) -> None:
            meter.leave(call, output)

        handles = [
            module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
            module.register_forward_hook(leave, always_call=True),
        ]
        for handle in handles:
            stack.callback(handle.remove)


@contextmanager
def record(
    model: nn.Module,
    spiking: Spiking = (),
    calls: str | None = None,
    samples: int | None = None,
    detail: bool = False,
) -> Iterator[Tape]:
    """Record every operation of ``model`` that runs inside the ``with`` block.

    Counted are linear, convolutional (also transposed) and recurrent layers, attention, embeddings, any product of two
    tensors, as modules or as functions; neurons; pooling, norms, comparisons and element-wise operations. Composite
    functions (recurrent layers, attention) are counted through their equations. Views, copies and casts are free, and
    so is what depends on parameters alone (masks, fake quantisation of weights). Everything else is listed in
    ``uncounted``. Not recorded are the backward pass, work outside the call of the model, and code that is not torch,
    such as NumPy.

    Event tensors carry the mark that they are spikes. Spikes in a plain tensor are never recognised by their values:
    declare with ``spiking`` which modules return them. The outputs of declared modules are checked (0 and 1 only) and
    counted as neurons, one state update per output and state. For networks of snnTorch, SpikingJelly and Norse
    ``record(net, **ns.io.snntorch.recording(net))`` contains all declarations.

    Args:
        model: any module; for a function, call and record ``ns.meter.as_module(function)``.
        spiking: module classes or full module names whose (first) output is spikes; as a mapping, with the number of
            states per unit (1 in a sequence); ``"input"`` for the model's own input.
        calls: ``"steps"`` if each call is one time step of the same samples, as in a snnTorch loop; None if each call
            has new samples.
        samples: axis of the batch in the model's first input. Default: 1 for events ``(steps, samples, *units)``,
            otherwise 0.
        detail: also keep the counts by sample and step, see :class:`OperationCounts`.

    Returns:
        A context with the :class:`Tape`. A constant input is charged once: an input that is multiplied again by the
        same weight, unchanged, or an input whose steps are all the same.

    Raises:
        InputError: a function, a declared module that does not exist or does not spike, an unknown ``calls``,
            ``samples`` that is no axis, batches of different sizes as steps.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from neurosparse.meter.count import count
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> with record(net) as tape:
        ...     _ = net(torch.rand(5, 3))
        >>> [(row["layer"], row["kind"], row["dense_ops"]) for row in count(tape).per_sample]
        [('0', 'linear', 12.0), ('1', 'compare', 0.0), ('2', 'linear', 8.0)]
    """
    one_of("record", "calls", calls, (None, "steps"))
    samples = None if samples is None else whole("record", "samples", samples, 0)
    if not isinstance(model, nn.Module):
        fix = "Call and record ns.meter.as_module(function)."
        raise InputError("record", got=type(model).__name__, expected="a torch module", fix=fix)
    tape = Tape(calls, detail)
    meter = Meter(tape, model, samples)
    with ExitStack() as stack:
        _hook(model, meter, spiking, stack)
        stack.enter_context(meter.audit)
        stack.enter_context(meter)
        yield tape
