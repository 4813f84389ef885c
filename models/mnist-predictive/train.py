"""MNIST by predictive coding, and the same network by backpropagation.

neurosparse fetch mnist
neurosparse compare models/mnist-predictive     # train with three seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

data = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "mnist" / "data.py").data

task = ns.Task(
    name="mnist-predictive",
    title="MNIST, predictive coding beside backpropagation",
    data=data,
    hidden=(256, 256),
    classes=10,
    epochs=12,
    batch_size=128,
    learning_rates=(0.001,),
    weight_decay=0.05,
    shared="fashion-mnist-predictive",
)
