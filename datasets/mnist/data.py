"""MNIST, and data sets in its format: 60,000 training and 10,000 test images of 28 x 28 pixels in idx files."""

from pathlib import Path

import neurosparse as ns


def data(dataset: str = "mnist", validation: int = 5000) -> ns.Split:
    """Pixels 0..255 scaled to 0..1; the last training images are for validation."""
    manifest = ns.io.manifest.read_manifest(Path(__file__).parents[1] / dataset / "manifest.toml")
    files = ns.io.manifest.locate(manifest)
    (x, y), test = (ns.io.idx.labelled_images(files, part) for part in ("train", "t10k"))
    return ns.Split((x[:-validation], y[:-validation]), (x[-validation:], y[-validation:]), test)
