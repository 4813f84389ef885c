"""Every neuron that LIF can be, drawn: the fused scan against the reference, alone and behind a linear layer.

Recurrent weights are multiples of 1/32, so that their sums are exact in any order: then spikes agree bit by bit.
"""

import copy
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn_layers import SURROGATES
from torch import nn

import neurosparse as ns
from neurosparse.neurons import LIFState, adaptive, current_based
from neurosparse.neurons import scan as scan_of_neurons

DRAWS = 24


def gauss(x):
    return torch.exp(-x * x)


class Kind:
    """A drawn layer with its input, start state and lengths."""

    def __init__(self, seed: int, dtype: torch.dtype):
        self.random, self.dtype = random.Random(seed), dtype
        self.draw = torch.Generator().manual_seed(seed)
        choose = self.random.choice
        self.steps, self.samples = choose([1, 2, 9, 14]), choose([1, 3, 5])
        self.units, self.n_in = choose([1, 5, 17, 40, 40, 530 if seed % 8 == 0 else 24]), choose([3, 12])
        self.delayed = choose([False, False, True])
        self.dynamics = choose([None, None, "synaptic", "adaptive", "adaptive"])
        self.recurrent = choose([None, None, "plain", "bias"])
        self.settings = {
            "reset": choose(["subtract", "zero", "none"]),
            "delayed_reset": self.delayed,
            "refractory": 0 if self.delayed else choose([0, 0, 1, 3]),
        }
        self.surrogate = choose([*SURROGATES, "given"])
        self.ragged, self.started = choose([False, False, True]), choose([False, False, True])

    def uniform(self, *size: int) -> torch.Tensor:
        return torch.rand(*size, generator=self.draw, dtype=self.dtype)

    def constant(self, low: float, high: float):
        """A number, one per unit, a Parameter, or Parameters."""
        kind = self.random.choice(["number", "units", "parameter", "parameters"])
        value = low + (high - low) * self.uniform(self.units if kind.endswith("s") else 1)
        value = value if kind.endswith("s") else value[0]
        return nn.Parameter(value) if kind.startswith("parameter") else value if kind == "units" else value.item()

    def layer(self) -> ns.LIF:
        surrogate = ns.neurons.Surrogate("gauss", gauss)
        if self.surrogate != "given":
            surrogate = SURROGATES[self.surrogate](self.constant(0.7, 3.0))
        dynamics = {
            None: lambda: None,
            "synaptic": lambda: current_based(self.constant(0.1, 0.8)),
            "adaptive": lambda: adaptive(self.constant(0.2, 0.9), self.constant(0.1, 0.6)),
        }[self.dynamics]()
        loop = None
        if self.recurrent:
            loop = nn.Linear(self.units, self.units, bias=self.recurrent == "bias").to(self.dtype)
            for part in loop.parameters():
                part.data = (24 * self.uniform(*part.shape) - 12).round() / 32
        constants = {"beta": self.constant(0.2, 1.0), "threshold": self.constant(0.4, 1.2)}
        return ns.LIF(**constants, **self.settings, surrogate=surrogate, dynamics=dynamics, recurrent=loop)

    def state(self) -> LIFState | None:
        if not self.started:
            return None
        sizes = self.samples, self.units
        spikes = (self.uniform(*sizes) < 0.3).to(self.dtype) if self.recurrent or self.dynamics else None
        hidden = (self.uniform(*sizes),) if self.dynamics else ()
        waiting = (self.uniform(*sizes) * 3).long() if self.settings["refractory"] else None
        return LIFState(2 * self.uniform(*sizes) - 1, spikes, hidden, waiting)

    def lengths(self) -> torch.Tensor | None:
        return torch.randint(0, self.steps + 1, (self.samples,), generator=self.draw) if self.ragged else None

    def events(self) -> torch.Tensor:
        """Spikes of any density, silent in padding."""
        x = (self.uniform(self.steps, self.samples, self.n_in) < self.random.choice([0.05, 0.3])).to(self.dtype)
        return x


def outcome(network: nn.Module, events: ns.EventTensor, state, threads: int = 1):
    """Spikes, the state at the end, and all gradients."""
    torch.set_num_threads(threads)
    network.zero_grad()
    try:
        spikes, after = network.run(events, state)
        dense = spikes.dense()
        weights = torch.linspace(-0.5, 1.5, dense.numel(), dtype=dense.dtype).view(dense.shape)
        (dense * weights).sum().backward()
    finally:
        torch.set_num_threads(1)
    return dense.detach(), after, {n: None if p.grad is None else p.grad.clone() for n, p in network.named_parameters()}


def assert_state(mine: LIFState, theirs: LIFState):
    assert torch.equal(mine.membrane, theirs.membrane)
    assert len(mine.hidden) == len(theirs.hidden)
    for a, b in zip(
        (mine.spikes, mine.waiting, *mine.hidden), (theirs.spikes, theirs.waiting, *theirs.hidden), strict=True
    ):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)


def assert_close(mine: dict, theirs: dict, tolerance: float):
    assert mine.keys() == theirs.keys()
    for name, b in theirs.items():
        a = mine[name]
        a, b = (torch.zeros(1) if g is None else g for g in (a, b))
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * (1 + float(b.abs().max())), msg=name)


def check(seed: int, dtype: torch.dtype, threads: int) -> int:
    """Currents of one drawn kind through the scan and the reference; returns how many spikes there were."""
    kind = Kind(seed, dtype)
    lif, state, lengths = kind.layer(), kind.state(), kind.lengths()
    linear = nn.Linear(kind.n_in, kind.units, bias=kind.random.random() < 0.5).to(dtype)
    linear.weight.data = (16 * kind.uniform(*linear.weight.shape) - 4).round() / 16
    x = kind.events()
    if lengths is not None:
        x = x * (torch.arange(kind.steps)[:, None, None] < lengths[:, None])
    leaf = x.clone().requires_grad_()
    found = ns.EventTensor.from_dense(x, lengths=lengths, spikes=True)
    _ = found.row_ptr
    reference = copy.deepcopy(nn.Sequential(linear, lif))
    reference[1].reference = True
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5

    def sequence(network, events):
        current = network[0](events)
        return network[1].run(current, state)

    class Whole(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def run(self, events, state):
            return sequence(self.network, events)

    class Pair(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = ns.fuse(*network)

        def run(self, events, state):
            out, states = self.network.run(events, None if state is None else {"1": state})
            return out, states["1"]

    net = nn.Sequential(linear, lif)
    expected = outcome(Whole(reference), found, state)
    for make in (Whole, Pair):
        mine = outcome(make(net), found, state, threads)
        assert torch.equal(mine[0], expected[0])
        assert_state(mine[1], expected[1])
        assert_close(mine[2], expected[2], tolerance)
    # the gradient of the input
    grads = []
    for make, network in ((Whole, reference), (Pair, net), (Whole, net)):
        leaf.grad = None
        events = ns.EventTensor.from_dense(leaf, lengths=lengths, spikes=True)
        _ = events.row_ptr
        outcome(make(network), events, state, threads)
        grads.append(leaf.grad.clone())
    for grad in grads[1:]:
        torch.testing.assert_close(grad, grads[0], rtol=tolerance, atol=tolerance * (1 + float(grads[0].abs().max())))
    return int(expected[0].sum())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", range(DRAWS))
def test_every_neuron_runs_in_the_fused_scan(seed, threads, monkeypatch):
    def refuse(lif, *rest):
        assert lif.reference, "not fused"
        return plain(lif, *rest)

    plain = scan_of_neurons._reference
    monkeypatch.setattr(scan_of_neurons, "_reference", refuse)
    check(seed, torch.float64 if seed % 2 else torch.float32, threads)


@pytest.mark.parametrize("size", [(2, 3), (3,), (2, 1)])
def test_a_surrogate_of_the_user_has_constants_with_the_axes_of_the_units(size):
    sharpness = torch.rand(size, generator=torch.Generator().manual_seed(0)) + 0.5
    sharpness = sharpness.expand(2, 3)
    surrogate = ns.neurons.Surrogate("gauss", lambda x, s: torch.exp(-s * x * x), constants={"s": sharpness})
    found = []
    for reference in (True, False):
        current = torch.rand(5, 2, 2, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        spikes = ns.LIF(beta=0.9, surrogate=surrogate, reference=reference)(current).dense()
        (spikes * torch.arange(6.0).view(2, 3)).sum().backward()
        found.append((spikes.detach(), current.grad))
    torch.testing.assert_close(*found)
    assert found[0][1].abs().sum() > 0


class Gains(nn.Module):
    """A spike function of another library whose slope depends on an axis of the units."""

    def forward(self, distance):
        soft = distance * torch.arange(1.0, 1.0 + distance.shape[-2]).view(-1, 1)
        return soft + ((distance > 0).to(soft.dtype) - soft).detach()


def test_a_spike_function_of_another_library_is_called_with_the_axes_of_the_units():
    grads = []
    for reference in (True, False):
        current = torch.rand(5, 2, 2, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        ns.LIF(beta=0.9, surrogate=Gains(), reference=reference)(current).dense().sum().backward()
        grads.append(current.grad)
    torch.testing.assert_close(*grads)


def test_recurrent_neurons_run_by_the_reference_under_autocast():
    torch.manual_seed(0)
    lif, current = ns.LIF(beta=0.9, recurrent=nn.Linear(6, 6)), torch.rand(4, 2, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        spikes = lif(current).dense()
        lif.reference = True
        assert spikes.any() and torch.equal(spikes, lif(current).dense())


@pytest.mark.slow
def test_no_kernel_of_a_drawn_layer_reads_out_of_range(tmp_path):
    program = "from test_every_neuron import check; import torch; [check(seed, torch.float32, 1) for seed in range(20)]"
    settings = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), str(folder.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | settings | {"PYTHONPATH": path}
    made = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
