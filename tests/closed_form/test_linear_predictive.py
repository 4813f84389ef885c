"""Predictive coding against theory: autograd of the energy, linear equilibrium, free output, monotone descent."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.errors import InputError
from neurosparse.predictive import EnergyRose, PredictiveNetwork


def build(sizes, activation="tanh", seed=0, samples=3, **options):
    torch.manual_seed(seed)
    network = PredictiveNetwork(sizes, activation, **options).double()
    x, y = (torch.randn(samples, units, dtype=torch.float64) for units in (sizes[0], sizes[-1]))
    return network, x, y


def energy_of(network, activation, z):
    """The energy written out again, so that nothing but the parameters is shared with the code under test."""
    total, function = 0.0, {"tanh": torch.tanh, "relu": torch.relu, "identity": lambda a: a}[activation]
    for depth, layer in enumerate(network.layers):
        prediction = torch.nn.functional.linear(z[depth], layer.weight, layer.bias)
        prediction = prediction if depth == len(network.layers) - 1 else function(prediction)
        total = total + 0.5 * (z[depth + 1] - prediction).square().sum(-1)
    return total


def curvature(network: PredictiveNetwork, states) -> float:
    """Largest eigenvalue of the energy's Hessian in the hidden states of one sample, by autograd."""
    hidden = torch.cat(states.z[1:-1], -1)[0]
    widths = [z.shape[-1] for z in states.z[1:-1]]

    def energy(flat):
        z = (states.z[0][:1], *(part[None] for part in flat.split(widths)), states.z[-1][:1])
        return network.energy(states.__class__(z, (), states.history)).sum()

    return float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(energy, hidden))[-1])


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    activation=st.sampled_from(["tanh", "relu", "identity"]),
    seed=st.integers(0, 10**6),
    free=st.booleans(),
)
@pytest.mark.filterwarnings("ignore::neurosparse.predictive.EnergyRose")
def test_hand_derived_gradients_equal_autograd(sizes, activation, seed, free):
    """Weights: `learn` is the gradient of the mean energy. States: one step of inference is -dt times its gradient."""
    network, x, y = build(sizes, activation, seed)
    start = network.infer(x, y, steps=3)
    network.learn(start)
    local = [parameter.grad.clone() for parameter in network.parameters()]
    energy = energy_of(network, activation, start.z)
    torch.testing.assert_close(network.energy(start), energy, atol=1e-10, rtol=0)
    torch.testing.assert_close(start.energies[-1], energy.detach(), atol=1e-10, rtol=0)
    automatic = torch.autograd.grad(energy.mean(), list(network.parameters()))
    for hand, auto in zip(local, automatic, strict=True):
        torch.testing.assert_close(hand, auto, atol=1e-10, rtol=0)

    z = [state.clone().requires_grad_() for state in start.z]
    gradients = torch.autograd.grad(energy_of(network, activation, z).sum(), z)
    after = network.infer(x, y, steps=4)
    for state, gradient, moved in list(zip(start.z, gradients, after.z, strict=True))[1:-1]:
        torch.testing.assert_close(moved, state - network.dt * gradient, atol=1e-10, rtol=0)


@settings(max_examples=10)
@given(sizes=st.lists(st.integers(2, 5), min_size=3, max_size=5), seed=st.integers(0, 10**6))
def test_linear_equilibrium_energy(sizes, seed):
    """E* = 0.5 r^T S^-1 r per sample, r = y - prediction, S = I + sum_l P_l P_l^T, P_l = W_L ... W_l for l = 2..L."""
    network, x, y = build(sizes, "identity", seed)
    product, total = torch.eye(sizes[-1], dtype=torch.float64), torch.eye(sizes[-1], dtype=torch.float64)
    for layer in list(network.layers)[:0:-1]:
        product = product @ layer.weight.detach()
        total = total + product @ product.T
    residual = y - network(x).detach()
    expected = 0.5 * (residual * torch.linalg.solve(total, residual.T).T).sum(-1)
    states = network.infer(x, y, steps=3000, dt=0.2)
    torch.testing.assert_close(states.energies[-1], expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(network.energy(states).detach(), expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_energy_falls_at_every_step_below_the_bound(activation):
    """dt < 2 / curvature: no rise, for activations with a continuous derivative (ReLU's kink allows small ones)."""
    network, x, y = build((6, 8, 8, 3), activation, samples=1)
    probe = network.infer(x, y, steps=200, dt=0.05)
    states = network.infer(x, y, steps=200, dt=0.9 * 2 / curvature(network, probe) / 1.2)
    assert bool((states.energies[1:] <= states.energies[:-1] + 1e-12).all())
    assert bool((states.energies[-1] < states.energies[0]).all())


def test_beyond_the_bound_inference_says_that_it_diverged():
    network, x, y = build((6, 8, 8, 3), "identity", samples=1)
    bound = 2 / curvature(network, network.infer(x, y))
    network.infer(x, y, steps=400, dt=0.98 * bound)
    with pytest.warns(EnergyRose, match="smaller dt"):
        network.infer(x, y, steps=400, dt=1.1 * bound)


@pytest.mark.parametrize("activation", ["tanh", "relu", "identity"])
def test_a_free_output_rests_at_the_forward_pass_in_silence(activation):
    network, x, _ = build((5, 7, 4), activation)
    states = network.infer(x)
    prediction = torch.nn.Sequential(
        network.layers[0],
        {"tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU(), "identity": torch.nn.Identity()}[activation],
        network.layers[1],
    )(x)
    assert torch.equal(network(x), prediction) and torch.equal(states.z[-1], prediction)
    assert states.events.n_events == 0 and not states.energies.any()


def test_error_events_start_at_the_output():
    """At the first iteration the hidden layers sit on their predictions: only the output's error is sent."""
    network, x, y = build((5, 7, 6, 4))
    states = network.infer(x, y, steps=5)
    assert states.events.axis == "iteration" and states.events.shape == (6, 3, 7 + 6 + 4)
    assert torch.equal(states.events.dense(), states.history)
    first = states.events.steps(0, 1)
    assert int(first.index.min()) == 13 and first.n_events == 3 * 4
    torch.testing.assert_close(torch.cat(states.errors, -1), states.history[-1])


def test_learning_lowers_the_output_error():
    network, x, y = build((5, 16, 4), samples=20)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    before = float((network(x) - y).detach().square().mean())
    for _ in range(200):
        network.learn(network.infer(x, y))
        optimizer.step()
    assert float((network(x) - y).detach().square().mean()) < 0.1 * before


def test_networks_and_states_travel():
    network, x, y = build((5, 7, 4))
    states = network.infer(x, y)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin.infer(x, y).history, states.history)
    assert pickle.loads(pickle.dumps(states)).events.n_events == states.events.n_events


@pytest.mark.parametrize("options", [
    {"sizes": (4,)}, {"sizes": (4, 0)}, {"sizes": (4, 2.5)}, {"activation": "gelu"}, {"dt": 0.0}, {"dt": -1.0},
    {"dt": float("nan")}, {"steps": 0}, {"steps": 1.5},
])  # fmt: skip
def test_bad_network(options):
    with pytest.raises(InputError, match="PredictiveNetwork: got"):
        PredictiveNetwork(**{"sizes": (4, 3), **options})


@pytest.mark.parametrize(("change", "said"), [
    ({"x": torch.zeros(3, 6)}, r"\(3, 5\)"), ({"x": torch.zeros(5)}, "samples, units"),
    ({"y": torch.zeros(3)}, r"\(3, 4\)"),
    ({"y": torch.zeros(2, 4)}, r"\(3, 4\)"), ({"x": torch.full((3, 5), torch.nan)}, "NaN"), ({"dt": 0.0}, "dt=0.0"),
    ({"y": torch.full((3, 4), torch.inf)}, "infinity in y"), ({"steps": 0}, "steps=0"),
])  # fmt: skip
def test_bad_inference(change, said):
    network, x, y = build((5, 7, 4))
    with pytest.raises(InputError, match=said):
        network.infer(**{"x": x, "y": y, **change})
