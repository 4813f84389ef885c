"""Event-driven products beside dense ones, and a training step beside its dense products.

make bench-events
"""

from itertools import pairwise

import snntorch
import torch
import torch.nn.functional as F
from timing import interleaved, rows, write
from torch import Tensor, nn

import neurosparse as ns

STEPS, SAMPLES, SIZES = 25, 128, (784, 512, 512, 10)


def product(density: float) -> list[dict[str, object]]:
    """``nn.Linear(784, 512)`` on 3200 rows of spikes, forward alone."""
    dense = (torch.rand(STEPS, SAMPLES, 784, generator=torch.Generator().manual_seed(0)) < density).float()
    events = ns.EventTensor.from_aer(*ns.EventTensor.from_dense(dense, spikes=True).aer(), shape=dense.shape)
    _ = events.row_ptr
    layer = nn.Linear(784, 512)
    with torch.no_grad():
        subjects = {"dense": lambda: F.linear(dense, layer.weight, layer.bias), "events": lambda: layer(events)}
        seconds = interleaved(subjects)
    return rows(f"linear 784-512, density {density:.0%}", seconds, "dense")


def spiking(reference: bool) -> nn.Sequential:
    """A spiking network with the same weights in every variant, scaled so that the layers fire."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(SIZES):
        linear = nn.Linear(n_in, n_out)
        linear.weight.data *= 3
        layers += [linear, ns.LIF(beta=0.9, surrogate=ns.boxcar(), reference=reference)]
    return nn.Sequential(*layers)


class SnnTorch(nn.Module):
    """The loop over steps that snnTorch documents."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(SIZES))
        for linear in self.linears:
            linear.weight.data *= 3
        self.neurons = nn.ModuleList(snntorch.Leaky(beta=0.9) for _ in self.linears)

    def forward(self, x: Tensor) -> Tensor:
        membranes = [neuron.init_leaky() for neuron in self.neurons]
        counts: list[Tensor] = []
        for signal in x.unbind(0):
            for i, (linear, neuron) in enumerate(zip(self.linears, self.neurons, strict=True)):
                signal, membranes[i] = neuron(linear(signal), membranes[i])
            counts.append(signal)
        return torch.stack(counts).sum(0)


def step(density: float) -> list[dict[str, object]]:
    """Forward and backward of the MLP 784-512-512-10, 25 steps, 128 samples, over its dense products alone."""
    x = (torch.rand(STEPS, SAMPLES, 784, generator=torch.Generator().manual_seed(1)) < density).float()
    events = ns.EventTensor.from_aer(*ns.EventTensor.from_dense(x, spikes=True).aer(), shape=x.shape)
    fused, plain, peer = spiking(False), spiking(True), SnnTorch()

    def products() -> None:
        signal = x.flatten(0, 1)
        for layer in fused[::2]:
            signal = layer(signal)
        signal.sum().backward()

    subjects = {
        "dense products alone": products,
        "neurosparse": lambda: fused(events).counts().square().mean().backward(),
        "plain torch loop": lambda: plain(x).counts().square().mean().backward(),
        "snnTorch loop": lambda: peer(x).square().mean().backward(),
    }
    return rows(f"training step, input density {density:.0%}", interleaved(subjects, 7), "dense products alone")


if __name__ == "__main__":
    table = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = [row for density in (0.01, 0.02, 0.05, 0.1, 0.2) for row in product(density)]
        found += [row for density in (0.02, 0.05) for row in step(density)]
        table += [{"threads": threads, **row} for row in found]
    write("events", table)
