"""Property 9: events pass through torch: loaders, workers, hooks, copies, data parallel training, compilation."""

import copy
import pickle
import subprocess
import sys
import textwrap

import event_strategies as es
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

import neurosparse as ns

STEPS = [3, 5, 5, 2, 7, 1]
# Ragged recordings with their labels: what a data set of ours hands to a stock loader.
ITEMS = [
    (ns.EventTensor.from_dense((torch.arange(n * 4).view(n, 1, 4) % 3 == 0), dt=1e-3), label)
    for label, n in enumerate(STEPS)
]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stock_loader_collates_ragged_recordings(workers):
    loader = DataLoader(ITEMS, batch_size=3, num_workers=workers)  # type: ignore[arg-type]
    batches = list(loader)
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2], [3, 4, 5]]
    for (events, labels), steps in zip(batches, (STEPS[:3], STEPS[3:]), strict=True):
        assert events.shape == (max(steps), 3, 4) and events.lengths.tolist() == steps and events.dt == 1e-3
        for i, label in enumerate(labels.tolist()):
            assert torch.equal(events.samples(i).steps(0, steps[i]).dense().bool(), ITEMS[label][0].dense())


def test_pin_memory_moves_every_part():
    assert callable(ITEMS[0][0].pin_memory)  # a loader looks for this method
    if not torch.cuda.is_available():
        pytest.skip("page-locked memory needs CUDA")
    pinned = default_collate([events for events, _ in ITEMS]).pin_memory()
    assert pinned.index.is_pinned() and pinned.lengths.is_pinned()
    moved = pinned.to("cuda")
    es.assert_same(moved.to("cpu"), pinned)


def test_copies_are_detached():
    current = torch.rand(4, 2, 3, requires_grad=True)
    spikes = ns.LIF(beta=0.9)(current)
    for again in (copy.deepcopy(spikes), pickle.loads(pickle.dumps(spikes))):
        assert not again.requires_grad
        es.assert_same(again, spikes.detach())
    held = ns.EventTensor.from_dense(current)
    assert torch.equal(copy.deepcopy(held).dense(), current.detach()) and held.requires_grad


def test_forward_hooks_see_events():
    seen = []
    net = nn.Sequential(nn.Linear(3, 4), ns.LIF(beta=0.9), nn.Linear(4, 2))
    for layer in net:
        layer.register_forward_hook(lambda m, args, out: seen.append((type(m).__name__, type(args[0]), type(out))))
    net(torch.rand(5, 2, 3))
    spikes = ns.EventTensor
    assert seen == [
        ("Linear", torch.Tensor, torch.Tensor),
        ("LIF", torch.Tensor, spikes),
        ("Linear", spikes, ns.events.TimedTensor),
    ]


TRAINING_STEP = """
import os, sys, torch, torch.distributed as dist
from torch import nn
import neurosparse as ns

torch.set_num_threads(1)

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), ns.LIF(beta=0.9), nn.Linear(8, 4), ns.LIF(beta=0.9)).double()

def step(model, x):
    (model(x).counts() ** 2).mean().backward()

x = ns.EventTensor.from_dense(torch.rand(10, 4, 6, generator=torch.Generator().manual_seed(1)).double() * 3)
if __name__ == "__main__":
    rank, store = int(sys.argv[1]), sys.argv[2]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(network())
    step(model, x.samples([2 * rank, 2 * rank + 1]))
    whole = network()
    step(whole, x)
    for ours, reference in zip(model.module.parameters(), whole.parameters(), strict=True):
        assert bool((reference.grad != 0).any())
        torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-12, atol=1e-12)
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(TRAINING_STEP))
    command = [sys.executable, str(script)]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_a_network_compiles_into_one_graph(reset):
    torch.manual_seed(0)
    last = (nn.Linear(8, 4), nn.LayerNorm(4), nn.ReLU(), ns.LIF(beta=0.9, reset=reset))
    net = nn.Sequential(nn.Linear(6, 8), ns.LIF(beta=0.9, reset=reset), *last)
    x = torch.rand(7, 3, 6) * 3

    def loss(x):
        spikes = net(x)
        return (spikes.dense() * torch.arange(4.0)).sum() + (spikes.counts() ** 2).sum()

    found = []
    for run in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        net.zero_grad()
        value = run(x)
        value.backward()
        found.append([value.detach(), *(p.grad.clone() for p in net.parameters())])
    assert found[0][0] > 0
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager)


KINDS = (
    lambda: {"recurrent": nn.Linear(8, 8)},
    lambda: {"dynamics": ns.neurons.adaptive(0.8, 0.3)},
    lambda: {"dynamics": ns.neurons.current_based(0.7)},
    lambda: {"refractory": 2},
)


@pytest.mark.parametrize("join", [nn.Sequential, ns.fuse])
def test_every_kind_of_neuron_compiles_into_one_graph(join):
    torch.manual_seed(0)
    net, x = join(nn.Linear(6, 8)), torch.rand(7, 3, 6) * 3
    for kind in KINDS:
        net.extend([ns.LIF(beta=0.9, threshold=0.1, **kind()), nn.Linear(8, 8)])
    net.append(ns.LIF(beta=0.9, threshold=0.1))

    def loss(x):
        return (net(x).dense() * torch.arange(8.0)).sum()

    found = []
    for run in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        net.zero_grad()
        value = run(x)
        value.backward()
        found.append([value.detach(), *(p.grad.clone() for p in net.parameters())])
    assert found[0][0] > 0
    torch.testing.assert_close(*found)


class Block(nn.Module):
    """A skip connection, a join, a view and a gain on timed tensors, then neurons."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 4)
        self.first, self.last = ns.LIF(beta=0.8, threshold=0.3), ns.LIF(tau=5e-3)

    def forward(self, x):
        x = x * 1.5 + torch.relu(self.norm(x))
        x = torch.cat([x[..., 4:], x[..., :4]], -1).view(x.shape[0], x.shape[1], 2, 4).transpose(2, 3).flatten(2)
        x = torch.where(x > 0, x, 0.1 * x).softmax(-1) + x.mean(-1, keepdim=True)
        return self.last(self.linear(self.first(x)) * 3)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [None, (2, 7, 4)])
def test_functions_of_timed_tensors_compile_into_one_graph(lengths):
    torch.manual_seed(0)
    block, x = Block(), torch.rand(7, 3, 8) * 2
    lengths = None if lengths is None else torch.tensor(lengths)

    def loss(x):
        timed = ns.events.with_timing(x, ns.events.Timing(dt=1e-3, lengths=lengths))
        return block(timed).counts().square().sum()

    found = []
    for run in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        block.zero_grad()
        value = run(x)
        value.backward()
        found.append([value.detach(), *(parameter.grad for parameter in block.parameters())])
    assert found[0][0] > 0
    torch.testing.assert_close(*found)
