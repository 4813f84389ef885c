"""Kernels as operators of PyTorch: nodes in the graphs of autograd and of ``torch.compile``.

``torch.library.custom_op`` does the same, but imports all of ``torch.compile`` (1.3 s) when an operator first runs, and
reads the sources of its caller when one is declared.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

from neurosparse.errors import InputError

__all__ = ["torch_operator"]

LIBRARY = torch.library.Library("neurosparse", "FRAGMENT")


class torch_operator:
    """A function of tensors, numbers and lists of them that writes none of its arguments and returns new tensors.

    Args:
        name: of the operator in ``torch.ops.neurosparse``.

    Example:
        >>> @torch_operator("docs_double")
        ... def double(x: torch.Tensor) -> torch.Tensor:
        ...     return 2 * x
        >>> double.register_meta(torch.empty_like)
        >>> double.register_autograd(lambda ctx, grad: 2 * grad)
        >>> double(torch.ones(2, requires_grad=True)).sum().backward()
    """

    def __init__(self, name: str):
        self._name = name

    def __call__(self, function: Callable[..., Any]) -> _Operator:
        """Declare the operator by its types and its body."""
        return _Operator(self._name, function)


class _Operator:
    def __init__(self, name: str, function: Callable[..., Any]):
        self._name, self.__doc__ = name, function.__doc__
        self._backward, self._setup_context = _refuse, None
        schema = torch.library.infer_schema(function, mutates_args=())
        LIBRARY.define(name + schema, tags=torch.Tag.pt2_compliant_tag)
        LIBRARY.impl(name, _untraced(function), "CompositeExplicitAutograd")
        self._run = getattr(torch.ops.neurosparse, name).default

        def backward(ctx: Any, *grads: Any) -> Any:
            return self._backward(ctx, *grads)

        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            if self._setup_context is not None:
                self._setup_context(ctx, inputs, output)

        torch.library.register_autograd(f"neurosparse::{name}", backward, setup_context=setup_context, lib=LIBRARY)

    def __call__(self, *args: Any) -> Any:
        """Run through PyTorch's dispatcher."""
        return self._run(*args)

    def register_meta(self, function: Callable[..., Any]) -> None:
        """The results for tensors without values, where their shapes follow from those of the arguments."""
        LIBRARY.impl(self._name, function, "Meta")

    def register_fake(self, function: Callable[..., Any]) -> None:
        """The same, where a shape depends on values: ``function`` takes it from ``torch.library.get_ctx()``."""
        torch.library.register_fake(f"neurosparse::{self._name}", function, lib=LIBRARY)

    def register_autograd(
        self, backward: Callable[..., Any], *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """The gradient, as in ``torch.library.register_autograd``; an operator without one refuses to be derived."""
        self._backward, self._setup_context = backward, setup_context


def _refuse(ctx: Any, *_: Any) -> None:
    fix = "Build neurons with reference=True and pass events.dense() to the layers behind them."
    raise InputError("backward", got="a second derivative of a kernel", expected="a first one", fix=fix)


def _untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as ``torch.compile`` shall run it: as it is. Without ``torch.compile`` nothing traces it."""

    @functools.cache
    def disabled() -> Callable[..., Any]:
        return torch.compiler.disable(function)

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        return (disabled() if "torch._dynamo" in sys.modules else function)(*args)

    return run
