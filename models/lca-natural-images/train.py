"""The price of a coefficient shapes the receptive field: several penalties beside real cortex.

Weights give codes of about the same signal-to-noise ratio on the photographs that are learned from
(8 dB; log: as published).

neurosparse atoms models/lca-natural-images
"""

from torch import Tensor

import neurosparse as ns

HELD_OUT = ("camera", "flower")  # photographs, not patches


def images() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The natural photographs of scikit-learn and scikit-image, whitened to a mean variance of 0.1."""
    white = ns.coding.images.whiten(ns.io.photographs.natural_images(), variance=0.1)
    held_out = {name: white.pop(name) for name in HELD_OUT}
    return white, held_out


task = ns.experiments.FieldTask(
    name="lca-natural-images",
    title="Penalties and receptive fields: 16 x 16 patches of whitened photographs",
    images=images,
    size=16,
    atoms=256,
    batch_size=200,
    batches=600,
)
