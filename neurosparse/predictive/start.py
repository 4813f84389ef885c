"""Where inference begins, and what is clamped: the given states checked, the others filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.predictive.layer import Layer, Prediction

__all__ = ["STARTS", "Clamp", "begin", "check_distribution", "check_finite", "check_like", "clamps"]

STARTS = ("forward", "zero", "normal")
WHERE = "PredictiveNetwork.infer"


class Clamp(NamedTuple):
    """A given state ``value`` (samples, *units); ``free``: False, or True where its units are not given after all."""

    value: Tensor
    free: bool | Tensor


def clamps(
    depth: int,
    x: Tensor | None,
    y: Tensor | None,
    more: Mapping[int, Tensor | tuple[Tensor, Tensor]] | None,
) -> dict[int, Clamp]:
    """What is given, by the state's number: x is the first, y the last, and neither may be given twice."""
    given = {number: _whole(number, value) for number, value in ((0, x), (depth, y)) if value is not None}
    if not isinstance(more or {}, Mapping):
        expected = "values by the number of their layer"
        raise InputError(WHERE, got=f"a {type(more).__name__} as clamp", expected=expected, fix="Pass {2: value}.")
    for number, value in (more or {}).items():
        if number not in range(depth + 1):
            raise InputError(WHERE, got=f"clamp of layer {number!r}", expected=f"a whole number, 0 to {depth}")
        if number in given:
            got = f"layer {number} clamped by {'x' if number == 0 else 'y'} and by clamp"
            raise InputError(WHERE, got=got, expected="each layer clamped once", fix="Leave one of them out.")
        given[number] = _masked(number, value) if isinstance(value, tuple) else _whole(number, value)
    if not given:
        raise InputError(WHERE, got="nothing clamped", expected="x, y or clamp", fix="Pass x=data.")
    samples = next(iter(given.values())).value.shape[:1]
    for number, (value, _) in given.items():
        if value.dim() < 2 or value.shape[:1] != samples:
            expected = f"({', '.join(map(str, samples)) or 'n'} samples, *units) of layer {number}"
            raise InputError(WHERE, got=f"shape {tuple(value.shape)}", expected=expected, fix="Samples come first.")
    return dict(sorted(given.items()))


def _whole(number: int, value: object) -> Clamp:
    if not isinstance(value, Tensor):
        got, expected = f"{type(value).__name__} for layer {number}", "a tensor (samples, *units)"
        raise InputError(WHERE, got=got, expected=expected, fix="Pass torch.as_tensor(data).")
    return Clamp(value.detach(), False)


def _masked(number: int, pair: Sequence[object]) -> Clamp:
    value, known = _whole(number, pair[0] if pair else None).value, pair[-1]
    if not (len(pair) == 2 and isinstance(known, Tensor) and known.dtype == torch.bool and known.shape == value.shape):
        got = f"{', '.join(_describe(part) for part in pair[1:]) or 'no mask'} as the mask of layer {number}"
        expected = f"torch.bool, {tuple(value.shape)}: True where the value is known"
        raise InputError(WHERE, got=got, expected=expected, fix="Pass (value, known).")
    return Clamp(torch.where(known, value, torch.zeros_like(value)), ~known)


def _describe(value: object) -> str:
    return f"{value.dtype}, {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def check_like(value: object, state: Tensor, name: str) -> None:
    """A value of the same shape and kind as a state."""
    if not isinstance(value, Tensor) or (value.shape, value.dtype) != (state.shape, state.dtype):
        fix = "Reshape, one-hot or cast it."
        raise InputError(WHERE, got=f"{name} {_describe(value)}", expected=_describe(state), fix=fix)


@operation(lambda *_, **__: ())
def check_finite(z: Sequence[Tensor], target: Tensor | None) -> None:
    """No state starts at NaN or infinity, and none is drawn there."""
    named = [*((f"state {number}", state) for number, state in enumerate(z)), ("y", target)]
    for name, value in named:
        if value is not None and not bool(value.isfinite().all()):
            got = f"NaN or infinity in {name} before the first step"
            raise InputError(WHERE, got=got, expected="finite values", fix="Clean the data, or the weights.")


@operation(lambda *_, **__: ())
def check_distribution(y: Tensor) -> None:
    """Rows that a cross entropy can compare with a softmax."""
    if bool((y < 0).any()) or not bool(((y.sum(-1) - 1).abs() < 1e-3).all()):
        got, fix = "a target that is no distribution", "One-hot the labels."
        raise InputError(WHERE, got=got, expected="rows of y >= 0 that sum to 1", fix=fix)


def begin(
    layers: Sequence[Layer],
    given: Mapping[int, Clamp],
    start: str | Sequence[Tensor] | Callable[[Mapping[int, Tensor]], Sequence[Tensor]],
    first_shape: Sequence[int] | None,
    generator: torch.Generator | int,
) -> tuple[list[Tensor], list[Prediction] | None]:
    """States before the first step, and the predictions between them where those are known already.

    Args:
        layers: the predictions.
        given: what is clamped.
        start: "forward", each free state on its prediction; "zero"; "normal", standard normal; the states themselves;
            or a function from what is given, by number, to all states (amortised inference).
        first_shape: units of the first state, for where it is free.
        generator: draws "normal"; an int is a seed.
    """
    sample = next(iter(given.values())).value
    if 0 not in given and first_shape is None:
        fix = "Pass input_shape=(channels, height, width) to PredictiveNetwork."
        raise InputError(WHERE, got="a free input of unknown shape", expected="its shape", fix=fix)
    first = given[0].value if 0 in given else sample.new_zeros(len(sample), *(first_shape or ()))
    if start == "forward":
        return _forward(layers, given, first)
    forward, _ = _shapes(layers, given, first)
    if start == "zero":
        chosen = [torch.zeros_like(state) for state in forward]
    elif start == "normal":
        seeded = generator if isinstance(generator, torch.Generator) else torch.Generator().manual_seed(generator)
        drawn = [torch.randn(state.shape, generator=seeded, dtype=state.dtype) for state in forward]
        chosen = [state.to(sample) for state in drawn]
    else:
        chosen = _given_start(start, given, forward)
    return [_fill(given.get(number), state, number) for number, state in enumerate(chosen)], None


def _forward(
    layers: Sequence[Layer], given: Mapping[int, Clamp], first: Tensor
) -> tuple[list[Tensor], list[Prediction]]:
    """Each state on its prediction, where it is not given, and the predictions."""
    forward, predictions = [first], []
    for depth, layer in enumerate(layers, 1):
        predictions.append(_prediction(layer, forward[-1], depth))
        forward.append(_fill(given.get(depth), predictions[-1].value, depth))
    return forward, predictions


#: The same where only the shapes are wanted, which a meter does not charge.
_shapes = operation(lambda *_, **__: ())(_forward)


def _given_start(
    start: str | Sequence[Tensor] | Callable[[Mapping[int, Tensor]], Sequence[Tensor]],
    given: Mapping[int, Clamp],
    like: Sequence[Tensor],
) -> list[Tensor]:
    """States that the caller chose, or his function."""
    found = start({number: clamp.value for number, clamp in given.items()}) if callable(start) else start
    if isinstance(found, str) or not isinstance(found, Sequence):
        got = f"start={found!r}" if isinstance(found, str) else f"a {type(found).__name__} as start"
        expected = f"one of {', '.join(map(repr, STARTS))}, states, or a function"
        raise InputError(WHERE, got=got, expected=expected)
    shapes = [tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__ for state in found]
    wanted = [tuple(state.shape) for state in like]
    if shapes != wanted:
        raise InputError(WHERE, got=f"start of shapes {shapes}", expected=f"{wanted}")
    return [state.to(like[0]) for state in found]


def _prediction(layer: Layer, z: Tensor, depth: int) -> Prediction:
    try:
        return layer.predict(z)
    except (RuntimeError, ValueError, IndexError) as error:
        got = f"layer {depth - 1} of {_describe(z)}, which {layer.module} refuses"
        fix = "Give each sample the shape and the dtype that the network was built for."
        raise InputError(WHERE, got=got, expected=f"units that predict layer {depth}", fix=fix) from error


def _fill(clamp: Clamp | None, state: Tensor, number: int) -> Tensor:
    """The state, where it is not given."""
    if clamp is None:
        return state
    check_like(clamp.value, state, f"layer {number} clamped to")
    return torch.where(clamp.free, state, clamp.value) if isinstance(clamp.free, Tensor) else clamp.value
