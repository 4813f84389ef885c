"""Event-driven products beside dense ones.

make bench-events
"""

import torch
import torch.nn.functional as F
from timing import interleaved, rows, write
from torch import nn

import neurosparse as ns

STEPS, SAMPLES = 25, 128


def product(density: float) -> list[dict[str, object]]:
    """``nn.Linear(784, 512)`` on 3200 rows of spikes, forward alone."""
    dense = (torch.rand(STEPS, SAMPLES, 784, generator=torch.Generator().manual_seed(0)) < density).float()
    events = ns.EventTensor.from_aer(*ns.EventTensor.from_dense(dense, spikes=True).aer(), shape=dense.shape)
    _ = events.row_ptr
    layer = nn.Linear(784, 512)
    with torch.no_grad():
        subjects = {"dense": lambda: F.linear(dense, layer.weight, layer.bias), "events": lambda: layer(events)}
        seconds = interleaved(subjects)
    return rows(f"linear 784-512, density {density:.0%}", seconds, "dense")


if __name__ == "__main__":
    table = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = [row for density in (0.01, 0.02, 0.05, 0.1, 0.2) for row in product(density)]
        table += [{"threads": threads, **row} for row in found]
    write("events", table)
