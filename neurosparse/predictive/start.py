"""Clamps and initial states of inference: given values checked, the other states filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.checks import generator, whole
from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.predictive.checks import INFER, check_like, describe, predict
from neurosparse.predictive.layer import Prediction, PredictiveLayer

__all__ = ["STARTS", "Clamp", "Start", "initial_states", "read_clamps"]

STARTS = ("forward", "zero", "normal")

Start = str | Sequence[Tensor] | Callable[[Mapping[int, Tensor]], Sequence[Tensor]]


class Clamp(NamedTuple):
    """A given ``value`` (samples, *units); ``unclamped``: False, or a mask that is True where a unit is not given."""

    value: Tensor
    unclamped: bool | Tensor


def read_clamps(
    depth: int,
    x: Tensor | None,
    y: Tensor | None,
    more: Mapping[int, Tensor | tuple[Tensor, Tensor]] | None,
) -> dict[int, Clamp]:
    """Given values by the number of their state: x is the first, y the last; no state may be given twice."""
    given = {number: _read_value(number, value) for number, value in ((0, x), (depth, y)) if value is not None}
    if not isinstance(more or {}, Mapping):
        expected = "values by the number of their layer"
        raise InputError(INFER, got=f"a {type(more).__name__} as clamp", expected=expected, fix="Pass {2: value}.")
    for key, value in (more or {}).items():
        number = whole(INFER, "number of a layer in clamp", key, 0, depth)
        if number in given:
            got = f"layer {number} clamped by {'x' if number == 0 else 'y'} and by clamp"
            raise InputError(INFER, got=got, expected="each layer clamped once", fix="Leave one of them out.")
        given[number] = _read_masked(number, value) if isinstance(value, tuple) else _read_value(number, value)
    if not given:
        raise InputError(INFER, got="nothing clamped", expected="x, y or clamp", fix="Pass x=data.")
    samples = next(iter(given.values())).value.shape[:1]
    for number, (value, _) in given.items():
        expected = f"({', '.join(map(str, samples)) or 'n'} samples, *units) of layer {number}"
        if value.dim() < 2 or value.shape[:1] != samples:
            fix = "The first axis is that of the samples: x[None] is one sample."
            raise InputError(INFER, got=f"shape {tuple(value.shape)}", expected=expected, fix=fix)
        if not value.is_floating_point():
            got, fix = f"{describe(value)} for layer {number}", "Cast it: .float(), or one-hot the labels."
            raise InputError(INFER, got=got, expected=f"floating-point {expected}", fix=fix)
    return dict(sorted(given.items()))


def _read_value(number: int, value: object) -> Clamp:
    if not isinstance(value, Tensor):
        got, expected = f"{type(value).__name__} for layer {number}", "a tensor (samples, *units)"
        raise InputError(INFER, got=got, expected=expected, fix="Pass torch.as_tensor(data).")
    return Clamp(value.detach(), False)


def _read_masked(number: int, pair: Sequence[object]) -> Clamp:
    value, known = _read_value(number, pair[0] if pair else None).value, pair[-1]
    if not (len(pair) == 2 and isinstance(known, Tensor) and known.dtype == torch.bool and known.shape == value.shape):
        got = f"{', '.join(describe(part) for part in pair[1:]) or 'no mask'} as the mask of layer {number}"
        expected = f"torch.bool, {tuple(value.shape)}: True where the value is known"
        raise InputError(INFER, got=got, expected=expected, fix="Pass (value, known).")
    return Clamp(torch.where(known, value, torch.zeros_like(value)), ~known)


def initial_states(
    layers: Sequence[PredictiveLayer],
    given: Mapping[int, Clamp],
    start: Start,
    first_shape: Sequence[int] | None,
    seed: torch.Generator | int,
) -> tuple[list[Tensor], list[Prediction] | None]:
    """States before the first step, and the predictions between them where these are computed already.

    Args:
        layers: the predictions.
        given: clamped values by the number of their state.
        start: "forward", each unclamped state at its prediction; "zero"; "normal", standard normal; the states
            themselves; or a function from the given values, by number, to all states (amortised inference).
        first_shape: units of the first state, used where it is not given.
        seed: draws "normal"; a generator, or the seed of one.
    """
    sample = next(iter(given.values())).value
    if 0 not in given and first_shape is None:
        fix = "Pass input_shape=(channels, height, width) to PredictiveNetwork."
        raise InputError(INFER, got="an unclamped input of unknown shape", expected="its shape", fix=fix)
    first = given[0].value if 0 in given else sample.new_zeros(len(sample), *(first_shape or ()))
    if isinstance(start, str) and start == "forward":
        return _forward(layers, given, first)
    forward, _ = _shapes(layers, given, first)
    if isinstance(start, str) and start == "zero":
        chosen = [torch.zeros_like(state) for state in forward]
    elif isinstance(start, str) and start == "normal":
        seeded = generator(INFER, seed)
        drawn = [torch.randn(state.shape, generator=seeded, dtype=state.dtype) for state in forward]
        chosen = [state.to(sample) for state in drawn]
    else:
        chosen = _given_start(start, given, forward)
    return [_fill(given.get(number), state, number) for number, state in enumerate(chosen)], None


def _forward(
    layers: Sequence[PredictiveLayer], given: Mapping[int, Clamp], first: Tensor
) -> tuple[list[Tensor], list[Prediction]]:
    """Each state that is not given at its prediction, and the predictions."""
    forward, predictions = [first], []
    for depth, layer in enumerate(layers, 1):
        predictions.append(predict(INFER, layer, forward[-1], depth))
        forward.append(_fill(given.get(depth), predictions[-1].value, depth))
    return forward, predictions


#: The same for the shapes only; a meter does not count it.
_shapes = operation(lambda *_, **__: ())(_forward)


def _given_start(start: Start, given: Mapping[int, Clamp], like: Sequence[Tensor]) -> list[Tensor]:
    """The initial states that were passed, or that the function passed returns."""
    found = start({number: clamp.value for number, clamp in given.items()}) if callable(start) else start
    if isinstance(found, str) or not isinstance(found, Sequence):
        got = f"start={found!r}" if isinstance(found, str) else f"a {type(found).__name__} as start"
        expected = f"one of {', '.join(map(repr, STARTS))}, states, or a function"
        raise InputError(INFER, got=got, expected=expected)
    shapes = [tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__ for state in found]
    expected_shapes = [tuple(state.shape) for state in like]
    if shapes != expected_shapes:
        raise InputError(INFER, got=f"start of shapes {shapes}", expected=f"{expected_shapes}")
    return [state.to(like[0]) for state in found]


def _fill(clamp: Clamp | None, state: Tensor, number: int) -> Tensor:
    """The given value where there is one, else the state."""
    if clamp is None:
        return state
    check_like(clamp.value, state, f"layer {number} clamped to")
    return torch.where(clamp.unclamped, state, clamp.value) if isinstance(clamp.unclamped, Tensor) else clamp.value
