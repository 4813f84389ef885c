"""CUBA in Brian 2: simulate_brian2.py network.npz cython|cpp_standalone THREADS.

Each line on stdin starts one simulation; its seconds, without building the network, are printed.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import brian2 as b2
import numpy as np

path, target, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
data = np.load(path)
n, excitatory, seconds = len(data["v"]), int(data["excitatory"]), float(data["seconds"])
b2.BrianLogger.log_level_error()
standalone = target == "cpp_standalone"
if standalone:
    folder = tempfile.mkdtemp()
    b2.prefs.devices.cpp_standalone.openmp_threads = threads if threads > 1 else 0
    b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
else:
    b2.prefs.codegen.target = target
b2.defaultclock.dt = 0.1 * b2.ms
equations = """
dv/dt = (ge + gi - (v + 49*mV))/(20*ms) : volt (unless refractory)
dge/dt = -ge/(5*ms) : volt
dgi/dt = -gi/(10*ms) : volt
"""
cells = b2.NeuronGroup(n, equations, threshold="v > -50*mV", reset="v = -60*mV", refractory=5 * b2.ms, method="exact")
cells.v = data["v"] * b2.volt
parts = [cells, spikes := b2.SpikeMonitor(cells)]
for first, last, code, weight in ((0, excitatory, "ge += w", 1.62), (excitatory, n, "gi += w", -9)):
    namespace = {"w": weight * b2.mV}
    synapses = b2.Synapses(cells, cells, on_pre=code, delay=float(data["delay"]) * b2.second, namespace=namespace)
    targets = data["targets"][first:last]
    synapses.connect(i=np.repeat(np.arange(first, last), targets.shape[1]), j=targets.ravel())
    parts.append(synapses)
network = b2.Network(*parts)


def once() -> float:
    if standalone:
        b2.device.run(folder, with_output=False, run_args=[])
        return b2.device._last_run_time
    network.restore()
    started = time.perf_counter()
    network.run(seconds * b2.second)
    return time.perf_counter() - started


if standalone:
    network.run(seconds * b2.second)
    b2.device.build(directory=folder, run=False, compile=True, debug=False)
else:
    network.store()
once()
steps = np.rint(np.asarray(spikes.t) / 1e-4).astype(np.int64)
np.savez(path.with_name(f"{target}.npz"), step=steps, unit=np.asarray(spikes.i))
print(json.dumps(b2.__version__), flush=True)
for _ in sys.stdin:
    print(once(), flush=True)
