"""Pieces of networks between layers of ours: functions and modules that act on each element, on units, or join."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

import neurosparse as ns
from neurosparse.baselines.gru import GRU
from neurosparse.io.nir.modules import Delay, Scale


class Do(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Residual(nn.Module):
    """A module of the user: a branch beside the identity."""

    def __init__(self, units: int):
        super().__init__()
        self.norm, self.first, self.second = (
            nn.LayerNorm(units),
            nn.Linear(units, 2 * units),
            nn.Linear(2 * units, units),
        )

    def forward(self, x):
        return x + self.second(F.gelu(self.first(self.norm(x))))


class Double(torch.autograd.Function):
    """An elementwise function of the user with its own gradient."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


class Halved(torch.autograd.Function):
    """The same in the newer form."""

    @staticmethod
    def forward(x):
        return x / 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return grad / 2


class Two(nn.Module):
    """Two inputs from one: ``nn.Bilinear``."""

    def __init__(self, units: int):
        super().__init__()
        self.inner = nn.Bilinear(units, units, units)

    def forward(self, x):
        return self.inner(x, torch.tanh(x))


def assigned(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :, 0] = x[:, :, 0] * 2
    y[..., 1:] = x[..., 1:]
    return y


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y *= 2
    y.add_(0.25).clamp_(-4, 4)
    return y


def reordered(x: Tensor) -> Tensor:
    return x[..., torch.arange(x.shape[-1] - 1, -1, -1)]


def grouped(x: Tensor) -> Tensor:
    return x.unflatten(2, (x.shape[2] // 2, 2)).transpose(2, 3).flatten(2)


def viewed(x: Tensor) -> Tensor:
    return x.view(x.shape[0], x.shape[1], 2, -1).permute(0, 1, 3, 2).reshape(*x.shape[:2], -1)


def drop(units: int) -> nn.Module:
    return nn.Dropout(0.5).eval()


def neurons() -> nn.Module:
    return ns.LIF(beta=0.75, threshold=0.25)


#: Elementwise and unit-wise functions that keep the number of units; the argument is the number of units (even).
PIECES: dict[str, Callable[[int], nn.Module]] = {
    "gain": lambda n: Do(lambda x: x * 1.5),
    "reflected": lambda n: Do(lambda x: 1 - 2 * x),
    "power": lambda n: Do(lambda x: x.abs() ** 0.5),
    "relu": lambda n: nn.ReLU(),
    "relu in place": lambda n: nn.ReLU(inplace=True),
    "gelu": lambda n: nn.GELU(),
    "prelu": lambda n: nn.PReLU(),
    "softmax": lambda n: nn.Softmax(dim=-1),
    "layer norm": lambda n: nn.LayerNorm(n),
    "rms norm": lambda n: nn.RMSNorm(n),
    "dropout": drop,
    "identity": lambda n: nn.Identity(),
    "linear": lambda n: nn.Linear(n, n),
    "weight norm": lambda n: weight_norm(nn.Linear(n, n)),
    "bilinear": Two,
    "residual": Residual,
    "own gradient": lambda n: Do(Double.apply),
    "own gradient, new form": lambda n: Do(Halved.apply),
    "clamp": lambda n: Do(lambda x: x.clamp(-1, 1)),
    "where": lambda n: Do(lambda x: torch.where(x > 0, x, 0.1 * x)),
    "masked": lambda n: Do(lambda x: x.masked_fill(x < -0.5, 0.0)),
    "per unit": lambda n: Do(lambda x: x * torch.linspace(0.5, 2, n, dtype=x.dtype)),
    "skip": lambda n: Do(lambda x: x + torch.tanh(x)),
    "join and split": lambda n: Do(lambda x: sum(torch.cat([x, -x * 0.5], -1).chunk(2, -1))),
    "stack": lambda n: Do(lambda x: torch.stack([x, x.sigmoid()], 2).sum(2)),
    "gate": lambda n: Do(lambda x: F.glu(torch.cat([x, x], -1))),
    "groups": lambda n: Do(grouped),
    "view": lambda n: Do(viewed),
    "reordered": lambda n: Do(reordered),
    "roll": lambda n: Do(lambda x: x.roll(1, -1)),
    "sorted": lambda n: Do(lambda x: x.sort(-1).values),
    "running sum of units": lambda n: Do(lambda x: x.cumsum(2)),
    "centred": lambda n: Do(lambda x: x - x.mean(-1, keepdim=True)),
    "largest": lambda n: Do(lambda x: x.max(-1, keepdim=True).values.expand(-1, -1, n)),
    "product": lambda n: Do(lambda x: x @ torch.eye(n, dtype=x.dtype) * 2),
    "equation": lambda n: Do(lambda x: torch.einsum("tbi,io->tbo", x, torch.eye(n, dtype=x.dtype))),
    "padded units": lambda n: Do(lambda x: F.pad(x, (1, 0))[..., :n]),
    "assigned": lambda n: Do(assigned),
    "in place": lambda n: Do(in_place),
    "another type": lambda n: Do(lambda x: x.float().to(torch.float64)),
    "detached": lambda n: Do(lambda x: x.detach().clone().contiguous()),
    "recomputed": lambda n: Do(lambda x: checkpoint(torch.sigmoid, x, use_reentrant=False)),
    "fold": lambda n: ns.fold(nn.Linear(n, n), nn.ReLU()),
    "readout": lambda n: ns.neurons.Readout(0.5),
    "winners": lambda n: nn.Sequential(ns.KWTA(k=2), nn.Linear(n, n)),
    "spikes": lambda n: nn.Sequential(neurons(), nn.Linear(n, n)),
    "fused": lambda n: ns.neurons.fuse(neurons(), nn.Linear(n, n), neurons(), nn.Linear(n, n)),
    "gain of spikes": lambda n: nn.Sequential(neurons(), Do(lambda e: 0.5 * e), nn.Linear(n, n)),
    "function of spikes": lambda n: nn.Sequential(neurons(), nn.Tanh(), nn.Linear(n, n)),
    "selected spikes": lambda n: nn.Sequential(neurons(), Do(lambda e: e[..., : n // 2]), nn.Linear(n // 2, n)),
    "gated units": lambda n: nn.Sequential(nn.Linear(n, 3 * n), GRU(n)),
    "delays": lambda n: Delay(torch.arange(n) % 3),
    "scale": lambda n: Scale(torch.linspace(0.5, 2, n)),
}
