"""Small data for tests of plots: one example of each argument."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from neurosparse.analysis.gabor import fit_gabor
from neurosparse.analysis.spike_trains import spike_train_statistics
from neurosparse.events.tensor import EventTensor
from neurosparse.meter import OperationCounts


def events(dt: float | None = None) -> EventTensor:
    x = torch.zeros(6, 3, 2, 4, dtype=torch.bool)
    for step, sample, row, column in ((0, 1, 0, 0), (2, 1, 1, 3), (5, 1, 0, 2), (3, 0, 0, 1)):
        x[step, sample, row, column] = True
    return EventTensor.from_dense(x, dt=dt)


def report(nominal: float) -> dict[str, float]:
    return {"low": 0.5 * nominal, "nominal": nominal, "high": 2 * nominal}


def point(name: str, accuracy: float, nominal: float, family: str = "ReLU") -> dict[str, Any]:
    return {"name": name, "family": family, "accuracy": {"mean": accuracy, "sd": 0.01}, "energy": report(nominal)}


POINTS = [point("a", 0.9, 1e-9), point("b", 0.97, 1e-8, "LIF"), point("worse", 0.85, 2e-8), point("c", 0.98, 1e-7)]
FOREST = [
    {"group": "digits", "name": "32-bit", "ratios": {"p": (0.5, 0.6, 0.7), "q": (1.5, 2.0, 4.0)}, "outcome": "yes"},
    {"group": "digits", "name": "8-bit", "ratios": {"p": (0.2, 0.3, 0.3)}, "outcome": "undecided"},
    {"group": "nmnist", "name": "32-bit", "ratios": {"q": (1.0, 1.0, 1.0)}, "own": {"own": (0.01, 0.02, 0.04)}},
]
FOREST = [{"difference": (-0.012, -0.005, 0.002), "outcome": "no", **row} for row in FOREST]
RESPONSES = np.random.default_rng(0).random((30, 12))
COUNTS = {"relu": {"dense_ops": 4096, "effective_macs": 900}, "lif": {"effective_acs": 500, "state_updates": 64}}
LAYER = {"layer": "fc", "kind": "linear", "weights": 400, "nonzero_weights": 400, "weight_bits": 8}
SPIKING = {"dense_ops": 4000, "effective_acs": 400, "input_cells": 200, "input_events": 20, "input_bits": 1}
SPIKING = OperationCounts((LAYER | SPIKING | {"output_cells": 200, "charged_rows": 10},), 1)
DENSE = {"dense_ops": 400, "effective_macs": 400, "input_cells": 20, "input_events": 20, "input_bits": 8}
DENSE = OperationCounts((LAYER | DENSE | {"output_cells": 20, "charged_rows": 1},), 1)
MOVING = OperationCounts((SPIKING.rows[0] | {"bytes_read": 400, "bytes_written": 80},), 1)
ESTIMATED = {"lif": {"p": 2.0, "q": 0.5}, "kwta": {"p": 1.5, "q": 1.5}}


def trace(dt: float | None = None, lengths: torch.Tensor | None = None) -> SimpleNamespace:
    """Two samples of three units; unit 1 of sample 1 crosses its threshold at steps 2 and 4."""
    membrane = torch.zeros(6, 2, 3)
    membrane[:, 1, 1] = torch.tensor([0.4, 0.8, 1.2, 0.6, 1.1, 0.3])
    membrane[:, 1, 2] = torch.tensor([-0.5, 0.1, 0.2, 0.9, 1.5, 0.0])
    return SimpleNamespace(events=EventTensor.from_dense(membrane > 1, dt=dt, lengths=lengths), membrane=membrane)


def stripes(theta: float, frequency: float = 0.2) -> np.ndarray:
    """A field of 12 x 12 pixels whose wave vector has the angle theta."""
    row, column = np.mgrid[:12, :12] - 5.5
    along = column * np.cos(theta) - row * np.sin(theta)
    return (np.cos(2 * np.pi * frequency * along) * np.exp(-(row**2 + column**2) / 12)).ravel()


FIELDS = np.stack([*(stripes(theta) for theta in (0.0, 0.1, 1.5)), stripes(1.0, 0.3), np.zeros(144)])
FIT = fit_gabor(FIELDS)
CODE = torch.tensor([[0.0, 0.0, 0.5], [-1.0, 0.0, 0.25]])
LEARNT = {"fista": ([256, 512, 1024], [0.3, 0.2, 0.1]), "lca": ([256, 512], [0.4, 0.3])}
HISTORY = {"first": [0.3, 0.2, 0.15], "second": [0.1, 0.0]}


def states(energies: list[list[float]], sent: list[list[list[float]]]) -> SimpleNamespace:
    """Attributes of States that the plot reads: (steps + 1, samples) and (steps + 1, samples, units)."""
    sent_events = EventTensor.from_dense(torch.tensor(sent), axis="iteration")
    return SimpleNamespace(energies=torch.tensor(energies), sent=True, events=sent_events)


RELAXED = states(
    [[8.0, 4.0], [2.0, 2.0], [1.0, 0.0]],
    [[[0.5, -2.0], [0.0, 1.0]], [[0.5, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, -0.1]]],
)
TRANSMISSIONS = {
    "graded": [{"sent": 100, "value": 0.2, "sd": 0.01, "threshold": 0.5}, {"sent": 900, "value": 0.1, "threshold": 0}],
    "delta": [{"sent": 30, "value": 0.15}],
}
TRAINS = spike_train_statistics(EventTensor.from_dense(torch.ones(9, 1, 2), spikes=True))
RECALL = {"load": [0.1, 0.2], "overlap": [1.0, 0.4], "sd": [0.0, 0.1], "theory": ([0.0, 0.14], [1.0, 0.97])}
