"""Energies and operation counts of two spiking networks by SpikingJelly and NeuroBench: tests/oracles/energies.json.

The networks are those of zoo.py with the neurons of SpikingJelly, which its energy models need: ``v = 0.9 v + I``, a
spike at 1, which is subtracted at once. Counts and picojoules are sums over all samples, unless a name says otherwise.
"""

import contextlib
import io
import json
import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import zoo
from neurobench.benchmarks import Benchmark
from neurobench.metrics.workload import SynapticOperations
from neurobench.models import NeuroBenchModel
from spikingjelly.activation_based import functional, neuron, op_counter
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

# Layers of S-ResNet18 in NeuroMC's own workload: channels in, channels out, size; kernels of 3 x 3, stride 1.
RESNET18 = [(128, 32, 28), (128, 64, 28), (128, 128, 14), (256, 128, 14)]
RESNET18 += [(128, 256, 14), (256, 256, 7), (512, 192, 7), (512, 128, 7)]
VGG9 = [(3, 64), (64, 64), "pool", (64, 128), (128, 128), "pool", (128, 256), (256, 256), (256, 256), "pool"]


class Steps(nn.Module):
    """A network called once per step; input ``(samples, steps, ...)``."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.net(step) for step in x.unbind(1)], 1)


class Model(NeuroBenchModel):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def __call__(self, batch: Tensor) -> Tensor:
        functional.reset_net(self.net)
        return self.net(batch).sum(1)

    def __net__(self) -> nn.Module:
        return self.net


def network(build: Any) -> nn.Module:
    parts = [lif() if isinstance(part, zoo.snn.Leaky) else part for part in build()]
    return Steps(nn.Sequential(*parts)).eval()


def lif() -> nn.Module:
    return neuron.LIFNode(tau=10.0, decay_input=False, v_reset=None)


def vgg9() -> nn.Module:
    """The convolutions of VGG9 for 32 x 32 pixels, whose neurons come before the pools."""
    parts = []
    for part in VGG9:
        parts += [nn.MaxPool2d(2)] if part == "pool" else [nn.Conv2d(*part, 3, padding=1, bias=False), lif()]
    return Steps(nn.Sequential(*parts)).eval()


def estimate(name: str, net: nn.Module, x: Tensor, **options: Any) -> Any:
    functional.reset_net(net)
    with torch.no_grad():
        return getattr(op_counter, f"estimate_{name}")(net, x, **options)


def by_spikingjelly(net: nn.Module, x: Tensor) -> dict[str, Any]:
    lenient = {"config": op_counter.LemaireEnergyConfig(strict=False)}  # Flatten costs nothing
    simple, lemaire = estimate("simple_energy", net, x), estimate("lemaire_energy", net, x, **lenient)
    neuromc = estimate("neuromc_runtime_energy", net, x)
    singles = [sample[None] for sample in x]
    found = {
        "counts": {name: simple.counts[name] for name in ("synop", "ac", "mac")},
        "accumulates alone": accumulates(net, x),
        "lemaire counts": {name: lemaire.counts[name] for name in ("synop", "ac", "mac")},
        "simple": {"total": simple.energy_total_pj, "bytes": simple.counts["memory_access_bytes"]},
        "lemaire": {"total": lemaire.total_pj, **lemaire.breakdown_pj},
        "lemaire, one sample at a time": sum(
            estimate("lemaire_energy", net, one, **lenient).total_pj for one in singles
        ),
        "neuromc": {"total": neuromc.energy_total_pj, "compute": neuromc.energy_compute_pj},
        "neuromc, one sample at a time": sum(
            estimate("neuromc_runtime_energy", net, one).energy_total_pj for one in singles
        ),
    }
    if any(isinstance(module, nn.Conv2d) for module in net.modules()):
        found["spikesim"] = by_spikesim(net, x)
    return found


def accumulates(net: nn.Module, x: Tensor) -> int:
    """Of the network alone: inside the simple model the memory counter adds sums of its own."""
    functional.reset_net(net)
    counter = op_counter.ACCounter()
    with torch.no_grad(), op_counter.DispatchCounterMode([counter]):
        net(x)
    return counter.get_total()


def by_spikesim(net: nn.Module, x: Tensor) -> dict[str, float]:
    report = estimate("spikesim_energy", net, x)
    event = estimate("spikesim_energy", net, x, config=op_counter.SpikeSimEnergyConfig(activity_mode="event"))
    cycles = report.counts["dense_pe_cycle_count"]
    return {"total": report.energy_total_pj, "cycles": cycles, "event-driven": event.energy_total_pj}


def by_neurobench(net: nn.Module, x: Tensor) -> dict[str, float]:
    loader = DataLoader(TensorDataset(x, torch.zeros(len(x), dtype=torch.long)), batch_size=zoo.BATCH)
    with contextlib.redirect_stdout(io.StringIO()):
        found = Benchmark(Model(net), loader, [], [], [[], [SynapticOperations]]).run(quiet=True)
    return {name: float(value) * len(x) for name, value in found["SynapticOperations"].items()}


def layer(channels: int, out: int, size: int) -> dict[str, Any]:
    """One layer of NeuroMC's workload with its neurons; energies do not depend on the input."""
    net = nn.Sequential(nn.Conv2d(channels, out, 3, bias=False), neuron.IFNode()).eval()
    report = estimate("neuromc_runtime_energy", net, torch.zeros(1, channels, size + 2, size + 2))
    return {"in": channels, "out": out, "size": size, "total": report.energy_total_pj}


torch.set_num_threads(1)
logging.disable(logging.WARNING)
networks = {}
for name, case in (("MLP", zoo.CASES["spiking MLP"]), ("CNN", zoo.CASES["spiking CNN"])):
    net = network(case.build)
    networks[name] = {"samples": len(case.data), "SpikingJelly": by_spikingjelly(net, case.data)}
    networks[name]["NeuroBench"] = by_neurobench(net, case.data)
out = {
    "versions": {name: version(name) for name in ("neurobench", "spikingjelly", "torch")},
    "networks": networks,
    "S-ResNet18": [layer(*shape) for shape in RESNET18],
    "VGG9": {"steps": 5} | by_spikesim(vgg9(), torch.zeros(1, 5, 3, 32, 32)),
}
Path(sys.argv[1]).write_text(json.dumps(out, indent=1) + "\n")
