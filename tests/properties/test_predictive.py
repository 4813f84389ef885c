"""Properties of predictive coding: gradients are those of an independently written energy; clamps hold."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neurosparse.coding import cauchy, l1
from neurosparse.errors import InputError
from neurosparse.predictive import EnergyIncreased, PredictiveNetwork, States

FUNCTIONS = {
    "tanh": torch.tanh, "relu": torch.relu, "identity": lambda a: a, "sigmoid": torch.sigmoid, "softplus": F.softplus,
}  # fmt: skip
ORDERS = ("act_after", "act_before")
sizes = st.lists(st.integers(1, 6), min_size=2, max_size=5)
seeds = st.integers(0, 10**6)


def build(sizes, seed=0, samples=3, dtype=torch.float64, **options) -> tuple[PredictiveNetwork, Tensor, Tensor]:
    torch.manual_seed(seed)
    network = PredictiveNetwork(sizes, **options).to(dtype)
    x, y = (torch.randn(samples, units, dtype=dtype) for units in (sizes[0], sizes[-1]))
    return network, x, y.softmax(-1) if network.output == "cross_entropy" else y


def energy_of(network: PredictiveNetwork, z, crossed: bool) -> Tensor:
    """The energy of each sample, sharing nothing but weights, precisions and names with the code under test."""
    total, function, last = torch.zeros(len(z[0]), dtype=z[0].dtype), FUNCTIONS[network.activation], len(z) - 2
    for depth, layer in enumerate(network.layers):
        inner = network.order == "act_before" and depth > 0
        prediction = F.linear(function(z[depth]) if inner else z[depth], layer.weight, layer.bias)
        if network.order == "act_after" and depth < last:
            prediction = function(prediction)
        if crossed and depth == last:
            total = total + F.cross_entropy(prediction, z[-1], reduction="none")
            continue
        pi = network.log_precisions.get(str(depth + 1), torch.zeros(())).exp()
        total = total + (0.5 * pi * (z[depth + 1] - prediction).square() - 0.5 * pi.log()).sum(-1)
    return total


@st.composite
def problems(draw, activation, order):
    """A network with a subset of its states clamped, some of them in part."""
    widths, crossed = draw(sizes), draw(st.booleans())
    torch.manual_seed(draw(seeds))
    kinds = {"one": lambda units: 1.0, "layer": lambda units: 0.7, "unit": lambda units: torch.rand(units) + 0.5}
    precision = [kinds[draw(st.sampled_from(sorted(kinds)))](units) for units in widths[1:]]
    if crossed:
        precision[-1] = 1.0
    network, *_ = build(
        widths, draw(seeds), activation=activation, order=order, output="cross_entropy" if crossed else "squared",
        precision=precision, learn_precision=draw(st.booleans()),
    )  # fmt: skip
    clamp = {}
    for number, units in enumerate(widths):
        kind = draw(st.sampled_from(["free", "whole", "part"]))
        value = torch.randn(3, units, dtype=torch.float64)
        if crossed and number == len(widths) - 1:
            kind, value = "free" if kind == "part" else kind, value.softmax(-1)
        if kind != "free":
            clamp[number] = value if kind == "whole" else (value, torch.rand(3, units) < 0.5)
    return network, clamp or {0: torch.randn(3, widths[0], dtype=torch.float64)}


def free_units(states: States, clamp) -> list[Tensor]:
    free = [torch.ones_like(z, dtype=torch.bool) for z in states.z]
    for number, value in clamp.items():
        free[number] = ~value[1] if isinstance(value, tuple) else torch.zeros_like(free[number])
    return free


@pytest.mark.filterwarnings("ignore::neurosparse.predictive.EnergyIncreased")
@pytest.mark.parametrize("activation", sorted(FUNCTIONS))
@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=8)
@given(data=st.data(), start=st.sampled_from(["forward", "normal", "zero"]), by=st.sampled_from(["hand", "autograd"]))
def test_every_gradient_is_that_of_the_energy(activation, order, data, start, by):
    """States: one step is -dt dE/dz of the free units, the others stay. Weights, precisions: `learn` is mean dE/dw."""
    network, clamp = data.draw(problems(activation, order))
    network.gradients = by
    before = network.infer(clamp=clamp, steps=3, dt=0.1, start=start, check=False)
    z = [state.clone().requires_grad_() for state in before.z]
    energy = energy_of(network, z, before.cross_entropy)
    close = {"atol": 1e-10, "rtol": 1e-10}
    torch.testing.assert_close(network.energy(before), energy, **close)
    torch.testing.assert_close(before.energies[-1], energy.detach(), **close)

    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.learn(before)
    automatic = torch.autograd.grad(energy.mean(), wanted, retain_graph=True, allow_unused=True)
    for parameter, expected in zip(wanted, automatic, strict=True):
        if expected is not None:
            torch.testing.assert_close(parameter.grad, expected, **close)

    slopes = torch.autograd.grad(energy.sum(), z, allow_unused=True, materialize_grads=True)
    after = network.infer(clamp=clamp, steps=1, dt=0.1, start=before.z, check=False)
    free = free_units(before, clamp)
    for state, slope, moves, moved in zip(before.z, slopes, free, after.z, strict=True):
        torch.testing.assert_close(moved, state - 0.1 * slope * moves, **close)
    norm = sum((slope * moves).square().sum(-1) for slope, moves in zip(slopes, free, strict=True)).sqrt()
    torch.testing.assert_close(after.gap, norm, **close)
    for number, value in clamp.items():
        value, known = value if isinstance(value, tuple) else (value, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(after.z[number][known], value[known])


@pytest.mark.filterwarnings("ignore::neurosparse.predictive.EnergyIncreased")
@pytest.mark.parametrize("activation", sorted(FUNCTIONS))
@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=6)
@given(
    sizes=sizes, seed=seeds, output=st.sampled_from(["squared", "cross_entropy"]),
    nudge=st.sampled_from([None, 0.3, -0.2]), free=st.booleans(),
)  # fmt: skip
def test_fast_inference_equals_the_general_one(activation, order, sizes, seed, output, nudge, free):
    """States, energies, transmissions and gradients are the same."""
    network, x, y = build(sizes, seed, order=order, activation=activation, output=output)
    general = copy.deepcopy(network)
    general.gradients = "autograd"
    options = {"y": None if free and nudge is None else y, "nudge": nudge, "steps": 7, "dt": 0.2, "check": False}
    given_x, given_y = x.clone(), y.clone()
    fast, slow = network.infer(x, **options), general.infer(x, **options)
    for name in ("z", "errors", "energies", "gap", "terms", "sent"):
        torch.testing.assert_close(getattr(fast, name), getattr(slow, name), atol=1e-12, rtol=1e-12)
    assert (fast.nudge, fast.cross_entropy, fast.dt) == (slow.nudge, slow.cross_entropy, slow.dt)
    network.learn(fast)
    general.learn(slow)
    for mine, its in zip(network.parameters(), general.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=1e-12, rtol=1e-12)
    assert torch.equal(x, given_x) and torch.equal(y, given_y)


@pytest.mark.parametrize("activation", sorted(FUNCTIONS))
@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=2)
@given(sizes=sizes, seed=seeds)
def test_the_equilibrium_of_an_unclamped_output_is_the_forward_pass(activation, order, sizes, seed):
    network, x, _ = build(sizes, seed, order=order, activation=activation)
    states, out, function = network.infer(x), x, FUNCTIONS[activation]
    for depth, layer in enumerate(network.layers):
        out = F.linear(function(out) if depth else out, layer.weight, layer.bias)
    torch.testing.assert_close(network(x), out, atol=1e-12, rtol=0)
    torch.testing.assert_close(states.z[-1], out, atol=1e-12, rtol=0)
    assert states.events.n_events == 0 and not states.energies.any() and not states.gap.any()


@pytest.mark.parametrize("order", ORDERS)
def test_samples_are_independent(order):
    network, x, y = build((5, 7, 4), samples=6, order=order)
    together = network.infer(x, y, dt=0.2)
    alone = [network.infer(x[k : k + 1], y[k : k + 1], dt=0.2) for k in range(6)]
    for part in ("z", "errors"):
        rows = zip(*(getattr(one, part) for one in alone), strict=True)
        for whole, parts in zip(getattr(together, part), rows, strict=True):
            torch.testing.assert_close(whole, torch.cat(parts), atol=1e-12, rtol=0)
    torch.testing.assert_close(together.energies, torch.cat([one.energies for one in alone], -1), atol=1e-12, rtol=0)


def test_inference_continues_from_its_states():
    network, x, y = build((5, 7, 4))
    whole, half = network.infer(x, y, dt=0.2, steps=10), network.infer(x, y, dt=0.2, steps=4)
    rest = network.infer(x, y, dt=0.2, steps=6, start=half.z)
    torch.testing.assert_close(rest.z, whole.z, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.cat([half.energies, rest.energies[1:]]), whole.energies, atol=1e-12, rtol=0)


def test_the_start_of_inference():
    """Forward: only the output has errors. Zero, normal, a function of clamped values: the energy of these states."""
    network, x, y = build((5, 7, 6, 4))
    at = {start: network.infer(x, y, start=start, steps=1, dt=0.1) for start in ("forward", "zero", "normal")}
    first = at["forward"].events.steps(0, 1)
    assert int(first.index.min()) == 7 + 6 and first.n_events == 3 * 4
    states = at["zero"]
    hidden = [torch.zeros(3, 7, dtype=x.dtype), torch.zeros(3, 6, dtype=x.dtype)]
    torch.testing.assert_close(states.energies[0], energy_of(network, [x, *hidden, y], False).detach())
    seen = {}

    def amortised(known):
        seen.update(known)
        return [known[0], known[0] @ torch.ones(5, 7, dtype=x.dtype), hidden[1] + 2, known[3]]

    states = network.infer(x, y, start=amortised, steps=1, dt=0.1)
    expected = [x, x @ torch.ones(5, 7, dtype=x.dtype), hidden[1] + 2, y]
    torch.testing.assert_close(states.energies[0], energy_of(network, expected, False).detach())
    assert set(seen) == {0, 3} and torch.equal(seen[0], x) and torch.equal(seen[3], y)
    drawn = [network.infer(x, y, start="normal", steps=1, generator=g).z[1] for g in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    torch.manual_seed(5)
    assert torch.equal(
        network.infer(x, y, start="normal", steps=1, generator=torch.Generator().manual_seed(1)).z[1], drawn[2]
    )


def test_inference_stops_at_its_tolerance_and_not_before():
    network, x, y = build((5, 7, 4))
    whole = network.infer(x, y, steps=400, dt=0.2)
    states = network.infer(x, y, steps=400, dt=0.2, tol=1e-4)
    steps = len(states.energies) - 1
    assert steps < 400 and bool((states.gap <= 1e-4).all())
    assert bool((network.infer(x, y, steps=steps - 1, dt=0.2).gap > 1e-4).any())
    torch.testing.assert_close(states.energies, whole.energies[: steps + 1], atol=1e-12, rtol=0)
    assert len(network.infer(x, y, steps=5, dt=0.2, tol=1e-4).energies) == 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("samples", [0, 1, 4])
@pytest.mark.parametrize("order", ORDERS)
def test_any_batch_and_precision_of_floats(dtype, samples, order):
    network, x, y = build((5, 7, 4), samples=samples, dtype=dtype, order=order, learn_precision=True)
    states = network.infer(x, y, steps=6)
    assert [tuple(z.shape) for z in states.z] == [(samples, 5), (samples, 7), (samples, 4)]
    assert states.energies.shape == (7, samples) and states.gap.shape == (samples,)
    assert states.events.shape == (7, samples, 7 + 4) and states.state_events.shape == (7, samples, 5 + 7)
    assert states.events.axis == states.state_events.axis == "iteration"
    tensors = [*states.z, *states.errors, states.energies, states.gap, states.events.dense()]
    assert {tensor.dtype for tensor in tensors} == {dtype}
    network.learn(states)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all(parameter.grad.dtype == dtype for parameter in network.parameters())


def test_events_are_the_transmissions():
    """Errors: their signals, at every step. States: a clamped one once, a hidden one at every step; the output none."""
    network, x, y = build((5, 7, 4), activation="identity")
    states = network.infer(x, y, steps=6, dt=0.2)
    torch.testing.assert_close(states.events.dense()[-1], torch.cat(states.errors, -1))
    told = states.state_events.dense()
    assert torch.equal(told[0, :, :5], x) and not told[1:, :, :5].any()
    torch.testing.assert_close(told[-1, :, 5:], states.z[1])
    assert network.infer(x, y, record=False).sent is None


def test_networks_and_states_are_copied_pickled_and_loaded():
    network, x, y = build((5, 7, 4), precision=[2.0, torch.arange(1.0, 5.0)], learn_precision=True, order="act_before")
    states = network.infer(x, y)
    other, *_ = build((5, 7, 4), seed=1, learn_precision=True, order="act_before", precision=[1.0, torch.ones(4)])
    other.load_state_dict(network.state_dict())
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), other):
        assert torch.equal(twin.infer(x, y).energies, states.energies)
    for copied in (pickle.loads(pickle.dumps(states)), copy.deepcopy(states)):
        assert copied.events.n_events == states.events.n_events and torch.equal(copied.z[1], states.z[1])
        assert torch.equal(network.energy(copied), network.energy(states))
    assert "act_before" in repr(network) and repr(states) == "States(20 steps, 3 samples, 5 - 7 - 4)"


def test_arguments_neither_change_nor_join_a_graph():
    network, x, y = build((5, 7, 4))
    x, y = x.requires_grad_(), y.requires_grad_()
    kept = [tensor.detach().clone() for tensor in (x, y, *network.parameters())]
    for options in ({}, {"gradients": "autograd"}, {"order": "act_before"}):
        for name, value in options.items():
            setattr(network, name, value)
        states = network.infer(x, y)
        assert not any(tensor.requires_grad for tensor in (*states.z, *states.errors, states.energies))
    assert all(torch.equal(a, b) for a, b in zip(kept, (x, y, *network.parameters()), strict=True))
    moved = replace(states, z=tuple(z.clone().requires_grad_() for z in states.z))
    network.energy(moved).sum().backward()
    assert all(z.grad is not None for z in moved.z)


def test_an_automatic_step_with_which_the_energy_rises_is_halved():
    """At 0 all units are inactive and the curvature is 1; with active units it is higher."""
    network, x, y = build((20, 30, 30, 10), activation="relu", order="act_before", samples=16)
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(4)
    with pytest.warns(EnergyIncreased, match=r"the energy rose with dt=1\. The states are those of dt=0\.") as caught:
        states = network.infer(x, y, start="zero")
    assert len(caught) == 1 and caught[0].filename == __file__
    again = network.infer(x, y, start="zero", dt=states.dt)
    torch.testing.assert_close(states.z, again.z, atol=0, rtol=0)
    assert states.dt < 1 and float(states.energies[-1].sum()) < float(states.energies[0].sum())
    before = x.clone(), y.clone()
    with pytest.raises(InputError, match="dt=1, with which the energy of .* of 16 samples rises, of sample"):
        network.infer(x, y, start="zero", dt=1.0)
    assert torch.equal(before[0], x) and torch.equal(before[1], y)


def test_weights_of_a_run_whose_energy_rises_are_restored():
    network, x, y = build((5, 9, 9, 4))
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    network.infer(x, y, mode="incremental", optimizer=optimizer, dt=0.1)
    weights = [parameter.detach().clone() for parameter in network.parameters()]
    gradients, state = [parameter.grad for parameter in network.parameters()], copy.deepcopy(optimizer.state_dict())
    for check in (True, False):
        with pytest.raises(InputError, match="at most 2 / curvature" if check else "energy of .* samples rises"):
            network.infer(50 * x, 50 * y, mode="incremental", optimizer=optimizer, dt=5.0, check=check)
        torch.testing.assert_close(list(network.parameters()), weights, atol=0, rtol=0)
        assert all(a is b.grad for a, b in zip(gradients, network.parameters(), strict=True))
        torch.testing.assert_close(optimizer.state_dict(), state, atol=0, rtol=0)


def test_one_sample_of_high_curvature_decides_the_step():
    """The others are 0, so that their units are inactive and their curvature is 1."""
    torch.manual_seed(0)
    network = PredictiveNetwork((8, 30, 10), "relu", order="act_before")
    with torch.no_grad():
        network.layers[1].weight.mul_(6)
        for layer in network.layers:
            layer.bias.fill_(-0.5)
    x, y = torch.zeros(200, 8), torch.zeros(200, 10)
    assert network.stable_dt(x, y) == pytest.approx(1)
    for sample in (0, 63, 199):
        x[sample] = 10.0
        step = network.stable_dt(x, y)
        assert step == pytest.approx(network.stable_dt(x[[sample]], y[[sample]]), rel=1e-4) and step < 0.1
        with pytest.raises(InputError, match="at most 2 / curvature"):
            network.infer(x, y, dt=0.9)
        x[sample] = 0.0


@pytest.mark.parametrize("prior", [l1(0.5), cauchy(0.2, 0.7)], ids=str)
def test_clamped_units_do_not_move_under_a_prior(prior):
    """Whole states, and units of a state that is clamped in part."""
    network, x, y = build((6, 8, 5), prior=dict.fromkeys(range(3), prior))
    known = torch.rand(3, 6) < 0.5
    states = network.infer(clamp={0: (x, known), 2: y}, steps=5)
    assert torch.equal(states.z[0][known], x[known]) and torch.equal(states.z[2], y)
    assert not torch.equal(states.z[0][~known], x[~known])
    assert torch.equal(network.infer(x, y, steps=5).z[0], x)


@pytest.mark.parametrize("gradients", ["hand", "autograd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cross_entropy_of_large_logits_is_not_cut(dtype, gradients):
    """-log softmax beyond the logarithm of the smallest float, and its gradient, from `torch.nn.functional`."""
    network, x, y = build((6, 8, 5), output="cross_entropy", dtype=dtype, gradients=gradients, activation="relu")
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(200)
    y = torch.eye(5, dtype=dtype)[network(x).argmin(1)]
    states = network.infer(x, y, mode="fixed_prediction")
    expected = F.cross_entropy(network(x), y, reduction="none")
    assert bool((expected > 1000).all())
    torch.testing.assert_close(states.energies[0], expected.detach(), rtol=1e-5, atol=0)
    states = network.infer(x, y, steps=1, dt=1e-6)
    network.learn(states)
    (slope,) = torch.autograd.grad(network.energy(states).mean(), [network.layers[1].weight])
    torch.testing.assert_close(network.layers[1].weight.grad, slope, rtol=1e-4, atol=1e-4)
