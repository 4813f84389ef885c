"""Fashion-MNIST, augmented, for a GPU: two wide convolutions over four steps, spiking or not.

neurosparse fetch fashion-mnist                                  # or Debian's package dataset-fashion-mnist
neurosparse compare models/fashion-mnist-deep --device cuda      # train with three seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

data = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "data.py").data

task = ns.Task(
    name="fashion-mnist-deep",
    title="Fashion-MNIST, augmented, wide convolutions, 30 epochs",
    data=data,
    hidden=(256,),
    classes=10,
    epochs=30,
    batch_size=128,
    learning_rates=(0.003,),
    augment=ns.experiments.mirror_and_shift(),
)
