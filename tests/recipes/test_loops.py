"""Training loops outside the library: a plain one, Lightning's, and two processes under torchrun."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

import neurosparse as ns

STEPS = 10


def toy(dtype=torch.float32):
    torch.manual_seed(0)
    layers = [nn.Linear(12, 16), ns.LIF(beta=0.9, surrogate=ns.boxcar()), nn.Linear(16, 3), ns.LIF(beta=0.9)]
    return ns.fuse(*layers).to(dtype)


def data(n=48):
    """Three classes of rates: in each, another third of the inputs has the higher rate."""
    y = torch.arange(n) % 3
    rates = 0.1 + 0.5 * (torch.arange(12) // 4 == y[:, None])
    return rates, y


def loss_of(network, rates, y, seed=0):
    spikes = network(ns.poisson(rates, steps=STEPS, seed=seed))
    return ns.learning.rate_loss(spikes, y), spikes


def test_a_plain_loop_learns():
    network, (rates, y) = toy(), data()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for seed in range(40):
        optimizer.zero_grad()
        loss, spikes = loss_of(network, rates, y, seed)
        loss.backward()
        optimizer.step()
    assert float((spikes.counts().argmax(-1) == y).float().mean()) > 0.9


@pytest.mark.filterwarnings("ignore")  # what Lightning itself warns of
def test_lightning_trains_the_same_network():
    lightning = pytest.importorskip("lightning.pytorch")

    class Classifier(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = toy()

        def training_step(self, batch, _):
            return loss_of(self.network, *batch)[0]

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.02)

    model, (rates, y) = Classifier(), data()
    before = [p.detach().clone() for p in model.parameters()]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rates, y), batch_size=24)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    lightning.Trainer(max_epochs=15, accelerator="cpu", **quiet).fit(model, loader)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert float((loss_of(model.network, rates, y)[1].counts().argmax(-1) == y).float().mean()) > 0.8


WORKER = """
import os, torch
from torch import nn
import neurosparse as ns

torch.set_num_threads(1)
torch.manual_seed(0)
network = ns.fuse(nn.Linear(12, 16), ns.LIF(beta=0.9), nn.Linear(16, 3), ns.LIF(beta=0.9)).double()
x = (torch.rand(9, 8, 12, generator=torch.Generator().manual_seed(1)) < 0.4).double()
y = torch.arange(8) % 3
world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
mine = slice(rank * 8 // world, (rank + 1) * 8 // world)
model = network
if world > 1:
    torch.distributed.init_process_group("gloo")
    model = nn.parallel.DistributedDataParallel(network)
optimizer = torch.optim.SGD(network.parameters(), 0.5)
for _ in range(4):
    optimizer.zero_grad()
    spikes = ns.EventTensor.from_dense(x[:, mine], spikes=True)
    nn.functional.cross_entropy(model(spikes).counts() / 9, y[mine]).backward()
    optimizer.step()
if rank == 0:
    torch.save([p.detach() for p in network.parameters()], OUT)
if world > 1:
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path):
    weights = []
    for launch in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]):
        out, script = tmp_path / f"{len(launch)}.pt", tmp_path / "worker.py"
        script.write_text(WORKER.replace("OUT", repr(str(out))))
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *launch, str(script)], capture_output=True, text=True, env=environment, timeout=240
        )
        assert done.returncode == 0, done.stderr
        weights.append(torch.load(out))
    assert any(not torch.equal(a, b) for a, b in zip(weights[0], toy(torch.float64).parameters(), strict=True))
    for one, two in zip(*weights, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)
