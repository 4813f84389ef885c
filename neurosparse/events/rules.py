"""Rules for torch functions on timed tensors: which keep the timing, which remove steps or samples, which are refused.

Each rule takes ``(function, args, kwargs)`` of a call with a timed tensor among its arguments, with torch functions of
subclasses switched off: results are plain tensors until a rule adds the timing. `neurosparse.events.table` says which
function has which rule. ``torch.compile`` traces the rules, so they branch on arguments and shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.timed import TimedTensor, with_timing
from neurosparse.events.timing import Timing, agreed_timing, joined_timing, refuse_chunk

Rule = Callable[[Callable[..., Any], tuple, dict[str, Any]], Any]
DENSE = "Call it on x.dense(), the plain tensor without dt and lengths."
FOLD = "Wrap the module: ns.fold(module) runs it on rows and unfolds the result; or call it on x.dense()."
PADDED = (
    "Take what leaves padding out (ns.learning.membrane_loss, EventTensor.counts, ns.fold), or mask x.dense() first."
)


# ---- what the rules are made of


def operands(args: tuple, kwargs: dict[str, Any]) -> list[TimedTensor]:
    """The timed tensors of a call."""
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, TimedTensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += [part for part in value if isinstance(part, TimedTensor)]
    return found


def timed(result: Any, timing: Timing) -> Any:
    """A result, or each tensor of a tuple, with a timing."""
    if isinstance(result, TimedTensor):  # changed in place
        return result
    if isinstance(result, Tensor):
        return with_timing(result, timing)
    if isinstance(result, (tuple, list)):
        return type(result)([timed(part, timing) for part in result])
    return result


def name_of(function: Callable[..., Any]) -> str:
    """The name for a message; of a property its own."""
    name = getattr(function, "__name__", str(function))
    owner = getattr(function, "__self__", None)
    return getattr(owner, "__name__", name) if name in ("__get__", "__set__") else name


def refused(function: Callable[..., Any], got: str, expected: str, fix: str) -> NoReturn:
    raise InputError(name_of(function), got=got, expected=expected, fix=fix)


def mixes(function: Callable[..., Any], what: str) -> NoReturn:
    refused(function, f"{what} of a timed tensor (steps, samples, *units)", "units alone", FOLD)


def shared(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> tuple[TimedTensor, Timing]:
    """The first timed tensor of a call, and the timing that all of them share."""
    found = operands(args, kwargs)
    first = found[0]
    out = kwargs.get("out")
    if out is not None and not isinstance(out, TimedTensor):
        refused(function, "out=, a plain tensor", "a result with timing", "Leave out= out.")
    if len(found) == 1:
        return first, first.timing
    for other in found[1:]:
        if other.dim() != first.dim() or other.shape[:2] != first.shape[:2]:
            got, fix = f"timed tensors of shapes {tuple(first.shape)} and {tuple(other.shape)}", "Use keepdim=True."
            refused(function, got, "the same steps, samples and number of axes", fix)
    return first, agreed_timing(name_of(function), [x.timing for x in found])


def kept(function: Callable[..., Any], result: Any, like: Tensor, timing: Timing, same_axes: bool = False) -> Any:
    """The result with its timing, if its first two axes are the steps and samples of ``like``."""
    for part in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(part, Tensor) and (part.shape[:2] != like.shape[:2] or (same_axes and part.dim() != like.dim())):
            got = f"a result of shape {tuple(part.shape)} from (steps, samples, *units) = {tuple(like.shape)}"
            refused(function, got, "steps and samples in place", FOLD)
    return timed(result, timing)


def given(args: tuple, kwargs: dict[str, Any], at: int, default: Any, names: tuple[str, ...] = ("dim", "axis")) -> Any:
    """An argument by place or by one of its names."""
    if len(args) > at:
        return args[at]
    for name in names:
        if name in kwargs:
            return kwargs[name]
    return default


def axes_of(dim: Any, n: int) -> set[int]:
    """The axes that an argument ``dim`` names, counted from the front; all where it names none."""
    if dim is None or isinstance(dim, (bool, str)):
        return set(range(n))
    many = dim if isinstance(dim, (tuple, list)) else (dim,)
    return {axis + n if axis < 0 else axis for axis in many} if len(many) else set(range(n))


# ---- whole functions


def passes(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Facts about a tensor, its graph, and values that leave torch."""
    return function(*args, **kwargs)


def unknown(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> NoReturn:
    """A function without a rule."""
    compiled = getattr(function, "namespace", "") in (
        "aten",
        "neurosparse",
    )  # an operator of a graph that was broken behind a timed tensor
    fix = f"{DENSE} Of a compiled network: torch.compile(network, fullgraph=True)." if compiled else DENSE
    refused(function, "a timed tensor (steps, samples, *units)", "a function that keeps steps and samples", fix)


def folds(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> NoReturn:
    """A function of images, rows or sequences."""
    fix = f"Wrap the module: ns.fold(module) runs {name_of(function)} on rows; or call it on x.dense()."
    refused(function, "a timed tensor (steps, samples, *units)", "rows of images or units", fix)


def elementwise(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Each element by itself; plain operands are broadcast on units."""
    first, timing = shared(function, args, kwargs)
    return kept(function, function(*args, **kwargs), first, timing, same_axes=True)


def in_place(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Elementwise, written into the first argument."""
    if not isinstance(args[0], TimedTensor):
        fix = "Write x = x + y instead of x += y, or take y.dense()."
        refused(function, "a plain tensor changed in place by a timed one", "a timed tensor", fix)
    shared(function, args, kwargs)
    return function(*args, **kwargs)


def by_cell(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Each element of the first argument becomes one element or several: embeddings, bins, complex numbers."""
    x = args[0] if args else None
    if not isinstance(x, TimedTensor) or operands(args[1:], kwargs):
        refused(function, "a timed tensor as a table", "a timed tensor as the first argument", DENSE)
    return kept(function, function(*args, **kwargs), x, x.timing)


def by_shape(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Views and copies that keep the order of elements: the shape of the result decides."""
    result = function(*args, **kwargs)
    x = args[0]
    if not isinstance(x, TimedTensor):  # the timed tensor gives a shape or a type alone
        return result
    if isinstance(result, Tensor) and result.dim() == 1:  # a list of all values
        return whole(function, args, kwargs)
    return kept(function, result, x, x.timing)


def repeats(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``expand``, ``repeat``: no axis may come first."""
    result = function(*args, **kwargs)
    x = args[0]
    return kept(function, result, x, x.timing, same_axes=True) if isinstance(x, TimedTensor) else result


def whole(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """A reduction over steps or samples: a plain tensor where every step is data."""
    found = operands(args, kwargs)
    if any(x.timing.lengths is not None for x in found):
        refused(function, "padded steps (lengths) in a reduction over steps or samples", "data alone", PADDED)
    for x in found:
        refuse_chunk(name_of(function), x.timing)
    if len(found) > 1:
        agreed_timing(name_of(function), [x.timing for x in found])
    return function(*args, **kwargs)


def loss(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Losses of each element, averaged or summed, or not (``reduction="none"``)."""
    every = kwargs.get("reduction") == "none" or "none" in [a for a in args if isinstance(a, str)]
    return elementwise(function, args, kwargs) if every else whole(function, args, kwargs)


def class_loss(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> NoReturn:
    """Losses whose second axis is that of the classes: here it is that of the samples."""
    fix = "Take ns.learning.membrane_loss or rate_loss, reduce the steps first, or flatten x.dense()."
    refused(function, "a timed tensor, whose axis 1 is that of the samples", "scores (rows, classes)", fix)


# ---- functions along axes


def along(at: int, default: Any = None, *, removes: bool = False, grows: int = 0, variadic: bool = False) -> Rule:
    """A rule for functions along the axes of an argument ``dim``.

    Args:
        at: place of ``dim`` among the arguments.
        default: ``dim`` where it is left out; None is all axes.
        removes: whether these axes are summed up or picked from.
        grows: axes that the result has more, by which a negative ``dim`` is counted.
        variadic: whether the axes may be given one by one.
    """

    def rule(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        dim = given(args, kwargs, at, default, ("dim", "axis", "dims", "dimension"))
        if isinstance(dim, Tensor) or "other" in kwargs:  # torch.max(a, b)
            return elementwise(function, args, kwargs)
        first, timing = shared(function, args, kwargs)
        axes = axes_of(args[at:] if variadic and len(args) > at + 1 else dim, args[0].dim() + grows)
        if 0 not in axes and 1 not in axes:
            return kept(function, function(*args, **kwargs), first, timing)
        if not removes:
            mixes(function, "a function along the steps or samples")
        return whole(function, args, kwargs)

    return rule


def flat(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``flatten``: from a unit axis on, or everything into a list of values."""
    x, start = args[0], given(args, kwargs, 1, 0, ("start_dim",))
    if len(args) == 1 and not kwargs:
        return whole(function, args, kwargs)
    if start % x.dim() < 2:
        folds(function, args, kwargs)
    return timed(function(*args, **kwargs), x.timing)


def squeezed(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``squeeze``: unit axes; the axis of one step or one sample is picked from, as by an index."""
    x, dim = args[0], given(args, kwargs, 1, None)
    dim = tuple(axis for axis, size in enumerate(x.shape) if size == 1) if dim is None else dim
    return timed(function(*args, **kwargs), x.timing) if dim == () else squeeze_axes(function, (x, dim), {})


squeeze_axes = along(1, removes=True)


def exchange(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``transpose``, ``movedim``: both axes, or lists of axes, must be those of units."""
    x = args[0]
    touched = set().union(*[axes_of(each, x.dim()) for each in (*args[1:], *kwargs.values())])
    if 0 in touched or 1 in touched:
        mixes(function, "a move of the steps or samples")
    return timed(function(*args, **kwargs), x.timing)


def permuted(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``permute``: the first two axes must stay."""
    x, dims = args[0], given(args, kwargs, 1, (), ("dims",))
    dims = dims if isinstance(dims, (tuple, list)) else args[1:]
    if [axis % x.dim() for axis in dims[:2]] != [0, 1]:
        mixes(function, "a move of the steps or samples")
    return timed(function(*args, **kwargs), x.timing)


def matrices(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Functions of the last two axes, which must both be units."""
    x = args[0]
    if x.dim() < 4:
        mixes(function, "a function of the last two axes")
    return timed(function(*args, **kwargs), x.timing)


def padded(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``pad``: the last axes, which must be units."""
    sizes = given(args, kwargs, 1, (), ("pad",))
    if args[0].dim() - len(sizes) // 2 < 2:
        mixes(function, "more steps or samples")
    return timed(function(*args, **kwargs), args[0].timing)


# ---- products and norms over units


def weighted(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``linear``, ``bilinear``: weights without time on the last axis."""
    inputs = 2 if name_of(function) == "bilinear" else 1
    first, timing = shared(function, args[:inputs], {}) if operands(args[:inputs], {}) else (None, None)
    if first is None or timing is None or first.dim() < 3 or operands(args[inputs:], kwargs):
        mixes(function, "weights or rows made")
    return kept(function, function(*args, **kwargs), first, timing)


def normalised(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``layer_norm``, ``rms_norm``: over the last axes, which must be units."""
    x, shape = args[0], given(args, kwargs, 1, (), ("normalized_shape",))
    if not isinstance(x, TimedTensor) or x.dim() - len(shape) < 2 or operands(args[1:], kwargs):
        mixes(function, "a norm over the steps or samples")
    return timed(function(*args, **kwargs), x.timing)


def slopes(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``prelu``: one slope for all; slopes of channels would be those of samples."""
    if given(args, kwargs, 1, None, ("weight",)).numel() != 1:
        folds(function, args, kwargs)
    return elementwise(function, args, kwargs)


def product(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``a @ b``: over units; steps and samples are rows, or index matrices of units."""
    a, b = (*args, *kwargs.values())[:2]
    if name_of(function) == "__rmatmul__":
        a, b = b, a
    first, timing = shared(function, (a, b), {})
    left = isinstance(a, TimedTensor) and a.dim() >= 3 and b.dim() <= a.dim()
    right = isinstance(b, TimedTensor) and b.dim() >= 4 and a.dim() <= b.dim()
    if (isinstance(a, TimedTensor) and not left) or (isinstance(b, TimedTensor) and not right):
        mixes(function, "a product over the steps or samples")
    return kept(function, function(*args, **kwargs), first, timing)


def contraction(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """``einsum``: the first two letters of each timed operand are the first two of the result."""
    equation, terms = args[0], args[1:]
    terms = terms[0] if len(terms) == 1 and isinstance(terms[0], (tuple, list)) else terms
    first, timing = shared(function, tuple(terms), {})
    good = isinstance(equation, str) and "->" in equation
    if good:
        inputs, out = equation.replace(" ", "").split("->")
        good = len(set(out[:2])) == 2 and "." not in out[:2]
        for letters, x in zip(inputs.split(","), terms, strict=False):
            good = good and (not isinstance(x, TimedTensor) or letters[:2] == out[:2])
    if not good:
        mixes(function, "an equation that does not keep the first two axes")
    return kept(function, function(*args, **kwargs), first, timing)


# ---- joining and splitting


def join(default: int, *, fixed: bool = False, stacks: bool = False) -> Rule:
    """A rule for ``cat`` and its like; ``fixed``: the axis is no argument; ``stacks``: the axis is new."""

    def rule(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        parts = args[0] if args else kwargs["tensors"]
        dim = default if fixed else given(args, kwargs, 1, default)
        n = parts[0].dim()
        if any(part.dim() != n for part in parts):
            mixes(function, "a join of tensors with more and fewer axes")
        dim = dim % (n + stacks)
        found = [part for part in parts if isinstance(part, TimedTensor)]
        if dim < 2 and (stacks or len(found) < len(parts)):
            got = "a new axis before the units" if stacks else "plain tensors joined to steps or samples"
            fix = "Build events of each first (EventTensor.from_dense), or join x.dense()."
            refused(function, got, "timed tensors" if found else "units", fix)
        timing = joined_timing(name_of(function), [x.timing for x in found], [x.shape for x in found], dim)
        return timed(function(*args, **kwargs), timing)

    return rule


def split(default: int, at: int = 2) -> Rule:
    """A rule for ``chunk``, ``split`` and their like, with ``dim`` as argument number ``at``."""

    def rule(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        if given(args, kwargs, at, default) % args[0].dim() < 2:
            fix = "Take x[a:b] of the steps, x[:, a:b] of the samples."
            refused(function, "a split of steps or samples", "a split of units", fix)
        return timed(function(*args, **kwargs), args[0].timing)

    return rule
