"""First calls in fresh processes, beside the import of torch and numba alone.

make bench-start                # kernels kept on disk; and not yet compiled, for the first three calls
make bench-start ARGS="cold"    # not yet compiled, for all calls

All processes import torch and numba. The goal of a first call is .5 s more than that, import of neurosparse included;
with kernels to compile, 10 s more. As ratios both depend on the seconds of the two imports, so they are computed here.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from timing import rows, write

HERE = Path(__file__).parent
WARM, COLD = 0.5, 10.0  # seconds that a first call may take
REPEATS = 3
PEER = "import torch, numba"

EVENTS = "torch.manual_seed(0); x = ns.EventTensor.from_dense((torch.rand(10, 8, 64) < 0.05).float())\n"
NETWORK = "nn.Linear(64, 32), ns.LIF(beta=0.9), nn.Linear(32, 10), ns.LIF(beta=0.9)"
CALLS = {
    "nn.Linear and LIF, forward and backward": EVENTS
    + """net = nn.Sequential(nn.Linear(64, 32), ns.LIF(beta=0.9))
net(x).dense().sum().backward()""",
    "solve, coordinate descent": """torch.manual_seed(0)
atoms = nn.functional.normalize(torch.randn(64, 32), dim=1)
ns.solve(torch.randn(16, 32), atoms, ns.l1(0.1), method="event")""",
    "Network.run": """net = ns.Network(dt=1e-4, seed=0)
model = ns.simulate.lif(20e-3, rest=-49e-3, threshold=-50e-3, reset=-60e-3, refractory=5e-3)
cells = net.population("cells", 100, model, initial=ns.simulate.uniform(-60e-3, -50e-3))
net.connect(cells, cells, ns.simulate.fixed_probability(0.1), weight=1e-3, delay=1.5e-3)
net.run(0.02)""",
    "fuse, forward and backward": EVENTS + f"ns.fuse({NETWORK})(x).dense().sum().backward()",
    "convolution of events, forward and backward": """torch.manual_seed(0)
x = ns.EventTensor.from_dense((torch.rand(4, 4, 8, 12, 12) < 0.05).float())
net = nn.Sequential(ns.fold(nn.Conv2d(8, 16, 3)), ns.LIF(beta=0.9))
net(x).dense().sum().backward()""",
    "PredictiveNetwork, infer and learn": """torch.manual_seed(0)
net = ns.PredictiveNetwork((64, 32, 10))
net.learn(net.infer(torch.rand(8, 64), torch.eye(10)[:8]))""",
    "DictionaryLearning.fit": """import numpy as np
x = np.random.default_rng(0).normal(size=(200, 16))
ns.DictionaryLearning(8, alpha=0.1, max_iter=3, random_state=0).fit(x)""",
    "io.evt.read, EVT 3": """ns.io.evt.read(sys.argv[1])""",
}
STARTED = "import sys, time\nstarted = time.perf_counter()\nimport torch, numba\n"
IMPORT = "from torch import nn\nimport neurosparse as ns\ntorch.set_num_threads(int(sys.argv[2]))\n"
ENDED = "\nprint(time.perf_counter() - started)"


def recording(folder: str) -> str:
    """A small EVT 3 file."""
    import torch

    import neurosparse as ns

    unit = torch.randint(0, 2 * 32 * 32, (1000,))
    step = torch.arange(1000)
    events = ns.EventTensor.from_aer(step, 0 * step, unit, shape=(1000, 1, 2, 32, 32), dt=1e-6)
    path = f"{folder}/events.raw"
    ns.io.evt.write(events, path, version=3)
    return path


def seconds(code: str, path: str, threads: int, cache: str | None = None) -> float:
    """Of a process of its own, from its first import to its last line."""
    settings = {"OMP_NUM_THREADS": str(threads)} | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    script = STARTED + code + ENDED
    command = [sys.executable, "-c", script, path, str(threads)]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def warm(path: str, names: list[str], threads: int) -> list[dict[str, Any]]:
    """Some calls with kernels from the disk; processes take turns."""
    times: dict[str, list[float]] = {name: [] for name in (PEER, *names)}
    for name in names:
        seconds(IMPORT + CALLS[name], path, threads)  # compiles what is not kept yet
    for _ in range(REPEATS):
        times[PEER].append(seconds("", path, threads))
        for name in names:
            times[name].append(seconds(IMPORT + CALLS[name], path, threads))
    return table("first call", times, threads, WARM)


def cold(path: str, names: list[str]) -> list[dict[str, Any]]:
    """Some calls with an empty cache each, on one thread."""
    times = {PEER: [seconds("", path, 1)]}
    for name in names:
        with TemporaryDirectory() as cache:
            times[name] = [seconds(IMPORT + CALLS[name], path, 1, cache)]
    return table("first call, kernels compiled", times, 1, COLD)


def table(what: str, times: dict[str, list[float]], threads: int, more: float) -> list[dict[str, Any]]:
    """One case for each call, with the imports as its peer."""
    middle = {name: statistics.median(values) for name, values in times.items()}
    peer, found = middle.pop(PEER), []
    for name, value in middle.items():
        pair = {PEER: peer, "neurosparse": value}
        found += rows(f"{what}: {name}", pair, PEER, goals={"neurosparse": 1 + more / peer})
    return [row | {"threads": threads} for row in found]


def main() -> None:
    with TemporaryDirectory() as folder:
        path = recording(folder)
        if "cold" in sys.argv[1:]:
            write("start", cold(path, list(CALLS)), keep=True)
        else:
            every, three = list(CALLS), list(CALLS)[:3]
            write("start", [*warm(path, every, 1), *warm(path, three, 2), *cold(path, three)], keep=True)


if __name__ == "__main__":
    main()
