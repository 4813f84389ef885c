"""Stability of the inference step: the Hessian by blocks, and steps below and above the bound."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.predictive import EnergyIncreased, PredictiveNetwork, States
from neurosparse.predictive.curvature import extreme_curvatures
from neurosparse.predictive.inference import InferencePlan, relax
from neurosparse.predictive.layer import IDENTITY, PredictiveLayer
from neurosparse.predictive.maps import map_of
from neurosparse.predictive.problem import RelaxationProblem


def build(sizes, activation="identity", seed=0, samples=3, **options) -> tuple[PredictiveNetwork, Tensor, Tensor]:
    torch.manual_seed(seed)
    network = PredictiveNetwork(sizes, activation, **options).double()
    return network, *(torch.randn(samples, units, dtype=torch.float64) for units in (sizes[0], sizes[-1]))


def hessian(network: PredictiveNetwork) -> Tensor:
    """Of all states: ``Pi_l + W_{l+1}^T Pi_{l+1} W_{l+1}`` on the diagonal, ``-Pi_l W_l`` beside it."""
    weights = [layer.weight.detach() for layer in network.layers]
    sizes = [weights[0].shape[1], *(len(weight) for weight in weights)]
    blocks = [[torch.zeros(a, b, dtype=torch.float64) for b in sizes] for a in sizes]
    for k, weight in enumerate(weights):
        log = network.log_precisions[str(k + 1)] if str(k + 1) in network.log_precisions else torch.zeros(())
        pi = torch.diag(log.detach().double().exp().expand(len(weight)))
        blocks[k][k] = blocks[k][k] + weight.T @ pi @ weight
        blocks[k + 1][k + 1] = blocks[k + 1][k + 1] + pi
        blocks[k + 1][k], blocks[k][k + 1] = -pi @ weight, -weight.T @ pi
    return torch.cat([torch.cat(row, 1) for row in blocks])


def linear_layers(network: PredictiveNetwork) -> list[PredictiveLayer]:
    return [PredictiveLayer(module, IDENTITY, IDENTITY, map_of(module)) for module in network.layers]


@torch.no_grad()
def relax_unguarded(network: PredictiveNetwork, clamp, dt: float, steps: int) -> States:
    """Inference from a normal start, whatever the energy does."""
    problem, z, _ = network._make_problem(None, None, clamp, "normal", None, 0, True)
    return relax(problem, z, InferencePlan(steps, dt))


def largest_eigenvalue(network: PredictiveNetwork, free: list[bool]) -> float:
    sizes = [network.layers[0].in_features, *(layer.out_features for layer in network.layers)]
    units = torch.cat([torch.full((size,), moves) for size, moves in zip(sizes, free, strict=True)])
    return float(torch.linalg.eigvalsh(hessian(network)[units][:, units])[-1])


@settings(max_examples=8)
@given(
    sizes=st.lists(st.integers(2, 5), min_size=3, max_size=5), seed=st.integers(0, 10**6),
    free_ends=st.tuples(st.booleans(), st.booleans()), precise=st.booleans(),
)  # fmt: skip
def test_the_largest_curvature_is_the_largest_eigenvalue(sizes, seed, free_ends, precise):
    precision = [torch.rand(units) + 0.5 for units in sizes[1:]] if precise else 1.0
    network, *_ = build(sizes, seed=seed, precision=precision)
    free = [free_ends[0], *(True for _ in sizes[1:-1]), free_ends[1]]
    problem = RelaxationProblem(linear_layers(network), network._precisions(), {}, free)
    z = [torch.randn(3, units, dtype=torch.float64) for units in sizes]
    expected = largest_eigenvalue(network, free)
    assert (1 - 1e-3) * expected < extreme_curvatures(problem, z)[1] < (1 + 1e-9) * expected


@pytest.mark.parametrize(("sizes", "samples"), [((400, 700, 800, 500, 10), 1), ((30, 200, 200, 10), 40)])
def test_the_largest_curvature_of_up_to_2000_states(sizes, samples):
    """From below, and within 2 %: a step of 2.05 over the eigenvalue is refused before the first iteration."""
    network, *_ = build(sizes)
    free = [False, *(True for _ in sizes[1:-1]), False]
    problem = RelaxationProblem(linear_layers(network), [None] * len(network.layers), {}, free)
    z = [torch.randn(samples, units, dtype=torch.float64) for units in sizes]
    expected = largest_eigenvalue(network, free)
    assert 0.98 * expected < extreme_curvatures(problem, z)[1] < (1 + 1e-9) * expected


@settings(max_examples=3)
@given(
    activation=st.sampled_from(["relu", "tanh", "sigmoid"]), order=st.sampled_from(["act_after", "act_before"]),
    seed=st.integers(0, 10**6), gain=st.sampled_from([1.0, 3.0, 10.0]),
)  # fmt: skip
def test_the_largest_curvature_over_samples_that_differ(activation, order, seed, gain):
    """Samples of all sizes, so that few of them have the largest eigenvalue; by autograd of every sample's energy."""
    network, x, y = build((6, 9, 8, 4), activation, seed=seed, samples=40, order=order)
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(gain)
    x = x * torch.logspace(-2, 1, 40, dtype=torch.float64)[torch.randperm(40), None]
    problem, z, _ = network._make_problem(x, y, None, "forward", None, 0, True)
    states = replace(network.infer(x[:1], y[:1], mode="z_il"), z=tuple(state.detach() for state in z))
    expected = max(float(torch.linalg.eigvalsh(hessian_of_energy(network, states, k))[-1]) for k in range(40))
    assert 0.85 * expected < extreme_curvatures(problem, [s.detach() for s in z])[1] < (1 + 1e-9) * expected


def test_without_unclamped_states_there_is_no_curvature():
    network, *_ = build((6, 8, 8, 3))
    z = [torch.randn(1, units, dtype=torch.float64) for units in (6, 8, 8, 3)]
    nothing = RelaxationProblem(linear_layers(network), [None] * 3, {}, [False] * 4)
    assert extreme_curvatures(nothing, z) == (0, 0) and network.stable_dt(clamp=dict(enumerate(z))) == 1


def hessian_of_energy(network: PredictiveNetwork, states: States, sample: int) -> Tensor:
    """Of the hidden states of one sample, by autograd."""
    z = [part[sample : sample + 1] for part in states.z]
    widths = [part.shape[1] for part in z[1:-1]]

    def energy(flat: Tensor) -> Tensor:
        return network.energy(replace(states, z=(z[0], *(part[None] for part in flat.split(widths)), z[-1]))).sum()

    return torch.autograd.functional.hessian(energy, torch.cat(z[1:-1], -1)[0])


@pytest.mark.parametrize("order", ["act_after", "act_before"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "softplus"])
@pytest.mark.parametrize("output", ["squared", "cross_entropy"])
def test_curvature_of_other_activations_is_that_of_the_energy_by_autograd(activation, order, output):
    network, x, y = build((4, 6, 5, 3), activation, order=order, output=output, precision=[2.0, 0.5, 1.0])
    y = y.softmax(-1)
    for network.gradients, tolerance in (("hand", 1e-9), ("autograd", 1e-5)):  # exact products, differences
        states = network.infer(x, y, steps=1, dt=0.1)
        layers = network._predictive_layers(states.cross_entropy)
        problem = RelaxationProblem(layers, network._precisions(), {}, [False, True, True, False])
        expected = max(float(torch.linalg.eigvalsh(hessian_of_energy(network, states, k))[-1]) for k in range(len(x)))
        found = extreme_curvatures(problem, states.z)[1]
        assert (1 - 1e-2) * expected < found < (1 + tolerance) * expected


@settings(max_examples=8)
@given(sizes=st.lists(st.integers(2, 6), min_size=3, max_size=5), seed=st.integers(0, 10**6), free_input=st.booleans())
def test_below_the_bound_energy_falls_and_beyond_it_grows(sizes, seed, free_input):
    """dt < 2 / lambda: no rise, never refused. Beyond: the steepest direction grows by 1 - dt lambda a step."""
    network, x, y = build(sizes, seed=seed)
    bound = 2 / largest_eigenvalue(network, [free_input, *(True for _ in sizes[1:-1]), False])
    clamp = {len(sizes) - 1: y} if free_input else {0: x, len(sizes) - 1: y}
    states = network.infer(clamp=clamp, dt=0.98 * bound, start="normal", steps=100)
    scale = states.energies[0]
    assert bool((states.energies.diff(dim=0) <= 1e-12 * (1 + scale)).all())
    beyond = relax_unguarded(network, clamp, 1.1 * bound, 400)
    growth = (beyond.energies[-1] / beyond.energies[-2]).mean()
    assert float(growth) == pytest.approx((1 - 2 * 1.1) ** 2, rel=1e-3)
    for check in (True, False):
        with pytest.raises(
            InputError, match="at most 2 / curvature" if check else "a step with which the energy falls"
        ):
            network.infer(clamp=clamp, dt=1.1 * bound, start="normal", steps=400, check=check)


@settings(max_examples=12)
@given(
    sizes=st.lists(st.integers(2, 30), min_size=3, max_size=5), seed=st.integers(0, 10**6),
    samples=st.sampled_from([1, 3, 40]), gain=st.sampled_from([1.0, 3.0, 10.0]), single=st.booleans(),
    start=st.sampled_from(["forward", "normal"]), steps=st.sampled_from([20, 100]), nudge=st.sampled_from([None, 0.5]),
)  # fmt: skip
def test_stable_steps_of_linear_networks_are_accepted_and_others_refused(
    sizes, seed, samples, gain, start, single, steps, nudge
):
    """Up to 1.9 / lambda every energy falls; from 2.05 / lambda on no run is returned."""
    network, x, y = build(sizes, seed=seed, samples=samples)
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(gain)
    if single:
        network, x, y = network.float(), x.float(), y.float()
    free = [False, *(True for _ in sizes[1:-1]), nudge is not None]
    nudged = torch.zeros(sum(sizes)).double()
    nudged[-sizes[-1] :] = nudge or 0.0
    units = torch.cat([torch.full((size,), moves) for size, moves in zip(sizes, free, strict=True)])
    curved = (hessian(network.double()) + nudged.diag())[units][:, units]
    largest = float(torch.linalg.eigvalsh(curved)[-1])
    network = network.to(x.dtype)
    options = {"start": start, "steps": steps, "nudge": nudge}
    for share in (0.5, 1.0, 1.5, 1.9):
        energies = network.infer(x, y, dt=share / largest, **options).energies
        assert bool((energies.diff(dim=0) <= 1e-5 * energies[0]).all())
    for share in (2.05, 2.2, 5.0):
        with pytest.raises(InputError, match="at most 2 / curvature|the energy falls"):
            network.infer(x, y, dt=share / largest, **options)


@settings(max_examples=20)
@given(
    activation=st.sampled_from(["relu", "tanh", "sigmoid", "softplus"]), seed=st.integers(0, 10**6),
    order=st.sampled_from(["act_after", "act_before"]), start=st.sampled_from(["forward", "zero", "normal"]),
    output=st.sampled_from(["squared", "cross_entropy"]), samples=st.sampled_from([1, 3, 40]),
    gain=st.sampled_from([1.0, 3.0, 100.0]), target=st.sampled_from([1.0, 1000.0]),
)  # fmt: skip
def test_no_run_with_an_automatic_step_diverges(activation, seed, order, start, output, samples, gain, target):
    """The sum of energies never ends above its start, and a smooth energy falls at every step of every sample."""
    network, x, y = build((8, 20, 15, 6), activation, seed=seed, samples=samples, order=order, output=output)
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(gain)
    y = y.softmax(-1) if output == "cross_entropy" else target * y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EnergyIncreased)  # the step may be halved
        energies = network.infer(x, y, start=start).energies
    assert bool(energies.isfinite().all())
    assert float(energies[-1].sum()) <= float(energies[0].sum()) * (1 + 1e-10)
    if activation != "relu":
        assert bool((energies.diff(dim=0) <= 1e-10 * energies[0]).all())


@pytest.mark.parametrize("nudge", [-0.9, -1.0, -3.0])
def test_a_linear_network_under_a_nudge_without_an_equilibrium_is_refused(nudge):
    """``E`` of the output alone, the hidden states at their best: ``0.5 r^T S^-1 r + 0.5 nudge ||z_L - y||^2``."""
    network, x, y = build((6, 8, 3))
    weight = network.layers[1].weight.detach()
    lowest = 1 / float(torch.linalg.eigvalsh(torch.eye(3).double() + weight @ weight.T)[-1])
    with pytest.raises(InputError, match=f"nudge={nudge:g}; expected an energy with a minimum.*nearer to 0"):
        network.infer(x, y, nudge=nudge)
    network.infer(x, y, nudge=-0.8 * lowest, steps=200)


@pytest.mark.parametrize("order", ["act_after", "act_before"])
@pytest.mark.parametrize("activation", ["identity", "tanh", "sigmoid", "softplus"])
def test_energy_falls_at_every_step_of_the_automatic_length(activation, order):
    """For every sample; half the bound allows for curvature that grows during inference."""
    network, x, y = build((30, 24, 24, 10), activation, samples=16, order=order)
    states = network.infer(x, y, steps=200)
    assert bool((states.energies.diff(dim=0) <= 1e-12).all())
    assert bool((states.energies[-1] < states.energies[0]).all())
    assert states.dt == network.stable_dt(x, y)


@pytest.mark.parametrize(("order", "share"), [("act_after", 1.0), ("act_before", 0.5)])
def test_the_kinks_of_relu_raise_the_energy_little(order, share):
    """The gradient is discontinuous; the mean energy of a batch hardly rises."""
    network, x, y = build((30, 24, 24, 10), "relu", samples=128, order=order)
    energies = network.infer(x, y, steps=200, dt=share * network.stable_dt(x, y)).energies.mean(1)
    assert bool((energies.diff() <= 1e-3 * energies[0]).all()) and bool(energies[-1] < energies[0])


@pytest.mark.parametrize("output", ["squared", "cross_entropy"])
def test_energy_of_other_problems_falls_too(output):
    """A cross entropy, precisions, a nudge, a masked input, an unclamped input, together or one by one."""
    precision = [2.0, torch.linspace(0.5, 3, 7), 1.0 if output == "cross_entropy" else 4.0]
    network, x, y = build((6, 8, 7, 4), "tanh", output=output, precision=precision)
    y = y.softmax(-1)
    cases = [
        {"x": x, "y": y}, {"x": x, "y": y, "nudge": 0.5}, {"clamp": {0: (x, x > 0), 3: y}}, {"y": y},
        {"y": y, "start": "normal"}, {"x": x, "start": "zero"},
    ]  # fmt: skip
    for case in cases:
        energies = network.infer(**case, steps=100).energies
        assert bool((energies.diff(dim=0) <= 1e-12).all()) and bool((energies[-1] < energies[0]).all()), case


def test_the_estimate_of_the_curvature_can_be_left_out_and_the_check_of_the_energy_not():
    network, x, y = build((6, 8, 3))
    bound = 2 / largest_eigenvalue(network, [False, True, False])
    with pytest.raises(InputError, match=r"dt=.*at most 2 / curvature.*auto"):
        network.infer(x, y, dt=1.5 * bound)
    with pytest.raises(InputError, match=r"dt=.*of 3 samples rises.*a step with which the energy falls.*auto"):
        network.infer(x, y, dt=1.5 * bound, check=False)
    assert network.infer(x, y, check=False).dt == pytest.approx(bound / 2, rel=1e-3)


def test_an_energy_with_a_negative_curvature_of_largest_magnitude():
    """Two units: curvature ``pi + (w f')^2 - w f'' e`` of one, far below 0 here, and pi of the other, the bound."""
    network = PredictiveNetwork((2, 2, 2), "sigmoid", order="act_before", precision=(4.0, 1.0)).double()
    with torch.no_grad():
        for layer, diagonal in zip(network.layers, ([1.0, 1.0], [5.0, 0.0]), strict=True):
            layer.weight.copy_(torch.diag(torch.tensor(diagonal)))
            layer.bias.zero_()
    x, y = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[-1000.0, 0.0]]).double()
    f = torch.sigmoid(x[0, 0])
    slope = f * (1 - f)
    bend = 4 + (5 * slope) ** 2 - 5 * slope * (1 - 2 * f) * (y[0, 0] - 5 * f)
    assert bend < -100
    assert network.stable_dt(x, y) == pytest.approx(1 / 4, rel=1e-3)


@pytest.mark.parametrize("options", [{}, {"start": "zero"}, {"dt": 0.1, "check": False}, {"mode": "z_il"}])
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
def test_products_that_overflow_are_refused(activation, options):
    network, x, y = build((6, 8, 8, 4), activation)
    network, x, y = network.float(), x.float(), y.float()
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(1e20)
    with pytest.raises(InputError, match="beyond the largest float|finite values|the energy falls"):
        network.infer(x, y, **options)
