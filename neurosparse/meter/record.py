"""Record the operations of any torch module: operators through dispatch and function modes, layer names by hooks."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_leaves

from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError
from neurosparse.meter.calls import ModelCalls
from neurosparse.meter.meter import Meter
from neurosparse.meter.provenance import LEAVES, tensors_in
from neurosparse.meter.tape import Tape

__all__ = ["as_module", "record"]

Spiking = type | str | nn.Module | Sequence[type | str | nn.Module] | Mapping[Any, int]


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


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """All modules of a model by name, those that it holds in plain lists and mappings included."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():  # a compiled module holds the module that it compiles
        found.setdefault(name.replace("_orig_mod.", "").removesuffix("_orig_mod").removesuffix("."), module)
    for name, module in list(found.items()):
        for attribute, value in vars(module).items():
            parts = tree_flatten_with_path(value)[0] if isinstance(value, list | tuple | dict) else ()
            for path, part in parts if attribute[:1] != "_" else ():
                if isinstance(part, nn.Module) and all(part is not known for known in found.values()):
                    place = f"{attribute}{keystr(path)}" if not name else f"{name}.{attribute}{keystr(path)}"
                    found |= {f"{place}.{inner}".rstrip("."): held for inner, held in part.named_modules()}
    return found


#: Attributes in which modules keep what they register.
REGISTERED = frozenset(("_parameters", "_buffers", "_modules"))


def _held(modules: Mapping[str, nn.Module]) -> list[Tensor]:
    """Tensors that modules hold without registering them: in attributes, in their class, in functions they call."""
    found: list[Tensor] = []
    for module in modules.values():
        own = [kind for kind in type(module).__mro__ if not kind.__module__.startswith(("torch.", "neurosparse."))]
        values = [value for kind in own for value in vars(kind).values()] if len(own) > 1 else []
        values += [value for name, value in vars(module).items() if name not in REGISTERED]
        found += _reached(values, set(), 4)
    return found


def _reached(values: Any, seen: set[int], depth: int) -> list[Tensor]:
    """Tensors in containers, modules, objects, arguments of partial functions, and in what functions close over."""
    found = tensors_in(values)
    for value in tree_leaves(values) if depth else ():
        if id(value) in seen or type(value) in LEAVES:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            found += [*value.parameters(), *value.buffers()]
        elif isinstance(value, partial):
            found += _reached([value.func, value.args, value.keywords], seen, depth - 1)
        elif isinstance(value, FunctionType | MethodType):
            found += _reached(_enclosed(value), seen, depth - 1)
        elif not isinstance(value, Tensor | type | ModuleType):
            found += _reached(list(getattr(value, "__dict__", {}).values()), seen, depth - 1)
    return found


def _enclosed(function: Any) -> list[Any]:
    """The closure and the defaults of a function, attributes of its object, and globals it names but functions."""
    owner = getattr(function, "__self__", None)
    owned = [owner] if isinstance(owner, nn.Module) else list(getattr(owner, "__dict__", {}).values())
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):  # a partial function as a method
        return [*owned, function]
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    named = [function.__globals__.get(name) for name in _globals_of(function.__code__)]
    values = [value for value in named if isinstance(value, nn.Module) or not callable(value)]
    return [*owned, *cells, *values, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _globals_of(code: CodeType) -> set[str]:
    """Names of globals that a function and the functions inside it read."""
    own = {each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"}
    return own.union(*(_globals_of(part) for part in code.co_consts if isinstance(part, CodeType)))


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _declared(modules: Mapping[str, nn.Module], spiking: Spiking) -> dict[str, int]:
    """Modules whose outputs are declared to be spikes, by name, with the number of states per unit."""
    fix = "Pass module classes, modules, full module names or 'input'."
    spiking = [spiking] if isinstance(spiking, str | type | nn.Module) else spiking
    if not isinstance(spiking, Collection):
        raise InputError("record", got=f"spiking={spiking!r}", expected="modules of this model", fix=fix)
    found: dict[str, int] = {}
    for item in spiking:
        names = {
            n for n, m in modules.items() if n == item or m is item or (isinstance(item, type) and isinstance(m, item))
        }
        if not names and item != "input":
            raise InputError("record", got=f"spiking={item!r}", expected="a module of this model", fix=fix)
        states = whole("record", f"spiking[{item!r}]", spiking[item], 0) if isinstance(spiking, Mapping) else 1
        found |= dict.fromkeys(names or {"input"}, states)
    return found


def _constant(modules: Mapping[str, nn.Module], constant: str | Sequence[str]) -> frozenset[str]:
    """Names of the modules whose input is declared to be constant."""
    names = tuple(constant) if isinstance(constant, Collection) and not isinstance(constant, str) else (constant,)
    for name in names:
        one_of("record", "constant", name, ("input", *modules), "Pass 'input' or full module names.")
    return frozenset(names)


@contextmanager
def _unrecorded() -> Iterator[None]:
    """What a recording computes for itself is no operation of another recording around it."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
        yield


@contextmanager
def _eager() -> Iterator[None]:
    """Run compiled modules uncompiled; without the modules of torch that compile there are none."""
    if not {"torch._dynamo", "torch.nn.attention.flex_attention"} & set(sys.modules):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _updates(meter: Meter, active: bool) -> Iterator[None]:
    """Note when an optimizer's step runs."""
    if not active:
        yield
        return

    def before(*_: Any) -> None:
        meter.modules.updating = True

    def after(*_: Any) -> None:
        meter.modules.updating = False

    handles = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _graphs(meter: Meter, active: bool) -> Iterator[None]:
    """Keep the function mode on while autograd walks through a graph; torch leaves it before."""
    if not active:
        yield
        return
    autograd: Any = torch.autograd  # the function is private
    walk = autograd._engine_run_backward
    autograd._engine_run_backward = lambda *args, **kwargs: meter.on_graph(walk, args, kwargs)
    try:
        yield
    finally:
        autograd._engine_run_backward = walk


@contextmanager
def record(
    model: nn.Module,
    spiking: Spiking = (),
    calls: str | None = None,
    samples: int | str | None = None,
    detail: bool = False,
    constant: str | Sequence[str] = (),
    backward: bool = False,
) -> Iterator[Tape]:
    """Record every operation of ``model`` that runs inside the ``with`` block.

    Counted are the ATen operators that run, below every torch function: products of tensors, neurons, pooling, norms,
    comparisons and element-wise operations; functions of this library declare their own operations. Free are views,
    copies and casts, and what depends on parameters and buffers alone (masks, fake quantisation of weights).
    Everything else is listed in ``uncounted``: operators without a known cost, and ``a tensor from outside``, which no
    recorded operator has made (NumPy, another thread, a foreign kernel). Not seen is arithmetic of Python on numbers
    that have left torch (``item``, ``tolist``), until a list of them becomes a tensor again. Compiled
    modules run uncompiled.

    Event tensors carry the mark that they are spikes. Spikes in a plain tensor are never recognised by their values:
    declare with ``spiking`` which modules return them, or mark them with :func:`neurosparse.spikes`. They stay spikes
    through indexing, masks, maxima, products with spikes, joins and views; times a constant they are scaled spikes,
    whose scale folds into the weights. The outputs of declared modules are checked (0 and 1, signed, or times one
    constant) and counted as neurons, one state update per output and state. For networks of snnTorch, SpikingJelly and
    Norse ``record(net, **ns.io.snntorch.recording(net))`` contains all declarations.

    Args:
        model: any module; for a function, call and record ``ns.meter.as_module(function)``.
        spiking: modules, their classes or full names, whose (first) output is spikes; as a mapping, with the number of
            states per unit (1 in a sequence); ``"input"`` for the model's own input.
        calls: ``"steps"`` if each call is one time step of the same samples, as in a snnTorch loop; None if each call
            has new samples.
        samples: axis of the batch in the model's first input; ``"none"``: one sample without a batch. Default: 1 for
            events ``(steps, samples, *units)``, otherwise 0.
        detail: also keep the counts by sample and step, see :class:`OperationCounts`.
        constant: ``"input"``, or full names of modules, whose first input is the same at every step: its product with a
            weight is charged once per sample, and the rows that were left out are in the column ``constant_rows``.
            Events of :func:`neurosparse.constant_current` are constant without it.
        backward: also count the loss, the backward pass and the optimizer's update inside the ``with`` block, in rows
            of their own ``phase``. Effective operations of the backward pass are pairs of two non-zero factors: what
            event-driven gradients need.

    Returns:
        A context with the :class:`Tape`.

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
    for name, value in (("detail", detail), ("backward", backward)):
        one_of("record", name, value, (False, True))
    samples = samples if samples in (None, "none") else whole("record", "samples", samples, 0)
    if not isinstance(model, nn.Module):
        fix = "Call and record ns.meter.as_module(function)."
        raise InputError("record", got=type(model).__name__, expected="a torch module", fix=fix)
    torch.clear_autocast_cache()  # otherwise copies of weights from before would be tensors from outside
    tape, modules = Tape(calls, detail), _modules(model)
    with _unrecorded():
        meter = Meter(tape, model, _held(modules), backward)
    declared, repeated = _declared(modules, spiking), _constant(modules, constant)
    hooks = ModelCalls(meter, model, modules, declared, repeated, samples)

    def close() -> None:
        tape.running = False
        with _unrecorded():
            meter.held.close(_held(_modules(model)))
            hooks.close()

    with ExitStack() as stack:
        stack.callback(close)  # after the modes and the hooks are gone, also after an error
        hooks.register(stack)
        for context in (
            _eager(),
            _updates(meter, backward),
            _graphs(meter, backward),
            meter.operators,
            meter.functions,
        ):
            stack.enter_context(context)
        tape.running = True
        yield tape
