"""Ready-made augmentations for a task's ``augment``: they change training batches, and keep their shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurosparse.checks import number, whole
from neurosparse.events import EventTensor

__all__ = ["mirror_and_shift", "vary_voice"]


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
    pixels = whole("mirror_and_shift", "pixels", pixels, 0)

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


def vary_voice(
    bands: int = 3, pace: float = 0.15, lost: float = 0.1
) -> Callable[[EventTensor, torch.Generator], EventTensor]:
    """Another vocal tract (shifted bands), another pace (stretched time) and spikes lost, anew for each sample.

    Args:
        bands: the largest shift along the last axis of units, up or down.
        pace: the largest change of a sample's length, as a share of it.
        lost: share of the spikes that are lost.

    Returns:
        A function of spikes ``(steps, samples, *units, bands)`` and a generator.

    Raises:
        InputError: a negative number, or a share that is not below 1.

    Example:
        >>> spikes = EventTensor.from_dense(torch.eye(4).view(4, 1, 4), spikes=True)
        >>> same = vary_voice(0, 0.0, 0.0)(spikes, torch.Generator())
        >>> bool((same.dense() == spikes.dense()).all())
        True
    """
    bands = whole("vary_voice", "bands", bands, 0)
    pace, lost = number("vary_voice", "pace", pace, 0, below=1), number("vary_voice", "lost", lost, 0, below=1)

    def augment(spikes: EventTensor, generator: torch.Generator) -> EventTensor:
        aer, (steps, samples, *_, last) = spikes.aer(), spikes.shape
        paces = 1 + pace * (2 * torch.rand(samples, generator=generator) - 1)
        shift = torch.randint(-bands, bands + 1, (samples,), generator=generator)
        old = torch.full((samples,), steps) if spikes.lengths is None else spikes.lengths
        lengths = (old * paces).long().clamp(1, steps)
        step, band = (aer.step * paces[aer.sample]).long(), aer.unit % last + shift[aer.sample]
        kept = (step < lengths[aer.sample]) & (band >= 0) & (band < last)
        kept &= torch.rand(len(step), generator=generator) >= lost
        unit = aer.unit - aer.unit % last + band
        options = {"dt": spikes.dt, "lengths": lengths, "on_collision": "any"}
        return EventTensor.from_aer(step[kept], aer.sample[kept], unit[kept], shape=spikes.shape, **options)

    return augment
