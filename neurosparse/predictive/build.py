"""The parts of a network from its arguments: modules, precisions, priors, all checked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.predictive.problem import Prior

__all__ = ["check_choice", "check_pace", "modules_of", "precisions_of", "priors_of"]

WHERE = "PredictiveNetwork"


def modules_of(layers: Sequence[int] | Sequence[nn.Module]) -> nn.ModuleList:
    """Linear layers between the sizes, or the modules themselves."""
    modules = [layer for layer in layers if isinstance(layer, nn.Module)]
    sizes = [size for size in layers if type(size) is int and size > 0]
    if modules and len(modules) == len(layers):
        return nn.ModuleList(modules)
    if len(sizes) < 2 or len(sizes) < len(layers):
        got = f"layers={layers!r}" if len(str(layers)) < 200 else f"{len(layers)} layers"
        expected = "at least two whole numbers above 0, or modules"
        raise InputError(WHERE, got=got, expected=expected, fix="Pass (784, 256, 10).")
    return nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes))


def precisions_of(
    precision: float | Sequence[float | Tensor], learn: bool, cross_entropy: bool, depth: int
) -> nn.ParameterDict:
    """``log pi`` by layer, where it is learned or not 0; a cross entropy has none."""
    given = [precision] * depth if isinstance(precision, int | float) else list(precision)
    if len(given) != depth:
        fix = f"Pass one number, or {depth}: one for each layer that is predicted."
        raise InputError(WHERE, got=f"{len(given)} precisions", expected=f"{depth}", fix=fix)
    found = nn.ParameterDict()
    for number, value in enumerate(given, 1):
        tensor = torch.as_tensor(value, dtype=torch.get_default_dtype())
        if not bool(((tensor > 0) & tensor.isfinite()).all()):
            got = f"precision {value!r} of layer {number}"
            raise InputError(WHERE, got=got, expected="finite numbers above 0", fix="Pass 1 / variance.")
        if cross_entropy and number == depth:
            if bool((tensor != 1).any()):
                got = f"precision {value!r} of an output with cross entropy"
                raise InputError(WHERE, got=got, expected="1", fix='Pass output="squared", or 1.')
        elif learn or bool((tensor != 1).any()):
            found[str(number)] = nn.Parameter(tensor.log(), requires_grad=learn)
    return found


def priors_of(prior: Mapping[int, Prior] | None, depth: int) -> dict[int, Prior]:
    """Priors by the number of their state."""
    for number, value in (prior or {}).items():
        if number not in range(depth + 1):
            expected = f"numbers of states, 0 to {depth}"
            raise InputError(WHERE, got=f"prior of state {number!r}", expected=expected)
        if not (hasattr(value, "prox") and hasattr(value, "value")):
            expected = "a penalty, such as ns.l1(0.1)"
            raise InputError(WHERE, got=f"prior {value!r}", expected=expected, fix="Pass {0: ns.l1(0.1)}.")
    return dict(prior or {})


def check_choice(where: str, name: str, value: str, known: Sequence[str]) -> None:
    """One of the known words, or an error that lists them."""
    if value not in known:
        raise InputError(where, got=f"{name}={value!r}", expected=f"one of {', '.join(map(repr, known))}")


def check_pace(where: str, dt: float | str, steps: int) -> None:
    """``dt`` above 0 or "auto", ``steps`` a whole number above 0."""
    number = isinstance(dt, int | float) and not isinstance(dt, bool)
    if not (dt == "auto" or (number and 0 < dt < float("inf"))):  # type: ignore[operator]
        raise InputError(where, got=f"dt={dt!r}", expected='a number above 0, or "auto"', fix="Pass dt=0.1.")
    if not (type(steps) is int and steps > 0):
        raise InputError(where, got=f"steps={steps!r}", expected="a whole number above 0", fix="Pass steps=20.")
