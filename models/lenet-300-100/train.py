"""Fashion-MNIST with LeNet-300-100, 784-300-100-10: networks with few weights, each method at four sparsities.

neurosparse fetch fashion-mnist                          # or Debian's package dataset-fashion-mnist
neurosparse compare models/lenet-300-100 --seeds 5       # every pruning method, under one budget
"""

from functools import partial
from pathlib import Path

import neurosparse as ns

data = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "data.py").data

task = ns.Task(
    name="lenet-300-100",
    title="Fashion-MNIST, LeNet-300-100",
    data=partial(data, validation=10_000),
    hidden=(300, 100),
    classes=10,
    epochs=10,
    batch_size=256,
    learning_rates=(0.01, 0.02),  # dense networks are best at the first, many sparse ones at the second
)
