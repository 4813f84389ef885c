"""Fashion-MNIST by predictive coding, and the same network by backpropagation.

neurosparse fetch fashion-mnist
neurosparse compare models/fashion-mnist-predictive     # train with three seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

data = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "data.py").data

task = ns.Task(
    name="fashion-mnist-predictive",
    title="Fashion-MNIST, predictive coding beside backpropagation",
    data=data,
    hidden=(256, 256),
    classes=10,
    epochs=20,
    batch_size=128,
    learning_rates=(0.001,),
    weight_decay=0.05,
)
