"""Sparse codes against theory: optimality conditions, the orthonormal closed form, the bound of the certificate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.coding import l0, l1, nonnegative_l1, solve

METHODS = ("coordinate_descent", "fista", "ista", "lca")


def draw(
    seed: int, samples: int, atoms: int, features: int, unit_norm: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, features, generator=generator, dtype=torch.float64)
    dictionary = torch.randn(atoms, features, generator=generator, dtype=torch.float64)
    return x, dictionary / dictionary.norm(dim=1, keepdim=True) if unit_norm else dictionary


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    atoms=st.integers(1, 8),
    features=st.integers(8, 12),
    weight=st.floats(0.05, 2.0),
    unit_norm=st.booleans(),
)
def test_lasso_optimality(method, seed, atoms, features, weight, unit_norm):
    """(x - a D) d_i = weight sign(a_i) where a_i is active, and within +-weight where it is silent."""
    x, dictionary = draw(seed, 3, atoms, features, unit_norm)
    code = solve(x, dictionary, l1(weight), method, tol=1e-11, steps=200_000)
    correlation = (x - code.a @ dictionary) @ dictionary.T
    active = code.a != 0
    assert torch.all((correlation - weight * code.a.sign()).abs()[active] < 1e-4 * max(1, weight))
    assert torch.all(correlation.abs() <= weight + 1e-4 * max(1, weight))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), atoms=st.integers(1, 8), weight=st.floats(0.05, 2.0))
def test_nonnegative_lasso_optimality(method, seed, atoms, weight):
    x, dictionary = draw(seed, 3, atoms, 10)
    code = solve(x, dictionary, nonnegative_l1(weight), method, tol=1e-11, steps=200_000)
    correlation = (x - code.a @ dictionary) @ dictionary.T
    assert torch.all(code.a >= 0)
    assert torch.all((correlation - weight).abs()[code.a > 0] < 1e-4 * max(1, weight))
    assert torch.all(correlation <= weight + 1e-4 * max(1, weight))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("penalty", "threshold"),
    [
        (l1(0.4), lambda b: b.sign() * (b.abs() - 0.4).clamp(min=0)),
        (nonnegative_l1(0.4), lambda b: (b - 0.4).clamp(min=0)),
        (l0(0.08), lambda b: b * (b.abs() > 0.4)),
    ],
)
def test_orthonormal_dictionary_is_a_threshold(method, penalty, threshold):
    """With orthonormal atoms the coefficients do not meet: the optimum thresholds the drive."""
    x, dictionary = draw(0, 20, 9, 9)
    dictionary = torch.linalg.qr(dictionary).Q
    code = solve(x, dictionary, penalty, method, tol=1e-13, steps=2000)
    torch.testing.assert_close(code.a, threshold(x @ dictionary.T), atol=1e-8, rtol=0)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 30), method=st.sampled_from(METHODS), positive=st.booleans())
@pytest.mark.filterwarnings("ignore::neurosparse.coding.NotConverged")
def test_gap_bounds_what_is_left_to_gain(seed, steps, method, positive):
    """After any number of iterations: objective - optimum <= gap x objective, and the gap is not negative."""
    x, dictionary = draw(seed, 4, 12, 8)
    penalty = (nonnegative_l1 if positive else l1)(0.1)
    early = solve(x, dictionary, penalty, method, tol=1e-12, steps=steps)
    optimum = solve(x, dictionary, penalty, "fista", tol=1e-6, steps=20_000).objective
    assert torch.all(early.gap >= 0)
    assert torch.all(early.objective - optimum <= early.gap * early.objective + 1e-12)
    torch.testing.assert_close(
        early.objective, 0.5 * (x - early.a @ dictionary).square().sum(1) + penalty.value(early.a)
    )


def test_one_atom_l0_by_hand():
    """x = 3 d: keeping the atom costs its weight, dropping it 4.5."""
    atom = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    kept = solve(3 * atom, atom, l0(4.0), "lca")
    assert kept.a.item() == pytest.approx(3, rel=1e-4) and kept.objective.item() == pytest.approx(4, rel=1e-4)
    dropped = solve(3 * atom, atom, l0(5.0), "lca")
    assert dropped.a.item() == 0 and dropped.objective.item() == pytest.approx(4.5)
