"""Contestants as modules: all map their inputs to logits ``(samples, classes)`` and learn through one function."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.baselines import LevelReLU, distillation
from neurosparse.baselines.gru import GRU
from neurosparse.coding import KWTA, FlyHash, l1, solve
from neurosparse.events import EventTensor, fold
from neurosparse.events.timing import tag, timing_of
from neurosparse.experiments.classification.contestant import Contestant
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.experiments.classification.layers import POOLS, Layer, front_shape, modules_of, parse_layer
from neurosparse.experiments.classification.readout import anytime, read
from neurosparse.neurons import LIF, Readout, atan, boxcar, constant_current, fast_sigmoid, fuse, latency, triangle
from neurosparse.predictive import PredictiveNetwork

__all__ = ["Learned", "build", "keep_in_range", "learn"]

SURROGATES = {"triangle": triangle, "boxcar": boxcar, "atan": atan, "fast_sigmoid": fast_sigmoid}


class Feedforward(nn.Module):
    """Weight layers with an activation between; over time, the outputs of all steps are read out at the end.

    Args:
        linears: linear or convolutional layers, each with what it needs around it; the last one gives the outputs.
        activations: one module per hidden layer.
        encode: from ``(samples, ...)`` to events over time; None if the input has its steps, or the network no time.
        readout: of a network over time, in the words of ``readout.read``; None without time.
        leaky: membranes behind the outputs.
        dropout: share of hidden units silenced while training.
    """

    def __init__(
        self,
        linears: list[nn.Module],
        activations: list[nn.Module],
        encode: Callable[[Tensor], EventTensor] | None = None,
        readout: str | None = None,
        leaky: nn.Module | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.linears, self.activations = nn.ModuleList(linears), nn.ModuleList(activations)
        self.encode, self.readout, self.leaky, self.dropout = encode, readout, leaky, dropout

    def forward(self, x: Inputs, hidden: list | None = None) -> Tensor:
        """Logits; the activations of hidden layers are appended to ``hidden``."""
        signal, lengths = self._hidden(x, hidden)
        if self.readout is None:
            return self.linears[-1](signal)
        if self.readout == "last":  # only the last state meets the output weights
            return self.linears[-1](read(signal, "last", lengths))
        return read(self._outputs(signal), self.readout, lengths)

    def anytime(self, x: Inputs) -> Tensor | None:
        """Logits if the network were read out after each step, ``(steps, samples, classes)``; None without time."""
        if self.readout is None:
            return None
        signal, lengths = self._hidden(x, None)
        return anytime(self._outputs(signal), self.readout, lengths)

    def _hidden(self, x: Inputs, hidden: list | None) -> tuple[Any, Tensor | None]:
        """What the output layer is given, and the steps of each sample that are data."""
        signal: Any = x if self.encode is None else self.encode(x)  # type: ignore[arg-type]
        timing = timing_of(signal)
        for linear, activation in zip(self.linears, self.activations, strict=False):
            signal = fuse(linear, activation)(signal)
            if hidden is not None:
                hidden.append(signal)
            if self.training and self.dropout:
                signal = _drop(signal, self.dropout, self.readout is not None)
        return signal, None if timing is None else timing.lengths

    def _outputs(self, signal: Any) -> Tensor:
        out = self.linears[-1](signal)
        return out if self.leaky is None else self.leaky(out)


def _drop(signal: Inputs, share: float, over_time: bool) -> Tensor:
    """Silence some units of each sample, the same at all steps, and raise the others so that the mean stays."""
    dense = signal.dense() if isinstance(signal, EventTensor) else signal
    kept = torch.empty(dense.shape[1:] if over_time else dense.shape, device=dense.device).bernoulli_(1 - share)
    out, timing = dense * kept / (1 - share), timing_of(signal)
    return out if timing is None else tag(out, timing)


class SparseCode(nn.Module):
    """A sparse code, event by event, and a linear readout: one learns to reconstruct, the other to classify."""

    def __init__(self, features: int, classes: int, contestant: Contestant):
        super().__init__()
        self.dictionary = nn.Parameter(F.normalize(torch.randn(contestant.atoms, features)), requires_grad=False)
        self.readout = nn.Linear(contestant.atoms, classes)
        self.penalty = l1(contestant.code_penalty)

    def code(self, x: Tensor) -> Tensor:
        """Coefficients ``(samples, atoms)``, within one per cent of the optimum."""
        return solve(x, self.dictionary, self.penalty, "coordinate_descent", tol=1e-2, record_events=False).a

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


class MushroomBody(nn.Module):
    """Kenyon cells that each sum a few inputs, drawn once; those that fire are read out by weights that learn."""

    def __init__(self, features: int, classes: int, contestant: Contestant):
        super().__init__()
        seed = int(torch.randint(2**31, ()))
        drawn = {"cells": contestant.cells, "inputs": contestant.inputs, "active": contestant.active_fraction}
        self.cells = FlyHash(features, seed=seed, **drawn)
        self.readout = nn.Linear(contestant.cells, classes)

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        spikes = self.cells(x)
        if hidden is not None:
            hidden.append(spikes)
        return self.readout(spikes)[0]


PACE = 20
"""Batches between two measurements of the inference step."""


class Predictive(nn.Module):
    """A predictive-coding network as a classifier: trained by its local rule, read out in one feed-forward sweep."""

    dt: Tensor
    batches: Tensor

    def __init__(self, sizes: tuple[int, ...], contestant: Contestant):
        super().__init__()
        self.classes = sizes[-1]
        self.network = PredictiveNetwork(
            sizes,
            contestant.activation,
            order=contestant.order,
            output=contestant.target,
            steps=contestant.inference_steps,
        )
        # The longest stable step shrinks as weights grow: measured now and then, and kept with the weights.
        self.register_buffer("dt", torch.ones(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.mode, self.smoothing = contestant.inference_mode, contestant.label_smoothing
        self.nudge = contestant.nudge or None

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        return self.network(x)

    def learn(self, x: Tensor, y: Tensor) -> float:
        """Gradients of one batch into the weights; returns the energy that is left."""
        target = F.one_hot(y, self.classes).to(x.dtype).lerp(torch.full((), 1 / self.classes), self.smoothing)
        if self.mode == "strict" and self.batches % PACE == 0:
            self.dt.fill_(self.network.stable_dt(x, target, nudge=self.nudge))
        self.batches += 1
        dt = float(self.dt) if self.mode == "strict" else None
        states = self.network.infer(x, target, mode=self.mode, nudge=self.nudge, dt=dt, check=False, record=False)
        self.network.learn(states)
        return float(states.energies[-1].mean())


def build(
    contestant: Contestant, units: tuple[int, ...], hidden: tuple[int, ...], classes: int, seed: int
) -> nn.Module:
    """The contestant's network with weights drawn from ``seed``; global random state is left as it was.

    Args:
        contestant: what to build.
        units: shape of one sample, at one step where there are steps.
        hidden: widths of linear hidden layers, for a contestant that names no layers of its own.
        classes: number of outputs.
        seed: draws the weights.
    """
    features = math.prod(units)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if contestant.family == "sparse-code":
            return SparseCode(features, classes, contestant)
        if contestant.family == "fly":
            return MushroomBody(features, classes, contestant)
        if contestant.family == "predictive":
            return Predictive((features, *hidden, classes), contestant)
        return _feedforward(contestant, units, hidden, classes)


def _feedforward(contestant: Contestant, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> Feedforward:
    plain = "gru" if contestant.family == "gru" else "linear"
    layers = [parse_layer(contestant.name, text) for text in contestant.layers]
    layers = layers or [Layer(plain, width) for width in hidden]
    timed = contestant.family in ("lif", "kwta", "gru")
    wrap, linears, shapes, waiting = fold if timed else nn.Sequential, [], [], []
    for layer in (*layers, Layer("linear", classes)):
        waiting += modules_of(layer, units, 3 if layer.kind == "gru" else 1)
        units = front_shape(layer, units)
        if layer.kind not in POOLS:  # a pool belongs to the weights behind it
            linears.append(waiting[0] if len(waiting) == 1 and isinstance(waiting[0], nn.Linear) else wrap(*waiting))
            shapes.append((layer, units))
            waiting = []
    leaky = Readout(contestant.readout_beta) if contestant.readout in ("membrane", "peak") else None
    activations = [_activation(contestant, layer, shape) for layer, shape in shapes[:-1]]
    readout = contestant.readout if timed else None
    return Feedforward(linears, activations, _encoder(contestant), readout, leaky, contestant.dropout)


def _encoder(contestant: Contestant) -> Callable[[Tensor], EventTensor] | None:
    if contestant.family not in ("lif", "kwta", "gru") or contestant.encoding == "events":
        return None
    encode = {"current": constant_current, "latency": latency}[contestant.encoding]
    return partial(encode, steps=contestant.steps)


def _activation(contestant: Contestant, layer: Layer, units: tuple[int, ...]) -> nn.Module:
    if contestant.family == "lif":
        flat = layer.kind == "linear"
        beta = nn.Parameter(torch.full(units, contestant.beta)) if contestant.learn_beta else contestant.beta
        recurrent = nn.Linear(*units, *units, bias=False) if contestant.recurrent and flat else None
        surrogate = SURROGATES[contestant.surrogate]()
        return LIF(beta=beta, threshold=contestant.threshold, surrogate=surrogate, recurrent=recurrent)
    if contestant.family == "gru":
        return GRU(layer.width)
    if contestant.family == "kwta":
        return KWTA(fraction=contestant.active_fraction)
    return nn.ReLU() if contestant.levels is None else LevelReLU(contestant.levels)


@torch.no_grad()
def keep_in_range(model: nn.Module) -> None:
    """Bring learned decays back into 0..1 after a step."""
    for module in model.modules():
        if isinstance(module, LIF) and isinstance(module.beta, nn.Parameter):
            module.beta.clamp_(0, 1)


class Learned(NamedTuple):
    """What one batch gave: its loss, its logits (None for a local rule), the activations of the hidden layers."""

    loss: float
    logits: Tensor | None
    hidden: list


def learn(model: nn.Module, x: Inputs, y: Tensor, contestant: Contestant, teacher: nn.Module | None = None) -> Learned:
    """Put the gradients of one batch into the model's parameters.

    Backpropagation of the cross entropy, to labels and to the answers of a teacher if there is one, plus
    ``activity_penalty`` times the mean hidden activity; a predictive-coding network and a dictionary use their own
    local rules.
    """
    if isinstance(model, Predictive):
        return Learned(model.learn(x, y), None, [])  # type: ignore[arg-type]
    hidden: list = []
    logits = model(x, hidden)
    if teacher is None:
        loss = F.cross_entropy(logits, y, label_smoothing=contestant.label_smoothing)
    else:
        with torch.no_grad():
            answers = teacher(x)
        shares = {"alpha": contestant.distillation, "temperature": contestant.temperature}
        loss = distillation(logits, answers, y, label_smoothing=contestant.label_smoothing, **shares)
    if contestant.activity_penalty:
        loss = loss + contestant.activity_penalty * sum(_activity(h) for h in hidden) / len(hidden)
    loss.backward()
    if isinstance(model, SparseCode) and isinstance(x, Tensor):
        model.adapt(x, hidden[0])
    return Learned(float(loss.detach()), logits.detach(), hidden)


def _activity(hidden: Tensor | EventTensor) -> Tensor:
    """Mean over samples and units of spike counts or magnitudes."""
    return hidden.counts().mean() if isinstance(hidden, EventTensor) else hidden.abs().mean()
