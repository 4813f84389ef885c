"""The loop of methods that move all coefficients of a sample at once, over the samples that are still active."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neurosparse.coding.problem import Problem, State, certificate, free
from neurosparse.events.operation import operation

__all__ = ["Method", "Solved", "Transmissions", "iterate", "iterated"]

CHECK_EVERY = 10  # iterations between two looks at the certificate


class Transmissions(NamedTuple):
    """What was sent, one entry an event, in any order.

    Args:
        step: the iteration, from 0.
        position: flat in (samples, coefficients).
        value: what was sent; None where it was a spike.
        offset: of spikes in time, nanoseconds after the start of the step.
    """

    step: Tensor
    position: Tensor
    value: Tensor | None
    offset: Tensor | None = None


class Solved(NamedTuple):
    """What a method hands back: codes, iterations of each sample, who has not converged, and what was sent if kept."""

    codes: Tensor
    iterations: Tensor
    left: Tensor
    transmissions: Transmissions | None


class Method(NamedTuple):
    """A row of the table of methods.

    Args:
        run: ``run(problem, warm_start, tol, steps, record) -> Solved``.
        steps: how many it may take by default.
        tol: the gap it reaches in so many.
        penalties: names of those it can solve; None: all.
        convolves: whether it does without the matrix of weights.
        sends: what its events are: coefficients, changes of coefficients, or spikes in time.
    """

    run: Callable[[Problem, Tensor | None, float, int, bool], Solved]
    steps: int
    tol: float = 1e-4
    penalties: tuple[str, ...] | None = None
    convolves: bool = False
    sends: Literal["levels", "changes", "spikes"] = "levels"


def iterated(method: ModuleType, steps: int = 500) -> Method:
    """The method of a file with ``start`` and ``update``."""
    return Method(partial(iterate, method), steps, convolves=True)


def iterate(
    method: ModuleType, problem: Problem, warm_start: Tensor | None, tol: float, steps: int, record: bool
) -> Solved:
    """Run a method on the samples that are still active; each leaves when it has converged."""
    a = torch.zeros_like(problem.drive) if warm_start is None else warm_start
    codes, active = a.clone(), torch.arange(len(a), device=a.device)
    iterations = torch.zeros_like(active)
    # From silence there is nothing to send.
    inhibition = torch.zeros_like(a) if warm_start is None else problem.inhibit(a)
    state: State = method.start(problem, a, inhibition)
    sent: list[tuple[Tensor, ...]] = []
    for iteration in range(1, steps + 1):
        a, state = method.update(problem, a, inhibition, state)
        inhibition = problem.inhibit(a)
        if record:
            sent.append(_transmitted(a, active, iteration - 1))
        if iteration % CHECK_EVERY and iteration < steps:
            continue
        codes[active], iterations[active] = a, iteration
        # Not "above tol": a gap that is not a number has not converged.
        left = (certificate(problem, a, inhibition)[1] <= tol).logical_not().nonzero()[:, 0]
        if len(left) < len(active):
            active, problem = active[left], problem.keep(left)
            a, inhibition, state = a[left], inhibition[left], tuple(part[left] for part in state)
        if not len(active):
            break
    return Solved(codes, iterations, active, _together(sent) if record else None)


@operation(free)
def _transmitted(a: Tensor, active: Tensor, step: int) -> tuple[Tensor, ...]:
    """Steps, positions (in the whole batch) and values of the coefficients that are sent."""
    sample, atom = a.nonzero(as_tuple=True)
    return torch.full_like(sample, step), active[sample] * a.shape[1] + atom, a[sample, atom]


@operation(free)
def _together(sent: list[tuple[Tensor, ...]]) -> Transmissions:
    return Transmissions(*map(torch.cat, zip(*sent, strict=True)))
