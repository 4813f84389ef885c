"""Equilibrium of inference against closed forms: linear networks under any clamp, posterior means, sparse codes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurosparse.coding import cauchy, l1, log
from neurosparse.predictive import PredictiveNetwork, States

REST = {"steps": 20_000, "tol": 1e-12, "record": False}


def linear(sizes, seed=0, precise=True, samples=3, **options) -> tuple[PredictiveNetwork, Tensor, Tensor]:
    torch.manual_seed(seed)
    precision = [torch.rand(units) + 0.5 for units in sizes[1:]] if precise else 1.0
    network = PredictiveNetwork(sizes, "identity", precision=precision, **options).double()
    return network, *(torch.randn(samples, units, dtype=torch.float64) for units in (sizes[0], sizes[-1]))


def precisions(network: PredictiveNetwork) -> list[Tensor]:
    logs = network.log_precisions
    ones = [torch.ones(layer.out_features, dtype=torch.float64) for layer in network.layers]
    return [logs[str(k)].exp() * one if str(k) in logs else one for k, one in enumerate(ones, 1)]


def on_paper(network: PredictiveNetwork, x: Tensor, y: Tensor) -> tuple[list[Tensor], Tensor]:
    """States and energy at equilibrium, x and y clamped: ``r = sum_l P_l e_l`` divided at the least energy.

    ``P_l = W_L ... W_{l+1}``, ``S = sum_l P_l Pi_l^-1 P_l^T``, ``e_l = Pi_l^-1 P_l^T S^-1 r``, ``E = r^T S^-1 r / 2``.
    """
    pi, product = precisions(network), torch.eye(y.shape[1], dtype=torch.float64)
    products = [product]
    for layer in list(network.layers)[:0:-1]:
        product = product @ layer.weight
        products.insert(0, product)
    total = sum(p / q @ p.T for p, q in zip(products, pi, strict=True))
    residual = y - network(x)
    force = torch.linalg.solve(total, residual.T).T
    z = [x]
    for layer, p, q in zip(network.layers, products, pi, strict=True):
        z.append(layer(z[-1]) + force @ p / q)
    return z, 0.5 * (residual * force).sum(-1) - 0.5 * sum(q.log().sum() for q in pi)


@settings(max_examples=12)
@given(sizes=st.lists(st.integers(2, 5), min_size=2, max_size=5), seed=st.integers(0, 10**6), precise=st.booleans())
def test_the_equilibrium_of_a_linear_network_is_the_closed_form(sizes, seed, precise):
    """Started there it stays. (The next test starts elsewhere.)"""
    network, x, y = linear(sizes, seed, precise)
    z, energy = on_paper(network, x, y)
    states = network.infer(x, y, start=z, steps=3, dt=0.1, check=False)
    assert float(states.gap.max()) < 1e-11
    torch.testing.assert_close(states.energies, energy.detach().expand(4, -1), atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(states.z, tuple(state.detach() for state in z), atol=1e-11, rtol=0)
    torch.testing.assert_close(states.z[-1], y, atol=0, rtol=0)


@pytest.mark.parametrize("start", ["forward", "zero", "normal", "amortised"])
@pytest.mark.parametrize("sizes", [(4, 5, 3), (3, 4, 5, 4, 2)])
@pytest.mark.parametrize("order", ["act_after", "act_before"])
def test_a_linear_network_converges_from_any_start(sizes, start, order):
    """The learned gradient is that of the energy at equilibrium, by autograd of the closed form."""
    network, x, y = linear(sizes, order=order, learn_precision=True)
    amortised = lambda known: [x, *(torch.full((3, n), 2.0) for n in sizes[1:-1]), known[len(sizes) - 1]]  # noqa: E731
    states = network.infer(x, y, start=amortised if start == "amortised" else start, **REST)
    z, energy = on_paper(network, x, y)
    assert float(states.gap.max()) <= 1e-12
    torch.testing.assert_close(states.energies[-1], energy.detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(states.z, tuple(state.detach() for state in z), atol=1e-10, rtol=0)
    expected = torch.autograd.grad(energy.mean(), list(network.parameters()))
    network.learn(states)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-10, rtol=0)


def newton(network: PredictiveNetwork, states: States, free: list[Tensor]) -> list[Tensor]:
    """The equilibrium of a linear network by one Newton step: ``z - H^-1 g`` over all unclamped units."""
    widths, flat = [z.shape[-1] for z in states.z], torch.cat(states.z, -1)

    def energy(rows: Tensor) -> Tensor:
        return network.energy(replace(states, z=tuple(rows.split(widths, -1)))).sum()

    slopes = torch.autograd.functional.jacobian(energy, flat)
    hessian = torch.autograd.functional.hessian(lambda row: energy(row[None]), flat[0])
    for row, slope, mask in zip(flat, slopes, torch.cat(free, -1), strict=True):
        row[mask] -= torch.linalg.solve(hessian[mask][:, mask], slope[mask])
    return list(flat.split(widths, -1))


@pytest.mark.parametrize("case", ["half an input", "an input from its label", "a hidden unit", "half an output"])
def test_inpainting_equals_the_linear_solve(case):
    """Inpainting and generation: unclamped units have the least energy, and clamped units never change."""
    network, x, y = linear((4, 5, 9))
    for layer in network.layers:  # well conditioned, so that it does not take long
        nn.init.orthogonal_(layer.weight)
    hidden = torch.randn(3, 5, dtype=torch.float64)
    half, most = torch.arange(4).expand(3, 4) % 2 == 0, torch.arange(4).expand(3, 4) < 3
    clamp = {
        "half an input": {0: (x, half), 2: y},
        "an input from its label": {2: y},
        "a hidden unit": {0: x, 1: (hidden, torch.rand(3, 5) < 0.4), 2: y},
        "half an output": {0: (torch.where(most, x, torch.nan), most), 2: (y, torch.arange(9).expand(3, 9) < 6)},
    }[case]
    states = network.infer(clamp=clamp, **REST)
    free = [torch.ones_like(z, dtype=torch.bool) for z in states.z]
    for number, value in clamp.items():
        value, known = value if isinstance(value, tuple) else (value, torch.ones_like(value, dtype=torch.bool))
        free[number] = ~known
        assert torch.equal(states.z[number][known], value[known])
    assert float(states.gap.max()) <= 1e-12
    for mine, expected in zip(states.z, newton(network, states, free), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-9, rtol=0)


@dataclass(frozen=True)
class Gaussian:
    """``precision / 2 ||a - mean||^2``: any object with these two methods is a prior."""

    precision: float
    mean: float = 0.0

    def value(self, a: Tensor) -> Tensor:
        return 0.5 * self.precision * (a - self.mean).square().sum(-1)

    def prox(self, a: Tensor, step: float = 1.0) -> Tensor:
        return (a + step * self.precision * self.mean) / (1 + step * self.precision)


@pytest.mark.parametrize("precise", [False, True])
def test_the_equilibrium_of_a_linear_gaussian_layer_is_the_posterior_mean(precise):
    """``z ~ N(m, 1/k)``, ``y ~ N(W z + b, Pi^-1)``: ``E[z|y] = m + (k I + W^T Pi W)^-1 W^T Pi (y - b - W m)``."""
    network, _, y = linear((5, 4), precise=precise, prior={0: Gaussian(0.7, 0.3)})
    states = network.infer(y=y, **REST)
    weight, bias, (pi,) = network.layers[0].weight.detach(), network.layers[0].bias.detach(), precisions(network)
    pi = pi.detach()
    posterior = 0.7 * torch.eye(5, dtype=torch.float64) + weight.T * pi @ weight
    mean = torch.full((5,), 0.3, dtype=torch.float64)
    expected = mean + torch.linalg.solve(posterior, ((y - bias - weight @ mean) * pi @ weight).T).T
    torch.testing.assert_close(states.z[0], expected, atol=1e-10, rtol=0)
    # At rest the energy is -log p(y, z) but for what depends on neither.
    joint = torch.distributions.Normal(weight @ mean.new_zeros(5) + states.z[0] @ weight.T + bias, pi.rsqrt())
    prior = torch.distributions.Normal(mean, 1 / math.sqrt(0.7))
    surprise = -joint.log_prob(y).sum(-1) - prior.log_prob(states.z[0]).sum(-1)
    constant = 0.5 * 9 * math.log(2 * math.pi) - 0.5 * 5 * math.log(0.7)
    torch.testing.assert_close(states.energies[-1], surprise - constant, atol=1e-10, rtol=0)


@pytest.mark.parametrize("prior", [log(0.3, 0.5), cauchy(0.2, 0.7)], ids=str)
def test_the_gradient_under_a_smooth_sparse_prior_is_zero_at_equilibrium(prior):
    """``(y - W z)^T W = dprior / dz``, by autograd of the prior's cost; the energy never rises on the way."""
    network, _, y = linear((8, 5), precise=False, prior={0: prior})
    states = network.infer(y=y, **REST)
    z = states.z[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(prior.value(z).sum(), z)
    torch.testing.assert_close(
        (y - network(states.z[0])).detach() @ network.layers[0].weight.detach(), slope, atol=1e-8, rtol=0
    )
    assert bool((states.energies.diff(dim=0) <= 1e-12).all()) and bool((z.abs() > 0.05).any())


def test_two_layers_with_sparse_priors_are_optimal():
    """Two layers, both priors: the subgradient conditions of ``E(z) + a ||z_0||_1 + b ||z_1||_1``."""
    network, _, y = linear((5, 6, 8), prior={0: l1(0.4), 1: l1(0.3)})
    for layer in network.layers:
        nn.init.orthogonal_(layer.weight, 2.0)
    states = network.infer(y=y, steps=20_000, tol=1e-11, record=False)
    z = [state.clone().requires_grad_() for state in states.z]
    smooth = network.energy(replace(states, z=tuple(z))).sum() - 0.4 * z[0].abs().sum() - 0.3 * z[1].abs().sum()
    for state, weight, slope in zip(states.z, (0.4, 0.3), torch.autograd.grad(smooth, z[:2]), strict=False):
        # autograd of |z| is 0 at 0 and sign(z) elsewhere, so what is left is the smooth part's slope alone
        active = state != 0
        torch.testing.assert_close(-slope[active], weight * state[active].sign(), atol=1e-8, rtol=0)
        assert bool((slope[~active].abs() <= weight + 1e-8).all())
        assert 0 < int(active.sum()) < active.numel()


def test_the_equilibrium_of_convolutions_is_that_of_dense_layers():
    """A convolution as a matrix, whose columns are its outputs of unit images."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 2, 3, stride=2, padding=1)
    stack = [convolution, nn.Linear(18, 4)]
    network = PredictiveNetwork(stack, "identity", precision=[2.0, 0.5]).double()
    x, y = torch.randn(3, 1, 5, 6, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    pictures = torch.eye(30, dtype=torch.float64).reshape(30, 1, 5, 6)
    dense = nn.Linear(30, 18).double()
    with torch.no_grad():
        dense.bias.copy_(convolution(pictures[:1] * 0).flatten())
        dense.weight.copy_((convolution(pictures) - convolution(pictures[:1] * 0)).flatten(1).T)
    twin = PredictiveNetwork([dense, stack[1]], "identity", precision=[2.0, 0.5]).double()
    z, energy = on_paper(twin, x.flatten(1), y)
    states = network.infer(x, y, **REST)
    torch.testing.assert_close(states.z[1].flatten(1), z[1].detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(states.energies[-1], energy.detach(), atol=1e-10, rtol=0)
    # and on the way back, from the label to the pixels that are missing
    known = torch.rand(3, 1, 5, 6) < 0.7
    found = network.infer(clamp={0: (x, known), 2: y}, dt=0.1)
    same = twin.infer(clamp={0: (x.flatten(1), known.flatten(1)), 2: y}, dt=0.1)
    torch.testing.assert_close(found.z[0].flatten(1), same.z[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(found.events.dense(), same.events.dense(), atol=1e-12, rtol=0)
    assert torch.equal(found.z[0][known], x[known]) and found.z[0][~known].all()
