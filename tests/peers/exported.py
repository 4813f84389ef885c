"""Networks that together use every option of a Brian 2 script, and their inputs."""

import torch
from torch import nn

import neurosparse as ns

LENGTHS = torch.tensor([60, 17, 0])


def linear(inputs: int, outputs: int, gain: float = 3.0) -> nn.Linear:
    """Weights with which every layer fires."""
    layer = nn.Linear(inputs, outputs)
    layer.weight.data *= gain
    return layer


def spikes(*units: int, samples: int = 2, steps: int = 60, lengths: torch.Tensor | None = None) -> ns.EventTensor:
    dense = (torch.rand(steps, samples, *units) < 0.25).double()
    if lengths is not None:
        dense *= (torch.arange(steps)[:, None] < lengths).view(steps, samples, *[1] * len(units))
    return ns.EventTensor.from_dense(dense, dt=1e-3, lengths=lengths, spikes=True)


def resets() -> tuple[nn.Sequential, ns.EventTensor]:
    """Every reset, at once and delayed."""
    layers: list[nn.Module] = []
    for reset, delayed in [("subtract", 0), ("zero", 0), ("none", 0), ("subtract", 1), ("zero", 1)]:
        layers += [linear(30, 30), ns.LIF(beta=0.8, threshold=1.25, reset=reset, delayed_reset=bool(delayed))]
    return nn.Sequential(*layers), spikes(30)


def dynamics() -> tuple[nn.Sequential, ns.EventTensor]:
    """Synaptic currents, adaptive thresholds, refractory times, constants per neuron, a readout."""
    per_unit = {"beta": 0.7 + 0.2 * torch.rand(25), "threshold": nn.Parameter(0.5 + torch.rand(25))}
    adaptive, current_based = ns.neurons.adaptive(0.9, 0.3), ns.neurons.current_based(0.6)
    return nn.Sequential(
        linear(20, 25),
        ns.LIF(tau=20e-3, dynamics=current_based, refractory=2),
        linear(25, 25),
        ns.LIF(beta=0.9, dynamics=adaptive),
        linear(25, 25),
        ns.LIF(**per_unit, refractory=1, reset="zero"),
        linear(25, 25),
        ns.LIF(beta=0.9, dynamics=adaptive, delayed_reset=True),
        linear(25, 25),
        ns.LIF(**per_unit, dynamics=ns.neurons.current_based(torch.rand(25)), delayed_reset=True),
        linear(25, 4),
        ns.neurons.Readout(beta=0.9 + 0.1 * torch.rand(4)),
    ), spikes(20)


def recurrent() -> tuple[nn.Sequential, ns.EventTensor]:
    """Recurrent layers, samples of different lengths."""
    return nn.Sequential(
        linear(20, 30),
        ns.LIF(beta=0.9, recurrent=linear(30, 30, 1.5)),
        linear(30, 30),
        ns.LIF(beta=0.8, recurrent=linear(30, 30, 1.5), dynamics=ns.neurons.current_based(0.7), reset="zero"),
        linear(30, 30),
        ns.LIF(beta=0.9, recurrent=nn.Linear(30, 30, bias=False), delayed_reset=True),
        linear(30, 5),
        ns.neurons.Readout(beta=0.9),
    ), spikes(20, samples=3, lengths=LENGTHS)


def convolutional() -> tuple[nn.Sequential, ns.EventTensor]:
    """Images as a constant current, convolutions, a norm, pooling, a fused tail, a last linear layer."""
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.running_mean, -0.5, 0.5)
    nn.init.uniform_(norm.weight, 2.0, 4.0)
    network = nn.Sequential(
        ns.fold(nn.Conv2d(1, 4, 3, padding=1), norm),
        ns.LIF(beta=0.9),
        ns.fold(nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, stride=2, bias=False), nn.Flatten()),
        ns.LIF(beta=0.9, threshold=0.1, reset="zero"),
        ns.fuse(linear(24, 10), ns.LIF(beta=0.9, recurrent=nn.Linear(10, 10))),
        nn.Linear(10, 3),
    )
    return network.eval(), ns.constant_current(torch.rand(2, 1, 10, 10), steps=40, dt=1e-3)


def graded() -> tuple[nn.Sequential, ns.EventTensor]:
    """Changes of a signal as graded events, a recurrent first layer."""
    signal = torch.randn(60, 2, 8).cumsum(0)
    network = nn.Sequential(linear(8, 12), ns.LIF(beta=0.5, recurrent=linear(12, 12)), ns.LIF(beta=0.7, threshold=1.5))
    return network, ns.delta(signal, threshold=0.5, dt=0.5e-3)


CASES = {case.__name__: case for case in (resets, dynamics, recurrent, convolutional, graded)}
