"""Ready-made augmentations for a task's ``augment``: they change training batches, and keep their shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurosparse.checks import several, whole
from neurosparse.events import EventTensor
from neurosparse.experiments.classification.inputs import Inputs

__all__ = ["mirror_and_shift", "shift_units"]


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


def shift_units(*largest: int) -> Callable[[Inputs, torch.Generator], Inputs]:
    """Shift each sample along its last axes, by other steps for each sample; what moves in is 0.

    Args:
        largest: the largest shift along each of the last axes, in both directions.

    Returns:
        A function of a tensor ``(samples, *units)`` or of events ``(steps, samples, *units)``, and a generator.

    Raises:
        InputError: no shift, or a negative one.

    Example:
        >>> events = EventTensor.from_dense(torch.eye(3).view(1, 1, 3, 3), spikes=True)
        >>> shift_units(1, 0)(events, torch.Generator().manual_seed(2)).dense()[0, 0].tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    sizes = [whole("shift_units", "largest", each, 0) for each in several("shift_units", "largest", largest, "shifts")]

    def augment(x: Inputs, generator: torch.Generator) -> Inputs:
        dense, axis = (x.dense(), 1) if isinstance(x, EventTensor) else (x, 0)
        out, samples, ends = torch.zeros_like(dense), dense.shape[axis], dense.shape[-len(sizes) :]
        shifts = [torch.randint(-each, each + 1, (samples,), generator=generator).tolist() for each in sizes]
        for i, by in enumerate(zip(*shifts, strict=True)):
            to, source = zip(*map(_overlap, by, ends), strict=True)
            out.select(axis, i)[(..., *to)] = dense.select(axis, i)[(..., *source)]
        if isinstance(x, Tensor):
            return out
        timing = {"t0": x.t0, "lengths": x.lengths, "axis": x.axis, "spikes": x.binary}
        return EventTensor.from_dense(out, x.dt, **timing)

    return augment


def _overlap(by: int, size: int) -> tuple[slice, slice]:
    """Where a row of some size lies after a shift, and which part of it."""
    by = max(-size, min(by, size))
    return slice(max(by, 0), size + min(by, 0)), slice(max(-by, 0), size + min(-by, 0))
