"""Codes of drawn problems: any scale, coherent and tiny atoms, both precisions, every method with exact steps."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import neurosparse as ns
from neurosparse.coding.active_set import exact_codes
from neurosparse.coding.dictionary import make_problem
from neurosparse.coding.penalty import Penalty

METHODS = ("coordinate_descent", "fista", "ista", "lca")
ATOMS = ("plain", "twins", "coherent", "norms", "tiny", "binary")


class Problem(NamedTuple):
    x: Tensor
    atoms: Tensor
    penalty: Penalty
    tol: float
    steps: int


@st.composite
def problems(draw) -> Problem:
    generator = np.random.default_rng(draw(st.integers(0, 10**9)))
    kind, dtype = draw(st.sampled_from(ATOMS)), draw(st.sampled_from([torch.float32, torch.float64]))
    samples, features, n = generator.integers(1, 5), generator.integers(2, 16), generator.integers(1, 30)
    x, atoms = generator.normal(size=(samples, features)), generator.normal(size=(n, features))
    if kind == "twins":
        atoms[1::3], atoms[2::3] = atoms[0], -atoms[0]
    elif kind == "coherent":
        atoms = atoms[:1] + 10 ** -generator.uniform(1, 6) * atoms
    elif kind == "norms":
        atoms *= 10 ** generator.uniform(-3, 3, (n, 1))
    elif kind == "tiny":
        atoms[0] *= 10 ** -generator.uniform(5, 25)
    elif kind == "binary":
        atoms = np.where(atoms > 0.8, 1.0, 0.0)
        atoms[~atoms.any(1), 0] = 1
    weight = np.abs(x @ atoms.T).max() * 10 ** -generator.uniform(0, 5)
    x[0] *= draw(st.sampled_from([0.0, 1.0, 1.0, 1e-5, 1e5]))
    most = 15 if dtype == torch.float32 else 28
    of_data, of_atoms = (10.0 ** draw(st.sampled_from([0, 0, -most, most])) for _ in range(2))
    penalty = draw(st.sampled_from([ns.l1, ns.nonnegative_l1, ns.elastic_net]))(weight * of_data * of_atoms)
    if penalty.ridge:
        penalty = replace(penalty, ridge=10 ** -generator.uniform(0, 6) * (of_atoms * np.abs(atoms).max()) ** 2)
    tol = 10 ** -generator.uniform(1, 8 if dtype == torch.float32 else 11)
    return Problem(
        torch.tensor(x * of_data, dtype=dtype),
        torch.tensor(atoms * of_atoms, dtype=dtype),
        penalty,
        tol,
        int(generator.integers(1, 200)),
    )


def solved(problem: Problem, method: str) -> tuple[ns.Code, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x, atoms, penalty, tol, steps = problem
        code = ns.solve(x, atoms, penalty, method, tol=tol, steps=steps)
    return code, [str(warning.message) for warning in caught]


def certificate(problem: Problem, a: Tensor) -> np.ndarray:
    """The relative duality gap, written down again, in the longest floating-point numbers of the machine."""
    x, atoms, a = (part.numpy().astype(np.longdouble) for part in (problem.x, problem.atoms, a))
    weight, ridge = problem.penalty.weight, problem.penalty.ridge
    residual = x - a @ atoms
    correlation = residual @ atoms.T - ridge * a
    overlap, square = (x * residual).sum(1), (residual**2).sum(1) + ridge * (a**2).sum(1)
    primal = square / 2 + weight * np.abs(a).sum(1)
    steep = correlation.max(1) if problem.penalty.name == "nonnegative_l1" else np.abs(correlation).max(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        feasible = np.where(steep > weight, weight / steep, 1)
        scale = np.minimum(
            np.maximum(np.where(square > 0, overlap / square, 0), 0), np.where(steep > 0, weight / steep, np.inf)
        )
        scale = np.where(np.isfinite(scale), scale, feasible)
        return np.where(primal > 0, np.maximum(primal - scale * overlap + scale**2 * square / 2, 0) / primal, 0)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25)
@given(problem=problems())
def test_a_code_is_within_tolerance_or_the_warning_names_its_gap(method, problem):
    code, told = solved(problem, method)
    assert code.a.isfinite().all() and code.gap.isfinite().all() and code.objective.isfinite().all()
    worst = float(code.gap.max())
    assert worst <= problem.tol or any(f"gap up to {worst:.1e}" in message for message in told), told
    rounding = 1e-5 if problem.x.dtype == torch.float32 else 1e-8
    np.testing.assert_allclose(
        code.gap.double().numpy(), certificate(problem, code.a).astype(float), rtol=1e-3, atol=rounding
    )


@settings(max_examples=15)
@given(problem=problems())
def test_more_events_are_never_worse(problem):
    """The objective falls with the budget, up to rounding."""
    few, more = (solved(problem._replace(steps=steps, tol=1e-12), "coordinate_descent")[0] for steps in (1, 20))
    rounding = 1e-5 if problem.x.dtype == torch.float32 else 1e-9
    assert (more.objective.double() <= few.objective.double() * (1 + rounding)).all()


@settings(max_examples=10)
@given(problem=problems(), data=st.sampled_from([-96, -32, 32, 96]), atoms=st.sampled_from([-64, -8, 8, 64]))
def test_codes_follow_the_units_of_data_and_atoms(problem, data, atoms):
    """By powers of two, which no rounding changes: ``2^s x`` and ``2^t D`` have the codes ``2^(s - t) a``."""
    plain = problem._replace(x=problem.x.double(), atoms=problem.atoms.double(), tol=1e-6, steps=500)
    penalty = plain.penalty
    weight = penalty.weight * 2.0 ** (data + atoms)
    cost = replace(penalty, weight=weight, threshold=weight, ridge=penalty.ridge * 4.0**atoms)
    scaled = plain._replace(x=plain.x * 2.0**data, atoms=plain.atoms * 2.0**atoms, penalty=cost)
    one, other = (solved(each, "coordinate_descent")[0] for each in (plain, scaled))
    torch.testing.assert_close(other.gap, one.gap, rtol=1e-3, atol=2e-6)
    torch.testing.assert_close(other.objective, one.objective * 4.0**data, rtol=1e-5, atol=0.0)


@settings(max_examples=20)
@given(problem=problems())
def test_an_exact_step_increases_no_objective(problem):
    x, atoms = problem.x.double(), problem.atoms.double()
    start = solved(problem._replace(x=x, atoms=atoms, steps=2), "fista")[0].a
    after = exact_codes(make_problem(x, atoms, problem.penalty), start)

    def objective(a: Tensor) -> Tensor:
        return 0.5 * (x - a @ atoms).square().sum(1) + problem.penalty.value(a)

    assert (objective(after) <= objective(start) * (1 + 1e-9)).all()
    assert ((after == 0) | (after.sign() == start.sign())).all()


def test_float32_that_cannot_reach_the_tolerance_is_told_to_take_float64():
    generator = torch.Generator().manual_seed(0)
    x, atoms = torch.randn(5, 12, generator=generator), torch.randn(30, 12, generator=generator)
    with pytest.warns(ns.NotConverged, match="rounding of torch.float32. Pass float64 data"):
        ns.solve(x, atoms, ns.l1(0.1), "event", tol=1e-9, steps=10**5)


def test_events_of_many_samples_are_kept_when_asked(monkeypatch):
    monkeypatch.setattr("neurosparse.coding.batches.FEW_EVENTS", 50)
    monkeypatch.setattr("neurosparse.coding.batches.BATCH", 60)
    generator = torch.Generator().manual_seed(0)
    x, atoms = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for n in (20, 12))
    code = ns.solve(x, atoms, ns.l1(0.1), "event")
    with pytest.raises(ns.InputError, match="record_events=True"):
        code.events  # noqa: B018
    kept = ns.solve(x, atoms, ns.l1(0.1), "event", record_events=True)
    torch.testing.assert_close(kept.a, code.a)
    levels = kept.events.cumulate().dense()
    for sample, last in enumerate(kept.iterations.tolist()):
        torch.testing.assert_close(levels[last - 1, sample], kept.a[sample], atol=1e-12, rtol=0)
