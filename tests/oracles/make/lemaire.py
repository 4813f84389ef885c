"""Energy of small networks by SpikingJelly's version of Lemaire 2022, one sample each: tests/oracles/lemaire.json.

Weights and inputs come from formulas, so that another library can build the same networks.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.op_counter import estimate_lemaire_energy
from torch import nn

STEPS = 10


def fill(module: nn.Module, seed: int, scale: float, zeros: float) -> None:
    for name, parameter, share in (("weight", module.weight, zeros), ("bias", module.bias, 0.0)):
        random = np.random.RandomState(seed + 500 * (name == "bias"))
        values = random.standard_normal(parameter.shape) * (scale if name == "weight" else 0.05)
        values[random.random_sample(parameter.shape) < share] = 0
        parameter.data = torch.from_numpy(values.astype(np.float32))


def spikes(*shape: int) -> torch.Tensor:
    return torch.from_numpy((np.random.RandomState(100).random_sample(shape) < 0.2).astype(np.float32))


def case(layers: list[tuple[nn.Module, int, float]], nodes: list[nn.Module], x: torch.Tensor, zeros: float) -> dict:
    for module, seed, scale in layers:
        fill(module, seed, scale, zeros)
    between = nodes or [None] * len(layers)
    parts = [part for (module, _, _), node in zip(layers, between, strict=True) for part in (module, node) if part]
    net = nn.Sequential(*parts)
    functional.set_step_mode(net, "m" if nodes else "s")
    return estimate_lemaire_energy(net, x).breakdown_pj


def lif() -> nn.Module:
    return neuron.LIFNode(tau=10.0, decay_input=False, v_reset=None)


def integrate() -> nn.Module:
    return neuron.IFNode(v_reset=None)


def mlp() -> list[tuple[nn.Module, int, float]]:
    return [(layer.Linear(40, 30), 1, 0.35), (layer.Linear(30, 10), 2, 0.35)]


trains = spikes(12, STEPS, 40).transpose(0, 1)
image = torch.zeros(STEPS, 1, 2, 8, 8)
image[..., 2:6, 2:6] = spikes(STEPS, 1, 2, 4, 4)  # away from the border, where the paper's fan-out is exact
grey = torch.from_numpy(np.random.RandomState(100).random_sample((1, 40)).astype(np.float32))
photograph = torch.from_numpy(np.random.RandomState(100).random_sample((1, 2, 8, 8)).astype(np.float32))
found = {
    "lif": case(mlp(), [lif(), lif()], trains[:, :1], 0.25),
    "integrate": case(mlp(), [integrate(), integrate()], trains[:, 3:4], 0.0),
    "convolution": case([(layer.Conv2d(2, 4, 3), 11, 0.5)], [integrate()], image, 0.0),
    "dense": case(mlp(), [], grey, 0.0),
    "dense convolution": case([(nn.Conv2d(2, 4, 3), 11, 0.5)], [], photograph, 0.0),
}
out = {"source": f"SpikingJelly {version('spikingjelly')}, estimate_lemaire_energy, picojoules", "steps": STEPS}
Path(sys.argv[1]).write_text(json.dumps(out | {"cases": found}, indent=1) + "\n")
