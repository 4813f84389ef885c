"""LASSO codes of dependent atoms: certified by a gap computed here, and not above the objective of scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, LassoLars

import neurosparse as ns
from neurosparse.coding.coordinate_descent import by_any_penalty, by_threshold
from neurosparse.coding.dictionary import certify, certify_reference, make_problem
from neurosparse.kernels.active_set import exact_reference, exact_step

KINDS = (
    "duplicates",
    "opposites",
    "collinear",
    "deficient",
    "nearly",
    "orthogonal",
    "single",
    "more atoms than features",
)
TOL = 1e-10


def problem(seed: int, kind: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Data, atoms of norm one, and a lambda from 1e-4 of the largest correlation to above it."""
    rng = np.random.default_rng(seed)
    features, n = int(rng.integers(2, 20)), int(rng.integers(2, 60))
    atoms = rng.normal(size=(n, features))
    if kind == "duplicates":
        atoms = atoms[rng.integers(0, max(n // 3, 1), n)]
    elif kind == "opposites":
        atoms = atoms[rng.integers(0, max(n // 2, 1), n)] * rng.choice([-1, 1], (n, 1))
    elif kind == "collinear":  # groups in planes: every third atom is a sum of two others
        atoms[2::3] = atoms[: len(atoms[2::3])] + atoms[1 : 1 + len(atoms[2::3])]
    elif kind == "deficient":
        rank = int(rng.integers(1, features + 1))
        atoms = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, features))
    elif kind == "nearly":
        atoms = atoms[:1] + 10 ** -rng.uniform(1, 3) * atoms
    elif kind == "orthogonal":
        atoms = np.eye(features)[rng.integers(0, features, n)]
    elif kind == "single":
        atoms = atoms[:1]
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    x = rng.normal(size=(3, features))
    x[0] *= rng.choice([0.0, 1.0])
    return x, atoms, float(np.abs(x @ atoms.T).max() * 10 ** rng.uniform(-4, 0.2))


def gap(x: np.ndarray, atoms: np.ndarray, weight: float, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Objective and relative gap at the residual, scaled to be dual feasible."""
    residual = x - a @ atoms
    primal = 0.5 * (residual**2).sum(1) + weight * np.abs(a).sum(1)
    scale = np.minimum(1, weight / np.maximum(np.abs(residual @ atoms.T).max(1), 1e-300))
    dual = scale * (x * residual).sum(1) - 0.5 * scale**2 * (residual**2).sum(1)
    return primal, np.where(primal > 0, (primal - dual) / np.where(primal > 0, primal, 1), 0)


def rounding(atoms: np.ndarray, weight: float, a: np.ndarray) -> float:
    """Relative gap that rounding of ``a D``, by up to eps |a|, may leave: the dual point is scaled by lambda."""
    return float(np.finfo(np.float64).eps * np.abs(a).sum(1).max() * np.linalg.norm(atoms, axis=1).max() / weight)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**9), kind=st.sampled_from(KINDS))
def test_dependent_atoms_are_certified_without_a_warning(seed, kind):
    """Nearly equal atoms have large coefficients of opposite signs, whose rounding alone may exceed the tolerance."""
    x, atoms, weight = problem(seed, kind)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        code = ns.solve(torch.from_numpy(x), torch.from_numpy(atoms), ns.l1(weight), "event", tol=TOL)
    objective, found = gap(x, atoms, weight, code.a.numpy())
    floor = rounding(atoms, weight, code.a.numpy())
    assert not warned or floor > TOL
    assert (found <= max(10 * TOL, floor)).all()
    np.testing.assert_allclose(code.objective.numpy(), objective, rtol=1e-12, atol=1e-300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of its own tolerance and of dependent atoms
        for peer in (Lasso, LassoLars):
            options = {"alpha": weight / x.shape[1], "fit_intercept": False, "max_iter": 2000}
            theirs = np.stack([peer(**options).fit(atoms.T, sample).coef_ for sample in x])
            assert (objective <= gap(x, atoms, weight, theirs)[0] * (1 + TOL + floor) + 1e-300).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 10**9), kind=st.sampled_from(KINDS), wide=st.booleans(), steps=st.integers(1, 50))
def test_the_certificate_equals_that_of_dense_products(seed, kind, wide, steps):
    """In float32, too: atoms that may hold the maximum are computed again in float64."""
    x, atoms, weight = problem(seed, kind)
    dtype = torch.float64 if wide else torch.float32
    x, atoms = torch.tensor(x, dtype=dtype), torch.tensor(atoms, dtype=dtype)
    for penalty in (ns.l1(weight), ns.nonnegative_l1(weight), ns.elastic_net(2 * weight)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ns.NotConverged)
            a = ns.solve(x, atoms, penalty, "fista", steps=steps).a
        same = make_problem(x, atoms, penalty)
        for one, other in zip(certify(x, atoms, same, a), certify_reference(x, atoms, same, a), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**9), kind=st.sampled_from(("single", "nearly", "more atoms than features")))
def test_kernel_and_reference_send_the_same_events(seed, kind):
    x, atoms, weight = problem(seed, kind)
    same = make_problem(torch.from_numpy(x), torch.from_numpy(atoms), ns.l1(max(weight, 1e-2)))
    codes, found = by_threshold(same, None, 1e-6, 100_000, True)
    expected, reference = by_any_penalty(same, None, 1e-6, 100_000, True)
    if kind == "nearly":  # ties are decided by rounding
        assert (found.distance <= 1e-6).all() and (reference.distance <= 1e-6).all()
        return
    torch.testing.assert_close(codes, expected, atol=1e-9, rtol=0)
    assert torch.equal(found.events, reference.events) and torch.equal(found.atom.long(), reference.atom)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**9), kind=st.sampled_from(KINDS[:4]))
def test_the_kept_factor_gives_the_step_of_a_new_one(seed, kind):
    """Crossings remove atoms from the factor by rotations; the reference factorises again each time."""
    x, atoms, weight = problem(seed, kind)
    rng = np.random.default_rng(seed)
    gram, rank = torch.from_numpy(atoms @ atoms.T).fill_diagonal_(0.0), min(atoms.shape)
    level = torch.from_numpy(rng.normal(size=(3, len(atoms))) * (rng.random((3, len(atoms))) < 0.5))
    threshold = torch.full((len(atoms),), weight, dtype=torch.float64)
    membrane = torch.from_numpy(x @ atoms.T) - level @ gram
    after = exact_step(membrane, level, gram, threshold, rank).numpy()
    before = level.clone()
    for i in range(3):
        exact_reference(membrane[i], level[i], gram, threshold, before[i].nonzero().flatten().tolist(), rank)
    objectives = [gap(x, atoms, weight, part)[0] for part in (after, level.numpy(), before.numpy())]
    np.testing.assert_allclose(objectives[0], objectives[1], rtol=1e-6)
    assert (objectives[0] <= objectives[2] * (1 + 1e-9)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_lambda_above_every_correlation_sends_nothing(dtype):
    x, atoms, _ = problem(0, "duplicates")
    x, atoms = torch.tensor(x, dtype=dtype), torch.tensor(atoms, dtype=dtype)
    code = ns.solve(x, atoms, ns.l1(2 * float((x @ atoms.T).abs().max())), "event", tol=1e-12)
    assert not code.a.any() and not code.iterations.any()
