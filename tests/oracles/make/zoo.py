"""Networks for the comparison of operation counters, built by formula: the same in every environment.

A case is a network; its data ``(samples, ...)``, or ``(samples, steps, ...)`` where it is called step by step; which
modules are declared to spike; and a twin: the same products as plain modules, whose inputs a loop can read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

SAMPLES, STEPS, BATCH = 12, 10, 5  # the last batch is smaller


@dataclass(frozen=True)
class Case:
    """A network and its data. ``differs``: why a peer's count differs; a peer without a reason has to agree."""

    build: Callable[[], nn.Module]
    data: Tensor
    steps: bool = False
    spiking: tuple[Any, ...] = ()
    twin: Callable[[], nn.Module] | None = None
    batch: int = BATCH
    differs: dict[str, str] | None = None


def fill(layer: Any, seed: int, scale: float = 0.4, zeros: float = 0.25) -> Any:
    """Fill with normal weights, some of them zero, and a bias without zeros."""
    for name, parameter in layer.named_parameters():
        weight = name.startswith("weight") or "_weight" in name
        random = np.random.RandomState(seed + (0 if weight else 500))
        values = (random.standard_normal(tuple(parameter.shape)) * (scale if weight else 0.05)).astype(np.float32)
        values[random.random_sample(tuple(parameter.shape)) < (zeros if weight else 0.0)] = 0.0
        parameter.data = torch.from_numpy(values)
    return layer


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).random_sample(shape).astype(np.float32))


def spikes(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy((np.random.RandomState(seed).random_sample(shape) < 0.2).astype(np.float32))


def rectified(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.maximum(np.random.RandomState(seed).standard_normal(shape), 0).astype(np.float32))


def leaky(**options: Any) -> nn.Module:
    return snn.Leaky(beta=0.9, init_hidden=True, **options)


def perceptron(reset: str = "subtract") -> nn.Module:
    first, second = fill(nn.Linear(40, 30), 1, 0.35), fill(nn.Linear(30, 10), 2, 0.35)
    return nn.Sequential(first, leaky(reset_mechanism=reset), second, leaky(reset_mechanism=reset, output=True))


def convolutional() -> nn.Module:
    first = fill(nn.Conv2d(2, 4, 3, padding=1), 11, 0.5)
    second = fill(nn.Conv2d(4, 6, 3, stride=2, padding=1), 12, 0.4)
    last = fill(nn.Linear(96, 10), 13, 0.3)
    return nn.Sequential(first, leaky(), second, leaky(), nn.Flatten(), last, leaky(output=True))


def rectifier() -> nn.Module:
    return nn.Sequential(fill(nn.Linear(40, 30), 1, 0.35), nn.ReLU(), fill(nn.Linear(30, 10), 2, 0.35))


def drawn(seed: int) -> nn.Module:
    """A random spiking network for inputs ``(2, 7, 7)``: convolutions, groups, strides, dilation, pools, layers."""
    random, channels, size, layers = np.random.RandomState(seed), 2, 7, []
    for depth in range(random.randint(1, 4)):
        kernel, stride, padding, dilation = (int(random.randint(1, top)) for top in (4, 3, 3, 3))
        groups, out = int(random.choice([1, 2])), 2 * int(random.randint(1, 4))
        after = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        if after < 2:
            break
        conv = nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias=bool(random.randint(2)))
        layers += [fill(conv, seed + depth, 0.8), leaky()]
        channels, size = out, after
        if size >= 4 and random.randint(2):
            layers.append(nn.MaxPool2d(2))
            size //= 2
    last = fill(nn.Linear(channels * size**2, int(random.randint(1, 9))), seed + 9, 0.8)
    return nn.Sequential(*layers, nn.Flatten(), last, leaky(output=True))


class Stepped(nn.Module):
    """A cell with one or two states, which start at zero."""

    def __init__(self, cell: Any, last: nn.Module, states: int = 2):
        super().__init__()
        self.cell, self.last, self.states = cell, last, states

    def forward(self, x: Tensor) -> Tensor:
        zeros = x.new_zeros(len(x), self.cell.hidden_size)
        state = (zeros, zeros) if self.states == 2 else zeros
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.last(state[0] if self.states == 2 else state)


class WrittenRNN(nn.Module):
    """The cell written as two layers."""

    def __init__(self, cell: nn.RNNCell):
        super().__init__()
        self.hidden_size = cell.hidden_size
        self.input, self.hidden = nn.Linear(cell.input_size, self.hidden_size), nn.Linear(*[self.hidden_size] * 2)
        self.input.weight, self.hidden.weight = cell.weight_ih, cell.weight_hh
        self.input.bias, self.hidden.bias = cell.bias_ih, cell.bias_hh

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return (self.input(x) + self.hidden(h)).tanh()


class WrittenLSTM(nn.Module):
    """The cell written as two layers."""

    def __init__(self, weights: Any, suffix: str = ""):
        super().__init__()
        parts = {name.removesuffix(suffix): value for name, value in weights.named_parameters()}
        (rows, n_in), self.hidden_size = parts["weight_ih"].shape, parts["weight_hh"].shape[1]
        self.input, self.hidden = nn.Linear(n_in, rows), nn.Linear(self.hidden_size, rows)
        self.input.weight, self.hidden.weight = parts["weight_ih"], parts["weight_hh"]
        self.input.bias, self.hidden.bias = parts["bias_ih"], parts["bias_hh"]

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h, c = state
        i, f, g, o = (self.input(x) + self.hidden(h)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class LastOfSequence(nn.Module):
    def __init__(self, layer: nn.Module, last: nn.Module):
        super().__init__()
        self.layer, self.last = layer, last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x)[1][0][0])


class Product(nn.Module):
    """A product of two signals as a module, whose inputs a loop can read."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b


class SelfAttention(nn.Module):
    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class WrittenAttention(nn.Module):
    """Attention written with plain layers."""

    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        self.heads, width = attention.num_heads, attention.embed_dim
        self.project, self.scores, self.mix = nn.Linear(width, 3 * width), Product(), Product()
        self.project.weight, self.project.bias = attention.in_proj_weight, attention.in_proj_bias
        self.out = nn.Linear(width, width)
        self.out.weight, self.out.bias = attention.out_proj.weight, attention.out_proj.bias

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = self.scores(q * q.shape[-1] ** -0.5, k.mT).softmax(-1)
        return self.out(self.mix(weights, v).transpose(1, 2).flatten(2))


class Functional(nn.Module):
    """A layer called as a function."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.held = layer

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.linear(x, self.held.weight, self.held.bias)


def masked() -> nn.Module:
    net = rectifier()
    prune.l1_unstructured(net[0], "weight", amount=0.5)
    return net


def made_permanent() -> nn.Module:
    net = masked()
    prune.remove(net[0], "weight")
    return net


def eight_bits() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated: torch moves it to another package
        return torch.ao.quantization.quantize_dynamic(rectifier(), {nn.Linear})


def from_eight_bits() -> nn.Module:
    net: Any = rectifier()
    for layer, small in zip(net, eight_bits(), strict=True):
        if isinstance(layer, nn.Linear):
            layer.weight.data = small.weight().dequantize()
    return net


def ones() -> nn.Module:
    layer = nn.Linear(4097, 4097, bias=False)
    layer.weight.data.fill_(1.0)
    return nn.Sequential(layer)


def mixed() -> Tensor:
    """Four samples of zeros and ones, then four of other values."""
    return torch.cat([spikes(5, 4, 6), uniform(6, 4, 6)])


def attention() -> nn.MultiheadAttention:
    return fill(nn.MultiheadAttention(8, 2, batch_first=True), 40).eval()


UNSEEN = "only Linear, Conv and recurrent cells inside the network are hooked"
FIRST = "takes the zeros of the first state for spikes"
FUSED = "does not count inside torch's fused kernels"
GUESSED = "takes 0/1 values for spikes, whatever sent them"
PADDED = "multiplies the zeros of the padding"
SNN = (snn.Leaky, "input")
CASES: dict[str, Case] = {
    "spiking MLP": Case(perceptron, spikes(100, SAMPLES, STEPS, 40), True, SNN),
    "spiking MLP, reset to zero": Case(lambda: perceptron("zero"), spikes(100, SAMPLES, STEPS, 40), True, SNN),
    "spiking CNN": Case(convolutional, spikes(101, SAMPLES, STEPS, 2, 8, 8), True, SNN),
    "spiking MLP, analogue input": Case(perceptron, uniform(103, SAMPLES, STEPS, 40), True, (snn.Leaky,)),
    "ReLU MLP": Case(rectifier, rectified(102, SAMPLES, 40)),
    **{
        f"random spiking network {seed}": Case(lambda s=seed: drawn(s), spikes(seed, 3, 4, 2, 7, 7), True, SNN, batch=2)
        for seed in range(8)
    },
    "grouped, dilated Conv1d": Case(
        lambda: nn.Sequential(fill(nn.Conv1d(4, 6, 3, 2, 2, 2, 2), 21)),
        rectified(104, 5, 4, 9),
        differs={"SpikingJelly": PADDED},
    ),
    "Conv3d": Case(
        lambda: nn.Sequential(fill(nn.Conv3d(2, 3, 2, (1, 2, 1), 1), 22)),
        rectified(105, 3, 2, 3, 4, 3),
        differs={"SpikingJelly": PADDED},
    ),
    "ConvTranspose2d": Case(
        lambda: nn.Sequential(fill(nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), 23)),
        rectified(106, 3, 4, 3, 3),
        differs={"NeuroBench": UNSEEN, "SpikingJelly": "counts what the border cuts off"},
    ),
    "RNNCell": Case(
        lambda: Stepped(fill(nn.RNNCell(6, 5), 24), fill(nn.Linear(5, 2), 25), 1),
        rectified(107, 3, 4, 6),
        twin=lambda: Stepped(WrittenRNN(fill(nn.RNNCell(6, 5), 24)), fill(nn.Linear(5, 2), 25), 1),
        differs={"SpikingJelly": FIRST},
    ),
    "LSTMCell": Case(
        lambda: Stepped(fill(nn.LSTMCell(6, 5), 24), fill(nn.Linear(5, 2), 25)),
        rectified(107, 3, 4, 6),
        twin=lambda: Stepped(WrittenLSTM(fill(nn.LSTMCell(6, 5), 24)), fill(nn.Linear(5, 2), 25)),
        differs={
            "NeuroBench": "adds gates to the products, and leaves the first state's zeros out of the dense ones",
            "SpikingJelly": FIRST,
        },
    ),
    "LSTM": Case(
        lambda: LastOfSequence(fill(nn.LSTM(6, 5, batch_first=True), 24), fill(nn.Linear(5, 2), 25)),
        rectified(107, 3, 4, 6),
        twin=lambda: Stepped(WrittenLSTM(fill(nn.LSTM(6, 5), 24), "_l0"), fill(nn.Linear(5, 2), 25)),
        differs={"NeuroBench": "fails on such a layer, and reports that as no operation", "SpikingJelly": FUSED},
    ),
    "MultiheadAttention": Case(
        lambda: SelfAttention(attention()),
        rectified(108, 3, 5, 8),
        twin=lambda: WrittenAttention(attention()),
        differs={"NeuroBench": UNSEEN, "SpikingJelly": FUSED},
    ),
    "Linear as the whole network": Case(
        lambda: fill(nn.Linear(6, 4), 26), rectified(109, 5, 6), differs={"NeuroBench": UNSEEN}
    ),
    "F.linear": Case(
        lambda: Functional(fill(nn.Linear(6, 4), 26)),
        rectified(109, 5, 6),
        twin=lambda: nn.Sequential(fill(nn.Linear(6, 4), 26)),
        differs={"NeuroBench": "a function has no hook"},
    ),
    "pruned by a mask": Case(
        masked,
        rectified(102, SAMPLES, 40),
        twin=made_permanent,
        differs={"NeuroBench": "cannot copy a masked layer, and reports that as no operation"},
    ),
    "8-bit by torch": Case(
        eight_bits,
        rectified(102, SAMPLES, 40),
        twin=from_eight_bits,
        differs={"NeuroBench": UNSEEN, "SpikingJelly": FUSED},
    ),
    "4097 x 4097 ones": Case(
        ones, torch.ones(1, 4097), batch=1, differs={"NeuroBench": "sums in 32-bit floats, which end at 2^24"}
    ),
    "batches of 4": Case(
        lambda: nn.Sequential(fill(nn.Linear(6, 4), 27)), mixed(), batch=4, differs={"SpikingJelly": GUESSED}
    ),
    "the same in one batch": Case(lambda: nn.Sequential(fill(nn.Linear(6, 4), 27)), mixed(), batch=8),
}
