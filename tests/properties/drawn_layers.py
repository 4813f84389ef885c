"""Random layers of neurons: how each constant is given, and everything else that makes another kind of neuron."""

import random

import torch
from torch import nn

import neurosparse as ns
from neurosparse.neurons import LIF, adaptive, current_based

SURROGATES = {"atan": ns.atan, "fast_sigmoid": ns.fast_sigmoid, "triangle": ns.triangle, "boxcar": ns.boxcar}
FORMS = ("number", "units", "parameter", "parameters")
DRAWS = 25


class Sigmoid(nn.Module):
    """A spike function of another library, with a Parameter that its own backward trains."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, distance):
        soft = torch.sigmoid(self.slope * distance)
        return soft + ((distance > 0).to(soft.dtype) - soft).detach()


class Draw:
    """A random layer: how each constant is given, and everything else that makes it another kind of neuron."""

    def __init__(self, seed, smooth=False):
        self.random = random.Random(seed)
        choose = self.random.choice
        self.units, self.dtype = (
            choose([(3,), (2, 2)]),
            torch.float64 if smooth else choose([torch.float32, torch.float64]),
        )
        self.decay, self.dynamics = (
            choose(["beta", "tau"]),
            choose([None, "current_based", *([] if smooth else ["adaptive"])]),
        )
        self.surrogate = choose([*SURROGATES, "foreign"])
        self.reset = "none" if smooth else choose(["subtract", "zero", "none"])
        self.delayed = not smooth and choose([False, True])
        self.refractory = 0 if self.delayed or smooth else choose([0, 0, 2])
        self.recurrent = not smooth and choose([False, False, True])
        names = [self.decay, "threshold", "alpha", "decay", "strength", "size"]
        self.forms = {name: choose(FORMS) for name in names}

    def value(self, name, low, high, draw, forms):
        size = self.units if forms[name].endswith("s") else ()
        value = torch.empty(size, dtype=self.dtype).uniform_(low, high, generator=draw)
        return nn.Parameter(value) if forms[name].startswith("parameter") else value if size else value.item()

    def layer(self, seed=0, forms=None):
        """A layer of this kind with constants drawn anew."""
        draw, forms = torch.Generator().manual_seed(seed), self.forms if forms is None else forms
        value = lambda name, low, high: self.value(name, low, high, draw, forms)  # noqa: E731
        membrane = {"beta": value("beta", 0.3, 0.95)} if self.decay == "beta" else {"tau": value("tau", 2e-3, 2e-2)}
        dynamics = {
            None: lambda: None,
            "current_based": lambda: current_based(value("alpha", 0.1, 0.8)),
            "adaptive": lambda: adaptive(value("decay", 0.2, 0.9), value("strength", 0.1, 0.6)),
        }[self.dynamics]()
        foreign = self.surrogate == "foreign"
        surrogate = Sigmoid(4.0 + seed) if foreign else SURROGATES[self.surrogate](value("size", 0.7, 3.0))
        count = self.units[-1]
        return LIF(
            **membrane,
            dt=1e-3,
            threshold=value("threshold", 0.4, 1.2),
            reset=self.reset,
            surrogate=surrogate,
            recurrent=nn.Linear(count, count, bias=False) if self.recurrent else None,
            dynamics=dynamics,
            delayed_reset=self.delayed,
            refractory=self.refractory,
        ).to(self.dtype)

    def current(self, steps=8, seed=3):
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(steps, 2, *self.units, dtype=self.dtype, generator=generator) * 1.5


def outcome(layer, x):
    """Spikes, and the gradient of the input."""
    x = x.clone().requires_grad_()
    spikes = layer(x).dense()
    (spikes * torch.linspace(0.5, 1.5, spikes.numel(), dtype=x.dtype).view(spikes.shape)).sum().backward()
    return spikes.detach(), x.grad


def assert_alike(layer, other, x):
    for ours, theirs in zip(outcome(layer, x), outcome(other, x), strict=True):
        assert torch.equal(ours, theirs)
