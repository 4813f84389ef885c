"""Denoising: noise removed from photographs by sparse codes, in decibels and operations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.energy import estimate
from neurosparse.experiments.receptive_fields.learners import DictionarySnapshot
from neurosparse.meter import COUNTS, count, record

__all__ = ["Denoiser", "denoise", "denoised", "psnr"]

METERED = 500  # patches whose operations are counted; the mean depends little on the choice


class Denoiser(nn.Module):
    """From patches ``(samples, features)`` to their reconstructions."""

    def __init__(self, snapshot: DictionarySnapshot):
        super().__init__()
        self.snapshot = snapshot

    def forward(self, x: Tensor) -> Tensor:
        return self.snapshot.encode(x) @ self.snapshot.atoms


@torch.no_grad()
def denoised(image: Tensor, size: int, model: nn.Module) -> Tensor:
    """The image from its patches, each coded without its mean; patches overlap by half and are averaged there.

    Args:
        image: (height, width).
        size: pixels of a patch's side.
        model: from patches to patches.

    Example:
        >>> image = torch.rand(20, 23)
        >>> bool(torch.allclose(denoised(image, 8, nn.Identity()), image, atol=1e-6))
        True
    """
    (height, width), stride = image.shape, max(1, size // 2)
    # The image is continued by its mirror image until patches cover all of it.
    rows = F.pad(image[None, None], (0, -(width - size) % stride, 0, -(height - size) % stride), mode="reflect")
    patches = F.unfold(rows, size, stride=stride)[0].T
    mean = patches.mean(1, keepdim=True)
    patches = torch.cat([model(part) for part in (patches - mean).split(2000)]) + mean
    cover = {"output_size": rows.shape[2:], "kernel_size": size, "stride": stride}
    whole = F.fold(patches.T[None], **cover) / F.fold(torch.ones_like(patches).T[None], **cover)
    return whole[0, 0, :height, :width]


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels, of pixels 0 to 1: ``-10 log10 mean (image - truth)^2``.

    Example:
        >>> round(psnr(torch.full((4, 4), 0.1), torch.zeros(4, 4)), 6)
        20.0
    """
    return -10 * math.log10(float((image - truth).square().mean()))


def denoise(
    snapshot: DictionarySnapshot, images: Mapping[str, Tensor], size: int, noise: float, sample: Tensor
) -> dict[str, Any]:
    """Add seeded noise to each photograph, remove it again, and count the operations of the removal.

    Args:
        snapshot: the dictionary.
        images: photographs held out, pixels 0 to 1.
        size: pixels of a patch's side.
        noise: standard deviation.
        sample: clean patches (samples, features) that are metered with noise.

    Returns:
        ``psnr`` and ``psnr_noisy``, means over the photographs; ``operations`` and ``energy`` of one patch.
    """
    model, generator = Denoiser(snapshot), torch.Generator().manual_seed(0)
    noisy = {name: image + noise * torch.randn(image.shape, generator=generator) for name, image in images.items()}
    found = [psnr(denoised(noisy[name], size, model), image) for name, image in images.items()]
    before = [psnr(noisy[name], image) for name, image in images.items()]
    x = sample[:METERED] + noise * torch.randn(sample[:METERED].shape, generator=generator)
    with torch.no_grad(), record(model) as tape:
        model(x - x.mean(1, keepdim=True))
    counts = count(tape)
    report = estimate(counts, "cmos-45nm", "event_driven")
    return {
        "psnr": sum(found) / len(found),
        "psnr_noisy": sum(before) / len(before),
        "operations": {column: counts.totals[column] / counts.samples for column in COUNTS},
        "energy": {"cmos-45nm/event_driven": report.nominal},
        "uncounted": [dict(row) for row in counts.uncounted],
    }
