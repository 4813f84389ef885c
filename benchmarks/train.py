"""Training step of a spiking network, over the time of its dense matrix products; beside other libraries.

make bench-train            # peers that are not installed are left out, and the output names them

A step is forward and backward, without an optimizer. The weights of every layer are scaled until it fires at the
density of the input. The reference is the time of the matrix products alone: all steps x samples rows in one product a
layer, forward and backward. Times are also given as multiples of one step of the equal ReLU network, which passes once
where a spiking network passes T times. The loss is the mean square of mean rates: the gradients of a softmax over
counts become subnormal over 500 steps, which slows every library. One layer of each kind of neurons has its dense
spikes in the loss.
"""

import importlib.util
import resource
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from timing import interleaved, rows, write
from torch import Tensor, nn

import neurosparse as ns
from neurosparse.neurons import current_based

BETA = 0.9
CASES = {
    "MLP 784-512-512-10, T=25, batch 128": (25, 128, (784, 512, 512, 10), False, (0.05, 0.02, 0.3)),
    "layer 512-512, T=500, batch 16": (500, 16, (512, 512), True, (0.05, 0.02)),
}


GOALS = {0.05: 0.28, 0.02: 0.2}  # of the MLP, by density


def spikes_of(current: Tensor) -> Tensor:
    membrane, out = torch.zeros_like(current[0]), []
    for drive in current.unbind(0):
        membrane = BETA * membrane + drive
        out.append((membrane > 1).float())
        membrane = membrane - out[-1]
    return torch.stack(out)


@torch.no_grad()
def calibrated(x: Tensor, sizes: tuple[int, ...], density: float) -> list[nn.Linear]:
    """Layers whose weights are scaled by bisection until each fires at the density."""
    layers, signal = [], x
    for n_in, n_out in pairwise(sizes):
        linear = nn.Linear(n_in, n_out, device=x.device)
        low, high, weighted = 0.05, 60.0, linear(signal) - linear.bias
        for _ in range(18):
            middle = (low * high) ** 0.5
            fires = spikes_of(middle * weighted + linear.bias).mean().item()
            low, high = (middle, high) if fires < density else (low, middle)
        linear.weight.mul_(low)
        signal = spikes_of(linear(signal))
        layers.append(linear)
    return layers


class Boxcar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance > 0).float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (distance,) = ctx.saved_tensors
        return grad * (distance.abs() < 0.5)


def plain_loop(layers: list[nn.Linear], x: Tensor) -> Tensor:
    """The usual loop in torch: one product a layer, then a loop over ``unbind``."""
    signal = x
    for linear in layers:
        current = linear(signal)
        membrane, out = torch.zeros_like(current[0]), []
        for drive in current.unbind(0):
            membrane = BETA * membrane + drive
            fired = Boxcar.apply(membrane - 1)
            membrane = membrane - fired.detach()
            out.append(fired)
        signal = torch.stack(out)
    return signal.sum(0)


def snntorch_idiom(layers: list[nn.Linear], x: Tensor) -> Tensor:
    import snntorch

    neurons = [snntorch.Leaky(beta=BETA) for _ in layers]
    membranes = [neuron.init_leaky() for neuron in neurons]
    counts = 0
    for signal in x.unbind(0):
        for i, (linear, neuron) in enumerate(zip(layers, neurons, strict=True)):
            signal, membranes[i] = neuron(linear(signal), membranes[i])
        counts = counts + signal
    return torch.as_tensor(counts)


def snntorch_batched(layers: list[nn.Linear], x: Tensor) -> Tensor:
    import snntorch

    signal = x
    for linear in layers:
        neuron, out = snntorch.Leaky(beta=BETA), []
        membrane = neuron.init_leaky()
        for drive in linear(signal).unbind(0):
            fired, membrane = neuron(drive, membrane)
            out.append(fired)
        signal = torch.stack(out)
    return signal.sum(0)


def spikingjelly(layers: list[nn.Linear], x: Tensor) -> Tensor:
    from spikingjelly.activation_based import neuron

    signal = x
    for linear in layers:
        options = {"tau": 1 / (1 - BETA), "decay_input": False, "v_reset": None, "detach_reset": True}
        signal = neuron.LIFNode(**options, step_mode="m")(linear(signal))
    return signal.sum(0)


def norse(layers: list[nn.Linear], x: Tensor) -> Tensor:
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.module.lif_box import LIFBoxCell

    signal = x
    for linear in layers:
        # A decay of 0.9 per step; Norse scales the input by 0.1, so a tenth of the threshold gives the same spikes.
        cell = LIFBoxCell(p=LIFBoxParameters(tau_mem_inv=torch.as_tensor(100.0), v_th=torch.as_tensor(0.1)), dt=1e-3)
        state, out = None, []
        for drive in linear(signal).unbind(0):
            fired, state = cell(drive, state)
            out.append(fired)
        signal = torch.stack(out)
    return signal.sum(0)


PEERS: dict[str, tuple[str, Callable[[list[nn.Linear], Tensor], Tensor]]] = {
    "plain torch loop": ("torch", plain_loop),
    "snnTorch, step by step": ("snntorch", snntorch_idiom),
    "snnTorch, batched": ("snntorch", snntorch_batched),
    "SpikingJelly, multi-step": ("spikingjelly", spikingjelly),
    "Norse LIFBox": ("norse", norse),
}


KINDS: dict[str, tuple[float, Callable[[], dict[str, Any]]]] = {
    "constants": (0.45, lambda: {"beta": BETA}),
    "learned decay": (0.45, lambda: {"beta": per_unit(BETA)}),
    "recurrent": (0.45, lambda: {"beta": BETA, "recurrent": loop()}),
    "adaptive": (0.6, lambda: {"beta": BETA, "dynamics": ns.neurons.adaptive(0.9, 0.3)}),
    "current-based, learned": (0.6, lambda: {"beta": per_unit(BETA), "dynamics": current_based(per_unit(0.8))}),
}
"""Kinds of neurons of one layer: the goal over its dense products, and its settings."""
STEPS, SAMPLES, UNITS, DENSITY = 100, 128, 256, 0.05


def per_unit(value: float) -> nn.Parameter:
    return nn.Parameter(torch.full((UNITS,), value))


def loop() -> nn.Linear:
    linear = nn.Linear(UNITS, UNITS, bias=False)
    nn.init.uniform_(linear.weight, -0.02, 0.02)
    return linear


@torch.no_grad()
def firing(linear: nn.Linear, neurons: ns.LIF, x: Tensor) -> None:
    """Scale the weights by bisection until the neurons fire at the density of the input."""
    low, high, weight = 0.05, 60.0, linear.weight.clone()
    for _ in range(12):
        middle = (low * high) ** 0.5
        linear.weight.copy_(weight * middle)
        low, high = (middle, high) if neurons(linear(x)).density < DENSITY else (low, middle)


def layer(kind: str) -> list[dict[str, Any]]:
    """One layer of any neurons, with its dense spikes in the loss, over the dense products of its weights.

    With recurrent weights these are one product per step, forward, for the states and for the weights.
    """
    goal, settings = KINDS[kind]
    torch.manual_seed(0)
    x = (torch.rand(STEPS, SAMPLES, UNITS) < DENSITY).float()
    weights = torch.rand(x.shape) / x.numel()
    linear, neurons = nn.Linear(UNITS, UNITS), ns.LIF(surrogate=ns.boxcar(), **settings())
    firing(linear, neurons, x)
    events = ns.EventTensor.from_dense(x, spikes=True)
    _ = events.n_events, events.row_ptr

    def floor() -> Tensor:
        out = linear(x.flatten(0, 1)).sum()
        if neurons.recurrent is None:
            return out
        state = x[0].clone().requires_grad_()
        for _ in range(STEPS):
            state = neurons.recurrent(state)
        return out + state.sum()

    def ours(container: Callable[..., nn.Module]) -> Callable[[], Tensor]:
        network = container(linear, neurons)
        return lambda: (network(events).dense() * weights).sum()

    def step(run: Callable[[], Tensor]) -> Callable[[], None]:
        def once() -> None:
            for parameter in (*linear.parameters(), *neurons.parameters()):
                parameter.grad = None
            run().backward()

        return once

    forward = {"dense products": floor, "fused": ours(ns.fuse), "Sequential": ours(nn.Sequential)}
    seconds = interleaved({subject: step(run) for subject, run in forward.items()}, 7)
    case = f"layer {UNITS}-{UNITS}, T={STEPS}, batch {SAMPLES}, {DENSITY:.0%}, {kind}"
    return rows(case, seconds, "dense products", {"fused": goal, "Sequential": goal})


def saved_bytes(step: Callable[[], object], weights: list[nn.Parameter]) -> int:
    """Bytes that autograd keeps between forward and backward, without weights; shared memory counts once."""
    kept: dict[int, int] = {}
    own = {weight.untyped_storage().data_ptr() for weight in weights}

    def pack(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in own:
            size = min(memory.nbytes(), tensor.numel() * tensor.element_size())
            kept[memory.data_ptr()] = max(kept.get(memory.data_ptr(), 0), size)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(kept.values())


def case(name: str, density: float) -> list[dict[str, object]]:
    """All subjects on the same layers and input."""
    steps, samples, sizes, needs_grad, _ = CASES[name]
    torch.manual_seed(0)
    x = (torch.rand(steps, samples, sizes[0]) < density).float()
    layers = calibrated(x, sizes, density)
    weights = [p for layer in layers for p in layer.parameters()]
    x.requires_grad_(needs_grad)
    events = ns.EventTensor.from_dense(x, spikes=True)
    if density <= 0.2:  # sparse input is given as events, dense input as a tensor
        _ = events.n_events, events.row_ptr

    def ours(container: Callable[..., nn.Module], surrogate: ns.neurons.Surrogate) -> Callable[[], Tensor]:
        neurons = [ns.LIF(beta=BETA, surrogate=surrogate) for _ in layers]
        network = container(*[module for pair in zip(layers, neurons, strict=True) for module in pair])
        return lambda: network(events).counts()

    def floor() -> Tensor:
        signal = x.flatten(0, 1)
        for layer in layers:
            signal = layer(signal)
        return signal

    def relu() -> Tensor:
        signal = x[0]
        for layer in layers[:-1]:
            signal = layer(signal).relu()
        return layers[-1](signal)

    forward: dict[str, Callable[[], Tensor]] = {
        "dense products": floor,
        "equal ReLU network, one pass": relu,
        "neurosparse, fused, boxcar": ours(ns.fuse, ns.boxcar()),
        "neurosparse, fused, atan": ours(ns.fuse, ns.atan()),
        "neurosparse, Sequential, boxcar": ours(nn.Sequential, ns.boxcar()),
    }
    for peer, (module, run) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{peer}: {module} is not installed here")
            continue
        forward[peer] = lambda run=run: run(layers, x)

    def step(run: Callable[[], Tensor]) -> Callable[[], None]:
        def once() -> None:
            for weight in (*weights, x):
                weight.grad = None
            out = run()
            (out.sum() if run is floor else (out / steps).square().mean()).backward()

        return once

    spikes_agree(layers, x)
    seconds = interleaved({subject: step(run) for subject, run in forward.items()}, 7)
    goals = {"neurosparse, fused, boxcar": GOALS[density]} if name.startswith("MLP") and density in GOALS else None
    found = rows(f"{name}, {density:.0%}", seconds, "dense products", goals)
    for row in found:
        row["over_relu"] = row["seconds"] / seconds["equal ReLU network, one pass"]  # type: ignore[operator]
        row["saved_bytes"] = saved_bytes(forward[str(row["subject"])], weights)
    return found


@torch.no_grad()
def spikes_agree(layers: list[nn.Linear], x: Tensor) -> None:
    """Check that spikes are identical for identical currents, and print the density of each layer."""
    signal, densities = x.detach(), []
    for layer in layers:
        current = layer(signal)
        ours, expected = ns.LIF(beta=BETA)(current).dense(), spikes_of(current)
        if not torch.equal(ours, expected):
            sys.exit("spikes differ from the plain loop's for identical currents")
        signal, densities = expected, [*densities, f"{expected.mean().item():.3f}"]
    print(f"  densities of input and layers: {x.mean().item():.3f}, {', '.join(densities)}; spikes identical")


if __name__ == "__main__":
    table, kinds = [], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        kinds += [{"threads": threads, **row} for kind in KINDS for row in layer(kind)]
        for name, (*_, densities) in CASES.items():
            for density in densities:
                table += [{"threads": threads, **row} for row in case(name, density)]
    for row in table:
        mib = row["saved_bytes"] / 2**20
        where = f"{row['case']:<46} {row['threads']} threads {row['subject']:<32}"
        print(f"{where} {row['over_relu']:7.1f} x ReLU  {mib:6.1f} MiB")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")
    write("train", table + kinds)
