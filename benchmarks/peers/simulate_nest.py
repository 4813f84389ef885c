"""CUBA in NEST: python simulate_nest.py network.npz THREADS. Each line on stdin starts one simulation.

Mapping: NEST clamps the membrane one step longer than Brian 2, and the time of a spike is the end of its step. With
as many picofarads of capacity as the time constant has milliseconds, a current in picoamperes is a voltage in mV.
"""

import json
import os
import sys
import time
from pathlib import Path

out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # NEST prints a greeting

import nest  # noqa: E402
import numpy as np  # noqa: E402

path, threads = Path(sys.argv[1]), int(sys.argv[2])
data = np.load(path)
n, excitatory, seconds = len(data["v"]), int(data["excitatory"]), float(data["seconds"])
neuron = {"E_L": -49.0, "V_th": -50.0, "V_reset": -60.0, "tau_m": 20.0, "C_m": 20.0, "t_ref": 4.9}
neuron |= {"tau_syn_ex": 5.0, "tau_syn_in": 10.0, "I_e": 0.0}


def once() -> tuple[float, np.ndarray, np.ndarray]:
    nest.ResetKernel()
    nest.resolution, nest.local_num_threads = 0.1, threads
    nest.total_num_virtual_procs = threads
    cells = nest.Create("iaf_psc_exp", n, params=neuron)
    cells.V_m = data["v"] * 1e3
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    for name, first, last, weight in (("e", 0, excitatory, 1.62), ("i", excitatory, n, -9.0)):
        nest.CopyModel("static_synapse_hom_w", name, {"weight": weight, "delay": float(data["delay"]) * 1e3})
        targets = data["targets"][first:last]
        sources = np.repeat(np.arange(first, last), targets.shape[1])
        nest.Connect(sources + 1, targets.ravel().astype(np.int64) + 1, "one_to_one", {"synapse_model": name})
    nest.Prepare()
    started = time.perf_counter()
    nest.Run(seconds * 1e3)
    took = time.perf_counter() - started
    nest.Cleanup()
    events = recorder.events
    return took, np.rint(events["times"] / 0.1).astype(np.int64) - 1, events["senders"] - 1


nest.verbosity = nest.VerbosityLevel.ERROR
_, step, unit = once()
np.savez(path.with_name("nest.npz"), step=step, unit=unit)
print(json.dumps(nest.__version__), file=out, flush=True)
for _ in sys.stdin:
    print(once()[0], file=out, flush=True)
