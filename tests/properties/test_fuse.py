"""A linear layer and its neurons as one kernel, against the two one by one and against the reference in plain torch."""

from itertools import pairwise

import event_strategies as es
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns
from neurosparse.kernels.scan.filter import filter_reference, leaky_filter

SURROGATES = [ns.boxcar(), ns.boxcar(2.0), ns.triangle(), ns.atan(), ns.fast_sigmoid(5.0)]


@st.composite
def networks(draw: st.DrawFn):
    """Three layers, one of them wider than a block of units, and an input of any density, spikes or graded."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    sizes = (draw(st.integers(1, 20)), draw(st.sampled_from([3, 70, 520])), draw(st.integers(1, 66)), 4)
    steps, samples = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    cell = {
        "surrogate": draw(st.sampled_from(SURROGATES)),
        "reset": draw(st.sampled_from(["subtract", "zero", "none"])),
        "delayed_reset": draw(st.booleans()),
    }
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        linear = nn.Linear(n_in, n_out, bias=draw(st.booleans())).double()
        linear.weight.data = torch.randn(n_out, n_in, generator=generator, dtype=torch.float64) * 2 / n_in**0.5
        beta = torch.rand(n_out, generator=generator, dtype=torch.float64)
        layers += [linear, ns.LIF(beta=beta, **cell)]
    shape = (steps, samples, sizes[0])
    density = draw(st.sampled_from([0.0, 0.05, 0.15, 0.6]))
    x = (torch.rand(shape, generator=generator) < density).double()
    graded = draw(st.booleans())
    x = x * torch.randn(shape, generator=generator, dtype=torch.float64) if graded else x
    lengths = draw(es.lengths_for(shape))
    return layers, es.silence_beyond(x, lengths), lengths, not graded


def outcome(network, x, lengths, spikes, found):
    leaf = x.clone().requires_grad_()
    events = ns.EventTensor.from_dense(leaf, lengths=lengths, spikes=spikes)
    if found:
        assert events.n_events == int((x != 0).sum())  # an event kernel needs events that are known
    network.zero_grad()
    out = network(events)
    weights = torch.arange(1.0, out.counts().numel() + 1, dtype=torch.float64).view(out.counts().shape)
    (out.counts() * weights).sum().backward()
    return out.dense().detach(), [leaf.grad, *(p.grad.clone() for p in network.parameters())]


@pytest.mark.parametrize("threads", [1, 2])
@given(network=networks())
def test_fused_equals_one_by_one_and_the_law(threads, network):
    layers, x, lengths, spikes = network
    torch.set_num_threads(threads)
    try:
        fused = outcome(ns.fuse(*layers), x, lengths, spikes, found=True)
        single = outcome(nn.Sequential(*layers), x, lengths, spikes, found=True)
    finally:
        torch.set_num_threads(1)
    for layer in layers[1::2]:
        layer.reference = True
    reference = outcome(nn.Sequential(*layers), x, lengths, spikes, found=False)
    for other in (single, reference):
        assert torch.equal(fused[0], other[0])
        for mine, theirs in zip(fused[1], other[1], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9 * (1 + float(theirs.abs().max())))


def test_a_fused_network_is_a_sequential_in_name_and_in_what_it_shows():
    torch.manual_seed(0)
    layers = [nn.Linear(6, 5), ns.LIF(beta=0.9), nn.Linear(5, 3), ns.LIF(beta=0.9)]
    fused, plain = ns.fuse(*layers), nn.Sequential(*layers)
    assert list(fused.state_dict()) == list(plain.state_dict())
    seen = []
    handle = fused[0].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    events = ns.poisson(torch.full((2, 6), 0.3), steps=4)
    _ = events.n_events
    fused(events)
    assert seen == [torch.Size([4, 2, 5])], "a hook sees the current: the pair runs one by one"
    handle.remove()
    rows = []
    for network in (fused, plain):
        with ns.record(network) as tape:
            network(events)
        rows.append(ns.count(tape).rows)
    assert rows[0] == rows[1] and len(rows[0]) >= 4


def test_a_nan_in_the_weights_is_refused_by_the_fused_kernel_too():
    network = ns.fuse(nn.Linear(6, 5), ns.LIF(beta=0.9))
    network[0].weight.data[2] = float("nan")
    events = ns.EventTensor.from_aer(*[torch.zeros(1, dtype=torch.long)] * 3, shape=(4, 2, 6))
    with pytest.raises(ns.InputError, match="NaN in the current"):
        network(events)


@given(st.integers(0, 6), st.integers(1, 3), st.integers(1, 5), st.integers(0, 2**31))
def test_the_filter_equals_its_law(steps, samples, units, seed):
    generator = torch.Generator().manual_seed(seed)
    x, start = (
        torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((steps, samples, units), (samples, units))
    )
    alpha = torch.rand(units, generator=generator, dtype=torch.float64)
    results = []
    for run in (leaky_filter, filter_reference):
        leaves = [x.clone().requires_grad_(), start.clone().requires_grad_()]
        y = run(leaves[0], alpha, leaves[1])
        if steps:
            (y * torch.arange(1.0, y.numel() + 1, dtype=torch.float64).view(y.shape)).sum().backward()
        results.append((y.detach(), [leaf.grad for leaf in leaves] if steps else []))
    assert torch.equal(results[0][0], results[1][0])
    for mine, theirs in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    if steps:
        assert torch.autograd.gradcheck(
            lambda a, b: leaky_filter(a, alpha, b), (x.requires_grad_(), start.requires_grad_())
        )


HOOKS = ("forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook")


@pytest.mark.filterwarnings("ignore:.*ackward hook")  # torch calls them where a module's tensors are events, or warns
@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("layer", [0, 1])
def test_hooks_of_a_pair_run_as_in_a_sequential(layer, kind):
    calls = []
    for join in (nn.Sequential, ns.fuse):
        torch.manual_seed(0)
        network, called = join(nn.Linear(6, 4), ns.LIF(beta=0.9), nn.Linear(4, 2)), []
        getattr(network[layer], f"register_{kind}")(lambda module, *_, called=called: called.append(type(module)))
        network(ns.poisson(torch.full((2, 6), 0.3), steps=5)).sum().backward()
        calls.append(called)
    assert calls[0] == calls[1]
    assert calls[0] or layer == 1


def test_autocast_applies_to_a_fused_pair():
    layers = nn.Linear(6, 4), ns.LIF(beta=0.9)
    events = ns.poisson(torch.full((2, 6), 0.3), steps=5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one_by_one, fused = nn.Sequential(*layers)(events), ns.fuse(*layers)(events)
    assert fused.dtype == one_by_one.dtype
    assert torch.equal(fused.dense(), one_by_one.dense())
