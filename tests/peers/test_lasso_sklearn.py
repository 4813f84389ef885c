"""scikit-learn's Lasso minimises the same objective at alpha = lambda / n_features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso

from neurosparse.coding import elastic_net, l1, nonnegative_l1, solve


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("method", ["coordinate_descent", "fista", "ista", "lca"])
def test_codes_equal_sklearn(method, positive):
    rng = np.random.default_rng(0)
    dictionary, x = rng.normal(size=(20, 30)), rng.normal(size=(5, 30))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    peer = Lasso(alpha=0.2 / 30, fit_intercept=False, positive=positive, tol=1e-14, max_iter=100_000)
    expected = np.stack([peer.fit(dictionary.T, sample).coef_ for sample in x])
    penalty = nonnegative_l1(0.2) if positive else l1(0.2)
    code = solve(torch.as_tensor(x), torch.as_tensor(dictionary), penalty, method, tol=1e-13, steps=50_000)
    np.testing.assert_allclose(code.a.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("method", ["coordinate_descent", "fista", "ista", "lca"])
def test_elastic_nets_equal_sklearn(method):
    rng = np.random.default_rng(1)
    dictionary, x = rng.normal(size=(20, 30)), rng.normal(size=(5, 30))
    peer = ElasticNet(alpha=2.0 / 30, l1_ratio=0.7, fit_intercept=False, tol=1e-14, max_iter=100_000)
    expected = np.stack([peer.fit(dictionary.T, sample).coef_ for sample in x])
    code = solve(
        torch.as_tensor(x), torch.as_tensor(dictionary), elastic_net(2.0, 0.7), method, tol=1e-13, steps=50_000
    )
    np.testing.assert_allclose(code.a.numpy(), expected, atol=1e-6)
