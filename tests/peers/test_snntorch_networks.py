"""snnTorch networks and ours, both ways: the same spikes at the same steps, and the same gradients."""

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.io import snntorch as bridge

snntorch = pytest.importorskip("snntorch")
surrogate = pytest.importorskip("snntorch.surrogate")
utils = pytest.importorskip("snntorch.utils")

RESETS = ["subtract", "zero", "none"]
NEURONS = {
    "Leaky": lambda n, **options: snntorch.Leaky(beta=0.9, **options),
    "Leaky, beta per unit": lambda n, **options: snntorch.Leaky(beta=torch.linspace(0.5, 1, n), **options),
    "Synaptic": lambda n, **options: snntorch.Synaptic(alpha=0.8, beta=0.9, **options),
    "RLeaky": lambda n, **options: snntorch.RLeaky(beta=0.9, linear_features=n, **options),
    "RLeaky one to one": lambda n, **options: snntorch.RLeaky(beta=0.9, all_to_all=False, V=0.3, **options),
}


def dyadic(module, shift=-0.45):
    """Weights in 64ths: sums of spikes times weights are exact in any order, so currents are identical."""
    for weight in module.parameters():
        weight.data = (torch.rand_like(weight) * 0.9 + shift).mul(64).round().div(64)
    return module


def network(kind, reset, spike_grad=None):
    torch.manual_seed(0)
    layers = []
    for n_in, n_out in ((12, 9), (9, 5)):
        linear = dyadic(nn.Linear(n_in, n_out))
        neurons = NEURONS[kind](n_out, reset_mechanism=reset, init_hidden=True, spike_grad=spike_grad)
        if kind == "RLeaky":
            dyadic(neurons.recurrent)
        layers += [linear, neurons]
    return nn.Sequential(*layers)


def spikes_of(theirs, x):
    """The idiom of snnTorch: reset, then step by step."""
    utils.reset(theirs)
    return torch.stack([theirs(step) for step in x.unbind(0)])


@pytest.fixture
def x():
    spikes = torch.rand(25, 4, 12, generator=torch.Generator().manual_seed(1)) < 0.3
    return spikes.float()


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("kind", NEURONS)
def test_read_spikes_exactly_and_learns_the_same(kind, reset, x):
    theirs = network(kind, reset, surrogate.fast_sigmoid(slope=5))
    ours = bridge.read(theirs)
    expected, found = spikes_of(theirs, x), ours(x)
    assert torch.equal(found.dense(), expected)
    assert 0.02 < found.density < 0.9
    weights = torch.rand(expected.shape, generator=torch.Generator().manual_seed(2))
    (expected * weights).sum().backward()
    (found.dense() * weights).sum().backward()
    for mine, other in zip(ours[::2].parameters(), theirs[::2].parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("kind", NEURONS)
def test_what_is_written_reads_back_and_spikes_the_same(kind, reset, x):
    ours = bridge.read(network(kind, reset))
    written = bridge.write(ours)
    assert torch.equal(spikes_of(written, x), ours(x).dense())
    again = bridge.read(written)
    assert torch.equal(again(x).dense(), ours(x).dense())
    assert [type(layer) for layer in written[1::2]] == [type(layer) for layer in network(kind, reset)[1::2]]


def test_images_go_into_folds_and_come_out_again():
    torch.manual_seed(0)
    first, second = dyadic(nn.Conv2d(1, 3, 3), -0.3), dyadic(nn.Linear(27, 4), -0.3)
    layers = [first, nn.MaxPool2d(2), snntorch.Leaky(beta=0.8, init_hidden=True), nn.Flatten(), second]
    theirs = nn.Sequential(*layers, snntorch.Leaky(beta=0.9, init_hidden=True))
    x = (torch.rand(10, 2, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    ours = bridge.read(theirs)
    expected = spikes_of(theirs, x)
    assert torch.equal(ours(x).dense(), expected) and ours(x).n_events > 0
    assert torch.equal(spikes_of(bridge.write(ours), x), expected)


def test_trained_constants_stay_trained():
    layer = snntorch.Leaky(beta=0.7, learn_beta=True, threshold=0.8, learn_threshold=True, init_hidden=True)
    (lif,) = bridge.read([layer])
    assert isinstance(lif.beta, nn.Parameter) and isinstance(lif.threshold, nn.Parameter)
    (written,) = bridge.write(nn.Sequential(lif))
    assert isinstance(written.beta, nn.Parameter) and isinstance(written.threshold, nn.Parameter)
    assert written.beta.item() == pytest.approx(0.7) and written.threshold.item() == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: snntorch.LeakyParallel(3, 3), "got LeakyParallel, module '0'; expected Leaky"),
        (lambda: snntorch.Leaky(beta=0.9, graded_spikes_factor=2.0), "Leaky with graded_spikes_factor"),
        (lambda: snntorch.Leaky(beta=0.9, reset_delay=False), "reset_delay=True"),
    ],
)
def test_what_has_no_equal_is_refused(layer, message):
    with pytest.raises(ns.InputError, match=message):
        bridge.read([layer()])


@pytest.mark.parametrize(
    ("lif", "message"),
    [
        (lambda: ns.LIF(beta=0.9), "Train the network with delayed_reset=True"),
        (lambda: ns.LIF(beta=0.9, reset="zero", delayed_reset=True), "Train the network with delayed_reset=False"),
        (lambda: ns.LIF(beta=0.9, refractory=2), "a refractory time"),
        (lambda: ns.LIF(beta=0.9, dynamics=ns.neurons.adaptive(0.9, 0.1)), "dynamics adaptive"),
        (lambda: ns.LIF(tau=0.02, dt=1e-3, delayed_reset=True), "tau in seconds"),
    ],
)
def test_what_snntorch_does_not_have_is_refused(lif, message):
    with pytest.raises(ns.InputError, match=message):
        bridge.write(nn.Sequential(lif()))


def test_a_module_with_a_forward_of_its_own_is_refused():
    with pytest.raises(ns.InputError, match="Pass its layers in order"):
        bridge.read(nn.ModuleList([nn.Linear(2, 2)]))
