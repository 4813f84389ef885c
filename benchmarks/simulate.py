"""Simulation of the CUBA network (Brette et al. 2007) beside Brian 2 (cython, cpp_standalone) and NEST, in float64.

make bench-simulate                       # Brian 2 is in .venv, NEST in .venv-nest
make bench-simulate ARGS="4000 100000"    # some sizes only; other rows stay

Every neuron has 80 synapses; all simulators have the same synapses and initial membranes. Only the simulation is timed:
the network is built and the code compiled before. Peers run in processes of their own, take turns with neurosparse and
have as many threads; the table holds medians of the turns. The spikes of all are compared: step and neuron of each.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import rows, write

import neurosparse as ns

HERE = Path(__file__).parent
DEGREE, EXCITE, INHIBIT = 80, 1.62e-3, -9e-3
# neurons, delay, simulated seconds, turns of each simulator, turns of NEST
CASES = [(4000, 1e-4, 1.0, 9, 1), (4000, 1.5e-3, 1.0, 9, 1), (20_000, 1.5e-3, 0.25, 5, 1), (100_000, 1.5e-3, 0.1, 5, 1)]
STANDALONE = "Brian2 cpp_standalone"


def problem(neurons: int, delay: float, seconds: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    targets = np.sort(rng.integers(0, neurons, (neurons, DEGREE), dtype=np.int32), axis=1)
    v = (-60 + 10 * rng.random(neurons)) * 1e-3
    scalars = {"excitatory": neurons * 4 // 5, "delay": delay, "seconds": seconds}
    return {"targets": targets, "v": v, **{name: np.array(value) for name, value in scalars.items()}}


def ours(data: dict[str, np.ndarray]) -> Callable[[], ns.EventTensor]:
    net = ns.Network(dt=1e-4)
    model = ns.simulate.lif(20e-3, rest=-49e-3, threshold=-50e-3, reset=-60e-3, refractory=5e-3)
    cells = net.population("cells", len(data["v"]), model, initial=data["v"])
    cut = int(data["excitatory"])
    for first, last, weight in ((0, cut, EXCITE), (cut, len(data["v"]), INHIBIT)):
        source = np.repeat(np.arange(first, last), DEGREE)
        rule = ns.simulate.from_pairs(source, data["targets"][first:last].ravel())
        net.connect(cells, cells, rule, weight=weight, delay=float(data["delay"]), name=f"{weight}")
    return lambda: net.run(float(data["seconds"]))["cells"]


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def reply(process: subprocess.Popen[str], request: str = "\n") -> str:
    assert process.stdin and process.stdout
    if request:
        process.stdin.write(request)
        process.stdin.flush()
    return process.stdout.readline() or sys.exit(f"{process.args} ended with {process.wait()}")


def peers(path: Path, threads: int, running: contextlib.ExitStack) -> dict[str, Callable[[], float]]:
    """A turn of each peer, by name; each peer has run once and has written its spikes beside ``path``."""
    brian2, python = HERE / "peers" / "simulate_brian2.py", Path(sys.executable)
    nest = HERE.parent / ".venv-nest" / "bin" / "python"
    commands = {STANDALONE: [python, brian2, path, "cpp_standalone", threads]}
    if threads == 1:
        commands["Brian2 cython"] = [python, brian2, path, "cython", threads]
    if nest.exists():
        commands["NEST"] = [nest, HERE / "peers" / "simulate_nest.py", path, threads]
    else:
        print("NEST is left out: .venv-nest is not made")
    turns = {}
    for name, command in commands.items():
        pipe = subprocess.PIPE
        process = subprocess.Popen([str(part) for part in command], stdin=pipe, stdout=pipe, text=True)
        running.callback(process.wait)
        running.callback(process.stdin.close)
        print(f"{name} {json.loads(reply(process, ''))}")
        turns[name] = partial(lambda running: float(reply(running)), process)
    return turns


def equality(case: str, spikes: ns.EventTensor, folder: Path) -> list[dict[str, object]]:
    """How many spikes of each simulator differ, in step or neuron, from those of neurosparse."""
    mine = spikes.row.numpy() * spikes.n_units + spikes.index.numpy()
    found = [{"case": case, "subject": "neurosparse", "spikes": len(mine), "other spikes": 0}]
    for file in sorted(folder.glob("*.npz")):
        if file.stem != "network":
            their = np.load(file)
            other = np.setxor1d(mine, their["step"] * spikes.n_units + their["unit"])
            name = {"nest": "NEST"}.get(file.stem, f"Brian2 {file.stem}")
            found.append({"case": case, "subject": name, "spikes": len(their["step"]), "other spikes": len(other)})
    return found


def case(neurons: int, delay: float, seconds: float, n_turns: int, n_nest: int, threads: int):
    data, name = problem(neurons, delay, seconds), f"{neurons} neurons, {1e3 * delay:g} ms, {seconds:g} s"
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        np.savez(folder / "network.npz", **data)
        run = ours(data)
        spikes = run()
        turns = {"neurosparse": partial(timed, run), **peers(folder / "network.npz", threads, running)}
        times: dict[str, list[float]] = {subject: [] for subject in turns}
        for turn in range(n_turns):
            for subject, take in turns.items():
                if subject != "NEST" or turn < n_nest:
                    times[subject].append(take())
        same = equality(name, spikes, folder)
    medians = {subject: statistics.median(values) for subject, values in times.items()}
    best = {subject: min(values) for subject, values in times.items()}
    table = rows(name, medians, STANDALONE)
    table = [{"threads": threads, **row, "fastest": best[row["subject"]]} for row in table]
    return table, [{"threads": threads, **row} for row in same]


if __name__ == "__main__":
    sizes, table, same = [int(argument) for argument in sys.argv[1:]], [], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        for each in CASES:
            if each[0] in (sizes or [each[0]]):
                found = case(*each, threads)
                table += found[0]
                same += found[1]
                for row in found[1]:
                    print(f"{row['subject']:<24} {row['spikes']:>7} spikes, {row['other spikes']} differ", flush=True)
    write("simulate", table, keep=bool(sizes), spikes=same)
