"""Weight gradients of predictive coding, against backpropagation and closed forms."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binom
from torch import Tensor, nn
from torch.nn.utils import prune

from neurosparse.predictive import PredictiveNetwork

ACTIVATIONS = {
    "tanh": nn.Tanh(), "relu": nn.ReLU(), "identity": nn.Identity(), "sigmoid": nn.Sigmoid(), "softplus": nn.Softplus(),
}  # fmt: skip
ORDERS, OUTPUTS = ("act_after", "act_before"), ("squared", "cross_entropy")
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
tied = nn.Linear(6, 6)
STACKS = {
    "dense": ((6,), [nn.Linear(6, 7), nn.Linear(7, 5, bias=False), nn.Linear(5, 4)]),
    "one layer": ((6,), [nn.Linear(6, 4)]),
    "deep": ((6,), [nn.Linear(6, 5), *(nn.Linear(5, 5) for _ in range(4)), nn.Linear(5, 4)]),
    "tied": ((6,), [tied, nn.Linear(6, 6), tied, nn.Linear(6, 4)]),
    "conv1d": ((2, 9), [nn.Conv1d(2, 4, 3, stride=2), nn.Conv1d(4, 6, 3, padding=1, groups=2), nn.Linear(24, 4)]),
    "conv2d": (
        (1, 8, 7),
        [nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, (2, 3), (1, 2), (1, 0), groups=2), nn.Linear(30, 4)],
    ),
    "conv3d": ((1, 4, 4, 5), [nn.Conv3d(1, 2, 2, stride=2, dilation=1), nn.Conv3d(2, 3, 1), nn.Linear(24, 4)]),
    "other padding": (
        (1, 6, 6),
        [nn.Conv2d(1, 3, 3, padding="same"), nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), nn.Linear(72, 4)],
    ),
    "any module": (
        (6,),
        [nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU()), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4)],
    ),
}  # fmt: skip


def plain(layers: list[nn.Module], activation: str, order: str) -> nn.Module:
    """Feed-forward network of torch modules: layers by hand are followed by the activation, other modules are not."""
    parts: list[nn.Module] = []
    for depth, layer in enumerate(layers):
        weighted = isinstance(layer, WEIGHTED)
        before = [ACTIVATIONS[activation]] if order == "act_before" and weighted and depth else []
        after = [ACTIVATIONS[activation]] if order == "act_after" and weighted and depth < len(layers) - 1 else []
        parts += [*before, *([nn.Flatten()] if isinstance(layer, nn.Linear) else []), layer, *after]
    return nn.Sequential(*parts)


def loss_of(out: Tensor, y: Tensor, output: str) -> Tensor:
    return F.cross_entropy(out, y) if output == "cross_entropy" else 0.5 * (out - y).square().sum() / len(y)


def pose(name: str, output: str = "squared", samples: int = 3, **options):
    torch.manual_seed(0)
    shape, layers = STACKS[name]
    network = PredictiveNetwork(copy.deepcopy(layers), output=output, **options).double()
    x, y = torch.randn(samples, *shape, dtype=torch.float64), torch.randn(samples, 4, dtype=torch.float64)
    return network, x, y.softmax(-1) if output == "cross_entropy" else y


def backprop(network: PredictiveNetwork, x: Tensor, y: Tensor) -> list[Tensor]:
    out = plain(list(network.layers), network.activation, network.order)(x)
    return list(torch.autograd.grad(loss_of(out, y, network.output), list(network.layers.parameters())))


def learned(network: PredictiveNetwork, *states) -> list[Tensor]:
    network.learn(*states)
    return [parameter.grad.clone() for parameter in network.layers.parameters()]


def distance(mine: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(mine, other, strict=True))


@pytest.mark.parametrize("mode", ["fixed_prediction", "z_il"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("name", STACKS)
def test_gradients_of_exact_modes_equal_backpropagation(name, output, order, mode):
    """Song et al. (2020), Millidge et al. (2022), for any activation; more steps than needed change nothing."""
    cases = [*itertools.product(ACTIVATIONS, ["hand"], [0]), ("tanh", "hand", 3), ("tanh", "autograd", 0)]
    for activation, by, more in cases:
        network, x, y = pose(name, output, activation=activation, order=order, gradients=by)
        steps = len(network.layers) + more if more else None
        found = learned(network, network.infer(x, y, mode=mode, steps=steps))
        assert distance(found, backprop(network, x, y)) < 1e-12, (activation, by, more)


@pytest.mark.parametrize("order", ORDERS)
def test_errors_under_fixed_predictions_spread_binomially(order):
    """``e_l <- (1 - dt) e_l + dt J e_{l+1}``: after T steps, k layers down, P(Binomial(T, dt) >= k) of all."""
    network, x, y = pose("deep", order=order)
    expected, depth = backprop(network, x, y), len(network.layers)
    for steps in (3, 12, 150):
        found = learned(network, network.infer(x, y, mode="fixed_prediction", dt=0.2, steps=steps))
        for number, (mine, whole) in enumerate(zip(found, expected, strict=True)):
            below = depth - 1 - number // 2  # weight and bias of each layer, from the first on
            torch.testing.assert_close(mine, whole * binom.sf(below - 1, steps, 0.2), atol=1e-12, rtol=0)


def test_the_precision_of_the_output_weighs_the_loss():
    network, x, y = pose("dense", precision=[1.0, 1.0, torch.tensor([0.5, 1.0, 2.0, 4.0])])
    out, pi = plain(list(network.layers), "tanh", "act_after")(x), network.log_precisions["3"].exp()
    loss = 0.5 * (pi * (out - y).square()).sum() / len(y)
    expected = list(torch.autograd.grad(loss, list(network.layers.parameters())))
    torch.testing.assert_close(pi, torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64), atol=0, rtol=1e-6)
    for mode in ("fixed_prediction", "z_il"):
        assert distance(learned(network, network.infer(x, y, mode=mode)), expected) < 1e-12


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_gradients_at_equilibrium_differ_from_backpropagation(activation, order):
    """The direction of each layer is near that of backpropagation, and not the same."""
    torch.manual_seed(0)
    network = PredictiveNetwork((60, 40, 40, 10), activation, order=order).double()
    x, y = torch.rand(32, 60, dtype=torch.float64), torch.eye(10, dtype=torch.float64)[torch.arange(32) % 10]
    states = network.infer(x, y, steps=2000, tol=1e-9)
    assert float(states.gap.max()) <= 1e-9
    cosines = [
        float(F.cosine_similarity(mine.flatten(), other.flatten(), dim=0))
        for mine, other in zip(learned(network, states), backprop(network, x, y), strict=True)
        if mine.dim() == 2
    ]
    assert all(0.9 < cosine < 0.999 for cosine in cosines), cosines


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_gradients_of_a_small_nudge_tend_to_backpropagation(order, output):
    """Scellier & Bengio (2017): the error is of the order of the nudge, and of its square for opposite nudges.

    Whatever the precisions, whose own gradient tends to 0: without a nudge nothing errs.
    """
    precision = [2.0, torch.linspace(0.5, 2.0, 5), 1.0 if output == "cross_entropy" else 1.5]
    network, x, y = pose("dense", output, order=order, precision=precision, learn_precision=True)
    expected = backprop(network, x, y)
    one, both, log = [], [], []
    for nudge in (0.04, 0.02):
        plus, minus = (network.infer(x, y, nudge=sign * nudge, steps=3000, tol=1e-13) for sign in (1, -1))
        one.append(distance(learned(network, plus), expected))
        log.append(max(float(value.grad.abs().max()) for value in network.log_precisions.values()))
        both.append(distance(learned(network, plus, minus), expected))
    assert one[0] > 1e-4 and one[0] / one[1] == pytest.approx(2, rel=0.1)
    assert log[0] > 1e-6 and log[0] / log[1] == pytest.approx(2, rel=0.1)
    assert both[0] > 1e-8 and both[0] / both[1] == pytest.approx(4, rel=0.1)
    assert both[1] < 10 * 0.02**2 * max(float(gradient.abs().max()) for gradient in expected)


@pytest.mark.parametrize("nudge", [None, 0.5])
@pytest.mark.parametrize("order", ORDERS)
def test_incremental_inference_is_descent_of_states_and_weights_at_once(order, nudge):
    """One step is `learn` and a step of SGD; more are both gradients at the same states and weights, by autograd."""
    network, x, y = pose("dense", order=order, precision=[2.0, 0.5, 1.0], learn_precision=True)
    once, by_hand = copy.deepcopy(network), copy.deepcopy(network)
    options = {"nudge": nudge, "dt": 0.1}
    once.infer(x, y, mode="incremental", steps=1, optimizer=torch.optim.SGD(once.parameters(), 0.05), **options)
    by_hand.learn(by_hand.infer(x, y, steps=1, **options))
    torch.optim.SGD(by_hand.parameters(), 0.05).step()
    assert distance(list(once.parameters()), list(by_hand.parameters())) < 1e-14

    by_hand = copy.deepcopy(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    states = network.infer(x, y, mode="incremental", steps=4, optimizer=optimizer, **options)
    start = by_hand.infer(x, y, steps=1, **options)
    with torch.no_grad():
        z = [x]
        for depth, layer in enumerate(by_hand.layers):
            inner = z[-1].tanh() if order == "act_before" and depth else z[-1]
            z.append(F.linear(inner, layer.weight, layer.bias))
            if order == "act_after" and depth < 2:
                z[-1] = z[-1].tanh()
    z[-1] = y if nudge is None else z[-1]
    for step in range(5):
        z = [state.detach().requires_grad_() for state in z]
        energy = by_hand.energy(replace(start, z=tuple(z)))
        pull = 0.0 if nudge is None else nudge * 0.5 * (z[-1] - y).square().sum()
        slopes = torch.autograd.grad(energy.sum() + pull, z, retain_graph=True)
        weights = list(by_hand.parameters())
        # Under a nudge the energy of silence, -log pi / 2, is nothing to learn from.
        silence = (
            0.0 if nudge is None else 0.5 * sum(log.sum() * n for log, n in zip(weights[-3:], (7, 5, 4), strict=True))
        )
        gradients = torch.autograd.grad((energy.mean() + silence) / (nudge or 1.0), weights, materialize_grads=True)
        moving = range(1, 3 if nudge is None else 4)
        if step < 4:
            z = [
                state - 0.1 * slope if k in moving else state
                for k, (state, slope) in enumerate(zip(z, slopes, strict=True))
            ]
        if step:
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight -= 0.05 * gradient
    assert distance(list(network.parameters()), list(by_hand.parameters())) < 1e-12
    assert distance(list(states.z), [state.detach() for state in z]) < 1e-12


def test_frozen_parameters_have_no_gradient():
    network, x, y = pose("dense", learn_precision=True, precision=[2.0, 1.0, 1.0])
    network.layers[0].weight.requires_grad_(False)
    network.learn(network.infer(x, y))
    assert network.layers[0].weight.grad is None and network.layers[0].bias.grad is not None
    fixed, *_ = pose("dense", precision=2.0)
    fixed.learn(fixed.infer(x, y))
    assert len(fixed.log_precisions) == 3 and all(log.grad is None for log in fixed.log_precisions.values())


def test_pruned_weights_learn_through_their_mask():
    network, x, y = pose("dense")
    prune.l1_unstructured(network.layers[0], "weight", 0.5)
    network.learn(network.infer(x, y, mode="z_il"))
    found, mask = network.layers[0].weight_orig.grad, network.layers[0].weight_mask
    assert not found[mask == 0].any() and found[mask == 1].all()
    loss = loss_of(plain(list(network.layers), "tanh", "act_after")(x), y, "squared")
    (expected,) = torch.autograd.grad(loss, [network.layers[0].weight_orig])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("per_unit", [False, True])
def test_learned_precisions_are_inverse_variances(per_unit):
    """Least energy of ``y = W x + b + noise``: the least-squares fit, and one over the variance of its residuals."""
    torch.manual_seed(0)
    x = torch.randn(200, 3, dtype=torch.float64)
    y = x @ torch.randn(3, 2, dtype=torch.float64) + torch.randn(200, 2, dtype=torch.float64) * torch.tensor([0.5, 2.0])
    network = PredictiveNetwork((3, 2), precision=[torch.ones(2)] if per_unit else 1.0, learn_precision=True).double()
    optimizer = torch.optim.LBFGS(
        network.parameters(), max_iter=300, tolerance_grad=1e-10, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def energy() -> Tensor:
        states = network.infer(x, y, steps=1, check=False)
        network.learn(states)
        return network.energy(states).mean().detach()

    optimizer.step(energy)
    design = torch.cat([x, torch.ones(200, 1, dtype=torch.float64)], 1)
    fit = torch.linalg.lstsq(design, y).solution
    variance = (y - design @ fit).square().mean(0)
    found = network.log_precisions["1"].detach().exp()
    torch.testing.assert_close(found, 1 / (variance if per_unit else variance.mean()), rtol=1e-6, atol=0)
    torch.testing.assert_close(network.layers[0].weight.detach(), fit[:3].T, rtol=1e-6, atol=1e-6)
