"""One streamed step of a two-layer spiking network, over the same step of snnTorch.

make bench-stream

snnTorch is run as its tutorials write it, state in and state out (`Leaky(x, mem)`), and with `init_hidden=True` inside
a `nn.Sequential`, which passes no state. No gradients.
"""

import snntorch as snn
import torch
from timing import interleaved, rows, write
from torch import nn

import neurosparse as ns

CASES = {
    "784-256-10, one sample": (1, (784, 256, 10)),
    "64-32-10, one sample": (1, (64, 32, 10)),
    "784-256-10, 128 samples": (128, (784, 256, 10)),
}
STEPS = 100


def subjects(samples: int, sizes: tuple[int, ...]):
    """The same weights and input in every subject."""
    first, second = nn.Linear(*sizes[:2]), nn.Linear(*sizes[1:])
    x = (torch.rand(samples, sizes[0]) < 0.1).float()
    leaky, also = snn.Leaky(0.9), snn.Leaky(0.9)
    hidden = nn.Sequential(first, snn.Leaky(0.9, init_hidden=True), second, snn.Leaky(0.9, init_hidden=True))
    network = nn.Sequential(first, ns.LIF(0.9), second, ns.LIF(0.9))

    def passed() -> None:
        one, two = leaky.init_leaky(), also.init_leaky()
        for _ in range(STEPS):
            spikes, one = leaky(first(x), one)
            spikes, two = also(second(spikes), two)

    def kept() -> None:
        for layer in (hidden[1], hidden[3]):
            layer.reset_mem()
        for _ in range(STEPS):
            hidden(x)

    def streamed() -> None:
        step = ns.stream(network)
        for _ in range(STEPS):
            step(x)

    return {"snnTorch, state passed": passed, "snnTorch, init_hidden": kept, "neurosparse, ns.stream": streamed}


def main() -> None:
    table = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for case, (samples, sizes) in CASES.items():
            torch.manual_seed(0)
            with torch.no_grad():
                seconds = interleaved(subjects(samples, sizes), 21)
            seconds = {name: value / STEPS for name, value in seconds.items()}
            table += [row | {"threads": threads} for row in rows(case, seconds, "snnTorch, state passed")]
    write("stream", table)


if __name__ == "__main__":
    main()
