"""Fashion-MNIST, 28 x 28 pixels: every model of this folder and of digits, spiking or not, under one budget.

neurosparse fetch fashion-mnist              # or Debian's package dataset-fashion-mnist
neurosparse compare models/fashion-mnist     # all models: tune, train with three seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

data = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "data.py").data

task = ns.Task(
    name="fashion-mnist",
    title="Fashion-MNIST (28 x 28 pixels)",
    data=data,
    hidden=(256,),
    classes=10,
    epochs=8,  # the budget of every model: under an hour on two cores for the whole folder
    batch_size=128,
    learning_rates=(0.001, 0.003),
    shared="digits",  # its models, and those of this folder
)
