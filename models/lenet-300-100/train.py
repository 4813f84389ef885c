"""Fashion-MNIST with LeNet-300-100, 784-300-100-10: opponents with few weights, each at four sparsities.

neurosparse fetch fashion-mnist                          # or Debian's package dataset-fashion-mnist
neurosparse compare models/lenet-300-100 --seeds 5       # every method of pruning, under one budget
"""

from pathlib import Path

import neurosparse as ns

MANIFEST = Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "manifest.toml"


def data() -> ns.Split:
    """60,000 + 10,000 images, 0..255 scaled to 0..1; the last 10,000 training images are for validation."""
    files = ns.io.manifest.locate(ns.io.manifest.read_manifest(MANIFEST))
    (x, y), test = (ns.io.idx.labelled_images(files, part) for part in ("train", "t10k"))
    return ns.Split((x[:-10000], y[:-10000]), (x[-10000:], y[-10000:]), test)


task = ns.Task(
    name="lenet-300-100",
    title="Fashion-MNIST, LeNet-300-100",
    data=data,
    hidden=(300, 100),
    classes=10,
    epochs=10,
    batch_size=256,
    learning_rates=(0.01, 0.02),  # dense weights learn best at the first, many sparse ones at the second
)
