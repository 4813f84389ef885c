"""Operation counts of NeuroBench and SpikingJelly per sample, for the networks of zoo.py: tests/oracles/counts.json."""

import contextlib
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity
from neurobench.metrics.workload import (
    ActivationSparsity,
    ActivationSparsityByLayer,
    MembraneUpdates,
    SynapticOperations,
)
from neurobench.models import SNNTorchModel, TorchModel
from snntorch import utils
from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter, SynOpCounter
from torch.utils.data import DataLoader, TensorDataset
from zoo import CASES, Case


def neurobench(case: Case) -> dict[str, Any]:
    net = case.build().eval()
    model = SNNTorchModel(net) if case.steps else TorchModel(net)
    labels = torch.zeros(len(case.data), dtype=torch.long)
    loader = DataLoader(TensorDataset(case.data, labels), batch_size=case.batch)
    workload = [ActivationSparsity, SynapticOperations, ActivationSparsityByLayer]  # the last needs the others
    workload += [MembraneUpdates] if case.steps else []
    with contextlib.redirect_stdout(io.StringIO()):
        found = Benchmark(model, loader, [], [], [[ConnectionSparsity], workload]).run(quiet=True)
    operations = found.pop("SynapticOperations")
    if not isinstance(operations, dict):  # it failed and returned 0
        operations = dict.fromkeys(("Effective_MACs", "Effective_ACs", "Dense"), operations)
    return json.loads(json.dumps({**found, **operations}, default=lambda number: number.item()))


def spikingjelly(case: Case) -> dict[str, float]:
    """Accumulates where SpikingJelly takes an input for spikes, multiply-accumulates elsewhere."""
    net, synops, macs = case.build().eval(), SynOpCounter(), MACCounter()
    for part in case.data.split(case.batch):
        utils.reset(net)
        for step in part.unbind(1) if case.steps else [part]:
            with torch.no_grad(), DispatchCounterMode([synops, macs]):
                net(step)
    products = ("mm", "addmm", "bmm", "baddbmm", "convolution")
    multiplied = {str(op).split(".")[1]: n for op, n in macs.get_counts().get("Global", {}).items()}
    return {
        "synops": synops.get_total() / len(case.data),
        "macs": sum(n for name, n in multiplied.items() if name in products) / len(case.data),
    }


torch.set_num_threads(1)
out = {
    "versions": {name: version(name) for name in ("neurobench", "snntorch", "spikingjelly", "torch")},
    "cases": {
        name: {"NeuroBench": neurobench(case), "SpikingJelly": spikingjelly(case)} for name, case in CASES.items()
    },
}
Path(sys.argv[1]).write_text(json.dumps(out, indent=1) + "\n")
