"""Time of a recorded run over the same run unrecorded: large operators, whose ratio counts, and tiny ones.

make bench-meter

`microseconds` is the median time of one ATen operator of the plain run, `operators` their number per call, and
`overhead` the microseconds that recording adds to each. The goals: a ratio of at most 2 where `microseconds` is 100 or
more, and an `overhead` of at most 30 elsewhere. Seconds are those of the processor, with one thread. A recording holds
5 calls of large networks, 100 of tiny ones.
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from timing import interleaved, rows, write
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import neurosparse as ns

LARGE, TINY = 5, 100  # calls in one recording


class Times(TorchDispatchMode):
    """Seconds of each ATen operator."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        started = time.process_time()
        result = func(*args, **(kwargs or {}))
        self.seconds.append(time.process_time() - started)
        return result


class Neurons(nn.Module):
    """Leaky neurons in a loop written by hand."""

    def __init__(self, inputs: int, units: int, steps: int):
        super().__init__()
        self.forward_weights, self.steps = nn.Linear(inputs, units), steps

    def forward(self, x: Tensor) -> Tensor:
        membrane = torch.zeros(len(x), self.forward_weights.out_features)
        for _ in range(self.steps):
            membrane = 0.9 * membrane + self.forward_weights(x)
            spikes = (membrane > 1).float()
            membrane = membrane - spikes
        return membrane


def convolutions() -> nn.Module:
    layers = (nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(64 * 14 * 14, 10))


def perceptron(*sizes: int) -> nn.Module:
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def attention(width: int, heads: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True, dropout=0.0)


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor, int]]] = {
    "convolutions, 32 images of 32 x 32": lambda: (convolutions(), torch.rand(32, 3, 32, 32), LARGE),
    "1024-2048-2048-10, 256 samples": lambda: (perceptron(1024, 2048, 2048, 10), torch.rand(256, 1024), LARGE),
    "transformer of width 256, 8 x 128": lambda: (attention(256, 4), torch.rand(8, 128, 256), LARGE),
    "spiking loop 1024-2048, 64 samples": lambda: (Neurons(1024, 2048, 20), torch.rand(64, 1024), LARGE),
    "8-16-4, one sample": lambda: (perceptron(8, 16, 4), torch.rand(1, 8), TINY),
    "transformer of width 16, 1 x 8": lambda: (attention(16, 2), torch.rand(1, 8, 16), TINY),
    "spiking loop 8-16, one sample": lambda: (Neurons(8, 16, 20), torch.rand(1, 8), TINY),
}


def measure(net: nn.Module, x: Tensor, calls: int, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds per call of both subjects, and properties of the operators."""

    def plain() -> None:
        for _ in range(calls):
            net(x)

    def recorded() -> None:
        with ns.record(net):
            for _ in range(calls):
                net(x)

    seconds = interleaved({"plain": plain, "recorded": recorded}, repeats, time.process_time)
    seconds = {name: value / calls for name, value in seconds.items()}
    with Times() as times:
        plain()
    operators = len(times.seconds) / calls
    facts = {
        "microseconds": 1e6 * statistics.median(times.seconds),
        "operators": operators,
        "overhead": 1e6 * (seconds["recorded"] - seconds["plain"]) / operators,
    }
    return seconds, facts


def main() -> None:
    torch.set_num_threads(1)
    table = []
    for case, build in CASES.items():
        torch.manual_seed(0)
        with torch.no_grad():
            seconds, facts = measure(*build(), repeats=5)
        table += [row | facts | {"threads": 1} for row in rows(case, seconds, "plain")]
        print(
            f"{case}: {facts['operators']:.0f} operators, {facts['microseconds']:.0f} us, +{facts['overhead']:.1f} us"
        )
    write("meter", table)


if __name__ == "__main__":
    main()
