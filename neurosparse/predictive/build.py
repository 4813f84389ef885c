"""The parts of a network from its arguments: modules, precisions, priors, all checked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.predictive.channel import Channel
from neurosparse.predictive.inference import Plan
from neurosparse.predictive.problem import Prior, Problem

__all__ = [
    "check_choice",
    "check_exact",
    "check_pace",
    "check_plan",
    "check_precisions",
    "modules_of",
    "precisions_of",
    "priors_of",
    "shape_of",
]

WHERE, INFER = "PredictiveNetwork", "PredictiveNetwork.infer"


def modules_of(layers: Sequence[int] | Sequence[nn.Module]) -> nn.ModuleList:
    """Linear layers between the sizes, or the modules themselves."""
    if isinstance(layers, nn.Module) or not isinstance(layers, Iterable):
        layers = (layers,)  # type: ignore[assignment]
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
    given = list(precision) if isinstance(precision, Sequence) else [precision] * depth
    if len(given) != depth or not all(isinstance(value, int | float | Tensor) for value in given):
        got = f"{len(given)} precisions" if len(given) != depth else f"precision={precision!r}"
        fix = f"Pass one number, or {depth}: one for each layer that is predicted."
        raise InputError(WHERE, got=got, expected=f"{depth} numbers or tensors", fix=fix)
    found = nn.ParameterDict()
    for number, value in enumerate(given, 1):
        tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach()
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
    if not isinstance(prior or {}, Mapping):
        expected = "penalties by the number of their state"
        raise InputError(WHERE, got=f"prior {prior!r}", expected=expected, fix="Pass {0: ns.l1(0.1)}.")
    for number, value in (prior or {}).items():
        if number not in range(depth + 1):
            expected = f"numbers of states, 0 to {depth}"
            raise InputError(WHERE, got=f"prior of state {number!r}", expected=expected)
        if not (hasattr(value, "prox") and hasattr(value, "value")):
            expected = "a penalty, such as ns.l1(0.1)"
            raise InputError(WHERE, got=f"prior {value!r}", expected=expected, fix="Pass {0: ns.l1(0.1)}.")
    return dict(prior or {})


def shape_of(units: Sequence[int] | None) -> tuple[int, ...] | None:
    """The shape of the first state, if it is given."""
    if units is None:
        return None
    if not (isinstance(units, Sequence) and all(type(size) is int and size > 0 for size in units)):
        expected = "whole numbers above 0"
        raise InputError(WHERE, got=f"input_shape={units!r}", expected=expected, fix="Pass (1, 28, 28).")
    return tuple(units)


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


def check_plan(plan: Plan, mode: str, optimizer: object, by_hand: bool) -> None:
    """An optimizer where weights step with the states, a tolerance, and channels that the mode can do with."""
    if not (isinstance(optimizer, torch.optim.Optimizer) if mode == "incremental" else optimizer is None):
        got = f"mode={mode!r} with {'no optimizer' if optimizer is None else type(optimizer).__name__}"
        raise InputError(INFER, got=got, expected='a torch optimizer, with "incremental" alone')
    if isinstance(plan.tol, bool) or not (isinstance(plan.tol, int | float) and 0 <= plan.tol < float("inf")):
        raise InputError(INFER, got=f"tol={plan.tol!r}", expected="a number, 0 or more", fix="Pass tol=1e-6.")
    channels = [channel for channel in (plan.error_channel, plan.state_channel) if channel is not None]
    for channel in channels:
        if not isinstance(channel, Channel):
            expected, fix = "a channel, or None", "Pass neurosparse.predictive.delta(0.1)."
            raise InputError(INFER, got=f"{channel!r} as a channel", expected=expected, fix=fix)
        if not by_hand:
            expected = 'layers by hand: nn.Linear or convolutions, gradients="hand"'
            raise InputError(INFER, got="a channel", expected=expected)
        if mode == "incremental" and channel.accumulates:
            expected = "none that adds up changes, since the weights of what was sent before change"
            raise InputError(INFER, got=f"{channel} in mode={mode!r}", expected=expected, fix="Pass graded(0.1).")
    if plan.state_channel is not None and mode in ("fixed_prediction", "z_il"):
        expected = f"states sent as they are in mode={mode!r}"
        raise InputError(INFER, got=f"state_channel={plan.state_channel}", expected=expected, fix='Pass mode="strict".')


def check_exact(problem: Problem, mode: str, start: object) -> None:
    """Whether what the mode learns is the gradient of backpropagation."""
    weighed = any(log is not None for log in problem.log_precisions[:-1])
    if start != "forward" or problem.free[0] is not False or problem.nudge is not None or problem.priors or weighed:
        got = f"start={start!r}, nudge={problem.nudge}, priors {problem.priors or 'none'}"
        got += ", hidden precisions" if weighed else ""
        expected = f'x clamped, start="forward", no nudge, prior or precision of hidden layers for mode={mode!r}'
        raise InputError(INFER, got=got, expected=expected, fix='Pass mode="strict".')


def check_precisions(log_precisions: Sequence[Tensor | None], z: Sequence[Tensor]) -> None:
    """One precision, or one that broadcasts to the units."""
    for number, (log, state) in enumerate(zip(log_precisions, z[1:], strict=True), 1):
        units = tuple(state.shape[1:])
        sizes = () if log is None else tuple(log.shape)
        fits = len(sizes) <= len(units) and all(a in (1, b) for a, b in zip(sizes[::-1], units[::-1], strict=False))
        if not fits:
            got = f"precision of shape {sizes} for layer {number}"
            raise InputError(INFER, got=got, expected=f"a number, or what broadcasts to {units}")
