"""Fashion-MNIST with a longer budget and augmented images: two wide hidden layers, spiking or not.

neurosparse fetch fashion-mnist                   # or Debian's package dataset-fashion-mnist
neurosparse compare models/fashion-mnist-long     # train with three seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

data = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "data.py").data

task = ns.Task(
    name="fashion-mnist-long",
    title="Fashion-MNIST, augmented, 24 epochs",
    data=data,
    hidden=(512, 512),
    classes=10,
    epochs=24,
    batch_size=128,
    learning_rates=(0.003,),
    augment=ns.experiments.mirror_and_shift(),
)
