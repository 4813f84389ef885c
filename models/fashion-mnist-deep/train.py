"""Fashion-MNIST, augmented, for a GPU: two wide convolutions over four steps, spiking or not.

neurosparse fetch fashion-mnist                                  # or Debian's package dataset-fashion-mnist
neurosparse compare models/fashion-mnist-deep --device cuda      # train with three seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

MANIFEST = Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "manifest.toml"


def data() -> ns.Split:
    """60,000 + 10,000 images, 0..255 scaled to 0..1; the last 5,000 training images are for validation."""
    files = ns.io.manifest.locate(ns.io.manifest.read_manifest(MANIFEST))
    (x, y), test = (ns.io.idx.labelled_images(files, part) for part in ("train", "t10k"))
    return ns.Split((x[:-5000], y[:-5000]), (x[-5000:], y[-5000:]), test)


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
