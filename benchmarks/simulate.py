"""Simulation of the CUBA network (Brette et al. 2007) beside Brian 2 (cpp_standalone) and NEST, in float64.

make bench-simulate                       # Brian 2 is in .venv, NEST in .venv-nest
make bench-simulate ARGS="4000 100000"    # some sizes only; other rows stay
make bench-simulate ARGS="256"            # silent networks only

Every neuron has 80 synapses; all simulators have the same synapses and initial membranes. Only the simulation is timed:
the network is built and the code compiled before. Peers run in processes of their own, take turns with neurosparse and
have as many threads; the table holds medians of the turns. The spikes of all are compared: step and neuron of each.

Two more units show what bookkeeping costs. "update + deliveries alone" is the arithmetic of a run without a network:
all neurons are stepped, and spikes known beforehand are held, delivered and reset, on one thread. "update alone" steps
silent neurons.
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
from timing import interleaved, rows, write

import neurosparse as ns
from neurosparse.kernels.dispatch import kernel
from neurosparse.kernels.network.neurons import integrate
from neurosparse.simulate.layout import aligned

HERE = Path(__file__).parent
DEGREE, EXCITE, INHIBIT, DT = 80, 1.62e-3, -9e-3, 1e-4
# neurons, delay, simulated seconds, turns of each simulator, turns of NEST, goal over Brian 2
CASES = [
    (4000, 1e-4, 1.0, 7, 1, 0.30),
    (4000, 1.5e-3, 1.0, 7, 1, 0.30),
    (20_000, 1e-4, 0.25, 5, 0, 0.30),
    (20_000, 1.5e-3, 0.25, 5, 0, 0.30),
    (100_000, 1.5e-3, 0.1, 5, 0, 0.40),
]
SILENT = [(256, 0), (256, 1), (256, 3), (4000, 0), (4000, 1)]  # neurons, projections
STANDALONE, ARITHMETIC, UPDATE = "Brian2 cpp_standalone", "update + deliveries alone", "update alone"
EACH, ONE_THREAD = "neurosparse, a weight a synapse", "neurosparse, one thread"
MODEL = ns.simulate.lif(20e-3, rest=-49e-3, threshold=-50e-3, reset=-60e-3, refractory=5e-3)


def problem(neurons: int, delay: float, seconds: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    targets = np.sort(rng.integers(0, neurons, (neurons, DEGREE), dtype=np.int32), axis=1)
    v = (-60 + 10 * rng.random(neurons)) * 1e-3
    scalars = {"excitatory": neurons * 4 // 5, "delay": delay, "seconds": seconds}
    return {"targets": targets, "v": v, **{name: np.array(value) for name, value in scalars.items()}}


def ours(data: dict[str, np.ndarray], each: bool = False) -> Callable[[], ns.EventTensor]:
    """A run of the network; with ``each`` every synapse has a weight of its own, of equal value."""
    net = ns.Network(dt=DT)
    cells = net.population("cells", len(data["v"]), MODEL, initial=data["v"])
    cut = int(data["excitatory"])
    for first, last, weight in ((0, cut, EXCITE), (cut, len(data["v"]), INHIBIT)):
        source = np.repeat(np.arange(first, last), DEGREE)
        rule = ns.simulate.from_pairs(source, data["targets"][first:last].ravel())
        strength = np.full(len(source), weight) if each else weight
        net.connect(cells, cells, rule, weight=strength, delay=float(data["delay"]), name=f"{weight}")
    return lambda: net.run(float(data["seconds"]))["cells"]


def on_one_thread(run: Callable[[], object]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run()
    torch.set_num_threads(threads)


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


# ---- the arithmetic alone


@kernel
def _add(x, weight, target):
    for j in range(target.shape[0]):
        x[target[j]] += weight


@kernel
def arithmetic(state, c, p, spikes, first, targets, cut, delay, held, reset, unused):
    """Steps of all neurons, with given spikes: those of step t are ``spikes[first[t]:first[t + 1]]``."""
    for t in range(first.shape[0] - 1):
        integrate(0, state[0], state[1], state[2], c, 0, p, 0, unused, 0)
        for k in range(first[t], first[t + 1]):
            state[0, spikes[k]] = -np.inf
        if t >= delay:
            for k in range(first[t - delay], first[t - delay + 1]):
                excites = spikes[k] < cut
                _add(state[1 if excites else 2], EXCITE if excites else INHIBIT, targets[spikes[k]])
        if t >= held:
            for k in range(first[t - held], first[t - held + 1]):
                state[0, spikes[k]] = reset


def arithmetic_alone(data: dict[str, np.ndarray], events: ns.EventTensor) -> Callable[[], None]:
    n, steps = len(data["v"]), events.shape[0]
    first = np.searchsorted(events.row.numpy(), np.arange(steps + 1))
    p, c = MODEL.coefficients(DT), aligned(np.full(256, float(MODEL.bias_increment(DT))))
    begin, reset = np.zeros((3, n)), MODEL.parameters["reset"] - MODEL.parameters["rest"]
    begin[0] = data["v"] - MODEL.parameters["rest"]
    targets, spikes, unused = data["targets"].astype(np.uint32), events.index.numpy(), np.zeros(n, dtype=np.int32)
    delay, held = round(float(data["delay"]) / DT), MODEL.held_steps(DT, "brian2")
    cut = int(data["excitatory"])
    compiled = arithmetic.compiled(False)
    return lambda: compiled(aligned(begin), c, p, spikes, first, targets, cut, delay, held, reset, unused)


def silent(neurons: int, projections: int, threads: int) -> list[dict[str, object]]:
    """Steps of a network that never fires, over the update of its neurons."""
    net, rng, seconds = ns.Network(dt=DT), np.random.default_rng(1), 5.0 if neurons < 1000 else 1.0
    model = ns.simulate.lif(20e-3, refractory=5e-3)
    cells = net.population("cells", neurons, model)
    for k in range(projections):
        pairs = ns.simulate.from_pairs(*rng.integers(0, neurons, (2, DEGREE * neurons)))
        net.connect(cells, cells, pairs, weight=EXCITE, delay=1.5e-3, name=f"{k}")
    none, unused = np.zeros(round(seconds / DT) + 1, dtype=np.int64), np.zeros(neurons, dtype=np.int32)
    p, c, targets = model.coefficients(DT), aligned(np.zeros(256)), np.zeros((1, 1), dtype=np.uint32)
    compiled, begin = arithmetic.compiled(False), np.zeros((3, neurons))
    subjects = {
        "neurosparse": lambda: net.run(seconds),
        UPDATE: lambda: compiled(aligned(begin), c, p, unused, none, targets, 0, 1, 49, 0.0, unused),
    }
    name = f"{neurons} silent neurons, {projections} projections, {seconds:g} s"
    table = rows(name, interleaved(subjects, 9), UPDATE, {"neurosparse": 1.25})
    return [{"threads": threads, **row} for row in table]


# ---- peers


def reply(process: subprocess.Popen[str], request: str = "\n") -> str:
    assert process.stdin and process.stdout
    if request:
        process.stdin.write(request)
        process.stdin.flush()
    return process.stdout.readline() or sys.exit(f"{process.args} ended with {process.wait()}")


def peers(path: Path, threads: int, with_nest: bool, running: contextlib.ExitStack) -> dict[str, Callable[[], float]]:
    """A turn of each peer, by name; each peer has run once and has written its spikes beside ``path``."""
    brian2, python = HERE / "peers" / "simulate_brian2.py", Path(sys.executable)
    nest = HERE.parent / ".venv-nest" / "bin" / "python"
    commands = {STANDALONE: [python, brian2, path, "cpp_standalone", threads]}
    if with_nest and nest.exists():
        commands["NEST"] = [nest, HERE / "peers" / "simulate_nest.py", path, threads]
    elif with_nest:
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


def case(neurons: int, delay: float, seconds: float, n_turns: int, n_nest: int, goal: float, threads: int):
    data, name = problem(neurons, delay, seconds), f"{neurons} neurons, {1e3 * delay:g} ms, {seconds:g} s"
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        np.savez(folder / "network.npz", **data)
        runs: dict[str, Callable[[], object]] = {"neurosparse": ours(data), EACH: ours(data, each=True)}
        spikes = ours(data)()
        if threads > 1:
            runs[ONE_THREAD] = partial(on_one_thread, ours(data))
        else:
            runs[ARITHMETIC] = arithmetic_alone(data, spikes)
        for run in runs.values():
            run()
        others = peers(folder / "network.npz", threads, n_nest > 0, running)
        turns = {**{subject: partial(timed, run) for subject, run in runs.items()}, **others}
        times: dict[str, list[float]] = {subject: [] for subject in turns}
        for turn in range(n_turns):
            for subject, take in turns.items():
                if subject != "NEST" or turn < n_nest:
                    times[subject].append(take())
        same = equality(name, spikes, folder)
    medians = {subject: statistics.median(values) for subject, values in times.items()}
    table = rows(name, medians, STANDALONE, {"neurosparse": goal, EACH: goal})
    unit, most = (ONE_THREAD, 1.05) if threads > 1 else (ARITHMETIC, 1.3)
    table += rows(f"{name}, over {unit}", {s: medians[s] for s in runs}, unit, {"neurosparse": most})
    return [{"threads": threads, **row} for row in table], [{"threads": threads, **row} for row in same]


if __name__ == "__main__":
    sizes, table, same = [int(argument) for argument in sys.argv[1:]], [], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        for neurons, projections in SILENT:
            if neurons in (sizes or [neurons]):
                table += silent(neurons, projections, threads)
        for each in CASES:
            if each[0] in (sizes or [each[0]]):
                found = case(*each, threads)
                table += found[0]
                same += found[1]
                for row in found[1]:
                    print(f"{row['subject']:<24} {row['spikes']:>7} spikes, {row['other spikes']} differ", flush=True)
    write("simulate", table, keep=bool(sizes), spikes=same)
