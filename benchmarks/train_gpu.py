"""Training step of a spiking network on a GPU: one fused scan a layer after its cuBLAS product, beside SpikingJelly.

make bench-train-gpu        # peers that are not installed are left out; the output names them

Each subject runs twice: as Python launches it, and captured once in a CUDA graph and replayed, which leaves the time
of the kernels alone. Products are float32 (no TF32) on both sides.
"""

import importlib.util
from collections.abc import Callable

import torch
from timing import interleaved, rows, write
from torch import Tensor, nn
from train import BETA, calibrated, plain_loop, saved_bytes, spikes_agree

import neurosparse as ns

CASES = {
    "MLP 784-512-512-10, T=25, batch 128": (25, 128, (784, 512, 512, 10), False),
    "layer 512-512, T=500, batch 16": (500, 16, (512, 512), True),
    "layer 4096-4096, T=100, batch 128": (100, 128, (4096, 4096), True),
}
DENSITY, REPEATS, PER_REPEAT = 0.05, 9, 10


def spikingjelly(backend: str, layers: list[nn.Linear], x: Tensor) -> Tensor:
    from spikingjelly.activation_based import neuron

    signal = x
    for linear in layers:
        options = {"tau": 1 / (1 - BETA), "decay_input": False, "v_reset": None, "detach_reset": True}
        node = neuron.LIFNode(**options, step_mode="m")
        node.backend = backend
        signal = node(linear(signal))
    return signal.sum(0)


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """The step as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def often(step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(PER_REPEAT):
            step()
        torch.cuda.synchronize()

    return run


def case(name: str) -> list[dict[str, object]]:
    steps, samples, sizes, needs_grad = CASES[name]
    torch.manual_seed(0)
    x = (torch.rand(steps, samples, sizes[0], device="cuda") < DENSITY).float()
    layers = calibrated(x, sizes, DENSITY)
    weights = [p for layer in layers for p in layer.parameters()]
    x.requires_grad_(needs_grad)

    def ours(surrogate: ns.neurons.Surrogate) -> Callable[[], Tensor]:
        modules = [module for layer in layers for module in (layer, ns.LIF(beta=BETA, surrogate=surrogate))]
        network = nn.Sequential(*modules)
        return lambda: network(x).counts()

    def floor() -> Tensor:
        signal = x.flatten(0, 1)
        for layer in layers:
            signal = layer(signal)
        return signal

    forward = {"cuBLAS products": floor, "neurosparse, boxcar": ours(ns.boxcar()), "neurosparse, atan": ours(ns.atan())}
    forward["plain torch loop"] = lambda: plain_loop(layers, x)
    for backend in ("torch", "cupy", "triton") if importlib.util.find_spec("spikingjelly") else ():
        forward[f"SpikingJelly, {backend}"] = lambda backend=backend: spikingjelly(backend, layers, x)

    def step(run: Callable[[], Tensor]) -> Callable[[], None]:
        def once() -> None:
            for weight in (*weights, x):
                weight.grad = None
            out = run()
            (out.sum() if run is floor else (out / steps).square().mean()).backward()

        return once

    spikes_agree(layers, x)
    table = []
    for launch in ("launched", "graph"):
        subjects = {}
        for subject, run in forward.items():
            try:
                one = step(run)
                one()
                subjects[subject] = often(captured(one) if launch == "graph" else one)
            except Exception as error:  # a backend that does not run here is left out, and named
                print(f"{name}, {launch}: {subject} left out: {type(error).__name__}: {str(error)[:200]}")
        found = rows(f"{name}, {launch}", interleaved(subjects, REPEATS), "cuBLAS products")
        for row in found:
            row["seconds"] = float(str(row["seconds"])) / PER_REPEAT
            row["saved_bytes"] = saved_bytes(forward[str(row["subject"])], weights)
            row["threads"] = 1
        table += found
    return table


if __name__ == "__main__":
    torch.backends.cuda.matmul.allow_tf32 = False
    table = [row for name in CASES for row in case(name)]
    write("train-gpu", table, on=torch.cuda.get_device_name())
