"""Stability of inference: the step from the curvature of the energy, and the check that the energy of a run falls."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.predictive.checks import EXACT, INFER
from neurosparse.predictive.curvature import extreme_curvatures
from neurosparse.predictive.inference import InferencePlan, relax
from neurosparse.predictive.layer import Prediction
from neurosparse.predictive.problem import RelaxationProblem
from neurosparse.predictive.states import States

__all__ = ["EnergyIncreased", "relax_stably", "stable_step"]

HALVINGS = 20
SLACK = 0.25
"""Where the slope of an activation jumps, the energy of a stable run may rise for a few steps, by this share of its
first value at most. Found with ReLU: 0.05 at ``dt="auto"``, 0.12 at 1.9 over the curvature."""


class EnergyIncreased(UserWarning):
    """Warning: the energy rose, and inference was repeated with a shorter step; or it rose through its channels.

    Example:
        >>> issubclass(EnergyIncreased, UserWarning)
        True
    """


@operation(lambda *_, **__: ())
def stable_step(
    problem: RelaxationProblem, z: Sequence[Tensor], dt: float | None, predictions: Sequence[Prediction] | None
) -> float:
    """The step unless the curvature forbids it, or with None one over the curvature.

    A choice of the step is no inference, so a meter does not count it.

    Raises:
        InputError: a step beyond 2 over the curvature; a quadratic energy without a minimum.
    """
    lowest, largest = extreme_curvatures(problem, z, predictions)
    if math.isinf(largest):
        got, expected = "a curvature beyond the largest float", "weights and states of moderate size"
        raise InputError(INFER, got=got, expected=expected, fix="Scale them, or pass float64.")
    if lowest < -1e-3 * abs(largest) and problem.is_quadratic:
        got, expected = f"nudge={problem.nudge:g}", "an energy with a minimum: it falls without bound in some direction"
        raise InputError(INFER, got=got, expected=expected, fix="Pass a nudge nearer to 0.")
    if dt is None:
        return 1 / largest if largest > 0 else 1.0
    if dt * largest > 2:
        got, expected = f"dt={dt:g}", f"at most 2 / curvature = {2 / largest:.3g}: beyond it errors grow"
        raise InputError(INFER, got=got, expected=expected, fix='Pass dt="auto".')
    return dt


def relax_stably(
    problem: RelaxationProblem,
    z: Sequence[Tensor],
    plan: InferencePlan,
    known: Sequence[Prediction] | None,
    automatic: bool,
    undo: Callable[[], None],
) -> States:
    """`relax`; a run whose energy rises is undone, and with an automatic step repeated with half of it.

    Args:
        problem, z, plan, known: as for `relax`.
        automatic: whether the step may be shortened.
        undo: restores the weights, where these step with the states.

    Raises:
        InputError: the energy rises, or it is not finite.
    """
    first = plan.dt
    for _ in range(HALVINGS):
        states = relax(problem, z, plan, known)
        risen = _rising_samples(problem, z, plan, states, automatic)
        if not bool(risen.any()):
            if plan.dt != first:
                message = f"the energy rose with dt={first:g}. The states are those of dt={plan.dt:g}."
                warnings.warn(f"{INFER}: {message}", EnergyIncreased, stacklevel=4)
            return states
        undo()
        if not automatic or not bool(states.energies[0].isfinite().all()):
            break
        plan, known = replace(plan, dt=states.dt / 2), None  # the run has used the memory of the known predictions
    raise _refusal(states, risen)


@operation(lambda *_, **__: ())
def _rising_samples(
    problem: RelaxationProblem, z: Sequence[Tensor], plan: InferencePlan, states: States, automatic: bool
) -> Tensor:
    """True for each sample of a run that diverges: (samples,)."""
    energies = states.energies
    falling = bool((energies[1:] <= energies[:-1]).all())
    if falling and math.isfinite(float(energies.sum())):
        return torch.zeros_like(energies[0], dtype=torch.bool)
    diverged = ~energies.isfinite().all(0)
    if plan.mode in EXACT or falling or bool(diverged.any()):
        return diverged
    rounding, first = _rounding(problem, states)
    higher = energies[-1] > energies[0] + rounding
    total = float(energies[-1].sum()) > float((energies[0] + rounding).sum())
    if plan.error_channel is None and plan.state_channel is None and plan.after_step is None:
        allowed = rounding if _falls(problem, automatic) else rounding + SLACK * first
        rises = (energies - energies.cummin(0).values > allowed).any(0)
        return rises | higher if total else rises
    if total and plan.after_step is None:
        return _rising_through_channels(problem, z, plan, automatic)
    return higher if total else diverged


def _rising_through_channels(
    problem: RelaxationProblem, z: Sequence[Tensor], plan: InferencePlan, automatic: bool
) -> Tensor:
    """Samples that diverge without channels too. Otherwise the noise of the channels has raised the energy."""
    direct = replace(plan, error_channel=None, state_channel=None, record=False)
    risen = _rising_samples(problem, z, direct, relax(problem, z, direct), automatic)
    noisy = plan.state_channel is not None and plan.state_channel.spikes  # predictions made of single spikes
    if not noisy and not bool(risen.any()):
        message = "the energy increased by what the channels leave out. Pass a lower threshold."
        warnings.warn(f"{INFER}: {message}", EnergyIncreased, stacklevel=7)
    return risen


def _falls(problem: RelaxationProblem, automatic: bool) -> bool:
    """Whether the energy of a stable run falls at every step: quadratic, or smooth with half the bound as step."""
    layers = problem.layers
    smooth = all(layer.map is not None and layer.before.smooth and layer.after.smooth for layer in layers)
    return problem.is_quadratic or (smooth and automatic)


def _rounding(problem: RelaxationProblem, states: States) -> tuple[Tensor, Tensor]:
    """What rounding may add to the energy of each sample, and the first energy without its constant: (samples,) each.

    A relative error ``r`` of states of size ``s`` changes the energy ``E`` by ``r s sqrt(2 E) + (r s)^2 / 2``. In a
    prediction the states are multiplied by weights, whose square is at most the curvature, about ``1 / dt``.
    """
    first = states.energies[0].clone()
    sizes = states.z[0].square().flatten(1).sum(1)
    for state, log in zip(states.z[1:], problem.log_precisions, strict=True):
        if log is not None:
            first += 0.5 * log.expand(state.shape[1:]).sum()
        sizes = sizes + (state.square() if log is None else state.square() * log.exp()).flatten(1).sum(1)
    first, eps = first.abs(), torch.finfo(first.dtype).eps
    error = 4 * eps * (sizes * max(1.0, 1 / states.dt)).sqrt()
    return error * (2 * first).sqrt() + error.square() + 16 * eps * states.energies[0].abs(), first


def _refusal(states: States, risen: Tensor) -> InputError:
    energies = states.energies
    if not bool(energies[0].isfinite().all()):
        got, fix = f"an energy of {float(energies[0].sum())} before the first step", "Clean the data, or the weights."
        return InputError(INFER, got=got, expected="finite values", fix=fix)
    energies = energies.nan_to_num(torch.inf)
    lowest = energies.cummin(0).values
    step, worst = divmod(int(torch.where(risen, energies - lowest, -1.0).argmax()), len(risen))
    got = f"dt={states.dt:g}, with which the energy of {int(risen.sum())} of {len(risen)} samples rises"
    got += f", of sample {worst} from {float(lowest[step, worst]):.3g} to {float(energies[step, worst]):.3g}"
    fix = 'Pass dt="auto", or a smaller dt.'
    return InputError(INFER, got=got, expected="a step with which the energy falls", fix=fix)
