"""Atoms smaller than an image, at every place where they fit: ``a D`` is the sum of all atoms, moved and scaled.

Codes are flat here, (samples, atoms * places), so that solvers need not know. Inhibition passes through the image:
active atoms paint it, and every place reads it back. (Its matrix, atoms by atoms at every offset, would cost more.)

Source: Zeiler, Krishnan, Taylor & Fergus (2010), "Deconvolutional networks"; the step: Wohlberg (2016), who solves the
same problem in the Fourier domain.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.coding.problem import free
from neurosparse.events.operation import operation

__all__ = ["analyse", "code_shape", "network", "synthesise"]


def code_shape(x: Tensor, dictionary: Tensor) -> tuple[int, ...]:
    """(samples, atoms, rows of places, columns of places)."""
    (atoms, _, *kernel), (samples, _, *image) = dictionary.shape, x.shape
    return samples, atoms, *(size - extent + 1 for size, extent in zip(image, kernel, strict=True))


def analyse(x: Tensor, dictionary: Tensor) -> Tensor:
    """``x D^T``: how well each atom fits at each place, flat."""
    return F.conv2d(x, dictionary).flatten(1)


def synthesise(a: Tensor, dictionary: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``a D``: the images of codes, each atom whole."""
    painted = dictionary.flip(-1, -2).transpose(0, 1)
    return F.conv2d(a.view(-1, *shape[1:]), painted, padding=(dictionary.shape[2] - 1, dictionary.shape[3] - 1))


def network(dictionary: Tensor, shape: tuple[int, ...]) -> dict:
    """What a `Problem` knows of its dictionary: computed once for all samples."""

    def inhibit(a: Tensor) -> Tensor:
        return analyse(synthesise(a, dictionary, shape), dictionary) - a

    return {"inhibit": inhibit, "largest_eigenvalue": cache(lambda: _eigenvalue_bound(dictionary, shape))}


@operation(free)
def _eigenvalue_bound(dictionary: Tensor, shape: tuple[int, ...]) -> float:
    """On a torus as large as the image nothing wraps, so its spectrum, one frequency at a time, bounds ours."""
    height, width = (places + extent - 1 for places, extent in zip(shape[2:], dictionary.shape[2:], strict=True))
    spectrum = torch.fft.rfft2(dictionary.double(), s=(height, width)).permute(2, 3, 1, 0)  # (.., channels, atoms)
    short = spectrum if spectrum.shape[-2] <= spectrum.shape[-1] else spectrum.mH
    return float(torch.linalg.eigvalsh(short @ short.mH)[..., -1].max()) * (1 + 1e-6)
