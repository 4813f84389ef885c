"""Training step of a convolutional spiking network, over the time of its dense convolutions; beside snnTorch.

make bench-convolution

Architecture: 28 x 28 input, Conv2d(1, 24, 5) - LIF - Conv2d(24, 48, 5) - LIF, T = 4 steps, 64 samples; "pooled": an
average over 2 x 2 before the second convolution. A step is forward and backward, without an optimizer; the loss is
the mean square of the mean rates. The weights of both layers are scaled until each fires at the density of the input.
The unit is the time of torch's convolutions of the same rows alone, forward and all gradients that the step needs.
"""

import importlib.util
from collections.abc import Callable

import torch
from timing import interleaved, rows, write
from torch import Tensor, nn

import neurosparse as ns

STEPS, SAMPLES, BETA = 4, 64, 0.9
GOALS = {0.05: 0.7, 0.15: 0.95}  # at any other density 1.1


def spikes_of(current: Tensor) -> Tensor:
    """Spikes of leaky neurons, step by step."""
    membrane, out = torch.zeros_like(current[0]), []
    for drive in current.unbind(0):
        membrane = BETA * membrane + drive
        out.append((membrane > 1).float())
        membrane = membrane - out[-1]
    return torch.stack(out)


def on_rows(layers: list[nn.Module], x: Tensor) -> Tensor:
    """Torch layers on all steps x samples at once."""
    return nn.Sequential(*layers)(x.flatten(0, 1)).unflatten(0, x.shape[:2])


@torch.no_grad()
def calibrated(x: Tensor, density: float, pooled: bool) -> list[list[nn.Module]]:
    """Two layers, whose weights are scaled by bisection until each fires at the density."""
    pool: list[nn.Module] = [nn.AvgPool2d(2)] if pooled else []
    layers, signal = [[nn.Conv2d(1, 24, 5)], [*pool, nn.Conv2d(24, 48, 5)]], x
    for layer in layers:
        conv, low, high = layer[-1], 0.05, 60.0
        bias = conv.bias.view(-1, 1, 1)
        weighted = on_rows(layer, signal) - bias
        for _ in range(14):
            middle = (low * high) ** 0.5
            fires = spikes_of(middle * weighted + bias).mean().item()
            low, high = (middle, high) if fires < density else (low, middle)
        conv.weight.mul_(low)
        signal = spikes_of(on_rows(layer, signal))
        print(f"  {'pooled' if pooled else 'plain'}: density {signal.mean().item():.3f} of {tuple(signal.shape[2:])}")
    return layers


def snntorch_loop(layers: list[list[nn.Module]], x: Tensor) -> Tensor:
    """The loop over steps that snnTorch documents."""
    import snntorch

    neurons = [snntorch.Leaky(beta=BETA) for _ in layers]
    membranes = [neuron.init_leaky() for neuron in neurons]
    counts = 0
    for signal in x.unbind(0):
        for i, (layer, neuron) in enumerate(zip(layers, neurons, strict=True)):
            for module in layer:
                signal = module(signal)
            signal, membranes[i] = neuron(signal, membranes[i])
        counts = counts + signal
    return torch.as_tensor(counts)


def case(density: float, pooled: bool = False) -> list[dict[str, object]]:
    """All subjects on the same layers and input."""
    torch.manual_seed(0)
    x = (torch.rand(STEPS, SAMPLES, 1, 28, 28) < density).float()
    layers = calibrated(x, density, pooled)
    weights = [p for layer in layers for module in layer for p in module.parameters()]
    events = ns.EventTensor.from_dense(x, spikes=True)
    _ = events.n_events, events.row_ptr
    neurons = [ns.LIF(beta=BETA, surrogate=ns.boxcar()) for _ in layers]
    network = nn.Sequential(*(m for layer, lif in zip(layers, neurons, strict=True) for m in (ns.fold(*layer), lif)))

    def convolutions() -> Tensor:
        hidden = layers[0][0](x.flatten(0, 1))
        rows_in = spikes.detach().requires_grad_()
        return hidden.sum() + layers[1][-1](rows_in).sum()

    with torch.no_grad():
        spikes = spikes_of(on_rows(layers[0], x)).flatten(0, 1)
        for module in layers[1][:-1]:
            spikes = module(spikes)

    def step(loss: Callable[[], Tensor]) -> Callable[[], None]:
        def once() -> None:
            for weight in weights:
                weight.grad = None
            loss().backward()

        return once

    subjects = {
        "dense convolutions": convolutions,
        "neurosparse": lambda: (network(events).counts() / STEPS).square().mean(),
    }
    if importlib.util.find_spec("snntorch"):
        subjects["snnTorch, step by step"] = lambda: (snntorch_loop(layers, x) / STEPS).square().mean()
    seconds = interleaved({name: step(loss) for name, loss in subjects.items()}, 5)
    goals = {} if pooled else {"neurosparse": GOALS.get(density, 1.1)}
    return rows(f"conv 24-48, {'pooled, ' * pooled}{density:.0%}", seconds, "dense convolutions", goals)


if __name__ == "__main__":
    table = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for density in (0.01, 0.02, 0.05, 0.1, 0.15, 0.3, 0.5):
            table += [{"threads": threads, **row} for row in case(density)]
        table += [{"threads": threads, **row} for row in case(0.05, pooled=True)]
    write("convolution", table)
