"""Contestants as modules: all map ``(samples, features)`` to ``(samples, classes)`` and learn through one function."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.baselines import LevelReLU
from neurosparse.coding import KWTA, NotConverged, l1, solve
from neurosparse.contest.contestant import Contestant
from neurosparse.events import EventTensor
from neurosparse.neurons import LIF, constant_current, latency, triangle
from neurosparse.predictive import PredictiveNetwork

__all__ = ["build", "learn"]


class Feedforward(nn.Module):
    """Linear layers with an activation between; with an encoder they run over time.

    Args:
        sizes: features, hidden widths, classes.
        activations: one module per hidden layer.
        encode: from ``(samples, features)`` to events over time; None for a network without time.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        activations: list[nn.Module],
        encode: Callable[[Tensor], EventTensor] | None = None,
    ):
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activations = nn.ModuleList(activations)
        self.encode = encode

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        """Logits; the activations of hidden layers are appended to ``hidden``."""
        signal = x if self.encode is None else self.encode(x)
        for linear, activation in zip(self.linears, self.activations, strict=False):
            signal = activation(linear(signal))
            if hidden is not None:
                hidden.append(signal)
        out = self.linears[-1](signal)
        return out if self.encode is None else out.mean(0)


class SparseCode(nn.Module):
    """A sparse code (LCA) with a linear readout: the dictionary learns to reconstruct, the readout to classify."""

    def __init__(self, features: int, classes: int, contestant: Contestant):
        super().__init__()
        self.dictionary = nn.Parameter(F.normalize(torch.randn(contestant.atoms, features)), requires_grad=False)
        self.readout = nn.Linear(contestant.atoms, classes)
        self.penalty, self.iterations = l1(contestant.code_penalty), contestant.iterations

    def code(self, x: Tensor) -> Tensor:
        """Coefficients ``(samples, atoms)``, within one per cent of the optimum or out of iterations."""
        with warnings.catch_warnings():  # a fixed budget may end before the certificate is reached
            warnings.simplefilter("ignore", NotConverged)
            options = {"method": "lca", "tol": 1e-2, "steps": self.iterations, "record_events": False}
            return solve(x, self.dictionary, self.penalty, **options).a

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        code = self.code(x)
        if hidden is not None:
            hidden.append(code)
        return self.readout(code)

    @torch.no_grad()
    def adapt(self, x: Tensor, code: Tensor, rate: float = 0.1) -> None:
        """Olshausen and Field's rule, then unit norm: ``D_j += rate <a_j (x - a D)> / (<a_j^2> + mean <a^2>)``."""
        power = code.square().mean(0)
        change = code.t() @ (x - code @ self.dictionary) / len(x)
        step = rate * change / (power + power.mean() + 1e-9).unsqueeze(1)
        self.dictionary.copy_(F.normalize(self.dictionary + step))


class Predictive(nn.Module):
    """A predictive-coding network as a classifier: trained by its local rule, read out in one feed-forward sweep."""

    def __init__(self, sizes: tuple[int, ...], contestant: Contestant):
        super().__init__()
        self.classes = sizes[-1]
        self.network = PredictiveNetwork(sizes, steps=contestant.inference_steps)

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        return self.network(x)


def build(contestant: Contestant, features: int, hidden: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """The contestant's network with weights drawn from ``seed``; global random state is left as it was."""
    sizes = (features, *hidden, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if contestant.family == "lca":
            return SparseCode(features, classes, contestant)
        if contestant.family == "predictive":
            return Predictive(sizes, contestant)
        return Feedforward(sizes, [_activation(contestant) for _ in hidden], _encoder(contestant))


def _encoder(contestant: Contestant) -> Callable[[Tensor], EventTensor] | None:
    if contestant.family not in ("lif", "kwta"):
        return None
    encode = {"current": constant_current, "latency": latency}[contestant.encoding]
    return partial(encode, steps=contestant.steps)


def _activation(contestant: Contestant) -> nn.Module:
    if contestant.family == "lif":
        return LIF(beta=contestant.beta, surrogate=triangle())
    if contestant.family == "kwta":
        return KWTA(fraction=contestant.active_fraction)
    return nn.ReLU() if contestant.levels is None else LevelReLU(contestant.levels)


def learn(model: nn.Module, x: Tensor, y: Tensor, activity_penalty: float = 0.0) -> float:
    """Put the gradients of one batch into the model's parameters; returns the loss.

    Backpropagation of the cross entropy, plus ``activity_penalty`` times the mean hidden activity; a predictive-coding
    network and a dictionary use their own local rules.
    """
    if isinstance(model, Predictive):
        states = model.network.infer(x, F.one_hot(y, model.classes).to(x.dtype))
        model.network.learn(states)
        return float(model.network.energy(states).detach().mean())
    hidden: list = []
    logits = model(x, hidden)
    loss = F.cross_entropy(logits, y)
    if activity_penalty:
        loss = loss + activity_penalty * sum(_activity(h) for h in hidden) / len(hidden)
    loss.backward()
    if isinstance(model, SparseCode):
        model.adapt(x, hidden[0])
    return float(loss.detach())


def _activity(hidden: Tensor | EventTensor) -> Tensor:
    """Mean over samples and units of spike counts or magnitudes."""
    return hidden.counts().mean() if isinstance(hidden, EventTensor) else hidden.abs().mean()
