"""Fashion-MNIST with augmented images and convolutions, spiking or not.

neurosparse fetch fashion-mnist                   # or Debian's package dataset-fashion-mnist
neurosparse compare models/fashion-mnist-conv     # train with three seeds, test once, report
"""

from pathlib import Path

import torch

import neurosparse as ns

MANIFEST = Path(__file__).parents[2] / "datasets" / "fashion-mnist" / "manifest.toml"


def data() -> ns.contest.Split:
    """60,000 + 10,000 images, 0..255 scaled to 0..1; the last 5,000 training images are for validation."""
    files = ns.io.manifest.locate(ns.io.manifest.read_manifest(MANIFEST))
    train, test = _part(files, "train"), _part(files, "t10k")
    x, y = train
    return ns.contest.Split((x[:-5000], y[:-5000]), (x[-5000:], y[-5000:]), test)


def _part(files: dict[str, Path], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(ns.io.idx.read(files[f"{name}-images-idx3-ubyte.gz"]))
    labels = torch.from_numpy(ns.io.idx.read(files[f"{name}-labels-idx1-ubyte.gz"]))
    return images.unsqueeze(1).float() / 255, labels.long()


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of the images and shift each by up to one pixel."""
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    dy, dx = torch.randint(0, 3, (2, len(x)), generator=generator)
    rows, columns = (torch.arange(28) + shift[:, None] for shift in (dy, dx))
    return padded[torch.arange(len(x))[:, None, None], 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


task = ns.contest.Task(
    name="fashion-mnist-conv",
    title="Fashion-MNIST, augmented, convolutions, 8 epochs",
    data=data,
    hidden=(128,),
    classes=10,
    epochs=8,
    batch_size=128,
    learning_rates=(0.004,),
    augment=augment,
)
