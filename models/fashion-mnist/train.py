"""Fashion-MNIST, 28 x 28 pixels: every model of digits, spiking or not, under one budget.

neurosparse fetch fashion-mnist              # or Debian's package dataset-fashion-mnist
neurosparse compare models/fashion-mnist     # all models: search, train with five seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

data = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "data.py").data

task = ns.Task(
    name="fashion-mnist",
    title="Fashion-MNIST (28 x 28 pixels)",
    data=data,
    hidden=(128,),
    classes=10,
    epochs=6,
    batch_size=128,
    learning_rates=(0.003, 0.001, 0.01),
    trials=30,
    search_samples=15_000,
    seeds=5,
    reference="relu",
    shared="digits",  # its models
)
