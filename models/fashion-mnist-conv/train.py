"""Fashion-MNIST with augmented images and convolutions, spiking or not.

neurosparse fetch fashion-mnist                   # or Debian's package dataset-fashion-mnist
neurosparse compare models/fashion-mnist-conv     # train with three seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

data = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "data.py").data

task = ns.Task(
    name="fashion-mnist-conv",
    title="Fashion-MNIST, augmented, convolutions, 8 epochs",
    data=data,
    hidden=(128,),
    classes=10,
    epochs=8,
    batch_size=128,
    learning_rates=(0.004,),
    augment=ns.experiments.mirror_and_shift(),
)
