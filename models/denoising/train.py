"""Noise removed from photographs by sparse codes and by a ReLU network: decibels beside operations.

neurosparse atoms models/denoising
"""

from torch import Tensor

import neurosparse as ns

HELD_OUT = ("camera", "flower")  # photographs, not patches


def images() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The natural photographs of scikit-learn and scikit-image, pixels 0 to 1."""
    photographs = ns.io.photographs.natural_images()
    held_out = {name: photographs.pop(name) for name in HELD_OUT}
    return photographs, held_out


task = ns.experiments.FieldTask(
    name="denoising",
    title="Denoising: 8 x 8 patches, noise of standard deviation 0.1",
    images=images,
    size=8,
    atoms=256,
    batch_size=500,
    batches=300,
    border=0,
    noise=0.1,
)
