"""Dictionary update of online learning (Mairal et al. 2010): statistics of past codes, and descent on their model."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Statistics", "learn_atoms", "accumulate", "replace_dead"]

SWEEPS = 20  # cheap beside the codes they learn from
RECENT = 10  # Mairal's rho: the past is forgotten faster than in a plain mean, since early codes are of poor atoms


class Statistics(NamedTuple):
    """Statistics of past codes, sufficient for the update of a dictionary.

    ``outer``, the sum of ``a^T a`` (atoms, atoms); ``cross``, of ``a^T x`` (atoms, features); the number of
    ``samples``, and in how many of them each atom was ``active``.
    """

    outer: Tensor
    cross: Tensor
    samples: float
    active: Tensor


def accumulate(old: Statistics, codes: Tensor, x: Tensor, n: int) -> Statistics:
    """Add batch number ``n`` (from 1); the old statistics are multiplied by ``(1 - 1/n)^RECENT``."""
    forget = (1 - 1 / n) ** RECENT
    return Statistics(
        forget * old.outer + codes.t() @ codes,
        forget * old.cross + codes.t() @ x,
        forget * old.samples + len(x),
        forget * old.active + (codes != 0).sum(0),
    )


def learn_atoms(dictionary: Tensor, past: Statistics, positive: bool = False) -> Tensor:
    """Atoms of unit norm that fit past data better: ``min_D tr(D^T A D) / 2 - tr(D^T B)``.

    Every sweep moves all atoms at once by ``(B - A D)_j / sum_i |A_ij|``. The row sums bound the curvature
    (Gershgorin), so no sweep increases the objective before the projection.

    Args:
        dictionary: (atoms, features).
        past: the statistics; atoms that were never active are not changed.
        positive: no negative entry of an atom.
    """
    curvature = past.outer.abs().sum(1, keepdim=True)
    step = torch.where(curvature > 0, 1 / curvature.clamp(min=torch.finfo(curvature.dtype).tiny), 0.0)
    for _ in range(SWEEPS):
        moved = dictionary + step * (past.cross - past.outer @ dictionary)
        moved = moved.clamp(min=0) if positive else moved
        norm = moved.norm(dim=1, keepdim=True)
        dictionary = torch.where(norm > 0, F.normalize(moved), dictionary)
    return dictionary


def replace_dead(
    dictionary: Tensor, past: Statistics, x: Tensor, generator: torch.Generator
) -> tuple[Tensor, Statistics, int]:
    """Replace dead atoms by samples; also returns their number.

    An atom is dead if it was active in fewer than one of ten thousand samples, of at least 2000.
    """
    enough = 0.0 if past.samples < 2000 else 1e-4
    dead = (past.active < enough * past.samples).nonzero()[:, 0]
    norms = x.norm(dim=1)
    usable = (norms > 0).nonzero()[:, 0]
    if not len(dead) or not len(usable):
        return dictionary, past, 0
    chosen = usable[torch.randint(len(usable), (len(dead),), generator=generator)]
    dictionary = dictionary.index_copy(0, dead, F.normalize(x[chosen]).to(dictionary))
    outer, cross, active = past.outer.clone(), past.cross.clone(), past.active.clone()
    outer[dead], outer[:, dead], cross[dead] = 0, 0, 0
    active[dead] = 1e-4 * past.samples  # not dead at once
    return dictionary, past._replace(outer=outer, cross=cross, active=active), len(dead)
