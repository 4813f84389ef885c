"""Rules of learning against theory: exact gradients, pairs of spikes, rates of converted neurons, hand-made losses."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neurosparse as ns
from neurosparse import learning
from neurosparse.neurons import LIF, Readout

DOUBLE = torch.float64


def spikes_at(*steps, n=60, unit=0, units=1):
    times = torch.tensor(steps)
    return ns.EventTensor.from_aer(times, times * 0, times * 0 + unit, shape=(n, 1, units), dt=1e-3)


# ---- losses


def test_first_spikes_are_the_first_and_a_silent_unit_takes_all_steps():
    x = torch.zeros(6, 2, 3)
    x[2, 0, 0] = x[4, 0, 0] = x[5, 1, 2] = 1
    assert learning.first_spikes(x).tolist() == [[2, 6, 6], [6, 6, 5]]


def test_losses_pass_gradcheck_on_smooth_spikes():
    x = torch.rand(4, 3, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)).mul(0.8).add(0.1).requires_grad_()
    y = torch.tensor([0, 1, 1])
    assert torch.autograd.gradcheck(lambda s: learning.latency_loss(s, y, tau=2.0), (x,))
    for over in ("max", "mean", "last"):
        assert torch.autograd.gradcheck(lambda s, over=over: learning.membrane_loss(s, y, over), (x,))


def test_rate_loss_is_cross_entropy_of_mean_spikes_over_each_sample_s_own_steps():
    dense = torch.zeros(4, 2, 2)
    dense[:4, 0, 0] = 1
    dense[:1, 1, 1] = 1
    events = ns.EventTensor.from_dense(dense, lengths=torch.tensor([4, 1]), spikes=True)
    expected = math.log(1 + math.exp(-1))  # both rates are one spike a step
    assert learning.rate_loss(events, torch.tensor([0, 1])).item() == pytest.approx(expected)


def test_losses_reach_the_weights_through_spikes():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), LIF(beta=0.9))
    y = torch.tensor([0, 3])
    x = torch.rand(8, 2, 5)
    for loss in (learning.rate_loss, learning.latency_loss):
        network.zero_grad()
        loss(network(x), y).backward()
        assert float(network[0].weight.grad.abs().sum()) > 0
    learning.activity_loss(network(x), 0.9).backward()


def test_membrane_loss_takes_no_maximum_beyond_a_sample_s_end():
    events = ns.EventTensor.from_dense(torch.zeros(3, 1, 2), lengths=torch.tensor([1]))
    membrane = Readout(0.5)(events) - torch.ones(3, 1, 2)
    membrane = ns.events.with_timing(torch.tensor([[[-1.0, -2.0]], [[5.0, 9.0]], [[5.0, 9.0]]]), events.timing)
    expected = F.cross_entropy(torch.tensor([[-1.0, -2.0]]), torch.tensor([0]))
    assert learning.membrane_loss(membrane, torch.tensor([0])).item() == pytest.approx(expected.item())


# ---- chunks of time


def network(recurrent=False):
    torch.manual_seed(0)
    loop = nn.Linear(7, 7, bias=False) if recurrent else None
    layers = [nn.Linear(4, 7), LIF(beta=0.9, recurrent=loop), nn.Linear(7, 3), LIF(beta=0.8)]
    return nn.Sequential(*layers).double()


def gradients(net, outs):
    net.zero_grad()
    sum((out.dense() * torch.arange(1.0, 4.0, dtype=DOUBLE)).sum() for out in outs).backward()
    return [p.grad.clone() for p in net.parameters()]


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 50])
def test_chunks_computed_again_give_the_gradient_of_the_whole(chunk, recurrent):
    net, x = network(recurrent), torch.rand(13, 5, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(1)) * 2
    whole = gradients(net, [net(x)])
    outs = list(learning.through_time(net, x, chunk))
    assert torch.equal(torch.cat([out.dense() for out in outs]), net(x).dense())
    for mine, full in zip(gradients(net, outs), whole, strict=True):
        torch.testing.assert_close(mine, full, rtol=1e-10, atol=1e-12)


def saved_bytes(net, x, chunk):
    total = 0

    def pack(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if chunk is None:
            net(x)
        else:
            list(learning.through_time(net, x, chunk))
    return total


def test_memory_grows_with_the_states_of_chunks_not_with_steps():
    """Eight times the steps: the whole sequence keeps eight times as much, chunks little more than their input."""
    net = network()
    short, long = (torch.rand(steps, 5, 4, dtype=DOUBLE) for steps in (50, 400))
    assert saved_bytes(net, long, None) > 6 * saved_bytes(net, short, None)
    assert saved_bytes(net, long, 50) < 1.2 * long.nbytes < 0.5 * saved_bytes(net, long, None)


def test_truncated_time_leaves_the_spikes_and_cuts_the_gradient():
    net, x = network(), torch.rand(12, 5, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(1)) * 2
    net.zero_grad()
    parts = []
    for out in learning.through_time(net, x, 4, truncate=True):
        (out.dense() * torch.arange(1.0, 4.0, dtype=DOUBLE)).sum().backward()  # at once: nothing waits for later chunks
        parts.append(out.dense().detach())
    cut = [p.grad.clone() for p in net.parameters()]
    assert torch.equal(torch.cat(parts), net(x).dense())
    whole = gradients(net, [net(x)])
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(cut, whole, strict=True))


# ---- e-prop


def eprop_network(recurrent=None, reset="subtract"):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 9), LIF(beta=0.8, reset=reset, recurrent=recurrent), nn.Linear(9, 2), Readout(0.7)
    ).double()


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_symmetric_eprop_without_recurrence_is_backpropagation_through_time(reset):
    net = eprop_network(reset=reset)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(15, 4, 6, dtype=DOUBLE, generator=generator) * 2
    target = torch.rand(15, 4, 2, dtype=DOUBLE, generator=generator)
    loss = 0.5 * (net(x) - target).square().sum() / 4
    loss.backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    assert learning.eprop(net, x, target).item() == pytest.approx(loss.item())
    for mine, p in zip(expected, net.parameters(), strict=True):
        torch.testing.assert_close(p.grad, mine, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_eprop_is_backpropagation_with_the_spikes_of_the_step_before_as_inputs(bias):
    """Constant inputs: e-prop leaves out the effect of a spike on other units, and nothing else."""
    net = eprop_network(nn.Linear(9, 9, bias=bias).double())
    first, cells, *rest = net
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(15, 4, 6, dtype=DOUBLE, generator=generator) * 2
    target = torch.rand(15, 4, 2, dtype=DOUBLE, generator=generator)
    loss = learning.eprop(net, x, target)
    spikes = cells(first(x)).dense()
    before = torch.cat([torch.zeros_like(spikes[:1]), spikes[:-1]]).detach()
    loop, plain = cells.recurrent, nn.Sequential(LIF(beta=0.8), *rest)
    found = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    expected = 0.5 * (plain(first(x) + loop(before)) - target).square().sum() / 4
    expected.backward()
    assert spikes.sum() > 20 and loss.item() == pytest.approx(expected.item())
    for mine, p in zip(found, net.parameters(), strict=True):
        torch.testing.assert_close(mine, p.grad, rtol=1e-9, atol=1e-12)


def test_recurrent_eprop_with_random_feedback_learns():
    net = eprop_network(nn.Linear(9, 9, bias=False))
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(30, 8, 6, dtype=DOUBLE, generator=generator) < 0.3).double()
    target = torch.sin(torch.arange(30, dtype=DOUBLE) / 5).view(30, 1, 1).expand(30, 8, 2)
    feedback = torch.randn(9, 2, dtype=DOUBLE, generator=generator)
    optimizer, losses = torch.optim.Adam(net.parameters(), 0.02), []
    for _ in range(60):
        optimizer.zero_grad()
        losses.append(learning.eprop(net, x, target, feedback).item())
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


def test_eprop_refuses_what_it_cannot_do():
    with pytest.raises(ns.InputError, match=r"nn\.Sequential\(nn\.Linear, LIF"):
        learning.eprop(nn.Sequential(nn.Linear(2, 2)), torch.ones(2, 1, 2), torch.ones(2, 1, 2))
    with pytest.raises(ns.InputError, match="reset 'subtract' or 'none'"):
        learning.eprop(eprop_network(reset="zero"), torch.ones(2, 1, 6), torch.ones(2, 1, 2))


# ---- STDP


@pytest.mark.parametrize("distance", [1, 7, 30])
def test_a_pair_changes_the_weight_by_the_exponential_of_its_distance(distance):
    weight, options = (
        torch.full((1, 1), 0.5, dtype=DOUBLE),
        {"rise": 0.1, "fall": 0.2, "tau_rise": 0.01, "tau_fall": 0.02},
    )
    causal = learning.stdp(weight, spikes_at(5), spikes_at(5 + distance), **options)
    acausal = learning.stdp(weight, spikes_at(5 + distance), spikes_at(5), **options)
    assert causal.item() - 0.5 == pytest.approx(0.1 * math.exp(-distance / 10), rel=1e-6)
    assert acausal.item() - 0.5 == pytest.approx(-0.2 * math.exp(-distance / 20), rel=1e-6)
    assert learning.stdp(weight, spikes_at(5), spikes_at(5), **options).item() == 0.5


def test_all_pairs_count_or_the_nearest_only():
    weight, options = torch.zeros(1, 1, dtype=DOUBLE), {"rise": 0.1, "fall": 0.0, "tau_rise": 0.01}
    for pairs, distances in (("all", (3, 8)), ("nearest", (3,))):
        changed = learning.stdp(weight, spikes_at(2, 7), spikes_at(10), pairs=pairs, **options)
        assert changed.item() == pytest.approx(0.1 * sum(math.exp(-d / 10) for d in distances), rel=1e-6)


def test_stdp_sums_over_samples_and_units_and_keeps_bounds():
    """Against the double sum over pairs of spikes."""
    generator = torch.Generator().manual_seed(0)
    before, after = ((torch.rand(40, 3, n, generator=generator) < 0.1).double() for n in (5, 4))
    weight = torch.full((4, 5), 0.5, dtype=DOUBLE)
    expected = weight.clone()
    for t_pre, sample, i in before.nonzero().tolist():
        for t_post in range(40):
            distance = t_post - t_pre
            change = 0.01 * math.exp(-distance / 20) if distance > 0 else -0.012 * math.exp(distance / 20)
            if distance:
                expected[:, i] += change * after[t_post, sample]
    events = [ns.EventTensor.from_dense(x, dt=1e-3, spikes=True) for x in (before, after)]
    torch.testing.assert_close(learning.stdp(weight, *events), expected, rtol=1e-9, atol=1e-12)
    assert learning.stdp(weight, *events, rise=50.0, bounds=(0.0, 0.9)).max().item() == 0.9


# ---- norms and conversion


@pytest.mark.parametrize("folded", [False, True])
def test_merged_norms_compute_the_same(folded):
    torch.manual_seed(0)
    conv = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)]
    flat = [nn.Flatten(), nn.Linear(3 * 36, 5, bias=False), nn.BatchNorm1d(5)]
    network = nn.Sequential(ns.fold(*conv), ns.fold(*flat)) if folded else nn.Sequential(*conv, *flat)
    network = network.double()
    x = torch.randn(*((4,) if folded else ()), 6, 2, 8, 8, dtype=DOUBLE)
    for _ in range(3):
        network(x)
    network.eval()
    merged = learning.merge_norms(network)
    assert not [m for m in merged.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    torch.testing.assert_close(merged(x), network(x), rtol=1e-10, atol=1e-10)


def test_a_norm_behind_a_linear_layer_and_before_a_lif_is_merged_too():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), ns.fold(nn.BatchNorm1d(5)), LIF(beta=0.9)).double()
    x = torch.rand(6, 3, 4, dtype=DOUBLE)
    network(x)
    network.eval()
    merged = learning.merge_norms(network)
    assert len(merged) == 2
    torch.testing.assert_close(merged[0](x), network[1](network[0](x)), rtol=1e-10, atol=1e-10)


def test_the_norm_over_time_averages_over_steps_and_samples():
    x = torch.randn(7, 3, 4) * 5 + 2
    norm = learning.scale_norms(ns.fold(nn.BatchNorm1d(4)), threshold=0.5)
    y = norm(x)
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std((0, 1), unbiased=False), torch.full((4,), 0.5), atol=1e-4, rtol=0)


def test_rates_of_converted_neurons_approach_the_activations():
    """One layer, constant input: |theta rate - relu| < theta / steps, for every unit below theta."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 4)).double().eval()
    x = torch.rand(30, 10, dtype=DOUBLE)
    spiking = learning.convert(model, x, percentile=100)
    theta = float(spiking[1].threshold)
    activation = model[:2](x).detach()
    assert theta == pytest.approx(activation.max().item())
    for steps in (8, 64, 256):
        rate = spiking[:2](ns.constant_current(x, steps=steps)).counts().detach() / steps
        assert float((theta * rate - activation).abs().max()) <= theta / steps * (1 + 1e-9)


def test_a_deep_converted_network_ends_at_the_model_s_outputs():
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise((12, 30, 30, 3)):
        layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU(), nn.Dropout(0.1)]
    model = nn.Sequential(*layers[:-3]).double()
    x = torch.rand(40, 12, dtype=DOUBLE)
    model(x)
    model.eval()
    output = model(x).detach()
    errors = []
    for steps in (16, 128, 1024):
        out = learning.convert(model, x, 100)(ns.constant_current(x, steps=steps)).mean(0)
        errors.append(float((out - output).abs().max().detach()))
    assert errors[2] < errors[1] < errors[0] and errors[2] < 0.02 * float(output.abs().max())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: learning.convert(nn.Sequential(nn.Tanh()), torch.ones(2, 2)), "got Tanh"),
        (lambda: learning.convert(nn.Sequential(), torch.ones(2, 2), 0), "0 < percentile"),
        (
            lambda: learning.through_time(nn.Sequential(), torch.ones(2, 1, 1), 0),
            "chunk=0; expected a whole number, at least 1",
        ),
        (lambda: learning.through_time(len, torch.ones(2, 1, 1), 1), "expected a module"),
        (lambda: learning.stdp(torch.ones(2, 2), spikes_at(1), spikes_at(2)), "post, pre"),
        (lambda: learning.rate_loss(spikes_at(1), torch.tensor([0, 1])), "Time comes first"),
        (lambda: learning.membrane_loss(torch.ones(2, 1, 3), torch.tensor([0]), "sum"), "one of 'max', 'mean', 'last'"),
        (lambda: learning.activity_loss(spikes_at(1), 2.0), "0 <= target <= 1"),
    ],
)
def test_slips_are_refused(call, message):
    with pytest.raises(ns.InputError, match=message):
        call()


LOSSES = {
    "rate": lambda x, y: learning.rate_loss(ns.EventTensor.from_dense(x, spikes=True), y),
    "latency": learning.latency_loss,
    "membrane": learning.membrane_loss,
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_classes_are_whole_numbers_of_any_library(loss):
    outputs = torch.eye(3)[None, [0, 2]]  # (steps, samples, classes)
    expected = loss(outputs, torch.tensor([0, 2]))
    for target in ([0, 2], np.array([2, 0])[::-1], np.uint8([0, 2]), torch.tensor([0, 2], dtype=torch.int32)):
        assert loss(outputs, target) == expected
    for target in ([0.0, 2.0], torch.tensor([True, False]), [0, 3], [-1, 0], [0], None, "ab", 1):
        with pytest.raises(ns.InputError, match="_loss: got"):
            loss(outputs, target)


def test_boolean_spikes_have_latencies():
    spikes = ns.EventTensor.from_dense(torch.tensor([[[False, True]], [[True, True]]]))
    assert learning.first_spikes(spikes).tolist() == [[1.0, 0.0]]
