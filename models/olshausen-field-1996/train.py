"""Receptive fields from natural images as Olshausen & Field found them in 1996, beside what learns them faster today.

neurosparse atoms models/olshausen-field-1996                 # every learner, three seeds
neurosparse atoms models/olshausen-field-1996 --only online --seeds 1
"""

from torch import Tensor

import neurosparse as ns

HELD_OUT = ("camera", "flower")  # photographs, not patches


def images() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The natural photographs of scikit-learn and scikit-image, whitened to a mean variance of 0.1 as in 1996."""
    white = ns.coding.images.whiten(ns.io.photographs.natural_images(), variance=0.1)
    held_out = {name: white.pop(name) for name in HELD_OUT}
    return white, held_out


task = ns.experiments.FieldTask(
    name="olshausen-field-1996",
    title="Olshausen & Field 1996: 12 x 12 patches of whitened photographs",
    images=images,
    size=12,
    atoms=144,
    batch_size=100,
    batches=1000,
)
