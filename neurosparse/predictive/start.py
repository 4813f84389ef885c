"""Where inference begins, and what is clamped: the given states checked, the others filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.predictive.layer import Layer, Prediction

__all__ = ["STARTS", "Clamp", "clamps", "begin"]

STARTS = ("forward", "zero", "normal")


class Clamp(NamedTuple):
    """A given state ``value`` (samples, *units); ``free``: False, or True where its units are not given after all."""

    value: Tensor
    free: bool | Tensor


def clamps(
    depth: int,
    x: Tensor | None,
    y: Tensor | None,
    more: Mapping[int, Tensor | tuple[Tensor, Tensor]] | None,
    check: bool = True,
) -> dict[int, Clamp]:
    """What is given, by the state's number: x is the first, y the last, and neither may be given twice."""
    where = "PredictiveNetwork.infer"
    given: dict[int, Clamp] = {
        number: Clamp(value, False) for number, value in ((0, x), (depth, y)) if value is not None
    }
    for number, value in (more or {}).items():
        if number not in range(depth + 1):
            raise InputError(where, got=f"clamp of layer {number!r}", expected=f"a whole number, 0 to {depth}")
        if number in given:
            got = f"layer {number} clamped by {'x' if number == 0 else 'y'} and by clamp"
            raise InputError(where, got=got, expected="each layer clamped once", fix="Leave one of them out.")
        given[number] = _masked(number, *value) if isinstance(value, tuple) else Clamp(value, False)
    if not given:
        raise InputError(where, got="nothing clamped", expected="x, y or clamp", fix="Pass x=data.")
    if check:
        _check(given)
    return dict(sorted(given.items()))


def _masked(number: int, value: Tensor, known: Tensor) -> Clamp:
    if known.dtype != torch.bool or known.shape != value.shape:
        got = f"a mask {known.dtype}, {tuple(known.shape)} for layer {number}"
        expected = f"torch.bool, {tuple(value.shape)}: True where the value is known"
        raise InputError("PredictiveNetwork.infer", got=got, expected=expected)
    return Clamp(torch.where(known, value, torch.zeros_like(value)), ~known)


@operation(lambda *_, **__: ())
def _check(given: Mapping[int, Clamp]) -> None:
    where, samples = "PredictiveNetwork.infer", len(next(iter(given.values())).value)
    for number, (value, _) in given.items():
        if value.dim() < 2 or len(value) != samples:
            expected = f"({samples} samples, *units) of layer {number}"
            raise InputError(where, got=f"shape {tuple(value.shape)}", expected=expected, fix="Samples come first.")
        if not bool(value.isfinite().all()):
            got = f"NaN or infinity in what layer {number} is clamped to"
            raise InputError(where, got=got, expected="finite values", fix="Clean them first.")


def begin(
    layers: Sequence[Layer],
    given: Mapping[int, Clamp],
    start: str | Sequence[Tensor] | Callable[[Mapping[int, Tensor]], Sequence[Tensor]],
    first_shape: Sequence[int] | None,
    generator: torch.Generator | None,
) -> tuple[list[Tensor], list[Prediction] | None]:
    """States before the first step, and the predictions between them where those are known already.

    Args:
        layers: the predictions.
        given: what is clamped.
        start: "forward", each free state on its prediction; "zero"; "normal", standard normal; the states themselves;
            or a function from what is given, by number, to all states (amortised inference).
        first_shape: units of the first state, for where it is free.
        generator: draws "normal".
    """
    sample = next(iter(given.values())).value
    if 0 not in given and first_shape is None:
        fix = "Pass input_shape=(channels, height, width) to PredictiveNetwork."
        raise InputError("PredictiveNetwork.infer", got="a free input of unknown shape", expected="its shape", fix=fix)
    forward = [given[0].value if 0 in given else sample.new_zeros(len(sample), *(first_shape or ()))]
    predictions = []
    for depth, layer in enumerate(layers, 1):
        predictions.append(_prediction(layer, forward[-1], depth))
        forward.append(_fill(given.get(depth), predictions[-1].value, depth))
    if start == "forward":
        return forward, predictions
    if start == "zero":
        chosen = [torch.zeros_like(state) for state in forward]
    elif start == "normal":
        drawn = [torch.randn(state.shape, generator=generator, dtype=state.dtype) for state in forward]
        chosen = [state.to(sample) for state in drawn]
    elif isinstance(start, str):
        expected = f"one of {', '.join(map(repr, STARTS))}, states, or a function"
        raise InputError("PredictiveNetwork.infer", got=f"start={start!r}", expected=expected)
    else:
        chosen = list(start({number: clamp.value for number, clamp in given.items()}) if callable(start) else start)
        shapes, wanted = [tuple(s.shape) for s in chosen], [tuple(state.shape) for state in forward]
        if shapes != wanted:
            raise InputError("PredictiveNetwork.infer", got=f"start of shapes {shapes}", expected=f"{wanted}")
    return [_fill(given.get(number), state, number) for number, state in enumerate(chosen)], None


def _prediction(layer: Layer, z: Tensor, depth: int) -> Prediction:
    try:
        return layer.predict(z)
    except (RuntimeError, ValueError) as error:
        got = f"layer {depth - 1} of shape {tuple(z.shape)}, which {layer.module} refuses"
        fix = "Give each sample the shape that the network was built for."
        raise InputError(
            "PredictiveNetwork.infer", got=got, expected=f"units that predict layer {depth}", fix=fix
        ) from error


def _fill(clamp: Clamp | None, state: Tensor, number: int) -> Tensor:
    """The state, where it is not given."""
    if clamp is None:
        return state
    if clamp.value.shape != state.shape:
        got, expected = f"layer {number} clamped to {tuple(clamp.value.shape)}", f"{tuple(state.shape)}"
        raise InputError("PredictiveNetwork.infer", got=got, expected=expected, fix="Reshape or one-hot it.")
    return torch.where(clamp.free, state, clamp.value) if isinstance(clamp.free, Tensor) else clamp.value
