"""On a GPU everything is what it is on the CPU; skipped where there is none."""

import pytest
import torch
from torch import nn

import neurosparse as ns

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def _network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    neurons = {
        "lif": lambda n: ns.LIF(beta=0.9),
        "trained beta": lambda n: ns.LIF(beta=nn.Parameter(torch.full((n,), 0.9))),
        "recurrent": lambda n: ns.LIF(beta=0.9, recurrent=nn.Linear(n, n, bias=False)),
        "current_based": lambda n: ns.LIF(beta=0.9, dynamics=ns.neurons.current_based(0.8)),
        "kwta": lambda n: ns.KWTA(k=5),
    }[kind]
    return nn.Sequential(nn.Linear(30, 20), neurons(20), nn.Linear(20, 10), neurons(10)).double()


@pytest.mark.parametrize("kind", ["lif", "trained beta", "recurrent", "current_based", "kwta"])
@pytest.mark.parametrize("form", ["tensor", "events", "ragged"])
def test_a_network_gives_the_same_spikes_and_gradients(kind, form):
    found = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(1)
        network, x = _network(kind).to(device), (torch.rand(12, 4, 30) < 0.3).double()
        if form != "tensor":
            lengths = torch.tensor([12, 7, 3, 0]) if form == "ragged" else None
            if lengths is not None:
                x = x * (torch.arange(12)[:, None] < lengths)[..., None]
            x = ns.EventTensor.from_dense(x, spikes=True, dt=1e-3, lengths=lengths)
            _ = x.n_events
        out = network(x.to(device))
        counts = out.counts()
        counts.square().mean().backward()
        assert counts.device.type == device
        found.append([counts.detach().cpu(), *(p.grad.cpu() for p in network.parameters())])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu)
    assert found[0][0].sum() > 0


def test_a_training_step_compiles_into_one_graph():
    network = _network("lif").cuda()
    x = torch.rand(12, 4, 30, device="cuda", dtype=torch.float64)
    whole = torch.compile(lambda x: network(x).dense().sum(0), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(x), network(x).dense().sum(0))


def test_a_step_is_captured_and_replayed():
    network, x = _network("lif").float().cuda(), torch.rand(12, 4, 30, device="cuda")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # what is made once, Triton's kernels too, must be there before a capture
        network(x).dense().sum().backward()
    torch.cuda.synchronize()
    expected = [p.grad.clone() for p in network.parameters()]
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(x).dense().sum().backward()
    graph.replay()
    for p, grad in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, grad)


def test_more_than_two_to_the_31_cells():
    current = torch.zeros(3, 1, 800_000_000, device="cuda", dtype=torch.float32)
    current[2, 0, -5] = 2.0
    spikes = ns.LIF(beta=0.9, surrogate=ns.boxcar())(current).dense()
    assert spikes[2, 0, -5] == 1
    assert spikes.sum() == 1


def test_convolution_in_a_fold():
    torch.manual_seed(0)
    layers = nn.Sequential(ns.fold(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2)), ns.LIF(beta=0.5)).double()
    x = (torch.rand(5, 3, 2, 10, 10) < 0.4).double()
    expected = layers(ns.EventTensor.from_dense(x, spikes=True)).dense()
    layers.cuda()
    torch.testing.assert_close(layers(ns.EventTensor.from_dense(x.cuda(), spikes=True)).dense().cpu(), expected)


@pytest.mark.parametrize("method", ["event", "fista", "ista", "lca", "spiking"])
@pytest.mark.parametrize(
    "penalty", [ns.l1(0.1), ns.elastic_net(0.1), ns.l0(0.02), ns.lp(0.04), ns.log(0.05, 0.3)], ids=str
)
def test_codes(method, penalty):
    if method == "spiking" and not penalty.convex:
        pytest.skip("codes of rates are for convex penalties")
    x, dictionary = torch.randn(6, 16).double(), torch.nn.functional.normalize(torch.randn(24, 16).double())
    cpu, cuda = (ns.solve(x.to(to), dictionary.to(to), penalty, method, steps=5000) for to in ("cpu", "cuda"))
    assert cuda.a.device.type == cuda.gap.device.type == cuda.events.device.type == "cuda"
    torch.testing.assert_close(cuda.a.cpu(), cpu.a, atol=1e-2, rtol=0)
    assert torch.equal(cuda.events.counts().sum((0, 1)).cpu() > 0, cpu.events.counts().sum((0, 1)) > 0)
    warm = ns.solve(x.cuda(), dictionary.cuda(), penalty, method, steps=5000, warm_start=cuda.a)
    assert warm.iterations.max() <= cuda.iterations.max()


@pytest.mark.parametrize("method", ["fista", "ista", "lca"])
def test_convolutional_codes(method):
    x, dictionary = torch.randn(3, 2, 9, 8).double(), torch.randn(5, 2, 3, 3).double()
    cpu, cuda = (ns.solve(x.to(to), dictionary.to(to), ns.l1(1.0), method, steps=5000) for to in ("cpu", "cuda"))
    torch.testing.assert_close(cuda.a.cpu(), cpu.a)
