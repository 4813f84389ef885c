"""MNIST by predictive coding, and the same network by backpropagation.

neurosparse fetch mnist
neurosparse compare models/mnist-predictive     # train with three seeds, test once, report
"""

from pathlib import Path

import neurosparse as ns

MANIFEST = Path(__file__).parents[2] / "datasets" / "mnist" / "manifest.toml"


def data() -> ns.Split:
    """60,000 + 10,000 images, 0..255 scaled to 0..1; the last 5,000 training images are for validation."""
    files = ns.io.manifest.locate(ns.io.manifest.read_manifest(MANIFEST))
    (x, y), test = (ns.io.idx.labelled_images(files, part) for part in ("train", "t10k"))
    return ns.Split((x[:-5000], y[:-5000]), (x[-5000:], y[-5000:]), test)


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
)
