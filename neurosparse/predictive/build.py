"""The parts of a predictive network from its arguments: modules, precisions, priors, shape of the first state."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.checks import positive, tensor, whole
from neurosparse.errors import InputError
from neurosparse.predictive.checks import NETWORK
from neurosparse.predictive.problem import Prior

__all__ = ["modules_of", "precisions_of", "priors_of", "shape_of"]


def modules_of(layers: Sequence[int] | Sequence[nn.Module]) -> nn.ModuleList:
    """Linear layers between the sizes, or the modules themselves."""
    one = isinstance(layers, nn.Module) and not isinstance(layers, nn.ModuleList)
    given = [layers] if one or isinstance(layers, str) or not isinstance(layers, Iterable) else list(layers)
    if given and all(isinstance(layer, nn.Module) for layer in given):
        return nn.ModuleList(given)  # pyright: ignore[reportArgumentType]
    if len(given) < 2 or any(isinstance(layer, nn.Module) for layer in given):
        got = f"layers={layers!r}" if len(str(layers)) < 200 else f"{len(given)} layers"
        expected = "at least two whole numbers above 0, or modules"
        raise InputError(NETWORK, got=got, expected=expected, fix="Pass (784, 256, 10).")
    sizes = [whole(NETWORK, f"layers[{k}]", size, fix="Pass (784, 256, 10).") for k, size in enumerate(given)]
    return nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes))


def precisions_of(
    precision: float | Sequence[float | Tensor], learn: bool, cross_entropy: bool, depth: int
) -> nn.ParameterDict:
    """``log pi`` by layer, where it is learned or not 0; a cross entropy has no precision."""
    if isinstance(precision, str) or not isinstance(precision, Sequence):
        named = [("precision", precision)] * depth
    else:
        named = [(f"precision[{k}]", value) for k, value in enumerate(precision)]
    if len(named) != depth:
        fix = f"Pass one number, or {depth}: one for each layer that is predicted."
        raise InputError(NETWORK, got=f"{len(named)} precisions", expected=f"{depth} numbers or tensors", fix=fix)
    found = nn.ParameterDict()
    for layer, (name, value) in enumerate(named, 1):
        checked = _precision(value, name)
        if cross_entropy and layer == depth:
            if bool((checked != 1).any()):
                got = f"precision {value!r} of an output with cross entropy"
                raise InputError(NETWORK, got=got, expected="1", fix='Pass output="squared", or 1.')
        elif learn or bool((checked != 1).any()):
            found[str(layer)] = nn.Parameter(checked.log(), requires_grad=learn)
    return found


def _precision(value: Any, name: str) -> Tensor:
    """One precision, or one per unit, as a tensor of the default dtype."""
    fix, dtype = "Pass 1 / variance.", torch.get_default_dtype()
    if not (isinstance(value, Tensor | np.ndarray) and value.ndim):
        return torch.as_tensor(positive(NETWORK, name, value, fix=fix), dtype=dtype)
    found = tensor(NETWORK, name, value, ", ".join(["units"] * value.ndim), fix).detach().to(dtype)
    if not bool((found > 0).all()):
        raise InputError(NETWORK, got=f"{name} with {float(found.min()):g}", expected="numbers above 0", fix=fix)
    return found


def priors_of(prior: Mapping[int, Prior] | None, depth: int) -> dict[int, Prior]:
    """Priors by the number of their state."""
    fix = "Pass {0: ns.l1(0.1)}."
    if not isinstance(prior or {}, Mapping):
        raise InputError(NETWORK, got=f"prior {prior!r}", expected="penalties by the number of their state", fix=fix)
    found = {}
    for state, value in (prior or {}).items():
        if not (hasattr(value, "prox") and hasattr(value, "value")):
            raise InputError(NETWORK, got=f"prior {value!r}", expected="a penalty, such as ns.l1(0.1)", fix=fix)
        found[whole(NETWORK, "number of a state in prior", state, 0, depth, fix)] = value
    return found


def shape_of(units: Sequence[int] | None) -> tuple[int, ...] | None:
    """The shape of the first state, if it is given."""
    if units is None:
        return None
    fix = "Pass (1, 28, 28)."
    if isinstance(units, str) or not isinstance(units, Iterable):
        raise InputError(NETWORK, got=f"input_shape={units!r}", expected="whole numbers above 0", fix=fix)
    return tuple(whole(NETWORK, f"input_shape[{k}]", size, fix=fix) for k, size in enumerate(units))
