"""One linear layer under a Laplace prior, its output clamped, is the LASSO of scikit-learn and of the sparse coders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, Ridge

from neurosparse.coding import l1, nonnegative_l1, solve
from neurosparse.predictive import Gaussian, PredictiveNetwork


def draw(atoms: int = 20, features: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    dictionary, x = rng.normal(size=(atoms, features)), rng.normal(size=(5, features))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    return torch.as_tensor(dictionary), torch.as_tensor(x)


def layer(dictionary: torch.Tensor, **options) -> PredictiveNetwork:
    """A prediction of the features from the atoms: ``x = a D``."""
    network = PredictiveNetwork(dictionary.shape, "identity", **options).double()
    with torch.no_grad():
        network.layers[0].weight.copy_(dictionary.T)
        network.layers[0].bias.zero_()
    return network


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("start", "precision"), [("zero", 1.0), ("normal", 2.0)])
def test_a_laplace_prior_is_the_lasso(positive, start, precision):
    """Objective ``pi / 2 ||x - a D||^2 + 0.2 ||a||_1``: scikit-learn's alpha is ``0.2 / (pi features)``."""
    dictionary, x = draw()
    penalty = nonnegative_l1 if positive else l1
    network = layer(dictionary, prior={0: penalty(0.2)}, precision=precision)
    pi = float(network.log_precisions["1"].exp()) if precision != 1 else 1.0
    states = network.infer(y=x, start=start, steps=20_000, tol=1e-12, record=False)
    peer = Lasso(alpha=0.2 / pi / 30, fit_intercept=False, positive=positive, tol=1e-14, max_iter=100_000)
    expected = np.stack([peer.fit(dictionary.numpy().T, sample).coef_ for sample in x.numpy()])
    np.testing.assert_allclose(states.z[0].numpy(), expected, atol=1e-6)
    code = solve(x, dictionary, penalty(0.2 / pi), "lca", tol=1e-13, steps=50_000)
    torch.testing.assert_close(states.z[0], code.a, atol=1e-6, rtol=0)
    silent = torch.as_tensor(expected) == 0
    assert bool(silent.any()) and torch.equal(states.z[0] == 0, silent)
    objective = code.objective * pi - 30 * 0.5 * np.log(pi)
    torch.testing.assert_close(states.energies[-1], objective, atol=1e-10, rtol=0)


def test_a_gaussian_prior_is_ridge_regression():
    dictionary, x = draw()
    states = layer(dictionary, prior={0: Gaussian(0.3)}).infer(y=x, steps=20_000, tol=1e-12, record=False)
    peer = Ridge(alpha=0.3, fit_intercept=False, solver="cholesky")
    expected = np.stack([peer.fit(dictionary.numpy().T, sample).coef_ for sample in x.numpy()])
    np.testing.assert_allclose(states.z[0].numpy(), expected, atol=1e-10)
