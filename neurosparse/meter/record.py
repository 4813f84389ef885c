"""Watch a model run: operations through a torch function mode, names through hooks; any module, ours or foreign."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from neurosparse.errors import InputError
from neurosparse.meter.meter import Meter, Place
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
    """A function as a module, so that :func:`record` sees where a call begins and what comes in.

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
    return function if isinstance(function, nn.Module) else _Function(function)


def _declared(model: nn.Module, spiking: Spiking) -> dict[str, int]:
    """Names of the modules whose outputs are declared to be spikes, and how many states each of their units has."""
    modules = dict(model.named_modules())
    found: dict[str, int] = {}
    for item in spiking:
        names = {n for n, m in modules.items() if (isinstance(m, item) if isinstance(item, type) else n == item)}
        if not names and item != "input":
            fix = "Pass module classes, full module names or 'input'."
            raise InputError("record", got=f"spiking={item!r}", expected="a module of this model", fix=fix)
        found |= dict.fromkeys(names, spiking[item] if isinstance(spiking, Mapping) else 1)
    return found


def _hook(model: nn.Module, meter: Meter, spiking: Spiking, stack: ExitStack) -> None:
    declared = _declared(model, spiking)
    for name, module in model.named_modules():
        leaf = {child for child, _ in module.named_children()} <= {"parametrizations"}
        place = Place(module, name or "model", leaf, declared.get(name, 0), module is model)

        def enter(_: nn.Module, args: tuple, kwargs: dict[str, Any], place: Place = place) -> None:
            meter.enter(place, args, kwargs, "input" in spiking)

        def leave(_: nn.Module, args: tuple, output: Any, place: Place = place) -> None:
            meter.leave(place, output)

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
    """Write down every operation of ``model`` that runs inside the ``with`` block.

    Counted are linear, convolutional (also transposed) and recurrent layers, attention, embeddings, any product of two
    tensors, as modules or as functions; neurons; pools, norms, comparisons and element-wise operations. Functions that
    hide others inside are taken apart into their equations. Views, copies and casts are free, and so is what depends
    on parameters alone (masks, fake quantisation of weights). Anything else lands in ``uncounted``. Work of the model
    outside its own call, and the backward pass, are not metered; nor is code that torch does not see, such as NumPy.

    Events know whether they are spikes. A tensor never says so by its values: declare with ``spiking`` whose outputs
    are. Declared modules are checked (0 and 1 only) and counted as neurons, one state update per output and state.
    For networks of snnTorch, SpikingJelly and Norse ``record(net, **ns.io.snntorch.recording(net))`` declares it all.

    Args:
        model: any module; for a function, call and record ``ns.meter.as_module(function)``.
        spiking: module classes or full module names whose (first) output is spikes, as a mapping with how many states
            each of their units has (1 if it is a sequence); ``"input"`` for the model's own input.
        calls: ``"steps"`` if one call is one time step of the same samples, as in a snnTorch loop; None if each call
            brings new ones.
        samples: axis of the batch in the model's first input. Default: 1 for events ``(steps, samples, *units)``,
            otherwise 0.
        detail: also keep counts sample by sample and step by step, see :class:`OperationCounts`.

    Returns:
        A context with the :class:`Tape`. An input that meets the same weight again unchanged, or that repeats one
        step, is charged once.

    Raises:
        InputError: a function, a declared module that does not exist or does not spike, batches of different sizes as
            steps.

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
    if calls not in (None, "steps"):
        raise InputError("record", got=f"calls={calls!r}", expected="'steps' or None")
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
