"""Sigma-delta networks: outputs of the ReLU network on cumulated counts, a message for each change of a level."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import neurosparse as ns
from neurosparse.experiments import make_model
from neurosparse.experiments.classification.families.delta import DeltaReLU

EVENTS = {"encoding": "events"}


def whole_weights(network: nn.Module, generator: torch.Generator, scale: float) -> None:
    """Weights -1, 0, 1 and biases -2..2 in units of ``scale``: every activation is a multiple of it."""
    for parameter in network.parameters():
        low = 1 if parameter.dim() > 1 else 2
        drawn = torch.randint(-low, low + 1, parameter.shape, generator=generator).float()
        parameter.data = drawn * (1 if parameter.dim() > 1 and parameter is not first(network) else scale)


def first(network: nn.Module) -> Tensor:
    return next(parameter for parameter in network.parameters() if parameter.dim() > 1)


def relu_levels(network: nn.Module, counts: Tensor) -> list[Tensor]:
    """Hidden activations and output of the ReLU network with these weights, on cumulated counts."""
    levels = [counts]
    stages = [*network.activations, network.leaky]
    for linear, stage in zip(network.linears, stages, strict=True):
        current = F.linear(levels[-1], linear.weight, stage.bias)
        levels.append(current if stage is network.leaky else current.relu())
    return levels[1:]


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3), st.sampled_from([0.25, 1.0]))
@settings(max_examples=15, deadline=None)
def test_the_output_is_that_of_the_relu_network_on_the_events_so_far(seed, steps, depth, step):
    generator = torch.Generator().manual_seed(seed)
    config = make_model("mine", family="delta", encoding="events", delta=step, steps=steps, depth=depth)
    network = config.network((6,), (5,), 3)
    whole_weights(network, generator, step)
    for stage in network.activations:
        stage.most = 2**20  # no change takes several steps
    counts = torch.randint(0, 3, (steps, 4, 6), generator=generator).float() * (
        torch.rand(steps, 4, 6, generator=generator) < 0.3
    )
    events = ns.EventTensor.from_dense(counts)
    *hidden, output = relu_levels(network, counts.cumsum(0))
    with torch.no_grad(), ns.record(network) as tape:
        given_hidden: list = []
        logits = network(events, given_hidden)
    assert torch.equal(network.anytime(events), output) and torch.equal(logits, output[-1])
    rows = [row for row in ns.count(tape).rows if row["kind"] == "neuron" and row["output_cells"]]
    for levels, messages, row in zip(hidden, given_hidden, rows, strict=True):
        changes = torch.cat([levels[:1], levels.diff(dim=0)])
        assert torch.equal(messages.dense(), changes)
        assert row["spikes_out"] == int((changes != 0).sum())


@given(st.integers(0, 10**6), st.floats(0.01, 2.0), st.integers(2, 8))
@settings(max_examples=15, deadline=None)
def test_a_level_differs_from_the_rectified_sum_by_less_than_a_step(seed, step, bits):
    current = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    neurons = DeltaReLU(step, bits=bits)
    messages, target = neurons(current), current.cumsum(0).relu()
    levels, known = messages.dense().cumsum(0), torch.cat([torch.zeros(1, 3, 4), messages.dense().cumsum(0)[:-1]])
    large = (target - known).abs() > (neurons.most + 1) * step  # takes several steps
    assert ((levels - target).abs() < step * (1 + 1e-9))[~large].all()
    assert (messages.dense().abs() <= neurons.most * step * (1 + 1e-9)).all()


def test_the_gradient_is_that_of_the_relu_network_of_the_same_levels():
    generator = torch.Generator().manual_seed(3)
    network = make_model("mine", family="delta", encoding="events", delta=1.0).network((6,), (5,), 3)
    whole_weights(network, generator, 1.0)
    counts = torch.randint(0, 2, (4, 7, 6), generator=generator).float()
    weights = first(network)
    network(ns.EventTensor.from_dense(counts)).sum().backward()
    found, weights.grad = weights.grad, None
    relu_levels(network, counts.cumsum(0))[-1][-1].sum().backward()
    assert torch.allclose(found, weights.grad) and found.abs().sum() > 0


def test_convolutions_with_norms_and_pools_follow_the_relu_network_within_a_step():
    config = make_model("mine", family="delta", layers=["conv 4 3 norm pool 2", "linear 8 norm"], delta=1e-3, **EVENTS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = config.network((2, 8, 8), (), 3)
    events = ns.poisson(torch.full((7, 2, 8, 8), 0.2), steps=4)
    network(events)  # sets the statistics of the norms
    network.eval()
    for stage in network.activations:
        stage.most = 2**20
    level = events.dense().cumsum(0)[-1]
    for linear, stage in zip(network.linears, network.activations, strict=False):
        for module in (*linear, *stage.behind):
            level = module(level)
        level = (level if stage.bias is None else level + stage.bias).relu()
    expected = network.leaky.bias + network.linears[-1](level)
    with torch.no_grad():
        assert torch.allclose(network(events), expected, atol=0.02)


def test_what_follows_the_end_of_a_recording_sends_nothing():
    network = make_model("mine", family="delta", layers=["linear 5 norm"], **EVENTS).network((6,), (), 3).eval()
    counts, lengths = torch.randint(0, 3, (4, 3, 6)).float(), torch.tensor([4, 1, 2])
    counts = counts * (torch.arange(4)[:, None, None] < lengths[:, None])
    ragged, whole = ns.EventTensor.from_dense(counts, lengths=lengths), ns.EventTensor.from_dense(counts)
    sent: list = []
    assert torch.equal(network(ragged, sent), network(whole, sent))
    assert torch.equal(sent[0].dense(), sent[1].dense())
