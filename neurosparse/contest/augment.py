"""Ready-made augmentations for a task's ``augment``: they change training batches, and keep their shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurosparse.errors import InputError

__all__ = ["mirror_and_shift"]


def mirror_and_shift(pixels: int = 1) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Mirror half of the images left to right and shift each by up to some pixels; what moves in is 0.

    Args:
        pixels: the largest shift, in both directions.

    Returns:
        A function of images ``(samples, channels, height, width)`` and a generator.

    Raises:
        InputError: a negative shift.

    Example:
        >>> image = torch.eye(3).view(1, 1, 3, 3)
        >>> mirror_and_shift(0)(image, torch.Generator().manual_seed(0))[0, 0].tolist()
        [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if pixels < 0:
        raise InputError("mirror_and_shift", got=f"pixels={pixels}", expected="pixels >= 0")

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        samples, _, height, width = x.shape
        mirrored = torch.rand(samples, generator=generator) < 0.5
        x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)
        dy, dx = torch.randint(0, 2 * pixels + 1, (2, samples), generator=generator)
        row, column = torch.arange(height) + dy[:, None], torch.arange(width) + dx[:, None]
        padded = torch.nn.functional.pad(x, (pixels,) * 4).transpose(0, 1)
        which = torch.arange(samples)[:, None, None]
        return padded[:, which, row[:, :, None], column[:, None, :]].transpose(0, 1)

    return augment
