"""What `solve` refuses, before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from neurosparse.coding.dictionary import code_shape
from neurosparse.coding.iterate import Method
from neurosparse.coding.penalty import Penalty
from neurosparse.coding.problem import free
from neurosparse.errors import InputError
from neurosparse.events.operation import operation

__all__ = ["check_arrays", "check_options"]


def check_options(
    method: str, methods: Mapping[str, Method], penalty: Any, tol: float | None, steps: int | None
) -> None:
    """The method exists, the penalty is one it can solve, the stopping rule can be met."""
    if method not in methods:
        expected = f"one of {', '.join(methods)}"
        raise InputError("solve", got=f"method={method!r}", expected=expected, fix='Pass method="fista".')
    if not isinstance(penalty, Penalty):
        raise InputError("solve", got=f"penalty={penalty!r}", expected="a penalty", fix="Pass penalty=l1(0.1).")
    solvable = methods[method].penalties
    if solvable is not None and penalty.name not in solvable:
        got, expected = f"penalty={penalty!r} with {method}", f"one of {', '.join(solvable)}"
        raise InputError("solve", got=got, expected=expected, fix='Pass method="fista".')
    if tol is not None and not tol > 0:
        raise InputError("solve", got=f"tol={tol!r}", expected="a number above 0", fix="Pass tol=1e-4.")
    if steps is not None and not (isinstance(steps, int) and steps > 0):
        raise InputError("solve", got=f"steps={steps!r}", expected="a whole number above 0", fix="Pass steps=500.")


@operation(free)
def check_arrays(x: Tensor, dictionary: Tensor, warm_start: Tensor | None, convolves: bool) -> None:
    """Shapes and dtypes meet, every number is finite, every atom can answer."""
    for name, rows, array in (("x", "samples", x), ("dictionary", "atoms", dictionary)):
        if not (isinstance(array, Tensor) and array.ndim in (2, 4) and array.is_floating_point()):
            got = f"{tuple(array.shape)} of {array.dtype}" if isinstance(array, Tensor) else type(array).__name__
            expected = f"a floating-point tensor ({rows}, features) or ({rows}, channels, height, width)"
            raise InputError("solve", got=f"{name} {got}", expected=expected, fix="Reshape or convert it.")
        if not bool(array.isfinite().all()):
            got = f"NaN or infinity in {name}"
            raise InputError("solve", got=got, expected="finite values", fix="Remove or fill them first.")
    if x.ndim != dictionary.ndim or x.shape[1] != dictionary.shape[1] or x.dtype != dictionary.dtype:
        got, channels = f"x {tuple(x.shape)} of {x.dtype}", "channels" if dictionary.ndim == 4 else "features"
        got = f"{got}, atoms {tuple(dictionary.shape)} of {dictionary.dtype}"
        raise InputError("solve", got=got, expected=f"the same {channels} and dtype", fix="Reshape or convert one.")
    if any(size < extent for size, extent in zip(x.shape[2:], dictionary.shape[2:], strict=True)):
        got = f"images {tuple(x.shape[2:])} and atoms {tuple(dictionary.shape[2:])}"
        raise InputError("solve", got=got, expected="atoms that fit into an image", fix="Pad the images.")
    if dictionary.ndim == 4 and not convolves:
        got, expected = "a convolution", "one coefficient per atom, (atoms, features)"
        raise InputError("solve", got=got, expected=expected, fix='Pass method="fista", or patches of the images.')
    silent = (dictionary == 0).flatten(1).all(1).nonzero().flatten().tolist()
    if silent:
        got = f"norm zero in atoms {silent[:5]}"
        raise InputError("solve", got=got, expected="atoms of any other norm", fix="Drop or draw them again.")
    shape = code_shape(x, dictionary)
    if warm_start is not None and tuple(warm_start.shape) != shape:
        got, expected = f"warm_start {tuple(warm_start.shape)}", f"the shape of the codes, {shape}"
        raise InputError("solve", got=got, expected=expected, fix="Pass a code of these data.")
    if warm_start is not None and not bool(warm_start.isfinite().all()):
        got = "NaN or infinity in warm_start"
        raise InputError("solve", got=got, expected="finite values", fix="Start from silence instead.")
