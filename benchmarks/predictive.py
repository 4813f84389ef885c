"""Training step of predictive coding, over the time of its matrix products; beside jpc, pcx, autograd, backpropagation.

make bench-predictive       # on Linux; peers without an environment are left out, and the output names them

A training step is inference (T steps of all states, from those of a forward pass) and one Adam update of the weights,
in float32. The reference is the time of its matrix products alone. Peers run in processes of their own on the same
cores and take turns with neurosparse; the fastest turn of each counts. Before the timing all must find the same weight
gradients, except jpc's one-line step: it integrates an ODE of the mean energy up to t = 20 (row "as far": as long as T
steps) and stops earlier at an equilibrium.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from timing import rows, write
from torch import Tensor, nn

import neurosparse as ns

SIZES, BATCH, DT, RATE = (784, 256, 256, 10), 128, 0.1, 1e-3
GOALS = {8: 1.35, 20: 1.25}  # by the number of steps of inference
TURNS, PER_TURN = 40, 5  # steps: a request to a peer takes a tenth of a millisecond
PEERS = ("jpc", "pcx")
HERE = Path(__file__).parent
FLOOR, ENERGY, BACKPROP = "matrix products", "torch, autograd energy", "torch backprop"

Step = Callable[[], object]


def floor(layers: list[nn.Linear], x: Tensor, steps: int) -> Step:
    """The matrix products: the input once, T + 1 predictions, T backward products, each weight's gradient."""
    weights = [layer.weight.detach() for layer in layers]
    states = [x, *(torch.rand(len(x), len(weight)) for weight in weights)]
    errors, out = ([torch.rand_like(state) for state in states] for _ in range(2))
    gradients = [torch.empty_like(weight) for weight in weights]
    upper = range(1, len(weights))

    def once() -> None:
        torch.mm(x, weights[0].t(), out=out[1])
        for step in range(steps + 1):
            for i in upper:
                torch.mm(states[i], weights[i].t(), out=out[i + 1])
            for i in upper if step < steps else ():
                torch.mm(errors[i + 1], weights[i], out=out[i])
        for i, gradient in enumerate(gradients):
            torch.mm(errors[i + 1].t(), states[i], out=gradient)

    return once


def adam(layers: list[nn.Linear]) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=RATE, fused=True)


def ours(layers: list[nn.Linear], x: Tensor, y: Tensor, steps: int, **options: bool) -> Step:
    network, optimizer = ns.PredictiveNetwork(layers, "relu", dt=DT, steps=steps), adam(layers)

    def once() -> None:
        network.learn(network.infer(x, y, **options))
        optimizer.step()

    return once


def autograd(layers: list[nn.Linear], x: Tensor, y: Tensor, steps: int) -> Step:
    """The common implementation: the energy, and autograd twice, for the states and for the weights."""
    optimizer = adam(layers)

    def energy(states: list[Tensor]) -> Tensor:
        below, total = x, torch.zeros(())
        for state, layer in zip(states, layers, strict=False):
            total = total + 0.5 * (state - layer(below).relu()).square().sum()
            below = state
        return total + 0.5 * (y - layers[-1](below)).square().sum()

    def once() -> None:
        states = [x]
        with torch.no_grad():
            for layer in layers[:-1]:
                states.append(layer(states[-1]).relu())
        states = states[1:]
        for _ in range(steps):
            states = [state.requires_grad_() for state in states]
            slopes = torch.autograd.grad(energy(states), states)
            states = [state.detach() - DT * slope for state, slope in zip(states, slopes, strict=True)]
        optimizer.zero_grad()
        (energy(states) / len(x)).backward()
        optimizer.step()

    return once


def backprop(layers: list[nn.Linear], x: Tensor, y: Tensor, _: int) -> Step:
    optimizer = adam(layers)

    def once() -> None:
        signal = x
        for layer in layers[:-1]:
            signal = layer(signal).relu()
        optimizer.zero_grad()
        (0.5 * (y - layers[-1](signal)).square().sum() / len(x)).backward()
        optimizer.step()

    return once


SUBJECTS = {
    "neurosparse": partial(ours, check=False, record=False),
    "neurosparse, guarded": ours,  # estimates the curvature at each step, keeps the errors of all steps
    ENERGY: autograd,
    BACKPROP: backprop,
}


def problem() -> tuple[list[nn.Linear], Tensor, Tensor]:
    """The same layers, input and target at every call."""
    torch.manual_seed(0)
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(SIZES)]
    return layers, torch.rand(BATCH, SIZES[0]), torch.eye(SIZES[-1])[torch.randint(SIZES[-1], (BATCH,))]


def often(step: Step) -> Step:
    return lambda: [step() for _ in range(PER_TURN)]


def reply(process: subprocess.Popen[str], request: str = "") -> str:
    assert process.stdin and process.stdout
    if process.poll() is None:
        process.stdin.write(request)
        process.stdin.flush()
    return process.stdout.readline() or sys.exit(f"{process.args} ended with {process.wait()}")


def fastest(turns: dict[str, Step]) -> dict[str, float]:
    """Seconds a step of each subject's fastest turn: other work on the machine can only add to it."""
    best = dict.fromkeys(turns, float("inf"))
    for _ in range(TURNS):
        for name, run in turns.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], (time.perf_counter() - started) / PER_TURN)
    return best


def peers(steps: int, running: contextlib.ExitStack) -> tuple[dict[str, Step], dict[str, list[float]]]:
    """A turn of each peer's process, and the norms of the gradients of its first step."""
    turns: dict[str, Step] = {}
    norms: dict[str, list[float]] = {}
    layers, x, y = problem()
    arrays = {f"{name}{i}": array for i, layer in enumerate(layers) for name, array in layer.state_dict().items()}
    path = Path(running.enter_context(tempfile.TemporaryDirectory())) / "problem.npz"
    np.savez(path, **{name: array.numpy() for name, array in {"x": x, "y": y, **arrays}.items()})
    for peer in PEERS:
        python = HERE.parent / f".venv-{peer}" / "bin" / "python"
        if not python.exists():
            print(f"{peer} is left out: .venv-{peer} does not exist")
            continue
        command = [str(part) for part in (python, HERE / "peers" / f"predictive_{peer}.py", path, DT, RATE, steps)]
        pipe = subprocess.PIPE
        process = running.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        found = json.loads(reply(process))
        print(", ".join(found["versions"]))
        norms |= found["norms"]
        turns |= {name: partial(reply, process, f"{name}\t{PER_TURN}\n") for name in found["norms"]}
    return turns, norms


def agree(norms: dict[str, list[float]]) -> None:
    for name, found in norms.items():
        expected = norms[BACKPROP if "backprop" in name else ENERGY]
        if "ODE" not in name and not np.allclose(found, expected, rtol=1e-4):
            sys.exit(f"{name} finds gradients of norms {found}, not {expected}")


def case(steps: int) -> list[dict[str, object]]:
    """All subjects in turn; each row names the peers that are absent."""
    turns, norms = {FLOOR: often(floor(*problem()[:2], steps))}, {}
    for name, subject in SUBJECTS.items():
        layers, x, y = problem()
        step = subject(layers, x, y, steps)
        step()
        norms[name] = [layer.weight.grad.norm().item() for layer in layers]  # type: ignore[union-attr]
        turns[name] = often(step)
    with contextlib.ExitStack() as running:
        others, found = peers(steps, running)
        agree(norms | found)
        seconds = fastest(turns | others)
    name = f"{'-'.join(map(str, SIZES))}, T={steps}, batch {BATCH}"
    table = rows(name, seconds, FLOOR, goals={"neurosparse": GOALS[steps]})
    absent = [peer for peer in PEERS if not any(subject.startswith(peer) for subject in others)]
    return [{**row, "absent": absent} for row in table]


if __name__ == "__main__":
    table: list[dict[str, object]] = []
    cores = sorted(os.sched_getaffinity(0))
    for threads in (1, 2):
        os.sched_setaffinity(0, cores[:threads])  # XLA has as many threads as cores
        torch.set_num_threads(threads)
        for steps in (8, 20):
            table += [{"threads": threads, **row} for row in case(steps)]
    write("predictive", table)
