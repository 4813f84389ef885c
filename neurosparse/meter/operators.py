"""Names and schemas of torch's functions and operators, as the meter reads them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosparse.meter.costs import name_of
from neurosparse.meter.provenance import shape_of, tensors_in

__all__ = ["OWN", "Function", "Operator", "function_name", "function_of", "is_ragged", "schema_of", "sources_of"]

#: Namespaces of torch's own operators; an operator of another library is none of ours, whatever its name.
OWN = ("aten", "prim", "prims", "quantized")


class Function(NamedTuple):
    """The outermost torch function that is running: its name, and the shape of its first tensor."""

    name: str
    shape: tuple[int, ...]


def function_of(func: Callable, args: tuple) -> Function:
    """Name of a torch function that is called, and the shape of its first tensor."""
    first = next((arg for arg in args if isinstance(arg, Tensor)), None)
    return Function(function_name(func), () if first is None else shape_of(first))


@cache
def function_name(function: Callable[..., Any]) -> str:
    """Name of a torch function: ``Tensor.__iadd__``, ``torch.add`` and ``Tensor.add_`` are all ``add``.

    Example:
        >>> x = torch.Tensor
        >>> function_name(x.add_), function_name(x.__rsub__), function_name(torch.relu), function_name(x.__truediv__)
        ('add', 'sub', 'relu', 'truediv')
    """
    name = str(getattr(function, "__name__", function))
    dunder, name = name.startswith("__"), name.split(".")[0].strip("_")
    return name[1:] if dunder and name[:1] in "ir" and hasattr(Tensor, f"__{name[1:]}__") else name


class Operator(NamedTuple):
    """What the schema of an operator says.

    ``name``: without underscores if it is torch's own, else with its namespace; ``composite``: it is a composition of
    others, and arrives whole in inference mode; ``is_view``: its results share the storage of an argument that is not
    written; ``written``, ``written_names``: the arguments that it writes into.
    """

    name: str
    composite: bool
    is_view: bool
    written: tuple[int, ...]
    written_names: tuple[str, ...]

    def written_in(self, args: tuple, kwargs: dict[str, Any]) -> list[Tensor]:
        """Tensors that a call writes into."""
        written = [args[i] for i in self.written if i < len(args)] + [kwargs.get(name) for name in self.written_names]
        return tensors_in(written) if written else []


@cache
def schema_of(func: torch._ops.OpOverload) -> Operator:
    """What the schema of an operator says."""
    schema = func._schema
    name = name_of(func) if func.namespace in OWN else f"{func.namespace}.{schema.name.partition('::')[2]}"
    writes = [bool(argument.alias_info and argument.alias_info.is_write) for argument in schema.arguments]
    named = [x.name for x, write in zip(schema.arguments, writes, strict=True) if write and x.kwarg_only]
    return Operator(
        name,
        torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"),
        any(made.alias_info and not made.alias_info.is_write for made in schema.returns) and not any(writes),
        tuple(i for i, write in enumerate(writes) if write and not schema.arguments[i].kwarg_only),
        tuple(named),
    )


def sources_of(args: tuple, kwargs: dict[str, Any]) -> list[Tensor]:
    """Tensors among the arguments of an operator: apart, or in lists."""
    found = []
    for x in args if not kwargs else (*args, *kwargs.values()):
        if isinstance(x, Tensor):
            found.append(x)
        elif isinstance(x, list | tuple):
            found += [part for part in x if isinstance(part, Tensor)]
    return found


def is_ragged(args: tuple) -> bool:
    """Whether an argument is a batch of samples of different shapes, for which composite operators have own kernels."""
    return any(isinstance(x, Tensor) and x.is_nested and x.layout == torch.strided for x in args)
