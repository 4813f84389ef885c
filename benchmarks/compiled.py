"""The kernels beside the same loops in C, compiled for this machine: what a compiled core would gain.

make bench-compiled            # needs a C compiler; without one nothing is timed

Both do the same work on the same arrays, and their spikes are compared first. ``peers/loops.c`` is compiled with -O3
for this processor, without fused multiply-add, as the kernels are.
"""

import ctypes
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simulate
import torch
from timing import interleaved, rows, write
from train import calibrated

import neurosparse as ns

SOURCE = Path(__file__).parent / "peers" / "loops.c"
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")
NETWORKS = [(4000, 1e-4, 0.5), (4000, 1.5e-3, 0.5), (20_000, 1.5e-3, 0.1)]
GOALS = {"neurosparse": 1.3}  # above it, a compiled core would be considered
STEPS, SAMPLES, UNITS = 100, 128, 256


def library() -> ctypes.CDLL:
    compiler = shutil.which("cc") or sys.exit("no C compiler here")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loops.so"
        subprocess.run([compiler, *FLAGS, "-o", path, SOURCE, "-lm"], check=True)
        return ctypes.CDLL(str(path))


def call(function: Any, *arguments: np.ndarray | float) -> int:
    function.restype = ctypes.c_int64
    kinds = {int: ctypes.c_int64, float: ctypes.c_double}
    return function(*(a.ctypes if isinstance(a, np.ndarray) else kinds[type(a)](a) for a in arguments))


def network(loops: ctypes.CDLL, neurons: int, delay: float, seconds: float) -> dict[str, Callable[[], Any]]:
    data, dt, rest, reset = simulate.problem(neurons, delay, seconds), 1e-4, -49e-3, -60e-3
    model = ns.simulate.lif(20e-3, rest=rest, threshold=-50e-3, reset=reset, refractory=5e-3)
    p = np.append(np.asarray(model.coefficients(dt)), 0.0)  # no constant current
    steps, target = round(seconds / dt), data["targets"].astype(np.uint32)
    spikes, first = np.empty(100 * neurons, np.uint32), np.empty(steps + 1, np.int64)
    sizes = (neurons, int(data["excitatory"]), target.shape[1])
    weights = (simulate.EXCITE, simulate.INHIBIT, reset - rest)
    times = (round(5e-3 / dt) - 1, round(delay / dt), steps)

    def compiled() -> np.ndarray:
        state = [data["v"] - rest, np.zeros(neurons), np.zeros(neurons)]
        return spikes[: call(loops.cuba, *state, p, *sizes, target, *weights, *times, spikes, first)]

    run = simulate.ours(data)
    assert np.array_equal(run().index.numpy(), compiled()), "the spikes differ"
    return {"C": compiled, "neurosparse": run}


def layer(loops: ctypes.CDLL) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    x = (torch.rand(STEPS, SAMPLES, UNITS) < 0.05).float()
    (linear,) = calibrated(x, (UNITS, UNITS), 0.05)
    events, decay = ns.EventTensor.from_dense(x, spikes=True), 0.9
    net = ns.fuse(linear, ns.LIF(beta=decay, surrogate=ns.atan()))
    pointer, index = events.row_ptr.numpy(), events.index.numpy()
    weight, bias = linear.weight.detach().t().contiguous().numpy(), linear.bias.detach().numpy()
    shape, beta = (STEPS, SAMPLES, UNITS), np.full(UNITS, decay, np.float32)
    work = [np.empty(UNITS, np.float32), np.empty(UNITS, np.float32)]

    def compiled() -> np.ndarray:
        membrane, counts = torch.empty(shape).numpy(), np.empty(STEPS * SAMPLES, np.int64)
        stream = np.empty(STEPS * SAMPLES * UNITS + 1, np.int32)
        call(loops.layer, pointer, index, weight, bias, beta, *shape, *work, membrane, stream, counts)
        return counts

    assert np.array_equal(net(events).row_ptr.diff().numpy(), compiled()), "the spikes differ"
    return {"C": compiled, "neurosparse": lambda: net(events).row_ptr}


if __name__ == "__main__":
    torch.set_num_threads(1)
    loops = library()
    cases = {f"{n} neurons, {1e3 * delay:g} ms": network(loops, n, delay, s) for n, delay, s in NETWORKS}
    cases["forward of a layer 256-256, T=100, 5%"] = layer(loops)
    table = [row | {"threads": 1} for name, runs in cases.items() for row in rows(name, interleaved(runs), "C", GOALS)]
    write("compiled", table)
