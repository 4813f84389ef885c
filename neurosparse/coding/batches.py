"""A solver run part by part: in bounded memory, in units in which no square is lost, certified from the data.

With ``x = s x'`` and ``D = t D'`` the codes are ``a = (s / t) a'``, where ``a'`` solves the problem of ``x'``, ``D'``
and a penalty with other weights. ``s`` and ``t`` are powers of two, so that nothing is rounded, and 1 for usual data.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.coding.concave import lp
from neurosparse.coding.dictionary import certify, code_shape, make_problem
from neurosparse.coding.penalty import Penalty, l0
from neurosparse.coding.solver import Solver, SparseCodingProblem, Transmissions, no_cost
from neurosparse.errors import InputError
from neurosparse.events.operation import operation

__all__ = ["Budget", "Found", "parts", "rescaled", "size_of_atoms", "solve_parts"]

WIDE, NARROW = 32, 8  # powers of two that samples and atoms in one unit span
BATCH = 1 << 21  # coefficients that are solved at a time
FEW_EVENTS = 1 << 22  # that are kept without being asked for
ATTEMPTS = 2  # to reach a tolerance that the solver's own sums have missed by rounding


class Budget(NamedTuple):
    """Tolerance, largest number of iterations, and whether events are recorded (None: while they are few)."""

    tol: float
    steps: int
    record: bool | None


class Found(NamedTuple):
    """The tensors of a code."""

    a: Tensor
    objective: Tensor
    gap: Tensor
    iterations: Tensor
    transmissions: Transmissions | None


class Part(NamedTuple):
    """Samples that are solved together, and the power of two that is one in their unit."""

    samples: Tensor
    power: int


@operation(no_cost)
def parts(x: Tensor, coefficients: int) -> list[Part]:
    """Batches of samples of similar size; the unit of a sample does not depend on the others."""
    power, most = _power(x.flatten(1).abs().amax(1), WIDE), max(1, BATCH // coefficients)
    each = ((size, (power == size).nonzero().flatten()) for size in power.unique().tolist() or [0])
    return [Part(batch.to(x.device), int(size)) for size, samples in each for batch in samples.split(most)]


@operation(no_cost)
def size_of_atoms(dictionary: Tensor) -> int:
    """The power of two that is one in the unit of the atoms."""
    return int(_power(dictionary.flatten(1).double().norm(dim=1).amax()[None], NARROW))


def _power(size: Tensor, span: int) -> Tensor:
    exponent = torch.frexp(size.cpu())[1].double()
    return ((exponent / span).round() * span).long()


def rescaled(penalty: Penalty, data: int, atoms: int) -> Penalty:
    """The penalty of ``a'``, where one is ``2^data`` in the data and ``2^atoms`` in the atoms."""
    s, t = 2.0**data, 2.0**atoms
    if penalty.convex:
        weight = penalty.weight / s / t
        return replace(penalty, weight=weight, threshold=weight, ridge=penalty.ridge / t / t)
    weight = penalty.weight / s / s
    if penalty.name == "l0":
        return l0(weight)
    if penalty.name == "lp":
        return lp(weight * (s / t) ** penalty.shape[0], *penalty.shape)
    return replace(penalty, weight=weight, shape=(penalty.shape[0] * t / s,))


def solve_parts(
    x: Tensor, dictionary: Tensor, penalty: Penalty, solver: Solver, start: Tensor | None, budget: Budget
) -> Found:
    """The codes of all samples; ``start`` and the result are flat, (samples, coefficients)."""
    coefficients = math.prod(code_shape(x, dictionary)[1:])
    a = x.new_zeros(len(x), coefficients)
    objective, gap = x.new_zeros(2, len(x), dtype=torch.float64)
    whole = Found(a, objective, gap, torch.zeros(len(x), dtype=torch.int64, device=x.device), None)
    atoms, sent, record, like = size_of_atoms(dictionary), list[Transmissions](), budget.record, None
    dictionary = _in_unit(dictionary, None, atoms)
    for samples, power in parts(x, coefficients):
        chosen = None if len(samples) == len(x) else samples
        own, cost = _in_unit(x, chosen, power), rescaled(penalty, power, atoms) if power or atoms else penalty
        first = None if start is None else _in_unit(start, chosen, power - atoms)
        like = make_problem(own, dictionary, cost, like)
        found = _certified(own, dictionary, like, solver, first, budget._replace(record=record is not False))
        _store(found, whole, samples, power, atoms)
        if found.transmissions is not None:
            sent.append(_placed(found.transmissions, samples, coefficients, power - atoms))
            if record is None and sum(len(part.step) for part in sent) > FEW_EVENTS:
                sent, record = [], False
    if float(objective.amax() if len(objective) else 0) <= torch.finfo(a.dtype).max:  # otherwise it stays float64
        objective = objective.to(a.dtype)
    events = None if record is False else _joined(sent, a)
    return Found(a, objective, whole.gap.to(a.dtype), whole.iterations, events)


def _certified(
    x: Tensor,
    dictionary: Tensor,
    problem: SparseCodingProblem,
    solver: Solver,
    start: Tensor | None,
    budget: Budget,
) -> Found:
    """The codes of a solver with their certificates from the data.

    A solver stops by sums of its own, in the precision of the data. Samples whose certificate is above the tolerance
    all the same go on from their codes in float64.
    """
    tol, steps, record = budget
    a, iterations, _, sent = solver.run(problem, start, tol, steps, bool(record))
    objective, gap = certify(x, dictionary, problem, a)
    found = Found(a, objective, gap, iterations, None)
    events, like = [] if sent is None else [sent], None
    for attempt in range(1, ATTEMPTS + 1):
        left = _left(found, budget)
        if not len(left) or solver.sends == "spikes":
            break
        wide = x[left].double(), dictionary.double()
        like = make_problem(*wide, problem.penalty, like)
        rest = steps - int(iterations[left].max())
        codes, more, _, sent = solver.run(like, a[left].double(), tol / 4**attempt, rest, bool(record))
        if sent is not None:
            later = sent.step + iterations[left][sent.position // a.shape[1]]
            events.append(_placed(sent._replace(step=later), left, a.shape[1], 0))
        codes = codes.to(a.dtype)
        objective, gap = certify(*wide, like, codes)
        _store(Found(codes, objective, gap, iterations[left] + more, None), found, left, 0, 0)
    return found._replace(transmissions=_joined(events, a) if record else None)


@operation(no_cost)
def _left(found: Found, budget: Budget) -> Tensor:
    """Samples above the tolerance whose budget is not spent; a gap of NaN is above."""
    return ((found.gap <= budget.tol).logical_not() & (found.iterations < budget.steps)).nonzero().flatten()


@operation(no_cost)
def _in_unit(values: Tensor, rows: Tensor | None, power: int) -> Tensor:
    """Some rows (None: all), divided by a power of two."""
    own = values if rows is None else values[rows]
    return torch.ldexp(own.double(), torch.tensor(-power)).to(own.dtype) if power else own


@operation(no_cost)
def _store(found: Found, whole: Found, samples: Tensor, power: int, atoms: int) -> None:
    """Put the codes of a part to their places, in the units of the data."""
    a = found.a
    if power != atoms:
        a = torch.ldexp(a.double(), torch.tensor(power - atoms)).to(a.dtype)
        if not bool(a.isfinite().all()):
            got, fix = f"codes that {a.dtype} cannot hold", "Pass float64, or atoms in other units."
            raise InputError("solve", got=got, expected="finite codes", fix=fix)
    objective = torch.ldexp(found.objective, torch.tensor(2 * power)) if power else found.objective
    whole.a[samples], whole.objective[samples] = a, objective
    whole.gap[samples], whole.iterations[samples] = found.gap, found.iterations


@operation(no_cost)
def _placed(sent: Transmissions, samples: Tensor, coefficients: int, power: int) -> Transmissions:
    """Events of some samples at their places among all, in the units of the data."""
    position = samples[sent.position // coefficients] * coefficients + sent.position % coefficients
    value = sent.value if sent.value is None or sent.offset is not None else _in_unit(sent.value, None, -power)
    return sent._replace(position=position, value=value)


@operation(no_cost)
def _joined(parts: list[Transmissions], like: Tensor) -> Transmissions:
    """All events; at least one part."""
    step, position, value, offset = zip(*parts, strict=True)
    values = None if value[0] is None else torch.cat([part.to(like.dtype) for part in value])
    return Transmissions(torch.cat(step), torch.cat(position), values, None if offset[0] is None else torch.cat(offset))
