"""Olshausen & Field (1996): codes of zero gradient, energies that decrease, gains that converge or let atoms die."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import neurosparse as ns
from neurosparse.coding import olshausen_field as of

SMOOTH = ["log", "exp"]


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(24, 16, dtype=torch.float64, generator=generator))
    return torch.randn(40, 16, dtype=torch.float64, generator=generator) * of.SIGMA, atoms


@pytest.mark.parametrize("kind", SMOOTH)
def test_the_gradient_of_a_code_is_zero(problem, kind):
    x, atoms = problem
    codes = of.infer(x, atoms, kind, tol=1e-15, steps=2000).requires_grad_()
    of.energy(x, atoms, codes, kind).sum().backward()
    assert codes.grad.abs().max() < 1e-5


@pytest.mark.parametrize("scale", [0.1, 0.5])
def test_orthogonal_atoms_by_the_roots_of_a_polynomial(scale):
    """One coefficient: ``2 (a - b) + 2 weight a / (scale^2 + a^2) = 0``, a cubic; next to b is its largest root."""
    x, weight = torch.linspace(-1.5, 1.5, 40, dtype=torch.float64).view(10, 4), 0.2
    codes = of.infer(x, torch.eye(4, dtype=torch.float64), "log", weight, scale, tol=1e-15, steps=2000)
    for drive, code in zip(x.flatten().tolist(), codes.flatten().tolist(), strict=True):
        roots = np.roots([1, -abs(drive), scale**2 + weight, -abs(drive) * scale**2])
        largest = max(root.real for root in roots if abs(root.imag) < 1e-9)
        assert code == pytest.approx(math.copysign(largest, drive), abs=1e-5)


def test_magnitudes_are_the_lasso(problem):
    x, _ = problem
    weight, scale = 0.3, 0.5
    codes = of.infer(x, torch.eye(16, dtype=torch.float64), "abs", weight, scale, tol=1e-12)
    threshold = weight / scale / 2  # their energy has no 1/2 before the error
    torch.testing.assert_close(codes, torch.nn.functional.softshrink(x, threshold))


@pytest.mark.parametrize("kind", SMOOTH)
def test_no_step_of_inference_raises_any_energy(problem, kind):
    x, atoms = problem
    atoms = atoms * torch.linspace(0.2, 3, 24, dtype=torch.float64)[:, None]
    energies = [of.energy(x, atoms, of.infer(x, atoms, kind, tol=1e-12, steps=k), kind) for k in range(1, 15)]
    for before, after in pairwise(energies):
        assert (after <= before + 1e-12).all()


def test_a_code_does_not_depend_on_its_batch(problem):
    x, atoms = problem
    alone = torch.cat([of.infer(sample[None], atoms) for sample in x])
    torch.testing.assert_close(of.infer(x, atoms), alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [*SMOOTH, "abs"])
def test_a_small_step_of_learning_lowers_the_energy(problem, kind):
    x, atoms = problem
    state, energies = of.DictionaryState(atoms, x.new_full((24,), 0.1)), []
    exactly = {"tol": 1e-9, "steps": 1000}
    for _ in range(4):
        result = of.learn(state, x, kind, rate=0.05, **exactly)
        state = result.state
        energies.append(result.energy)
        torch.testing.assert_close(state.dictionary.norm(dim=1), x.new_ones(24))
    assert all(after < before for before, after in pairwise(energies))


def test_one_update_by_hand(problem):
    x, atoms = problem
    state = of.DictionaryState(2 * atoms, torch.linspace(0.01, 1, 24, dtype=torch.float64))
    result = of.learn(state, x, rate=0.3, gain=of.Gain(goal=0.2, rate=0.5), memory=100)
    codes = of.infer(x, 2 * atoms)
    torch.testing.assert_close(result.codes, codes)
    moved = 2 * atoms + 0.3 * torch.einsum("na,nf->af", codes, x - codes @ (2 * atoms)) / 40
    variance = 0.99**40 * state.variance + (1 - 0.99**40) * (codes**2).mean(0)
    length = 2 * (variance / 0.2).sqrt()
    torch.testing.assert_close(result.state.variance, variance)
    torch.testing.assert_close(result.state.dictionary, moved / moved.norm(dim=1, keepdim=True) * length[:, None])


def test_gains_bring_variances_to_the_goal_or_atoms_die():
    """Sources uniform in +-s along orthogonal atoms of length l: ``a = soft(l x, t) / l^2``, t = weight / (2 scale).

    Its variance is ``(l s - t)^3 / (3 s l^5)``. Where no length brings that to the goal of 0.1, the atom is shortened
    until its coefficients are 0; the others converge, to longer atoms of stronger sources.
    """
    s, generator = torch.tensor([0.2, 0.3, 2.0, 3.0, 4.0]), torch.Generator().manual_seed(0)
    length = torch.linspace(0.01, 20, 2000)[:, None]
    reach = ((length * s - of.LAMBDA / of.SIGMA / 2).clamp(min=0) ** 3 / (3 * s * length**5)).amax(0)
    assert (reach < 0.1).tolist() == [True, True, False, False, False]
    published = plain = of.DictionaryState(torch.eye(5), torch.full((5,), 0.1))
    for _ in range(250):
        x = s * (2 * torch.rand(100, 5, generator=generator) - 1)
        result = of.learn(published, x, "abs", rate=1e-4, gain=of.Gain(), tol=1e-4)
        published, plain = result.state, of.learn(plain, x, "abs", rate=1e-4, tol=1e-4).state
    assert (published.variance[2:] / 0.1).log().abs().max() < 0.2
    assert published.dictionary.diagonal()[2:].diff().min() > 0
    assert result.dead == of.dead(published) == 2 and published.dictionary[:2].norm(dim=1).max() < 0.05
    assert of.dead(plain) == 0


def test_it_refuses(problem):
    x, atoms = problem
    with pytest.raises(ns.InputError, match="sparseness='l2'"):
        of.infer(x, atoms, "l2")
    with pytest.raises(ns.InputError, match="weight=0"):
        of.infer(x, atoms, weight=0.0)
    with pytest.raises(ns.InputError, match="rate=0"):
        of.learn(of.DictionaryState(atoms, torch.ones(24)), x, rate=0.0)
