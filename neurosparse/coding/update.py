"""How atoms learn from codes: the quadratic model that an online learner keeps, and one step down it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Statistics", "learn_atoms", "remember", "replace_dead"]

SWEEPS = 20  # cheap beside the codes they learn from
RECENT = 10  # Mairal's rho: how much faster than a plain mean the past is forgotten; codes of poor atoms teach little


class Statistics(NamedTuple):
    """All that the past says about a dictionary.

    ``outer``, the sum of ``a^T a`` (atoms, atoms); ``cross``, of ``a^T x`` (atoms, features); how many samples that
    were, and how often each atom was ``active``.
    """

    outer: Tensor
    cross: Tensor
    samples: float
    active: Tensor


def remember(old: Statistics, codes: Tensor, x: Tensor, n: int) -> Statistics:
    """Add batch number ``n`` (from 1); what was before counts ``(1 - 1/n)^RECENT`` as much."""
    forget = (1 - 1 / n) ** RECENT
    return Statistics(
        forget * old.outer + codes.t() @ codes,
        forget * old.cross + codes.t() @ x,
        forget * old.samples + len(x),
        forget * old.active + (codes != 0).sum(0),
    )


def learn_atoms(dictionary: Tensor, seen: Statistics, positive: bool = False) -> Tensor:
    """Atoms of unit norm that fit the past better: ``min_D tr(D^T A D) / 2 - tr(D^T B)``.

    Every sweep moves all atoms at once by ``(B - A D)_j / sum_i |A_ij|``. The row sums bound the curvature
    (Gershgorin), so no sweep goes uphill before the projection.

    Args:
        dictionary: (atoms, features).
        seen: the past; atoms that were never active stay as they are.
        positive: no pixel below zero.
    """
    curvature = seen.outer.abs().sum(1, keepdim=True)
    step = torch.where(curvature > 0, 1 / curvature.clamp(min=torch.finfo(curvature.dtype).tiny), 0.0)
    for _ in range(SWEEPS):
        moved = dictionary + step * (seen.cross - seen.outer @ dictionary)
        moved = moved.clamp(min=0) if positive else moved
        norm = moved.norm(dim=1, keepdim=True)
        dictionary = torch.where(norm > 0, F.normalize(moved), dictionary)
    return dictionary


def replace_dead(
    dictionary: Tensor, seen: Statistics, x: Tensor, generator: torch.Generator
) -> tuple[Tensor, Statistics, int]:
    """Atoms that almost nobody uses begin anew as samples; also returns how many did.

    Dead is an atom that was active in fewer than one of ten thousand samples, once enough were seen to tell.
    """
    enough = 0.0 if seen.samples < 2000 else 1e-4
    dead = (seen.active < enough * seen.samples).nonzero()[:, 0]
    norms = x.norm(dim=1)
    usable = (norms > 0).nonzero()[:, 0]
    if not len(dead) or not len(usable):
        return dictionary, seen, 0
    chosen = usable[torch.randint(len(usable), (len(dead),), generator=generator)]
    dictionary = dictionary.index_copy(0, dead, F.normalize(x[chosen]).to(dictionary))
    outer, cross, active = seen.outer.clone(), seen.cross.clone(), seen.active.clone()
    outer[dead], outer[:, dead], cross[dead] = 0, 0, 0
    active[dead] = 1e-4 * seen.samples  # one more chance
    return dictionary, seen._replace(outer=outer, cross=cross, active=active), len(dead)
