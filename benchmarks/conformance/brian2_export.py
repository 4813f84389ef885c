"""Trained networks exported as Brian 2 scripts: their spikes on each code target, compared one by one.

make brian2-export              # writes docs/results/brian2.json; compiling takes minutes
make brian2-export ARGS="cython digits"     # these targets and networks alone, printed and not kept
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import neurosparse as ns

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "peers"))

import exported  # noqa: E402
import result  # noqa: E402

TARGETS = ("numpy", "cython", "cpp_standalone")


def digits() -> tuple[nn.Sequential, ns.EventTensor]:
    """A trained classifier of handwritten digits and its 397 test images."""
    images, labels = load_digits(return_X_y=True)
    spikes, y = ns.latency(torch.tensor(images, dtype=torch.float32) / 16, steps=20, dt=1e-3), torch.tensor(labels)
    lif = {"tau": 10e-3, "surrogate": ns.triangle()}
    layers = [nn.Linear(64, 100), ns.LIF(**lif), nn.Linear(100, 50), ns.LIF(**lif, recurrent=nn.Linear(50, 50))]
    network = nn.Sequential(*layers, nn.Linear(50, 10), ns.neurons.Readout(beta=0.95))
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    for _ in range(10):
        for batch in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            F.cross_entropy(network(spikes.samples(batch)).mean(0), y[batch]).backward()
            optimizer.step()
    return network, spikes.samples(slice(1400, None))


CASES = {**exported.CASES, "digits": digits}


def in_brian2(path: Path, target: str) -> dict[str, Any]:
    """Run a script in a process of its own and parse what it prints."""
    done = subprocess.run([sys.executable, str(path), target], capture_output=True, text=True, check=False)
    counts = re.findall(r"(\w+): (\d+) spikes, (\d+) differ", done.stdout)
    apart = re.search(r"differ by at most (\S+)", done.stdout)
    if not counts:
        raise RuntimeError(done.stdout + done.stderr)
    return {
        "layers": {name: int(spikes) for name, spikes, _ in counts},
        "spikes": sum(int(spikes) for _, spikes, _ in counts),
        "mismatches": sum(int(wrong) for *_, wrong in counts),
        "membranes_apart": apart and float(apart[1]),
    }


def main(*chosen: str) -> None:
    torch.set_num_threads(1)
    targets = [target for target in TARGETS if target in chosen] or TARGETS
    cases = {name: case for name, case in CASES.items() if name in chosen} or CASES
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases.items():
            torch.manual_seed(0)
            network, inputs = case()
            path = ns.io.brian2.write(network, Path(folder) / f"{name}.py", inputs)
            for target in targets:
                rows.append({"network": name, "target": target} | in_brian2(path, target))
                print(rows[-1], flush=True)
    if not chosen:
        versions = {name: version(name) for name in ("brian2", "numpy", "torch")} | {"neurosparse": ns.__version__}
        result.keep("brian2", {"versions": versions, "rows": rows}, "make brian2-export")


if __name__ == "__main__":
    main(*sys.argv[1:])
