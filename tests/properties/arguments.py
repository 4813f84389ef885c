"""Arguments of every kind a caller may pass, and one property: the result of the plain argument, or an InputError.

A `Function` lists a call and arguments that are valid. `check` replaces one of them by another kind of the same value
(a NumPy scalar, a tensor of no axes, a view, a list), by another value (negative, 0, NaN, huge), or by no number at all
(a boolean, a string, None). To test a function, add a row to the table of ``test_arguments.py``.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns
from neurosparse.errors import InputError

__all__ = ["Function", "Given", "check", "kinds", "same"]

SIMILAR, REFUSED, EITHER = "as the plain argument", "refused", "as the plain argument, or refused"


class Function(NamedTuple):
    """A call with keyword arguments, of which those in ``varied`` are drawn anew one at a time.

    Args:
        name: of the row.
        call: takes ``varied`` by keyword; returns numbers, tensors, arrays, records or modules of them.
        varied: a valid value of each argument: a Python number, string, boolean, or a floating-point tensor.
        optional: names for which None is a valid value.
    """

    name: str
    call: Callable[..., Any]
    varied: Mapping[str, Any]
    optional: tuple[str, ...] = ()


class Given(NamedTuple):
    """What is ``passed``, the ``plain`` argument it equals, and the ``answer``: one of the three above."""

    passed: Any
    plain: Any
    answer: str


NO_NUMBERS = (
    None,
    True,
    np.bool_(True),
    torch.tensor(True),
    "0.1",
    "three",
    b"3",
    np.array("3"),
    1j,
    [1.0],
    (),
    {},
    object(),
)
NO_ARRAYS = ("text", b"3", None, {}, object(), [[1.0, 2.0], [3.0]], True, np.array([["a", "b"]]))
FLOATS = (-1.0, 0.0, 0.3, 1.0, 2.5, 1e-12, 1e12, -1e-3)


def kinds(value: Any) -> st.SearchStrategy[Given]:
    """Arguments in the place of a valid one."""
    if isinstance(value, torch.Tensor):
        return _arrays(value)
    if isinstance(value, bool | str):
        return st.sampled_from([Given(other, other, EITHER) for other in ("nonesuch", 1, 0.5, None, [value])])
    numbers = _integers if isinstance(value, int) else _floats
    return st.one_of(numbers(value), _no_numbers(value), _not_finite())


def _integers(value: int) -> st.SearchStrategy[Given]:
    makers = (np.int64, np.int32, np.uint8, np.int16, torch.tensor, np.array)
    return st.one_of(
        st.sampled_from([Given(make(value), value, SIMILAR) for make in makers]),
        st.sampled_from([Given(make(n), n, SIMILAR) for n in (-1, 0, 1) for make in (np.int64, torch.tensor)]),
        st.sampled_from([Given(make(x), x, EITHER) for x in FLOATS for make in (float, np.float64)]),
    )


def _floats(value: float) -> st.SearchStrategy[Given]:
    return st.one_of(
        st.sampled_from([value, *FLOATS]).map(lambda x: Given(np.float64(x), x, SIMILAR)),
        st.sampled_from([value, *FLOATS]).map(lambda x: Given(np.float32(x), float(np.float32(x)), SIMILAR)),
        st.sampled_from([value, *FLOATS]).map(lambda x: Given(torch.tensor(x, dtype=torch.float64), x, SIMILAR)),
        st.sampled_from([value, *FLOATS]).map(lambda x: Given(np.array(x), x, SIMILAR)),
        st.sampled_from([Given(np.int64(n), n, SIMILAR) for n in (-1, 0, 1, 2)]),
    )


def _no_numbers(value: Any) -> st.SearchStrategy[Given]:
    return st.sampled_from([Given(other, other, REFUSED) for other in NO_NUMBERS])


def _not_finite() -> st.SearchStrategy[Given]:
    makers, values = (float, np.float32, torch.tensor), (float("nan"), float("inf"), -float("inf"))
    return st.sampled_from([Given(make(x), x, REFUSED) for make in makers for x in values])


def _arrays(value: torch.Tensor) -> st.SearchStrategy[Given]:
    value = value.detach()
    backwards = np.ascontiguousarray(value.flip(0).numpy())[::-1]
    read_only = value.numpy().copy()
    read_only.flags.writeable = False
    strided = value.repeat_interleave(2, dim=-1)[..., ::2]
    alike = (value.numpy(), backwards, np.asfortranarray(value.numpy()), read_only, strided, strided.numpy())
    same_value = [Given(other, value, SIMILAR) for other in (*alike, value.clone().requires_grad_())]
    lists = Given(value.tolist(), torch.tensor(value.tolist()), EITHER)
    rounded = Given(value.round().to(torch.int64), value.round().to(torch.get_default_dtype()), EITHER)
    broken = value.clone()
    broken.view(-1)[-1] = torch.nan
    other_shape = (value[None], value.flatten(), value[:0], value.new_empty(0), value.sum())
    refused = [Given(other, other, REFUSED) for other in (broken, broken.numpy(), *NO_ARRAYS)]
    either = [Given(make(other), other, EITHER) for other in other_shape for make in (torch.clone, _numpy)]
    return st.sampled_from([*same_value, lists, rounded, *refused, *either, Given(value != 0, value != 0, EITHER)])


def _numpy(value: torch.Tensor) -> np.ndarray:
    return value.numpy().copy()


def check(function: Function, data: st.DataObject) -> None:
    """Draw one argument anew; the result is that of the plain argument, or an InputError, and never another error."""
    name = data.draw(st.sampled_from(sorted(function.varied)))
    given = data.draw(kinds(function.varied[name]))
    refused, result = _outcome(function, {name: given.passed})
    answer = given.answer
    if given.passed is None and name in function.optional:
        answer = EITHER
    what = f"{function.name}({name}={given.passed!r})"
    if answer == REFUSED or (answer == EITHER and refused):
        assert refused, f"{what} was taken"
        return
    plain_refused, expected = _outcome(function, {name: given.plain})
    assert refused == plain_refused, f"{what}: refused {refused}, but the plain argument {plain_refused}: {result}"
    assert refused or same(result, expected), f"{what} is {result!r}, but {expected!r} of the plain argument"


def _outcome(function: Function, changed: dict[str, Any]) -> tuple[bool, Any]:
    """Whether the call was refused, and its result or the error."""
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ns.NotConverged)
            return False, function.call(**{**function.varied, **changed})
    except InputError as error:
        return True, error


def same(one: Any, other: Any) -> bool:
    """Equal, NaN to NaN: numbers, arrays (to the rounding of another order of memory), events, records, modules."""
    if isinstance(one, torch.Tensor | np.ndarray | np.generic):
        one, other = (np.asarray(part.detach() if isinstance(part, torch.Tensor) else part) for part in (one, other))
        if one.dtype != other.dtype or one.shape != other.shape or one.dtype.kind not in "fc":
            return one.dtype == other.dtype and bool(np.array_equal(one, other))
        return bool(np.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True))
    if type(one) is not type(other):
        return False
    if isinstance(one, ns.EventTensor):
        return one.shape == other.shape and one.dt == other.dt and same(one.dense(), other.dense())
    if isinstance(one, nn.Module):
        return repr(one) == repr(other) and same(one.state_dict(), other.state_dict())
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    return bool(one == other) or (one != one and other != other)
