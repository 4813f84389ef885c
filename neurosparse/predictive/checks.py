"""Checks of a predictive network, its layers, its clamps and its inference plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosparse.checks import number, positive, whole
from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.predictive.channel import Channel
from neurosparse.predictive.foreign import predict_and_compare
from neurosparse.predictive.inference import InferencePlan
from neurosparse.predictive.layer import Prediction, PredictiveLayer
from neurosparse.predictive.problem import RelaxationProblem
from neurosparse.predictive.states import States

__all__ = [
    "INFER",
    "NETWORK",
    "check_distribution",
    "check_exact",
    "check_finite",
    "check_like",
    "check_nudge",
    "check_plan",
    "check_precisions",
    "check_states",
    "check_steps",
    "describe",
    "predict",
]

NETWORK, INFER = "PredictiveNetwork", "PredictiveNetwork.infer"
EXACT = ("fixed_prediction", "z_il")  # modes whose gradients are those of backpropagation


def check_steps(where: str, dt: Any, steps: Any) -> tuple[float | str, int]:
    """``dt`` above 0 or "auto", and ``steps`` at least 1."""
    automatic = isinstance(dt, str) and dt == "auto"
    fix = 'Pass dt=0.1, or dt="auto".'
    return "auto" if automatic else positive(where, "dt", dt, fix=fix), whole(where, "steps", steps)


def check_plan(plan: InferencePlan, mode: str, optimizer: object, by_hand: bool) -> None:
    """An optimizer in the mode "incremental" only, and channels that the mode and the layers allow."""
    if not (isinstance(optimizer, torch.optim.Optimizer) if mode == "incremental" else optimizer is None):
        got = f"mode={mode!r} with {'no optimizer' if optimizer is None else type(optimizer).__name__}"
        raise InputError(INFER, got=got, expected='a torch optimizer, with "incremental" only')
    channels = [channel for channel in (plan.error_channel, plan.state_channel) if channel is not None]
    for channel in channels:
        if not isinstance(channel, Channel):
            expected, fix = "a channel, or None", "Pass neurosparse.predictive.delta(0.1)."
            raise InputError(INFER, got=f"{channel!r} as a channel", expected=expected, fix=fix)
        if not by_hand:
            expected = 'layers by hand: nn.Linear or convolutions, gradients="hand"'
            raise InputError(INFER, got="a channel", expected=expected)
        if mode == "incremental" and channel.accumulates:
            expected = "a channel without running sums, since the weights of earlier transmissions change"
            raise InputError(INFER, got=f"{channel} in mode={mode!r}", expected=expected, fix="Pass graded(0.1).")
    if plan.state_channel is not None and mode in EXACT:
        expected = f"states sent as values in mode={mode!r}"
        raise InputError(INFER, got=f"state_channel={plan.state_channel}", expected=expected, fix='Pass mode="strict".')


def check_exact(problem: RelaxationProblem, mode: str, start: object) -> None:
    """The conditions under which the mode's weight gradient is that of backpropagation."""
    weighed = any(log is not None for log in problem.log_precisions[:-1])
    forward = isinstance(start, str) and start == "forward"
    if not forward or problem.unclamped[0] is not False or problem.nudge is not None or problem.priors or weighed:
        got = f"start={start!r}, nudge={problem.nudge}, priors {problem.priors or 'none'}"
        got += ", hidden precisions" if weighed else ""
        expected = f'x clamped, start="forward", no nudge, prior or precision of hidden layers for mode={mode!r}'
        raise InputError(INFER, got=got, expected=expected, fix='Pass mode="strict".')


def check_precisions(log_precisions: Sequence[Tensor | None], z: Sequence[Tensor]) -> None:
    """One precision, or one that broadcasts to the units."""
    for layer, (log, state) in enumerate(zip(log_precisions, z[1:], strict=True), 1):
        units = tuple(state.shape[1:])
        sizes = () if log is None else tuple(log.shape)
        fits = len(sizes) <= len(units) and all(a in (1, b) for a, b in zip(sizes[::-1], units[::-1], strict=False))
        if not fits:
            got = f"precision of shape {sizes} for layer {layer}"
            raise InputError(INFER, got=got, expected=f"a number, or a tensor that broadcasts to {units}")


def check_like(value: object, state: Tensor, name: str) -> None:
    """A value of the same shape and dtype as a state."""
    if not isinstance(value, Tensor) or (value.shape, value.dtype) != (state.shape, state.dtype):
        fix = "Reshape, one-hot or cast it."
        raise InputError(INFER, got=f"{name} {describe(value)}", expected=describe(state), fix=fix)


def check_nudge(nudge: Any, y: Tensor | None) -> float:
    """A weight other than 0, with a target."""
    fix = "Pass y and nudge=0.1."
    found = number(INFER, "nudge", nudge, above=-1e6, below=1e6, fix=fix)
    if y is None or not found:
        got = f"nudge={nudge!r}, y {'missing' if y is None else 'given'}"
        raise InputError(INFER, got=got, expected="a number other than 0, and y", fix=fix)
    return found


def check_states(where: str, states: object) -> None:
    """The result of an inference."""
    if not isinstance(states, States):
        raise InputError(where, got=type(states).__name__, expected="States", fix="Pass the result of infer.")


@operation(lambda *_, **__: ())
def check_finite(z: Sequence[Tensor], target: Tensor | None) -> None:
    """Finite states and a finite target."""
    named = [*((f"state {layer}", state) for layer, state in enumerate(z)), ("y", target)]
    for name, value in named:
        if value is not None and not bool(value.isfinite().all()):
            got = f"NaN or infinity in {name} before the first step"
            raise InputError(INFER, got=got, expected="finite values", fix="Clean the data, or the weights.")


@operation(lambda *_, **__: ())
def check_distribution(y: Tensor) -> None:
    """Targets of a cross entropy: rows of probabilities."""
    if y.dim() != 2 or bool((y < 0).any()) or not bool(((y.sum(-1) - 1).abs() < 1e-3).all()):
        got, fix = "a target that is no distribution", "One-hot the labels."
        raise InputError(INFER, got=got, expected="rows of y >= 0 that sum to 1, (samples, units)", fix=fix)


def predict(where: str, layer: PredictiveLayer, z: Tensor, depth: int) -> Prediction:
    """The prediction of state ``depth``, from a module of any kind: one floating-point tensor (samples, *units)."""
    expected, reason = f"units that predict layer {depth}", ""
    try:
        if where == INFER and layer.map is None:
            prediction, reason = predict_and_compare(layer, z)
        else:
            prediction = layer.predict(z)
    except InputError:
        raise
    except Exception as error:  # modules of others raise errors of any kind
        got = f"layer {depth - 1} of {describe(z)}, which {_name(layer)} refuses"
        fix = "Give each sample the shape and the dtype that the network was built for."
        raise InputError(where, got=got, expected=expected, fix=fix) from error
    value = prediction.value
    known = isinstance(value, Tensor) and value.is_floating_point()
    if not known or value.dim() < 2 or value.shape[:1] != z.shape[:1]:
        got = f"{describe(value)} from {_name(layer)}"
        raise InputError(where, got=got, expected=f"{expected}: one floating-point tensor (samples, *units)")
    if reason:
        parts = ", ".join(dict.fromkeys(type(m).__name__ for m in layer.module.modules() if not list(m.children())))
        kind, mode = type(layer.module).__name__, "in training mode" if layer.module.training else "in evaluation mode"
        got = f"{kind}{'' if parts == kind else f' of {parts}'} {mode}, which {reason}"
        expected = "a module that is the same function of each sample while states relax"
        fix = "Call network.eval(), or leave the module out." if layer.module.training else ""
        raise InputError(where, got=got, expected=expected, fix=fix)
    return prediction


def _name(layer: PredictiveLayer) -> str:
    """The module in one line; it takes as long as a small product."""
    return f"{' '.join(str(layer.module).split()):.100}"


def describe(value: object) -> str:
    """Dtype and shape of a tensor, the type of anything else."""
    return f"{value.dtype}, {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
